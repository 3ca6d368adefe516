//! A device as it is at one moment.

use crate::batch::plan::Network;
use crate::device::gauges::DeviceGauges;
use crate::device::tally::Done;

/// A device as it is now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceReading {
    /// Engines that share its queue.
    pub engines: usize,
    /// What was done with each network.
    pub done: Vec<(Network, Done)>,
    /// Its memory pool; `None` on a CPU.
    pub memory: Option<DeviceGauges>,
    /// Its utilisation, 0 to 1, as its driver says it; `None` where it says nothing.
    pub utilization: Option<f64>,
}

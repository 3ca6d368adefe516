//! What a device's memory pool says of itself.

/// Bytes of a device's memory pool. A CPU has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceGauges {
    /// In use now.
    pub used_bytes: u64,
    /// Held from the driver now, in use or not.
    pub reserved_bytes: u64,
    /// Most that was ever held.
    pub high_water_bytes: u64,
}

/// Whoever can be asked for gauges, from any thread, at any time.
pub trait GaugeSource: Send + Sync {
    /// As they are now; zeros when the device does not answer.
    fn gauges(&self) -> DeviceGauges;
}

//! The worker as a scraper sees it: `GET /metrics`, `/healthz` and `/readyz`.
//!
//! What happens is counted where it happens (`common::telemetry::metrics`); what the device says is read at the moment of a
//! scrape.

mod server;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use common::telemetry::catalogue as names;
use common::telemetry::exposition::Exposition;
use common::telemetry::metrics;
use tokio::net::TcpListener;

use crate::device::gauges::DeviceGauges;
use crate::device::reading::DeviceReading;
use crate::supervise::craft::Craft;
use crate::supervise::{Phase, Phases};

type Reader = Box<dyn Fn() -> Option<DeviceReading> + Send + Sync>;

/// What is shown: from the start on that the process lives, later the device as well.
pub struct Board {
    phases: Phases,
    device: OnceLock<Reader>,
}

impl Board {
    /// Without a device yet.
    #[must_use]
    pub fn new(phases: Phases) -> Self {
        Self { phases, device: OnceLock::new() }
    }

    /// Shows the device of this craft from now on.
    pub fn show(&self, craft: Arc<impl Craft>) {
        // A second device would be a second worker in one process, which there is not.
        let _ = self.device.set(Box::new(move || craft.device()));
    }

    /// Whether it takes jobs, and the fleet knows.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phases.now() == Phase::Working
    }

    /// The page of metrics.
    #[must_use]
    pub fn page(&self) -> String {
        let mut now = Exposition::default();
        if let Some(device) = self.device.get().and_then(|read| read()) {
            tell(&mut now, &device);
        }
        metrics::page(now)
    }
}

fn tell(page: &mut Exposition, device: &DeviceReading) {
    page.count(&names::DEVICE_ENGINES, &[], device.engines as u64);
    for (network, done) in &device.done {
        let label = [network.as_str()];
        page.count(&names::DEVICE_BATCHES, &label, done.batches);
        page.count(&names::DEVICE_ROWS, &label, done.rows);
        page.count(&names::DEVICE_ROW_CAPACITY, &label, done.room);
        page.sample(&names::DEVICE_BUSY, &label, done.busy.as_secs_f64());
    }
    if let Some(DeviceGauges { used_bytes: used, reserved_bytes: reserved, high_water_bytes: high_water }) =
        device.memory
    {
        for (kind, bytes) in [("used", used), ("reserved", reserved), ("high_water", high_water)] {
            page.count(&names::DEVICE_MEMORY, &[kind], bytes);
        }
    }
    if let Some(utilization) = device.utilization {
        page.sample(&names::DEVICE_UTILIZATION, &[], utilization);
    }
}

/// Counts from now on, and answers at `address`; gives the address, whose port the system may have chosen.
///
/// # Errors
/// When the address cannot be listened at.
pub async fn offer(address: SocketAddr, board: Arc<Board>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    metrics::start(metrics::Role::Worker);
    tokio::spawn(metrics::tidy());
    tokio::spawn(server::answer(listener, board));
    tracing::info!(%address, "offers metrics");
    Ok(address)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::telemetry::lint;

    use super::*;
    use crate::batch::plan::Network;
    use crate::device::tally::Done;

    #[test]
    fn a_device_is_told_as_far_as_it_says_something() {
        let done = Done { batches: 2, rows: 7, room: 8, busy: Duration::from_millis(1500) };
        let mut reading = DeviceReading {
            engines: 2,
            done: vec![(Network::Segmentation, done), (Network::Embedding, Done::default())],
            ..DeviceReading::default()
        };
        let told = |reading: &DeviceReading| {
            let mut page = Exposition::default();
            tell(&mut page, reading);
            page.finish()
        };
        let cpu = told(&reading);
        assert_eq!(lint::problems(&cpu), [""; 0]);
        assert!(cpu.contains("\nrollcall_device_rows_total{network=\"segmentation\"} 7\n"), "{cpu}");
        assert!(
            cpu.contains("\nrollcall_device_busy_seconds_total{network=\"segmentation\"} 1.5\n"),
            "{cpu}"
        );
        let none_yet = "\nrollcall_device_rows_total{network=\"embedding\"} 0\n";
        assert!(cpu.contains(none_yet), "a rate needs the zero: {cpu}");
        assert!(!cpu.contains("memory") && !cpu.contains("utilization"), "{cpu}");
        reading.memory = Some(DeviceGauges { used_bytes: 1, reserved_bytes: 2, high_water_bytes: 3 });
        reading.utilization = Some(0.5);
        let gpu = told(&reading);
        assert_eq!(lint::problems(&gpu), [""; 0]);
        assert!(gpu.contains("\nrollcall_device_memory_bytes{kind=\"high_water\"} 3\n"), "{gpu}");
        assert!(gpu.contains("\nrollcall_device_utilization_ratio 0.5\n"), "{gpu}");
    }
}

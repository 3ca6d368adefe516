//! Bringing back what was lost: due jobs, leases that ran out, bells nobody heard, exports and folders left over.

use std::time::Duration;

use common::fleet::rescue::{self, RescueRules};
use common::fleet::{export, sweep};
use common::job::worker::WorkerId;
use common::port::broker::Broker;
use common::port::job_store::JobStore;
use common::port::object_store::ObjectStore;
use common::telemetry::metrics;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;

/// Time between two passes: what a job that falls due may wait longer.
const EVERY: Duration = Duration::from_secs(1);
/// Exports and folders of one pass.
const BATCH: usize = 16;
/// How long an export or a sweep is hidden from other rescuers: longer than a pass takes.
const CLAIM: Duration = Duration::from_secs(60);

/// Brings back lost jobs until told to stop.
pub async fn run(jobs: impl JobStore, broker: impl Broker, owner: WorkerId, stop: CancellationToken) {
    let rules = RescueRules::default();
    let mut rescues = Outage::new("rescue");
    while !stop.is_cancelled() {
        match rescue::pass(&jobs, &broker, &owner, &rules).await {
            Err(error) => rescues.failed(&error),
            Ok(rescued) => {
                metrics::rescued(&rescued);
                match &rescued.error {
                    Some(error) => rescues.failed(error),
                    None => rescues.over(),
                }
                if rescued.ended > 0 || rescued.rung > 0 {
                    tracing::info!(ended = rescued.ended, rung = rescued.rung, "rescued");
                }
            }
        }
        rest(&stop).await;
    }
}

/// Exports and sweeps what was left over until told to stop. Apart from [`run`]: a place for results that does not answer
/// holds up no lost job.
pub async fn clear(jobs: impl JobStore, objects: impl ObjectStore, stop: CancellationToken) {
    let (mut exports, mut sweeps) = (Outage::new("export"), Outage::new("sweep"));
    while !stop.is_cancelled() {
        match export::pass(&jobs, &objects, BATCH, CLAIM).await {
            Err(error) => exports.failed(&error),
            Ok((_, Some(error))) => exports.failed(&error),
            Ok((_, None)) => exports.over(),
        }
        match sweep::pass(&jobs, &objects, BATCH, CLAIM).await {
            Err(error) => sweeps.failed(&error),
            Ok((_, Some(error))) => sweeps.failed(&error),
            Ok((_, None)) => sweeps.over(),
        }
        rest(&stop).await;
    }
}

async fn rest(stop: &CancellationToken) {
    tokio::select! {
        () = sleep(EVERY) => {}
        () = stop.cancelled() => {}
    }
}

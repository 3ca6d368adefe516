//! The worker seen from outside: it says that it lives, and hears what is to be stopped.

use std::sync::Arc;
use std::time::Duration;

use common::job::worker::WorkerInfo;
use common::port::job_store::JobStore;
use common::port::object_store::ObjectStore;
use common::telemetry::metrics;

use super::craft::Craft;
use super::errand::Floor;
use super::phase::Phase;
use super::troubles::Troubles;

/// How long one question for cancels waits at the server.
const LISTEN: Duration = Duration::from_secs(5);
/// Wait after a question that nobody answered.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the fleet about this worker for ever, and at once when it begins to drain.
pub async fn beat<S: JobStore, O: ObjectStore, C: Craft>(floor: Arc<Floor<S, O, C>>) {
    let mut troubles = Troubles::of("heartbeat");
    let host = host();
    loop {
        let draining = floor.phases.now() >= Phase::Draining;
        if draining {
            metrics::draining();
        }
        let info = info(&floor, &host, draining);
        let beat = floor.tools.store.heartbeat(&info, floor.rules.heartbeat_lasts).await;
        troubles.outcome(beat.as_ref().err());
        match beat {
            Ok(()) => floor.phases.work(),
            Err(_) => metrics::heartbeat_failed(),
        }
        let wait = tokio::time::sleep(floor.rules.heartbeat_every);
        if draining {
            wait.await;
        } else {
            tokio::select! { () = wait => {} () = floor.phases.reached(Phase::Draining) => {} }
        }
    }
}

fn info<S: JobStore, O: ObjectStore, C: Craft>(
    floor: &Floor<S, O, C>,
    host: &str,
    draining: bool,
) -> WorkerInfo {
    let badge = floor.tools.craft.badge();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    WorkerInfo {
        id: floor.worker.clone(),
        host: host.to_owned(),
        device: badge.device,
        device_name: badge.device_name,
        bundle: badge.bundle,
        version: badge.version,
        jobs: count(floor.seats.jobs()),
        slots: count(floor.rules.jobs_max),
        audio_s_per_s: floor.audio_s_per_s(),
        capacity: floor.capacity(),
        draining,
    }
}

/// Hears of cancels as they are requested. Lease extensions say them again, so nothing depends on this.
pub async fn hear_cancels<S: JobStore, O: ObjectStore, C: Craft>(floor: Arc<Floor<S, O, C>>) {
    let mut troubles = Troubles::of("cancels");
    loop {
        let heard = floor.tools.store.next_cancels(&floor.worker, LISTEN).await;
        troubles.outcome(heard.as_ref().err());
        match heard {
            Ok(jobs) => floor.cancel(&jobs),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The machine's name, as far as the system says it.
#[must_use]
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

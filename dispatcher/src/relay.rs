//! From the outbox to the queue: once for a submission, again and again for `serve`.

use std::collections::BTreeSet;
use std::time::Duration;

use common::fleet::relay::{self, RelayRules};
use common::job::lane::Lane;
use common::port::broker::{Broker, BrokerError};
use common::port::job_store::{JobStore, StoreResult};
use common::telemetry::metrics;
use futures::future::try_join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;

/// Passes after which a submission leaves the rest to others: 16 batches of 256 bells.
const PASSES_MAX: usize = 16;
/// Pause after a pass that found nothing; one that found something is followed by another at once.
const IDLE: Duration = Duration::from_millis(100);
/// Pause after a pass that failed.
const FAILED: Duration = Duration::from_secs(1);

/// Publishes the bells that wait in these lanes, up to a bound; gives the last reason why one did not ring. Bells that did
/// not ring come back for any relay when the claim on them lapses.
///
/// # Errors
/// When the job store does not answer.
pub async fn ring(
    jobs: &impl JobStore,
    broker: &impl Broker,
    lanes: &BTreeSet<Lane>,
) -> StoreResult<Option<BrokerError>> {
    let rung = lanes.iter().map(|lane| ring_lane(jobs, broker, *lane));
    Ok(try_join_all(rung).await?.into_iter().flatten().next_back())
}

async fn ring_lane(
    jobs: &impl JobStore,
    broker: &impl Broker,
    lane: Lane,
) -> StoreResult<Option<BrokerError>> {
    let rules = RelayRules::default();
    for _ in 0..PASSES_MAX {
        let relayed = relay::pass(jobs, broker, lane, &rules).await?;
        if !relayed.is_full(&rules) {
            return Ok(relayed.error);
        }
    }
    Ok(None)
}

/// Publishes a lane's bells until told to stop.
pub async fn run(jobs: impl JobStore, broker: impl Broker, lane: Lane, stop: CancellationToken) {
    let rules = RelayRules::default();
    let mut outage = Outage::new(format!("relay {lane}"));
    while !stop.is_cancelled() {
        let pause = match relay::pass(&jobs, &broker, lane, &rules).await {
            Err(error) => {
                outage.failed(&error);
                FAILED
            }
            Ok(relayed) => {
                metrics::relayed(&relayed);
                match &relayed.error {
                    Some(error) => {
                        outage.failed(error);
                        FAILED
                    }
                    None => {
                        outage.over();
                        if relayed.published > 0 { Duration::ZERO } else { IDLE }
                    }
                }
            }
        };
        if !pause.is_zero() {
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

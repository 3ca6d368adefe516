//! What brings back everything that was lost: due jobs, leases that ran out, bells that nobody heard.

use std::time::Duration;

use crate::job::lane::Lane;
use crate::job::retry;
use crate::job::transition::Ended;
use crate::job::worker::WorkerId;
use crate::port::broker::{Broker, BrokerError};
use crate::port::job_store::{JobStore, LaneDepth, StoreResult};

/// How a rescuer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RescueRules {
    /// Jobs looked at in each step of a pass.
    pub batch: usize,
    /// How long the turn to ring is kept: longer than a pass takes, short enough that a dead rescuer is soon replaced.
    pub turn: Duration,
}

impl Default for RescueRules {
    fn default() -> Self {
        Self { batch: 256, turn: Duration::from_secs(15) }
    }
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Jobs that fell due.
    pub promoted: usize,
    /// Leases that were ended.
    pub ended: usize,
    /// Bells that were rung again.
    pub rung: usize,
    /// Final jobs that were forgotten.
    pub forgotten: usize,
    /// Why nothing was rung, when the broker did not say how full it is.
    pub error: Option<BrokerError>,
}

/// One pass. Every step is safe beside any number of other rescuers; only ringing, which compares two counts, is left to
/// the one whose turn it is.
///
/// # Errors
/// When the job store does not answer; what was done is done.
pub async fn pass(
    store: &impl JobStore,
    broker: &impl Broker,
    owner: &WorkerId,
    rules: &RescueRules,
) -> StoreResult<Rescued> {
    let mut rescued = Rescued { promoted: store.promote_due(rules.batch).await?, ..Rescued::default() };
    for lease in store.expired_leases(rules.batch).await? {
        let after = retry::after_crash(lease.crashes, &lease.limits);
        if let Ended::Now(_) = store.end_lease(lease.key, after).await? {
            rescued.ended += 1;
        }
    }
    if store.rescue_turn(owner, rules.turn).await? {
        match ring(store, broker, owner, rules).await? {
            Ok(rung) => rescued.rung = rung,
            Err(error) => rescued.error = Some(error),
        }
        rescued.forgotten = store.prune(rules.batch).await?;
    }
    Ok(rescued)
}

async fn ring(
    store: &impl JobStore,
    broker: &impl Broker,
    owner: &WorkerId,
    rules: &RescueRules,
) -> StoreResult<Result<usize, BrokerError>> {
    let status = store.status().await?;
    let mut rung = 0;
    for lane in Lane::ALL {
        let depth = status.lane(lane);
        if depth.ready <= depth.outbox {
            continue;
        }
        let in_broker = match broker.ready(lane).await {
            Ok(in_broker) => in_broker,
            Err(error) => return Ok(Err(error)),
        };
        let missing = bells_missing(depth, in_broker).min(rules.batch);
        if missing > 0 {
            rung += store.ring(owner, lane, missing).await?;
        }
    }
    Ok(Ok(rung))
}

/// Bells that may be missing in a lane: available jobs beyond those whose notice is in the broker or still in the
/// outbox. A notice that is on its way from one to the other counts twice, so the error is on the side of silence.
#[must_use]
pub fn bells_missing(depth: &LaneDepth, in_broker: u64) -> usize {
    let missing = depth.ready.saturating_sub(depth.outbox).saturating_sub(in_broker);
    usize::try_from(missing).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_difference_is_rung() {
        let depth = |ready, outbox| LaneDepth { ready, outbox, ..LaneDepth::default() };
        assert_eq!(bells_missing(&depth(0, 0), 0), 0);
        assert_eq!(bells_missing(&depth(10, 0), 0), 10);
        assert_eq!(bells_missing(&depth(10, 3), 4), 3);
        assert_eq!(bells_missing(&depth(10, 3), 7), 0);
        assert_eq!(bells_missing(&depth(10, 300), 700), 0);
    }
}

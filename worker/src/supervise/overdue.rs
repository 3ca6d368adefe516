//! Bells that the queue should have had long ago: a worker with room looks into the outbox itself, so that a queue that is away,
//! or that takes notices and gives none, delays jobs and does not hold them up.
//!
//! Nothing decides that the queue is away: a bell that is old shows it. Whoever hears of a job this way competes for its lease
//! as with any notice.

use std::time::Duration;

use common::fleet::relay::RelayRules;
use common::job::lane::Lane;
use common::port::job_store::{BellClaim, JobStore, OutboxEntry};
use tokio::time::Instant;

use super::upkeep::jittered;

/// Mean time between two looks of a task that waits for notices.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How old a bell is that the queue should have had: relays look ten times a second.
const OVERDUE: Duration = Duration::from_secs(5);

/// Looks for such bells.
#[derive(Debug)]
pub struct Overdue {
    /// When the next look is due.
    due: Instant,
}

impl Overdue {
    pub fn new() -> Self {
        Self { due: Instant::now() + jittered(LOOK_EVERY) }
    }

    /// A bell of these lanes, where a look is due and finds one. Where there is one there are more: then the next is due at once.
    pub async fn look(&mut self, store: &impl JobStore, lanes: &[Lane]) -> Option<OutboxEntry> {
        if Instant::now() < self.due {
            return None;
        }
        let claim = BellClaim { lanes, waited: OVERDUE, ..BellClaim::any(1, RelayRules::default().claim) };
        // A job store that does not answer is told of by whoever relays.
        let found = store.claim_outbox(claim).await.unwrap_or_default().pop();
        if found.is_none() {
            self.due = Instant::now() + jittered(LOOK_EVERY);
        }
        found
    }

    /// Waits for the next bell. May be dropped: what it had just claimed comes back when the claim lapses.
    pub async fn next(&mut self, store: &impl JobStore, lanes: &[Lane]) -> OutboxEntry {
        loop {
            tokio::time::sleep_until(self.due).await;
            if let Some(bell) = self.look(store, lanes).await {
                return bell;
            }
        }
    }
}

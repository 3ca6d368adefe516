//! Jobs that the queue should have given notice of long ago: a worker with room asks Redis for them itself, so that a queue
//! that is away, or that takes notices and gives none, delays jobs and does not hold them up.
//!
//! Nothing here decides that the queue is away. That a job waits, and that somebody with room hears nothing of it, shows it:
//! of any lane while no notice comes at all, of a higher lane while notices of lower ones come.

use std::time::Duration;

use common::fleet::take;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::port::job_store::JobStore;
use tokio::time::Instant;

use super::upkeep::jittered;

/// Mean time between two questions of a task that waits for notices.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What one task that takes notices hears and does not hear.
#[derive(Debug)]
pub struct Unheard {
    /// The lanes that it takes from.
    lanes: Vec<Lane>,
    /// Those of them of which a notice should have come instead of the last one.
    passed_over: Vec<Lane>,
    /// When the next question about those is due.
    due: Instant,
}

impl Unheard {
    pub fn of(lanes: &[Lane]) -> Self {
        Self { lanes: lanes.to_vec(), passed_over: Vec::new(), due: Instant::now() }
    }

    /// A notice of this lane came.
    pub fn heard(&mut self, lane: Lane) {
        let had_none = self.passed_over.is_empty();
        self.passed_over = self.lanes.iter().copied().filter(|other| *other < lane).collect();
        if had_none {
            self.due = Instant::now() + jittered(ASK_EVERY);
        }
    }

    /// A job of the lanes that were passed over, now and then.
    pub async fn passed_over(&mut self, store: &impl JobStore) -> Option<JobId> {
        if self.passed_over.is_empty() || Instant::now() < self.due {
            return None;
        }
        let found = ask(store, &self.passed_over).await;
        if found.is_none() {
            self.due = Instant::now() + jittered(ASK_EVERY);
        }
        found
    }

    /// Waits for a job of any lane of which nobody gives notice. May be dropped: what the answer names then is told to somebody
    /// else a while later.
    pub async fn next(&mut self, store: &impl JobStore) -> JobId {
        loop {
            tokio::time::sleep(jittered(ASK_EVERY)).await;
            if let Some(job) = ask(store, &self.lanes).await {
                // Where there is one there may be more, of any lane.
                (self.passed_over, self.due) = (self.lanes.clone(), Instant::now());
                return job;
            }
        }
    }
}

async fn ask(store: &impl JobStore, lanes: &[Lane]) -> Option<JobId> {
    // A job store that does not answer is told of by whoever relays.
    take::unheard(store, lanes).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_lanes_are_passed_over() {
        let mut unheard = Unheard::of(&Lane::ALL);
        for (lane, expected) in
            [(Lane::Low, &[Lane::High, Lane::Normal][..]), (Lane::Normal, &[Lane::High]), (Lane::High, &[])]
        {
            unheard.heard(lane);
            assert_eq!(unheard.passed_over, expected);
        }
        // Lanes that it does not take from are not its concern.
        let mut unheard = Unheard::of(&[Lane::Normal, Lane::Low]);
        unheard.heard(Lane::Low);
        assert_eq!(unheard.passed_over, [Lane::Normal]);
    }
}

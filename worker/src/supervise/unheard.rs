//! Jobs that the queue should have given notice of long ago: a worker with room asks Redis for them itself, so that a queue
//! that is away, or that takes notices and gives none, delays jobs and does not hold them up.
//!
//! Nothing here decides that the queue is away. That a job waits, and that somebody with room hears nothing of it, shows it:
//! of any lane while no notice leads to a job, of a higher lane where a notice of a lower one comes. The queue goes first
//! whenever it has something to say: what is taken past it leaves a notice in it that is of no use any more.

use std::time::Duration;

use common::fleet::take;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::port::job_store::JobStore;
use tokio::time::Instant;

use super::upkeep::jittered;

/// Mean time for which a notice is waited for before Redis is asked, and between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The same after a job that was found this way: where there is one there are more, but the queue may be back.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What one task that takes notices hears and does not hear.
#[derive(Debug)]
pub struct Unheard {
    /// The lanes that it takes from.
    lanes: Vec<Lane>,
    patience: Duration,
    /// When the next question is due; `None` until the task listens.
    due: Option<Instant>,
    /// When the next one about lanes above that of a notice is.
    above_due: Instant,
}

impl Unheard {
    pub fn of(lanes: &[Lane]) -> Self {
        Self { lanes: lanes.to_vec(), patience: ASK_EVERY, due: None, above_due: Instant::now() }
    }

    /// A notice led to a job: the queue speaks.
    pub fn heard(&mut self) {
        (self.patience, self.due) = (ASK_EVERY, None);
    }

    /// There was no room meanwhile, so the queue was not listened to.
    pub fn was_full(&mut self) {
        self.due = None;
    }

    /// When the next question is due, from the moment on at which the task listens.
    pub fn due(&mut self) -> Instant {
        let patience = self.patience;
        *self.due.get_or_insert_with(|| Instant::now() + jittered(patience))
    }

    /// A job of any lane, where a question is due.
    pub async fn any(&mut self, store: &impl JobStore) -> Option<JobId> {
        if Instant::now() < self.due() {
            return None;
        }
        let found = ask(store, &self.lanes).await;
        self.patience = if found.is_some() { ASK_AGAIN } else { ASK_EVERY };
        self.due = None;
        found
    }

    /// A job of a lane above that of a notice which has just come instead of its own.
    pub async fn above(&mut self, lane: Lane, store: &impl JobStore) -> Option<JobId> {
        let above = self.above_of(lane);
        if above.is_empty() || Instant::now() < self.above_due {
            return None;
        }
        let found = ask(store, &above).await;
        if found.is_none() {
            self.above_due = Instant::now() + jittered(ASK_EVERY);
        }
        found
    }

    fn above_of(&self, lane: Lane) -> Vec<Lane> {
        self.lanes.iter().copied().filter(|other| *other < lane).collect()
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
    fn only_higher_lanes_of_its_own_are_above() {
        let all = Unheard::of(&Lane::ALL);
        for (lane, expected) in
            [(Lane::Low, &[Lane::High, Lane::Normal][..]), (Lane::Normal, &[Lane::High]), (Lane::High, &[])]
        {
            assert_eq!(all.above_of(lane), expected);
        }
        assert_eq!(Unheard::of(&[Lane::Normal, Lane::Low]).above_of(Lane::Low), [Lane::Normal]);
    }

    #[test]
    fn the_queue_gets_its_time_whenever_somebody_begins_to_listen() {
        let mut unheard = Unheard::of(&Lane::ALL);
        let before = Instant::now();
        let due = unheard.due();
        assert!(due >= before + ASK_EVERY / 2);
        assert_eq!(unheard.due(), due, "a wait that goes on is not begun anew");
        unheard.patience = ASK_AGAIN;
        unheard.was_full();
        let again = unheard.due();
        assert!(again >= before + ASK_AGAIN / 2 && unheard.due() == again);
        unheard.heard();
        assert!(unheard.due() >= before + ASK_EVERY / 2);
    }
}

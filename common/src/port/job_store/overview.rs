//! The queue seen from outside.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::record::{JobRecord, JobState};

/// Most records of one listing.
pub const LIST_MAX: usize = 10_000;

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only with this tag.
    pub tag: Option<(String, String)>,
    /// At most this many, and at most [`LIST_MAX`].
    pub limit: usize,
    /// Only those older than this one: the last of a page gives the next page, whatever came meanwhile.
    pub before: Option<JobId>,
}

impl JobFilter {
    /// Whether a record passes, the number apart.
    #[must_use]
    pub fn passes(&self, record: &JobRecord) -> bool {
        let tag = |(key, value): &(String, String)| record.spec.tags.get(key) == Some(value);
        self.state.is_none_or(|state| record.state == state)
            && self.before.is_none_or(|before| record.id < before)
            && self.tag.as_ref().is_none_or(tag)
    }
}

/// Jobs of one lane that are not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneDepth {
    /// Available.
    pub ready: u64,
    /// Scheduled.
    pub scheduled: u64,
    /// Retryable.
    pub retryable: u64,
    /// Running.
    pub running: u64,
    /// Bells waiting to be published.
    pub outbox: u64,
}

/// The queue in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueStatus {
    /// The store's time.
    pub at: Timestamp,
    /// By lane, in the order of [`Lane::ALL`].
    pub depth: [LaneDepth; 3],
    /// Discarded jobs.
    pub dead: u64,
    /// Completed jobs that are not exported yet.
    pub exports: u64,
    /// Webhooks waiting to be delivered.
    pub webhooks: u64,
    /// Audio of the jobs that wait (available, scheduled, retryable), as far as its length is known.
    pub audio_waiting: Duration,
    /// Jobs accepted per second over the last minute.
    pub arrived_per_s: f64,
    /// Jobs completed per second over the last minute.
    pub completed_per_s: f64,
    /// Seconds of audio completed per second over the last minute.
    pub audio_s_per_s: f64,
    /// How long the oldest available job has been available.
    pub oldest: Option<Duration>,
    /// Workers alive.
    pub workers_alive: u64,
}

impl QueueStatus {
    /// One lane's numbers.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> &LaneDepth {
        &self.depth[lane.index()]
    }

    /// Bells waiting to be published, of every lane.
    #[must_use]
    pub fn outbox(&self) -> u64 {
        self.depth.iter().map(|lane| lane.outbox).sum()
    }

    /// Time until everything that waits is done at the present rate: by audio where its length is known, else by jobs.
    /// `None` when nothing is being done.
    #[must_use]
    pub fn drain(&self) -> Option<Duration> {
        let jobs: u64 = self.depth.iter().map(|lane| lane.ready + lane.running + lane.retryable).sum();
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let (work, rate) = if !self.audio_waiting.is_zero() && self.audio_s_per_s > 0.0 {
            (self.audio_waiting.as_secs_f64(), self.audio_s_per_s)
        } else {
            (jobs as f64, self.completed_per_s)
        };
        if work <= 0.0 {
            return Some(Duration::ZERO);
        }
        // The quotient of a tiny rate may be more than a duration holds.
        Duration::try_from_secs_f64(work / rate).ok()
    }

    /// Workers that would drain the queue within `target`, given what one does; at least 1 while anything waits or
    /// runs.
    #[must_use]
    pub fn workers_wanted(&self, target: Duration) -> u64 {
        let jobs: u64 = self.depth.iter().map(|lane| lane.ready + lane.running).sum();
        let Some(drain) = self.drain().filter(|_| self.workers_alive > 0) else { return u64::from(jobs > 0) };
        let share = drain.as_secs_f64() / target.as_secs_f64().max(1.0);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate"
        )]
        let wanted = (share * self.workers_alive as f64).ceil() as u64;
        wanted.max(u64::from(jobs > 0))
    }
}

/// Counts per ten seconds, of which the last minute makes the rates: shared by the adapters so that they agree.
pub mod rates {
    /// Length of a bucket, milliseconds.
    pub const BUCKET_MS: u64 = 10_000;
    /// Buckets that make a rate, the current one included.
    pub const BUCKETS: u64 = 6;

    /// The rate of a sum over the last [`BUCKETS`] buckets at `now_ms`.
    #[must_use]
    pub fn per_second(sum: u64, now_ms: u64) -> f64 {
        let covered_ms = (BUCKETS - 1) * BUCKET_MS + now_ms % BUCKET_MS;
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let rate = sum as f64 * 1000.0 / covered_ms as f64;
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> QueueStatus {
        QueueStatus {
            at: Timestamp::from_millis(0),
            depth: [LaneDepth::default(); 3],
            dead: 0,
            exports: 0,
            webhooks: 0,
            audio_waiting: Duration::ZERO,
            arrived_per_s: 0.0,
            completed_per_s: 0.0,
            audio_s_per_s: 0.0,
            oldest: None,
            workers_alive: 0,
        }
    }

    #[test]
    fn an_empty_queue_is_drained_and_wants_nobody() {
        assert_eq!(status().drain(), Some(Duration::ZERO));
        assert_eq!(status().workers_wanted(Duration::from_secs(600)), 0);
    }

    #[test]
    fn work_without_workers_wants_one() {
        let mut status = status();
        status.depth[0].ready = 1000;
        assert_eq!(status.drain(), None);
        assert_eq!(status.workers_wanted(Duration::from_secs(600)), 1);
    }

    #[test]
    fn what_workers_do_tells_how_many_are_wanted() {
        let mut status = status();
        (status.depth[1].ready, status.workers_alive) = (100, 2);
        (status.audio_waiting, status.audio_s_per_s) = (Duration::from_secs(36_000), 20.0);
        assert_eq!(status.drain(), Some(Duration::from_secs(1800)));
        assert_eq!(status.workers_wanted(Duration::from_secs(600)), 6);
        status.audio_waiting = Duration::ZERO;
        status.completed_per_s = 0.5;
        assert_eq!(status.drain(), Some(Duration::from_secs(200)));
    }
}

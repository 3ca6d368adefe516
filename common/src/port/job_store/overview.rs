//! The queue seen from outside.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::record::{JobRecord, JobState};
use crate::scaling::{Load, ScalingRules};

/// Most records of one listing.
pub const LIST_MAX: usize = 10_000;

/// Records that one listing looks at unless it is said otherwise.
pub const LOOKS_MAX: usize = 4096;

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only those that have not ended.
    pub unfinished: bool,
    /// Only with this tag.
    pub tag: Option<(String, String)>,
    /// At most this many, and at most [`LIST_MAX`].
    pub limit: usize,
    /// Only those older than this one: [`JobPage::next`] gives the next page, whatever came meanwhile.
    pub before: Option<JobId>,
    /// At most this many are looked at, so that a search for what is rare has a bound; [`LOOKS_MAX`] or the limit, whichever
    /// is more, when nothing is said.
    pub looks: Option<usize>,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobPage {
    /// What passes, the newest first. May be fewer than asked for, or none, while there is a next page.
    pub jobs: Vec<JobRecord>,
    /// Where the listing stopped: give it as [`JobFilter::before`] to go on. `None` when everything was looked at.
    pub next: Option<JobId>,
    /// Records that were left out since this version cannot read them.
    pub unreadable: usize,
}

impl JobFilter {
    /// How many records may be looked at; at least one, so that every page goes on.
    #[must_use]
    pub fn looks(&self) -> usize {
        self.looks.unwrap_or_else(|| self.limit.clamp(LOOKS_MAX, LIST_MAX)).max(1)
    }

    /// Whether a record passes, the number apart.
    #[must_use]
    pub fn passes(&self, record: &JobRecord) -> bool {
        let tag = |(key, value): &(String, String)| record.spec.tags.get(key) == Some(value);
        self.state.is_none_or(|state| record.state == state)
            && !(self.unfinished && record.state.is_final())
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
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueueStatus {
    /// The store's time.
    pub at: Timestamp,
    /// By lane, in the order of [`Lane::ALL`].
    pub depth: [LaneDepth; 3],
    /// Discarded jobs.
    pub dead: u64,
    /// Completed jobs that are not exported yet.
    pub exports: u64,
    /// Those of them whose worker has had its time and which nobody has claimed.
    pub exports_overdue: u64,
    /// Webhooks waiting to be delivered.
    pub webhooks: u64,
    /// Audio of the jobs that wait (available, scheduled, retryable), as far as its length is known or suggested by its size.
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
    /// How long the job of the next bell to be published has been available.
    pub outbox_oldest: Option<Duration>,
    /// What scaling goes by.
    pub load: Load,
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

    /// Available jobs, of every lane.
    #[must_use]
    pub fn ready(&self) -> u64 {
        self.depth.iter().map(|lane| lane.ready).sum()
    }

    /// Running jobs, of every lane.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.depth.iter().map(|lane| lane.running).sum()
    }

    /// Audio of everything that waits: lengths that are not known are taken to be as long as those of late.
    #[must_use]
    pub fn audio_waiting_estimate(&self) -> Duration {
        let waiting: u64 = self.depth.iter().map(|lane| lane.ready + lane.scheduled + lane.retryable).sum();
        let mean = self.load.mean_audio.unwrap_or(ScalingRules::default().audio_guess);
        let unknown = u32::try_from(waiting.saturating_sub(self.load.waiting_timed)).unwrap_or(u32::MAX);
        self.audio_waiting.saturating_add(mean.saturating_mul(unknown))
    }

    /// Time until everything that waits is done at the present rate: by audio, or by jobs where no audio was completed of
    /// late. `None` when nothing is being done.
    #[must_use]
    pub fn drain(&self) -> Option<Duration> {
        let jobs: u64 = self.depth.iter().map(|lane| lane.ready + lane.running + lane.retryable).sum();
        let audio = self.audio_waiting_estimate();
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let (work, rate) = if !audio.is_zero() && self.audio_s_per_s > 0.0 {
            (audio.as_secs_f64(), self.audio_s_per_s)
        } else {
            (jobs as f64, self.completed_per_s)
        };
        if work <= 0.0 {
            return Some(Duration::ZERO);
        }
        // The quotient of a tiny rate may be more than a duration holds.
        Duration::try_from_secs_f64(work / rate).ok()
    }

    /// Workers that the fleet should have, by the rules that every program goes by.
    #[must_use]
    pub fn workers_wanted(&self) -> u64 {
        ScalingRules::default().wanted(self)
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

    #[test]
    fn an_empty_queue_is_drained_and_wants_nobody() {
        assert_eq!(QueueStatus::default().drain(), Some(Duration::ZERO));
        assert_eq!(QueueStatus::default().workers_wanted(), 0);
    }

    #[test]
    fn work_without_workers_has_no_end_and_wants_some() {
        let mut status = QueueStatus::default();
        status.depth[0].ready = 1;
        assert_eq!(status.drain(), None);
        assert_eq!(status.workers_wanted(), 1);
    }

    #[test]
    fn what_waits_is_told_in_audio_as_far_as_it_is_known() {
        let mut status = QueueStatus::default();
        (status.depth[1].ready, status.depth[2].scheduled, status.workers_alive) = (90, 10, 2);
        (status.audio_waiting, status.load.waiting_timed) = (Duration::from_secs(36_000), 100);
        (status.audio_s_per_s, status.completed_per_s) = (20.0, 0.5);
        assert_eq!(status.drain(), Some(Duration::from_secs(1800)));
        (status.load.waiting_timed, status.load.mean_audio) = (50, Some(Duration::from_secs(40)));
        assert_eq!(status.audio_waiting_estimate(), Duration::from_secs(38_000));
        (status.audio_waiting, status.audio_s_per_s, status.load) = (Duration::ZERO, 0.0, Load::default());
        assert_eq!(
            status.audio_waiting_estimate(),
            Duration::from_secs(30_000),
            "calls, for all anybody knows"
        );
        assert_eq!(status.drain(), Some(Duration::from_secs(180)), "by jobs");
    }
}

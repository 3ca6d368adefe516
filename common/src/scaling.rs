//! How many workers a fleet should have: by seconds of audio against what a worker does a second, not by the number of
//! messages, since a message may be ten seconds or ten hours.
//!
//! [`ScalingRules::wanted`] is pure and keeps nothing between two calls, so that whoever asks (`rollcall queue`, the gauge
//! `rollcall_workers_wanted`, the dashboard) gets the same answer from the same [`QueueStatus`]. What memory scaling needs
//! lies in the job store: arriving work is an average over [`ARRIVALS_OVER`], which is also how long the policy takes to let
//! go of workers after a burst, and a worker's capacity is measured by the workers themselves.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::port::job_store::QueueStatus;

/// Over which time arriving work is averaged, with exponential weights. Chosen on the simulated day of
/// `tests/examples/scaling_day.rs`: shorter follows single bursts down again, longer pays for workers nobody needs.
pub const ARRIVALS_OVER: Duration = Duration::from_secs(600);
/// How much of a worker's measured capacity each heartbeat moves the fleet's.
pub const CAPACITY_WEIGHT: f64 = 0.05;
/// How much each completed recording moves the mean length: about the last hundred count.
pub const MEAN_WEIGHT: f64 = 0.02;

/// A mean that one more value moves by its weight; the first value is the mean.
#[must_use]
pub fn moved(mean: Option<f64>, value: f64, weight: f64) -> f64 {
    mean.map_or(value, |mean| mean + weight * (value - mean))
}

/// Work as it arrives, averaged with exponential weights.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Arrivals {
    at: Timestamp,
    now: Arriving,
}

/// Rates of arriving work.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Arriving {
    /// Seconds of audio a second, of jobs whose length is known.
    pub audio_s_per_s: f64,
    /// Jobs a second whose length is not.
    pub untimed_per_s: f64,
}

impl Arrivals {
    /// A job arrives; `audio` is its length, where it is known.
    pub fn arrived(&mut self, audio: Option<Duration>, now: Timestamp) {
        self.now = self.at(now);
        self.at = now;
        let over_s = ARRIVALS_OVER.as_secs_f64();
        match audio {
            Some(audio) => self.now.audio_s_per_s += audio.as_secs_f64() / over_s,
            None => self.now.untimed_per_s += 1.0 / over_s,
        }
    }

    /// The rates at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Arriving {
        self.now.decayed(now.since(self.at))
    }
}

impl Arriving {
    /// These rates after so long without any arrival.
    #[must_use]
    pub fn decayed(self, after: Duration) -> Self {
        let keep = (-after.as_secs_f64() / ARRIVALS_OVER.as_secs_f64()).exp();
        Self { audio_s_per_s: self.audio_s_per_s * keep, untimed_per_s: self.untimed_per_s * keep }
    }
}

/// What the policy goes by beside the depth of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Of the jobs that wait in any state, those whose length is known, or estimated by their size
    /// ([`SourceRef::length_estimate`](crate::job::spec::SourceRef::length_estimate)).
    pub waiting_timed: u64,
    /// Of the available jobs, those whose length is known.
    pub ready_timed: u64,
    /// Their audio.
    pub ready_audio: Duration,
    /// Of the running jobs, those whose length is known.
    pub running_timed: u64,
    /// Their audio.
    pub running_audio: Duration,
    /// What arrives.
    pub arriving: Arriving,
    /// Mean length of what was completed of late; `None` when nothing has been.
    pub mean_audio: Option<Duration>,
    /// Workers that take no more jobs and will be gone soon.
    pub draining: u64,
    /// Seconds of audio that one busy worker does a second; 0 when no worker has said yet.
    pub capacity: f64,
}

/// How a fleet is scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalingRules {
    /// Fewest workers.
    pub workers_min: u64,
    /// Most workers.
    pub workers_max: u64,
    /// Within which time what waits should be done.
    pub drain: Duration,
    /// Which share of the fleet's capacity arriving work may take; the rest is for its unevenness.
    pub load_max: f64,
    /// A fleet shrinks only to a size of which the need is at most this share, so that it does not grow again at once.
    pub shrink_below: f64,
    /// How old the oldest job should never get; from half of it on, more workers are asked for.
    pub age_max: Duration,
    /// Seconds of audio a second that a worker is believed to do before any has said.
    pub capacity_guess: f64,
    /// Length that a recording is believed to have when none has been completed.
    pub audio_guess: Duration,
}

impl Default for ScalingRules {
    /// Ten minutes to drain, as the contract's `drain_s` is read; the guesses are a CPU worker of two cores
    /// (`tests/RESULTS.md`) with half of its measured speed, and a call.
    fn default() -> Self {
        Self {
            workers_min: 0,
            workers_max: 1000,
            drain: Duration::from_secs(600),
            load_max: 0.8,
            shrink_below: 0.8,
            age_max: Duration::from_secs(900),
            capacity_guess: 50.0,
            audio_guess: Duration::from_secs(300),
        }
    }
}

/// Need below which a fleet with nothing to do is let go altogether, workers.
const NOTHING: f64 = 0.02;

impl ScalingRules {
    /// Workers that are needed, as a fraction: those that keep up with what arrives, or those that work off what waits,
    /// whichever are more.
    #[must_use]
    pub fn need(&self, status: &QueueStatus) -> f64 {
        let load = &status.load;
        let mean_s = load.mean_audio.unwrap_or(self.audio_guess).as_secs_f64();
        let capacity = if load.capacity > 0.0 { load.capacity } else { self.capacity_guess };
        let (ready, running) = (status.ready(), status.running());
        let audio = |timed: u64, known: Duration, jobs: u64| {
            known.as_secs_f64() + count(jobs.saturating_sub(timed)) * mean_s
        };
        // What runs is on average half done.
        let waiting_s = audio(load.ready_timed, load.ready_audio, ready)
            + audio(load.running_timed, load.running_audio, running) / 2.0;
        let arriving = load.arriving.audio_s_per_s + load.arriving.untimed_per_s * mean_s;
        let flow = arriving / (capacity * self.load_max);
        let backlog = waiting_s / (capacity * self.drain.as_secs_f64().max(1.0));
        let soon = self.age_max.as_secs_f64() / 2.0;
        let age = status.oldest.unwrap_or_default().as_secs_f64();
        let urgency = (age / soon.max(1.0)).clamp(1.0, 2.0);
        // What has just arrived is in both, so they are not added. A job keeps one worker busy, however long it is.
        flow.max((backlog * urgency).min(count(ready + running)))
    }

    /// Workers that the fleet should have.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below and above")]
    pub fn wanted(&self, status: &QueueStatus) -> u64 {
        // Who leaves is no size to fall back to: a fleet that has just shrunk would grow again.
        let (need, alive) = (self.need(status), status.workers_alive.saturating_sub(status.load.draining));
        let whole = |need: f64| (need - NOTHING).max(0.0).ceil().min(1e9) as u64;
        let grown = whole(need);
        let wanted = if grown >= alive { grown } else { whole(need / self.shrink_below).min(alive) };
        let least = u64::from(status.ready() + status.running() > 0);
        wanted.max(least).clamp(self.workers_min, self.workers_max.max(self.workers_min))
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ScalingRules {
        ScalingRules { capacity_guess: 10.0, ..ScalingRules::default() }
    }

    /// Jobs of 100 s each, workers that do 10 s of audio a second.
    fn status(ready: u64, alive: u64) -> QueueStatus {
        let mut status = QueueStatus { workers_alive: alive, ..QueueStatus::default() };
        status.depth[1].ready = ready;
        status.load.ready_timed = ready;
        status.load.ready_audio = Duration::from_secs(100) * u32::try_from(ready).unwrap();
        status
    }

    #[test]
    fn who_leaves_is_nothing_to_fall_back_to() {
        // 510 jobs of 100 s want 8.5 workers.
        let mut status = status(510, 11);
        assert_eq!(rules().wanted(&status), 11, "a need of 8.5 is no reason to let two go");
        status.load.draining = 2;
        assert_eq!(rules().wanted(&status), 9);
    }

    #[test]
    fn nothing_wants_nobody_and_anything_wants_one() {
        assert_eq!(rules().wanted(&status(0, 0)), 0);
        assert_eq!(rules().wanted(&status(0, 5)), 0);
        assert_eq!(rules().wanted(&status(1, 0)), 1);
        let mut running = status(0, 1);
        running.depth[2].running = 1;
        assert_eq!(rules().wanted(&running), 1);
    }

    #[test]
    fn what_waits_is_done_within_the_time() {
        // 60,000 s of audio in 600 s are 100 s a second.
        assert_eq!(rules().wanted(&status(600, 0)), 10);
        assert_eq!(rules().wanted(&status(600, 3)), 10);
        let mut measured = status(600, 2);
        measured.load.capacity = 50.0;
        assert_eq!(rules().wanted(&measured), 2);
    }

    #[test]
    fn a_day_long_recording_wants_one_worker() {
        let mut long = status(1, 0);
        long.load.ready_audio = Duration::from_secs(86_400);
        assert_eq!(rules().wanted(&long), 1);
    }

    #[test]
    fn unknown_lengths_are_those_of_late_or_guessed() {
        let mut unknown = status(0, 0);
        unknown.depth[0].ready = 100;
        // 100 calls of 300 s.
        assert_eq!(rules().wanted(&unknown), 5);
        unknown.load.mean_audio = Some(Duration::from_secs(600));
        assert_eq!(rules().wanted(&unknown), 10);
    }

    #[test]
    fn arriving_work_is_kept_up_with_and_let_go_slowly() {
        let mut arrivals = Arrivals::default();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        for second in 0..6000 {
            arrivals.arrived(Some(Duration::from_secs(80)), at(second));
        }
        let mut busy = status(0, 10);
        busy.load.arriving = arrivals.at(at(6000));
        assert!((busy.load.arriving.audio_s_per_s - 80.0).abs() < 0.2, "{:?}", busy.load.arriving);
        assert_eq!(rules().wanted(&busy), 10, "80 of 100 s a second");
        busy.load.arriving = arrivals.at(at(6060));
        assert_eq!(rules().wanted(&busy), 10, "a minute without arrivals");
        busy.load.arriving = arrivals.at(at(6600));
        assert_eq!(rules().wanted(&busy), 5, "e^-1 of them, and room");
        busy.load.arriving = arrivals.at(at(10_000));
        assert_eq!(rules().wanted(&busy), 0);
    }

    #[test]
    fn a_fleet_shrinks_only_with_room_to_spare() {
        let needs = |need: f64, alive| {
            let mut status = status(0, alive);
            status.load.arriving.audio_s_per_s = need * 8.0;
            rules().wanted(&status)
        };
        assert_eq!(needs(9.5, 10), 10);
        assert_eq!(needs(8.5, 10), 10);
        assert_eq!(needs(7.9, 10), 10);
        assert_eq!(needs(7.1, 10), 9);
        assert_eq!(needs(8.5, 9), 9, "and does not grow again");
        assert_eq!(needs(10.5, 10), 11);
        assert_eq!(needs(0.01, 1), 0);
    }

    #[test]
    fn age_and_bounds_count() {
        let mut old = status(600, 10);
        old.oldest = Some(Duration::from_secs(450));
        assert_eq!(rules().wanted(&old), 10);
        old.oldest = Some(Duration::from_secs(675));
        assert_eq!(rules().wanted(&old), 15);
        old.oldest = Some(Duration::from_secs(99_999));
        assert_eq!(rules().wanted(&old), 20);
        let bounded = ScalingRules { workers_min: 2, workers_max: 12, ..rules() };
        assert_eq!(bounded.wanted(&old), 12);
        assert_eq!(bounded.wanted(&status(0, 0)), 2);
        let crossed = ScalingRules { workers_min: 5, workers_max: 1, ..rules() };
        assert_eq!(crossed.wanted(&old), 5);
    }
}

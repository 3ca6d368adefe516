//! How much audio this worker does per second while it has something to do: what scaling divides by.

use std::time::Duration;

use common::clock::Monotonic;

/// Busy time after which what was measured counts for 1/e: a few minutes of work say it well, and a change of what comes in
/// shows within half an hour.
const OVER_S: f64 = 600.0;
/// Busy time below which nothing is said.
const ENOUGH_S: f64 = 1.0;

/// Audio done against the time in which there was work.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    working: usize,
    /// Since when time counts as busy, while jobs are at work.
    since: Monotonic,
    /// Busy time that no recording has answered for yet.
    open: Duration,
    audio_s: f64,
    busy_s: f64,
}

impl Capacity {
    /// A job begins.
    pub fn begin(&mut self, now: Monotonic) {
        self.spend(now);
        self.working += 1;
    }

    /// A job is over; `audio` is the length of the recording it completed, else zero. Time spent on what failed is left to
    /// what completes next, since it is spent as well.
    pub fn end(&mut self, audio: Duration, now: Monotonic) {
        self.spend(now);
        self.working = self.working.saturating_sub(1);
        if audio.is_zero() {
            return;
        }
        let busy_s = std::mem::take(&mut self.open).as_secs_f64();
        let keep = (-busy_s / OVER_S).exp();
        self.busy_s = self.busy_s * keep + busy_s;
        self.audio_s = self.audio_s * keep + audio.as_secs_f64();
    }

    /// Seconds of audio per busy second; `None` while too little is known.
    #[must_use]
    pub fn audio_s_per_s(&self) -> Option<f64> {
        (self.busy_s >= ENOUGH_S).then(|| self.audio_s / self.busy_s)
    }

    fn spend(&mut self, now: Monotonic) {
        if self.working > 0 {
            self.open += now.since(self.since);
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_millis(seconds * 1000)
    }

    #[test]
    fn idle_time_does_not_count_and_jobs_beside_each_other_share_theirs() {
        let mut capacity = Capacity::default();
        assert_eq!(capacity.audio_s_per_s(), None);
        capacity.begin(at(100));
        capacity.end(Duration::from_secs(200), at(110));
        assert_eq!(capacity.audio_s_per_s(), Some(20.0));
        capacity.begin(at(5000));
        capacity.begin(at(5000));
        capacity.end(Duration::from_secs(200), at(5010));
        capacity.end(Duration::from_secs(200), at(5010));
        let measured = capacity.audio_s_per_s().unwrap();
        assert!((29.0..31.0).contains(&measured), "{measured}");
    }

    #[test]
    fn failures_cost_their_time_and_the_past_fades() {
        let mut capacity = Capacity::default();
        capacity.begin(at(0));
        capacity.end(Duration::ZERO, at(10));
        capacity.begin(at(20));
        capacity.end(Duration::from_secs(100), at(30));
        assert_eq!(capacity.audio_s_per_s(), Some(5.0));
        for job in 0..100 {
            capacity.begin(at(100 + job * 60));
            capacity.end(Duration::from_secs(6000), at(160 + job * 60));
        }
        let measured = capacity.audio_s_per_s().unwrap();
        assert!((99.0..=100.0).contains(&measured), "{measured}");
    }
}

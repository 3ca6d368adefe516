//! How much audio was finished per second of late.

use std::collections::VecDeque;
use std::time::Duration;

use common::clock::Monotonic;

/// Over which time the rate is taken.
const WINDOW: Duration = Duration::from_secs(60);
/// Length of one bucket: bounds what is kept to 61 of them.
const BUCKET_MS: u64 = 1000;

/// Audio finished during the last minute, by the second.
#[derive(Debug, Clone)]
pub struct Pace {
    began: Monotonic,
    buckets: VecDeque<(u64, Duration)>,
}

impl Pace {
    /// Nothing done since `now`.
    #[must_use]
    pub fn new(now: Monotonic) -> Self {
        Self { began: now, buckets: VecDeque::new() }
    }

    /// A recording of this length is done.
    pub fn done(&mut self, audio: Duration, now: Monotonic) {
        let bucket = now.as_millis() / BUCKET_MS;
        match self.buckets.back_mut() {
            Some((last, sum)) if *last == bucket => *sum += audio,
            _ => self.buckets.push_back((bucket, audio)),
        }
        self.forget(now);
    }

    /// Seconds of audio per second, over the last minute or since the beginning.
    #[must_use]
    pub fn audio_s_per_s(&mut self, now: Monotonic) -> f64 {
        self.forget(now);
        // Summed from 0: the empty sum of floats is -0.
        let sum = self.buckets.iter().fold(0.0, |sum, (_, audio)| sum + audio.as_secs_f64());
        let over = now.since(self.began).min(WINDOW).as_secs_f64().max(1.0);
        sum / over
    }

    fn forget(&mut self, now: Monotonic) {
        let oldest = (now.as_millis() / BUCKET_MS).saturating_sub(WINDOW.as_secs());
        while self.buckets.front().is_some_and(|(bucket, _)| *bucket < oldest) {
            self.buckets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_counts() {
        let at = |seconds: u64| Monotonic::from_millis(seconds * 1000);
        let mut pace = Pace::new(at(100));
        assert!(pace.audio_s_per_s(at(100)).abs() < 1e-9);
        pace.done(Duration::from_secs(30), at(110));
        assert!((pace.audio_s_per_s(at(110)) - 3.0).abs() < 1e-9);
        assert!((pace.audio_s_per_s(at(160)) - 0.5).abs() < 1e-9);
        assert!((pace.audio_s_per_s(at(170)) - 0.5).abs() < 1e-9);
        assert!(pace.audio_s_per_s(at(171)).abs() < 1e-9);
        for millis in 0..200_000 {
            pace.done(Duration::from_millis(1), Monotonic::from_millis(200_000 + millis));
        }
        assert!(pace.buckets.len() <= 61);
    }
}

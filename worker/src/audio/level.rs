//! Samples that are numbers within full scale.
//!
//! Files of floats may hold anything: NaN from a broken effect, or integers that were never scaled. What is no possible
//! sound becomes silence. What exceeds full scale is turned down by the highest peak of the recent past, with no look
//! ahead: the gain falls at once, and recovers by half every [`RELEASE_S`] seconds, so that one spike does not silence
//! the rest and speech does not pump. Anything within full scale, which is every file of integers, passes unchanged;
//! quiet audio is left quiet, since a gain for it would depend on what is still to come.

/// Above this multiple of full scale a sample is no sound: integers of 20 bits that were never scaled.
const SOUND_MAX: f32 = 1e6;
/// The remembered peak halves in this time, seconds.
const RELEASE_S: f32 = 30.0;

/// Replaces what is no possible sound by silence; says how many samples.
pub(super) fn silence_impossible(samples: &mut [f32]) -> u64 {
    let possible = -SOUND_MAX..=SOUND_MAX; // a NaN is in no range
    let impossible = samples.iter().filter(|s| !possible.contains(*s)).count();
    if impossible > 0 {
        for sample in samples.iter_mut().filter(|s| !possible.contains(*s)) {
            *sample = 0.0;
        }
    }
    impossible as u64
}

/// Keeps one channel within full scale.
#[derive(Debug, Clone)]
pub(super) struct Limiter {
    peak: f32,
    highest: f32,
}

impl Limiter {
    /// Nothing heard yet.
    pub(super) fn new() -> Self {
        Self { peak: 1.0, highest: 1.0 }
    }

    /// Turns a stretch of samples down where needed.
    pub(super) fn apply(&mut self, samples: &mut [f32], rate_hz: u32) {
        let loudest = samples.iter().fold(0.0f32, |peak, s| peak.max(s.abs()));
        self.highest = self.highest.max(loudest);
        if self.peak <= 1.0 && loudest <= 1.0 {
            return;
        }
        let passed_s = samples.len() as f32 / rate_hz.max(1) as f32;
        let remembered = self.peak * (-passed_s / RELEASE_S).exp2();
        self.peak = loudest.max(remembered).max(1.0);
        let gain = 1.0 / self.peak;
        for sample in samples {
            *sample = (*sample * gain).clamp(-1.0, 1.0);
        }
    }

    /// The highest sample so far, as a multiple of full scale; at least 1.
    pub(super) fn highest(&self) -> f32 {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::fixtures::sine;

    #[test]
    fn only_impossible_samples_become_silence() {
        let mut samples = [f32::NAN, 0.5, f32::INFINITY, -f32::INFINITY, -1e6, 1.1e6, 3.0];
        assert_eq!(silence_impossible(&mut samples), 4);
        assert_eq!(samples, [0.0, 0.5, 0.0, 0.0, -1e6, 0.0, 3.0]);
    }

    #[test]
    fn full_scale_passes_unchanged() {
        let mut samples = vec![1.0, -1.0, 0.25];
        Limiter::new().apply(&mut samples, 16_000);
        assert_eq!(samples, [1.0, -1.0, 0.25]);
    }

    #[test]
    fn integers_that_were_never_scaled_become_speech_level() {
        let mut limiter = Limiter::new();
        let mut samples = sine(200.0, 16_000, 32_000, 20_000.0);
        for block in samples.chunks_mut(1600) {
            limiter.apply(block, 16_000);
        }
        let peak = samples[16_000..].iter().fold(0.0f32, |p, s| p.max(s.abs()));
        assert!((0.9..=1.0).contains(&peak), "{peak}");
        assert_eq!(limiter.highest().round(), 20_000.0);
    }

    #[test]
    fn a_spike_is_forgotten() {
        let mut limiter = Limiter::new();
        limiter.apply(&mut [100.0], 16_000);
        let mut after = Vec::new();
        for _ in 0..3000 {
            after = sine(200.0, 16_000, 1600, 0.5);
            limiter.apply(&mut after, 16_000);
        }
        let peak = after.iter().fold(0.0f32, |p, s| p.max(s.abs()));
        assert!(peak > 0.49, "{peak}");
    }
}

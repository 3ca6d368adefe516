//! Where chunks and activity frames lie in a recording. All positions are integers: samples and frames.

use common::model::manifest::Segmentation;
use common::speech::time::Seconds;

/// The segmentation network's view of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Samples of a full chunk.
    pub window: usize,
    /// Samples between the starts of two chunks.
    pub step: usize,
    /// Activity frames of a full chunk.
    pub frames: usize,
    /// Samples between two activity frames.
    pub frame_step: usize,
    /// Samples one activity frame sees.
    pub receptive_field: usize,
}

impl From<&Segmentation> for Geometry {
    fn from(segmentation: &Segmentation) -> Self {
        Self {
            rate_hz: segmentation.sample_rate_hz,
            window: segmentation.window_samples as usize,
            step: segmentation.step_samples as usize,
            frames: segmentation.frames as usize,
            frame_step: segmentation.frame_step_samples as usize,
            receptive_field: segmentation.receptive_field_samples as usize,
        }
    }
}

impl Geometry {
    /// First sample of a chunk.
    #[must_use]
    pub fn chunk_start(&self, chunk: usize) -> usize {
        chunk * self.step
    }

    /// Chunks that a recording of `samples` has: every full one, and one more where a tail is left over. The last
    /// chunk may be shorter than the window. No samples, no chunks.
    #[must_use]
    pub fn chunks(&self, samples: usize) -> usize {
        if samples == 0 {
            0
        } else if samples <= self.window {
            1
        } else {
            1 + (samples - self.window).div_ceil(self.step)
        }
    }

    /// Frame of the recording at which a chunk's frame 0 is counted: its start in frames, half to even.
    #[must_use]
    pub fn chunk_first_frame(&self, chunk: usize) -> usize {
        round_half_even(self.chunk_start(chunk) as u64, self.frame_step as u64) as usize
    }

    /// Samples of the recording before the middle of a frame, doubled so that it stays an integer.
    fn frame_middle_twice(&self, frame: usize) -> u64 {
        2 * (frame * self.frame_step) as u64 + self.receptive_field as u64
    }

    /// The middle of a frame of the recording.
    #[must_use]
    pub fn frame_middle(&self, frame: usize) -> Seconds {
        Seconds::of_samples(self.frame_middle_twice(frame), 2 * self.rate_hz)
    }

    /// The frame of the recording whose middle is nearest to a sample (ties: the later one), at least 0.
    #[must_use]
    pub fn frame_at(&self, sample: usize) -> usize {
        let twice = 2 * sample as u64;
        let offset = (self.receptive_field as u64).saturating_sub(self.frame_step as u64);
        (twice.saturating_sub(offset) / (2 * self.frame_step as u64)) as usize
    }
}

/// `numerator / denominator` to the nearest integer, halves to the even one.
///
/// # Panics
/// When `denominator` is 0.
#[must_use]
pub fn round_half_even(numerator: u64, denominator: u64) -> u64 {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    match (2 * rest).cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient % 2,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// pyannote segmentation-3.0 at a step of 2.5 s.
    pub(crate) fn pyannote() -> Geometry {
        Geometry {
            rate_hz: 16_000,
            window: 160_000,
            step: 40_000,
            frames: 589,
            frame_step: 270,
            receptive_field: 991,
        }
    }

    #[test]
    fn chunk_counts_at_the_borders() {
        let g = pyannote();
        let counts: Vec<_> =
            [0, 1, 159_999, 160_000, 160_001, 200_000, 200_001].iter().map(|&n| g.chunks(n)).collect();
        assert_eq!(counts, [0, 1, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn chunk_starts_round_half_to_even() {
        let g = pyannote();
        // 40,000 / 270 = 148.148; 80,000 / 270 = 296.296
        assert_eq!((g.chunk_first_frame(1), g.chunk_first_frame(2)), (148, 296));
        assert_eq!((round_half_even(1, 2), round_half_even(3, 2), round_half_even(5, 2)), (0, 2, 2));
    }

    #[test]
    fn frame_middles_match_the_documented_formula() {
        let g = pyannote();
        for frame in [0, 1, 588, 100_000] {
            let documented = frame as f64 * 0.016_875 + 0.030_968_75;
            assert!((g.frame_middle(frame).get() - documented).abs() < 1e-9);
        }
    }

    #[test]
    fn frame_at_finds_the_nearest_middle() {
        let g = pyannote();
        for sample in (0..20_000).step_by(37) {
            let slow = (0..100)
                .min_by_key(|&f| ((f * 540 + 991) as i64 - 2 * sample as i64, f))
                .map(|_| {
                    (0..100usize)
                        .rev()
                        .min_by_key(|&f| ((f * 540 + 991) as i64 - 2 * sample as i64).abs())
                        .expect("the range is not empty")
                })
                .expect("the range is not empty");
            assert_eq!(g.frame_at(sample), slow, "sample {sample}");
        }
    }
}

//! The part of a recording that is still needed, and nothing before it.

use std::sync::Arc;

/// Samples `first..end` of a recording.
#[derive(Debug, Default)]
pub struct Tape {
    samples: Vec<f32>,
    first: usize,
}

impl Tape {
    /// Adds samples at the end.
    pub fn push(&mut self, samples: &[f32]) {
        self.samples.extend_from_slice(samples);
    }

    /// The sample after the last one.
    #[must_use]
    pub fn end(&self) -> usize {
        self.first + self.samples.len()
    }

    /// Forgets everything before `sample`. Moving is amortised: it happens when half of what is held is not needed.
    pub fn forget_before(&mut self, sample: usize) {
        let excess = sample.min(self.end()).saturating_sub(self.first);
        if excess * 2 >= self.samples.len() && excess > 0 {
            self.samples.drain(..excess);
            self.first += excess;
        }
    }

    /// Samples `start..end`.
    ///
    /// # Panics
    /// When part of the range was forgotten or has not arrived: a defect in the caller's bookkeeping.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> &[f32] {
        assert!(start >= self.first && end <= self.end(), "samples {start}..{end} are on the tape");
        &self.samples[start - self.first..end - self.first]
    }

    /// A copy of samples `start..end` that the device may keep; panics as [`Tape::slice`].
    #[must_use]
    pub fn copy(&self, start: usize, end: usize) -> Arc<[f32]> {
        self.slice(start, end).into()
    }

    /// Samples held, for bounds on memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.samples.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_written() {
        let mut tape = Tape::default();
        for block in 0..100 {
            tape.push(&[block as f32; 10]);
            tape.forget_before((block * 10usize).saturating_sub(25));
            assert!(tape.held() <= 80, "memory stays bounded");
            let start = (block * 10usize).saturating_sub(20);
            assert_eq!(tape.copy(start, start + 1)[0], (start / 10) as f32);
        }
        assert_eq!(tape.end(), 1000);
    }

    #[test]
    #[should_panic(expected = "are on the tape")]
    fn forgotten_samples_are_not_handed_out() {
        let mut tape = Tape::default();
        tape.push(&[0.0; 10]);
        tape.forget_before(9);
        let _ = tape.copy(8, 10);
    }
}

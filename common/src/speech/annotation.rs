//! Labelled turns as somebody else wrote them: a reference, or another system's output.
//!
//! Invariants: every turn is longer than zero and its `speaker` is an index into `labels`; there are at most
//! [`LABELS_MAX`] labels, no two alike. Unlike a [`Diarization`](super::diarization::Diarization) nothing else is
//! promised: turns come in any order, and those of one speaker may overlap.

use std::collections::HashMap;

use super::diarization::Turn;
use super::time::Seconds;

/// Most labels in one recording. Scoring takes time with the cube of it.
pub const LABELS_MAX: usize = 1_000;
/// Latest time that is read from a file, seconds: four months.
pub const TIME_S_MAX: f64 = 1e7;

/// The labelled turns of one recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Annotation {
    labels: Vec<String>,
    turns: Vec<Turn>,
    index: HashMap<String, usize>,
}

/// A span of time that is scored; `start < end`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Where it starts.
    pub start: Seconds,
    /// Where it ends.
    pub end: Seconds,
}

/// The annotation has [`LABELS_MAX`] labels already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {LABELS_MAX} speakers in one recording")]
pub struct TooManyLabels;

impl Annotation {
    /// Adds a turn; one that is not longer than zero says nothing and is left out.
    ///
    /// # Errors
    /// [`TooManyLabels`] at the first label too many.
    pub fn push(&mut self, start: Seconds, end: Seconds, label: &str) -> Result<(), TooManyLabels> {
        if end <= start {
            return Ok(());
        }
        let speaker = match self.index.get(label) {
            Some(&speaker) => speaker,
            None if self.labels.len() == LABELS_MAX => return Err(TooManyLabels),
            None => {
                self.labels.push(label.to_owned());
                self.index.insert(label.to_owned(), self.labels.len() - 1);
                self.labels.len() - 1
            }
        };
        self.turns.push(Turn { start, end, speaker });
        Ok(())
    }

    /// The labels, in order of first appearance.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The turns, in the order in which they came.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }
}

/// A time in a text file, seconds: a finite decimal from 0 to [`TIME_S_MAX`].
pub(super) fn parse_seconds(text: &str) -> Option<Seconds> {
    text.parse().ok().and_then(Seconds::new).filter(|s| s.get() <= TIME_S_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let (zero, one) = (Seconds::ZERO, Seconds::new(1.0).unwrap());
        let mut annotation = Annotation::default();
        for n in 0..LABELS_MAX {
            annotation.push(zero, one, &n.to_string()).unwrap();
        }
        assert_eq!(annotation.push(zero, one, "one too many"), Err(TooManyLabels));
        annotation.push(zero, one, "7").unwrap();
        assert_eq!(annotation.turns().last().unwrap().speaker, 7);
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(parse_seconds("1.25"), Seconds::new(1.25));
        assert_eq!(parse_seconds("10000000"), Seconds::new(TIME_S_MAX));
        for text in ["10000001", "-0.1", "nan", "inf", "1e400", "", "1,5", "<NA>"] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
    }
}

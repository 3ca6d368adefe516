//! The outcome of one recording: speakers and their turns.
//!
//! Invariants, kept by [`Diarization::new`]: turns are sorted by (start, end, speaker); every turn is longer than
//! zero and names a speaker below `speakers`; speakers are numbered in order of first speech; exclusive turns never
//! overlap one another.

use super::time::Seconds;

/// A span in which one speaker talks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// Where it starts.
    pub start: Seconds,
    /// Where it ends; after `start`.
    pub end: Seconds,
    /// Index of the speaker, in order of first speech.
    pub speaker: usize,
}

impl Turn {
    /// Length in seconds.
    #[must_use]
    pub fn length_s(&self) -> f64 {
        self.end.get() - self.start.get()
    }
}

/// Who spoke when in one recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diarization {
    turns: Vec<Turn>,
    exclusive: Vec<Turn>,
    speakers: usize,
    /// For each old speaker index given to [`Diarization::new`], its new one.
    order: Vec<Option<usize>>,
}

/// What is wrong with turns that cannot be a diarization.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DiarizationError {
    /// A turn that ends at or before its start.
    #[error("a turn of speaker {speaker} at {start_s} s is empty or ends before it starts")]
    EmptyTurn {
        /// Its speaker.
        speaker: usize,
        /// Its start, seconds.
        start_s: f64,
    },
    /// Two exclusive turns at the same time.
    #[error("exclusive turns overlap at {at_s} s")]
    ExclusiveOverlap {
        /// Where, seconds.
        at_s: f64,
    },
}

impl Diarization {
    /// Sorts the turns and renumbers the speakers in order of first speech (ties: the lower old index first). Speakers
    /// without a turn disappear.
    ///
    /// # Errors
    /// See [`DiarizationError`].
    pub fn new(turns: Vec<Turn>, exclusive: Vec<Turn>) -> Result<Self, DiarizationError> {
        for turn in turns.iter().chain(&exclusive) {
            if turn.end <= turn.start {
                return Err(DiarizationError::EmptyTurn { speaker: turn.speaker, start_s: turn.start.get() });
            }
        }
        let by_time = |a: &Turn, b: &Turn| {
            let key = |t: &Turn| (t.start.get(), t.end.get());
            key(a).partial_cmp(&key(b)).expect("seconds are finite").then(a.speaker.cmp(&b.speaker))
        };
        let mut first: Vec<(f64, usize)> = Vec::new();
        for turn in turns.iter().chain(&exclusive) {
            match first.iter_mut().find(|(_, speaker)| *speaker == turn.speaker) {
                Some((at, _)) => *at = at.min(turn.start.get()),
                None => first.push((turn.start.get(), turn.speaker)),
            }
        }
        first.sort_by(|a, b| a.partial_cmp(b).expect("seconds are finite"));
        let mut order = vec![None; first.iter().map(|(_, speaker)| speaker + 1).max().unwrap_or(0)];
        for (new, (_, old)) in first.iter().enumerate() {
            order[*old] = Some(new);
        }
        let relabel = |mut list: Vec<Turn>| {
            for turn in &mut list {
                turn.speaker = order[turn.speaker].expect("every speaker of a turn was counted");
            }
            list.sort_by(by_time);
            list
        };
        let (turns, exclusive) = (relabel(turns), relabel(exclusive));
        if let Some(pair) = exclusive.windows(2).find(|pair| pair[1].start < pair[0].end) {
            return Err(DiarizationError::ExclusiveOverlap { at_s: pair[1].start.get() });
        }
        Ok(Self { turns, exclusive, speakers: first.len(), order })
    }

    /// All turns; they may overlap.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// Turns of which no two overlap.
    #[must_use]
    pub fn exclusive(&self) -> &[Turn] {
        &self.exclusive
    }

    /// Number of speakers.
    #[must_use]
    pub fn speakers(&self) -> usize {
        self.speakers
    }

    /// The number a speaker index given to [`Diarization::new`] has now; `None` if it had no turn.
    #[must_use]
    pub fn renumbered(&self, old: usize) -> Option<usize> {
        self.order.get(old).copied().flatten()
    }

    /// The label of a speaker: `SPEAKER_00`, `SPEAKER_01`, …
    #[must_use]
    pub fn label(speaker: usize) -> String {
        format!("SPEAKER_{speaker:02}")
    }

    /// Seconds of speech of one speaker, from `turns`.
    #[must_use]
    pub fn speech_s(&self, speaker: usize) -> f64 {
        self.turns.iter().filter(|t| t.speaker == speaker).map(Turn::length_s).sum()
    }
}

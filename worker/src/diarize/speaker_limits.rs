//! How many speakers a recording may have, as asked for.

/// Bounds on the number of speakers; `min <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeakerLimits {
    min: usize,
    max: usize,
}

/// Most speakers that can be asked for or found.
pub const SPEAKERS_MAX: usize = common::job::spec::SPEAKERS_MAX as usize;

impl Default for SpeakerLimits {
    fn default() -> Self {
        Self { min: 1, max: SPEAKERS_MAX }
    }
}

impl SpeakerLimits {
    /// `None` unless `1 <= min <= max <= SPEAKERS_MAX`.
    #[must_use]
    pub fn new(min: usize, max: usize) -> Option<Self> {
        (1 <= min && min <= max && max <= SPEAKERS_MAX).then_some(Self { min, max })
    }

    /// Fewest speakers.
    #[must_use]
    pub fn min(self) -> usize {
        self.min
    }

    /// Most speakers.
    #[must_use]
    pub fn max(self) -> usize {
        self.max
    }

    /// The number itself, if only one is allowed.
    #[must_use]
    pub fn exact(self) -> Option<usize> {
        (self.min == self.max).then_some(self.min)
    }

    /// Whether any number is welcome.
    #[must_use]
    pub fn is_free(self) -> bool {
        self == Self::default()
    }

    /// The nearest allowed number.
    #[must_use]
    pub fn clamp(self, speakers: usize) -> usize {
        speakers.clamp(self.min, self.max)
    }
}

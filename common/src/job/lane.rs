//! The lanes of the queue: one per priority.
//!
//! Invariant: the order of [`Lane::ALL`] is the order in which a worker takes from them; names are an API.

use std::fmt;
use std::str::FromStr;

/// One of the three priorities, and the queue that carries its notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Lane {
    /// Taken first.
    High,
    /// Taken when nothing is in `High`.
    #[default]
    Normal,
    /// Taken when nothing else waits.
    Low,
}

/// Text that names no lane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a priority (`high`, `normal` or `low`): `{text}`")]
pub struct LaneError {
    /// What was given, cut to 32 characters.
    pub text: String,
}

impl Lane {
    /// Every lane, the one that is taken first in front.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The name in documents, flags and queue names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Position in [`Lane::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lane {
    type Err = LaneError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == text)
            .ok_or_else(|| LaneError { text: text.chars().take(32).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order_agree() {
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(lane.index(), index);
            assert_eq!(lane.as_str().parse(), Ok(lane));
        }
        assert!(Lane::High < Lane::Normal && Lane::Normal < Lane::Low);
        assert!("HIGH".parse::<Lane>().is_err());
    }
}

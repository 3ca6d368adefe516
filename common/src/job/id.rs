//! A job's name.

use std::fmt;
use std::str::FromStr;

use uuid::{Builder, Uuid};

use crate::clock::Timestamp;

/// A UUID of version 7: ids made later sort later (to the millisecond of the clock of whoever made them).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

/// Text that names no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: `{text}`")]
pub struct JobIdError {
    /// What was given, cut to 64 characters.
    pub text: String,
}

impl JobId {
    /// The id of a job made at `at`. Of `random`, ten bytes are used.
    #[must_use]
    pub fn new(at: Timestamp, random: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, ..] = random;
        Self(Builder::from_unix_timestamp_millis(at.as_millis(), &[a, b, c, d, e, f, g, h, i, j]).into_uuid())
    }

    /// When it was made, by the clock of whoever made it.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let bytes = self.0.as_bytes();
        Timestamp::from_millis(bytes[..6].iter().fold(0, |millis, byte| millis << 8 | u64::from(*byte)))
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    /// Reads the hyphenated form only, in either case: 36 characters.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || JobIdError { text: text.chars().take(64).collect() };
        if text.len() != 36 {
            return Err(refused());
        }
        let uuid = Uuid::try_parse(text).map_err(|_| refused())?;
        if uuid.get_version_num() == 7 { Ok(Self(uuid)) } else { Err(refused()) }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_survive_text() {
        let early = JobId::new(Timestamp::from_millis(1_700_000_000_000), [0xff; 16]);
        let late = JobId::new(Timestamp::from_millis(1_700_000_000_001), [0; 16]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.to_string().parse(), Ok(late));
        assert_eq!(late.to_string().to_uppercase().parse(), Ok(late));
        assert_eq!(late.made_at(), Timestamp::from_millis(1_700_000_000_001));
    }

    #[test]
    fn other_texts_are_refused() {
        let id = JobId::new(Timestamp::from_millis(1), [7; 16]).to_string();
        let version_4 = "6f1c3c3e-7e0a-4d52-9d3f-0c6b8f1d2a11";
        for text in
            ["", "x", &id[..35], &format!("{id}0"), &id.replace('-', ""), &format!("{{{id}}}"), version_4]
        {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        assert_eq!("x".repeat(1000).parse::<JobId>().unwrap_err().text.len(), 64);
    }
}

//! How a job comes in.

use std::time::Duration;

use crate::job::id::JobId;
use crate::job::record::JobRecord;
use crate::job::spec::{CacheKey, ContentDigest, JobSpec};

/// Longest idempotency key, bytes.
pub const IDEMPOTENCY_BYTES_MAX: usize = 256;

/// A submitter's name for a submission: the same key gives the same job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Idempotency(String);

/// A key that is empty or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {IDEMPOTENCY_BYTES_MAX} bytes: {bytes}")]
pub struct IdempotencyError {
    /// Its length.
    pub bytes: usize,
}

impl Idempotency {
    /// A key of 1 to [`IDEMPOTENCY_BYTES_MAX`] bytes, kept as half of its SHA-256 (128 bits).
    ///
    /// # Errors
    /// When it is empty or longer.
    pub fn new(key: &str) -> Result<Self, IdempotencyError> {
        let bytes = key.len();
        if !(1..=IDEMPOTENCY_BYTES_MAX).contains(&bytes) {
            return Err(IdempotencyError { bytes });
        }
        let mut text = ContentDigest::of(key.as_bytes()).to_string();
        text.truncate(32);
        Ok(Self(text))
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Chosen by the submitter, so that repeating an insertion whose answer was lost inserts nothing twice.
    pub id: JobId,
    /// What is to be done.
    pub spec: JobSpec,
    /// Not before this much time has passed.
    pub delay: Duration,
    /// The submitter's name for it.
    pub idempotency: Option<Idempotency>,
    /// Where to look for a result that can serve; `None` asks for the work itself.
    pub cache: Option<CacheKey>,
    /// Accept content that is known as poison.
    pub force: bool,
}

impl NewJob {
    /// A submission without delay, key, cache or force.
    #[must_use]
    pub fn new(id: JobId, spec: JobSpec) -> Self {
        Self { id, spec, delay: Duration::ZERO, idempotency: None, cache: None, force: false }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It was accepted; also when this call repeats one that had been applied.
    Accepted(JobRecord),
    /// Completed at once with the result of another job.
    Cached(JobRecord),
    /// Its idempotency key belongs to this job.
    Same(JobRecord),
    /// Its content made workers vanish.
    Poison {
        /// The job that showed it.
        job: JobId,
    },
}

impl Inserted {
    /// The record, unless the submission was refused.
    #[must_use]
    pub fn record(self) -> Option<JobRecord> {
        match self {
            Self::Accepted(record) | Self::Cached(record) | Self::Same(record) => Some(record),
            Self::Poison { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotency_keys_are_bounded() {
        assert!(Idempotency::new("").is_err());
        assert_eq!(Idempotency::new(&"k".repeat(IDEMPOTENCY_BYTES_MAX)).unwrap().as_str().len(), 32);
        assert!(Idempotency::new(&"k".repeat(IDEMPOTENCY_BYTES_MAX + 1)).is_err());
        assert_ne!(Idempotency::new("a"), Idempotency::new("b"));
    }
}

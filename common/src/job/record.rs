//! The record of a job: the one truth about it.
//!
//! The methods here are every legal change of a record, written once as plain code: the in-memory job store calls them,
//! the Redis scripts repeat them, and the conformance suite holds the two together. `now` is the job store's time.

use std::time::Duration;

use super::failure::{Failure, Stage};
use super::id::JobId;
use super::lease::{LeaseKey, Nonce};
use super::spec::{ContentDigest, JobSpec};
use super::worker::WorkerId;
use crate::clock::Timestamp;

/// Most documents of a result.
pub const DOCUMENTS_MAX: usize = 16;
/// Longest name of a document, bytes.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 64;

/// Where a job is in its life (contract, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    /// Accepted with a delay. Rescue makes it available when due; a cancel ends it.
    Scheduled,
    /// May be leased. A worker moves it on; if no bell is heard, rescue rings again.
    Available,
    /// Held under a lease. The holder settles it; if the lease runs out, rescue ends it.
    Running,
    /// Failed, to be tried again. Rescue makes it available when due; a cancel ends it.
    Retryable,
    /// Final: the result exists.
    Completed,
    /// Final: given up; a dead letter. Only `retry` moves it.
    Discarded,
    /// Final: stopped on request. Only `retry` moves it.
    Cancelled,
}

impl JobState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Available,
        Self::Running,
        Self::Retryable,
        Self::Completed,
        Self::Discarded,
        Self::Cancelled,
    ];

    /// Whether only `retry` can change it, if anything.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Discarded | Self::Cancelled)
    }

    /// The word for it in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Available => "available",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Completed => "completed",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One file of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name inside the attempt's folder and inside the job's: letters, digits, `.`, `-`, `_`.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Digest of its content.
    pub sha256: ContentDigest,
}

/// What a completed job left in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// The files, all of them there before the job is settled.
    pub documents: Vec<Document>,
    /// Length of the recording as it was decoded.
    pub audio: Duration,
    /// Digest of the recording as it was fetched, when all of it was read.
    pub audio_sha256: Option<ContentDigest>,
    /// The bundle that did the work: `NAME@VERSION`.
    pub bundle: Option<String>,
    /// What names the known voices that speakers were compared with; `None` when there were none.
    pub voices: Option<ContentDigest>,
}

/// A result that cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// None or too many.
    #[error("a result has 1 to {DOCUMENTS_MAX} documents: {count}")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// A name that could leave its folder, or is too long.
    #[error("not a document name: `{name}`")]
    Name {
        /// The name.
        name: String,
    },
}

impl StoredResult {
    /// Whether it can be recorded.
    ///
    /// # Errors
    /// When the number of documents or a name is out of bounds.
    pub fn check(&self) -> Result<(), ResultError> {
        let count = self.documents.len();
        if !(1..=DOCUMENTS_MAX).contains(&count) {
            return Err(ResultError::Count { count });
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = |name: &str| {
            (1..=DOCUMENT_NAME_BYTES_MAX).contains(&name.len())
                && name.bytes().all(legal)
                && !name.starts_with('.')
        };
        match self.documents.iter().find(|document| !fits(&document.name)) {
            Some(document) => Err(ResultError::Name { name: document.name.chars().take(80).collect() }),
            None => Ok(()),
        }
    }
}

/// How far the work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The stage under way.
    pub stage: Stage,
    /// Percent of the whole job, 0 to 100.
    pub percent: u8,
}

/// Everything that is known about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its name; never changes.
    pub id: JobId,
    /// What it is asked to do; never changes.
    pub spec: JobSpec,
    /// Where it is in its life.
    pub state: JobState,
    /// Grows by one when a lease is granted and when rescue ends one; never shrinks, not even by `retry`.
    pub token: u64,
    /// Nonce of the last lease. Set when a lease is granted, kept when its holder settles (it then names the attempt's
    /// folder), removed when rescue ends it.
    pub nonce: Option<Nonce>,
    /// Holder of the last lease. Set when a lease is granted, never removed.
    pub worker: Option<WorkerId>,
    /// Attempts whose work returned a retryable failure. Grows when such an attempt is settled as `retry` or, the last
    /// one, as `discard`; `retry` by a person sets it to 0.
    pub attempts: u32,
    /// Leases that ran out. Grows when rescue ends one; `retry` by a person sets it to 0.
    pub crashes: u32,
    /// Those of the crashes in which the job was its worker's only one. Never above `crashes`.
    pub crashes_alone: u32,
    /// Leases that were handed back. Costs nothing and has no maximum; `retry` by a person sets it to 0.
    pub interruptions: u32,
    /// Whether a running job is to be stopped. Set by a cancel of a running job; from then on every end of the lease
    /// makes the job cancelled. `retry` by a person removes it.
    pub cancel_requested: bool,
    /// When it was accepted; never changes.
    pub created_at: Timestamp,
    /// When it may run, or became available. Set at each move to scheduled, retryable and available.
    pub available_at: Timestamp,
    /// When the last lease was granted.
    pub started_at: Option<Timestamp>,
    /// When the lease runs out, while running.
    pub lease_expires_at: Option<Timestamp>,
    /// When it became final. Removed by `retry`.
    pub completed_at: Option<Timestamp>,
    /// When the documents of a completed job were all at their stable keys.
    pub exported_at: Option<Timestamp>,
    /// Why documents could not be copied to where the submitter wants them, when they could not for good.
    pub output_problem: Option<String>,
    /// How far the holder of the lease says it has come. Removed when the lease ends; a completed job keeps none.
    pub progress: Option<Progress>,
    /// Why the last attempt failed. Set by `retry`, `discard` and the last crash; removed when the job completes.
    pub failure: Option<Failure>,
    /// What the job left behind; set exactly when it completes.
    pub result: Option<StoredResult>,
    /// The job whose result this one took from the cache.
    pub cached_from: Option<JobId>,
}

impl JobRecord {
    /// A job that was just accepted: available, or scheduled when there is a delay.
    #[must_use]
    pub fn accepted(id: JobId, spec: JobSpec, delay: Duration, now: Timestamp) -> Self {
        let state = if delay.is_zero() { JobState::Available } else { JobState::Scheduled };
        Self {
            id,
            spec,
            state,
            token: 0,
            nonce: None,
            worker: None,
            attempts: 0,
            crashes: 0,
            crashes_alone: 0,
            interruptions: 0,
            cancel_requested: false,
            created_at: now,
            available_at: now.plus(delay),
            started_at: None,
            lease_expires_at: None,
            completed_at: None,
            exported_at: None,
            output_problem: None,
            progress: None,
            failure: None,
            result: None,
            cached_from: None,
        }
    }

    /// Whether nothing more will happen to it: it has ended and, when it completed, is exported.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state.is_final() && (self.state != JobState::Completed || self.exported_at.is_some())
    }

    /// What names the last attempt, as long as rescue has not ended it.
    #[must_use]
    pub fn lease_key(&self) -> Option<LeaseKey> {
        self.nonce.map(|nonce| LeaseKey { job: self.id, token: self.token, nonce })
    }

    /// Whether it is running under exactly this lease.
    #[must_use]
    pub fn is_held_by(&self, key: &LeaseKey) -> bool {
        self.state == JobState::Running && self.lease_key() == Some(*key)
    }

    /// Whether its content proved to be poison: given up for crashes, and in each of them it was its worker's only job,
    /// so that no other job can have been the cause.
    #[must_use]
    pub fn is_poison(&self) -> bool {
        self.state == JobState::Discarded
            && self.crashes >= self.spec.limits.crashes_max
            && self.crashes_alone == self.crashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_text() {
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
        assert_eq!(JobState::parse("done"), None);
        assert_eq!(JobState::ALL.into_iter().filter(|state| state.is_final()).count(), 3);
    }

    #[test]
    fn a_result_stays_inside_its_folder() {
        let document = |name: &str| Document { name: name.into(), bytes: 1, sha256: ContentDigest::of(b"x") };
        let result = |documents| StoredResult {
            documents,
            audio: Duration::from_secs(1),
            audio_sha256: None,
            bundle: None,
            voices: None,
        };
        assert_eq!(result(vec![]).check(), Err(ResultError::Count { count: 0 }));
        assert!(result(vec![document("segments.json"); DOCUMENTS_MAX]).check().is_ok());
        assert!(result(vec![document("segments.json"); DOCUMENTS_MAX + 1]).check().is_err());
        assert!(result(vec![document(&"a".repeat(DOCUMENT_NAME_BYTES_MAX))]).check().is_ok());
        for name in ["", "..", ".hidden", "a/b", "a b", "ä", &"a".repeat(DOCUMENT_NAME_BYTES_MAX + 1)] {
            assert!(result(vec![document(name)]).check().is_err(), "{name}");
        }
    }
}

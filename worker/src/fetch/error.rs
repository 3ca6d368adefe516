//! Why a source is not at hand.

use common::fleet::keep::Stop;
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::port::object_store::StoreError;

/// Why a source is not at hand, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The work has to stop.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// A store said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Outside the store and what is allowed.
    #[error("outside the store and of what `ROLLCALL_ALLOW` names: `{uri}`")]
    NotAllowed {
        /// What was asked for.
        uri: String,
    },
    /// An address that leads to this machine or its own network, or to nobody.
    #[error("the address of the source may not be reached: `{uri}`: {detail}")]
    Forbidden {
        /// What was asked for.
        uri: String,
        /// Which address, or what the server said.
        detail: String,
    },
    /// There is nothing.
    #[error("there is no such source: `{uri}`: {detail}")]
    Missing {
        /// What was asked for.
        uri: String,
        /// What the server said.
        detail: String,
    },
    /// Nobody answers, or the answer broke off too often.
    #[error("the source does not answer: `{uri}`: {detail}")]
    Unavailable {
        /// What was asked for.
        uri: String,
        /// What happened.
        detail: String,
    },
    /// More bytes than allowed.
    #[error("the source is too large: `{uri}`: {bytes} bytes, at most {bytes_max}")]
    TooLarge {
        /// What was asked for.
        uri: String,
        /// Size, as far as it is known.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// This machine has no room for it.
    #[error("cannot keep the source on this machine: {path}")]
    Scratch {
        /// Folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl FetchError {
    /// The failure of a job, or why it stops.
    ///
    /// # Errors
    /// When the work has to stop, which is no failure.
    pub fn into_failure(self) -> Result<Failure, Stop> {
        use FailureClass::{Permanent, Retryable};
        let detail = self.to_string();
        let (code, class) = match self {
            Self::Stopped(stop) => return Err(stop),
            Self::NotAllowed { .. } => (FailureCode::NotAllowed, Permanent),
            Self::Forbidden { .. } => (FailureCode::SourceForbidden, Permanent),
            Self::Missing { .. } => (FailureCode::SourceMissing, Permanent),
            Self::Unavailable { .. } => (FailureCode::StoreUnavailable, Retryable),
            Self::TooLarge { .. } => (FailureCode::AudioTooLong, Permanent),
            // Another worker may have room.
            Self::Scratch { .. } => (FailureCode::StoreUnavailable, Retryable),
            Self::Store(error) => match error {
                StoreError::NotFound { .. } => (FailureCode::SourceMissing, Permanent),
                StoreError::Forbidden { .. } => (FailureCode::SourceForbidden, Permanent),
                StoreError::TooLarge { .. } => (FailureCode::AudioTooLong, Permanent),
                // Usually of the way; if not, the attempts run out and the detail says what was found.
                StoreError::Corrupt { .. } => (FailureCode::AudioCorrupt, Retryable),
                // It was replaced while it was read: the next attempt reads the new one.
                StoreError::PreconditionFailed { .. } | StoreError::Unavailable { .. } => {
                    (FailureCode::StoreUnavailable, Retryable)
                }
                // A key that no store takes names nothing.
                StoreError::Rejected { .. } | StoreError::Source { .. } => {
                    (FailureCode::SourceMissing, Permanent)
                }
            },
        };
        Ok(Failure { code, stage: Stage::Fetch, class, detail })
    }
}

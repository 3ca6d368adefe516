//! Why a call to a store failed, by what the caller can do.

use std::time::Duration;

use crate::job::failure::FailureClass;

/// Why a call to a store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing is under this key, or the bucket does not exist.
    #[error("no such object: `{key}`")]
    NotFound {
        /// What was asked for.
        key: String,
    },
    /// The credentials do not reach this far, or there are none.
    #[error("the store forbids: `{key}`: {detail}")]
    Forbidden {
        /// What was asked for.
        key: String,
        /// What the store said.
        detail: String,
    },
    /// The key is taken, or the object changed while it was read.
    #[error("the object is there already or has changed: `{key}`")]
    PreconditionFailed {
        /// What was asked for.
        key: String,
    },
    /// The store cannot be reached, is overloaded or failed; the adapter has repeated the request within its bounds.
    #[error("the store does not answer: `{key}`: {detail}")]
    Unavailable {
        /// What was asked for.
        key: String,
        /// What the client library said.
        detail: String,
        /// How long the store asks to wait.
        retry_after: Option<Duration>,
    },
    /// The bytes are not those that were asked for.
    #[error("the object is damaged: `{key}`: expected {expected}, found {found}")]
    Corrupt {
        /// What was asked for.
        key: String,
        /// Size or digest that was expected.
        expected: String,
        /// Size or digest that came.
        found: String,
    },
    /// More bytes than the caller allows.
    #[error("the object is too large: `{key}`: {bytes} bytes, at most {bytes_max}")]
    TooLarge {
        /// What was asked for.
        key: String,
        /// Size, as far as it is known.
        bytes: u64,
        /// The caller's bound.
        bytes_max: u64,
    },
    /// The content that was to be written could not be read.
    #[error("the content cannot be read: {detail}")]
    Source {
        /// Path or origin, and what went wrong.
        detail: String,
    },
    /// The request cannot succeed as it is: key, range, size, address.
    #[error("the store rejects: `{key}`: {detail}")]
    Rejected {
        /// What was asked for.
        key: String,
        /// What the store said.
        detail: String,
    },
}

impl StoreError {
    /// What trying again would bring. A damaged object is worth another attempt: the damage is usually of the way.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Unavailable { .. } | Self::Corrupt { .. } => FailureClass::Retryable,
            Self::NotFound { .. }
            | Self::Forbidden { .. }
            | Self::PreconditionFailed { .. }
            | Self::TooLarge { .. }
            | Self::Source { .. }
            | Self::Rejected { .. } => FailureClass::Permanent,
        }
    }
}

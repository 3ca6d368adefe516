//! How a worker takes a job and keeps it.

use std::time::Duration;

use crate::clock::{Monotonic, Timestamp};
use crate::job::id::JobId;
use crate::job::lease::{Lease, Nonce};
use crate::job::record::JobState;
use crate::job::spec::JobSpec;
use crate::job::worker::WorkerId;

/// A worker asks for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquireRequest {
    /// The job.
    pub job: JobId,
    /// Who asks.
    pub worker: WorkerId,
    /// New for each notice; the same when an unanswered call is repeated.
    pub nonce: Nonce,
    /// How long the lease is to last.
    pub lasts: Duration,
    /// The asker's monotonic time *before* the first call with this nonce.
    pub called_at: Monotonic,
}

/// Whether a worker has the job.
#[derive(Debug, Clone, PartialEq)]
pub enum Acquired {
    /// It has.
    Granted(Box<Lease<JobSpec>>),
    /// It has not; the notice has done its work and may be forgotten.
    Refused(Unready),
}

/// Why a job cannot be leased now. In each case somebody else will ring when it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// It is scheduled or retryable; rescue rings when it is due.
    NotDue {
        /// When.
        due: Timestamp,
    },
    /// Another lease holds it; rescue rings if that one runs out.
    Running,
    /// It has ended.
    Final(JobState),
    /// No such job is known.
    Unknown,
}

/// Whether a lease goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// It does.
    Held {
        /// Until when, on the holder's monotonic clock.
        deadline: Monotonic,
        /// Whether the job is to be stopped.
        cancel_requested: bool,
    },
    /// It does not: stop at once, publish nothing.
    Lost,
}

/// Whether progress was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It was.
    Held {
        /// Whether the job is to be stopped.
        cancel_requested: bool,
    },
    /// The lease is lost: stop at once, publish nothing.
    Lost,
}

//! From a lease to its end: work, decide, settle, export.

use std::future::Future;

use tracing::Instrument as _;

use super::export::{self, ExportError};
use super::keep::{Hold, Stop};
use crate::job::failure::{Failure, FailureClass};
use crate::job::lease::Lease;
use crate::job::record::{JobState, StoredResult};
use crate::job::spec::JobSpec;
use crate::job::transition::{Ending, Settled, Transition};
use crate::port::job_store::{JobStore, JobStoreError};
use crate::port::object_store::ObjectStore;
use crate::telemetry::TRACED;

/// Times that an unanswered settlement is put. Each is already bounded and repeated by the adapter.
const SETTLES_MAX: usize = 3;

/// The work of one attempt: everything between the lease and its end. Before each stage it asks [`Hold::check`], and it
/// writes its documents under the attempt's own folder only.
pub trait Work: Send + Sync {
    /// Does the work.
    fn work(
        &self,
        lease: &Lease<JobSpec>,
        hold: &Hold,
    ) -> impl Future<Output = Result<StoredResult, WorkError>> + Send;
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WorkError {
    /// The work failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

/// How a trip ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The job is in this state, by this attempt.
    Settled {
        /// The state.
        state: JobState,
        /// What kept a completed job's documents from their stable keys; rescue goes on.
        export: Option<ExportError>,
    },
    /// The lease was lost: nothing of this attempt is or will be visible.
    Lost,
    /// Nobody said whether the settlement took place. If it did, rescue exports; if not, rescue ends the lease.
    Unanswered(JobStoreError),
}

/// What the end of the work means. `None` when the lease is lost and nothing may be written. `unit` is a random number
/// in `[0, 1)`.
#[must_use]
pub fn decide(
    lease: &Lease<JobSpec>,
    outcome: Result<StoredResult, WorkError>,
    unit: f64,
) -> Option<Transition> {
    match outcome {
        Ok(result) => Some(Transition::complete(result)),
        Err(WorkError::Stopped(Stop::LeaseLost)) => None,
        Err(WorkError::Stopped(Stop::CancelRequested)) => Some(Transition::cancel()),
        Err(WorkError::Stopped(Stop::Interrupted)) => Some(Transition::interrupt()),
        Err(WorkError::Failed(failure)) if failure.class == FailureClass::Interrupted => {
            Some(Transition::interrupt())
        }
        Err(WorkError::Failed(failure)) => {
            Some(Transition::after_failure(failure, lease.attempts, &lease.payload.limits, unit))
        }
    }
}

/// Works on a held job, settles it, and exports it if it completed. The caller keeps the lease meanwhile.
pub async fn trip(
    store: &impl JobStore,
    objects: &impl ObjectStore,
    lease: &Lease<JobSpec>,
    hold: &Hold,
    work: &impl Work,
    unit: f64,
) -> End {
    let outcome = work.work(lease, hold).instrument(tracing::error_span!(target: TRACED, "work")).await;
    let Some(transition) = decide(lease, outcome, unit) else { return End::Lost };
    let settling = settle(store, lease, &transition);
    let state = match settling.instrument(tracing::error_span!(target: TRACED, "settle")).await {
        Err(error) => return End::Unanswered(error),
        Ok(None) => return End::Lost,
        Ok(Some(state)) => state,
    };
    let export = match transition.ending() {
        Ending::Completed(result) if state == JobState::Completed => {
            let exporting = export::settled(store, objects, lease.key(), &lease.payload, result);
            exporting.instrument(tracing::error_span!(target: TRACED, "export")).await.err()
        }
        _ => None,
    };
    End::Settled { state, export }
}

/// Settles; `None` when the lease is lost. Repeated until there is an answer, which is safe: the store tells a repetition
/// from a second settlement.
async fn settle(
    store: &impl JobStore,
    lease: &Lease<JobSpec>,
    transition: &Transition,
) -> Result<Option<JobState>, JobStoreError> {
    let mut settles = 1;
    loop {
        match store.settle(*lease.key(), transition.clone()).await {
            Ok(Settled::Applied(state) | Settled::Already(state)) => return Ok(Some(state)),
            Ok(Settled::Lost) => return Ok(None),
            Err(error) if error.is_transient() && settles < SETTLES_MAX => settles += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Monotonic, Timestamp};
    use crate::job::failure::{FailureCode, Stage};
    use crate::job::id::JobId;
    use crate::job::lease::{LeaseKey, Nonce};
    use crate::job::spec::SourceRef;

    #[test]
    fn each_outcome_has_its_ending() {
        let key =
            LeaseKey { job: JobId::new(Timestamp::default(), [0; 16]), token: 1, nonce: Nonce::new([0; 16]) };
        let spec = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        let lease = Lease::granted(key, spec, Monotonic::default(), Duration::from_secs(30), (4, 0));
        let failed = |class| {
            let failure =
                Failure { code: FailureCode::Internal, stage: Stage::Decode, class, detail: String::new() };
            decide(&lease, Err(failure.into()), 0.5).unwrap()
        };
        assert_eq!(decide(&lease, Err(Stop::LeaseLost.into()), 0.5), None);
        assert_eq!(decide(&lease, Err(Stop::CancelRequested.into()), 0.5), Some(Transition::cancel()));
        assert_eq!(decide(&lease, Err(Stop::Interrupted.into()), 0.5), Some(Transition::interrupt()));
        assert_eq!(failed(FailureClass::Interrupted), Transition::interrupt());
        assert!(matches!(failed(FailureClass::Permanent).ending(), Ending::Discarded(_)));
        let Ending::Discarded(last) = failed(FailureClass::Retryable).ending().clone() else {
            panic!("the fifth failure is the last");
        };
        assert_eq!(last.code, FailureCode::AttemptsExhausted);
    }
}

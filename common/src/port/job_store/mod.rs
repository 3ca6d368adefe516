//! The truth about jobs.
//!
//! # Design
//!
//! - **Every method is one atomic step.** What several of them do together is written so that a process may die between
//!   any two.
//! - **Time is the store's own.** Leases run out, retries fall due and claims lapse by its clock; no caller passes a time,
//!   only lengths, and the monotonic time at which it asked.
//! - **Every call may be repeated.** [`JobStoreError::Unavailable`] leaves open whether the call took place. Repeating
//!   `insert` (same id), `acquire` (same nonce), `extend`, `settle`, `request_cancel`, `retry` and the deletions has the
//!   effect of one call; repeating a `claim_…` claims other entries, and the lost ones come back when the claim lapses.
//! - **Lists are bounded** by the caller's `n`, and each step costs O(log jobs) for each job that it touches.
//! - The bell rules of the design are in [`JobStore::ring`]: at most as many as the caller says, oldest due first, by the
//!   one rescuer whose turn it is, at doubling intervals for each job.

mod delivery;
mod insert;
mod overview;
mod upkeep;

use std::future::Future;
use std::time::Duration;

pub use delivery::{AcquireRequest, Acquired, Extension, Reported, Unready};
pub use insert::{Idempotency, IdempotencyError, Inserted, NewJob};
pub use overview::{JobFilter, JobPage, LIST_MAX, LOOKS_MAX, LaneDepth, QueueStatus, rates};
pub use upkeep::{
    DELIVERIES_MAX, Delivery, ExpiredLease, OutboxEntry, StoreRules, WebhookAnswer, WebhookClaim, WebhookDue,
    WebhookOutcome,
};

use crate::clock::{Monotonic, Timestamp};
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::lease::LeaseKey;
use crate::job::record::{JobRecord, Progress};
use crate::job::retry::AfterCrash;
use crate::job::spec::CacheKey;
use crate::job::transition::{Cancel, Ended, Retried, Settled, Transition};
use crate::job::worker::{WorkerId, WorkerInfo, WorkerSeen};

/// Why a step has no answer, by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobStoreError {
    /// Nobody answered in time. Whether the step took place is unknown; it may be repeated.
    #[error("the job store does not answer: {endpoint}: {detail}")]
    Unavailable {
        /// Address without credentials.
        endpoint: String,
        /// What happened.
        detail: String,
    },
    /// The store refuses us; only a change of configuration helps.
    #[error("the job store refuses: {endpoint}: {detail}")]
    Refused {
        /// Address without credentials.
        endpoint: String,
        /// What it says.
        detail: String,
    },
    /// What is stored is not what this version writes.
    #[error("unreadable in the job store: {what}: `{value}`")]
    Unreadable {
        /// Which entry, which field.
        what: String,
        /// What stands there, cut to 200 characters.
        value: String,
    },
}

impl JobStoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// What every step gives.
pub type StoreResult<T> = Result<T, JobStoreError>;

/// Records, leases, outbox, counts. `None` where a job is asked for by id means that no such job is known.
pub trait JobStore: Clone + Send + Sync + 'static {
    /// Accepts a job and puts its bell into the outbox; or answers from the cache, or refuses poison.
    fn insert(&self, job: NewJob) -> impl Future<Output = StoreResult<Inserted>> + Send;

    /// The record.
    fn get(&self, job: JobId) -> impl Future<Output = StoreResult<Option<JobRecord>>> + Send;

    /// The newest jobs that pass the filter, newest first, as far as its bounds go. A record that cannot be read is left
    /// out: it must not hide the others.
    fn list(&self, filter: JobFilter) -> impl Future<Output = StoreResult<JobPage>> + Send;

    /// A worker asks for a job. Repeated with the same nonce, gives the same lease as long as it lasts.
    fn acquire(&self, request: AcquireRequest) -> impl Future<Output = StoreResult<Acquired>> + Send;

    /// The holder goes on; `called_at` is its monotonic time before the call. Only an answer of [`Extension::Held`]
    /// extends: an error leaves the deadline where it was.
    fn extend(
        &self,
        key: LeaseKey,
        lasts: Duration,
        called_at: Monotonic,
    ) -> impl Future<Output = StoreResult<Extension>> + Send;

    /// The holder says how far it is.
    fn report(&self, key: LeaseKey, progress: Progress)
    -> impl Future<Output = StoreResult<Reported>> + Send;

    /// The holder ends its lease.
    fn settle(
        &self,
        key: LeaseKey,
        transition: Transition,
    ) -> impl Future<Output = StoreResult<Settled>> + Send;

    /// Stops a job. A waiting one is cancelled at once, a running one when its holder hears of it.
    fn request_cancel(&self, job: JobId) -> impl Future<Output = StoreResult<Option<Cancel>>> + Send;

    /// Jobs that this worker holds, or held, and is to stop. Waits up to `wait` for the first; may return early with
    /// none. Each cancel is told once, so it is a hint: [`Extension::Held`] says it again.
    fn next_cancels(
        &self,
        worker: &WorkerId,
        wait: Duration,
    ) -> impl Future<Output = StoreResult<Vec<JobId>>> + Send;

    /// Makes a discarded or cancelled job available again.
    fn retry(&self, job: JobId) -> impl Future<Output = StoreResult<Option<Retried>>> + Send;

    /// Forgets a final job: record, idempotency key, cache entry. `false` when it is not final.
    fn purge(&self, job: JobId) -> impl Future<Output = StoreResult<Option<bool>>> + Send;

    /// Takes up to `n` bells of a lane to publish, the oldest first, and hides them from other relays for `claim`. Bells of
    /// jobs that are not available any more are dropped instead.
    fn claim_outbox(
        &self,
        lane: Lane,
        n: usize,
        claim: Duration,
    ) -> impl Future<Output = StoreResult<Vec<OutboxEntry>>> + Send;

    /// Removes bells. To be called only once the broker has confirmed them.
    fn delete_outbox(&self, entries: &[OutboxEntry]) -> impl Future<Output = StoreResult<()>> + Send;

    /// The longest waiting job, of the highest of these lanes first, that has been available for `waited` and of which nobody
    /// else was told so within `claim`: what a worker with room asks for that hears of it from nobody.
    fn claim_unheard(
        &self,
        lanes: &[Lane],
        waited: Duration,
        claim: Duration,
    ) -> impl Future<Output = StoreResult<Option<JobId>>> + Send;

    /// Makes up to `n` scheduled and retryable jobs available that are due, each with its bell; gives how many.
    fn promote_due(&self, n: usize) -> impl Future<Output = StoreResult<usize>> + Send;

    /// Up to `n` leases that ran out, the oldest first.
    fn expired_leases(&self, n: usize) -> impl Future<Output = StoreResult<Vec<ExpiredLease>>> + Send;

    /// Ends a lease that ran out: counts a crash and uses up the token. An attempt's folder is left for sweeping.
    fn end_lease(&self, key: LeaseKey, after: AfterCrash) -> impl Future<Output = StoreResult<Ended>> + Send;

    /// Takes the rescuer's turn for `lasts`, or prolongs it. `false` while another rescuer has it.
    fn rescue_turn(
        &self,
        owner: &WorkerId,
        lasts: Duration,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Puts up to `n` bells of a lane's available jobs into the outbox again, those first whose bell has been due for
    /// longest, and doubles each one's interval. Gives how many; 0 when the turn is not the owner's.
    fn ring(&self, owner: &WorkerId, lane: Lane, n: usize)
    -> impl Future<Output = StoreResult<usize>> + Send;

    /// Takes up to `n` completed jobs that are not exported, hidden from others for `claim`. Their first turn comes a
    /// while after they completed, since the worker exports them itself.
    fn claim_exports(
        &self,
        n: usize,
        claim: Duration,
    ) -> impl Future<Output = StoreResult<Vec<JobRecord>>> + Send;

    /// The documents of a completed job are at their stable keys: notes the time, and why they are not where the submitter
    /// wants them besides when that is so for good, offers the result to the cache under `cache`, and makes the webhook due.
    /// Repeating it changes nothing.
    fn mark_exported(
        &self,
        job: JobId,
        cache: Option<CacheKey>,
        output_problem: Option<&str>,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Takes up to `n` webhooks that are due, hidden from others for `claim`. What cannot be read is left out, here and in
    /// the other claims of records.
    fn claim_webhooks(
        &self,
        n: usize,
        claim: Duration,
    ) -> impl Future<Output = StoreResult<Vec<WebhookDue>>> + Send;

    /// What became of the delivery that `claim` let somebody try; remembered among the last [`DELIVERIES_MAX`]. Changes
    /// nothing once the claim is over: the job may have ended again since, and that end is still to be told.
    fn finish_webhook(
        &self,
        claim: WebhookClaim,
        outcome: WebhookOutcome,
        answer: WebhookAnswer,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// The last `n` tries to deliver webhooks, the newest first.
    fn deliveries(&self, n: usize) -> impl Future<Output = StoreResult<Vec<Delivery>>> + Send;

    /// Makes the webhook of a job that is over due again, with its tries counted anew. `false` when there is nothing to
    /// tell anybody.
    fn redeliver(&self, job: JobId) -> impl Future<Output = StoreResult<Option<bool>>> + Send;

    /// Takes up to `n` attempts that ended without a result and whose folders are to be removed.
    fn claim_sweeps(
        &self,
        n: usize,
        claim: Duration,
    ) -> impl Future<Output = StoreResult<Vec<LeaseKey>>> + Send;

    /// Those folders are gone.
    fn delete_sweeps(&self, attempts: &[LeaseKey]) -> impl Future<Output = StoreResult<()>> + Send;

    /// Forgets up to `n` final jobs whose retention is over; gives how many.
    fn prune(&self, n: usize) -> impl Future<Output = StoreResult<usize>> + Send;

    /// The queue in numbers.
    fn status(&self) -> impl Future<Output = StoreResult<QueueStatus>> + Send;

    /// A worker says that it lives; it counts as alive for `lasts`.
    fn heartbeat(&self, worker: &WorkerInfo, lasts: Duration)
    -> impl Future<Output = StoreResult<()>> + Send;

    /// The workers alive, by name.
    fn workers(&self) -> impl Future<Output = StoreResult<Vec<WorkerSeen>>> + Send;

    /// A worker leaves: it no longer counts as alive.
    fn farewell(&self, worker: &WorkerId) -> impl Future<Output = StoreResult<()>> + Send;

    /// One round trip; the store's own time.
    fn time(&self) -> impl Future<Output = StoreResult<Timestamp>> + Send;
}

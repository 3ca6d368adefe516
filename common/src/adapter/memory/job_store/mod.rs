//! The job store inside one process: the reference for what every job store means.
//!
//! It is written to be obviously right rather than fast: no indices, every step looks at every job. That serves
//! `rollcall-worker run` (as many jobs as there are files), the simulator (a handful) and the conformance suite.

mod claims;
mod keys;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::state::State;
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::lease::LeaseKey;
use crate::job::record::{JobRecord, Progress};
use crate::job::retry::AfterCrash;
use crate::job::spec::CacheKey;
use crate::job::transition::{Cancel, Ended, Retried, Settled, Transition};
use crate::job::worker::{WorkerId, WorkerInfo, WorkerSeen};
use crate::port::job_store::{
    AcquireRequest, Acquired, Delivery, ExpiredLease, Extension, Inserted, JobFilter, JobPage, JobStore,
    NewJob, OutboxEntry, QueueStatus, Reported, StoreResult, StoreRules, WebhookAnswer, WebhookClaim,
    WebhookDue, WebhookOutcome,
};
use crate::scaling::{CAPACITY_WEIGHT, moved};

/// A job store in memory; clones share it.
#[derive(Clone)]
pub struct MemoryJobStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

impl MemoryJobStore {
    /// An empty store whose time is the wall-clock time of `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, rules: StoreRules) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(rules))), clock }
    }

    /// Looks at every record, the oldest first, without copying any.
    pub fn for_each(&self, mut look: impl FnMut(&JobRecord)) {
        self.lock().jobs.values().for_each(|job| look(&job.record));
    }

    /// Looks at every bell that waits to be published, claimed or not.
    pub fn for_each_bell(&self, mut look: impl FnMut(&OutboxEntry)) {
        self.lock().outbox.iter().for_each(|(_, entry)| look(entry));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step panics half way through a change; should one, the records are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl std::fmt::Debug for MemoryJobStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryJobStore")
    }
}

impl JobStore for MemoryJobStore {
    async fn insert(&self, job: NewJob) -> StoreResult<Inserted> {
        Ok(self.lock().insert(job, self.now()))
    }

    async fn get(&self, job: JobId) -> StoreResult<Option<JobRecord>> {
        Ok(self.lock().jobs.get(&job).map(|job| job.record.clone()))
    }

    async fn list(&self, filter: JobFilter) -> StoreResult<JobPage> {
        Ok(self.lock().list(&filter))
    }

    async fn acquire(&self, request: AcquireRequest) -> StoreResult<Acquired> {
        Ok(self.lock().acquire(&request, self.now()))
    }

    async fn extend(&self, key: LeaseKey, lasts: Duration, called_at: Monotonic) -> StoreResult<Extension> {
        Ok(self.lock().extend(&key, lasts, called_at, self.now()))
    }

    async fn report(&self, key: LeaseKey, progress: Progress) -> StoreResult<Reported> {
        Ok(self.lock().report(&key, progress))
    }

    async fn settle(&self, key: LeaseKey, transition: Transition) -> StoreResult<Settled> {
        Ok(self.lock().settle(&key, &transition, self.now()))
    }

    async fn request_cancel(&self, job: JobId) -> StoreResult<Option<Cancel>> {
        Ok(self.lock().request_cancel(job, self.now()))
    }

    /// Never waits: whoever needs to wait polls.
    async fn next_cancels(&self, worker: &WorkerId, _wait: Duration) -> StoreResult<Vec<JobId>> {
        Ok(self.lock().cancels.remove(worker).unwrap_or_default())
    }

    async fn retry(&self, job: JobId) -> StoreResult<Option<Retried>> {
        Ok(self.lock().retry(job, self.now()))
    }

    async fn purge(&self, job: JobId) -> StoreResult<Option<bool>> {
        Ok(self.lock().purge(job))
    }

    async fn claim_outbox(&self, lane: Lane, n: usize, claim: Duration) -> StoreResult<Vec<OutboxEntry>> {
        Ok(self.lock().claim_outbox(lane, n, claim, self.now()))
    }

    async fn delete_outbox(&self, entries: &[OutboxEntry]) -> StoreResult<()> {
        self.lock().outbox.retain(|(_, entry)| !entries.contains(entry));
        Ok(())
    }

    async fn claim_unheard(
        &self,
        lanes: &[Lane],
        waited: Duration,
        claim: Duration,
    ) -> StoreResult<Option<JobId>> {
        Ok(self.lock().claim_unheard(lanes, waited, claim, self.now()))
    }

    async fn promote_due(&self, n: usize) -> StoreResult<usize> {
        Ok(self.lock().promote_due(n, self.now()))
    }

    async fn expired_leases(&self, n: usize) -> StoreResult<Vec<ExpiredLease>> {
        Ok(self.lock().expired_leases(n, self.now()))
    }

    async fn end_lease(&self, key: LeaseKey, after: AfterCrash) -> StoreResult<Ended> {
        Ok(self.lock().end_lease(&key, after, self.now()))
    }

    async fn rescue_turn(&self, owner: &WorkerId, lasts: Duration) -> StoreResult<bool> {
        Ok(self.lock().rescue_turn(owner, lasts, self.now()))
    }

    async fn ring(&self, owner: &WorkerId, lane: Lane, n: usize) -> StoreResult<usize> {
        Ok(self.lock().ring(owner, lane, n, self.now()))
    }

    async fn claim_exports(&self, n: usize, claim: Duration) -> StoreResult<Vec<JobRecord>> {
        Ok(self.lock().claim_exports(n, claim, self.now()))
    }

    async fn mark_exported(
        &self,
        job: JobId,
        cache: Option<CacheKey>,
        output_problem: Option<&str>,
    ) -> StoreResult<()> {
        self.lock().mark_exported(job, cache, output_problem, self.now());
        Ok(())
    }

    async fn claim_webhooks(&self, n: usize, claim: Duration) -> StoreResult<Vec<WebhookDue>> {
        Ok(self.lock().claim_webhooks(n, claim, self.now()))
    }

    async fn finish_webhook(
        &self,
        claim: WebhookClaim,
        outcome: WebhookOutcome,
        answer: WebhookAnswer,
    ) -> StoreResult<()> {
        self.lock().finish_webhook(claim, outcome, answer, self.now());
        Ok(())
    }

    async fn deliveries(&self, n: usize) -> StoreResult<Vec<Delivery>> {
        Ok(self.lock().deliveries.iter().take(n).cloned().collect())
    }

    async fn redeliver(&self, job: JobId) -> StoreResult<Option<bool>> {
        Ok(self.lock().redeliver(job, self.now()))
    }

    async fn claim_sweeps(&self, n: usize, claim: Duration) -> StoreResult<Vec<LeaseKey>> {
        Ok(self.lock().claim_sweeps(n, claim, self.now()))
    }

    async fn delete_sweeps(&self, attempts: &[LeaseKey]) -> StoreResult<()> {
        self.lock().sweeps.retain(|(_, key)| !attempts.contains(key));
        Ok(())
    }

    async fn prune(&self, n: usize) -> StoreResult<usize> {
        Ok(self.lock().prune(n, self.now()))
    }

    async fn status(&self) -> StoreResult<QueueStatus> {
        Ok(self.lock().status(self.now()))
    }

    async fn heartbeat(&self, worker: &WorkerInfo, lasts: Duration) -> StoreResult<()> {
        let now = self.now();
        let mut state = self.lock();
        if let Some(capacity) = worker.capacity {
            let known = Some(state.capacity).filter(|known| *known > 0.0);
            state.capacity = moved(known, capacity, CAPACITY_WEIGHT);
        }
        state.workers.insert(worker.id.clone(), (worker.clone(), now, now.plus(lasts)));
        Ok(())
    }

    async fn workers(&self) -> StoreResult<Vec<WorkerSeen>> {
        Ok(self.lock().workers(self.now()))
    }

    async fn farewell(&self, worker: &WorkerId) -> StoreResult<()> {
        self.lock().workers.remove(worker);
        Ok(())
    }

    async fn time(&self) -> StoreResult<Timestamp> {
        Ok(self.now())
    }
}

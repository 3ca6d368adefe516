//! The job store as a process of the simulation sees it.

use std::time::Duration;

use common::clock::{Monotonic, Timestamp};
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::lease::LeaseKey;
use common::job::record::{JobRecord, JobState, Progress};
use common::job::retry::AfterCrash;
use common::job::spec::CacheKey;
use common::job::transition::{Cancel, Ended, Ending, Retried, Settled, Transition};
use common::job::worker::{WorkerId, WorkerInfo, WorkerSeen};
use common::port::job_store::{
    AcquireRequest, Acquired, Delivery, ExpiredLease, Extension, Inserted, JobFilter, JobPage, JobStore,
    JobStoreError, NewJob, OutboxEntry, QueueStatus, Reported, StoreResult, WebhookAnswer, WebhookClaim,
    WebhookDue, WebhookOutcome,
};

use super::checker::Call;
use super::planted::Planted;
use super::run::job_id;
use super::world::World;

/// The reference job store behind faults.
#[derive(Clone)]
pub struct SimStore {
    pub world: World,
    pub planted: Planted,
}

fn unanswered() -> JobStoreError {
    JobStoreError::Unavailable { endpoint: String::new(), detail: String::new() }
}

fn now<T>(future: impl Future<Output = StoreResult<T>>) -> T {
    World::at_once(future).expect("the reference store always answers")
}

/// Somebody cancels a job between two effects.
pub fn operator_cancel(world: &World, job: usize) {
    let id = job_id(job);
    if let Some(Cancel::Done | Cancel::Requested) = now(world.jobs.request_cancel(id)) {
        world.observe(&Call::Cancelled(id));
    }
}

/// Somebody retries a job between two effects.
pub fn operator_retry(world: &World, job: usize) {
    let id = job_id(job);
    if now(world.jobs.retry(id)) == Some(Retried::Done) {
        world.observe(&Call::Retried(id));
    }
}

impl SimStore {
    /// One effect that tells the checker what it did.
    async fn call<T>(&self, run: impl FnOnce(&World) -> (T, Call) + Send + 'static) -> StoreResult<T> {
        let answer = self.world.effect(move |world| {
            let (answer, call) = run(world);
            world.observe(&call);
            answer
        });
        answer.await.ok_or_else(unanswered)
    }

    /// One effect that changes no record.
    async fn look<T>(&self, run: impl FnOnce(&World) -> T + Send + 'static) -> StoreResult<T> {
        self.world.effect(run).await.ok_or_else(unanswered)
    }

    /// The key that the planted defects put in the place of the caller's.
    fn forged(planted: Planted, world: &World, key: LeaseKey) -> LeaseKey {
        let Some(record) = now(world.jobs.get(key.job)) else { return key };
        let current = record.lease_key().filter(|_| record.state == JobState::Running);
        match planted {
            Planted::SettleWithoutToken => current.unwrap_or(key),
            Planted::RescueKeepsToken => {
                let kept = world.lock().checker.kept.get(&key.job) == Some(&key);
                current.filter(|_| kept).unwrap_or(key)
            }
            _ => key,
        }
    }
}

impl JobStore for SimStore {
    async fn insert(&self, job: NewJob) -> StoreResult<Inserted> {
        self.call(move |world| (now(world.jobs.insert(job)), Call::Other)).await
    }

    async fn get(&self, job: JobId) -> StoreResult<Option<JobRecord>> {
        self.look(move |world| now(world.jobs.get(job))).await
    }

    async fn list(&self, filter: JobFilter) -> StoreResult<JobPage> {
        self.look(move |world| now(world.jobs.list(filter))).await
    }

    async fn acquire(&self, request: AcquireRequest) -> StoreResult<Acquired> {
        self.call(move |world| {
            let acquired = now(world.jobs.acquire(request));
            let call = match &acquired {
                Acquired::Granted(lease) => Call::Acquired(*lease.key()),
                Acquired::Refused(_) => Call::Other,
            };
            (acquired, call)
        })
        .await
    }

    async fn extend(&self, key: LeaseKey, lasts: Duration, called_at: Monotonic) -> StoreResult<Extension> {
        let answer = self.look(move |world| now(world.jobs.extend(key, lasts, called_at))).await;
        match answer {
            Err(_) if self.planted == Planted::UnknownExtends => {
                Ok(Extension::Held { deadline: called_at.plus(lasts), cancel_requested: false })
            }
            answer => answer,
        }
    }

    async fn report(&self, key: LeaseKey, progress: Progress) -> StoreResult<Reported> {
        self.look(move |world| now(world.jobs.report(key, progress))).await
    }

    async fn settle(&self, key: LeaseKey, transition: Transition) -> StoreResult<Settled> {
        let planted = self.planted;
        self.call(move |world| {
            let failed = matches!(transition.ending(), Ending::Retryable { .. } | Ending::Discarded(_));
            let transition = match transition.ending() {
                Ending::Interrupted if planted == Planted::InterruptionCosts => {
                    Transition::retry(stopped(), Duration::ZERO)
                }
                _ => transition,
            };
            let settled = now(world.jobs.settle(Self::forged(planted, world, key), transition));
            (settled, Call::Settled { key, settled, failed })
        })
        .await
    }

    async fn request_cancel(&self, job: JobId) -> StoreResult<Option<Cancel>> {
        self.call(move |world| {
            let cancel = now(world.jobs.request_cancel(job));
            let accepted = matches!(cancel, Some(Cancel::Done | Cancel::Requested));
            (cancel, if accepted { Call::Cancelled(job) } else { Call::Other })
        })
        .await
    }

    async fn next_cancels(&self, worker: &WorkerId, wait: Duration) -> StoreResult<Vec<JobId>> {
        let worker = worker.clone();
        self.look(move |world| now(world.jobs.next_cancels(&worker, wait))).await
    }

    async fn retry(&self, job: JobId) -> StoreResult<Option<Retried>> {
        self.call(move |world| {
            let retried = now(world.jobs.retry(job));
            let done = retried == Some(Retried::Done);
            (retried, if done { Call::Retried(job) } else { Call::Other })
        })
        .await
    }

    async fn purge(&self, job: JobId) -> StoreResult<Option<bool>> {
        self.call(move |world| (now(world.jobs.purge(job)), Call::Other)).await
    }

    async fn claim_outbox(&self, lane: Lane, n: usize, claim: Duration) -> StoreResult<Vec<OutboxEntry>> {
        self.look(move |world| now(world.jobs.claim_outbox(lane, n, claim))).await
    }

    async fn delete_outbox(&self, entries: &[OutboxEntry]) -> StoreResult<()> {
        let entries = entries.to_vec();
        self.call(move |world| {
            now(world.jobs.delete_outbox(&entries));
            ((), Call::BellsDeleted(entries))
        })
        .await
    }

    async fn claim_unheard(
        &self,
        lanes: &[Lane],
        waited: Duration,
        claim: Duration,
    ) -> StoreResult<Option<JobId>> {
        let lanes = lanes.to_vec();
        self.look(move |world| {
            let job = now(world.jobs.claim_unheard(&lanes, waited, claim));
            world.lock().checker.coverage.unheard += u64::from(job.is_some());
            job
        })
        .await
    }

    async fn promote_due(&self, n: usize) -> StoreResult<usize> {
        self.call(move |world| (now(world.jobs.promote_due(n)), Call::Other)).await
    }

    async fn expired_leases(&self, n: usize) -> StoreResult<Vec<ExpiredLease>> {
        self.look(move |world| now(world.jobs.expired_leases(n))).await
    }

    async fn end_lease(&self, key: LeaseKey, after: AfterCrash) -> StoreResult<Ended> {
        let planted = self.planted;
        self.call(move |world| {
            if planted == Planted::RescueKeepsToken {
                world.lock().checker.kept.insert(key.job, key);
            }
            (now(world.jobs.end_lease(key, after)), Call::LeaseEnded)
        })
        .await
    }

    async fn rescue_turn(&self, owner: &WorkerId, lasts: Duration) -> StoreResult<bool> {
        let owner = owner.clone();
        self.look(move |world| now(world.jobs.rescue_turn(&owner, lasts))).await
    }

    async fn ring(&self, owner: &WorkerId, lane: Lane, n: usize) -> StoreResult<usize> {
        let (owner, planted) = (owner.clone(), self.planted);
        self.look(move |world| match planted {
            Planted::DeleteBeforeConfirm => 0,
            _ => {
                let rung = now(world.jobs.ring(&owner, lane, n));
                world.lock().checker.coverage.rung += rung as u64;
                rung
            }
        })
        .await
    }

    async fn claim_exports(&self, n: usize, claim: Duration) -> StoreResult<Vec<JobRecord>> {
        self.look(move |world| {
            let left = now(world.jobs.claim_exports(n, claim));
            world.lock().checker.coverage.exports_rescued += left.len() as u64;
            left
        })
        .await
    }

    async fn mark_exported(
        &self,
        job: JobId,
        cache: Option<CacheKey>,
        output_problem: Option<&str>,
    ) -> StoreResult<()> {
        let problem = output_problem.map(str::to_owned);
        self.call(move |world| (now(world.jobs.mark_exported(job, cache, problem.as_deref())), Call::Other))
            .await
    }

    async fn claim_webhooks(&self, n: usize, claim: Duration) -> StoreResult<Vec<WebhookDue>> {
        self.look(move |world| now(world.jobs.claim_webhooks(n, claim))).await
    }

    async fn finish_webhook(
        &self,
        claim: WebhookClaim,
        outcome: WebhookOutcome,
        answer: WebhookAnswer,
    ) -> StoreResult<()> {
        self.look(move |world| now(world.jobs.finish_webhook(claim, outcome, answer))).await
    }

    async fn deliveries(&self, n: usize) -> StoreResult<Vec<Delivery>> {
        self.look(move |world| now(world.jobs.deliveries(n))).await
    }

    async fn redeliver(&self, job: JobId) -> StoreResult<Option<bool>> {
        self.look(move |world| now(world.jobs.redeliver(job))).await
    }

    async fn claim_sweeps(&self, n: usize, claim: Duration) -> StoreResult<Vec<LeaseKey>> {
        self.look(move |world| now(world.jobs.claim_sweeps(n, claim))).await
    }

    async fn delete_sweeps(&self, attempts: &[LeaseKey]) -> StoreResult<()> {
        let attempts = attempts.to_vec();
        self.look(move |world| {
            world.lock().checker.coverage.swept += attempts.len() as u64;
            now(world.jobs.delete_sweeps(&attempts));
        })
        .await
    }

    async fn prune(&self, n: usize) -> StoreResult<usize> {
        self.call(move |world| (now(world.jobs.prune(n)), Call::Other)).await
    }

    async fn status(&self) -> StoreResult<QueueStatus> {
        self.look(move |world| now(world.jobs.status())).await
    }

    async fn heartbeat(&self, worker: &WorkerInfo, lasts: Duration) -> StoreResult<()> {
        let worker = worker.clone();
        self.look(move |world| now(world.jobs.heartbeat(&worker, lasts))).await
    }

    async fn workers(&self) -> StoreResult<Vec<WorkerSeen>> {
        self.look(move |world| now(world.jobs.workers())).await
    }

    async fn farewell(&self, worker: &WorkerId) -> StoreResult<()> {
        let worker = worker.clone();
        self.look(move |world| now(world.jobs.farewell(&worker))).await
    }

    async fn time(&self) -> StoreResult<Timestamp> {
        self.look(move |world| now(world.jobs.time())).await
    }
}

fn stopped() -> Failure {
    Failure {
        code: FailureCode::Internal,
        stage: Stage::Fetch,
        class: FailureClass::Retryable,
        detail: String::new(),
    }
}

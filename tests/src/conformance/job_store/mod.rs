//! What every job store means. A case gets a [`Bench`] and makes its own stores on it, each empty.
//!
//! On a real server time is real, so a case never claims that something short is *not* over yet: what must hold is given
//! an hour, what must end is given a millisecond and waited for.

mod delivery;
mod insert;
mod overview;
mod twins;
mod upkeep;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::clock::{ManualClock, Monotonic, Timestamp};
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::lease::{LeaseKey, Nonce};
use common::job::record::{Document, JobRecord, JobState, StoredResult};
use common::job::spec::{ContentDigest, JobSpec, SourceRef};
use common::job::transition::{Settled, Transition};
use common::job::worker::WorkerId;
use common::port::job_store::{
    AcquireRequest, Acquired, Inserted, JobStore, NewJob, OutboxEntry, StoreRules, Unready,
};
use common::port::key_store::KeyStore;

/// Long enough to hold in any test.
pub const HOUR: Duration = Duration::from_secs(3600);
/// Short enough to wait for.
pub const MOMENT: Duration = Duration::from_millis(1);

/// Where a case gets its stores from.
pub trait Bench: Send + Sync {
    /// The adapter.
    type Store: JobStore + KeyStore;

    /// An empty store.
    fn store(&self, rules: StoreRules) -> Self::Store;

    /// Returns once the store's clock has moved on by `length`.
    fn pass(&self, store: &Self::Store, length: Duration) -> impl Future<Output = ()> + Send;
}

/// Stores in memory, on a clock that the cases move.
#[derive(Debug, Clone)]
pub struct MemoryBench {
    /// The clock of every store.
    pub clock: ManualClock,
}

impl Default for MemoryBench {
    fn default() -> Self {
        Self { clock: ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)) }
    }
}

impl Bench for MemoryBench {
    type Store = common::adapter::memory::job_store::MemoryJobStore;

    fn store(&self, rules: StoreRules) -> Self::Store {
        Self::Store::new(std::sync::Arc::new(self.clock.clone()), rules)
    }

    async fn pass(&self, _store: &Self::Store, length: Duration) {
        self.clock.advance(length);
    }
}

/// Stores on a private Redis, each under a prefix of its own.
#[derive(Debug)]
pub struct RedisBench {
    server: crate::redis_server::RedisServer,
    stores: AtomicU64,
}

impl RedisBench {
    /// Starts the server.
    #[must_use]
    pub fn start() -> Self {
        Self { server: crate::redis_server::RedisServer::start("always"), stores: AtomicU64::new(0) }
    }
}

impl Bench for RedisBench {
    type Store = common::adapter::redis::RedisJobStore;

    fn store(&self, rules: StoreRules) -> Self::Store {
        let mut options = common::adapter::redis::RedisOptions::new(&self.server.url());
        // A question that is repeated because its answer is late has another answer the second time.
        (options.answer, options.budget) = (Duration::from_secs(60), Duration::from_secs(60));
        options.prefix = format!("test{}:", self.stores.fetch_add(1, Ordering::SeqCst));
        Self::Store::new(options, &rules).expect("the address of a private server is well formed")
    }

    async fn pass(&self, store: &Self::Store, length: Duration) {
        let start = store.time().await.expect("the server answers");
        loop {
            let now = store.time().await.expect("the server answers");
            if now.since(start) > length {
                return;
            }
            tokio::time::sleep(length / 4).await;
        }
    }
}

/// Names every case for one bench: `job_store_suite!(MemoryBench::default())` in a test file.
#[macro_export]
macro_rules! job_store_suite {
    ($bench:expr) => {
        $crate::job_store_suite!(@each $bench;
            a_job_is_accepted_with_its_bell, the_same_key_gives_the_same_job, an_exported_result_serves_again,
            poison_is_refused, a_delayed_job_waits, a_lease_is_given_once, only_the_holder_writes,
            a_lost_worker_costs_a_crash, an_extended_lease_is_not_ended, the_last_crash_discards,
            company_is_no_poison, a_failed_attempt_waits_and_counts, an_interruption_is_free,
            a_waiting_job_is_cancelled_at_once, a_running_job_is_cancelled_by_any_ending,
            only_dead_and_cancelled_jobs_are_retried, bells_are_claimed_by_lane, waiting_jobs_are_told_of, a_claimed_bell_keeps_its_age,
            idle_bells_are_dropped,
            lost_bells_are_rung_again, one_rescuer_has_the_turn, exports_are_left_over_once,
            webhooks_follow_the_end, a_late_answer_changes_no_newer_webhook, deliveries_are_remembered, keys_are_kept,
            revoked_keys_are_forgotten_in_the_end, lost_attempts_are_swept, final_jobs_are_forgotten,
            the_queue_is_counted, jobs_are_listed, pages_join_up, workers_come_and_go, unknown_jobs_are_unknown,
        );
    };
    (@each $bench:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::conformance::job_store::cases::$case(&$bench).await;
            }
        )*
    };
}

/// The cases, by name.
pub mod cases {
    pub use super::delivery::*;
    pub use super::insert::*;
    pub use super::overview::*;
    pub use super::upkeep::*;
}

pub use twins::twins_agree;

/// Rules under which nothing falls due by itself during a test.
#[must_use]
pub fn patient() -> StoreRules {
    StoreRules {
        retention: HOUR,
        poison: HOUR,
        bell_first: HOUR,
        bell_max: HOUR,
        export_grace: HOUR,
        sweep_delay: HOUR,
    }
}

/// Rules under which everything falls due in a moment.
#[must_use]
pub fn hasty() -> StoreRules {
    StoreRules {
        retention: MOMENT,
        poison: HOUR,
        bell_first: MOMENT,
        bell_max: HOUR,
        export_grace: MOMENT,
        sweep_delay: MOMENT,
    }
}

/// The `n`th job of a test.
fn id(n: u8) -> JobId {
    JobId::new(Timestamp::from_millis(1_700_000_000_000 + u64::from(n)), [n; 16])
}

fn spec() -> JobSpec {
    JobSpec::diarize(SourceRef::at("s3://bucket/a.wav"))
}

fn worker(name: &str) -> WorkerId {
    name.parse().expect("the tests use legal names")
}

fn request(job: JobId, by: &str, nonce: u8, lasts: Duration) -> AcquireRequest {
    AcquireRequest {
        job,
        worker: worker(by),
        nonce: Nonce::new([nonce; 16]),
        lasts,
        called_at: Monotonic::from_millis(1000),
    }
}

fn failure(class: FailureClass) -> Failure {
    Failure {
        code: FailureCode::StoreUnavailable,
        stage: Stage::Fetch,
        class,
        detail: "503 \"slow down\"".into(),
    }
}

fn result() -> StoredResult {
    let document =
        |name: &str, bytes| Document { name: name.into(), bytes, sha256: ContentDigest::of(name.as_bytes()) };
    StoredResult {
        documents: vec![document("segments.json", 10), document("turns.rttm", 20)],
        audio: Duration::from_secs(60),
        audio_sha256: Some(ContentDigest::of(b"audio")),
        bundle: Some("starter@1".into()),
        voices: None,
    }
}

async fn insert(store: &impl JobStore, job: NewJob) -> JobRecord {
    match store.insert(job).await.unwrap() {
        Inserted::Accepted(record) => record,
        other => panic!("not accepted: {other:?}"),
    }
}

/// The record as it stands now.
async fn record(store: &impl JobStore, job: JobId) -> JobRecord {
    store.get(job).await.unwrap().expect("the job is known")
}

async fn lease(store: &impl JobStore, request: AcquireRequest) -> LeaseKey {
    match store.acquire(request).await.unwrap() {
        Acquired::Granted(lease) => *lease.key(),
        Acquired::Refused(why) => panic!("not granted: {why:?}"),
    }
}

async fn refusal(store: &impl JobStore, request: AcquireRequest) -> Unready {
    match store.acquire(request).await.unwrap() {
        Acquired::Refused(why) => why,
        Acquired::Granted(lease) => panic!("granted: {lease:?}"),
    }
}

/// A job that ran and was settled by `transition`.
async fn ended(store: &impl JobStore, job: NewJob, transition: Transition) -> LeaseKey {
    let id = insert(store, job).await.id;
    let key = lease(store, request(id, "w1", 1, HOUR)).await;
    assert!(matches!(store.settle(key, transition).await.unwrap(), Settled::Applied(_)));
    key
}

/// Claims up to `n` bells of each lane, the highest lane first.
async fn claim_bells(store: &impl JobStore, n: usize, claim: Duration) -> Vec<OutboxEntry> {
    let mut bells = Vec::new();
    for lane in Lane::ALL {
        bells.extend(store.claim_outbox(lane, n, claim).await.unwrap());
    }
    bells
}

/// The jobs of the bells that can be claimed now.
async fn bells(store: &impl JobStore) -> Vec<JobId> {
    claim_bells(store, 100, HOUR).await.iter().map(|entry| entry.job).collect()
}

async fn state(store: &impl JobStore, job: JobId) -> JobState {
    record(store, job).await.state
}

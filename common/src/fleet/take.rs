//! From a notice to a lease; or to a lease without one.

use std::time::Duration;

use crate::clock::Clock;
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::lease::{Lease, Nonce};
use crate::job::notice::{JobNotice, NoticeError};
use crate::job::spec::JobSpec;
use crate::job::transition::Transition;
use crate::job::worker::WorkerId;
use crate::port::broker::Delivery;
use crate::port::job_store::{AcquireRequest, Acquired, JobStore, JobStoreError, StoreResult, Unready};

/// Times that an unanswered request for a lease is put before the notice is handed back. Each is already bounded and
/// repeated by the adapter.
const ASKS_MAX: usize = 2;

/// Who asks, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The worker.
    pub worker: WorkerId,
    /// How long a lease is to last.
    pub lasts: Duration,
}

/// What came of a notice.
#[derive(Debug)]
pub enum Taken {
    /// The job is ours until the lease's deadline. The notice is acknowledged, or will come again and find it taken.
    Held(Box<Lease<JobSpec>>),
    /// There is nothing to do for it; the notice is gone.
    Nothing(Unready),
    /// The lease was granted but has already run out; it was handed back.
    TooLate,
    /// No notice of ours; it is gone.
    Malformed(NoticeError),
    /// The job store does not answer; the notice is handed back. Wait a little before taking another.
    Unanswered(JobStoreError),
}

/// Asks for the job of a delivery and ends the delivery.
///
/// The notice is acknowledged only once the lease is held or known to be somebody else's business, so dying at any await
/// loses nothing: the broker gives the notice to another. When the answer stays unknown the lease may have been granted to
/// nobody; it then runs out and costs a crash, which is the safe side.
pub async fn take(
    store: &impl JobStore,
    delivery: impl Delivery,
    asker: &Asker,
    nonce: Nonce,
    clock: &impl Clock,
) -> Taken {
    let notice = match JobNotice::from_bytes(delivery.notice()) {
        Ok(notice) => notice,
        Err(error) => {
            forget(delivery).await;
            return Taken::Malformed(error);
        }
    };
    let answer = ask(store, notice.job, asker, nonce, clock).await;
    match &answer {
        Ok(_) => forget(delivery).await,
        // Should this fail, the broker gives the notice to somebody else once the connection is gone.
        Err(_) => drop(delivery.hand_back().await),
    }
    taken(store, answer, clock).await
}

/// How long a job waits before a worker with room takes it without a notice: longer than any that the broker delivers to
/// somebody with room, and than a relay or a rescuer takes to ring.
pub const UNHEARD: Duration = Duration::from_secs(10);

/// A job of these lanes that waits though the caller has room and hears no notice of it: the broker is away, or takes notices
/// and gives none, or somebody who stands still holds the notice. Others are told of it only when whoever asked has had the
/// time to take it.
///
/// # Errors
/// When the job store does not answer.
pub async fn unheard(store: &impl JobStore, lanes: &[Lane]) -> StoreResult<Option<JobId>> {
    store.claim_unheard(lanes, UNHEARD, UNHEARD).await
}

/// Asks for a job of which there was no notice. The lease decides who has a job, however it was heard of, so this is as safe
/// as [`take`]; a notice that comes afterwards finds the job taken.
pub async fn take_unheard(
    store: &impl JobStore,
    job: JobId,
    asker: &Asker,
    nonce: Nonce,
    clock: &impl Clock,
) -> Taken {
    let answer = ask(store, job, asker, nonce, clock).await;
    taken(store, answer, clock).await
}

async fn ask(
    store: &impl JobStore,
    job: JobId,
    asker: &Asker,
    nonce: Nonce,
    clock: &impl Clock,
) -> StoreResult<Acquired> {
    let request = AcquireRequest {
        job,
        worker: asker.worker.clone(),
        nonce,
        lasts: asker.lasts,
        called_at: clock.monotonic(),
    };
    let mut asks = 1;
    loop {
        match store.acquire(request.clone()).await {
            Err(error) if error.is_transient() && asks < ASKS_MAX => asks += 1,
            answer => return answer,
        }
    }
}

async fn taken(store: &impl JobStore, answer: StoreResult<Acquired>, clock: &impl Clock) -> Taken {
    match answer {
        Ok(Acquired::Granted(lease)) if lease.is_held(clock.monotonic()) => Taken::Held(lease),
        Ok(Acquired::Granted(lease)) => {
            // Late but not yet ended by rescue, it can be given back free of charge. Should this fail, rescue ends it.
            let _ = store.settle(*lease.key(), Transition::interrupt()).await;
            Taken::TooLate
        }
        Ok(Acquired::Refused(why)) => Taken::Nothing(why),
        Err(error) => Taken::Unanswered(error),
    }
}

/// Acknowledges. Should that fail, the notice comes again and finds the job taken or ended.
async fn forget(delivery: impl Delivery) {
    let _ = delivery.ack().await;
}

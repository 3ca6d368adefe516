//! From a notice to a lease.

use std::time::Duration;

use crate::clock::Clock;
use crate::job::lease::{Lease, Nonce};
use crate::job::notice::{JobNotice, NoticeError};
use crate::job::spec::JobSpec;
use crate::job::transition::Transition;
use crate::job::worker::WorkerId;
use crate::port::broker::Delivery;
use crate::port::job_store::{AcquireRequest, Acquired, JobStore, JobStoreError, Unready};

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
    let request = AcquireRequest {
        job: notice.job,
        worker: asker.worker.clone(),
        nonce,
        lasts: asker.lasts,
        called_at: clock.monotonic(),
    };
    let mut asks = 1;
    let answer = loop {
        match store.acquire(request.clone()).await {
            Err(error) if error.is_transient() && asks < ASKS_MAX => asks += 1,
            answer => break answer,
        }
    };
    match answer {
        Ok(Acquired::Granted(lease)) => {
            forget(delivery).await;
            if lease.is_held(clock.monotonic()) {
                return Taken::Held(lease);
            }
            // Late but not yet ended by rescue, it can be given back free of charge. Should this fail, rescue ends it.
            let _ = store.settle(*lease.key(), Transition::interrupt()).await;
            Taken::TooLate
        }
        Ok(Acquired::Refused(why)) => {
            forget(delivery).await;
            Taken::Nothing(why)
        }
        Err(error) => {
            // Should this fail, the broker gives the notice to somebody else once the connection is gone.
            let _ = delivery.hand_back().await;
            Taken::Unanswered(error)
        }
    }
}

/// Acknowledges. Should that fail, the notice comes again and finds the job taken or ended.
async fn forget(delivery: impl Delivery) {
    let _ = delivery.ack().await;
}

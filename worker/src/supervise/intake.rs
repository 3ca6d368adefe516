//! From a free seat to a held job.

use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock as _, Timestamp};
use common::fleet::take::{Asker, Taken, take, take_unheard};
use common::job::id::JobId;
use common::job::lease::{Lease, Nonce};
use common::job::spec::JobSpec;
use common::port::broker::{Broker, BrokerError, Consumer, Delivery as _};
use common::port::job_store::{JobStore, JobStoreError};
use common::port::object_store::ObjectStore;
use common::random::{OsRandom, Random as _};
use common::telemetry::{metrics, spans};
use tokio::time::Instant;

use super::craft::Craft;
use super::errand::Floor;
use super::phase::Phase;
use super::troubles::Troubles;
use super::unheard::Unheard;

/// Wait after a server refused or did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// A seat that was free was there within this time.
const AT_ONCE: Duration = Duration::from_millis(20);

/// Takes jobs until the worker drains: a seat, a notice, a lease, and again. A notice is asked for only with a seat in
/// hand.
pub async fn take_turns<S, B, O, C>(floor: Arc<Floor<S, O, C>>, broker: B)
where
    S: JobStore,
    B: Broker,
    O: ObjectStore,
    C: Craft,
{
    let asker = Asker { worker: floor.worker.clone(), lasts: floor.rules.keep.lasts };
    let (mut queue, mut records) = (Troubles::of("queue"), Troubles::of("job store"));
    let Some(mut consumer) = consumer(&floor, &broker, &mut queue).await else { return };
    let (store, clock) = (&floor.tools.store, &floor.tools.clock);
    let mut unheard = Unheard::of(&floor.rules.lanes);
    loop {
        let turn = async {
            let began = Instant::now();
            let seated = floor.seats.sit().await;
            if began.elapsed() > AT_ONCE {
                unheard.was_full();
            }
            (seated, hear(&mut consumer, &mut queue, &mut unheard, store).await)
        };
        let (seated, heard) = tokio::select! {
            biased;
            () = floor.phases.reached(Phase::Draining) => break,
            turn = turn => turn,
        };
        let nonce = Nonce::new(OsRandom.bytes());
        let asked = clock.now();
        let taken = match heard {
            Heard::Notice(delivery) => {
                let taken = take(store, delivery, &asker, nonce, clock).await;
                if matches!(taken, Taken::Held(_)) {
                    unheard.heard();
                }
                taken
            }
            Heard::Nothing(job) => {
                let taken = take_unheard(store, job, &asker, nonce, clock).await;
                if matches!(taken, Taken::Held(_)) {
                    metrics::unheard();
                    tracing::warn!(%job, "taken though the queue gave no notice of it");
                }
                taken
            }
        };
        let mut answered = Ok::<(), JobStoreError>(());
        match taken {
            Taken::Held(lease) => {
                trace(&lease, asked, clock.now());
                tokio::spawn(Arc::clone(&floor).errand(lease, seated));
            }
            Taken::Unanswered(error) => answered = Err(error),
            Taken::Malformed(error) => tracing::warn!(%error, "not a notice; it is gone"),
            Taken::Nothing(why) => tracing::debug!(?why, "nothing to do for a notice"),
            Taken::TooLate => tracing::warn!("a lease had run out before its answer came"),
        }
        records.outcome(answered.as_ref().err());
        if answered.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    consumer.close().await;
}

/// What tells of a job.
enum Heard<D> {
    Notice(D),
    /// The queue does not tell of it.
    Nothing(JobId),
}

/// The next notice, or a job of which none comes. A queue that refuses is told of and asked again.
async fn hear<C: Consumer>(
    consumer: &mut C,
    queue: &mut Troubles,
    unheard: &mut Unheard,
    store: &impl JobStore,
) -> Heard<C::Delivery> {
    loop {
        // Never beside the wait for a notice: an answer that nobody waits for any more would hide the job that it names.
        if let Some(job) = unheard.any(store).await {
            return Heard::Nothing(job);
        }
        let delivery = tokio::select! {
            biased;
            delivery = consumer.next() => delivery,
            () = tokio::time::sleep_until(unheard.due()) => continue,
        };
        queue.outcome(delivery.as_ref().err());
        match delivery {
            Ok(delivery) => match unheard.above(delivery.lane(), store).await {
                None => return Heard::Notice(delivery),
                Some(job) => {
                    // Should this fail, it comes back by itself.
                    let _ = delivery.hand_back().await;
                    return Heard::Nothing(job);
                }
            },
            Err(_) => tokio::time::sleep_until(unheard.due().min(Instant::now() + PAUSE)).await,
        }
    }
}

/// The time that is over before anybody knew whose it was, as spans of the job's trace.
fn trace(lease: &Lease<JobSpec>, asked: Timestamp, granted: Timestamp) {
    let (trace, job) = (lease.payload.trace.as_ref(), lease.job().to_string());
    if let Some(waited) = lease.waited {
        spans::past("queued", trace, &job, granted.minus(waited), granted);
    }
    spans::past("lease", trace, &job, asked, granted);
}

/// A consumer, as soon as the broker gives one; `None` when the worker drains first.
async fn consumer<S, B, O, C>(
    floor: &Floor<S, O, C>,
    broker: &B,
    troubles: &mut Troubles,
) -> Option<B::Consumer>
where
    S: JobStore,
    B: Broker,
    O: ObjectStore,
    C: Craft,
{
    loop {
        let opened: Result<_, BrokerError> = broker.consume(&floor.rules.lanes).await;
        troubles.outcome(opened.as_ref().err());
        if let Ok(consumer) = opened {
            return Some(consumer);
        }
        tokio::select! {
            () = floor.phases.reached(Phase::Draining) => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

//! The processes of a run: thin shells around the use cases, as the programs have them.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use common::clock::Clock;
use common::fleet::keep::{Hold, KeepRules, Keeper, Next};
use common::fleet::relay::{self, RelayRules};
use common::fleet::rescue::{self, RescueRules};
use common::fleet::take::{Asker, Taken, take, take_unheard, unheard};
use common::fleet::trip::{End, Work, WorkError, trip};
use common::fleet::{export, sweep};
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::lease::{Lease, Nonce};
use common::job::record::{Document, StoredResult};
use common::job::spec::{ContentDigest, JobSpec, Limits, SourceRef};
use common::job::worker::WorkerId;
use common::object_key;
use common::port::broker::{Broker, Consumer};
use common::port::job_store::{Inserted, JobStore, NewJob};
use common::port::object_store::{ObjectStore, PutOptions};
use common::random::Random;

use super::plan::{Attempt, Hearing};
use super::planted::Planted;
use super::ports::{SimBroker, SimConsumer, SimDelivery, SimObjects};
use super::run::{job_id, job_index};
use super::store::SimStore;
use super::world::{OwnClock, RELAY_BATCH, World};

/// What a process of the simulation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Submits the jobs of the plan, and relays.
    Submitter,
    /// Relays, rescues, exports and sweeps.
    Steward,
    /// Works; the number tells which one is told to stop.
    Worker(usize),
}

/// What a process holds of the world.
#[derive(Clone)]
struct Seat {
    world: World,
    store: SimStore,
    broker: SimBroker,
    objects: SimObjects,
    clock: OwnClock,
    name: WorkerId,
}

/// One life of a process, from its start to its orderly end.
pub fn start(kind: Kind, world: &World) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let planted = world.plan().planted;
    // Up to a day apart: nobody may compare clocks.
    let ahead_ms = world.lock().dice.below(86_400_000);
    let seat = Seat {
        world: world.clone(),
        store: SimStore { world: world.clone(), planted },
        broker: SimBroker { world: world.clone() },
        objects: SimObjects { world: world.clone() },
        clock: OwnClock { world: world.clone(), ahead_ms },
        name: WorkerId::new("sim", world.bytes()),
    };
    match kind {
        Kind::Submitter => Box::pin(submit(seat)),
        Kind::Steward => Box::pin(serve(seat)),
        Kind::Worker(number) => Box::pin(work(seat, number)),
    }
}

async fn relay_pass(seat: &Seat) {
    if seat.store.planted == Planted::DeleteBeforeConfirm {
        return planted_relay(seat).await;
    }
    // An unanswered pass is repeated by the next one.
    let rules = RelayRules { batch: RELAY_BATCH, ..RelayRules::default() };
    let _ = relay::pass_all(&seat.store, &seat.broker, &rules).await;
}

/// The defect: the bell is gone before the broker has it.
async fn planted_relay(seat: &Seat) {
    for lane in Lane::ALL {
        let Ok(claimed) = seat.store.claim_outbox(lane, 256, Duration::from_secs(10)).await else { return };
        if seat.store.delete_outbox(&claimed).await.is_ok() {
            for entry in claimed {
                let _ = seat.broker.publish(entry.lane, &entry.notice().to_bytes()).await;
            }
        }
    }
}

/// Submits every job at its time, repeating what was not answered; a submitter that died starts again from the first.
async fn submit(seat: Seat) {
    let plan = seat.world.plan();
    let start = super::run::START.as_millis();
    let mut order: Vec<usize> = (0..plan.jobs.len()).collect();
    order.sort_by_key(|job| plan.jobs[*job].at_ms);
    for job in order {
        let wait = (start + plan.jobs[job].at_ms).saturating_sub(seat.world.now_ms());
        seat.world.sleep_ms(wait).await;
        while !submitted(&seat, job).await {}
        relay_pass(&seat).await;
    }
}

async fn submitted(seat: &Seat, job: usize) -> bool {
    let plan = seat.world.plan();
    let planned = &plan.jobs[job];
    let mut spec = JobSpec::diarize(SourceRef::at(format!("s3://bucket/{job}.wav")));
    spec.lane = Lane::ALL[planned.lane];
    spec.limits =
        Limits { attempts_max: planned.tries_max, crashes_max: planned.tries_max, ..Limits::default() };
    let delay = Duration::from_millis(planned.delay_ms);
    let new = NewJob { delay, force: true, ..NewJob::new(job_id(job), spec) };
    matches!(seat.store.insert(new).await, Ok(Inserted::Accepted(_)))
}

async fn serve(seat: Seat) {
    let claim = Duration::from_secs(30);
    loop {
        relay_pass(&seat).await;
        // What fails here is due again in the next pass.
        let _ = rescue::pass(&seat.store, &seat.broker, &seat.name, &RescueRules::default()).await;
        let _ = export::pass(&seat.store, &seat.objects, 16, claim).await;
        let _ = sweep::pass(&seat.store, &seat.objects, 16, claim).await;
        seat.world.sleep_ms(2000).await;
    }
}

async fn work(seat: Seat, number: usize) {
    let slots = seat.world.plan().slots;
    let mut open: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> =
        (0..slots).map(|_| Box::pin(slot(seat.clone(), number)) as Pin<Box<_>>).collect();
    poll_fn(|context| {
        open.retain_mut(|slot| slot.as_mut().poll(context).is_pending());
        if open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    if let Some(stop) = seat.world.lock().stops.get_mut(number) {
        *stop = false;
    }
}

/// What a slot hears of a job from.
enum Heard {
    Notice(SimDelivery),
    Nothing(JobId),
}

/// One place for a job: a notice or none, a lease, a trip, and again, until the worker is told to stop.
async fn slot(seat: Seat, number: usize) {
    let asker = Asker { worker: seat.name.clone(), lasts: KeepRules::default().lasts };
    let Ok(mut consumer) = seat.broker.consume(&Lane::ALL).await else { return };
    loop {
        let Some(heard) = next_or_stop(&seat, &mut consumer, number).await else { return };
        let nonce = Nonce::new(seat.world.bytes());
        let taken = match heard {
            Heard::Notice(delivery) => take(&seat.store, delivery, &asker, nonce, &seat.clock).await,
            Heard::Nothing(job) => take_unheard(&seat.store, job, &asker, nonce, &seat.clock).await,
        };
        match taken {
            Taken::Held(lease) => hold(&seat, &lease, number).await,
            Taken::Unanswered(_) => seat.world.sleep_ms(1000).await,
            Taken::Nothing(_) | Taken::TooLate | Taken::Malformed(_) => {}
        }
    }
}

async fn next_or_stop(seat: &Seat, consumer: &mut SimConsumer, number: usize) -> Option<Heard> {
    let mut next = pin!(consumer.next());
    // Its waits are also those after which a slot notices that it is to stop.
    let mut unheard = pin!(next_unheard(seat));
    poll_fn(|context| {
        if seat.world.lock().stops[number] {
            return Poll::Ready(None);
        }
        if let Poll::Ready(delivery) = next.as_mut().poll(context) {
            return Poll::Ready(delivery.ok().map(Heard::Notice));
        }
        unheard.as_mut().poll(context).map(|job| Some(Heard::Nothing(job)))
    })
    .await
}

/// A job of which no notice comes, in the runs in which workers ask for them.
async fn next_unheard(seat: &Seat) -> JobId {
    loop {
        seat.world.sleep_ms(5000).await;
        if seat.world.plan().hearing != Hearing::Broker
            && let Ok(Some(job)) = unheard(&seat.store, &Lane::ALL).await
        {
            return job;
        }
    }
}

/// Works on a job while its lease is kept.
async fn hold(seat: &Seat, lease: &Lease<JobSpec>, number: usize) {
    let hold = Hold::on(lease);
    let unit = seat.world.unit();
    let job = SimWork { seat: seat.clone() };
    let mut going = pin!(async {
        if seat.store.planted == Planted::ExportBeforeSettle {
            return planted_trip(seat, lease, &hold, &job, unit).await;
        }
        trip(&seat.store, &seat.objects, lease, &hold, &job, unit).await
    });
    let mut keeping = pin!(keep(seat, &hold));
    poll_fn(|context| {
        if seat.world.lock().stops[number] {
            hold.interrupt();
        }
        // The keeper goes first, as its own thread would.
        let _ = keeping.as_mut().poll(context);
        going.as_mut().poll(context).map(drop)
    })
    .await;
}

/// The defect: what is not settled is shown.
async fn planted_trip(seat: &Seat, lease: &Lease<JobSpec>, hold: &Hold, job: &SimWork, unit: f64) -> End {
    if let Ok(result) = job.work(lease, hold).await {
        let _ = export::settled(&seat.store, &seat.objects, lease.key(), &lease.payload, &result).await;
        let transition = common::job::transition::Transition::complete(result);
        let _ = seat.store.settle(*lease.key(), transition).await;
        return End::Lost;
    }
    trip(&seat.store, &seat.objects, lease, hold, job, unit).await
}

async fn keep(seat: &Seat, hold: &Hold) {
    let mut keeper = Keeper::new(hold, KeepRules::default());
    let mut done = false;
    while !done {
        match keeper.next(hold, seat.clock.monotonic()) {
            Next::Extend => keeper.extend(&seat.store, hold, &seat.clock).await,
            Next::Wait(until) => {
                let wait = until.since(seat.clock.monotonic());
                seat.world.sleep_ms(common::clock::millis(wait).max(1)).await;
            }
            Next::Lost => done = true,
        }
    }
    // Nothing left to keep; the work notices at its next stage.
    std::future::pending::<()>().await;
}

/// Stages that take time, then documents.
struct SimWork {
    seat: Seat,
}

impl SimWork {
    /// The check that precedes every stage and every write, and the checker's look at the truth in the same breath.
    fn may_start(&self, hold: &Hold) -> Result<(), WorkError> {
        hold.check(self.seat.clock.monotonic())?;
        let world = &self.seat.world;
        let now = world.clock.now();
        world.lock().checker.stage(&hold.key(), &world.jobs, now);
        Ok(())
    }

    async fn document(&self, hold: &Hold, name: &str) -> Result<Document, WorkError> {
        self.may_start(hold)?;
        // The content names its attempt, so that a document from another one is told by its digest.
        let content = format!("{name} {:?}", hold.key()).into_bytes();
        let (bytes, sha256) = (content.len() as u64, ContentDigest::of(&content));
        let key = format!("{}{name}", object_key::attempt(&hold.key()));
        let put = self.seat.objects.put(&key, content.into(), &PutOptions::default()).await;
        put.map_err(|error| {
            let detail = error.to_string();
            Failure { code: FailureCode::StoreUnavailable, stage: Stage::Store, class: error.class(), detail }
        })?;
        Ok(Document { name: name.to_owned(), bytes, sha256 })
    }
}

impl Work for SimWork {
    async fn work(&self, lease: &Lease<JobSpec>, hold: &Hold) -> Result<StoredResult, WorkError> {
        let plan = self.seat.world.plan();
        let planned = &plan.jobs[job_index(lease.job())];
        for stage_ms in &planned.stages_ms {
            self.may_start(hold)?;
            self.seat.world.sleep_ms(*stage_ms).await;
        }
        let nth = usize::try_from(lease.attempt).expect("small") - 1;
        let outcome = planned.attempts[nth.min(planned.attempts.len() - 1)];
        let failed = |class| Failure {
            code: FailureCode::Internal,
            stage: Stage::Embedding,
            class,
            detail: String::new(),
        };
        match outcome {
            Attempt::Good => {}
            Attempt::Retryable => return Err(failed(FailureClass::Retryable).into()),
            Attempt::Permanent => return Err(failed(FailureClass::Permanent).into()),
            Attempt::Deadly => self.seat.world.die().await,
        }
        let documents =
            vec![self.document(hold, "segments.json").await?, self.document(hold, "turns.rttm").await?];
        let audio = Duration::from_secs(1);
        Ok(StoredResult { documents, audio, audio_sha256: None, bundle: None, voices: None })
    }
}

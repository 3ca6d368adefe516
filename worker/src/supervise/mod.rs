//! A worker of the fleet: notice → lease → admit → run → settle → shut down.
//!
//! What may go wrong between two of these is decided in `common::fleet`, which the simulator proves; here are the tasks,
//! timers and bounds. A worker asks for notices only while it has a seat free, holds a lease for each job, and keeps
//! leases from a thread of their own.

mod attempt;
pub mod capacity;
pub mod craft;
mod errand;
mod intake;
mod pace;
mod phase;
mod presence;
pub use presence::host;
mod seats;
mod troubles;
mod unheard;
pub mod upkeep;
mod watching;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::clock::SystemClock;
use common::fleet::keep::KeepRules;
use common::fleet::relay::{self, RelayRules};
use common::job::lane::Lane;
use common::job::worker::WorkerId;
use common::port::broker::Broker;
use common::port::job_store::JobStore;
use common::port::object_store::ObjectStore;
use common::random::{OsRandom, Random as _};
use common::telemetry::metrics;
use tokio::task::JoinSet;

use attempt::Tools;
use craft::Craft;
use errand::Floor;
pub use phase::{Phase, Phases, signals};
use upkeep::{Kicks, UpkeepRules};

use crate::audio::AudioLimits;
use crate::fetch::Fetcher;
use crate::lease_keeper::LeaseKeeper;

/// How a worker works.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How leases are kept.
    pub keep: KeepRules,
    /// Lanes it takes from.
    pub lanes: Vec<Lane>,
    /// Jobs it holds at most.
    pub jobs_max: usize,
    /// Tasks that take notices side by side. One is enough unless jobs take milliseconds.
    pub takers: usize,
    /// What jobs at work may need together, bytes.
    pub memory_bytes: u64,
    /// What audio is accepted.
    pub audio: AudioLimits,
    /// How often the fleet hears of it.
    pub heartbeat_every: Duration,
    /// How long it counts as alive after that.
    pub heartbeat_lasts: Duration,
    /// What it does for the fleet.
    pub upkeep: UpkeepRules,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            keep: KeepRules::default(),
            lanes: Lane::ALL.to_vec(),
            jobs_max: 4,
            takers: 1,
            memory_bytes: u64::MAX,
            audio: AudioLimits::default(),
            heartbeat_every: Duration::from_secs(3),
            heartbeat_lasts: Duration::from_secs(15),
            upkeep: UpkeepRules::default(),
        }
    }
}

/// The servers of a fleet.
#[derive(Debug, Clone)]
pub struct Ports<S, B, O> {
    /// Records and leases.
    pub store: S,
    /// Notices.
    pub broker: B,
    /// Audio and results.
    pub objects: O,
}

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and holds nothing any more.
    Told,
    /// Its device is gone; a new process may find it again.
    DeviceLost,
    /// It was told to, and what it still held did not end in time: those leases run out.
    LeasesLeft,
    /// A part of it panicked.
    Defect,
}

/// How long jobs that were told to stop may take to do so: a batch, or the clustering of a long recording.
const STOPPING: Duration = Duration::from_secs(30);
/// Longest time for the last words.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Works until the phase says otherwise. `keeper_store` opens a job store with a connection of its own; it is called on
/// the lease keeper's thread.
///
/// # Errors
/// When the system gives no thread.
pub async fn supervise<S, B, O, C>(
    ports: Ports<S, B, O>,
    keeper_store: impl FnOnce() -> S + Send + 'static,
    fetcher: Fetcher<O>,
    craft: Arc<C>,
    rules: Rules,
    phases: Phases,
) -> io::Result<Ended>
where
    S: JobStore,
    B: Broker,
    O: ObjectStore,
    C: Craft,
{
    metrics::slots(rules.jobs_max);
    let Ports { store, broker, objects } = ports;
    let worker = WorkerId::new(&host(), OsRandom.bytes());
    let clock = SystemClock::new();
    let keeper = LeaseKeeper::start(keeper_store, rules.keep, clock)?;
    let tools = Tools { store, objects, fetcher, craft, limits: rules.audio, clock };
    let kicks: Kicks = Arc::default();
    let floor = Arc::new(Floor::new(worker, tools, keeper, phases, rules, Arc::clone(&kicks)));
    let mut beside = JoinSet::new();
    let (store, upkeep) = (&floor.tools.store, floor.rules.upkeep);
    for lane in Lane::ALL {
        beside.spawn(upkeep::relay(store.clone(), broker.clone(), lane, upkeep, Arc::clone(&kicks)));
    }
    let (objects, owner) = (floor.tools.objects.clone(), floor.worker.clone());
    beside.spawn(upkeep::rescue(store.clone(), broker.clone(), owner, upkeep));
    beside.spawn(upkeep::clear(store.clone(), objects, upkeep));
    beside.spawn(presence::beat(Arc::clone(&floor)));
    beside.spawn(presence::hear_cancels(Arc::clone(&floor)));
    let mut takers = JoinSet::new();
    for _ in 0..floor.rules.takers.max(1) {
        takers.spawn(intake::take_turns(Arc::clone(&floor), broker.clone()));
    }
    tracing::info!(worker = %floor.worker, jobs_max = floor.rules.jobs_max, "takes jobs");
    let defect = tokio::select! {
        defect = worked(&floor, &mut takers) => defect,
        // These never end by themselves.
        Some(_) = beside.join_next() => {
            floor.phases.stop();
            floor.interrupt_all();
            true
        }
    };
    let left = tokio::time::timeout(STOPPING, floor.seats.empty()).await.is_err();
    if left {
        tracing::error!(jobs = floor.seats.jobs(), "jobs did not stop in time; their leases run out");
    }
    // What was handed back rings at once. Should this fail, any other worker relays, and the registry forgets by itself.
    let relay_rules = RelayRules::default();
    let ring = relay::pass_all(&floor.tools.store, &broker, &relay_rules);
    let farewell = floor.tools.store.farewell(&floor.worker);
    let _ = tokio::join!(tokio::time::timeout(LAST_WORDS, ring), tokio::time::timeout(LAST_WORDS, farewell));
    Ok(match (defect, floor.device_lost(), left) {
        (true, ..) => Ended::Defect,
        (_, true, _) => Ended::DeviceLost,
        (.., true) => Ended::LeasesLeft,
        _ => Ended::Told,
    })
}

/// Until every taker has ended and no job is left, or the jobs that are left are to stop; whether a taker panicked.
async fn worked<S, O, C>(floor: &Floor<S, O, C>, takers: &mut JoinSet<()>) -> bool
where
    S: JobStore,
    O: ObjectStore,
    C: Craft,
{
    let mut defect = false;
    while let Some(ended) = takers.join_next().await {
        if ended.is_err() {
            defect = true;
            floor.phases.stop();
        }
    }
    tokio::select! {
        () = floor.seats.empty() => {}
        () = floor.phases.reached(Phase::Stopping) => floor.interrupt_all(),
    }
    defect
}

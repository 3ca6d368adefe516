//! One held job from its lease to its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::clock::{Clock, Monotonic, millis};
use common::fleet::keep::Hold;
use common::fleet::trip::{End, trip};
use common::job::id::JobId;
use common::job::lease::Lease;
use common::job::record::JobState;
use common::job::spec::JobSpec;
use common::job::worker::WorkerId;
use common::port::job_store::JobStore;
use common::port::object_store::ObjectStore;
use common::random::{OsRandom, Random as _};
use common::telemetry::{TRACED, metrics, spans};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::Rules;
use super::attempt::{Attempt, Tools};
use super::capacity::Capacity;
use super::craft::Craft;
use super::pace::Pace;
use super::phase::{Phase, Phases};
use super::seats::{Seated, Seats};
use super::upkeep::Kicks;
use crate::lease_keeper::LeaseKeeper;

/// What the tasks of a worker share.
pub struct Floor<S, O, C> {
    pub worker: WorkerId,
    pub tools: Arc<Tools<S, O, C>>,
    pub seats: Seats,
    pub phases: Phases,
    pub rules: Rules,
    keeper: LeaseKeeper,
    /// The jobs that are held, for whoever wants them stopped.
    holds: Mutex<HashMap<JobId, Arc<Hold>>>,
    pace: Mutex<(Pace, Capacity)>,
    device_lost: AtomicBool,
    kicks: Kicks,
}

impl<S: JobStore, O: ObjectStore, C: Craft> Floor<S, O, C> {
    pub fn new(
        worker: WorkerId,
        tools: Tools<S, O, C>,
        keeper: LeaseKeeper,
        phases: Phases,
        rules: Rules,
        kicks: Kicks,
    ) -> Self {
        let pace = Mutex::new((Pace::new(tools.clock.monotonic()), Capacity::new(rules.jobs_max)));
        Self {
            worker,
            tools: Arc::new(tools),
            seats: Seats::new(rules.jobs_max, rules.memory_bytes),
            phases,
            rules,
            keeper,
            holds: Mutex::default(),
            pace,
            device_lost: AtomicBool::new(false),
            kicks,
        }
    }

    /// Works on a job until its end, in its submitter's trace.
    pub async fn errand(self: Arc<Self>, lease: Box<Lease<JobSpec>>, seated: Seated) {
        let (job, attempt) = (lease.job(), lease.attempt);
        // An error's level, so that no filter that shows anything hides which job it is about.
        let span = tracing::error_span!(
            target: TRACED, parent: None, "attempt", %job, attempt, trace_id = Empty, state = Empty
        );
        spans::join(&span, lease.payload.trace.as_ref());
        self.held(lease, seated).instrument(span).await;
    }

    async fn held(self: Arc<Self>, lease: Box<Lease<JobSpec>>, seated: Seated) {
        let began = self.tools.clock.monotonic();
        metrics::leased(lease.waited);
        let computed = self.computed();
        self.pace().1.begin(computed, began);
        let hold = Arc::new(Hold::on(&lease));
        let kept = self.keeper.keep(&hold);
        self.holds().insert(lease.job(), Arc::clone(&hold));
        // Registered first, so that either this line or whoever stops everybody sees the other.
        if self.phases.now() == Phase::Stopping {
            hold.interrupt();
        }
        let audio_ms = AtomicU64::new(0);
        let attempt = Attempt {
            tools: &self.tools,
            seated: &seated,
            hold: &hold,
            audio_ms: &audio_ms,
            device_lost: &self.device_lost,
        };
        let (store, objects) = (&self.tools.store, &self.tools.objects);
        let end = trip(store, objects, &lease, &hold, &attempt, OsRandom.unit()).await;
        let mut holds = self.holds();
        if holds.get(&lease.job()).is_some_and(|held| Arc::ptr_eq(held, &hold)) {
            holds.remove(&lease.job());
        }
        drop(holds);
        drop(kept);
        self.tell(&lease, &end, Duration::from_millis(audio_ms.into_inner()), began);
        if self.device_lost() {
            self.phases.stop();
        }
    }

    fn tell(&self, lease: &Lease<JobSpec>, end: &End, audio: Duration, began: Monotonic) {
        let (job, attempt, now) = (lease.job(), lease.attempt, self.tools.clock.monotonic());
        let took = now.since(began);
        metrics::attempt_over(took);
        let completed = matches!(end, End::Settled { state: JobState::Completed, .. });
        let computed = self.computed();
        self.pace().1.end(if completed { audio } else { Duration::ZERO }, computed, now);
        match end {
            End::Settled { state, export } => {
                metrics::settled(*state);
                tracing::Span::current().record("state", state.as_str());
                if completed {
                    metrics::completed(audio, took);
                    self.pace().0.done(audio, now);
                } else {
                    // It may have a bell in the outbox.
                    self.kicks[lease.payload.lane.index()].notify_one();
                }
                tracing::info!(%job, attempt, state = state.as_str(), audio_ms = millis(audio), "settled");
                if let Some(error) = export {
                    tracing::warn!(%job, %error, "rescue will export");
                }
            }
            End::Lost => {
                metrics::lease_lost();
                tracing::warn!(%job, attempt, "the lease is lost; nothing of this attempt is shown");
            }
            End::Unanswered(error) => tracing::warn!(%job, attempt, %error, "the settlement is unknown"),
        }
    }

    /// Jobs that somebody wants stopped.
    pub fn cancel(&self, jobs: &[JobId]) {
        let holds = self.holds();
        jobs.iter().filter_map(|job| holds.get(job)).for_each(|hold| hold.cancel());
    }

    /// Every job is to be handed back.
    pub fn interrupt_all(&self) {
        self.holds().values().for_each(|hold| hold.interrupt());
    }

    pub fn device_lost(&self) -> bool {
        self.device_lost.load(Ordering::SeqCst)
    }

    pub fn audio_s_per_s(&self) -> f64 {
        self.pace().0.audio_s_per_s(self.tools.clock.monotonic())
    }

    pub fn capacity(&self) -> Option<f64> {
        self.pace().1.audio_s_per_s()
    }

    /// How long an engine of the device has computed, on average over them.
    fn computed(&self) -> Option<Duration> {
        let device = self.tools.craft.device()?;
        let busy: Duration = device.done.iter().map(|(_, done)| done.busy).sum();
        u32::try_from(device.engines).ok().filter(|engines| *engines > 0).map(|engines| busy / engines)
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Hold>>> {
        // Nothing panics while it holds the lock.
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, (Pace, Capacity)> {
        // As above.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Virtual time, the count of effects, and what strikes at them.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::adapter::memory::job_store::MemoryJobStore;
use common::adapter::memory::object_store::MemoryStore;
use common::clock::{Clock, ManualClock, Monotonic, Timestamp};
use common::job::lane::Lane;
use common::job::record::JobState;
use common::random::Random;

use super::checker::{Call, Checker};
use super::dice::Dice;
use super::plan::{Op, Plan};

/// How long a caller waits for an answer that does not come, milliseconds.
const PATIENCE_MS: u64 = 4000;

/// Most processes of a run.
pub const PROCESSES_MAX: usize = 16;

/// Bells of a lane that a relay claims at once.
pub const RELAY_BATCH: usize = 5;

/// A call that takes place after its caller gave up.
type Ghost = Box<dyn FnOnce(&World) + Send>;

/// What a poll of a process left behind.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// When it wants to go on.
    pub wake_ms: u64,
    /// Whether it goes on when a message arrives.
    pub listens: bool,
    /// Whether it died.
    pub dead: bool,
    /// How long it stands still.
    pub frozen_ms: u64,
}

impl Default for Left {
    fn default() -> Self {
        Self { wake_ms: u64::MAX, listens: false, dead: false, frozen_ms: 0 }
    }
}

/// What becomes of an effect.
pub enum Fate {
    /// It happens.
    Go,
    /// It happens, and the process dies.
    GoAndDie,
    /// It happens, and the process stands still.
    GoAndFreeze(u64),
    /// It does not happen.
    Lost,
    /// It happens, but its caller does not hear of it.
    Unheard,
    /// It happens later, and its caller does not hear of it.
    Late(u64),
    /// A message vanishes after it was confirmed.
    Vanish,
    /// A message is there twice.
    Twice,
}

/// Everything that the processes of a run share.
pub struct Inner {
    pub dice: Dice,
    pub plan: Arc<Plan>,
    pub checker: Checker,
    pub left: Left,
    /// Whether a message arrived since the last look.
    pub arrived: bool,
    /// Messages by lane.
    pub messages: [Vec<Vec<u8>>; 3],
    pub ghosts: Vec<(u64, Ghost)>,
    /// By worker: whether it is told to stop.
    pub stops: Vec<bool>,
    pub effects: u32,
    /// Which process is being polled.
    pub current: usize,
    next_op: usize,
    /// Until when nobody reaches anything.
    outage_until_ms: u64,
    /// By process: until when it reaches nothing.
    partition_until_ms: [u64; PROCESSES_MAX],
}

/// A handle on the run; clones share it.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    pub clock: ManualClock,
    pub jobs: MemoryJobStore,
    pub objects: MemoryStore,
}

impl World {
    pub fn new(plan: Arc<Plan>, clock: ManualClock, jobs: MemoryJobStore) -> Self {
        let inner = Inner {
            dice: Dice::new(plan.schedule),
            checker: Checker::default(),
            left: Left::default(),
            arrived: false,
            messages: [const { Vec::new() }; 3],
            ghosts: Vec::new(),
            stops: vec![false; plan.workers],
            effects: 0,
            current: 0,
            next_op: 0,
            outage_until_ms: 0,
            partition_until_ms: [0; PROCESSES_MAX],
            plan,
        };
        Self { inner: Arc::new(Mutex::new(inner)), clock, jobs, objects: MemoryStore::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now().as_millis()
    }

    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.lock().plan)
    }

    /// Sleeps on virtual time.
    pub async fn sleep_ms(&self, length_ms: u64) {
        let until = self.now_ms() + length_ms;
        poll_fn(|_| {
            if self.now_ms() >= until {
                return Poll::Ready(());
            }
            let mut inner = self.lock();
            inner.left.wake_ms = inner.left.wake_ms.min(until);
            Poll::Pending
        })
        .await;
    }

    /// Lets everybody else go first.
    async fn step_aside(&self) {
        let mut polled = false;
        poll_fn(|_| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            self.lock().left.wake_ms = self.now_ms();
            Poll::Pending
        })
        .await;
    }

    /// The process dies here.
    pub async fn die(&self) {
        self.lock().left.dead = true;
        pending::<()>().await;
    }

    async fn freeze(&self, length_ms: u64) {
        self.lock().left.frozen_ms = length_ms;
        self.step_aside().await;
    }

    /// Everything before an effect: the way there, and what strikes on it.
    pub async fn before(&self) -> Fate {
        let latency_ms = self.lock().dice.below(8);
        self.sleep_ms(latency_ms).await;
        match self.next_op() {
            None if self.is_cut_off() => Fate::Lost,
            None => Fate::Go,
            Some(Op::Outage(length_ms)) => {
                let until_ms = self.now_ms() + length_ms;
                self.lock().outage_until_ms = until_ms;
                Fate::Lost
            }
            Some(Op::Partition(length_ms)) => {
                let until_ms = self.now_ms() + length_ms;
                let mut inner = self.lock();
                let current = inner.current;
                inner.partition_until_ms[current] = until_ms;
                Fate::Lost
            }
            Some(Op::DieBefore) => {
                self.die().await;
                Fate::Lost
            }
            Some(Op::DieAfter) => Fate::GoAndDie,
            Some(Op::FreezeBefore(length_ms)) => {
                self.freeze(length_ms).await;
                Fate::Go
            }
            Some(Op::FreezeAfter(length_ms)) => Fate::GoAndFreeze(length_ms),
            Some(Op::LoseCall) => Fate::Lost,
            Some(Op::LoseAnswer) => Fate::Unheard,
            Some(Op::Late(by_ms)) => Fate::Late(by_ms),
            Some(Op::LoseMessage) => Fate::Vanish,
            Some(Op::DoubleMessage) => Fate::Twice,
            Some(Op::LoseAllMessages) => {
                self.lock().messages.iter_mut().for_each(Vec::clear);
                Fate::Go
            }
            Some(Op::Cancel(job)) => {
                super::store::operator_cancel(self, job);
                Fate::Go
            }
            Some(Op::Retry(job)) => {
                super::store::operator_retry(self, job);
                Fate::Go
            }
            Some(Op::Stop(worker)) => {
                if let Some(stop) = self.lock().stops.get_mut(worker) {
                    *stop = true;
                }
                Fate::Go
            }
        }
    }

    /// Counts an effect; gives what strikes at it.
    fn next_op(&self) -> Option<Op> {
        let mut inner = self.lock();
        let effect = inner.effects;
        inner.effects += 1;
        let (at, op) = *inner.plan.ops.get(inner.next_op)?;
        if at > effect {
            return None;
        }
        inner.next_op += 1;
        Some(op)
    }

    fn is_cut_off(&self) -> bool {
        let (now_ms, inner) = (self.now_ms(), self.lock());
        now_ms < inner.outage_until_ms.max(inner.partition_until_ms[inner.current])
    }

    /// One effect with its fate. `None` is an answer that its caller does not get.
    pub async fn effect<T>(&self, run: impl FnOnce(&World) -> T + Send + 'static) -> Option<T> {
        match self.before().await {
            Fate::Go | Fate::Vanish | Fate::Twice => {
                let answer = run(self);
                self.after().await;
                Some(answer)
            }
            Fate::GoAndDie => {
                run(self);
                self.die().await;
                None
            }
            Fate::GoAndFreeze(length_ms) => {
                let answer = run(self);
                self.freeze(length_ms).await;
                Some(answer)
            }
            Fate::Lost => {
                self.sleep_ms(PATIENCE_MS).await;
                None
            }
            Fate::Unheard => {
                run(self);
                self.sleep_ms(PATIENCE_MS).await;
                None
            }
            Fate::Late(by_ms) => {
                let due = self.now_ms() + by_ms;
                self.lock().ghosts.push((due, Box::new(move |world| drop(run(world)))));
                self.sleep_ms(PATIENCE_MS).await;
                None
            }
        }
    }

    /// The way back.
    pub async fn after(&self) {
        let latency_ms = self.lock().dice.below(8);
        self.sleep_ms(latency_ms).await;
    }

    /// The time of the job store.
    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells the checker how full the broker is, where no worker takes from it.
    pub fn crowd(&self) {
        let mut inner = self.lock();
        if inner.plan.workers > 0 {
            return;
        }
        let mut available = 0;
        self.jobs.for_each(|record| available += usize::from(record.state == JobState::Available));
        let messages = inner.messages.iter().map(Vec::len).sum();
        // Each strike may leave one batch of each lane in the broker twice.
        let allowed = available + available / 10 + 3 + inner.next_op * RELAY_BATCH * Lane::ALL.len();
        inner.checker.crowded(messages, allowed);
    }

    /// Tells the checker what was just called.
    pub fn observe(&self, call: &Call) {
        self.lock().checker.observe(call, &self.jobs, &self.objects);
    }

    /// The answer of a future that never waits.
    pub fn at_once<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match Pin::as_mut(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the reference adapters never wait"),
        }
    }
}

impl Random for World {
    fn bytes(&self) -> [u8; 16] {
        let mut inner = self.lock();
        let (high, low) = (inner.dice.bits(), inner.dice.bits());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_le_bytes());
        bytes[8..].copy_from_slice(&low.to_le_bytes());
        bytes
    }
}

/// A process's own clocks: neither agrees with anybody else's.
#[derive(Clone)]
pub struct OwnClock {
    pub world: World,
    /// How far ahead, milliseconds.
    pub ahead_ms: u64,
}

impl Clock for OwnClock {
    fn now(&self) -> Timestamp {
        self.world.clock.now().plus(Duration::from_millis(self.ahead_ms))
    }

    fn monotonic(&self) -> Monotonic {
        self.world.clock.monotonic().plus(Duration::from_millis(self.ahead_ms))
    }
}

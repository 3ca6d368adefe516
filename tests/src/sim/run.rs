//! One run: the loop that moves virtual time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::adapter::memory::job_store::MemoryJobStore;
use common::clock::{ManualClock, Timestamp};
use common::job::id::JobId;
use common::port::job_store::StoreRules;

use super::checker::{Coverage, Violation};
use super::plan::Plan;
use super::process::{Kind, start};
use super::world::{Left, PROCESSES_MAX, World};

/// When every run begins.
pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// The contract's, but for sweeping, which has to come before a run ends. A zombie may then still write into its swept
/// folder; nobody reads it.
const RULES: StoreRules = StoreRules {
    retention: Duration::from_secs(7 * 24 * 3600),
    poison: Duration::from_secs(7 * 24 * 3600),
    bell_first: Duration::from_secs(10),
    bell_max: Duration::from_secs(600),
    export_grace: Duration::from_secs(20),
    sweep_delay: Duration::from_secs(15),
};
/// Virtual time after which a run that has not come to rest never will.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// Virtual time of a run without workers.
const BACKLOG: Duration = Duration::from_secs(900);
/// Polls after which a run goes round in circles.
const POLLS_MAX: u64 = 3_000_000;

/// The nth job of a plan.
#[must_use]
pub fn job_id(job: usize) -> JobId {
    let n = u8::try_from(job % 251).expect("below 251");
    JobId::new(START.plus(Duration::from_millis(job as u64)), [n; 16])
}

/// Which job of the plan this is.
#[must_use]
pub fn job_index(id: JobId) -> usize {
    usize::try_from(id.made_at().since(START).as_millis()).expect("small")
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What did not hold, the first first.
    pub violations: Vec<Violation>,
    /// What happened.
    pub coverage: Coverage,
    /// Effects that took place.
    pub effects: u32,
    /// How often a process was polled.
    pub polls: u64,
    /// Virtual time from start to rest.
    pub lasted: Duration,
}

struct Process {
    kind: Kind,
    life: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    wake_ms: u64,
    listens: bool,
    /// It stands still: no message wakes it.
    frozen: bool,
}

/// Carries out a plan.
///
/// # Panics
/// When the plan has more workers than a run has room for.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    let clock = ManualClock::starting_at(START);
    let jobs = MemoryJobStore::new(Arc::new(clock.clone()), RULES);
    let world = World::new(Arc::new(plan.clone()), clock, jobs);
    let kinds = [Kind::Submitter, Kind::Steward, Kind::Steward].into_iter();
    let mut processes: Vec<Process> = kinds
        .chain((0..plan.workers).map(Kind::Worker))
        .map(|kind| Process { kind, life: None, wake_ms: START.as_millis(), listens: false, frozen: false })
        .collect();
    assert!(processes.len() <= PROCESSES_MAX, "at most {PROCESSES_MAX} processes: {}", processes.len());
    let (mut polls, mut quiet) = (0, false);
    // Without a worker nothing ends: such a run is about what piles up.
    let backlog = plan.workers == 0;
    let end_ms = START.plus(if backlog { BACKLOG } else { LONGEST }).as_millis();
    while polls < POLLS_MAX && world.lock().checker.violations.is_empty() {
        let Some(next) = advance(&world, &processes) else { break };
        if world.now_ms() > end_ms {
            break;
        }
        match next {
            Due::Ghost(index) => {
                let (_, ghost) = world.lock().ghosts.swap_remove(index);
                ghost(&world);
            }
            Due::Process(index) => {
                world.lock().current = index;
                poll(&world, &mut processes[index]);
            }
        }
        polls += 1;
        listen(&world, &mut processes);
        if polls % 32 == 0 && is_quiet(&world, plan) {
            quiet = true;
            break;
        }
    }
    let lasted = world.clock_now().since(START);
    // Dropping what is left hands messages back, which nobody looks at any more.
    drop(processes);
    let mut inner = world.lock();
    if inner.checker.violations.is_empty() && !backlog {
        inner.checker.end(quiet, &world.jobs, &world.objects);
    }
    let (violations, coverage) = (inner.checker.violations.clone(), inner.checker.coverage);
    Outcome { violations, coverage, effects: inner.effects, polls, lasted }
}

enum Due {
    Ghost(usize),
    Process(usize),
}

/// Moves time to whatever comes next.
fn advance(world: &World, processes: &[Process]) -> Option<Due> {
    let process = processes.iter().enumerate().min_by_key(|(_, process)| process.wake_ms);
    let process = process.filter(|(_, process)| process.wake_ms < u64::MAX);
    let ghost = {
        let inner = world.lock();
        inner.ghosts.iter().enumerate().map(|(index, (due, _))| (index, *due)).min_by_key(|(_, due)| *due)
    };
    let (due, due_ms) = match (process, ghost) {
        (Some((index, process)), None) => (Due::Process(index), process.wake_ms),
        (Some((index, process)), Some((_, due_ms))) if process.wake_ms <= due_ms => {
            (Due::Process(index), process.wake_ms)
        }
        (_, Some((index, due_ms))) => (Due::Ghost(index), due_ms),
        (None, None) => return None,
    };
    let wait = due_ms.saturating_sub(world.now_ms());
    world.clock.advance(Duration::from_millis(wait));
    Some(due)
}

fn poll(world: &World, process: &mut Process) {
    world.lock().left = Left::default();
    let life = process.life.get_or_insert_with(|| start(process.kind, world));
    let ended = life.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(());
    let left = world.lock().left;
    (process.wake_ms, process.listens, process.frozen) = (left.wake_ms, left.listens, false);
    if ended || left.dead {
        // Dropped outside the lock: what it held goes back.
        drop(process.life.take());
        let rest_ms = world.lock().dice.below(20_000);
        let again = !(ended && process.kind == Kind::Submitter);
        process.wake_ms = if again { world.now_ms() + rest_ms } else { u64::MAX };
        process.listens = false;
        if let (Kind::Worker(number), false) = (process.kind, ended) {
            world.lock().stops[number] = false;
        }
    } else if left.frozen_ms > 0 {
        process.wake_ms = world.now_ms() + left.frozen_ms;
        process.frozen = true;
    }
}

/// A message wakes everybody who waits for one.
fn listen(world: &World, processes: &mut [Process]) {
    if !std::mem::take(&mut world.lock().arrived) {
        return;
    }
    let now_ms = world.now_ms();
    for process in processes.iter_mut().filter(|process| process.listens && !process.frozen) {
        process.wake_ms = process.wake_ms.min(now_ms);
    }
}

/// Whether all jobs were submitted, all are final and exported, and nothing is on its way.
fn is_quiet(world: &World, plan: &Plan) -> bool {
    let (mut known, mut open) = (0, false);
    world.jobs.for_each(|record| {
        known += 1;
        open |= !record.state.is_final();
        open |= record.result.is_some() && record.exported_at.is_none();
    });
    known == plan.jobs.len() && !open && world.lock().ghosts.is_empty()
}

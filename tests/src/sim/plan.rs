//! What happens in a run.

use super::dice::Dice;
use super::planted::Planted;

/// What strikes at an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The process dies before the effect.
    DieBefore,
    /// The process dies after the effect, before it sees the answer.
    DieAfter,
    /// The process stands still before the effect, milliseconds, and then goes on with it.
    FreezeBefore(u64),
    /// The process stands still after the effect, before it sees the answer.
    FreezeAfter(u64),
    /// The call does not take place; its caller is told that nobody answered.
    LoseCall,
    /// The call takes place; its caller is told that nobody answered.
    LoseAnswer,
    /// The caller is told that nobody answered; the call takes place this much later, milliseconds.
    Late(u64),
    /// A published message is confirmed and then lost. Elsewhere nothing.
    LoseMessage,
    /// A published message is there twice. Elsewhere nothing.
    DoubleMessage,
    /// Every message in the broker is lost.
    LoseAllMessages,
    /// Nobody reaches any server for this long, milliseconds.
    Outage(u64),
    /// This process reaches no server for this long, milliseconds.
    Partition(u64),
    /// Somebody cancels this job of the plan.
    Cancel(usize),
    /// Somebody retries this job of the plan.
    Retry(usize),
    /// This worker is told to stop; it comes back later.
    Stop(usize),
}

/// From where workers hear of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// From the broker.
    Broker,
    /// From the broker, and from the job store while they have nothing to do.
    Both,
    /// The broker is away from the beginning to the end: from the job store.
    Store,
}

/// What an attempt's work comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A result.
    Good,
    /// A failure that may be retried.
    Retryable,
    /// A failure for good.
    Permanent,
    /// The process dies.
    Deadly,
}

/// A job of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlan {
    /// When it is submitted, milliseconds from the start.
    pub at_ms: u64,
    /// With what delay.
    pub delay_ms: u64,
    /// In which lane, as an index.
    pub lane: usize,
    /// How long each stage takes, milliseconds.
    pub stages_ms: Vec<u64>,
    /// What the first attempts come to; the later ones come to what the last of these does.
    pub attempts: Vec<Attempt>,
    /// Attempts and crashes after which it is given up.
    pub tries_max: u32,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Decides latencies, the order of messages, nonces and jitter.
    pub schedule: u64,
    /// Workers.
    pub workers: usize,
    /// Jobs that each works on at a time.
    pub slots: usize,
    /// Where they hear of them.
    pub hearing: Hearing,
    /// The jobs.
    pub jobs: Vec<JobPlan>,
    /// What strikes, by the number of the effect, ascending.
    pub ops: Vec<(u32, Op)>,
    /// A defect to be found.
    pub planted: Planted,
}

impl Plan {
    /// Many jobs and nobody to take them: what piles up in the broker?
    #[must_use]
    pub fn backlog(seed: u64, jobs: usize) -> Self {
        let mut dice = Dice::new(seed);
        let jobs: Vec<JobPlan> = (0..jobs).map(|_| JobPlan::random(&mut dice)).collect();
        let mut ops: Vec<(u32, Op)> = (0..dice.below(20))
            .map(|_| {
                (u32::try_from(dice.below(2000)).expect("small"), Op::random(&mut dice, jobs.len() as u64, 1))
            })
            .collect();
        ops.sort_by_key(|(at, _)| *at);
        ops.dedup_by_key(|(at, _)| *at);
        let (hearing, planted) = (Hearing::Broker, Planted::Nothing);
        Self { schedule: dice.bits(), workers: 0, slots: 1, hearing, jobs, ops, planted }
    }

    /// The run of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let jobs: Vec<JobPlan> = (0..1 + dice.below(4)).map(|_| JobPlan::random(&mut dice)).collect();
        let workers = 1 + usize::try_from(dice.below(3)).expect("below three");
        // Some runs are calm, some are a storm; most strikes fall into the busy first part.
        let (strikes, span) = (dice.below(25), *dice.pick(&[40, 120, 300, 900]));
        let mut ops: Vec<(u32, Op)> = (0..strikes)
            .map(|_| {
                let at = u32::try_from(dice.below(span)).expect("small");
                (at, Op::random(&mut dice, jobs.len() as u64, workers as u64))
            })
            .collect();
        ops.sort_by_key(|(at, _)| *at);
        ops.dedup_by_key(|(at, _)| *at);
        let slots = 1 + usize::try_from(dice.below(2)).expect("below two");
        let schedule = dice.bits();
        let hearing = *dice.pick(&[Hearing::Broker, Hearing::Broker, Hearing::Both, Hearing::Store]);
        Self { schedule, workers, slots, hearing, jobs, ops, planted: Planted::Nothing }
    }
}

impl Plan {
    /// A smaller plan that `still` shows the same, found by leaving out one strike, one job or one stage at a time until
    /// nothing more can be left out.
    #[must_use]
    pub fn shrunk(&self, still: impl Fn(&Self) -> bool) -> Self {
        let mut plan = self.clone();
        loop {
            let smaller = plan.smaller().into_iter().find(|smaller| still(smaller));
            match smaller {
                Some(smaller) => plan = smaller,
                None => return plan,
            }
        }
    }

    fn smaller(&self) -> Vec<Self> {
        let without = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            plan
        };
        let mut all: Vec<Self> = (0..self.ops.len())
            .map(|op| {
                without(&|plan| {
                    plan.ops.remove(op);
                })
            })
            .collect();
        // Only the last job may go: ids and strikes name jobs by their place.
        if self.jobs.len() > 1 {
            all.push(without(&|plan| drop(plan.jobs.pop())));
        }
        if self.workers > 1 {
            all.push(without(&|plan| plan.workers -= 1));
        }
        if self.slots > 1 {
            all.push(without(&|plan| plan.slots -= 1));
        }
        for (job, planned) in self.jobs.iter().enumerate().filter(|(_, job)| job.stages_ms.len() > 1) {
            all.extend((0..planned.stages_ms.len()).map(|stage| {
                without(&|plan| {
                    plan.jobs[job].stages_ms.remove(stage);
                })
            }));
        }
        all
    }
}

impl JobPlan {
    fn random(dice: &mut Dice) -> Self {
        let stages = 1 + dice.below(3);
        let attempts = match dice.below(10) {
            0..=4 => vec![Attempt::Good],
            5 | 6 => vec![Attempt::Retryable, Attempt::Good],
            7 => vec![Attempt::Retryable],
            8 => vec![Attempt::Permanent],
            _ => vec![Attempt::Deadly, *dice.pick(&[Attempt::Good, Attempt::Deadly])],
        };
        Self {
            at_ms: dice.below(10_000),
            delay_ms: if dice.chance(20) { dice.below(30_000) } else { 0 },
            lane: usize::try_from(dice.below(3)).expect("below three"),
            stages_ms: (0..stages).map(|_| *dice.pick(&[0, 50, 2000, 12_000, 40_000])).collect(),
            attempts,
            tries_max: 2 + u32::try_from(dice.below(3)).expect("below three"),
        }
    }
}

impl Op {
    fn random(dice: &mut Dice, jobs: u64, workers: u64) -> Self {
        let index = |n: u64| usize::try_from(n).expect("small");
        match dice.below(28) {
            0..=2 => Self::DieBefore,
            3..=5 => Self::DieAfter,
            6 | 7 => Self::FreezeBefore(*dice.pick(&[1000, 12_000, 29_990, 31_000, 45_000, 120_000])),
            8 | 9 => Self::FreezeAfter(*dice.pick(&[1000, 12_000, 29_990, 31_000, 45_000, 120_000])),
            10..=12 => Self::LoseCall,
            13..=15 => Self::LoseAnswer,
            16 | 17 => Self::Late(*dice.pick(&[10, 3000, 29_000, 35_000, 70_000])),
            18 => Self::LoseMessage,
            19 => Self::DoubleMessage,
            20 => Self::LoseAllMessages,
            21 => Self::Cancel(index(dice.below(jobs))),
            22 => Self::Retry(index(dice.below(jobs))),
            23 => Self::Outage(*dice.pick(&[500, 9000, 25_000, 40_000, 90_000])),
            24..=26 => Self::Partition(*dice.pick(&[500, 9000, 25_000, 40_000, 90_000])),
            _ => Self::Stop(index(dice.below(workers))),
        }
    }
}

//! Fixed lists: the smallest plans in which something once went wrong. They do not depend on how seeds become plans.
//!
//! Each stands here with the defect that it shows. When a change of the use cases moves effects so that a list shows
//! nothing any more, `ROLLCALL_SIM_SHRINK=1` prints a new one for each planted defect.

use super::plan::{Attempt, Hearing, JobPlan, Op, Plan};
use super::planted::Planted;

fn job(at_ms: u64, lane: usize, stage_ms: u64, attempts: &[Attempt], tries_max: u32) -> JobPlan {
    JobPlan { at_ms, delay_ms: 0, lane, stages_ms: vec![stage_ms], attempts: attempts.to_vec(), tries_max }
}

/// Long jobs of two workers, who freeze, die, and are cut off for longer than a lease.
fn late() -> Plan {
    let good = |at_ms, lane, stage_ms, tries_max| job(at_ms, lane, stage_ms, &[Attempt::Good], tries_max);
    Plan {
        schedule: 18_396_006_286_940_664_401,
        workers: 2,
        slots: 1,
        hearing: Hearing::Broker,
        jobs: vec![
            good(4835, 2, 40_000, 3),
            good(811, 2, 2000, 2),
            good(5122, 0, 12_000, 4),
            good(2367, 0, 40_000, 4),
        ],
        ops: vec![
            (32, Op::FreezeBefore(29_990)),
            (57, Op::Partition(90_000)),
            (165, Op::DieBefore),
            (169, Op::FreezeBefore(45_000)),
        ],
        planted: Planted::Nothing,
    }
}

/// Every list, with the id of the invariant that it breaks while its defect is planted.
#[must_use]
pub fn all() -> Vec<(&'static str, Plan)> {
    use Attempt::{Deadly, Good, Retryable};
    vec![
        // A worker that was frozen and cut off past its lease settles late, beside the one that has the job now; and so it
        // does where rescue lets its token count.
        ("J2", Plan { planted: Planted::SettleWithoutToken, ..late() }),
        ("J2", Plan { planted: Planted::RescueKeepsToken, ..late() }),
        // A worker that is cut off believes its lease for as long as nobody answers.
        (
            "J8",
            Plan {
                schedule: 2_031_767_403_963_015_958,
                workers: 1,
                slots: 2,
                hearing: Hearing::Store,
                jobs: vec![
                    job(3078, 2, 0, &[Deadly, Good], 2),
                    JobPlan { delay_ms: 22_804, ..job(5232, 1, 50, &[Retryable], 3) },
                    job(3090, 1, 12_000, &[Good], 3),
                    JobPlan { stages_ms: vec![40_000, 50], ..job(8275, 0, 0, &[Retryable, Good], 2) },
                ],
                ops: vec![(24, Op::FreezeAfter(29_990)), (26, Op::DieAfter), (83, Op::Outage(40_000))],
                planted: Planted::UnknownExtends,
            },
        ),
        // A worker that is told to stop hands its job back.
        (
            "J5",
            Plan {
                schedule: 12_568_872_519_892_753_348,
                workers: 1,
                slots: 2,
                hearing: Hearing::Store,
                jobs: vec![
                    JobPlan { delay_ms: 25_632, ..job(4564, 2, 0, &[Retryable, Good], 2) },
                    job(8534, 0, 40_000, &[Retryable, Good], 3),
                    JobPlan { stages_ms: vec![40_000, 50], ..job(8819, 1, 0, &[Retryable, Good], 2) },
                ],
                ops: vec![(365, Op::Stop(0))],
                planted: Planted::InterruptionCosts,
            },
        ),
    ]
}

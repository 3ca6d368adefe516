//! Fixed lists: the smallest plans in which something once went wrong. They do not depend on how seeds become plans.
//!
//! Each stands here with the defect that it shows. When a change of the use cases moves effects so that a list shows
//! nothing any more, `ROLLCALL_SIM_SHRINK=1` prints a new one for each planted defect.

use super::plan::{Attempt, Hearing, JobPlan, Op, Plan};
use super::planted::Planted;

fn job(at_ms: u64, lane: usize, stage_ms: u64, attempts: &[Attempt], tries_max: u32) -> JobPlan {
    JobPlan { at_ms, delay_ms: 0, lane, stages_ms: vec![stage_ms], attempts: attempts.to_vec(), tries_max }
}

/// Every list, with the id of the invariant that it breaks while its defect is planted.
#[must_use]
pub fn all() -> Vec<(&'static str, Plan)> {
    use Attempt::{Deadly, Good, Retryable};
    vec![
        // A worker cut off past its lease settles late, beside the one that has the job now.
        (
            "J2",
            Plan {
                schedule: 7_160_474_558_713_491_508,
                workers: 2,
                slots: 2,
                hearing: Hearing::Broker,
                jobs: vec![job(9386, 0, 50, &[Deadly, Good], 4), job(1967, 2, 2000, &[Good], 4)],
                ops: vec![
                    (0, Op::FreezeAfter(1000)),
                    (19, Op::Partition(40_000)),
                    (27, Op::DieAfter),
                    (35, Op::Late(10)),
                    (37, Op::Late(29_000)),
                ],
                planted: Planted::SettleWithoutToken,
            },
        ),
        // A frozen worker comes back after rescue gave its job to another, and its token still counts.
        (
            "J2",
            Plan {
                schedule: 15_076_011_453_538_380_893,
                workers: 3,
                slots: 2,
                hearing: Hearing::Broker,
                jobs: vec![
                    job(9690, 1, 40_000, &[Retryable, Good], 2),
                    job(398, 2, 50, &[Good], 2),
                    JobPlan { delay_ms: 19_813, ..job(133, 0, 40_000, &[Deadly, Good], 3) },
                    job(6227, 1, 0, &[Good], 3),
                ],
                ops: vec![
                    (21, Op::Partition(25_000)),
                    (43, Op::FreezeAfter(29_990)),
                    (57, Op::LoseAnswer),
                    (77, Op::FreezeBefore(45_000)),
                    (154, Op::FreezeAfter(120_000)),
                    (162, Op::Cancel(1)),
                    (183, Op::FreezeBefore(45_000)),
                ],
                planted: Planted::RescueKeepsToken,
            },
        ),
        // A worker that is cut off believes its lease for as long as nobody answers.
        (
            "J8",
            Plan {
                schedule: 13_590_801_686_171_149_679,
                workers: 1,
                slots: 2,
                hearing: Hearing::Broker,
                jobs: vec![
                    JobPlan { delay_ms: 10_437, ..job(9684, 1, 40_000, &[Good], 3) },
                    job(5255, 0, 12_000, &[Good], 2),
                    job(3672, 1, 2000, &[Good], 4),
                    job(7671, 0, 50, &[Retryable, Good], 4),
                ],
                ops: vec![
                    (28, Op::Partition(9000)),
                    (69, Op::DieAfter),
                    (70, Op::LoseAnswer),
                    (165, Op::Partition(90_000)),
                ],
                planted: Planted::UnknownExtends,
            },
        ),
        // A worker that is told to stop hands its job back.
        (
            "J5",
            Plan {
                schedule: 5_091_879_769_981_517_896,
                workers: 1,
                slots: 1,
                hearing: Hearing::Broker,
                jobs: vec![
                    job(4747, 2, 0, &[Deadly, Good], 4),
                    job(4726, 0, 0, &[Good], 4),
                    job(5879, 0, 0, &[Good], 2),
                    job(6992, 1, 40_000, &[Good], 2),
                ],
                ops: vec![(169, Op::Stop(0))],
                planted: Planted::InterruptionCosts,
            },
        ),
    ]
}

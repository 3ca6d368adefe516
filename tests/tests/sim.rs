//! The simulator: every invariant over many seeds, the planted defects, the bugs it once found, and a backlog.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tests::sim::plan::Plan;
use tests::sim::planted::Planted;
use tests::sim::run;

/// Runs seeds `0..count` on every core; gives the failed ones, and what was done in all.
fn sweep(count: u64, planted: Planted) -> (Vec<(u64, String)>, u64, u64) {
    let (next, effects, polls) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut failed: Vec<(u64, String)> = std::thread::scope(|scope| {
        let one = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= count {
                    return failed;
                }
                let outcome = run(&Plan { planted, ..Plan::of_seed(seed) });
                effects.fetch_add(outcome.effects.into(), Ordering::Relaxed);
                polls.fetch_add(outcome.polls, Ordering::Relaxed);
                if let Some(violation) = outcome.violations.first() {
                    failed.push((seed, format!("{}: {}", violation.id, violation.detail)));
                }
            }
        };
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(one)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    failed.sort();
    (failed, effects.into_inner(), polls.into_inner())
}

#[test]
fn every_invariant_holds_for_every_seed() {
    let count = std::env::var("ROLLCALL_SIM_SEEDS").map_or(2000, |text| text.parse().unwrap());
    let begun = Instant::now();
    let (failed, effects, polls) = sweep(count, Planted::Nothing);
    let took = begun.elapsed().as_secs_f64();
    eprintln!(
        "{count} seeds, {effects} effects, {polls} polls in {took:.1} s: {:.0} seeds/s",
        count as f64 / took
    );
    assert!(
        failed.is_empty(),
        "{} of {count} seeds failed, such as {:#?}",
        failed.len(),
        &failed[..failed.len().min(10)]
    );
}

#[test]
fn every_planted_defect_is_found() {
    for planted in Planted::ALL {
        let (failed, ..) = sweep(2000, planted);
        let mut ids: Vec<&str> = failed.iter().map(|(_, text)| text.split(':').next().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        eprintln!("{planted:?}: {} of 2000 seeds, {ids:?}, first {:?}", failed.len(), failed.first());
        assert!(!failed.is_empty(), "{planted:?} was not found");
    }
}

#[test]
fn a_run_is_a_function_of_its_plan() {
    for seed in 0..50 {
        let plan = Plan::of_seed(seed);
        assert_eq!(run(&plan), run(&plan), "seed {seed}");
    }
}

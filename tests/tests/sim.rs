//! The simulator: every invariant over many seeds, the planted defects, the bugs it once found, and a backlog.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tests::sim::plan::Plan;
use tests::sim::planted::Planted;
use tests::sim::run;

/// What many runs came to.
#[derive(Default)]
struct Sum {
    failed: Vec<(u64, String)>,
    effects: u64,
    covered: BTreeMap<&'static str, u64>,
}

/// Runs seeds `0..count` on every core.
fn sweep(count: u64, plan: impl Fn(u64) -> Plan + Sync) -> Sum {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let one = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return sum;
            }
            let outcome = run(&plan(seed));
            sum.effects += u64::from(outcome.effects);
            for (name, count) in outcome.coverage.counts() {
                *sum.covered.entry(name).or_default() += count;
            }
            if let Some(violation) = outcome.violations.first() {
                sum.failed.push((seed, format!("{}: {}", violation.id, violation.detail)));
            }
        }
    };
    let parts: Vec<Sum> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    let mut sum = Sum::default();
    for part in parts {
        sum.failed.extend(part.failed);
        sum.effects += part.effects;
        for (name, count) in part.covered {
            *sum.covered.entry(name).or_default() += count;
        }
    }
    sum.failed.sort();
    sum
}

#[test]
fn every_invariant_holds_for_every_seed() {
    let count = std::env::var("ROLLCALL_SIM_SEEDS").map_or(2000, |text| text.parse().unwrap());
    let begun = Instant::now();
    let Sum { failed, effects, covered } = sweep(count, Plan::of_seed);
    let took = begun.elapsed().as_secs_f64();
    eprintln!(
        "{count} seeds, {effects} effects in {took:.1} s: {:.0} seeds/s; {covered:?}",
        count as f64 / took
    );
    assert!(failed.is_empty(), "{} of {count} failed: {:#?}", failed.len(), &failed[..failed.len().min(10)]);
    let never: Vec<_> = covered.iter().filter(|(_, count)| **count == 0).collect();
    assert!(count < 2000 || never.is_empty(), "never happened: {never:?}");
}

#[test]
fn every_planted_defect_is_found() {
    for planted in Planted::ALL {
        let Sum { failed, .. } = sweep(2000, |seed| Plan { planted, ..Plan::of_seed(seed) });
        let mut ids: Vec<&str> = failed.iter().map(|(_, text)| text.split(':').next().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        eprintln!("{planted:?}: {} of 2000 seeds, {ids:?}, first {:?}", failed.len(), failed.first());
        if let (Some((seed, _)), Ok(_)) = (failed.first(), std::env::var("ROLLCALL_SIM_SHRINK")) {
            let plan = Plan { planted, ..Plan::of_seed(*seed) };
            eprintln!("{:#?}", plan.shrunk(|smaller| !run(smaller).violations.is_empty()));
        }
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

#[test]
fn a_backlog_does_not_flood_the_broker() {
    let Sum { failed, covered, .. } = sweep(40, |seed| Plan::backlog(seed, 200));
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(covered["rung"] > 0, "nothing was rung again");
}

#[test]
fn fixed_lists_show_their_defect_and_nothing_else() {
    for (index, (id, plan)) in tests::sim::lists::all().into_iter().enumerate() {
        let found = run(&plan).violations;
        assert_eq!(found.first().map(|violation| violation.id), Some(id), "list {index}");
        let sound = Plan { planted: Planted::Nothing, ..plan };
        assert_eq!(run(&sound).violations, [], "list {index}");
    }
}

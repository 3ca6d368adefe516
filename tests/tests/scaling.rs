//! The scaling policy over whole days, beside what others do.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use common::scaling::ScalingRules;
use tests::scaling::{Controller, Lengths, csv, day, run, svg};

#[test]
fn the_policy_holds_its_bound_and_does_not_flap_whatever_the_day() {
    let bound_s = ScalingRules::default().age_max.as_secs();
    let mut flaps = Vec::new();
    for seed in 1..=10 {
        let day = day(seed);
        for lengths in [Lengths::Known, Lengths::Guessed] {
            let policy = run(&day, &mut Controller::policy(), lengths);
            // Those of the last seconds.
            assert!(policy.left <= 3, "{seed}: {}", policy.left);
            assert!(policy.wait_s(1.0) <= bound_s, "{seed} {lengths:?}: {} s", policy.wait_s(1.0));
            flaps.push(policy.flaps);
        }
        // Nobody can know that forty recordings are eight hours long each; what is too old then brings more workers.
        let blind = run(&day, &mut Controller::policy(), Lengths::Unknown);
        assert!(
            blind.wait_s(0.99) <= bound_s && blind.wait_s(1.0) <= 2 * bound_s,
            "{seed}: {}",
            blind.wait_s(1.0)
        );
    }
    assert!(flaps.iter().sum::<usize>() <= 2, "of twenty days: {flaps:?}");
    assert_eq!(flaps[..2], [0, 0], "of the day in the report");
}

#[test]
fn others_wait_longer_or_cost_more() {
    let bound_s = ScalingRules::default().age_max.as_secs();
    let day = day(1);
    let policy = run(&day, &mut Controller::policy(), Lengths::Guessed);
    let same_cost = (policy.machine_hours / 24.0).ceil() as u64;
    let fixed = run(&day, &mut Controller::fixed(same_cost), Lengths::Known);
    assert!(fixed.wait_s(1.0) > 2 * bound_s, "{}", fixed.wait_s(1.0));
    for each in [5, 20, 100] {
        let messages = run(&day, &mut Controller::messages(each), Lengths::Known);
        assert!(messages.wait_s(1.0) > bound_s, "{each}: {} s", messages.wait_s(1.0));
    }
    let fleets = [("policy", &policy), ("fixed", &fixed)];
    assert_eq!(csv(&fleets).lines().count(), 721);
    assert!(svg(&fleets, bound_s).ends_with("</svg>\n"));
}

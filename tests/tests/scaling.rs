//! The scaling policy over whole days, beside what others do.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use common::scaling::ScalingRules;
use tests::scaling::{Controller, csv, day, run, svg};

#[test]
fn the_policy_holds_its_bound_and_does_not_flap_whatever_the_day() {
    let bound_s = ScalingRules::default().age_max.as_secs();
    for seed in 1..=10 {
        let day = day(seed);
        for lengths_known in [true, false] {
            let policy = run(&day, &mut Controller::policy(), lengths_known);
            assert_eq!(policy.left, 0, "{seed}");
            assert_eq!(policy.flaps, 0, "{seed} {lengths_known}");
            assert!(policy.wait_s(1.0) <= bound_s, "{seed} {lengths_known}: {}", policy.wait_s(1.0));
        }
    }
}

#[test]
fn others_wait_longer_or_cost_more() {
    let bound_s = ScalingRules::default().age_max.as_secs();
    let day = day(1);
    let policy = run(&day, &mut Controller::policy(), true);
    let same_cost = (policy.machine_hours / 24.0).ceil() as u64;
    let fixed = run(&day, &mut Controller::Fixed(same_cost), true);
    assert!(fixed.wait_s(1.0) > 2 * bound_s, "{}", fixed.wait_s(1.0));
    for each in [5, 20, 100] {
        let messages = run(&day, &mut Controller::messages(each), true);
        let (late, dear) =
            (messages.wait_s(1.0) > bound_s, messages.machine_hours > 1.5 * policy.machine_hours);
        assert!(late || dear, "{each}: {} s, {} h", messages.wait_s(1.0), messages.machine_hours);
    }
    let fleets = [("policy", &policy), ("fixed", &fixed)];
    assert_eq!(csv(&fleets).lines().count(), 721);
    assert!(svg(&fleets, bound_s).ends_with("</svg>\n"));
}

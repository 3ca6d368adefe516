//! `kill -9` in the middle of `ensure`: the old version stays, and the next run goes on.

use std::fs;
use std::time::{Duration, Instant};

use hyper::Method;
use tests::s3_server::fault::{Fault, Rule};
use tests::servers::wait_until;

use crate::bench::{Machine, S3, bundle, noted, read_until};

const BOUND: Duration = Duration::from_secs(60);

/// A machine that holds 1.0.0, beside a store that offers 1.0.1.
fn machine(s3: &S3) -> Machine {
    let machine = Machine::on_s3(s3);
    machine.ensure("toy@1.0.0").expect(0);
    machine
}

fn store(bytes: usize) -> S3 {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    machine.push(bundle("1.0.0", 10_000).path()).expect(0);
    machine.push(bundle("1.0.1", bytes).path()).expect(0);
    s3
}

/// Right after the kill: what is current is whole, and is the old version or the new one.
#[track_caller]
fn one_or_the_other(machine: &Machine) {
    let current = machine.current().expect("something is current at any time");
    assert!(["1.0.0", "1.0.1"].contains(&current.as_str()), "{current}");
    machine.run(&["verify", "toy"]).expect(0);
}

#[test]
fn in_the_middle_of_the_download_it_goes_on() {
    let s3 = store(35_000_000);
    let machine = machine(&s3);
    let before = s3.fetches().len();
    // Nine parts: three pass, five hang, and the ninth passes when one of the three made room for it.
    let fault = Fault::Silence { after_bytes: 1000 };
    s3.faults().add(Rule {
        method: Some(Method::GET),
        contains: "1.0.1/bundle.tar.zst".into(),
        skip: 3,
        times: 5,
        fault,
    });
    let (mut child, _said) = machine.start_ensure("toy");
    let cache = machine.home.cache().join("bundles/toy");
    let noted = || noted(&cache);
    assert!(wait_until(BOUND, || noted().len() == 4), "{:?}", noted());
    child.kill();
    child.wait();
    assert_eq!(machine.current().as_deref(), Some("1.0.0"));
    assert!(!machine.home.bundle_version("toy", "1.0.1").exists());
    let done = noted();
    let first = s3.fetches().len();
    assert_eq!(first - before, 9);

    machine.ensure("toy").expect(0).says("going on to fetch");
    machine.holds("1.0.1");
    let again = &s3.fetches()[first..];
    assert_eq!(again.len(), 5, "{again:?}");
    for part in done {
        let range = format!("bytes={}-", part * (4 << 20));
        assert!(!again.iter().any(|line| line.contains(&range)), "{range} came twice: {again:?}");
    }
}

#[test]
fn in_the_middle_of_the_self_test_nothing_is_fetched_again() {
    let s3 = store(5_000_000);
    let machine = machine(&s3);
    fs::write(machine.path("wait"), "").unwrap();
    let (mut child, mut said) = machine.start_ensure("toy");
    assert!(read_until(&mut said, "testing the networks"));
    child.kill();
    child.wait();
    fs::remove_file(machine.path("wait")).unwrap();
    one_or_the_other(&machine);
    assert_eq!(machine.current().as_deref(), Some("1.0.0"));
    let fetches = s3.fetches().len();
    machine.ensure("toy").expect(0);
    assert_eq!(s3.fetches().len(), fetches);
    machine.holds("1.0.1");
}

#[test]
fn at_each_step() {
    let s3 = store(1_000_000);
    for step in
        ["asking", "fetching", "unpacking", "testing the networks", "putting the bundle", "making toy@1.0.1"]
    {
        let machine = machine(&s3);
        let (mut child, mut said) = machine.start_ensure("toy");
        assert!(read_until(&mut said, step), "{step}");
        child.kill();
        child.wait();
        one_or_the_other(&machine);
        machine.ensure("toy").expect(0);
        machine.holds("1.0.1");
    }
}

#[test]
fn at_any_time() {
    let s3 = store(3_000_000);
    let whole = machine(&s3);
    let started = Instant::now();
    whole.ensure("toy").expect(0);
    let mut takes = started.elapsed();
    let (mut killed, mut late) = (0, 0);
    const TRIALS: u32 = 24;
    for trial in 0..TRIALS {
        let machine = machine(&s3);
        let started = Instant::now();
        let (mut child, _said) = machine.start_ensure("toy");
        // Spread over the time that a run takes, denser towards its end, where things are put into place.
        let share = 1.0 - (1.0 - f64::from(trial) / f64::from(TRIALS)).powi(2);
        let moment = takes.mul_f64(share);
        while started.elapsed() < moment && !child.has_ended() {
            std::thread::yield_now();
        }
        child.kill();
        if child.wait().success() {
            late += 1;
            // The first run may have been slower than this one: other tests run beside it.
            takes = takes.min(started.elapsed());
        } else {
            killed += 1;
        }
        one_or_the_other(&machine);
        machine.ensure("toy").expect(0);
        machine.holds("1.0.1");
    }
    assert!(killed >= TRIALS / 4, "many kills have to come in time: {killed} of {TRIALS}, {late} came late");
}

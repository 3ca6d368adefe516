//! Stores that are overloaded, slow, torn, or not there.

use std::time::Duration;

use hyper::Method;
use tests::s3_server::fault::{Fault, Rule};
use tests::servers::free_ports;

use crate::bench::{Bounded, Machine, S3, bundle};

#[test]
fn overload_delays_and_cuts_are_outlasted() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    let busy = Fault::Answer { status: 503, retry_after_s: None };
    s3.faults().next(Method::PUT, "bundle.tar.zst", 2, busy.clone());
    s3.faults().next(Method::PUT, "manifest.json", 1, Fault::LoseAnswer);
    s3.faults().next(Method::PUT, "latest", 1, Fault::LoseAnswer);
    machine.push(bundle("1.0.0", 14_000_000).path()).expect(0);
    s3.faults().next(Method::GET, "latest", 2, busy.clone());
    s3.faults().next(Method::GET, "manifest.json", 1, Fault::Cut { after_bytes: 10 });
    let archive = |skip, times, fault| {
        let contains = "bundle.tar.zst".to_owned();
        s3.faults().add(Rule { method: Some(Method::GET), contains, skip, times, fault });
    };
    archive(0, 3, busy);
    archive(0, 2, Fault::Cut { after_bytes: 1_000_000 });
    archive(0, 1, Fault::Delay(Duration::from_millis(500)));
    machine.ensure("toy").expect(0);
    machine.holds("1.0.0");
}

#[test]
fn faults_at_random_are_outlasted() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    for round in 0..4_u32 {
        s3.faults().at_random(0.2, u64::from(round) + 1);
        let version = format!("1.0.{round}");
        machine.push(bundle(&version, 9_000_000).path()).expect(0);
        machine.ensure("toy").expect(0);
        s3.faults().at_random(0.0, 0);
        machine.holds(&version);
    }
}

#[test]
fn a_store_that_is_not_there_is_code_3_and_changes_nothing() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    machine.push(bundle("1.0.0", 1000).path()).expect(0);
    machine.ensure("toy").expect(0);
    let denied = Fault::Answer { status: 403, retry_after_s: None };
    s3.faults().next(Method::HEAD, "latest", 1, denied);
    machine.ensure("toy").expect(3).says("hint: check `AWS_ACCESS_KEY_ID`");
    // A store that asks for an hour's patience is as good as gone.
    let gone = Fault::Answer { status: 503, retry_after_s: Some(3600) };
    s3.faults().next(Method::HEAD, "latest", 1, gone);
    machine.ensure("toy").expect(3).says("hint: check the address");
    machine.holds("1.0.0");
    let [port] = free_ports().unwrap();
    let nowhere = Machine::new("s3://bucket/fleet", Some(format!("http://127.0.0.1:{port}")));
    nowhere.ensure("toy").expect(3).says("does not answer");
}

#[test]
fn wrong_usage_is_code_2() {
    let machine = Machine::with_folder();
    machine.ensure("Not A Name").expect(2).says("neither the name of a bundle nor its address");
    machine.ensure_with("toy", &["--store", "http://host/x"]).expect(2);
    let mut command = machine.command(&["ensure", "toy", "--no-selftest"]);
    let run = Bounded::heard(command.env_remove("ROLLCALL_STORE_URL")).finish();
    run.expect(2).says("hint: name one with `--store URL`");
    machine.run(&["ensure", "toy", "--worker", "/nonexistent"]).expect(1);
}

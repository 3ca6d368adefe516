//! Pushed, ensured, upgraded, rolled back, cleared up; two at once.

use provision::stock::depot::{Depot, DepotError, Pointer};

use crate::bench::{Machine, S3, bundle};

fn trip(machine: &Machine) {
    let (old, new) = (bundle("1.0.0", 300_000), bundle("1.0.1", 200_000));
    machine.push(old.path()).expect(0).says("toy@1.0.0 pushed");
    let first = machine.ensure_with("toy", &["--json"]).expect(0).says("toy@1.0.0 installed");
    let line: serde_json::Value = serde_json::from_str(&first.out).unwrap();
    assert_eq!((line["version"].as_str(), line["installed"].as_bool()), (Some("1.0.0"), Some(true)));
    machine.holds("1.0.0");
    let files = machine.files();
    machine.ensure("toy").expect(0).says("was there already");
    assert_eq!(machine.files(), files, "a second run changes nothing");

    machine.push(new.path()).expect(0);
    machine.push(new.path()).expect(0).says("was there already");
    machine.ensure("toy").expect(0).says("toy@1.0.1 installed");
    machine.holds("1.0.1");
    machine.run(&["rollback", "toy"]).expect(0).says("toy@1.0.0 is the current one now");
    machine.holds("1.0.0");
    machine.ensure("toy@1.0.0").expect(0).says("was there already");
    machine.run(&["rollback", "toy"]).expect(0);
    machine.holds("1.0.1");
    let store = machine.store.as_str();
    let listed = machine.run(&["list", "--store", store]).expect(0);
    assert_eq!(listed.out, "  toy@1.0.0\n* toy@1.0.1\n");

    // The fleet goes back: the pointer, then each machine.
    machine.run(&["rollback", "toy", "--to", "1.0.0", "--store", store]).expect(0);
    machine.ensure("toy").expect(0).says("toy@1.0.0 was there and is current now");
    machine.holds("1.0.0");
    machine.run(&["gc", "--keep", "2"]).expect(0);
    assert!(machine.home.bundle_version("toy", "1.0.1").exists());
    assert_eq!(machine.run(&["gc", "--keep", "1"]).expect(0).out, "removed toy@1.0.1\n");
    assert!(!machine.home.bundle_version("toy", "1.0.1").exists());
    machine.holds("1.0.0");
    machine.run(&["rollback", "toy"]).expect(1).says("no version of `toy` was in use before");
    let address = format!("{store}/bundles/toy@1.0.1");
    machine.ensure(&address).expect(0).says("toy@1.0.1 installed");
    machine.holds("1.0.1");
}

#[test]
fn two_versions_through_s3() {
    let s3 = S3::start();
    trip(&Machine::on_s3(&s3));
}

#[test]
fn two_versions_through_a_folder() {
    trip(&Machine::with_folder());
}

#[test]
fn a_version_never_changes() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    let first = bundle("1.0.0", 1000);
    machine.push(first.path()).expect(0);
    let other = bundle("1.0.0", 1001);
    machine
        .push(other.path())
        .expect(1)
        .says("a version never changes")
        .says("hint: give the bundle another");
    machine.ensure("toy").expect(0);
    machine.holds("1.0.0");
    let unproven = bundle("1.0.1", 10);
    let path = unproven.path().join("manifest.json");
    let json = std::fs::read_to_string(&path).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    value["selftest"] = serde_json::Value::Null;
    std::fs::write(&path, value.to_string()).unwrap();
    machine.push(unproven.path()).expect(1).says("has no self-test");
    std::fs::write(first.path().join("net/a.onnx"), "changed").unwrap();
    machine.push(first.path()).expect(1).says("is damaged");
}

#[test]
fn without_latest_the_pointer_stays() {
    let machine = Machine::with_folder();
    let (old, new) = (bundle("1.0.0", 1000), bundle("1.0.1", 1000));
    machine.push(old.path()).expect(0);
    machine.run(&["push", new.path().to_str().unwrap(), "--no-latest"]).expect(0);
    machine.ensure("toy").expect(0);
    machine.holds("1.0.0");
    machine.ensure("toy@1.0.1").expect(0);
    machine.holds("1.0.1");
}

#[test]
fn a_pointer_that_moved_meanwhile_is_not_overwritten() {
    let machine = Machine::with_folder();
    machine.push(bundle("1.0.0", 1000).path()).expect(0);
    let depot = Depot::open(&machine.store).unwrap();
    let (_, seen) = depot.pointer("toy").unwrap().unwrap();
    machine.push(bundle("1.0.1", 1000).path()).expect(0);
    let to = Pointer { version: "1.0.2".into(), sha256: "0".repeat(64) };
    let refused = depot.move_pointer("toy", &to, Some(&seen));
    assert!(matches!(refused, Err(DepotError::Store(_))), "{refused:?}");
    assert!(depot.move_pointer("toy", &to, None).is_err(), "nor created where it is");
    assert_eq!(depot.pointer("toy").unwrap().unwrap().0.version, "1.0.1");
}

#[test]
fn two_pushes_at_once_leave_a_pointer_to_one_of_them() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    let bundles: Vec<_> = (0..4).map(|n| bundle(&format!("1.0.{n}"), 100_000)).collect();
    let children: Vec<_> =
        bundles.iter().map(|folder| machine.start(&["push", folder.path().to_str().unwrap()])).collect();
    let mut winners = Vec::new();
    for (n, child) in children.into_iter().enumerate() {
        let run = child.finish();
        match run.code {
            0 => winners.push(format!("1.0.{n}")),
            _ => assert!(run.err.contains("was moved by somebody else"), "{}", run.err),
        }
    }
    machine.ensure("toy").expect(0);
    assert!(winners.contains(&machine.current().unwrap()), "{winners:?}");
}

#[test]
fn of_two_at_once_one_fetches() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    machine.push(bundle("1.0.0", 9_000_000).path()).expect(0);
    // The first holds the lock until its self-test may end.
    std::fs::write(machine.path("wait"), "").unwrap();
    let (mut first, mut said) = machine.start_ensure("toy");
    assert!(crate::bench::read_until(&mut said, "testing the networks"));
    let (mut second, mut said_second) = machine.start_ensure("toy");
    assert!(crate::bench::read_until(&mut said_second, "waiting for another process"));
    std::fs::remove_file(machine.path("wait")).unwrap();
    assert!(crate::bench::read_until(&mut said_second, "was there already"));
    assert!(first.wait().success() && second.wait().success());
    machine.holds("1.0.0");
    assert_eq!(s3.fetches().len(), 3, "three parts of 4 MiB, once");
}

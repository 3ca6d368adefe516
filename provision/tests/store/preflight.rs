//! `preflight` against services that answer, are gone, or have another time.

use std::fs;

use tests::servers::{Fsync, Redis, free_ports};

use crate::bench::{Bounded, Machine, S3};

/// A Redis that ends with its test.
struct Stopped(Redis);

impl Drop for Stopped {
    fn drop(&mut self) {
        // One that survives is reported by whoever looks at the machine; a second panic would hide the first.
        let _ = self.0.stop();
    }
}

fn checks(out: &str) -> Vec<(String, String)> {
    let document: serde_json::Value = serde_json::from_str(out).unwrap();
    let text = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = document["checks"].as_array().unwrap();
    checks.iter().map(|check| (text(check, "name"), text(check, "verdict"))).collect()
}

fn verdict(checks: &[(String, String)], name: &str) -> String {
    checks.iter().find(|(found, _)| found == name).map(|(_, verdict)| verdict.clone()).unwrap_or_default()
}

#[test]
fn services_that_answer_are_ok_with_their_latency() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Stopped(Redis::start(folder.path(), Fsync::EverySecond).unwrap());
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    let run =
        machine.run(&["preflight", "--device", "cpu", "--json", "--redis-url", &redis.0.url()]).expect(1);
    let found = checks(&run.out);
    for name in ["redis", "queue", "store", "clock", "system", "device"] {
        assert_eq!(verdict(&found, name), "ok", "{name}: {}", run.out);
    }
    assert_eq!(run.out.matches("latency_ms").count(), 3, "{}", run.out);
    // Nothing is installed on this machine.
    for name in ["onnxruntime", "bundle"] {
        assert_eq!(verdict(&found, name), "failure", "{name}: {}", run.out);
    }
    assert_eq!(machine.files(), [], "looking leaves nothing behind");
}

#[test]
fn services_that_are_gone_fail_with_the_fix() {
    let [redis, s3] = free_ports().unwrap();
    let machine = Machine::new("s3://bucket/fleet", Some(format!("http://127.0.0.1:{s3}")));
    let url = format!("redis://127.0.0.1:{redis}");
    let run = machine.run(&["preflight", "--device", "cpu", "--redis-url", &url]).expect(1);
    for name in ["redis", "queue", "store"] {
        let line = run.out.lines().find(|line| line.contains(&format!(" {name} "))).unwrap();
        assert!(line.starts_with("FAILURE"), "{line}");
    }
    for fix in ["fix: start Redis", "fix: start the queue's server", "fix: check `ROLLCALL_STORE_URL`"] {
        assert!(run.out.contains(fix), "{fix}: {}", run.out);
    }
    assert!(run.err.contains("checks failed"), "{}", run.err);
}

#[test]
fn a_gpu_that_is_asked_for_and_not_there_fails() {
    let machine = Machine::with_folder();
    fs::create_dir(machine.path("bin")).unwrap();
    let mut command = machine.command(&["preflight", "--device", "cuda", "--no-services", "--json"]);
    let out = Bounded::heard(command.env("PATH", machine.path("bin"))).finish().expect(1).out;
    assert_eq!(verdict(&checks(&out), "driver"), "failure", "{out}");
    machine.run(&["preflight", "--device", "gpu"]).expect(2).says("not a device: `gpu`");
}

//! `release push`: what `provision.sh` takes by address and digest.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use provision::digest;

use crate::bench::{Bounded, Machine, Run, S3};

/// Programs that say their name, in a folder of the machine.
fn programs(machine: &Machine) -> PathBuf {
    let folder = machine.path("programs");
    fs::create_dir_all(&folder).unwrap();
    for name in ["rollcall", "rollcall-worker", "rollcall-provision"] {
        fs::write(folder.join(name), format!("#!/bin/sh\necho {name}\n")).unwrap();
    }
    folder
}

fn push(machine: &Machine, more: &[&str]) -> Run {
    let folder = programs(machine);
    let mut arguments = vec!["release", "push", "--programs", folder.to_str().unwrap(), "--json"];
    arguments.extend(more);
    machine.run(&arguments)
}

fn field(run: &Run, key: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    line[key].as_str().map(str::to_owned)
}

/// Asks for an address of the loopback interface without credentials; gives the body.
fn get(url: &str) -> Vec<u8> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer[..200.min(answer.len())])
    );
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.split_off(end + 4)
}

#[test]
fn what_is_pushed_can_be_fetched_without_credentials_and_unpacked_by_tar() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    let run = push(&machine, &["--presign", "1"]).expect(0);
    let address = "s3://bucket/fleet/releases/0.1.0/x86_64-unknown-linux-gnu/rollcall.tar.zst";
    assert_eq!(field(&run, "release").as_deref(), Some(address));
    let archive = get(&field(&run, "presigned").unwrap());
    assert_eq!(digest::of(&archive), field(&run, "sha256").unwrap());

    let tar = zstd::stream::decode_all(archive.as_slice()).unwrap();
    let folder = machine.path("unpacked");
    tar::Archive::new(tar.as_slice()).unpack(&folder).unwrap();
    for name in ["rollcall", "rollcall-worker", "rollcall-provision"] {
        let program = folder.join("bin").join(name);
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(fs::read_to_string(program).unwrap().contains(name));
    }
    let script = fs::read_to_string(folder.join("provision.sh")).unwrap();
    assert_eq!(script, include_str!("../../provision.sh"), "one digest covers the script as well");
    let notice = fs::read_to_string(folder.join("spot/spot-notice.sh")).unwrap();
    assert_eq!(notice, include_str!("../../../deploy/aws/spot-notice.sh"));
    assert!(folder.join("spot/rollcall-spot.service").is_file());
    machine.nothing_half_done();
}

#[test]
fn empty_variables_of_aws_are_as_good_as_none() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    let folder = programs(&machine);
    let mut command = machine.command(&["release", "push", "--programs", folder.to_str().unwrap()]);
    command.envs([("AWS_ENDPOINT_URL_S3", ""), ("AWS_ENDPOINT_URL", &s3.endpoint())]);
    command.envs([("AWS_REGION", ""), ("AWS_DEFAULT_REGION", ""), ("AWS_SESSION_TOKEN", "")]);
    Bounded::heard(&mut command).finish().expect(0);
}

#[test]
fn a_release_never_changes() {
    let machine = Machine::with_folder();
    let first = push(&machine, &[]).expect(0);
    let object = machine.path("store/releases/0.1.0/x86_64-unknown-linux-gnu");
    let line = fs::read_to_string(object.join("rollcall.tar.zst.sha256")).unwrap();
    assert_eq!(line, format!("{}  rollcall.tar.zst\n", field(&first, "sha256").unwrap()));
    let again = push(&machine, &[]).expect(0);
    assert_eq!(again.out, first.out, "the same programs make the same release");
    fs::write(machine.path("programs/rollcall"), "another").unwrap();
    let folder = machine.path("programs");
    let other = ["release", "push", "--programs", folder.to_str().unwrap()];
    machine.run(&other).expect(1).says("a version never changes");
    machine.run(&[&other[..], &["--release-version", "0.1.1"]].concat()).expect(0);
    assert!(machine.path("store/releases/0.1.1").is_dir());
}

#[test]
fn what_is_no_release_is_not_pushed() {
    let machine = Machine::with_folder();
    let folder = programs(&machine);
    fs::remove_file(folder.join("rollcall-worker")).unwrap();
    let arguments = ["release", "push", "--programs", folder.to_str().unwrap()];
    machine.run(&arguments).expect(1).says("there is no program").says("rollcall-worker");
    push(&machine, &["--release-version", "../1"]).expect(2).says("not a version or target: `../1`");
    push(&machine, &["--presign", "0"]).expect(2);
    push(&machine, &["--presign", "169"]).expect(2);
    assert!(!machine.path("store/releases").exists());
    machine.nothing_half_done();
}

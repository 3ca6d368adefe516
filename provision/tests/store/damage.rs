//! A byte that is wrong somewhere, and archives that lie: refused, and nothing of them stays.

use std::fs;
use std::path::PathBuf;

use hyper::Method;
use tests::s3_server::fault::{Fault, Rule};

use crate::bench::{Machine, S3, bundle, manifest};

/// A machine that holds 1.0.0, and a store that offers 1.0.1 as well.
fn upgraded() -> Machine {
    let machine = Machine::with_folder();
    machine.push(bundle("1.0.0", 30_000).path()).expect(0);
    machine.ensure("toy").expect(0);
    machine.push(bundle("1.0.1", 30_000).path()).expect(0);
    machine
}

fn in_store(machine: &Machine, path: &str) -> PathBuf {
    machine.path("store").join("bundles/toy").join(path)
}

#[test]
fn one_wrong_byte_anywhere_in_the_store() {
    for (path, said) in [
        ("1.0.1/bundle.tar.zst", "is refused"),
        ("1.0.1/manifest.json", "the pointer names"),
        ("latest", "the pointer"),
    ] {
        let machine = upgraded();
        let files = machine.files();
        let object = in_store(&machine, path);
        let mut content = fs::read(&object).unwrap();
        // Of the pointer, every byte; of the others, some.
        let step = if path == "latest" { 7 } else { content.len() / 9 };
        for at in (0..content.len()).step_by(step) {
            content[at] ^= 4;
            fs::write(&object, &content).unwrap();
            let run = machine.ensure("toy");
            // A pointer may still parse and name a version that does not exist, or carry white space.
            if !(path == "latest" && (run.code == 0 || run.err.contains("the store has no"))) {
                run.expect(1).says(said);
            }
            assert_eq!(machine.files(), files, "byte {at} of {path}");
            content[at] ^= 4;
        }
        fs::write(&object, &content).unwrap();
        machine.ensure("toy").expect(0);
        machine.holds("1.0.1");
    }
}

#[test]
fn damage_on_the_way_is_fetched_anew_once() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    machine.push(bundle("1.0.0", 5_000_000).path()).expect(0);
    s3.faults().next(Method::GET, "bundle.tar.zst", 1, Fault::Flip { at_byte: 300_000 });
    machine.ensure("toy").expect(0).says("fetching it anew");
    machine.holds("1.0.0");
    let machine = Machine::on_s3(&s3);
    let fault = Fault::Flip { at_byte: 300_000 };
    s3.faults().add(Rule {
        method: Some(Method::GET),
        contains: "bundle.tar.zst".into(),
        skip: 0,
        times: 9,
        fault,
    });
    machine.ensure("toy").expect(1).says("is refused");
    assert_eq!(machine.files(), []);
}

#[test]
fn a_bundle_that_is_not_proven_is_not_installed() {
    let machine = upgraded();
    let files = machine.files();
    fs::write(machine.path("complaint"), "error: the embedding differs").unwrap();
    machine.ensure("toy").expect(1).says("the self-test failed: error: the embedding differs");
    assert_eq!(machine.files(), files);
    machine.holds("1.0.0");
    fs::remove_file(machine.path("complaint")).unwrap();
    machine.ensure("toy").expect(0);
    machine.holds("1.0.1");
}

#[test]
fn a_damaged_installation_is_replaced() {
    let machine = upgraded();
    machine.ensure("toy").expect(0);
    fs::write(machine.home.bundle_version("toy", "1.0.1").join("net/a.onnx"), "x").unwrap();
    machine.ensure("toy").expect(0).says("is damaged here and is replaced");
    machine.holds("1.0.1");
}

/// Entries of an archive that lies.
type Lie = fn(&mut tar::Builder<Vec<u8>>);

fn entry(tar: &mut tar::Builder<Vec<u8>>, name: &[u8], kind: tar::EntryType, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

#[test]
fn lying_archives_leave_nothing() {
    use tar::EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
    let lies: [(&str, Lie); 12] = [
        ("leads outside", |tar| entry(tar, b"../../../escaped", Regular, b"x")),
        ("an absolute path", |tar| entry(tar, b"/tmp/escaped", Regular, b"x")),
        ("holds a link", |tar| entry(tar, b"net/a.onnx", Symlink, b"")),
        ("holds a link", |tar| entry(tar, b"net/a.onnx", Link, b"")),
        ("holds a device", |tar| entry(tar, b"net/a.onnx", Block, b"")),
        ("holds a device", |tar| entry(tar, b"net/a.onnx", Fifo, b"")),
        ("does not name", |tar| entry(tar, b"net/evil.so", Regular, b"x")),
        ("has 1 bytes, not 4", |tar| entry(tar, b"net/a.onnx", Regular, b"x")),
        ("has the digest", |tar| entry(tar, b"net/a.onnx", Regular, b"evil")),
        ("lacks a file", |_| ()),
        ("too many entries", |tar| (0..2000).for_each(|_| entry(tar, b"net/", Directory, b""))),
        ("file twice", |tar| (0..2).for_each(|_| entry(tar, b"net/a.onnx", Regular, b"good"))),
    ];
    for (said, lie) in lies {
        let mut tar = tar::Builder::new(Vec::new());
        lie(&mut tar);
        lies_are_refused(said, &tar.into_inner().unwrap());
    }
    let mut bomb = tar::Builder::new(Vec::new());
    entry(&mut bomb, b"net/a.onnx", Regular, b"good");
    let mut bomb = bomb.into_inner().unwrap();
    bomb.resize(80 << 20, 0);
    lies_are_refused("unpacks to more", &bomb);
}

fn lies_are_refused(said: &str, tar: &[u8]) {
    let machine = upgraded();
    let files = machine.files();
    let evil = manifest("6.6.6", &[("net/a.onnx", b"good")]).to_json();
    let pointer =
        format!("{{\"version\":\"6.6.6\",\"sha256\":\"{}\"}}", provision::digest::of(evil.as_bytes()));
    let folder = in_store(&machine, "6.6.6");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("manifest.json"), evil).unwrap();
    fs::write(folder.join("bundle.tar.zst"), zstd::stream::encode_all(tar, 1).unwrap()).unwrap();
    fs::write(in_store(&machine, "latest"), pointer).unwrap();
    machine.ensure("toy").expect(1).says(said).says("hint: what this machine had before is untouched");
    assert_eq!(machine.files(), files, "{said}");
    assert!(!machine.path("escaped").exists() && !machine.home.root().join("escaped").exists());
    machine.holds("1.0.0");
}

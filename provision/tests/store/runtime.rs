//! ONNX Runtime through a store: `pack-runtime`, and `runtime --store` on another machine.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::home::{Home, ONNXRUNTIME_VERSION};
use hyper::Method;
use provision::digest;
use tests::conformance::object_store::noise;
use tests::s3_server::fault::{Fault, Rule};
use tests::servers::wait_until;

use crate::bench::{Machine, S3, noted};

/// Something that stands for the library: what `runtime` would have unpacked.
fn install(home: &Home) {
    let library = noise(6_000_000, 7);
    fs::create_dir_all(home.onnxruntime()).unwrap();
    fs::write(home.onnxruntime_library(), &library).unwrap();
    fs::write(home.onnxruntime().join("libonnxruntime.so.sha256"), digest::of(&library)).unwrap();
    fs::write(home.onnxruntime().join("LICENSE"), "MIT").unwrap();
}

/// A second machine beside the same folder.
fn beside(machine: &Machine) -> Machine {
    Machine::new(&machine.store, None)
}

fn fetch(machine: &Machine) -> crate::bench::Run {
    machine.run(&["runtime", "--store", &machine.store])
}

fn in_store(machine: &Machine, name: &str) -> PathBuf {
    machine.path("store/runtimes/onnxruntime").join(ONNXRUNTIME_VERSION).join(name)
}

#[test]
fn one_machine_gives_it_to_another() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    fetch(&machine).expect(1).says("the store has no ONNX Runtime");
    machine.run(&["pack-runtime"]).expect(1).says("is not installed here");
    install(&machine.home);
    machine.run(&["pack-runtime"]).expect(0).says("pushed");
    machine.run(&["pack-runtime"]).expect(0).says("was there already");
    fetch(&machine).expect(0).says("was there already");

    let other = Machine::on_s3(&s3);
    s3.faults().next(Method::GET, "runtime.tar.zst", 1, Fault::Cut { after_bytes: 1_000 });
    fetch(&other).expect(0).says("installed");
    for name in ["libonnxruntime.so", "libonnxruntime.so.sha256", "LICENSE"] {
        let read = |home: &Home| fs::read(home.onnxruntime().join(name)).unwrap();
        assert_eq!(read(&machine.home), read(&other.home), "{name}");
    }
    let files = other.files();
    fetch(&other).expect(0).says("was there already");
    assert_eq!(other.files(), files);
    fs::write(other.home.onnxruntime_library(), "damaged").unwrap();
    fetch(&other).expect(0).says("installed");
    assert_eq!(other.files(), files);
}

#[test]
fn damage_in_the_store_is_refused_and_leaves_nothing() {
    let machine = Machine::with_folder();
    install(&machine.home);
    machine.run(&["pack-runtime"]).expect(0);
    for (name, at, said) in [
        ("runtime.tar.zst", 100, "the archive of ONNX Runtime is refused"),
        ("runtime.tar.zst", 3_000_000, "the archive of ONNX Runtime is refused"),
        ("manifest.json", 2, "the manifest"),
    ] {
        let object = in_store(&machine, name);
        let whole = fs::read(&object).unwrap();
        let mut content = whole.clone();
        content[at] ^= 4;
        fs::write(&object, content).unwrap();
        let other = beside(&machine);
        fetch(&other).expect(1).says(said);
        assert_eq!(other.files(), [], "{name} at {at}");
        fs::write(&object, whole).unwrap();
    }
    fetch(&beside(&machine)).expect(0);
}

#[test]
fn a_download_that_is_gone_on_with_and_proves_damaged_is_fetched_anew() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    install(&machine.home);
    machine.run(&["pack-runtime"]).expect(0);
    // Two parts: one comes, the other hangs.
    let (contains, fault) = ("runtime.tar.zst".to_owned(), Fault::Silence { after_bytes: 1_000 });
    s3.faults().add(Rule { method: Some(Method::GET), contains, skip: 1, times: 1, fault });
    let other = Machine::on_s3(&s3);
    let mut child = other.start(&["runtime", "--store", &other.store]);
    let cache = other.home.cache().join("runtimes");
    assert!(wait_until(Duration::from_secs(60), || noted(&cache).len() == 1), "{:?}", noted(&cache));
    child.kill();
    child.wait();
    // As after a power failure: the journal knows more than the disk.
    let download = cache.join(format!("onnxruntime-{ONNXRUNTIME_VERSION}.download"));
    let bytes = fs::metadata(&download).unwrap().len();
    fs::write(&download, vec![0; bytes as usize]).unwrap();
    fetch(&other).expect(0).says("going on to fetch").says("fetching it anew").says("installed");
    let read = |home: &Home| fs::read(home.onnxruntime_library()).unwrap();
    assert_eq!(read(&machine.home), read(&other.home));
    assert_eq!(fs::read_dir(cache).unwrap().count(), 0);
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let machine = Machine::with_folder();
    install(&machine.home);
    machine.run(&["pack-runtime"]).expect(0);
    let object = in_store(&machine, "manifest.json");
    let json = fs::read_to_string(&object).unwrap();
    for (from, to, said) in [
        ("\"LICENSE\"", "\"../LICENSE\"", "it names `../LICENSE`"),
        ("rollcall/runtime/1", "rollcall/runtime/2", "it describes"),
        ("\"schema\"", "\"more\": 1, \"schema\"", "unknown field"),
        ("\"LICENSE\"", "\"LICENCE\"", "is refused"),
    ] {
        assert!(json.contains(from), "{from}");
        fs::write(&object, json.replace(from, to)).unwrap();
        let other = beside(&machine);
        fetch(&other).expect(1).says(said);
        assert_eq!(other.files(), [], "{to}");
    }
}

#[test]
fn a_library_without_its_digest_is_not_installed() {
    let machine = Machine::with_folder();
    let library = noise(1_000, 8);
    let mut header = tar::Header::new_ustar();
    header.set_path("libonnxruntime.so").unwrap();
    header.set_size(library.len() as u64);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &library[..]).unwrap();
    let archive = zstd::stream::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap();
    let manifest = serde_json::json!({
        "schema": "rollcall/runtime/1", "name": "onnxruntime", "version": ONNXRUNTIME_VERSION,
        "files": [{"path": "libonnxruntime.so", "bytes": library.len(), "sha256": digest::of(&library)}],
    });
    fs::create_dir_all(in_store(&machine, "")).unwrap();
    fs::write(in_store(&machine, "runtime.tar.zst"), archive).unwrap();
    fs::write(in_store(&machine, "manifest.json"), manifest.to_string()).unwrap();
    fetch(&machine).expect(1).says("it does not describe a library");
    assert_eq!(machine.files(), []);
}

//! Installing two ONNX networks that a user described.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::home::Home;
use common::model::manifest::Manifest;
use common::model::onnx::OnnxError;
use provision::build::{self, BuildError, Built};
use provision::digest;
use provision::graph::proto::Message;
use provision::onnx::{Described, DescribedError};
use provision::progress::Silent;
use provision::verify;
use serde_json::{Value, json};

/// A network whose one constant has `location` beside it, if any.
fn network(name: &str, location: Option<&str>) -> Vec<u8> {
    let mut tensor = Message::new().bytes(8, name);
    if let Some(location) = location {
        let entry = Message::new().bytes(1, "location").bytes(2, location);
        tensor = tensor.message(13, &entry).int(14, 1);
    }
    let graph = Message::new().bytes(2, name).message(5, &tensor);
    Message::new().int(1, 8).message(7, &graph).into_bytes()
}

/// A folder with two networks and the example of the documentation, its digests filled in.
struct Bench {
    folder: tempfile::TempDir,
    home: Home,
    manifest: Value,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/worker.sh");
        symlink(stand_in, folder.path().join("worker")).unwrap();
        let home = Home::at(folder.path().join("home"));
        let mut bench = Self { folder, home, manifest: example() };
        bench.put("segmentation.onnx", &network("a", None));
        bench.put("titanet.onnx", &network("b", None));
        bench
    }

    /// Writes a file and what the manifest says of it.
    fn put(&mut self, path: &str, content: &[u8]) {
        fs::write(self.folder.path().join(path), content).unwrap();
        let files = self.manifest["files"].as_array_mut().unwrap();
        let file = files.iter_mut().find(|file| file["path"] == path).unwrap();
        file["sha256"] = digest::of(content).into();
        file["bytes"] = content.len().into();
    }

    fn read(&self) -> Result<Described, DescribedError> {
        let path = self.folder.path().join("titanet.json");
        fs::write(&path, self.manifest.to_string()).unwrap();
        Described::read(&path)
    }

    fn build(&self) -> Result<Built, BuildError> {
        let worker = self.folder.path().join("worker");
        build::described(&self.read()?, &self.home, Some(&worker), &Silent)
    }

    fn refused(&self) -> DescribedError {
        match self.build() {
            Err(BuildError::Described(error)) => *error,
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// The manifest in `BUNDLES.md`.
fn example() -> Value {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("BUNDLES.md")).unwrap();
    let (_, rest) = text.split_once("```json\n").expect("an example in BUNDLES.md");
    let (json, _) = rest.split_once("```").expect("its end");
    serde_json::from_str(json).expect("the example parses")
}

#[test]
fn the_example_of_the_documentation_is_installed() {
    let bench = Bench::new();
    let built = bench.build().unwrap();
    assert!(built.fresh);
    let manifest = verify::bundle(&built.folder).unwrap();
    assert!(manifest.selftest.is_some());
    assert_eq!(
        fs::read_link(bench.home.bundle_current(&manifest.name)).unwrap(),
        Path::new(&manifest.version)
    );
    assert!(!bench.build().unwrap().fresh, "the same again is left alone");
}

#[test]
fn a_version_never_changes() {
    let mut bench = Bench::new();
    let built = bench.build().unwrap();
    bench.put("titanet.onnx", &network("c", None));
    assert!(matches!(bench.build(), Err(BuildError::OtherContents { .. })));
    verify::bundle(&built.folder).unwrap();
    bench.manifest["version"] = json!("1.0.1");
    assert!(bench.build().unwrap().fresh);
}

#[test]
fn files_have_to_be_what_the_manifest_says() {
    let mut bench = Bench::new();
    fs::write(bench.folder.path().join("titanet.onnx"), network("x", None)).unwrap();
    assert!(matches!(bench.refused(), DescribedError::Differs { what: "sha256", .. }));
    fs::write(bench.folder.path().join("titanet.onnx"), b"longer than before, by far").unwrap();
    assert!(matches!(bench.refused(), DescribedError::Differs { what: "size", .. }));
    fs::remove_file(bench.folder.path().join("titanet.onnx")).unwrap();
    assert!(matches!(bench.refused(), DescribedError::Unreadable { .. }));
    bench.put("titanet.onnx", b"no network");
    assert!(matches!(bench.refused(), DescribedError::Network { source: OnnxError::Malformed { .. }, .. }));
    bench.put("titanet.onnx", &network("w", Some("../../secrets")));
    let refused = bench.refused();
    let DescribedError::Network { source: OnnxError::External { name }, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!(name, "w");
    assert!(!bench.home.bundle(bench.manifest["name"].as_str().unwrap()).exists(), "nothing is left");
}

#[test]
fn a_manifest_has_to_be_whole() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut bench = Bench::new();
        change(&mut bench.manifest);
        bench.read().unwrap_err()
    };
    assert!(matches!(refused(&|m| m["files"][0]["licence"] = json!(" ")), DescribedError::Unlicensed { .. }));
    assert!(matches!(refused(&|m| m["name"] = json!("starter")), DescribedError::Reserved { .. }));
    assert!(matches!(refused(&|m| m["name"] = json!("community-1")), DescribedError::Reserved { .. }));
    assert!(matches!(
        refused(&|m| m["files"][0]["bytes"] = json!(5u64 << 30)),
        DescribedError::TooLarge { .. }
    ));
    for change in [
        |m: &mut Value| m["surprise"] = json!(1),
        |m: &mut Value| m["files"][1]["path"] = json!("../outside.onnx"),
        |m: &mut Value| m["embedding"]["kind"]["file"] = json!("another.onnx"),
        |m: &mut Value| m["embedding"]["kind"]["hop_samples"] = json!(0),
        |m: &mut Value| m["segmentation"]["local_speakers"] = json!(9),
        |m: &mut Value| {
            m["clustering"] = json!({"method": "ahc", "threshold": 0.7, "min_cluster_size": 12,
                "clean_share_min": 0.2, "exact_max": 4000});
        },
    ] {
        assert!(matches!(refused(&change), DescribedError::Manifest { .. }));
    }
}

#[test]
fn a_self_test_of_another_machine_is_dropped() {
    let mut bench = Bench::new();
    let vector = json!({"segmentation_classes": [[0, 589]], "segmentation_tolerance": 0.5, "embedding": [1.0],
        "embedding_tolerance": 0.5});
    bench.manifest["selftest"] = vector;
    let read: Described = bench.read().unwrap();
    let manifest: &Manifest = read.manifest();
    assert!(manifest.selftest.is_none());
}

//! Stores of earlier deployments: `v1.0/{tarball, manifest.json}` and a folder `latest/` instead of a pointer.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::bench::{Machine, manifest};

const FILE: &[u8] = b"a network";

/// A gzip tarball as `tar -czf` makes it: with folders and a leading `./`, without the manifest.
fn tarball() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, content) in [
        (&b"./"[..], tar::EntryType::Directory, &b""[..]),
        (b"./net/", tar::EntryType::Directory, b""),
        (b"./net/a.onnx", tar::EntryType::Regular, FILE),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap()
}

fn offer(folder: &Path, version: &str, archive: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("manifest.json"), manifest(version, &[("net/a.onnx", FILE)]).to_json()).unwrap();
    fs::write(folder.join(archive), tarball()).unwrap();
}

#[test]
fn earlier_layouts_are_read() {
    for bundle in ["toy", "toy@1.0", "toy@v1.0"] {
        let machine = Machine::with_folder();
        let toy = machine.path("store/bundles/toy");
        offer(&toy.join("v1.0"), "1.0", "diarization-models.tar.gz");
        offer(&toy.join("latest"), "1.0", "diarization-models.tar.gz");
        machine.ensure(bundle).expect(0).says("toy@1.0 installed");
        machine.holds("1.0");
        let listed = machine.run(&["list", "--store", &machine.store]).expect(0);
        assert!(listed.out.contains("toy@v1.0"), "{}", listed.out);
    }
}

#[test]
fn a_folder_without_one_archive_is_named() {
    let machine = Machine::with_folder();
    let toy = machine.path("store/bundles/toy/v1.0");
    offer(&toy, "1.0", "a.tar.gz");
    fs::write(toy.join("b.tar.zst"), "").unwrap();
    machine.ensure("toy@1.0").expect(1).says("has 2 archives instead of one");
    for archive in ["a.tar.gz", "b.tar.zst"] {
        fs::remove_file(toy.join(archive)).unwrap();
    }
    machine.ensure("toy@1.0").expect(1).says("has 0 archives instead of one");
    machine.ensure("toy").expect(1).says("the store has no bundle `toy`");
    machine.ensure("toy@2").expect(1).says("the store has no `toy@2`").says("hint: `rollcall-provision list");
}

#[test]
fn a_manifest_in_the_wrong_place_is_refused() {
    let machine = Machine::with_folder();
    let bundles = machine.path("store/bundles");
    offer(&bundles.join("toy/2.0"), "1.0", "bundle.tar.gz");
    machine.ensure("toy@2.0").expect(1).says("describes `toy@1.0`");
    offer(&bundles.join("other/1.0"), "1.0", "bundle.tar.gz");
    machine.ensure("other@1.0").expect(1).says("describes `toy@1.0`");
}

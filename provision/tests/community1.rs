//! Building community-1 from a folder of made-up files of the right names and shapes.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::{Clustering, EmbeddingKind, Manifest, TrunkSpan};
use provision::build::{self, BuildError, Built};
use provision::progress::Silent;
use provision::recipe::community1::{Community1Error, Repository, Variant};
use provision::verify;
use support::networks::{self, Weight};
use support::{state_dict, zip_of};

fn checkpoint(weights: &[Weight]) -> Vec<u8> {
    let tensors: Vec<_> = weights
        .iter()
        .map(|(name, shape, values)| (name.as_str(), shape.as_slice(), values.clone()))
        .collect();
    state_dict(&tensors)
}

/// An `.npy` document of ascending numbers.
fn npy(shape: &[usize]) -> Vec<u8> {
    let shape_text: String = shape.iter().map(|length| format!("{length},")).collect();
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape_text}), }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    (0..shape.iter().product::<usize>()).for_each(|i| out.extend((i as f64 + 1.0).to_le_bytes()));
    out
}

fn npz(arrays: &[(&str, &[usize])]) -> Vec<u8> {
    let members: Vec<(String, Vec<u8>)> =
        arrays.iter().map(|(name, shape)| (format!("{name}.npy"), npy(shape))).collect();
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    zip_of(&members)
}

/// Writes the repository below `root`.
fn write(root: &Path) {
    let put = |path: &str, content: Vec<u8>| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("segmentation/pytorch_model.bin", checkpoint(&networks::segmentation()));
    put("embedding/pytorch_model.bin", checkpoint(&networks::resnet34()));
    put("plda/xvec_transform.npz", npz(&[("mean1", &[256]), ("mean2", &[128]), ("lda", &[256, 128])]));
    put("plda/plda.npz", npz(&[("mu", &[128]), ("tr", &[128, 128]), ("psi", &[128])]));
    put("config.yaml", b"pipeline:\n".to_vec());
}

/// A folder with the repository in it, a home, and a stand-in for the worker.
struct Bench {
    folder: tempfile::TempDir,
    home: Home,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/worker.sh");
        symlink(stand_in, folder.path().join("worker")).unwrap();
        let home = Home::at(folder.path().join("home"));
        let bench = Self { folder, home };
        write(&bench.repository());
        bench
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn build(&self, variant: &Variant) -> Result<Built, BuildError> {
        let repository = Repository::read(&self.repository())?;
        let worker = self.folder.path().join("worker");
        build::community1(&repository, variant, &self.home, Some(&worker), &Silent)
    }

    fn spoil(&self, member: &str, content: &[u8]) -> Community1Error {
        let path = self.repository().join(member);
        let before = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let Err(BuildError::Community1(error)) = self.build(&Variant::EXACT) else {
            panic!("{member} was accepted")
        };
        fs::write(&path, before).unwrap();
        assert!(
            !self.home.bundle("community-1").exists() || !self.home.bundle_current("community-1").exists()
        );
        *error
    }
}

fn manifest(built: &Built) -> Manifest {
    verify::bundle(&built.folder).unwrap()
}

#[test]
fn a_bundle_is_built_from_a_folder_and_left_alone_afterwards() {
    let bench = Bench::new();
    let built = bench.build(&Variant::EXACT).unwrap();
    assert!(built.fresh);
    let found = manifest(&built);
    let files: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
    let expected =
        ["NOTICE.txt", "plda.safetensors", "resnet34-head.onnx", "resnet34-trunk.onnx", "segmentation.onnx"];
    assert_eq!(files, expected);
    assert!(found.files.iter().all(|file| file.licence == "CC-BY-4.0" && !file.attribution.is_empty()));
    assert!(matches!(found.clustering, Clustering::Vbx(_)));
    assert_eq!((found.segmentation.step_samples, found.embedding.dimension), (16_000, 256));
    assert_eq!(fs::read_link(bench.home.bundle_current("community-1")).unwrap(), Path::new(&found.version));
    let again = bench.build(&Variant::EXACT).unwrap();
    assert_eq!(again, Built { fresh: false, ..built });
}

#[test]
fn other_files_and_other_choices_are_other_versions() {
    let bench = Bench::new();
    let exact = manifest(&bench.build(&Variant::EXACT).unwrap());
    let sliding = manifest(&bench.build(&Variant { sliding: true, linkage: false }).unwrap());
    let EmbeddingKind::FrameLevel { span: TrunkSpan::Recording(_), .. } = sliding.embedding.kind else {
        panic!("the trunk runs over the recording")
    };
    let linkage = manifest(&bench.build(&Variant { sliding: false, linkage: true }).unwrap());
    assert!(matches!(linkage.clustering, Clustering::Ahc(_)));
    let mut other = networks::resnet34();
    other[0].2[0] += 1.0;
    fs::write(bench.repository().join("embedding/pytorch_model.bin"), checkpoint(&other)).unwrap();
    let changed = manifest(&bench.build(&Variant::EXACT).unwrap());
    let mut versions =
        [&exact.version, &sliding.version, &linkage.version, &changed.version].map(String::as_str);
    assert!(versions[1].contains("-sliding-") && versions[2].contains("-ahc-"), "{versions:?}");
    versions.sort_unstable();
    assert!(versions.windows(2).all(|pair| pair[0] != pair[1]), "{versions:?}");
}

#[test]
fn a_hub_cache_is_found_from_above_and_from_inside() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("hub/models--pyannote--speaker-diarization-community-1");
    let revision = "3533c8cf8e369892e6b79ff1bf80f7b0286a54ee";
    // As the hub's client lays it out: blobs, and links to them.
    write(&cache.join("blobs"));
    for member in ["segmentation", "embedding", "plda"] {
        fs::create_dir_all(cache.join("snapshots").join(revision)).unwrap();
        symlink(Path::new("../../blobs").join(member), cache.join("snapshots").join(revision).join(member))
            .unwrap();
    }
    let places = [folder.path().to_owned(), folder.path().join("hub"), cache.clone()];
    let versions = || -> Vec<String> {
        places.iter().map(|place| Repository::read(place).unwrap().version(&Variant::EXACT)).collect()
    };
    let alone = versions();
    assert!(alone.windows(2).all(|pair| pair[0] == pair[1]));
    // With a second snapshot, `refs/main` decides.
    fs::create_dir_all(cache.join("snapshots/0000")).unwrap();
    assert!(matches!(Repository::read(&cache), Err(Community1Error::Missing { .. })));
    fs::create_dir_all(cache.join("refs")).unwrap();
    fs::write(cache.join("refs/main"), format!("{revision}\n")).unwrap();
    assert_eq!(versions(), alone);
    fs::write(cache.join("refs/main"), "../../../etc").unwrap();
    assert!(matches!(Repository::read(&cache), Err(Community1Error::Missing { .. })));
}

#[test]
fn files_that_are_not_the_repositorys_are_refused() {
    let bench = Bench::new();
    assert!(matches!(
        bench.spoil("segmentation/pytorch_model.bin", b"no checkpoint"),
        Community1Error::Checkpoint { member: "segmentation/pytorch_model.bin", .. }
    ));
    assert!(matches!(
        bench.spoil("embedding/pytorch_model.bin", &checkpoint(&networks::segmentation())),
        Community1Error::Network { member: "embedding/pytorch_model.bin", .. }
    ));
    assert!(matches!(
        bench.spoil("plda/plda.npz", b"PK"),
        Community1Error::Arrays { member: "plda/plda.npz", .. }
    ));
    let narrow = npz(&[("mean1", &[192]), ("mean2", &[128]), ("lda", &[192, 128])]);
    let Community1Error::Shape { array, found, wanted } = bench.spoil("plda/xvec_transform.npz", &narrow)
    else {
        panic!("a PLDA of another length was accepted")
    };
    assert_eq!((array, found, wanted), ("mean1", vec![192], vec![256]));
    fs::remove_file(bench.repository().join("plda/plda.npz")).unwrap();
    let missing = Repository::read(&bench.repository()).unwrap_err();
    assert!(matches!(missing, Community1Error::Missing { member: "plda/plda.npz", .. }), "{missing}");
}

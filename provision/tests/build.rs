//! Building a bundle from a made-up wheel, with stand-ins for Python and the worker.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::{
    AhcParameters, Clustering, Embedding, EmbeddingKind, Feature, Segmentation, Tail, Taper, TrunkSpan,
    VoiceParameters,
};
use provision::archive::Archive;
use provision::build::{self, BuildError, Built, Options};
use provision::progress::{Progress, Silent};
use provision::recipe::{IngredientFile, Ingredients, Recipe, RecipeError};
use provision::selftest::SelfTestError;
use provision::verify;
use provision::wheel::{Pin, Source, WheelError};
use provision::{digest, runtime};
use support::zip_of;

/// A folder with a home, a wheel, and links to the stand-ins.
struct Bench {
    folder: tempfile::TempDir,
    home: Home,
    recipe: Recipe,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stand_ins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
        symlink(stand_ins.join("worker.sh"), folder.path().join("worker")).unwrap();
        symlink(stand_ins.join("python.sh"), folder.path().join("python")).unwrap();
        let wheel = zip_of(&[("toy/a.bin", b"alpha"), ("toy/b.bin", b"beta")]);
        fs::write(folder.path().join("toy-1.0-py3-none-any.whl"), &wheel).unwrap();
        let pin =
            Pin { package: "toy".into(), version: "1.0".into(), sha256: digest::of(&wheel), gpu: false };
        let home = Home::at(folder.path().join("home"));
        Self { folder, home, recipe: Recipe { name: "toy", version: "1.0.0", pin, make } }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn say(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn count(&self, calls: &str) -> usize {
        fs::read_to_string(self.path(calls)).map_or(0, |text| text.lines().count())
    }

    fn build(&self) -> Result<Built, BuildError> {
        self.build_with(Some(&self.path("worker")), &Silent)
    }

    fn build_with(&self, worker: Option<&Path>, progress: &dyn Progress) -> Result<Built, BuildError> {
        let source = Source::Registry { python: self.path("python") };
        build::build(&self.recipe, &Options { home: &self.home, source: &source, worker }, progress)
    }

    fn bundle(&self) -> PathBuf {
        self.home.bundle_version("toy", "1.0.0")
    }

    fn nothing_is_left(&self) {
        assert!(!self.bundle().exists());
        assert!(!self.home.bundle_current("toy").exists());
        assert_eq!(fs::read_dir(self.home.partial()).unwrap().count(), 0);
    }
}

fn make(wheel: &[u8], _: &dyn Progress) -> Result<Ingredients, RecipeError> {
    let wheel = Archive::open(wheel)?;
    let file = |path, member| -> Result<_, RecipeError> {
        let content = wheel.read(member, 100)?.into_owned();
        Ok(IngredientFile { path, content, licence: "MIT", attribution: "nobody", member })
    };
    let feature = Feature {
        mel_bins: 80,
        frame_samples: 400,
        frame_step_samples: 160,
        sample_scale: 1.0,
        taper: Taper::Povey,
        low_hz: 20.0,
        high_hz: 8_000.0,
    };
    Ok(Ingredients {
        voices: VoiceParameters::default(),
        files: vec![file("b.onnx", "toy/b.bin")?, file("a.onnx", "toy/a.bin")?],
        segmentation: Segmentation {
            file: "a.onnx".into(),
            sample_rate_hz: 16_000,
            window_samples: 160_000,
            step_samples: 40_000,
            frames: 589,
            frame_step_samples: 270,
            receptive_field_samples: 991,
            local_speakers: 3,
            simultaneous_speakers: 2,
            tail: Tail::default(),
        },
        embedding: Embedding {
            dimension: 1,
            feature: Some(feature),
            kind: EmbeddingKind::FrameLevel {
                trunk_file: "b.onnx".into(),
                head_file: "b.onnx".into(),
                trunk_channels: 1,
                trunk_steps: 125,
                step_frames: 8,
                context_frames: 112,
                clean_frames_min: 3,
                span: TrunkSpan::Chunk,
            },
        },
        clustering: Clustering::Ahc(AhcParameters {
            threshold: 0.7,
            min_cluster_size: 2,
            clean_share_min: 0.2,
            exact_max: 4_000,
        }),
        voices: Default::default(),
    })
}

#[test]
fn a_bundle_is_built_tested_and_made_current() {
    let bench = Bench::new();
    let built = bench.build().unwrap();
    assert_eq!(built, Built { folder: bench.bundle(), fresh: true });
    let manifest = verify::bundle(&built.folder).unwrap();
    assert_eq!(
        manifest.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["a.onnx", "b.onnx"]
    );
    assert_eq!(manifest.files[0].source, "toy 1.0: toy/a.bin");
    assert!(manifest.selftest.is_some());
    assert_eq!(fs::read_link(bench.home.bundle_current("toy")).unwrap(), Path::new("1.0.0"));
    assert_eq!(fs::read_dir(bench.home.partial()).unwrap().count(), 0);
    let calls = fs::read_to_string(bench.path("worker-calls")).unwrap();
    assert!(calls.starts_with(&format!("{} selftest --record ", bench.home.root().display())), "{calls}");
}

#[test]
fn a_whole_bundle_is_left_alone() {
    let bench = Bench::new();
    bench.build().unwrap();
    fs::remove_file(bench.home.bundle_current("toy")).unwrap();
    assert!(!bench.build().unwrap().fresh);
    assert_eq!((bench.count("pip-calls"), bench.count("worker-calls")), (1, 1));
    assert!(bench.home.bundle_current("toy").exists(), "the link is mended");
}

#[test]
fn a_damaged_bundle_is_built_again_from_the_cache() {
    let harms: [fn(&Path); 5] = [
        |bundle| fs::write(bundle.join("a.onnx"), "alphb").unwrap(),
        |bundle| fs::remove_file(bundle.join("b.onnx")).unwrap(),
        |bundle| fs::write(bundle.join("foreign"), "x").unwrap(),
        |bundle| fs::write(bundle.join("manifest.json"), "{").unwrap(),
        |bundle| fs::remove_file(bundle.join("manifest.json")).unwrap(),
    ];
    let bench = Bench::new();
    bench.build().unwrap();
    for (number, harm) in harms.into_iter().enumerate() {
        harm(&bench.bundle());
        assert!(verify::bundle(&bench.bundle()).is_err(), "harm {number}");
        assert!(bench.build().unwrap().fresh, "harm {number}");
        verify::bundle(&bench.bundle()).unwrap();
    }
    assert_eq!(bench.count("pip-calls"), 1);
}

#[test]
fn the_same_bytes_come_out_every_time() {
    let contents = |bench: &Bench| {
        bench.build_with(None, &Silent).unwrap();
        ["a.onnx", "b.onnx", "manifest.json"].map(|name| fs::read(bench.bundle().join(name)).unwrap())
    };
    assert_eq!(contents(&Bench::new()), contents(&Bench::new()));
}

#[test]
fn an_untested_bundle_is_built_again_once_there_is_a_worker() {
    let bench = Bench::new();
    assert!(bench.build_with(None, &Silent).unwrap().fresh);
    assert!(!bench.build_with(None, &Silent).unwrap().fresh);
    assert!(bench.build().unwrap().fresh);
    assert!(
        !bench.build_with(None, &Silent).unwrap().fresh,
        "a tested one serves where no test is asked for"
    );
}

#[test]
fn builds_at_the_same_time_build_once() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        let builds: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.build().unwrap().fresh)).collect();
        let fresh = builds.into_iter().map(|build| build.join().unwrap()).filter(|fresh| *fresh);
        assert_eq!(fresh.count(), 1);
    });
    assert_eq!((bench.count("pip-calls"), bench.count("worker-calls")), (1, 1));
}

#[test]
fn what_a_killed_build_left_is_cleared() {
    let bench = Bench::new();
    // Killed while writing, while replacing, and before the link was set.
    for left in ["bundle-toy.123/new/a.onnx", "bundle-toy.124/replaced/manifest.json"] {
        let path = bench.home.partial().join(left);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "half").unwrap();
    }
    let kept = bench.home.cache().join("wheels").join(format!("{}.whl", bench.recipe.pin.sha256));
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "a damaged download").unwrap();
    assert!(bench.build().unwrap().fresh);
    assert_eq!(fs::read_dir(bench.home.partial()).unwrap().count(), 0);
    assert_eq!(digest::of(&fs::read(kept).unwrap()), bench.recipe.pin.sha256, "the cache is mended");
}

#[test]
fn a_failed_self_test_leaves_nothing() {
    let bench = Bench::new();
    bench.say("complaint", "the embedding differs\n by 0.3\n");
    match bench.build() {
        Err(BuildError::SelfTest(SelfTestError::Failed { complaint })) => {
            assert_eq!(complaint, "the embedding differs; by 0.3");
        }
        other => panic!("{other:?}"),
    }
    bench.nothing_is_left();
    bench.say("idle", "");
    fs::remove_file(bench.path("complaint")).unwrap();
    let refused = bench.build();
    assert!(matches!(refused, Err(BuildError::Manifest { what: "has no self-test" })), "{refused:?}");
    fs::remove_file(bench.path("idle")).unwrap();
    bench.say("meddle", "");
    let refused = bench.build();
    assert!(matches!(refused, Err(BuildError::Manifest { .. })), "{refused:?}");
    bench.nothing_is_left();
    let refused = bench.build_with(Some(Path::new("/nonexistent/worker")), &Silent);
    assert!(matches!(refused, Err(BuildError::SelfTest(SelfTestError::Start { .. }))), "{refused:?}");
    bench.nothing_is_left();
}

#[test]
fn a_foreign_wheel_is_refused() {
    let bench = Bench::new();
    bench.say("toy-1.0-py3-none-any.whl", "another file");
    let refused = bench.build();
    assert!(matches!(refused, Err(BuildError::Wheel(WheelError::Digest { .. }))), "{refused:?}");
    bench.nothing_is_left();
    assert!(!bench.home.cache().join("wheels").exists());
}

#[test]
fn an_unreachable_registry_is_named() {
    let bench = Bench::new();
    bench.say(
        "pip-complaint",
        "WARNING: Retrying after connection broken by 'NewConnectionError'\nWARNING: again\n\
         ERROR: Could not find a version\nERROR: No matching distribution found for toy==1.0\n",
    );
    match bench.build() {
        Err(BuildError::Wheel(WheelError::Download { requirement, complaint })) => {
            assert_eq!(requirement, "toy==1.0");
            assert!(
                complaint.starts_with("WARNING: Retrying") && complaint.ends_with("toy==1.0"),
                "{complaint}"
            );
        }
        other => panic!("{other:?}"),
    }
    bench.say("pip-complaint", "/usr/bin/python3: No module named pip\n");
    assert!(matches!(bench.build(), Err(BuildError::Wheel(WheelError::NoPip { .. }))));
    fs::remove_file(bench.path("python")).unwrap();
    assert!(matches!(bench.build(), Err(BuildError::Wheel(WheelError::NoPython { .. }))));
    bench.nothing_is_left();
}

#[test]
fn a_folder_of_wheels_is_enough() {
    let bench = Bench::new();
    bench.say("toy-1.0-cp39-none-any.whl", "another build of it");
    let source = Source::Folder(bench.folder.path().to_owned());
    let options = Options { home: &bench.home, source: &source, worker: None };
    assert!(build::build(&bench.recipe, &options, &Silent).unwrap().fresh);
    assert_eq!(bench.count("pip-calls"), 0);

    let empty = tempfile::tempdir().unwrap();
    let source = Source::Folder(empty.path().to_owned());
    fs::remove_dir_all(bench.bundle()).unwrap();
    let refused = build::build(&bench.recipe, &Options { source: &source, ..options }, &Silent);
    assert!(matches!(refused, Err(BuildError::Wheel(WheelError::NotInFolder { .. }))), "{refused:?}");
}

#[test]
fn the_steps_are_told() {
    struct Told(std::sync::Mutex<Vec<String>>);
    impl Progress for Told {
        fn step(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
    let told = Told(std::sync::Mutex::default());
    let bench = Bench::new();
    bench.build_with(Some(&bench.path("worker")), &told).unwrap();
    assert_eq!(*told.0.lock().unwrap(), ["downloading toy==1.0 with pip", "testing the networks"]);
}

#[test]
fn the_library_is_unpacked_once_and_mended() {
    let bench = Bench::new();
    let wheel = zip_of(&[
        ("onnxruntime/LICENSE", b"licence"),
        ("onnxruntime/ThirdPartyNotices.txt", b"notices"),
        ("onnxruntime/capi/libonnxruntime.so.9.9", b"machine code"),
        ("onnxruntime/capi/other.so", b"not wanted"),
    ]);
    fs::write(bench.path("onnxruntime-9.9-cp311-cp311-linux.whl"), &wheel).unwrap();
    let pin =
        Pin { package: "onnxruntime".into(), version: "9.9".into(), sha256: digest::of(&wheel), gpu: false };
    let source = Source::Folder(bench.folder.path().to_owned());
    let install = || runtime::install(&bench.home, &pin, &source, &Silent).unwrap();
    assert_eq!(install(), runtime::Installed::Fresh);
    let library = bench.home.onnxruntime_library();
    assert_eq!(fs::read(&library).unwrap(), b"machine code");
    assert_eq!(fs::read(bench.home.onnxruntime().join("LICENSE")).unwrap(), b"licence");
    assert_eq!(fs::read_dir(bench.home.onnxruntime()).unwrap().count(), 4);
    assert_eq!(install(), runtime::Installed::Already);
    fs::write(&library, "machine cod").unwrap();
    assert_eq!(install(), runtime::Installed::Fresh);
    assert_eq!(fs::read(&library).unwrap(), b"machine code");
}

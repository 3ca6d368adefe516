use common::model::manifest::{
    AhcParameters, BundleFile, Clustering, Embedding, EmbeddingKind, Feature, SCHEMA, Segmentation, Tail,
    Taper, TrunkSpan,
};

use super::*;

/// A folder with a whole bundle of one file, `net/a.onnx`.
fn bundle_of(content: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("net")).unwrap();
    fs::write(folder.path().join("net/a.onnx"), content).unwrap();
    let file = BundleFile {
        path: "net/a.onnx".into(),
        sha256: digest::of(content),
        bytes: content.len() as u64,
        licence: "MIT".into(),
        attribution: "nobody".into(),
        source: "nowhere".into(),
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
    let kind = EmbeddingKind::FrameLevel {
        trunk_file: "net/a.onnx".into(),
        head_file: "net/a.onnx".into(),
        trunk_channels: 1,
        trunk_steps: 125,
        step_frames: 8,
        context_frames: 112,
        clean_frames_min: 3,
        span: TrunkSpan::Chunk,
    };
    let manifest = Manifest {
        schema: SCHEMA.into(),
        name: "toy".into(),
        version: "1".into(),
        files: vec![file],
        segmentation: Segmentation {
            file: "net/a.onnx".into(),
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
        embedding: Embedding { dimension: 1, feature: Some(feature), kind },
        clustering: Clustering::Ahc(AhcParameters {
            threshold: 0.7,
            min_cluster_size: 2,
            clean_share_min: 0.2,
            exact_max: 4_000,
        }),
        voices: Default::default(),
        selftest: None,
    };
    fs::write(folder.path().join(FILE_NAME), manifest.to_json()).unwrap();
    folder
}

fn damage(harm: impl Fn(&Path)) -> String {
    let folder = bundle_of(b"network");
    bundle(folder.path()).unwrap();
    harm(folder.path());
    let error = bundle(folder.path()).unwrap_err().to_string();
    error.replace(&*folder.path().to_string_lossy(), "BUNDLE")
}

#[test]
fn every_difference_from_the_manifest_is_named() {
    let write = |path: &'static str, text: &'static str| {
        move |folder: &Path| fs::write(folder.join(path), text).unwrap()
    };
    assert_eq!(
        damage(write("net/a.onnx", "networks")),
        "`BUNDLE/net/a.onnx` is damaged: it has another size"
    );
    assert_eq!(
        damage(write("net/a.onnx", "netwerk")),
        "`BUNDLE/net/a.onnx` is damaged: it has another digest"
    );
    assert_eq!(damage(write("net/b.onnx", "")), "`BUNDLE/net/b.onnx` does not belong to the bundle");
    assert_eq!(damage(write("manifest.json", "{}")), "the manifest of `BUNDLE` is refused");
    let gone = damage(|folder| fs::remove_file(folder.join("net/a.onnx")).unwrap());
    assert_eq!(gone, "cannot read `BUNDLE/net/a.onnx`");
}

#[test]
fn a_link_is_not_a_file_of_the_bundle() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), b"network").unwrap();
    let text = damage(|folder| {
        fs::remove_file(folder.join("net/a.onnx")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.join("net/a.onnx")).unwrap();
    });
    assert_eq!(text, "`BUNDLE/net/a.onnx` is damaged: it is not a regular file");
}

#[test]
fn a_manifest_above_the_bound_is_refused() {
    let text = damage(|folder| {
        let path = folder.join(FILE_NAME);
        let padding = " ".repeat(BYTES_MAX as usize);
        let json = fs::read_to_string(&path).unwrap();
        fs::write(path, json.replacen('{', &format!("{{{padding}"), 1)).unwrap();
    });
    assert_eq!(text, "the manifest of `BUNDLE` is refused");
}

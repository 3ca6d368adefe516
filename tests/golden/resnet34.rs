//! The ResNet34 of community-1, split into trunk and pooling, against torch; and the way from samples to turns with it.

use common::home::Home;
use provision::recipe::community1::Variant;
use tests::npz::read_npz;
use tests::shared::shared;
use worker::batch::plan::Limits;
use worker::device::bundle::Bundle;
use worker::device::engine::Engine;
use worker::device::handle::Device;
use worker::device::ort::engine::{CpuEngine, StartError};
use worker::device::ort::library;
use worker::diarize::masks::{active, pooling_weights};
use worker::diarize::observations::Observations;
use worker::diarize::speaker_limits::SpeakerLimits;
use worker::observe::Observer;

use crate::features::clip;
use crate::made_up;

fn engine(bundle: &Bundle) -> CpuEngine {
    let home = Home::from_environment(|name| std::env::var(name).ok()).expect("a home folder");
    let environment =
        library::environment(&library::expected_path(&home)).expect("ONNX Runtime is installed");
    CpuEngine::load(&environment, bundle).expect("the bundle loads")
}

fn device(bundle: &Bundle, lanes: usize, rows: usize) -> Device {
    let factories: Vec<_> = (0..lanes)
        .map(|_| {
            let bundle = bundle.clone();
            move || Ok::<_, StartError>(engine(&bundle))
        })
        .collect();
    let limits = Limits { segmentation_rows_max: rows, embedding_rows_max: rows, rows_min: 1, lanes };
    Device::start(factories, limits).expect("the engines start")
}

fn observe(bundle: &Bundle, samples: &[f32], lanes: usize, rows: usize, block: usize) -> Observations {
    let pipeline = bundle.pipeline().expect("a way");
    let device = device(bundle, lanes, rows);
    let mut observer = Observer::new(&device, &pipeline);
    for piece in samples.chunks(block) {
        observer.push(piece).expect("the networks run");
    }
    observer.finish().expect("the networks run").0
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let inner =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum() };
    inner(a, b) / (inner(a, a) * inner(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

#[test]
#[allow(clippy::print_stderr, reason = "the figures of a run belong into its report")]
fn trunk_and_pooling_match_torch() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(path) = shared("reference/resnet34-random.npz") else { return };
    let Some(bundle) = made_up::bundle(folder.path(), &Variant::EXACT) else { return };
    let reference = read_npz(&path);
    let mut engine = engine(&bundle);
    let mut feature = Vec::new();
    engine.trunk(&[&reference["fbank"].to_f32()], &mut feature).expect("the trunk runs");
    let wanted = &reference["feature"].values;
    assert_eq!(feature.len(), 2_560 * 63);
    let scale = wanted.iter().map(|v| v.abs()).fold(0.0, f64::max);
    let worst = |ours: &[f32], theirs: &[f64]| {
        ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
    };
    let trunk = worst(&feature, wanted) / scale;
    assert!(trunk < 1e-5, "the trunk differs by {trunk:e} of its largest value");
    // The head alone, on torch's trunk, and after our own.
    let mask = reference["mask"].to_f32();
    let theirs = reference["feature"].to_f32();
    for (which, feature) in [("torch's trunk", &theirs), ("our trunk", &feature)] {
        let mut embedding = Vec::new();
        engine.pool(&[feature], &[&mask], &mut embedding).expect("the pooling runs");
        let head = worst(&embedding, &reference["embedding"].values);
        assert!(head < 1e-4, "the head differs by {head:e} on {which}");
        eprintln!("trunk {trunk:.1e} of its largest value, pooling on {which} {head:.1e}");
    }
}

#[test]
fn a_chunk_alone_equals_the_chunk_in_any_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(bundle) = made_up::bundle(folder.path(), &Variant::EXACT) else { return };
    let Some(samples) = clip("sample") else { return };
    let mut engine = engine(&bundle);
    let rows: Vec<&[f32]> = (0..3).map(|i| &samples[i * 48_000..][..160_000]).collect();
    let weights: Vec<Vec<f32>> =
        (0..3).map(|i| (0..3 * 589).map(|f| f32::from(u8::from((f / 50 + i) % 3 == 0))).collect()).collect();
    let weights: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for (row, weights) in rows.iter().zip(&weights) {
        engine.embed_locals(&[row], &[weights], &mut alone).expect("the networks run");
    }
    engine.embed_locals(&rows, &weights, &mut together).expect("the networks run");
    assert_eq!(alone.len(), 3 * 3 * 256);
    assert!(alone == together, "other bits in a batch");
}

/// Both spans, over a recording of the references: the same whatever the blocks, batches and lanes; the exact one as its
/// definition says; the sliding one near it.
#[test]
fn observations_do_not_depend_on_blocks_or_batches() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(samples) = clip("sample") else { return };
    // Neither a whole number of steps nor of blocks.
    let samples = &samples[..239_123];
    let exact = Variant::EXACT;
    let sliding = Variant { sliding: true, ..exact };
    let mut found = Vec::new();
    for variant in [exact, sliding] {
        let Some(bundle) = made_up::bundle(folder.path(), &variant) else { return };
        let one = observe(&bundle, samples, 1, 1, 16_000);
        let two = observe(&bundle, samples, 2, 3, 7_777);
        assert_eq!(one.activity.len(), 6);
        assert!(one == two, "other bits with other blocks and batches: {variant:?}");
        let pipeline = bundle.pipeline().expect("a way");
        let diarized = pipeline.diarize(&one, SpeakerLimits::default());
        assert!(!diarized.diarization.turns().is_empty());
        if variant == exact {
            exact_by_definition(&bundle, samples, &one);
        }
        found.push(one);
    }
    let (exact, sliding) = (&found[0], &found[1]);
    assert_eq!((&exact.activity, exact.locals.len()), (&sliding.activity, sliding.locals.len()));
    for index in 0..exact.locals.len() {
        assert_eq!(exact.locals.of(index), sliding.locals.of(index));
        let near = cosine(exact.locals.get(index), sliding.locals.get(index));
        assert!(near > 0.9, "{near} for {:?}", exact.locals.of(index));
    }
}

/// Each chunk by itself, the last one filled up with zeros.
fn exact_by_definition(bundle: &Bundle, samples: &[f32], seen: &Observations) {
    let mut engine = engine(bundle);
    let mut padded = samples.to_vec();
    padded.resize(160_000 + 5 * 16_000, 0.0);
    let mut index = 0;
    for (chunk, masks) in seen.activity.iter().enumerate() {
        let weights: Vec<f32> = (0..3).flat_map(|local| pooling_weights(masks, local, 3)).collect();
        let mut out = Vec::new();
        engine
            .embed_locals(&[&padded[chunk * 16_000..][..160_000]], &[&weights], &mut out)
            .expect("the networks run");
        for local in active(masks) {
            assert_eq!(seen.locals.of(index), (chunk, local));
            assert!(seen.locals.get(index) == &out[local * 256..][..256], "chunk {chunk}, speaker {local}");
            index += 1;
        }
    }
    assert_eq!(index, seen.locals.len());
}

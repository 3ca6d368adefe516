//! The engine on a board in this process's memory, against the engine of the CPU, with a real bundle.

use common::home::Home;
use common::model::manifest::EmbeddingKind;
use ort::environment::Environment;

use super::*;
use crate::batch::plan::Network as Which;
use crate::device::cuda::host_board::HostBoard;
use crate::device::cuda::pool::fake::FakePool;
use crate::device::handle::{Device, Rows as DeviceRows};
use crate::device::ort::engine::CpuEngine;
use crate::device::ort::library;
use crate::diarize::observations::dot;
use crate::selftest;

const LIMITS: Limits = Limits { segmentation_rows_max: 8, embedding_rows_max: 8, rows_min: 4, lanes: 1 };
const PLENTY: u64 = 1 << 33;

/// The library and every bundle of the home folder; without them there is nothing to test.
fn installed() -> Option<(Environment, Vec<Bundle>)> {
    let home = Home::from_environment(|name| std::env::var(name).ok())?;
    let environment = library::environment(&library::expected_path(&home)).ok()?;
    let names = std::fs::read_dir(home.bundles()).ok()?.flatten();
    let bundles: Vec<Bundle> =
        names.filter_map(|entry| Bundle::open(entry.file_name().to_str()?, &home).ok()).collect();
    (!bundles.is_empty()).then_some((environment, bundles))
}

fn for_each_bundle(test: impl Fn(&Environment, &Bundle)) {
    match installed() {
        Some((environment, bundles)) => bundles.iter().for_each(|bundle| test(&environment, bundle)),
        None => eprintln!("SKIPPED: no bundle and no ONNX Runtime in ROLLCALL_HOME"),
    }
}

fn engine(environment: &Environment, bundle: &Bundle, pool: FakePool) -> CudaEngine<HostBoard> {
    let board = HostBoard::new(&bundle.manifest, pool, PLENTY);
    CudaEngine::load(board, environment, bundle, LIMITS).expect("the networks load")
}

/// Embeddings of both engines point the same way, one by one.
fn assert_alike(ours: &[f32], theirs: &[f32], dimension: usize) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.chunks_exact(dimension).zip(theirs.chunks_exact(dimension)) {
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!(cosine > 0.999_999, "{cosine}");
    }
}

#[test]
fn it_gives_the_numbers_of_the_cpu_engine() {
    for_each_bundle(|environment, bundle| {
        let m = &bundle.manifest;
        let mut cpu = CpuEngine::load(environment, bundle).expect("the networks load");
        let mut ours = engine(environment, bundle, FakePool::new());
        ours.warm_up(m, &selftest::sound_for(m)).expect("there is memory");
        selftest::check(&mut ours, m).expect("the self-test passes");

        let (window, step) = (m.segmentation.window_samples as usize, m.segmentation.step_samples as usize);
        let sound = selftest::signal(window + 2 * step, m.segmentation.sample_rate_hz);
        // Three that overlap, and one that is shorter, as at the end of a recording.
        let chunks: Vec<&[f32]> = (0..3).map(|i| &sound[i * step..][..window]).collect();
        let (tail, speakers) = (&sound[step..][..window / 2 + 77], m.segmentation.local_speakers as usize);
        for rows in [&chunks[..], &chunks[1..2], &[tail][..]] {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            ours.segment(rows, &mut a).expect("it runs");
            cpu.segment(rows, &mut b).expect("it runs");
            assert_eq!(a.len(), b.len());
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3));
        }
        let dimension = m.embedding.dimension as usize;
        let (mut a, mut b) = (Vec::new(), Vec::new());
        match &m.embedding.kind {
            EmbeddingKind::Windowed { window_samples, .. } => {
                let window = *window_samples as usize;
                let rows: Vec<&[f32]> = (0..11).map(|i| &sound[i * window / 2..][..window]).collect();
                for rows in [&rows[..], &rows[4..5], &[&rows[0][..window / 2]]] {
                    ours.embed(rows, &mut a).expect("it runs");
                    rows.iter().for_each(|row| cpu.embed(&[row], &mut b).expect("it runs"));
                }
                assert_alike(&a, &b, dimension);
                assert!(ours.trunk(&rows, &mut a).is_err());
            }
            EmbeddingKind::FrameLevel { trunk_channels, .. } => {
                let Embedder::FrameLevel(network) = &ours.embedder else { panic!("the manifest says so") };
                assert!(network.pooling.dense.is_some(), "our own heads are taken apart");
                let frames = m.segmentation.frames as usize;
                let weights: Vec<f32> =
                    (0..3 * speakers * frames).map(|i| f32::from(u8::from((i / 50) % 3 != 1))).collect();
                let weights: Vec<&[f32]> = weights.chunks_exact(speakers * frames).collect();
                ours.embed_locals(&chunks, &weights, &mut a).expect("it runs");
                cpu.embed_locals(&chunks, &weights, &mut b).expect("it runs");
                assert_alike(&a, &b, dimension);
                // Trunk and pooling by themselves, over another length.
                let bins = m.embedding.feature.as_ref().expect("it has features").mel_bins as usize;
                let features: Vec<f32> =
                    (0..2 * 160 * bins).map(|i| ((i * 37) % 101) as f32 / 50.0).collect();
                let features: Vec<&[f32]> = features.chunks_exact(160 * bins).collect();
                let (mut x, mut y) = (Vec::new(), Vec::new());
                ours.trunk(&features, &mut x).expect("it runs");
                cpu.trunk(&features, &mut y).expect("it runs");
                assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-3) && x.len() == y.len());
                let each = x.len() / 2;
                let steps = each / *trunk_channels as usize;
                let weights: Vec<f32> =
                    (0..2 * speakers * steps).map(|i| ((i % 7) != 0) as u8 as f32).collect();
                let weights: Vec<&[f32]> = weights.chunks_exact(speakers * steps).collect();
                let rows: Vec<&[f32]> = x.chunks_exact(each).collect();
                (a, b) = (Vec::new(), Vec::new());
                ours.pool(&rows, &weights, &mut a).expect("it runs");
                cpu.pool(&rows, &weights, &mut b).expect("it runs");
                assert_alike(&a, &b, dimension);
            }
        }
    });
}

#[test]
fn after_warm_up_full_batches_allocate_nothing() {
    for_each_bundle(|environment, bundle| {
        let m = &bundle.manifest;
        let mut ours = engine(environment, bundle, FakePool::new());
        ours.warm_up(m, &selftest::sound_for(m)).expect("there is memory");
        let (before, most) = (ours.board().pool.allocations(), ours.board().pool.used_max());
        let chunk = selftest::signal(m.segmentation.window_samples as usize, 16_000);
        let mut out = Vec::new();
        for rows in [1, 3, 8, 5] {
            ours.segment(&vec![chunk.as_slice(); rows], &mut out).expect("it runs");
            match &m.embedding.kind {
                EmbeddingKind::Windowed { window_samples, .. } => {
                    let window = &chunk[..*window_samples as usize];
                    ours.embed(&vec![window; rows], &mut out).expect("it runs");
                }
                EmbeddingKind::FrameLevel { .. } => {
                    let weights = vec![1.0; (m.segmentation.local_speakers * m.segmentation.frames) as usize];
                    let weights = vec![weights.as_slice(); rows];
                    ours.embed_locals(&vec![chunk.as_slice(); rows], &weights, &mut out).expect("it runs");
                }
            }
        }
        assert_eq!((ours.board().pool.allocations(), ours.board().pool.used_max()), (before, most));
        ours.idle();
        assert_eq!(ours.board().idled, 1);
    });
}

#[test]
fn without_memory_batches_are_halved_and_the_rows_still_arrive() {
    for_each_bundle(|environment, bundle| {
        let window = bundle.manifest.segmentation.window_samples as usize;
        let sound = selftest::signal(window + 7 * 16_000, 16_000);
        let starts: Vec<usize> = (0..8).map(|i| i * 16_000).collect();
        let rows: Vec<&[f32]> = starts.iter().map(|start| &sound[*start..][..window]).collect();
        let with_plenty = |rows: &[&[f32]]| {
            let (mut ours, mut out) = (engine(environment, bundle, FakePool::new()), Vec::new());
            ours.segment(rows, &mut out).expect("there is memory");
            (ours.board().pool.used_max(), out)
        };
        let ((four, _), (eight, expected)) = (with_plenty(&rows[..4]), with_plenty(&rows));
        // Room for four rows, and not for eight.
        let budget = four.midpoint(eight);
        let board = HostBoard::new(&bundle.manifest, FakePool::new(), budget);
        let mut ours = CudaEngine::load(board, environment, bundle, LIMITS).expect("the networks load");
        // What was there before stays.
        let mut out = vec![7.0];
        ours.segment(&rows, &mut out).expect("four fit");
        assert_eq!(ours.segmentation.rungs.full(), 4, "for good");
        let alike = |out: &[f32]| {
            assert_eq!(out.len(), 1 + expected.len());
            assert!(out[0] == 7.0 && out[1..].iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3));
        };
        alike(&out);

        // Memory runs out when the results are there already, for the place that they are to have from then on.
        let fresh = |limits, budget| {
            let board = HostBoard::new(&bundle.manifest, FakePool::new(), budget);
            CudaEngine::load(board, environment, bundle, limits).expect("the networks load")
        };
        let (mut ours, mut out) = (fresh(LIMITS, eight - 4), vec![7.0]);
        ours.segment(&rows, &mut out).expect("four fit");
        assert_eq!(ours.segmentation.rungs.full(), 4);
        alike(&out);

        // One row alone takes a batch of eight first, and fits where one of four does; where not even that fits, it is an error.
        let need_of_one = |limits| {
            let mut ours = fresh(limits, PLENTY);
            ours.segment(&rows[..1], &mut Vec::new()).expect("there is memory");
            ours.board().pool.used_max()
        };
        let in_four = Limits { segmentation_rows_max: 4, ..LIMITS };
        let mut ours = fresh(LIMITS, need_of_one(LIMITS) - 4);
        ours.segment(&rows[..1], &mut Vec::new()).expect("a batch of four fits");
        assert_eq!(ours.segmentation.rungs.full(), 4);
        let error = fresh(LIMITS, need_of_one(in_four) - 4)
            .segment(&rows[..1], &mut Vec::new())
            .expect_err("a batch of four does not fit");
        assert!(matches!(error, EngineError::OutOfMemory { rows: 1 }), "{error}");

        // The same through the queue, which is what jobs see.
        let (environment, bundle) = (environment.clone(), bundle.clone());
        let factory = move || {
            let board = HostBoard::new(&bundle.manifest, FakePool::new(), budget);
            CudaEngine::load(board, &environment, &bundle, LIMITS)
        };
        let device =
            Device::start(vec![factory], LIMITS).map_err(|error| error.to_string()).expect("it starts");
        let rows = DeviceRows { samples: sound.clone().into(), starts, length: window };
        let answer = device.submit(Which::Segmentation, rows).wait().expect("four rows fit");
        assert_eq!(answer.values.len(), expected.len());
    });
}

#[test]
fn a_network_with_parts_on_the_cpu_is_bound_anew_for_every_batch() {
    for_each_bundle(|environment, bundle| {
        let window = bundle.manifest.segmentation.window_samples as usize;
        let sound = selftest::signal(window + 16_000, 16_000);
        let rows = [&sound[..window], &sound[16_000..]];
        let run = |whole| {
            let mut board = HostBoard::new(&bundle.manifest, FakePool::new(), PLENTY);
            board.whole = whole;
            let mut ours = CudaEngine::load(board, environment, bundle, LIMITS).expect("the networks load");
            let (waited, taken) = (ours.board().waited, ours.board().pool.allocations());
            let mut out = Vec::new();
            rows.iter().for_each(|row| ours.segment(&[row], &mut out).expect("it runs"));
            (ours.board().waited - waited, ours.board().pool.allocations() - taken, out)
        };
        let ((once, kept, ours), (each, taken, theirs)) = (run(true), run(false));
        assert_eq!((once, each), (0, rows.len()));
        assert_eq!(kept, taken + 1, "an output that is bound again and again has a place of its own");
        assert_eq!(ours, theirs);
    });
}

#[test]
fn a_lost_device_ends_the_lane() {
    for_each_bundle(|environment, bundle| {
        let window = bundle.manifest.segmentation.window_samples as usize;
        let sound: std::sync::Arc<[f32]> = selftest::signal(window, 16_000).into();
        let (environment, bundle) = (environment.clone(), bundle.clone());
        // Loading may allocate; the 30th allocation comes with the first rows at the latest.
        let factory = move || {
            let mut engine = engine(&environment, &bundle, FakePool::new());
            let taken = engine.board().pool.allocations();
            let pool = FakePool::failing(u64::MAX, taken + 1);
            Ok::<_, ()>(self::engine(&environment, &bundle, pool))
        };
        let device = Device::start(vec![factory], LIMITS).expect("it starts");
        let rows = || DeviceRows { samples: sound.clone(), starts: vec![0], length: window };
        let first = device.submit(Which::Segmentation, rows()).wait();
        assert!(
            matches!(first, Err(crate::device::handle::DeviceError::Engine(e)) if matches!(*e, EngineError::Lost { .. }))
        );
        let stopped = (0..100_000).any(|_| {
            let again = device.submit(Which::Segmentation, rows()).wait();
            matches!(again, Err(crate::device::handle::DeviceError::Stopped))
        });
        assert!(stopped);
    });
}

//! Both networks of the starter bundle, through the engine, against torch.

use common::home::Home;
use tests::npz::read_npz;
use tests::shared::shared;
use worker::device::bundle::Bundle;
use worker::device::engine::Engine;
use worker::device::ort::engine::CpuEngine;
use worker::device::ort::library;
use worker::diarize::powerset::Powerset;

use crate::features::clip;

/// The engine over the installed starter bundle. `tests/run.sh` installs it first, so absence is a failure.
fn engine() -> CpuEngine {
    let home = Home::from_environment(|name| std::env::var(name).ok()).expect("a home folder");
    let environment =
        library::environment(&library::expected_path(&home)).expect("ONNX Runtime is installed");
    let bundle = Bundle::open("starter", &home).expect("the starter bundle is installed");
    CpuEngine::load(&environment, &bundle).expect("the starter bundle loads")
}

#[test]
fn segmentation_matches_torch() {
    let mut engine = engine();
    let powerset = Powerset::new(3, 2);
    let (mut frames, mut different) = (0, 0);
    for name in ["trn00", "dev00", "sample"] {
        let (Some(samples), Some(path)) = (clip(name), shared(&format!("reference/{name}.segmentation.npz")))
        else {
            return;
        };
        let reference = read_npz(&path);
        let starts = &reference["chunk_start_sample"].values;
        let rows: Vec<&[f32]> = starts.iter().map(|s| &samples[*s as usize..][..160_000]).collect();
        let mut scores = Vec::new();
        engine.segment(&rows, &mut scores).expect("the network runs");
        let worst = scores
            .iter()
            .zip(&reference["logp"].values)
            .map(|(a, b)| (f64::from(*a).exp() - b.exp()).abs())
            .fold(0.0, f64::max);
        assert!(worst < 1e-3, "{name}: probabilities differ by {worst}");
        let mut masks = Vec::new();
        powerset.decode(&scores, &mut masks);
        for (mask, hard) in masks.iter().zip(reference["hard"].values.chunks_exact(3)) {
            frames += 1;
            different += usize::from((0..3).any(|k| (mask >> k & 1 == 1) != (hard[k] > 0.5)));
        }
    }
    assert_eq!(frames, 37_107);
    assert!(different <= 4, "{different} of {frames} frames decided differently");
}

#[test]
fn embeddings_match_torch() {
    let mut engine = engine();
    for name in ["trn00", "dev00", "sample"] {
        let (Some(samples), Some(path)) = (clip(name), shared(&format!("reference/{name}.campplus.npz")))
        else {
            return;
        };
        let reference = read_npz(&path);
        let starts = &reference["start_sample"].values;
        let rows: Vec<&[f32]> = starts.iter().map(|s| &samples[*s as usize..][..24_000]).collect();
        let mut out = Vec::new();
        engine.embed(&rows, &mut out).expect("the network runs");
        for (i, embedding) in out.chunks_exact(192).enumerate() {
            let truth = reference["embedding"].row(i);
            let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
            for (x, y) in embedding.iter().zip(truth) {
                dot += f64::from(*x) * y;
                a += f64::from(*x).powi(2);
                b += y * y;
            }
            let distance = 1.0 - dot / (a * b).sqrt();
            assert!(distance < 1e-5, "{name}, window {i}: 1 - cosine = {distance}");
        }
    }
}

#[test]
fn a_row_alone_equals_the_row_in_any_batch() {
    let mut engine = engine();
    let noise = |seed: usize, n: usize| -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 65_521) as f32 / 65_521.0 - 0.5).collect()
    };
    let windows: Vec<Vec<f32>> = (0..16).map(|s| noise(s, 24_000)).collect();
    let chunks: Vec<Vec<f32>> = (0..8).map(|s| noise(s + 50, 160_000)).collect();
    let mut run = |network: usize, rows: &[&[f32]]| {
        let mut out = Vec::new();
        match network {
            0 => engine.segment(rows, &mut out),
            _ => engine.embed(rows, &mut out),
        }
        .expect("the network runs");
        out
    };
    for (network, rows) in [(0, &chunks), (1, &windows)] {
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let alone: Vec<f32> = rows.iter().flat_map(|r| run(network, &[r])).collect();
        for batch in [2, 5, rows.len()] {
            let together: Vec<f32> = rows.chunks(batch).flat_map(|b| run(network, b)).collect();
            assert!(alone == together, "network {network} in batches of {batch} gives other bits");
        }
    }
}

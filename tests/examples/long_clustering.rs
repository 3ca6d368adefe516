//! Clustering and reconstruction of a made-up recording of many hours with a frame-level bundle: time, and the largest
//! resident memory of the process.
//!
//! `cargo run --release -p tests --example long_clustering -- HOURS SPEAKERS`. Speakers take turns of 2 to 12 s, drawn from
//! a fixed generator; embeddings are a voice of length 256, a chunk's own colour, and noise. The PLDA is made up too.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use common::model::manifest::{Clustering, Manifest, SCHEMA, TrunkSpan};
use provision::recipe::community1;
use tests::numpy_random::NumpyRandom;
use worker::diarize::cluster::plda::{Plda, PldaArrays};
use worker::diarize::masks::active;
use worker::diarize::observations::Observations;
use worker::diarize::pipeline::Pipeline;
use worker::diarize::speaker_limits::SpeakerLimits;

const DIMENSION: usize = 256;
const PROJECTED: usize = 128;
/// Noise of an embedding against its voice.
const NOISE: f64 = 0.6;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let hours: f64 = arguments.next().context("usage: long_clustering HOURS SPEAKERS")?.parse()?;
    let speakers: usize = arguments.next().context("usage: long_clustering HOURS SPEAKERS")?.parse()?;
    let mut random = NumpyRandom::new(7);
    let seen = recording(&mut random, (hours * 3_600.0) as usize, speakers);
    println!(
        "{hours} h, {speakers} voices: {} chunks, {} local speakers; resident before {} MB",
        seen.activity.len(),
        seen.locals.len(),
        status("VmRSS")?
    );
    let manifest = Manifest {
        schema: SCHEMA.to_owned(),
        name: community1::NAME.to_owned(),
        version: "0".to_owned(),
        files: Vec::new(),
        segmentation: community1::segmentation_geometry(),
        embedding: community1::embedding_geometry(TrunkSpan::Chunk),
        clustering: Clustering::Vbx(community1::vbx()),
        voices: Default::default(),
        selftest: None,
    };
    let linkage = Manifest { clustering: Clustering::Ahc(community1::ahc()), ..manifest.clone() };
    for (method, manifest) in [("vbx", manifest), ("ahc", linkage)] {
        let pipeline = Pipeline::new(&manifest, Some(Arc::new(plda(&mut random)?)))?;
        let began = Instant::now();
        let found = pipeline.diarize(&seen, SpeakerLimits::default()).diarization;
        println!(
            "{method}: {} speakers, {} turns in {:.1} s; largest resident {} MB",
            found.speakers(),
            found.turns().len(),
            began.elapsed().as_secs_f64(),
            status("VmHWM")?
        );
    }
    Ok(())
}

/// Chunks of 10 s every second over a timeline of turns.
fn recording(random: &mut NumpyRandom, seconds: usize, speakers: usize) -> Observations {
    let voices: Vec<Vec<f64>> =
        (0..speakers).map(|_| (0..DIMENSION).map(|_| random.normal()).collect()).collect();
    // Who speaks in each activity frame, one at a time; some frames nobody.
    let frames = (seconds as f64 / 0.016_875) as usize + 1;
    let mut who: Vec<Option<usize>> = Vec::with_capacity(frames);
    while who.len() < frames {
        let speaker = (random.unit() * speakers as f64) as usize % speakers;
        let turn = (random.uniform(2.0, 12.0) / 0.016_875) as usize;
        who.extend(std::iter::repeat_n(Some(speaker), turn));
        who.extend(std::iter::repeat_n(None, (random.uniform(0.1, 1.0) / 0.016_875) as usize));
    }
    let mut seen = Observations::new(DIMENSION);
    seen.samples = seconds * 16_000;
    for chunk in 0..seconds.saturating_sub(9) {
        let first = (chunk as f64 / 0.016_875).round() as usize;
        let part = &who[first..(first + 589).min(who.len())];
        let mut locals: Vec<usize> = Vec::new();
        let masks: Vec<u8> = part
            .iter()
            .map(|speaker| {
                let Some(speaker) = speaker else { return 0 };
                let local = locals.iter().position(|l| l == speaker).unwrap_or_else(|| {
                    locals.push(*speaker);
                    locals.len() - 1
                });
                if local < 3 { 1 << local } else { 0 }
            })
            .collect();
        for local in active(&masks) {
            let voice = &voices[locals[local]];
            let embedding: Vec<f32> = voice.iter().map(|v| (v + NOISE * random.normal()) as f32).collect();
            seen.locals.push(chunk, local, &embedding);
        }
        seen.activity.push(masks);
    }
    seen
}

/// A PLDA that keeps half of the axes: voices scatter by 1, noise by its own size.
fn plda(random: &mut NumpyRandom) -> Result<Plda> {
    let mut lda = vec![0.0; DIMENSION * PROJECTED];
    (0..PROJECTED).for_each(|i| lda[i * PROJECTED + i] = 1.0);
    let mut tr = vec![0.0; PROJECTED * PROJECTED];
    (0..PROJECTED).for_each(|i| tr[i * PROJECTED + i] = 1.5);
    Ok(Plda::new(PldaArrays {
        mean1: vec![0.0; DIMENSION],
        mean2: vec![0.0; PROJECTED],
        lda,
        mu: (0..PROJECTED).map(|_| 0.01 * random.normal()).collect(),
        tr,
        psi: (0..PROJECTED).map(|i| 6.0 / (1.0 + i as f64 / 16.0)).collect(),
    })?)
}

/// A field of `/proc/self/status`, in units of 10⁶ bytes.
fn status(field: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(field)).context("no such field")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1_024 / 1_000_000)
}

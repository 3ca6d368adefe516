//! The trunk of a community-1 bundle over each chunk, and over the recording once with a sliding mean: how near their
//! numbers are, and what each costs.
//!
//! `cargo run --release -p tests --example trunk_spans -- BUNDLE AUDIO.wav`: any bundle of community-1 (the span of its
//! manifest does not matter), 16 kHz mono WAV of 16 bits. One lane, batches of one.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use common::home::Home;
use common::model::manifest::{EmbeddingKind, RecordingSpan};
use worker::device::bundle::Bundle;
use worker::device::engine::Engine;
use worker::device::ort::engine::CpuEngine;
use worker::device::ort::library;
use worker::diarize::fbank::{Fbank, subtract_mean};
use worker::diarize::masks::{active, pooling_weights};
use worker::diarize::powerset::Powerset;
use worker::diarize::sliding::{SlidingFeatures, block, step_weights};

/// Features centred over ten seconds, in blocks of thirty.
const SPAN: RecordingSpan = RecordingSpan { mean_frames: 1_000, block_frames: 3_000 };

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, audio] = arguments.as_slice() else { bail!("usage: trunk_spans BUNDLE AUDIO.wav") };
    let home = Home::from_environment(|name| std::env::var(name).ok()).context("no ROLLCALL_HOME")?;
    let bundle = Bundle::open(bundle, &home)?;
    let environment = library::environment(&library::expected_path(&home))?;
    let mut engine = CpuEngine::load(&environment, &bundle)?;
    let samples = wav(Path::new(audio))?;
    let found = Spans::measure(&mut engine, &bundle, &samples)?;
    found.report(samples.len() as f64 / 16_000.0);
    Ok(())
}

/// Samples of a 16-bit WAV file whose header has 44 bytes.
fn wav(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let data = bytes.get(44..).context("too short for a WAV file")?;
    Ok(data.as_chunks::<2>().0.iter().map(|b| f32::from(i16::from_le_bytes(*b)) / 32_768.0).collect())
}

/// Cosines of both ways.
#[derive(Default)]
struct Spans {
    /// Trunk output at steps that see beyond their chunk, and at all others.
    border: Vec<f64>,
    inside: Vec<f64>,
    /// Embeddings of chunks on the trunk's grid, and between two of its steps.
    on_grid: Vec<f64>,
    off_grid: Vec<f64>,
    exact_s: f64,
    sliding_s: f64,
    chunks: usize,
}

impl Spans {
    fn measure(engine: &mut CpuEngine, bundle: &Bundle, samples: &[f32]) -> Result<Self> {
        let m = &bundle.manifest;
        let s = &m.segmentation;
        let EmbeddingKind::FrameLevel {
            trunk_channels,
            trunk_steps,
            step_frames,
            context_frames,
            clean_frames_min,
            ..
        } = &m.embedding.kind
        else {
            bail!("not a frame-level bundle")
        };
        let (channels, steps, stride) =
            (*trunk_channels as usize, *trunk_steps as usize, *step_frames as usize);
        let context = *context_frames as usize;
        let feature = m.embedding.feature.as_ref().context("no features")?;
        let bins = feature.mel_bins as usize;
        let mut spans = Self::default();

        // Once over the recording: `[steps][channels]`.
        let began = Instant::now();
        let mut sliding = SlidingFeatures::new(feature, s.sample_rate_hz, SPAN);
        let mut centred = Vec::new();
        sliding.push(samples, &mut centred);
        sliding.finish(&mut centred);
        let frames = centred.len() / bins;
        let mut all: Vec<Vec<f32>> = Vec::new();
        for index in 0..frames.div_ceil(SPAN.block_frames as usize) {
            let block = block(index, SPAN.block_frames as usize, context, stride, frames);
            let mut out = Vec::new();
            engine.trunk(&[&centred[block.frames.start * bins..block.frames.end * bins]], &mut out)?;
            let width = out.len() / channels;
            all.extend(
                (block.skip..block.skip + block.steps.len())
                    .map(|step| (0..channels).map(|channel| out[channel * width + step]).collect()),
            );
        }
        spans.sliding_s += began.elapsed().as_secs_f64();

        let powerset = Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize);
        let mut fbank = Fbank::new(feature, s.sample_rate_hz);
        let window = s.window_samples as usize;
        for chunk in 0..=(samples.len() - window) / s.step_samples as usize {
            let start = chunk * s.step_samples as usize;
            let row = &samples[start..start + window];
            let (mut scores, mut masks) = (Vec::new(), Vec::new());
            engine.segment(&[row], &mut scores)?;
            powerset.decode(&scores, &mut masks);
            let locals = s.local_speakers as usize;
            let weights: Vec<Vec<f32>> =
                (0..locals).map(|l| pooling_weights(&masks, l, *clean_frames_min as usize)).collect();
            // Over the chunk.
            let began = Instant::now();
            let mut features = vec![0.0; fbank.frames(window) * bins];
            fbank.compute(row, &mut features);
            subtract_mean(&mut features, bins);
            let (mut own, mut exact) = (Vec::new(), Vec::new());
            engine.trunk(&[&features], &mut own)?;
            engine.pool(&[&own], &[&weights.concat()], &mut exact)?;
            spans.exact_s += began.elapsed().as_secs_f64();
            // From the recording's.
            let began = Instant::now();
            let frame = start / feature.frame_step_samples as usize;
            let first = frame.div_ceil(stride);
            let range = first..first + steps;
            let mut gathered = Vec::with_capacity(channels * steps);
            (0..channels).for_each(|c| gathered.extend(range.clone().map(|step| all[step][c])));
            let of_steps: Vec<f32> =
                weights.iter().flat_map(|w| step_weights(w, frame, range.clone(), stride, steps)).collect();
            let mut near = Vec::new();
            engine.pool(&[&gathered], &[&of_steps], &mut near)?;
            spans.sliding_s += began.elapsed().as_secs_f64();
            spans.chunks += 1;

            let on_grid = frame.is_multiple_of(stride);
            if on_grid {
                for step in 0..steps {
                    let at = |values: &[f32]| -> Vec<f32> {
                        (0..channels).map(|c| values[c * steps + step]).collect()
                    };
                    let cosine = cosine(&at(&own), &at(&gathered));
                    let border = context / stride;
                    if step < border || step + border >= steps {
                        &mut spans.border
                    } else {
                        &mut spans.inside
                    }
                    .push(cosine);
                }
            }
            let dimension = m.embedding.dimension as usize;
            for local in active(&masks) {
                let of = |values: &[f32]| values[local * dimension..(local + 1) * dimension].to_vec();
                let cosine = cosine(&of(&exact), &of(&near));
                if on_grid { &mut spans.on_grid } else { &mut spans.off_grid }.push(cosine);
            }
        }
        Ok(spans)
    }

    fn report(mut self, audio_s: f64) {
        let line = |what: &str, values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            let at =
                |share: f64| values.get((share * values.len() as f64) as usize).copied().unwrap_or(f64::NAN);
            println!(
                "{what}: {} cosines, mean {mean:.5}, 1st percentile {:.5}, worst {:.5}",
                values.len(),
                at(0.01),
                at(0.0)
            );
        };
        line("trunk output, steps that see beyond the chunk", &mut self.border);
        line("trunk output, steps inside", &mut self.inside);
        line("embeddings, chunks on the trunk's grid", &mut self.on_grid);
        line("embeddings, chunks between two steps", &mut self.off_grid);
        println!(
            "{audio_s:.1} s of audio, {} chunks: over each chunk {:.2} s ({:.1}x real time), over the recording {:.2} s ({:.1}x), {:.1} times less",
            self.chunks,
            self.exact_s,
            audio_s / self.exact_s,
            self.sliding_s,
            audio_s / self.sliding_s,
            self.exact_s / self.sliding_s
        );
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let inner =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum() };
    inner(a, b) / (inner(a, a) * inner(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

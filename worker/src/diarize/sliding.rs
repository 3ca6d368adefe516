//! Features of a whole recording, centred over a sliding span, in blocks for a frame-level trunk.
//!
//! Frames come out centred as soon as the span around them has been heard. A block is what goes through the trunk at once:
//! its frames, and on both sides those that its steps depend on, so that blocks join without a seam.

use std::collections::VecDeque;
use std::ops::Range;

use common::model::manifest::{Feature, RecordingSpan};

use super::fbank::Fbank;

/// Features of a recording as it goes by.
pub struct SlidingFeatures {
    fbank: Fbank,
    frame: usize,
    frame_step: usize,
    span: usize,
    /// Samples not yet used up.
    samples: Vec<f32>,
    /// Frames as they are, from frame `first` on.
    raw: VecDeque<Vec<f32>>,
    first: usize,
    /// Sum over the span of the frame that comes out next, and where that span lies.
    sums: Vec<f64>,
    summed: Range<usize>,
    /// The frame that comes out next.
    next: usize,
}

impl SlidingFeatures {
    /// At the start of a recording.
    #[must_use]
    pub fn new(feature: &Feature, rate_hz: u32, span: RecordingSpan) -> Self {
        Self {
            fbank: Fbank::new(feature, rate_hz),
            frame: feature.frame_samples as usize,
            frame_step: feature.frame_step_samples as usize,
            span: span.mean_frames as usize,
            samples: Vec::new(),
            raw: VecDeque::new(),
            first: 0,
            sums: vec![0.0; feature.mel_bins as usize],
            summed: 0..0,
            next: 0,
        }
    }

    /// Frames heard so far.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.first + self.raw.len()
    }

    /// Takes samples, and appends the frames that are centred by now to `out`.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.samples.extend_from_slice(samples);
        let frames = self.fbank.frames(self.samples.len());
        let bins = self.fbank.bins();
        let mut features = vec![0.0; frames * bins];
        let used = if frames == 0 { 0 } else { (frames - 1) * self.frame_step + self.frame };
        self.fbank.compute(&self.samples[..used], &mut features);
        self.raw.extend(features.chunks_exact(bins).map(<[f32]>::to_vec));
        self.samples.drain(..frames * self.frame_step);
        while self.next < self.heard() && self.start_of(self.next) + self.span <= self.heard() {
            let start = self.start_of(self.next);
            self.emit(start..start + self.span, out);
        }
    }

    /// Ends the recording: appends what is left. The last frames are centred over the last span.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let start = self.heard().saturating_sub(self.span);
        while self.next < self.heard() {
            self.emit(self.start_of(self.next).min(start)..self.heard().min(start + self.span), out);
        }
    }

    /// Where the span around a frame starts; at the recording's start it cannot reach back.
    fn start_of(&self, frame: usize) -> usize {
        frame.saturating_sub(self.span / 2)
    }

    /// Centres the next frame over `span`; spans only ever move forwards.
    fn emit(&mut self, span: Range<usize>, out: &mut Vec<f32>) {
        while self.summed.end < span.end {
            let frame = &self.raw[self.summed.end - self.first];
            self.sums.iter_mut().zip(frame).for_each(|(s, v)| *s += f64::from(*v));
            self.summed.end += 1;
        }
        while self.summed.start < span.start {
            let frame = &self.raw[self.summed.start - self.first];
            self.sums.iter_mut().zip(frame).for_each(|(s, v)| *s -= f64::from(*v));
            self.summed.start += 1;
        }
        let count = span.len() as f64;
        let frame = &self.raw[self.next - self.first];
        out.extend(frame.iter().zip(&self.sums).map(|(v, sum)| (f64::from(*v) - sum / count) as f32));
        self.next += 1;
        let keep = self.next.min(self.summed.start);
        while self.first < keep {
            self.raw.pop_front();
            self.first += 1;
        }
    }
}

/// One run of the trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Feature frames that go in.
    pub frames: Range<usize>,
    /// Steps of the recording that come out and are kept.
    pub steps: Range<usize>,
    /// Steps that come out before those.
    pub skip: usize,
}

/// Block `index` of a recording with `frames` feature frames in all; its last block ends with it.
#[must_use]
pub fn block(index: usize, block_frames: usize, context: usize, step: usize, frames: usize) -> Block {
    let kept = index * block_frames..((index + 1) * block_frames).min(frames);
    let from = kept.start.saturating_sub(context);
    Block {
        frames: from..(kept.end + context).min(frames),
        steps: kept.start / step..kept.end.div_ceil(step),
        skip: (kept.start - from) / step,
    }
}

/// What each of the steps from `first` on counts, when a chunk's activity frames count `weights`. Step `i` of the recording
/// lies at feature frame `i * step_frames`, the chunk begins at feature frame `chunk_frame` and has `trunk_steps` steps.
///
/// On the chunk's own grid this is torch's nearest interpolation; between two of its steps, the frame in between.
#[must_use]
pub fn step_weights(
    weights: &[f32],
    chunk_frame: usize,
    steps: Range<usize>,
    step_frames: usize,
    trunk_steps: usize,
) -> Vec<f32> {
    let scale = weights.len() as f32 / trunk_steps as f32;
    steps
        .map(|step| {
            let offset = (step * step_frames - chunk_frame) as f32 / step_frames as f32;
            let frame = (offset * scale).floor() as usize;
            weights.get(frame.min(weights.len().saturating_sub(1))).copied().unwrap_or(0.0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::masks::to_steps;
    use common::model::manifest::Taper;

    fn feature() -> Feature {
        Feature {
            mel_bins: 20,
            frame_samples: 400,
            frame_step_samples: 160,
            sample_scale: 32_768.0,
            taper: Taper::Hamming,
            low_hz: 20.0,
            high_hz: 8_000.0,
        }
    }

    fn noise(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + i / 1000) % 65_521) as f32 / 65_521.0 - 0.5).collect()
    }

    /// All features at once, each centred over its span.
    fn textbook(samples: &[f32], span: usize) -> Vec<f64> {
        let mut fbank = Fbank::new(&feature(), 16_000);
        let n = fbank.frames(samples.len());
        let mut raw = vec![0.0; n * 20];
        fbank.compute(samples, &mut raw);
        let mut out = Vec::new();
        for frame in 0..n {
            let start = frame.saturating_sub(span / 2).min(n.saturating_sub(span));
            let rows = start..(start + span).min(n);
            for bin in 0..20 {
                let mean =
                    rows.clone().map(|r| f64::from(raw[r * 20 + bin])).sum::<f64>() / rows.len() as f64;
                out.push(f64::from(raw[frame * 20 + bin]) - mean);
            }
        }
        out
    }

    #[test]
    fn frames_are_centred_over_the_span_around_them() {
        for (n, span) in [(100_000, 100), (100_000, 101), (9_000, 1_000), (399, 10), (16_159, 99)] {
            let samples = noise(n);
            for piece in [777, 16_000] {
                let span = RecordingSpan { mean_frames: span as u32, block_frames: 8 };
                let mut sliding = SlidingFeatures::new(&feature(), 16_000, span);
                let mut out = Vec::new();
                for piece in samples.chunks(piece) {
                    sliding.push(piece, &mut out);
                    assert!(sliding.raw.len() <= 2 * span.mean_frames as usize + 200, "memory stays bounded");
                }
                sliding.finish(&mut out);
                let slow = textbook(&samples, span.mean_frames as usize);
                assert_eq!(out.len(), slow.len());
                for (fast, slow) in out.iter().zip(slow) {
                    assert!((f64::from(*fast) - slow).abs() < 1e-4, "{fast} and {slow}");
                }
            }
        }
    }

    #[test]
    fn blocks_cover_every_step_once() {
        for frames in [1, 7, 8, 240, 241, 1_000, 5_003] {
            let mut next = 0;
            for index in 0..usize::div_ceil(frames, 240) {
                let block = block(index, 240, 112, 8, frames);
                assert_eq!((block.steps.start, block.frames.start % 8), (next, 0));
                assert_eq!(block.frames.start / 8 + block.skip, block.steps.start);
                assert!(block.frames.start + 112 <= block.steps.start * 8 || block.frames.start == 0);
                assert!(block.frames.end >= (block.steps.end * 8 + 104).min(frames));
                next = block.steps.end;
            }
            assert_eq!(next, frames.div_ceil(8));
        }
    }

    #[test]
    fn on_the_chunks_own_grid_weights_are_those_of_the_chunk() {
        let weights: Vec<f32> = (0..589).map(|i| i as f32).collect();
        let mut own = Vec::new();
        to_steps(&weights, 125, &mut own);
        assert_eq!(step_weights(&weights, 0, 0..125, 8, 125), own);
        assert_eq!(step_weights(&weights, 200, 25..150, 8, 125), own);
        // A chunk at frame 100 begins between steps 12 and 13: its first step is half a step in.
        let between = step_weights(&weights, 100, 13..138, 8, 125);
        assert_eq!((between[0], between[1], between[124]), (2.0, 7.0, 586.0));
    }
}

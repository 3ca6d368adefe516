//! Kaldi-style log-mel filter banks.
//!
//! Frames of 25 ms every 10 ms, whole frames only; per frame: subtract its mean, pre-emphasise, taper, zero-pad to a
//! power of two, power spectrum, triangles equally spaced and linear in mel, natural logarithm with a floor. No
//! dither. The parameters come from the manifest; golden tests hold the result against kaldi-native-fbank.

use std::sync::Arc;

use common::model::manifest::{Feature, Taper};
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

/// Kaldi's `preemphasis_coefficient`.
const PRE_EMPHASIS: f32 = 0.97;
/// Kaldi's floor inside the logarithm: the smallest positive step of `f32` at 1.
const ENERGY_FLOOR: f32 = f32::EPSILON;

/// One mel triangle: its first spectrum bin and its weights from there on.
struct Triangle {
    first_bin: usize,
    weights: Vec<f32>,
}

/// What an extractor computes with.
#[derive(Debug, Clone)]
pub struct Tables<'a> {
    /// Samples of a frame.
    pub frame: usize,
    /// Samples from one frame to the next.
    pub frame_step: usize,
    /// Length of the transform, a power of two.
    pub fft_size: usize,
    /// Factor applied to samples.
    pub scale: f32,
    /// Weight of each sample of a frame.
    pub taper: &'a [f32],
    /// For each mel bin its first spectrum bin and its weights from there on.
    pub triangles: Vec<(usize, &'a [f32])>,
}

/// Computes features; keeps its buffers, so that a frame allocates nothing.
pub struct Fbank {
    frame: usize,
    frame_step: usize,
    scale: f32,
    taper: Vec<f32>,
    triangles: Vec<Triangle>,
    fft: Arc<dyn RealToComplex<f32>>,
    padded: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
    power: Vec<f32>,
}

impl Fbank {
    /// An extractor for the features of a bundle at a sample rate.
    #[must_use]
    pub fn new(feature: &Feature, rate_hz: u32) -> Self {
        let frame = feature.frame_samples as usize;
        let fft_size = frame.next_power_of_two();
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(fft_size);
        Self {
            frame,
            frame_step: feature.frame_step_samples as usize,
            scale: feature.sample_scale,
            taper: taper(feature.taper, frame),
            triangles: triangles(feature, rate_hz, fft_size),
            padded: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            power: vec![0.0; fft_size / 2],
            fft,
        }
    }

    /// The numbers that frames are computed with, for whoever computes them elsewhere.
    #[must_use]
    pub fn tables(&self) -> Tables<'_> {
        Tables {
            frame: self.frame,
            frame_step: self.frame_step,
            fft_size: 2 * self.power.len(),
            scale: self.scale,
            taper: &self.taper,
            triangles: self.triangles.iter().map(|t| (t.first_bin, t.weights.as_slice())).collect(),
        }
    }

    /// Mel bins of a frame.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.triangles.len()
    }

    /// Whole frames in `samples` samples.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        if samples < self.frame { 0 } else { 1 + (samples - self.frame) / self.frame_step }
    }

    /// Features of samples in [-1, 1], row-major `[frames, bins]`, without mean subtraction.
    ///
    /// # Panics
    /// When `out` is not `frames(samples.len()) * bins()` long.
    pub fn compute(&mut self, samples: &[f32], out: &mut [f32]) {
        let (frames, bins) = (self.frames(samples.len()), self.bins());
        assert_eq!(out.len(), frames * bins, "the output holds every frame");
        for (index, row) in out.chunks_exact_mut(bins).enumerate() {
            let start = index * self.frame_step;
            self.frame_features(&samples[start..start + self.frame], row);
        }
    }

    fn frame_features(&mut self, samples: &[f32], row: &mut [f32]) {
        let mean = samples.iter().map(|s| f64::from(*s)).sum::<f64>() / samples.len() as f64;
        let mean = mean as f32 * self.scale;
        let mut previous = samples[0] * self.scale - mean;
        for ((slot, sample), weight) in self.padded.iter_mut().zip(samples).zip(&self.taper) {
            let centred = sample * self.scale - mean;
            *slot = (centred - PRE_EMPHASIS * previous) * weight;
            previous = centred;
        }
        self.padded[self.frame..].fill(0.0);
        self.fft
            .process_with_scratch(&mut self.padded, &mut self.spectrum, &mut self.scratch)
            .expect("the buffers were made by this plan");
        for (power, bin) in self.power.iter_mut().zip(&self.spectrum) {
            *power = bin.norm_sqr();
        }
        for (value, triangle) in row.iter_mut().zip(&self.triangles) {
            let bins = &self.power[triangle.first_bin..triangle.first_bin + triangle.weights.len()];
            let energy: f32 = bins.iter().zip(&triangle.weights).map(|(p, w)| p * w).sum();
            *value = energy.max(ENERGY_FLOOR).ln();
        }
    }
}

/// Subtracts from each mel bin its mean over all frames of a row-major `[frames, bins]` block.
pub fn subtract_mean(features: &mut [f32], bins: usize) {
    let frames = features.len() / bins;
    if frames == 0 {
        return;
    }
    let mut mean = vec![0f64; bins];
    for row in features.chunks_exact(bins) {
        for (m, value) in mean.iter_mut().zip(row) {
            *m += f64::from(*value);
        }
    }
    for row in features.chunks_exact_mut(bins) {
        for (value, m) in row.iter_mut().zip(&mean) {
            *value = (f64::from(*value) - m / frames as f64) as f32;
        }
    }
}

fn taper(kind: Taper, length: usize) -> Vec<f32> {
    let angle = std::f64::consts::TAU / (length - 1) as f64;
    (0..length)
        .map(|i| {
            let cosine = (angle * i as f64).cos();
            match kind {
                Taper::Povey => (0.5 - 0.5 * cosine).powf(0.85) as f32,
                Taper::Hamming => (0.54 - 0.46 * cosine) as f32,
            }
        })
        .collect()
}

/// The mel scale of Kaldi (and HTK): `1127 ln(1 + f / 700)`.
fn mel(hz: f64) -> f64 {
    1127.0 * (hz / 700.0).ln_1p()
}

fn triangles(feature: &Feature, rate_hz: u32, fft_size: usize) -> Vec<Triangle> {
    let (low, high) = (mel(feature.low_hz.into()), mel(feature.high_hz.into()));
    let step = (high - low) / f64::from(feature.mel_bins + 1);
    (0..feature.mel_bins)
        .map(|bin| {
            let left = low + f64::from(bin) * step;
            // The Nyquist bin has no weight in Kaldi, hence fft_size / 2 bins.
            let weight = |k: usize| {
                let m = mel(k as f64 * f64::from(rate_hz) / fft_size as f64);
                ((m - left) / step).min((left + 2.0 * step - m) / step).max(0.0)
            };
            let first_bin = (0..fft_size / 2).find(|&k| weight(k) > 0.0).unwrap_or(0);
            let weights =
                (first_bin..fft_size / 2).map(weight).take_while(|w| *w > 0.0).map(|w| w as f32).collect();
            Triangle { first_bin, weights }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn povey() -> Feature {
        Feature {
            mel_bins: 80,
            frame_samples: 400,
            frame_step_samples: 160,
            sample_scale: 1.0,
            taper: Taper::Povey,
            low_hz: 20.0,
            high_hz: 8000.0,
        }
    }

    /// The textbook form: a discrete Fourier transform by its definition, all in f64.
    fn textbook(samples: &[f32], feature: &Feature) -> Vec<f64> {
        let n = feature.frame_samples as usize;
        let taper = taper(feature.taper, n);
        let frames = 1 + (samples.len() - n) / feature.frame_step_samples as usize;
        let mut out = Vec::new();
        for t in 0..frames {
            let frame = &samples[t * feature.frame_step_samples as usize..][..n];
            let mean = frame.iter().map(|s| f64::from(*s)).sum::<f64>() / n as f64;
            let x: Vec<f64> =
                frame.iter().map(|s| (f64::from(*s) - mean) * f64::from(feature.sample_scale)).collect();
            let y: Vec<f64> = (0..n).map(|i| (x[i] - 0.97 * x[i.max(1) - 1]) * f64::from(taper[i])).collect();
            let power: Vec<f64> = (0..256)
                .map(|k| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (i, v) in y.iter().enumerate() {
                        let a = std::f64::consts::TAU * (k * i) as f64 / 512.0;
                        re += v * a.cos();
                        im -= v * a.sin();
                    }
                    re * re + im * im
                })
                .collect();
            let (low, high) = (mel(20.0), mel(8000.0));
            let step = (high - low) / 81.0;
            for b in 0..80 {
                let left = low + f64::from(b) * step;
                let energy: f64 = (0..256)
                    .map(|k| {
                        let m = mel(k as f64 * 31.25);
                        ((m - left) / step).min((left + 2.0 * step - m) / step).max(0.0) * power[k]
                    })
                    .sum();
                out.push(energy.max(f64::from(f32::EPSILON)).ln());
            }
        }
        out
    }

    #[test]
    fn matches_the_textbook() {
        // A chirp over some noise: a pure tone leaves bins so empty that only the rounding of f32 is compared.
        let noise = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
        let samples: Vec<f32> =
            (0..1200).map(|i| ((i * i) as f32 * 0.001).sin() * 0.3 + 0.1 + 0.3 * noise(i)).collect();
        for (scale, taper) in [(1.0, Taper::Povey), (32768.0, Taper::Hamming)] {
            let feature = Feature { sample_scale: scale, taper, ..povey() };
            let mut fbank = Fbank::new(&feature, 16_000);
            let mut out = vec![0.0; fbank.frames(samples.len()) * 80];
            fbank.compute(&samples, &mut out);
            for (fast, slow) in out.iter().zip(textbook(&samples, &feature)) {
                assert!((f64::from(*fast) - slow).abs() < 1e-3, "{fast} against {slow}");
            }
        }
    }

    #[test]
    fn whole_frames_only() {
        let fbank = Fbank::new(&povey(), 16_000);
        let frames: Vec<_> =
            [0, 399, 400, 559, 560, 24_000, 160_000].iter().map(|&n| fbank.frames(n)).collect();
        assert_eq!(frames, [0, 0, 1, 1, 2, 148, 998]);
    }

    #[test]
    fn silence_sits_on_the_floor_and_means_vanish() {
        let mut fbank = Fbank::new(&povey(), 16_000);
        let mut out = vec![0.0; 148 * 80];
        fbank.compute(&[0.0; 24_000], &mut out);
        assert!(out.iter().all(|v| (v - ENERGY_FLOOR.ln()).abs() < 1e-6));
        subtract_mean(&mut out, 80);
        assert!(out.iter().all(|v| v.abs() < 1e-6));
    }
}

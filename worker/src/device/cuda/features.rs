//! The numbers that `fbank.cu` computes features with, pure.

use crate::diarize::fbank::Fbank;

/// Tables of an extractor, as the kernel reads them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    /// Factor applied to samples.
    pub scale: f32,
    /// Mel bins.
    pub bins: usize,
    /// Weight of each sample of a frame.
    pub taper: Vec<f32>,
    /// Cosine and sine of `2 pi k / n` for half a turn, `n` the length of the transform.
    pub cosines: Vec<f32>,
    /// See `cosines`.
    pub sines: Vec<f32>,
    /// The first spectrum bin of each triangle.
    pub first_bins: Vec<i32>,
    /// Where the weights of each triangle begin, and where the last one's end.
    pub offsets: Vec<i32>,
    /// Weights of all triangles.
    pub weights: Vec<f32>,
}

impl Numbers {
    /// Those of an extractor.
    pub fn of(fbank: &Fbank) -> Self {
        let tables = fbank.tables();
        let turn = |k: usize| std::f64::consts::TAU * k as f64 / tables.fft_size as f64;
        let half = 0..tables.fft_size / 2;
        let (mut first_bins, mut offsets, mut weights) = (Vec::new(), vec![0], Vec::new());
        for (first, of_bin) in &tables.triangles {
            // At most half a transform, so far below 2^31.
            first_bins.push(*first as i32);
            weights.extend_from_slice(of_bin);
            offsets.push(weights.len() as i32);
        }
        Self {
            scale: tables.scale,
            bins: tables.triangles.len(),
            taper: tables.taper.to_vec(),
            cosines: half.clone().map(|k| turn(k).cos() as f32).collect(),
            sines: half.map(|k| turn(k).sin() as f32).collect(),
            first_bins,
            offsets,
            weights,
        }
    }
}

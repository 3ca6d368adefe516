//! The slow textbook form of kernels, in f64; those of the features are in `diarize/fbank.rs`.

use super::board::PoolSizes;

/// Of `pool`: weighted means and deviations.
pub(super) fn pool_reference(features: &[f32], weights: &[f32], frame_of: &[i32], s: PoolSizes) -> Vec<f32> {
    let mut out = vec![0.0; s.rows * s.speakers * 2 * s.channels];
    for row in 0..s.rows {
        for speaker in 0..s.speakers {
            let weights = &weights[(row * s.speakers + speaker) * s.frames..][..s.frames];
            let w: Vec<f64> = frame_of.iter().map(|frame| f64::from(weights[*frame as usize])).collect();
            let mass = w.iter().sum::<f64>() + 1e-8;
            let freedom = mass - w.iter().map(|w| w * w).sum::<f64>() / mass + 1e-8;
            for channel in 0..s.channels {
                let x = &features[(row * s.channels + channel) * s.steps..][..s.steps];
                let x = || x.iter().map(|x| f64::from(*x)).zip(&w);
                let mean = x().map(|(x, w)| x * w).sum::<f64>() / mass;
                let scatter: f64 = x().map(|(x, w)| (x - mean) * (x - mean) * w).sum();
                let to = (row * s.speakers + speaker) * 2 * s.channels + channel;
                out[to] = mean as f32;
                out[to + s.channels] = (scatter / freedom).sqrt() as f32;
            }
        }
    }
    out
}

/// Of `project`: `[rows, width]` times `[width, dimension]`, plus `[dimension]`.
pub(super) fn project_reference(pooled: &[f32], dense: &[f32], bias: &[f32]) -> Vec<f32> {
    let (dimension, width) = (bias.len(), dense.len() / bias.len());
    let mut out = Vec::with_capacity(pooled.len() / width * dimension);
    for row in pooled.chunks_exact(width) {
        for (column, bias) in bias.iter().enumerate() {
            let products = row.iter().zip(dense.iter().skip(column).step_by(dimension));
            let sum: f64 = products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            out.push((sum + f64::from(*bias)) as f32);
        }
    }
    out
}

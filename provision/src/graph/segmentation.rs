//! pyannote segmentation-3.0 (PyanNet with a powerset of 7 classes).
//!
//! `waveform [batch, 1, samples]`, 16 kHz, in [-1, 1] → `logp [batch, frames, 7]`; 160,000 samples give 589 frames.
//!
//! Bredin, "pyannote.audio 2.1 speaker diarization pipeline" (2023); Ravanelli and Bengio, "Speaker Recognition from
//! Raw Waveform with SincNet" (2018) for the filter bank.

use super::{Attributes, Dim, Graph, GraphError, Name, Port};
use crate::checkpoint::StateDict;

/// Classes of the powerset: nobody, each of three, each pair of them.
pub const CLASSES: usize = 7;

/// Pairs of filters; each gives an even and an odd one.
const FILTER_PAIRS: usize = 40;
/// Taps on one side of a filter's centre.
const HALF_TAPS: usize = 125;
const TAPS: usize = 2 * HALF_TAPS + 1;
/// Lowest frequency and narrowest band of a filter, and the Nyquist frequency, Hz.
const LOW_HZ_MIN: f32 = 50.0;
const BAND_HZ_MIN: f32 = 50.0;
const NYQUIST_HZ: f32 = 8_000.0;
/// Channels of the three convolutions.
const CHANNELS: [usize; 3] = [2 * FILTER_PAIRS, 60, 60];
const LSTM_LAYERS: usize = 4;
const HIDDEN: usize = 128;
/// `F.leaky_relu`'s default slope.
const SLOPE: f32 = 0.01;
/// `InstanceNorm1d`'s default `eps`.
const EPSILON: f32 = 1e-5;

/// The ONNX file of segmentation-3.0 with the given weights.
///
/// # Errors
/// [`GraphError::Weights`] when `weights` is not a checkpoint of this network.
pub fn encode(weights: &StateDict) -> Result<Vec<u8>, GraphError> {
    let input = Port { name: "waveform", dims: &[Dim::Free("batch"), Dim::Fixed(1), Dim::Free("samples")] };
    let output =
        Port { name: "logp", dims: &[Dim::Free("batch"), Dim::Free("frames"), Dim::Fixed(CLASSES as i64)] };
    let mut b = Builder { graph: Graph::new(), weights };
    let x = b.convolutions(&Graph::input(&input))?;
    let x = b.recurrent(x)?;
    b.classifier(x, &output)?;
    let source = "pyannote/segmentation-3.0, MIT, Copyright (c) CNRS";
    Ok(b.graph.encode(&[input], &[output], &[("source", source)]))
}

struct Builder<'a> {
    graph: Graph,
    weights: &'a StateDict,
}

impl Builder<'_> {
    /// A stored tensor as it is.
    fn constant(&mut self, name: &str, shape: &[usize]) -> Result<Name, GraphError> {
        Ok(self.graph.floats(shape, &self.weights.f32s(name, shape)?))
    }

    fn instance_norm(&mut self, x: &Name, prefix: &str, channels: usize) -> Result<Name, GraphError> {
        let scale = self.constant(&format!("{prefix}.weight"), &[channels])?;
        let bias = self.constant(&format!("{prefix}.bias"), &[channels])?;
        let attributes: Attributes<'_> = &[("epsilon", EPSILON.into())];
        Ok(self.graph.op_with("InstanceNormalization", &[x, &scale, &bias], attributes))
    }

    fn leaky_relu(&mut self, x: &Name) -> Name {
        self.graph.op_with("LeakyRelu", &[x], &[("alpha", SLOPE.into())])
    }

    /// Normalised waveform, filter bank, two more convolutions; each with pooling, norm and activation.
    /// Gives `[frames, batch, 60]`.
    ///
    /// Written over images of height 1, `[batch, channels, 1, samples]`: ONNX Runtime has its blocked convolutions
    /// for two dimensions only, and they make the whole network 12 % faster on a CPU. The absolute value is a leaky
    /// ReLU of slope -1, which is the same numbers and fuses into the convolution.
    fn convolutions(&mut self, waveform: &Name) -> Result<Name, GraphError> {
        let height = self.graph.ints(&[2]);
        let x = self.instance_norm(waveform, "sincnet.wav_norm1d", 1)?;
        let mut x = self.graph.op("Unsqueeze", &[&x, &height]);
        for (layer, channels) in CHANNELS.into_iter().enumerate() {
            x = if layer == 0 {
                let filters = self.graph.floats(&[channels, 1, 1, TAPS], &sinc_filters(self.weights)?);
                let y = self.graph.op_with("Conv", &[&x, &filters], &[("strides", [1, 10].into())]);
                self.graph.op_with("LeakyRelu", &[&y], &[("alpha", (-1.0f32).into())])
            } else {
                let prefix = format!("sincnet.conv1d.{layer}");
                let inputs = CHANNELS[layer - 1];
                let weight = self.weights.f32s(&format!("{prefix}.weight"), &[channels, inputs, 5])?;
                let weight = self.graph.floats(&[channels, inputs, 1, 5], &weight);
                let bias = self.constant(&format!("{prefix}.bias"), &[channels])?;
                self.graph.op("Conv", &[&x, &weight, &bias])
            };
            let pool: Attributes<'_> = &[("kernel_shape", [1, 3].into()), ("strides", [1, 3].into())];
            x = self.graph.op_with("MaxPool", &[&x], pool);
            x = self.instance_norm(&x, &format!("sincnet.norm1d.{layer}"), channels)?;
            x = self.leaky_relu(&x);
        }
        let x = self.graph.op("Squeeze", &[&x, &height]);
        Ok(self.graph.op_with("Transpose", &[&x], &[("perm", [2, 0, 1].into())]))
    }

    /// The bidirectional LSTM layers: `[frames, batch, 60]` → `[batch, frames, 256]`.
    fn recurrent(&mut self, mut x: Name) -> Result<Name, GraphError> {
        let shape = self.graph.ints(&[0, 0, 2 * HIDDEN as i64]);
        for layer in 0..LSTM_LAYERS {
            let input = if layer == 0 { CHANNELS[2] } else { 2 * HIDDEN };
            let gates = 4 * HIDDEN;
            let input_weight = self.both_directions("weight_ih", layer, &[gates, input])?;
            let hidden_weight = self.both_directions("weight_hh", layer, &[gates, HIDDEN])?;
            let input_bias = self.both_directions("bias_ih", layer, &[gates])?;
            let hidden_bias = self.both_directions("bias_hh", layer, &[gates])?;
            // ONNX wants each direction's two biases side by side.
            let halves = input_bias.chunks_exact(gates).zip(hidden_bias.chunks_exact(gates));
            let bias: Vec<f32> = halves.flat_map(|(input, hidden)| [input, hidden].concat()).collect();
            let inputs = [
                &x,
                &self.graph.floats(&[2, gates, input], &input_weight),
                &self.graph.floats(&[2, gates, HIDDEN], &hidden_weight),
                &self.graph.floats(&[2, 2 * gates], &bias),
            ];
            let attributes: Attributes<'_> =
                &[("hidden_size", (HIDDEN as i64).into()), ("direction", "bidirectional".into())];
            let y = self.graph.op_with("LSTM", &inputs, attributes); // [frames, 2, batch, 128]
            let last = layer + 1 == LSTM_LAYERS;
            let order = if last { [2, 0, 1, 3] } else { [0, 2, 1, 3] };
            let y = self.graph.op_with("Transpose", &[&y], &[("perm", order.into())]);
            x = self.graph.op("Reshape", &[&y, &shape]);
        }
        Ok(x)
    }

    /// A parameter of both directions of a layer, forward first, gates in ONNX's order.
    fn both_directions(&self, kind: &str, layer: usize, shape: &[usize]) -> Result<Vec<f32>, GraphError> {
        let mut both = Vec::new();
        for direction in ["", "_reverse"] {
            let values = self.weights.f32s(&format!("lstm.{kind}_l{layer}{direction}"), shape)?;
            both.extend(input_output_forget_cell(&values));
        }
        Ok(both)
    }

    /// Two dense layers with activation, the classes, log-softmax.
    fn classifier(&mut self, mut x: Name, output: &Port<'_>) -> Result<(), GraphError> {
        let layers =
            [("linear.0", 2 * HIDDEN, HIDDEN), ("linear.1", HIDDEN, HIDDEN), ("classifier", HIDDEN, CLASSES)];
        for (prefix, input, out) in layers {
            let weight = self.weights.f32s(&format!("{prefix}.weight"), &[out, input])?;
            let weight = self.graph.floats(&[input, out], &transposed(&weight, input));
            let bias = self.constant(&format!("{prefix}.bias"), &[out])?;
            let y = self.graph.op("MatMul", &[&x, &weight]);
            x = self.graph.op("Add", &[&y, &bias]);
            if out != CLASSES {
                x = self.leaky_relu(&x);
            }
        }
        self.graph.output(output, "LogSoftmax", &[&x], &[("axis", (-1).into())]);
        Ok(())
    }
}

/// torch stacks an LSTM's gates as input, forget, cell, output; ONNX wants input, output, forget, cell.
fn input_output_forget_cell(values: &[f32]) -> Vec<f32> {
    let quarter = values.len() / 4;
    [0, 3, 1, 2].into_iter().flat_map(|gate| values[gate * quarter..][..quarter].iter().copied()).collect()
}

/// Rows of length `columns` become columns.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

/// The band-pass filters, `[80, 1, 251]`: forty even (cosine) ones, then forty odd (sine) ones.
///
/// Deliberately in single precision and from the checkpoint's own time axis `n_` and half window `window_`: the
/// angles reach 393 rad, so the rounding of the code that trained the network is visible (3e-6) in the filters, and
/// the instance norms behind them make 6e-3 of it in the log-probabilities.
fn sinc_filters(weights: &StateDict) -> Result<Vec<f32>, GraphError> {
    let get =
        |name: &str, shape: &[usize]| weights.f32s(&format!("sincnet.conv1d.0.filterbank.{name}"), shape);
    let low_hz = get("low_hz_", &[FILTER_PAIRS, 1])?;
    let band_hz = get("band_hz_", &[FILTER_PAIRS, 1])?;
    let window = get("window_", &[HALF_TAPS])?;
    let time = get("n_", &[1, HALF_TAPS])?;
    let mut even = Vec::with_capacity(2 * FILTER_PAIRS * TAPS);
    let mut odd = Vec::with_capacity(FILTER_PAIRS * TAPS);
    for (low_hz, band_hz) in low_hz.iter().zip(&band_hz) {
        let low = LOW_HZ_MIN + low_hz.abs();
        let high = (low + BAND_HZ_MIN + band_hz.abs()).clamp(LOW_HZ_MIN, NYQUIST_HZ);
        let band = high - low;
        let half = |tap: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
            let taps = time.iter().zip(&window);
            taps.map(|(t, window)| tap(low * t, high * t) / (t / 2.0) * window).collect()
        };
        let cosines = half(&|low, high| sine(high) - sine(low));
        let sines = half(&|low, high| cosine(low) - cosine(high));
        let scaled = |tap: &f32| tap / (2.0 * band);
        even.extend(cosines.iter().map(scaled));
        even.push(scaled(&(2.0 * band)));
        even.extend(cosines.iter().rev().map(scaled));
        odd.extend(sines.iter().map(scaled));
        odd.push(0.0);
        odd.extend(sines.iter().rev().map(|tap| scaled(&-tap)));
    }
    even.append(&mut odd);
    Ok(even)
}

/// The sine of a single-precision angle, correctly rounded, so the same on every machine.
fn sine(angle: f32) -> f32 {
    f64::from(angle).sin() as f32
}

/// See [`sine`].
fn cosine(angle: f32) -> f32 {
    f64::from(angle).cos() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_reordered() {
        let values: Vec<f32> = (0..8).map(|v| v as f32).collect();
        assert_eq!(input_output_forget_cell(&values), [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 4.0, 5.0]);
    }

    /// The definition, in double precision: the difference of two low-pass filters under half a Hamming window.
    #[test]
    fn filters_are_windowed_band_passes() {
        use std::f64::consts::PI;
        let time = |k: usize| 2.0 * PI * (k as f64 - 125.0) / 16_000.0;
        let window = |k: usize| 0.54 - 0.46 * (2.0 * PI * k as f64 / 250.0).cos();
        let floats = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<_>>();
        let tensor = |name: &str, shape: &[usize], values: &[f32]| {
            let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let name = format!("sincnet.conv1d.0.filterbank.{name}");
            (
                name,
                crate::checkpoint::Tensor {
                    dtype: crate::checkpoint::Dtype::F32,
                    shape: shape.to_vec(),
                    data,
                },
            )
        };
        let low_hz: Vec<f32> = (0..40).map(|pair| pair as f32 * 190.0).collect();
        let band_hz = [75.0; 40];
        let weights = StateDict::of([
            tensor("low_hz_", &[40, 1], &low_hz),
            tensor("band_hz_", &[40, 1], &band_hz),
            tensor("window_", &[125], &floats((0..125).map(window).collect())),
            tensor("n_", &[1, 125], &floats((0..125).map(time).collect())),
        ]);
        let filters = sinc_filters(&weights).unwrap();
        assert_eq!(filters.len(), 80 * TAPS);
        for pair in [0, 7, 39] {
            let low = 50.0 + f64::from(low_hz[pair]);
            let high = (low + 125.0).min(8_000.0);
            for tap in 0..TAPS {
                let k = if tap <= 125 { tap } else { 250 - tap };
                let (t, sign) = (time(k), if tap > 125 { -1.0 } else { 1.0 });
                let scale = window(k) / (2.0 * (high - low) * (t / 2.0));
                let (even, odd) = if tap == 125 {
                    (1.0, 0.0)
                } else {
                    (
                        ((high * t).sin() - (low * t).sin()) * scale,
                        sign * ((low * t).cos() - (high * t).cos()) * scale,
                    )
                };
                let near =
                    |row: usize, wanted: f64| (f64::from(filters[row * TAPS + tap]) - wanted).abs() < 1e-4;
                assert!(near(pair, even) && near(40 + pair, odd), "pair {pair}, tap {tap}");
            }
        }
    }

    #[test]
    fn rows_become_columns() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}

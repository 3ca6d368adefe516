//! Batch normalisation as a scale and a shift, and convolutions with it folded in.
//!
//! Folding is done in double precision and rounded once, so that it adds no error of its own.

use super::{Attributes, Graph, GraphError, Name};
use crate::checkpoint::StateDict;

/// torch's default `eps` of a batch normalisation.
const EPSILON: f64 = 1e-5;

/// What a batch normalisation in inference mode does to each channel: `x * scale + shift`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Norm {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

impl Norm {
    /// The normalisation stored under `prefix`, over `channels` channels. Weight and bias may be absent (no affine
    /// part), as in the last layer of CAM++.
    pub fn load(weights: &StateDict, prefix: &str, channels: usize) -> Result<Self, GraphError> {
        let get = |name: &str| weights.f32s(&format!("{prefix}.{name}"), &[channels]);
        let (mean, variance) = (get("running_mean")?, get("running_var")?);
        let mut scale: Vec<f64> = variance.iter().map(|v| 1.0 / (f64::from(*v) + EPSILON).sqrt()).collect();
        if weights.contains(&format!("{prefix}.weight")) {
            scale.iter_mut().zip(get("weight")?).for_each(|(scale, weight)| *scale *= f64::from(weight));
        }
        let mut shift: Vec<f64> =
            mean.iter().zip(&scale).map(|(mean, scale)| -f64::from(*mean) * scale).collect();
        if weights.contains(&format!("{prefix}.bias")) {
            shift.iter_mut().zip(get("bias")?).for_each(|(shift, bias)| *shift += f64::from(bias));
        }
        Ok(Self { scale, shift })
    }
}

/// Where a convolution's weights come from. `shape` is `[out, in, kernel…]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv<'a> {
    pub weight: &'a str,
    pub shape: &'a [usize],
    pub bias: Option<&'a str>,
    /// Prefix of a batch normalisation that follows and is folded in.
    pub norm: Option<&'a str>,
}

impl<'a> Conv<'a> {
    /// A convolution without bias, followed by a batch normalisation.
    pub fn normed(weight: &'a str, shape: &'a [usize], norm: &'a str) -> Self {
        Self { weight, shape, bias: None, norm: Some(norm) }
    }

    /// Weights and bias with the normalisation folded in.
    pub fn fold(&self, weights: &StateDict) -> Result<(Vec<f64>, Option<Vec<f64>>), GraphError> {
        let out = self.shape[0];
        let mut weight: Vec<f64> = widen(weights.f32s(self.weight, self.shape)?);
        let mut bias = self.bias.map(|name| weights.f32s(name, &[out])).transpose()?.map(widen);
        if let Some(prefix) = self.norm {
            let norm = Norm::load(weights, prefix, out)?;
            let row = weight.len() / out;
            for (channel, scale) in norm.scale.iter().enumerate() {
                weight[channel * row..][..row].iter_mut().for_each(|w| *w *= scale);
            }
            bias = Some(match bias {
                Some(bias) => {
                    let folded = bias.iter().zip(&norm.scale).zip(&norm.shift);
                    folded.map(|((bias, scale), shift)| bias * scale + shift).collect()
                }
                None => norm.shift,
            });
        }
        Ok((weight, bias))
    }

    /// Adds the node that applies it to `x`.
    pub fn add(
        &self,
        graph: &mut Graph,
        weights: &StateDict,
        x: &Name,
        attributes: Attributes<'_>,
    ) -> Result<Name, GraphError> {
        let (weight, bias) = self.fold(weights)?;
        let weight = graph.rounded(self.shape, &weight);
        let bias = bias.map(|bias| graph.rounded(&[bias.len()], &bias));
        let inputs: Vec<&Name> = [x, &weight].into_iter().chain(bias.as_ref()).collect();
        Ok(graph.op_with("Conv", &inputs, attributes))
    }
}

fn widen(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Dtype, Tensor};

    fn weights(tensors: &[(&str, &[usize], &[f32])]) -> StateDict {
        StateDict::of(tensors.iter().map(|(name, shape, values)| {
            let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            ((*name).to_owned(), Tensor { dtype: Dtype::F32, shape: shape.to_vec(), data })
        }))
    }

    /// The textbook: convolve, add the bias, then normalise.
    #[test]
    fn folding_is_the_same_as_normalising_afterwards() {
        let weights = weights(&[
            ("c.weight", &[2, 1, 2], &[0.5, -1.0, 2.0, 0.25]),
            ("c.bias", &[2], &[0.1, -0.2]),
            ("n.weight", &[2], &[1.5, -0.5]),
            ("n.bias", &[2], &[0.3, 0.7]),
            ("n.running_mean", &[2], &[0.2, -0.4]),
            ("n.running_var", &[2], &[0.81, 2.25]),
        ]);
        let conv = Conv { weight: "c.weight", shape: &[2, 1, 2], bias: Some("c.bias"), norm: Some("n") };
        let (weight, bias) = conv.fold(&weights).unwrap();
        let bias = bias.unwrap();
        let x = [0.7, -1.3];
        for channel in 0..2 {
            let c = [[0.5, -1.0], [2.0, 0.25]][channel];
            let y = c[0] * x[0] + c[1] * x[1] + [0.1, -0.2][channel];
            let deviation = ([0.81, 2.25][channel] + 1e-5f64).sqrt();
            let normed = (y - [0.2, -0.4][channel]) / deviation * [1.5, -0.5][channel] + [0.3, 0.7][channel];
            let folded = weight[2 * channel] * x[0] + weight[2 * channel + 1] * x[1] + bias[channel];
            assert!((normed - folded).abs() < 1e-6, "channel {channel}: {normed} and {folded}");
        }
    }

    #[test]
    fn a_norm_without_affine_part_only_centres_and_scales() {
        let weights = weights(&[("n.running_mean", &[1], &[3.0]), ("n.running_var", &[1], &[4.0])]);
        let norm = Norm::load(&weights, "n", 1).unwrap();
        assert!((norm.scale[0] - 0.5).abs() < 1e-5 && (norm.shift[0] + 1.5).abs() < 1e-5);
    }
}

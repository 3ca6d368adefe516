//! WeSpeaker's ResNet34 in two files: a frame-level trunk and masked statistics pooling.
//!
//! The trunk does not see who speaks, so it runs once a chunk and the head once for each local speaker.
//!
//! - trunk: `fbank [batch, frames, 80]` → `feature [batch, 2560, steps]`, `steps = ceil(frames / 8)`
//! - head: `feature [batch, 2560, steps]`, `weights [batch, speakers, steps]` → `embedding [batch, speakers, 256]`
//!
//! Wang et al., "Wespeaker: A Research and Production Oriented Speaker Embedding Learning Toolkit" (2022).

use super::norm::Conv;
use super::{Dim, Graph, GraphError, Name, Port};
use crate::checkpoint::StateDict;

/// Length of an embedding.
pub const DIMENSION: usize = 256;
/// Channels of the trunk's output: 256 planes times the 10 mel bands that three strides leave of 80.
pub const TRUNK_CHANNELS: usize = 2_560;

/// Blocks and planes of the four stages.
const STAGES: [(usize, usize); 4] = [(3, 32), (4, 64), (6, 128), (3, 256)];
/// Added to both denominators of the weighted statistics by the pooling this reproduces.
const EPSILON: f32 = 1e-8;

const FEATURE: Port<'static> = Port {
    name: "feature",
    dims: &[Dim::Free("batch"), Dim::Fixed(TRUNK_CHANNELS as i64), Dim::Free("steps")],
};

/// The ONNX file of the trunk.
///
/// # Errors
/// [`GraphError::Weights`] when `weights` is not a checkpoint of this network.
pub fn encode_trunk(weights: &StateDict, source: &str) -> Result<Vec<u8>, GraphError> {
    let input = Port { name: "fbank", dims: &[Dim::Free("batch"), Dim::Free("frames"), Dim::Fixed(80)] };
    let mut graph = Graph::new();
    let x = graph.op_with("Transpose", &[&Graph::input(&input)], &[("perm", [0, 2, 1].into())]);
    let axis = graph.ints(&[1]);
    let x = graph.op("Unsqueeze", &[&x, &axis]);
    let mut planes = STAGES[0].1;
    let first = [planes, 1, 3, 3];
    let first = Conv::normed("resnet.conv1.weight", &first, "resnet.bn1");
    let x = first.add(&mut graph, weights, &x, &[("pads", [1, 1, 1, 1].into())])?;
    let mut x = graph.op("Relu", &[&x]);
    for (stage, (blocks, out)) in (1..).zip(STAGES) {
        for block in 0..blocks {
            let stride = if block == 0 && stage > 1 { 2 } else { 1 };
            x = residual(
                &mut graph,
                weights,
                &x,
                &format!("resnet.layer{stage}.{block}"),
                (planes, out, stride),
            )?;
            planes = out;
        }
    }
    let shape = graph.ints(&[0, TRUNK_CHANNELS as i64, -1]);
    graph.output(&FEATURE, "Reshape", &[&x, &shape], &[]);
    Ok(graph.encode(&[input], &[FEATURE], &[("source", source)]))
}

/// Two convolutions and a shortcut; `sizes` is channels in, channels out, stride.
fn residual(
    graph: &mut Graph,
    weights: &StateDict,
    x: &Name,
    prefix: &str,
    sizes: (usize, usize, i64),
) -> Result<Name, GraphError> {
    let (planes, out, stride) = sizes;
    let part = |name: &str| format!("{prefix}.{name}");
    let same = || ("pads", [1, 1, 1, 1].into());
    let strides = || ("strides", [stride, stride].into());
    let (weight, norm) = (part("conv1.weight"), part("bn1"));
    let y =
        Conv::normed(&weight, &[out, planes, 3, 3], &norm).add(graph, weights, x, &[strides(), same()])?;
    let y = graph.op("Relu", &[&y]);
    let (weight, norm) = (part("conv2.weight"), part("bn2"));
    let y = Conv::normed(&weight, &[out, out, 3, 3], &norm).add(graph, weights, &y, &[same()])?;
    let (weight, norm) = (part("shortcut.0.weight"), part("shortcut.1"));
    let sum = if planes == out {
        graph.op("Add", &[&y, x])
    } else {
        let shortcut =
            Conv::normed(&weight, &[out, planes, 1, 1], &norm).add(graph, weights, x, &[strides()])?;
        graph.op("Add", &[&y, &shortcut])
    };
    Ok(graph.op("Relu", &[&sum]))
}

/// The ONNX file of the head. A speaker whose weights are all zero gets the embedding of mean 0 and deviation 0.
///
/// # Errors
/// [`GraphError::Weights`] when `weights` is not a checkpoint of this network.
pub fn encode_head(weights: &StateDict, source: &str) -> Result<Vec<u8>, GraphError> {
    let masks =
        Port { name: "weights", dims: &[Dim::Free("batch"), Dim::Free("speakers"), Dim::Free("steps")] };
    let output = Port {
        name: "embedding",
        dims: &[Dim::Free("batch"), Dim::Free("speakers"), Dim::Fixed(DIMENSION as i64)],
    };
    let mut g = Graph::new();
    let (one, two, time) = (g.ints(&[1]), g.ints(&[2]), g.ints(&[3]));
    let x = g.op("Unsqueeze", &[&Graph::input(&FEATURE), &one]); // [batch, 1, channels, steps]
    let w = g.op("Unsqueeze", &[&Graph::input(&masks), &two]); // [batch, speakers, 1, steps]
    let epsilon = g.floats(&[1], &[EPSILON]);
    let mass = g.op("ReduceSum", &[&w, &time]);
    let mass = g.op("Add", &[&mass, &epsilon]);
    let weighted = g.op("Mul", &[&x, &w]);
    let sum = g.op("ReduceSum", &[&weighted, &time]);
    let mean = g.op("Div", &[&sum, &mass]);
    let distance = g.op("Sub", &[&x, &mean]);
    let squares = g.op("Mul", &[&w, &w]);
    let squares = g.op("ReduceSum", &[&squares, &time]);
    let correction = g.op("Div", &[&squares, &mass]);
    let freedom = g.op("Sub", &[&mass, &correction]);
    let freedom = g.op("Add", &[&freedom, &epsilon]);
    let square = g.op("Mul", &[&distance, &distance]);
    let square = g.op("Mul", &[&square, &w]);
    let scatter = g.op("ReduceSum", &[&square, &time]);
    let variance = g.op("Div", &[&scatter, &freedom]);
    let deviation = g.op("Sqrt", &[&variance]);
    let both = g.op_with("Concat", &[&mean, &deviation], &[("axis", 2.into())]);
    let pooled = g.op("Squeeze", &[&both, &time]); // [batch, speakers, 2 channels]
    let dense = weights.f32s("resnet.seg_1.weight", &[DIMENSION, 2 * TRUNK_CHANNELS])?;
    let columns = 2 * TRUNK_CHANNELS;
    let transposed: Vec<f32> =
        (0..columns).flat_map(|column| dense.iter().skip(column).step_by(columns).copied()).collect();
    let dense = g.floats(&[columns, DIMENSION], &transposed);
    let bias = g.floats(&[DIMENSION], &weights.f32s("resnet.seg_1.bias", &[DIMENSION])?);
    let projected = g.op("MatMul", &[&pooled, &dense]);
    g.output(&output, "Add", &[&projected, &bias], &[]);
    Ok(g.encode(&[FEATURE, masks], &[output], &[("source", source)]))
}

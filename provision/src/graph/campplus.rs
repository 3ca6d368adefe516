//! CAM++ (3D-Speaker), the speaker network of the starter bundle.
//!
//! `fbank [batch, frames, 80]` → `embedding [batch, 192]`, before any ReLU. Features are log-mel with the mean over
//! the window subtracted. Never pad the frames: statistics run over all of them.
//!
//! Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking" (2023):
//! a small 2-D residual network over mel bins, a stride-2 convolution, three blocks of densely connected dilated
//! convolutions, each gated by its context, and statistics pooling.

use super::norm::{Conv, Norm};
use super::{Attribute, Dim, Graph, GraphError, Name, Port};
use crate::checkpoint::StateDict;

/// Length of an embedding.
pub const DIMENSION: usize = 192;
/// Mel bins of the input.
pub const MEL_BINS: usize = 80;
/// Most input frames for [`Context::Whole`].
pub const WHOLE_FRAMES_MAX: u32 = 200;

/// Frames of one context segment, after the stride-2 convolution (`seg_len` of the published model).
const SEGMENT_FRAMES: i64 = 100;
/// Channels of the 2-D network, times the 10 mel bands that it leaves.
const HEAD_CHANNELS: usize = 32;
const TRUNK_CHANNELS: usize = HEAD_CHANNELS * 10;
/// Channels after the stride-2 convolution; also of the bottleneck inside each dense layer.
const WIDTH: usize = 128;
/// Channels that each dense layer adds.
const GROWTH: usize = 32;
/// Channels inside a gate.
const GATE: usize = 64;
/// Layers and dilation of the three dense blocks.
const BLOCKS: [(usize, i64); 3] = [(12, 1), (24, 2), (16, 2)];
/// Standard deviation given to a single frame, as the training code does.
const LONE_FRAME_DEVIATION: f32 = 1e-2;

/// How the gates see the context of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Any number of frames: mean over the whole input plus mean over the frame's segment of 100 steps.
    Segmented,
    /// At most [`WHOLE_FRAMES_MAX`] frames: there is one segment, whose mean is the mean. Smaller and faster.
    Whole,
}

/// The ONNX file of CAM++ with the given weights.
///
/// # Errors
/// [`GraphError::Weights`] when `weights` is not a checkpoint of this network.
pub fn encode(weights: &StateDict, context: Context) -> Result<Vec<u8>, GraphError> {
    let input =
        Port { name: "fbank", dims: &[Dim::Free("batch"), Dim::Free("frames"), Dim::Fixed(MEL_BINS as i64)] };
    let output = Port { name: "embedding", dims: &[Dim::Free("batch"), Dim::Fixed(DIMENSION as i64)] };
    let mut b = Builder { graph: Graph::new(), weights, context };
    let x = b.head(&Graph::input(&input))?;
    let (x, steps) = b.time_convolution(&x)?;
    let (x, channels) = b.dense_blocks(x, &steps)?;
    b.pooling(&x, channels, &steps, &output)?;
    let source = "3D-Speaker CAM++ speech_campplus_sv_zh_en_16k-common_advanced, Apache-2.0";
    Ok(b.graph.encode(&[input], &[output], &[("source", source)]))
}

struct Builder<'a> {
    graph: Graph,
    weights: &'a StateDict,
    context: Context,
}

/// Values that all gates of a segmented network share; all `[1]` integers but `count`.
struct Segments {
    /// Padding that fills the last segment.
    pads: Name,
    /// Shape that folds steps into segments.
    fold: Name,
    /// Steps in each segment, `[1, 1, segments]` floats.
    count: Name,
    /// Shape that repeats a segment's gate over its steps.
    wide: Name,
}

impl Builder<'_> {
    /// A convolution, its normalisation folded in, and a ReLU.
    fn conv_relu(
        &mut self,
        x: &Name,
        conv: Conv<'_>,
        attributes: &[(&'static str, Attribute)],
    ) -> Result<Name, GraphError> {
        let y = conv.add(&mut self.graph, self.weights, x, attributes)?;
        Ok(self.graph.op("Relu", &[&y]))
    }

    /// Normalisation and ReLU in front of a convolution: they cannot be folded into what feeds them.
    fn prenorm(&mut self, x: &Name, prefix: &str, channels: usize) -> Result<Name, GraphError> {
        let norm = Norm::load(self.weights, prefix, channels)?;
        let scale = self.graph.rounded(&[channels], &norm.scale);
        let shift = self.graph.rounded(&[channels], &norm.shift);
        let zeros = self.graph.floats(&[channels], &vec![0.0; channels]);
        let ones = self.graph.floats(&[channels], &vec![1.0; channels]);
        let inputs = [x, &scale, &shift, &zeros, &ones];
        let y = self.graph.op_with("BatchNormalization", &inputs, &[("epsilon", 0.0.into())]);
        Ok(self.graph.op("Relu", &[&y]))
    }

    /// The 2-D residual network; its strides act on the mel axis only. Gives `[batch, 320, frames]`.
    fn head(&mut self, fbank: &Name) -> Result<Name, GraphError> {
        let x = self.graph.op_with("Transpose", &[fbank], &[("perm", [0, 2, 1].into())]);
        let axis = self.graph.ints(&[1]);
        let x = self.graph.op("Unsqueeze", &[&x, &axis]);
        let same = || ("pads", [1, 1, 1, 1].into());
        let wide = &[HEAD_CHANNELS, HEAD_CHANNELS, 3, 3];
        let first = Conv::normed("head.conv1.weight", &[HEAD_CHANNELS, 1, 3, 3], "head.bn1");
        let mut x = self.conv_relu(&x, first, &[same()])?;
        for layer in 1..=2 {
            for block in 0..2 {
                let p = format!("head.layer{layer}.{block}");
                let part = |name: &str| format!("{p}.{name}");
                let stride = || ("strides", [if block == 0 { 2 } else { 1 }, 1].into());
                let (weight, norm) = (part("conv1.weight"), part("bn1"));
                let y = self.conv_relu(&x, Conv::normed(&weight, wide, &norm), &[stride(), same()])?;
                let (weight, norm) = (part("conv2.weight"), part("bn2"));
                let conv = Conv::normed(&weight, wide, &norm);
                let y = conv.add(&mut self.graph, self.weights, &y, &[same()])?;
                let shortcut = if block == 0 {
                    let (weight, norm) = (part("shortcut.0.weight"), part("shortcut.1"));
                    let conv = Conv::normed(&weight, &[HEAD_CHANNELS, HEAD_CHANNELS, 1, 1], &norm);
                    conv.add(&mut self.graph, self.weights, &x, &[stride()])?
                } else {
                    x
                };
                let sum = self.graph.op("Add", &[&y, &shortcut]);
                x = self.graph.op("Relu", &[&sum]);
            }
        }
        let last = Conv::normed("head.conv2.weight", wide, "head.bn2");
        let x = self.conv_relu(&x, last, &[("strides", [2, 1].into()), same()])?;
        let shape = self.graph.ints(&[0, TRUNK_CHANNELS as i64, -1]);
        Ok(self.graph.op("Reshape", &[&x, &shape]))
    }

    /// The stride-2 convolution: `[batch, 128, steps]`, and `steps` itself as a `[1]` integer.
    fn time_convolution(&mut self, x: &Name) -> Result<(Name, Name), GraphError> {
        let shape = &[WIDTH, TRUNK_CHANNELS, 5];
        let conv = Conv::normed("xvector.tdnn.linear.weight", shape, "xvector.tdnn.nonlinear.batchnorm");
        let x = self.conv_relu(x, conv, &[("strides", [2].into()), ("pads", [2, 2].into())])?;
        let shape = self.graph.op("Shape", &[&x]);
        let axis = self.graph.ints(&[2]);
        let steps = self.graph.op("Gather", &[&shape, &axis]);
        Ok((x, steps))
    }

    /// Three blocks of densely connected layers, each followed by a layer that halves the channels; the last
    /// normalisation and ReLU included. Gives the value and its channels.
    fn dense_blocks(&mut self, mut x: Name, steps: &Name) -> Result<(Name, usize), GraphError> {
        let segments = match self.context {
            Context::Segmented => Some(self.segments(steps)),
            Context::Whole => None,
        };
        let mut channels = WIDTH;
        for (block, (layers, dilation)) in (1..).zip(BLOCKS) {
            for layer in 1..=layers {
                let prefix = format!("xvector.block{block}.tdnnd{layer}");
                let grown =
                    self.dense_layer(&x, &prefix, channels, dilation, segments.as_ref().zip(Some(steps)))?;
                x = self.graph.op_with("Concat", &[&x, &grown], &[("axis", 1.into())]);
                channels += GROWTH;
            }
            x = self.prenorm(&x, &format!("xvector.transit{block}.nonlinear.batchnorm"), channels)?;
            let weight = format!("xvector.transit{block}.linear.weight");
            let shape = [channels / 2, channels, 1];
            channels /= 2;
            // Nothing but the last normalisation stands between the last block and the pooling: it folds.
            x = if block == BLOCKS.len() {
                self.conv_relu(&x, Conv::normed(&weight, &shape, "xvector.out_nonlinear.batchnorm"), &[])?
            } else {
                let conv = Conv { weight: &weight, shape: &shape, bias: None, norm: None };
                conv.add(&mut self.graph, self.weights, &x, &[])?
            };
        }
        Ok((x, channels))
    }

    /// One dense layer: bottleneck, dilated convolution, times the gate of its context. Gives the 32 new channels.
    fn dense_layer(
        &mut self,
        x: &Name,
        prefix: &str,
        channels: usize,
        dilation: i64,
        segments: Option<(&Segments, &Name)>,
    ) -> Result<Name, GraphError> {
        let part = |name: &str| format!("{prefix}.{name}");
        let h = self.prenorm(x, &part("nonlinear1.batchnorm"), channels)?;
        let (weight, norm) = (part("linear1.weight"), part("nonlinear2.batchnorm"));
        let h = self.conv_relu(&h, Conv::normed(&weight, &[WIDTH, channels, 1], &norm), &[])?;

        let weight = part("cam_layer.linear_local.weight");
        let local = Conv { weight: &weight, shape: &[GROWTH, WIDTH, 3], bias: None, norm: None };
        let around = [("dilations", [dilation].into()), ("pads", [dilation, dilation].into())];
        let local = local.add(&mut self.graph, self.weights, &h, &around)?;

        let mean = self.graph.op_with("ReduceMean", &[&h], &[("axes", [2].into()), ("keepdims", 1.into())]);
        let context = match segments {
            None => self.graph.op("Add", &[&mean, &mean]),
            Some((segments, _)) => {
                let segment_mean = self.segment_mean(&h, segments);
                self.graph.op("Add", &[&mean, &segment_mean])
            }
        };
        let gate = self.gate(&context, &part("cam_layer"))?;
        // The gate is constant inside a segment, so it is computed once a segment and then repeated.
        let gate = match segments {
            None => gate,
            Some((segments, steps)) => self.repeat_gate(&gate, segments, steps),
        };
        Ok(self.graph.op("Mul", &[&local, &gate]))
    }

    /// `sigmoid(W2 relu(W1 context))`.
    fn gate(&mut self, context: &Name, prefix: &str) -> Result<Name, GraphError> {
        let part = |name: &str| format!("{prefix}.{name}");
        let (weight, bias) = (part("linear1.weight"), part("linear1.bias"));
        let squeeze = Conv { weight: &weight, shape: &[GATE, WIDTH, 1], bias: Some(&bias), norm: None };
        let hidden = self.conv_relu(context, squeeze, &[])?;
        let (weight, bias) = (part("linear2.weight"), part("linear2.bias"));
        let excite = Conv { weight: &weight, shape: &[GROWTH, GATE, 1], bias: Some(&bias), norm: None };
        let gate = excite.add(&mut self.graph, self.weights, &hidden, &[])?;
        Ok(self.graph.op("Sigmoid", &[&gate]))
    }

    /// What the gates need to know of the number of steps.
    fn segments(&mut self, steps: &Name) -> Segments {
        let g = &mut self.graph;
        let segment = g.ints(&[SEGMENT_FRAMES]);
        let less_one = g.ints(&[SEGMENT_FRAMES - 1]);
        let rounded = g.op("Add", &[steps, &less_one]);
        let number = g.op("Div", &[&rounded, &segment]);
        let filled = g.op("Mul", &[&number, &segment]);
        let tail = g.op("Sub", &[&filled, steps]);
        let zeros = g.ints(&[0; 5]);
        let pads = g.op_with("Concat", &[&zeros, &tail], &[("axis", 0.into())]);
        let rows = g.ints(&[0, WIDTH as i64]);
        let fold = g.op_with("Concat", &[&rows, &number, &segment], &[("axis", 0.into())]);

        // Every segment has 100 steps but the last one.
        let none = g.op("ConstantOfShape", &[&number]);
        let full = g.floats(&[1], &[SEGMENT_FRAMES as f32]);
        let full = g.op("Add", &[&none, &full]);
        let in_last = g.op("Sub", &[&segment, &tail]);
        let in_last = g.op_with("Cast", &[&in_last], &[("to", 1.into())]);
        let one = g.ints(&[1]);
        let last = g.op("Sub", &[&number, &one]);
        let count = g.op_with("ScatterElements", &[&full, &last, &in_last], &[("axis", 0.into())]);
        let shape = g.ints(&[1, 1, -1]);
        let count = g.op("Reshape", &[&count, &shape]);
        let ones = g.ints(&[1, 1, 1]);
        let wide = g.op_with("Concat", &[&ones, &segment], &[("axis", 0.into())]);
        Segments { pads, fold, count, wide }
    }

    /// Mean of each segment over its real length: `[batch, 128, segments]`.
    fn segment_mean(&mut self, h: &Name, segments: &Segments) -> Name {
        let g = &mut self.graph;
        let padded = g.op("Pad", &[h, &segments.pads]);
        let folded = g.op("Reshape", &[&padded, &segments.fold]);
        let axis = g.ints(&[3]);
        let sum = g.op_with("ReduceSum", &[&folded, &axis], &[("keepdims", 0.into())]);
        g.op("Div", &[&sum, &segments.count])
    }

    /// `[batch, 32, segments]` → `[batch, 32, steps]`.
    fn repeat_gate(&mut self, gate: &Name, segments: &Segments, steps: &Name) -> Name {
        let g = &mut self.graph;
        let axis = g.ints(&[3]);
        let tall = g.op("Unsqueeze", &[gate, &axis]);
        let wide = g.op("Expand", &[&tall, &segments.wide]);
        let shape = g.ints(&[0, GROWTH as i64, -1]);
        let flat = g.op("Reshape", &[&wide, &shape]);
        let (start, axis) = (g.ints(&[0]), g.ints(&[2]));
        g.op("Slice", &[&flat, &start, steps, &axis])
    }

    /// Mean and unbiased standard deviation over the steps, then one dense layer.
    fn pooling(
        &mut self,
        x: &Name,
        channels: usize,
        steps: &Name,
        output: &Port<'_>,
    ) -> Result<(), GraphError> {
        let g = &mut self.graph;
        let mean = g.op_with("ReduceMean", &[x], &[("axes", [2].into()), ("keepdims", 1.into())]);
        let distance = g.op("Sub", &[x, &mean]);
        let square = g.op("Mul", &[&distance, &distance]);
        let (axis, one, one_step) = (g.ints(&[2]), g.floats(&[1], &[1.0]), g.ints(&[1]));
        let sum = g.op_with("ReduceSum", &[&square, &axis], &[("keepdims", 0.into())]);
        let count = g.op_with("Cast", &[steps], &[("to", 1.into())]);
        let freedom = g.op("Sub", &[&count, &one]);
        let freedom = g.op("Max", &[&freedom, &one]);
        let variance = g.op("Div", &[&sum, &freedom]);
        let deviation = g.op("Sqrt", &[&variance]);
        let lone = g.floats(&[1], &[LONE_FRAME_DEVIATION]);
        let several = g.op("Greater", &[steps, &one_step]);
        let deviation = g.op("Where", &[&several, &deviation, &lone]);
        let mean = g.op("Squeeze", &[&mean, &axis]);
        let pooled = g.op_with("Concat", &[&mean, &deviation], &[("axis", 1.into())]);

        let shape = [DIMENSION, 2 * channels, 1];
        let dense = Conv::normed("xvector.dense.linear.weight", &shape, "xvector.dense.nonlinear.batchnorm");
        let (weight, bias) = dense.fold(self.weights)?;
        let weight = self.graph.rounded(&shape[..2], &weight);
        let bias = self.graph.rounded(&[DIMENSION], &bias.unwrap_or_default());
        self.graph.output(output, "Gemm", &[&pooled, &weight, &bias], &[("transB", 1.into())]);
        Ok(())
    }
}

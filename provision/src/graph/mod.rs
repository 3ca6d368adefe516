//! ONNX networks written from weights, one builder per network, without torch and without a protobuf library.
//!
//! [`Graph`] collects nodes and constants and encodes the file. Field numbers: `onnx/onnx.proto` of ONNX 1.12, IR
//! version 8, operator set 17. The same calls give the same bytes.

pub mod campplus;
mod norm;
pub mod proto;
pub mod resnet34;
pub mod segmentation;

use std::collections::HashMap;

use proto::Message;
use sha2::{Digest, Sha256};

use crate::checkpoint::CheckpointError;

const IR_VERSION: i64 = 8;
const OPERATOR_SET: i64 = 17;
/// `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// Why a network cannot be written from a state dictionary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A tensor is missing or of another shape: not a checkpoint of this network.
    #[error("the checkpoint does not hold this network's weights")]
    Weights(#[from] CheckpointError),
}

/// A value inside a graph: the output of a node, a constant, or an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// The value of an attribute.
#[derive(Debug, Clone)]
pub enum Attribute {
    /// One integer.
    Int(i64),
    /// Several integers.
    Ints(Vec<i64>),
    /// One 32-bit float.
    Float(f32),
    /// A string.
    Text(&'static str),
}

impl From<i64> for Attribute {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl<const N: usize> From<[i64; N]> for Attribute {
    fn from(value: [i64; N]) -> Self {
        Self::Ints(value.to_vec())
    }
}
impl From<f32> for Attribute {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}
impl From<&'static str> for Attribute {
    fn from(value: &'static str) -> Self {
        Self::Text(value)
    }
}

/// A length of a graph's input or output: fixed, or named and free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// Always this.
    Fixed(i64),
    /// Known when the network runs.
    Free(&'static str),
}

/// A float input or output of the whole network.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// Name of the value.
    pub name: &'static str,
    /// Its dimensions.
    pub dims: &'a [Dim],
}

/// Names and values of the attributes of a node.
pub type Attributes<'a> = &'a [(&'static str, Attribute)];

/// A network under construction.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    by_content: HashMap<[u8; 32], Name>,
}

impl Graph {
    /// A graph without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A float constant; equal constants are stored once. `shape` must have as many elements as `data`.
    pub fn floats(&mut self, shape: &[usize], data: &[f32]) -> Name {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        let raw = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(FLOAT, shape, raw, "w")
    }

    /// A float constant computed in double precision, rounded once here.
    pub fn rounded(&mut self, shape: &[usize], data: &[f64]) -> Name {
        let data: Vec<f32> = data.iter().map(|value| *value as f32).collect();
        self.floats(shape, &data)
    }

    /// A one-dimensional integer constant (shapes, axes, indices).
    pub fn ints(&mut self, values: &[i64]) -> Name {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(INT64, &[values.len()], raw, "i")
    }

    fn constant(&mut self, kind: i64, shape: &[usize], raw: Vec<u8>, stem: &str) -> Name {
        let mut hash = Sha256::new();
        hash.update(kind.to_le_bytes());
        hash.update(shape.len().to_le_bytes());
        for dim in shape {
            hash.update(dim.to_le_bytes());
        }
        hash.update(&raw);
        let key: [u8; 32] = hash.finalize().into();
        if let Some(name) = self.by_content.get(&key) {
            return name.clone();
        }
        let name = Name(format!("{stem}_{}", self.constants.len()));
        let tensor = Message::new()
            .each(shape, |tensor, dim| tensor.int(1, *dim as i64))
            .int(2, kind)
            .bytes(8, &name.0)
            .bytes(9, raw);
        self.constants.push(tensor);
        self.by_content.insert(key, name.clone());
        name
    }

    /// An input of the network, to be listed when it is encoded.
    #[must_use]
    pub fn input(port: &Port<'_>) -> Name {
        Name(port.name.to_owned())
    }

    /// A node without attributes.
    pub fn op(&mut self, kind: &str, inputs: &[&Name]) -> Name {
        self.op_with(kind, inputs, &[])
    }

    /// A node with one output.
    pub fn op_with(&mut self, kind: &str, inputs: &[&Name], attributes: Attributes<'_>) -> Name {
        let name = format!("{}_{}", kind.to_lowercase(), self.nodes.len() + 1);
        self.op_named(name, kind, inputs, attributes)
    }

    /// A node whose output is an output of the network.
    pub fn output(
        &mut self,
        port: &Port<'_>,
        kind: &str,
        inputs: &[&Name],
        attributes: Attributes<'_>,
    ) -> Name {
        self.op_named(port.name.to_owned(), kind, inputs, attributes)
    }

    fn op_named(&mut self, name: String, kind: &str, inputs: &[&Name], attributes: Attributes<'_>) -> Name {
        let node = Message::new()
            .each(inputs, |node, input| node.bytes(1, &input.0))
            .bytes(2, &name)
            .bytes(3, &name)
            .bytes(4, kind)
            .each(attributes, |node, (key, value)| node.message(5, &attribute(key, value)));
        self.nodes.push(node);
        Name(name)
    }

    /// The ONNX file. `metadata` is stored as the model's properties.
    #[must_use]
    pub fn encode(&self, inputs: &[Port<'_>], outputs: &[Port<'_>], metadata: &[(&str, &str)]) -> Vec<u8> {
        let graph = Message::new()
            .each(&self.nodes, |graph, node| graph.message(1, node))
            .bytes(2, "g")
            .each(&self.constants, |graph, tensor| graph.message(5, tensor))
            .each(inputs, |graph, port| graph.message(11, &value_info(port)))
            .each(outputs, |graph, port| graph.message(12, &value_info(port)));
        Message::new()
            .int(1, IR_VERSION)
            .bytes(2, "rollcall")
            .message(7, &graph)
            .message(8, &Message::new().bytes(1, "").int(2, OPERATOR_SET))
            .each(metadata, |model, (key, value)| {
                model.message(14, &Message::new().bytes(1, key).bytes(2, value))
            })
            .into_bytes()
    }
}

/// `AttributeProto`; the numbers of field 20 are `AttributeType`.
fn attribute(name: &str, value: &Attribute) -> Message {
    let named = Message::new().bytes(1, name);
    match value {
        Attribute::Float(value) => named.float(2, *value).int(20, 1),
        Attribute::Int(value) => named.int(3, *value).int(20, 2),
        Attribute::Text(value) => named.bytes(4, value).int(20, 3),
        Attribute::Ints(values) => named.each(values, |m, value| m.int(8, *value)).int(20, 7),
    }
}

/// `ValueInfoProto` of a float tensor.
fn value_info(port: &Port<'_>) -> Message {
    let shape = Message::new().each(port.dims, |shape, dim| {
        let dim = match dim {
            Dim::Fixed(length) => Message::new().int(1, *length),
            Dim::Free(name) => Message::new().bytes(2, name),
        };
        shape.message(1, &dim)
    });
    let tensor = Message::new().int(1, FLOAT).message(2, &shape);
    Message::new().bytes(1, port.name).message(2, &Message::new().message(1, &tensor))
}

//! Reads back what the graph builders wrote: just enough of ONNX to check it.

use std::collections::{BTreeMap, BTreeSet};

pub struct Node {
    pub kind: String,
    pub inputs: Vec<String>,
    pub output: String,
}

pub struct Constant {
    pub name: String,
    pub dims: Vec<u64>,
    /// `TensorProto.DataType`: 1 float, 7 int64.
    pub kind: u64,
    pub raw: Vec<u8>,
}

pub struct Model {
    pub nodes: Vec<Node>,
    pub constants: Vec<Constant>,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub ir_version: u64,
    pub operator_set: u64,
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        match self {
            Field::Number(value) => *value,
            Field::Bytes(_) => panic!("a number is expected"),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => panic!("bytes are expected"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("names in a graph are text")
    }
}

fn varint(data: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = data[0];
        *data = &data[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// All fields of a message, by number, in order.
fn message(mut data: &[u8]) -> BTreeMap<u64, Vec<Field<'_>>> {
    let mut fields: BTreeMap<u64, Vec<Field<'_>>> = BTreeMap::new();
    while !data.is_empty() {
        let key = varint(&mut data);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut data)),
            kind => {
                let length = if kind == 5 { 4 } else { varint(&mut data) as usize };
                let (bytes, rest) = data.split_at(length);
                data = rest;
                Field::Bytes(bytes)
            }
        };
        fields.entry(key >> 3).or_default().push(field);
    }
    fields
}

fn texts(fields: &BTreeMap<u64, Vec<Field<'_>>>, number: u64) -> Vec<String> {
    fields.get(&number).map_or(Vec::new(), |fields| fields.iter().map(Field::text).collect())
}

impl Model {
    pub fn parse(file: &[u8]) -> Self {
        let model = message(file);
        let graph = message(model[&7][0].bytes());
        let each = |number| graph.get(&number).into_iter().flatten().map(|field| message(field.bytes()));
        let nodes = each(1).map(|node| Node {
            kind: node[&4][0].text(),
            inputs: texts(&node, 1),
            output: node[&2][0].text(),
        });
        let constants = each(5).map(|tensor| Constant {
            name: tensor[&8][0].text(),
            dims: tensor.get(&1).into_iter().flatten().map(Field::number).collect(),
            kind: tensor[&2][0].number(),
            raw: tensor[&9][0].bytes().to_vec(),
        });
        Self {
            nodes: nodes.collect(),
            constants: constants.collect(),
            inputs: each(11).map(|port| port[&1][0].text()).collect(),
            outputs: each(12).map(|port| port[&1][0].text()).collect(),
            ir_version: model[&1][0].number(),
            operator_set: message(model[&8][0].bytes())[&2][0].number(),
        }
    }

    /// Panics unless every value is named once and made before it is used, and every constant has the size of its
    /// shape.
    pub fn check(&self) {
        assert_eq!((self.ir_version, self.operator_set), (8, 17));
        let mut known: BTreeSet<&str> = self.inputs.iter().map(String::as_str).collect();
        for constant in &self.constants {
            let bytes = if constant.kind == 1 { 4 } else { 8 };
            assert_eq!(
                constant.raw.len() as u64,
                bytes * constant.dims.iter().product::<u64>(),
                "{}",
                constant.name
            );
            assert!(known.insert(&constant.name), "{} is named twice", constant.name);
        }
        for node in &self.nodes {
            for input in &node.inputs {
                assert!(known.contains(input.as_str()), "{} uses {input} before it is made", node.output);
            }
            assert!(known.insert(&node.output), "{} is named twice", node.output);
        }
        assert!(self.outputs.iter().all(|output| known.contains(output.as_str())));
    }

    /// How many nodes of each kind there are.
    pub fn kinds(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for node in &self.nodes {
            *kinds.entry(node.kind.as_str()).or_default() += 1;
        }
        kinds
    }
}

//! A look into ONNX files, without running or resolving anything.
//!
//! Invariant: a file that [`inspect`] accepts holds every number it needs; nothing in it names another file. Field
//! numbers: `onnx/onnx.proto` of ONNX 1.12. A file is hostile until read: lengths and depth are bounded by what is there,
//! and nothing is allocated but the names of inputs and outputs.

/// Deepest nesting of graphs that is looked into; networks at hand have 1.
const DEPTH_MAX: usize = 16;
/// Most inputs and outputs that are listed.
const PORTS_MAX: usize = 64;
/// Longest name that is kept, bytes.
const NAME_BYTES_MAX: usize = 256;
/// Most axes of an input or output.
const AXES_MAX: usize = 16;
/// Most constants that are listed.
const CONSTANTS_MAX: usize = 1 << 16;
/// `TensorProto.DataType` of 32-bit floats.
const FLOAT: u64 = 1;
/// `TensorProto.DataLocation`: the numbers lie in another file.
const EXTERNAL: u64 = 1;
/// Operator of compiled contexts, whose content may lie in another file.
const CONTEXT_OPERATOR: &[u8] = b"EPContext";

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// Not a network, or cut short.
    #[error("not a whole ONNX file: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Numbers that lie elsewhere.
    #[error("the network refers to data outside its file: `{name}`")]
    External {
        /// The tensor or node.
        name: String,
    },
    /// More of something than is looked at.
    #[error("the network has too many {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
}

/// What a network takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Inputs that have to be given, in order.
    pub inputs: Vec<Port>,
    /// Outputs, in order.
    pub outputs: Vec<Port>,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// `TensorProto.DataType`: 1 is float, 7 is int64; 0 when it is no tensor.
    pub element: u64,
    /// Lengths of its axes; `None` where they are known only when the network runs.
    pub dims: Vec<Option<u64>>,
}

/// Reads what a network takes and gives, and makes sure that it refers to nothing outside its file.
///
/// # Errors
/// See [`OnnxError`].
pub fn inspect(file: &[u8]) -> Result<Interface, OnnxError> {
    let mut interface = None;
    for field in Fields(file) {
        match field? {
            (7, Value::Bytes(graph)) if interface.is_none() => interface = Some(self::graph(graph, 0)?),
            (7, Value::Bytes(_)) => return Err(OnnxError::Malformed { what: "it has two graphs" }),
            (20, Value::Bytes(training)) => {
                for field in Fields(training) {
                    if let (1 | 2, Value::Bytes(graph)) = field? {
                        self::graph(graph, 1)?;
                    }
                }
            }
            (25, Value::Bytes(function)) => {
                for field in Fields(function) {
                    match field? {
                        (7, Value::Bytes(node)) => self::node(node, 1)?,
                        (11, Value::Bytes(attribute)) => self::attribute(attribute, 1)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    interface.ok_or(OnnxError::Malformed { what: "it has no graph" })
}

/// A constant of a network's own graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant<'a> {
    /// Lengths of its axes.
    pub dims: Vec<u64>,
    /// `TensorProto.DataType`.
    pub element: u64,
    /// Its numbers as bytes, little-endian; empty when they are written in another form.
    raw: &'a [u8],
}

impl Constant<'_> {
    /// Numbers that its axes hold, at most `u64::MAX`.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims.iter().fold(1, |product, dim| product.saturating_mul(*dim))
    }

    /// Its numbers; `None` unless they are 32-bit floats, as many as the axes hold.
    #[must_use]
    pub fn floats(&self) -> Option<Vec<f32>> {
        let (numbers, rest) = self.raw.as_chunks::<4>();
        let whole = self.element == FLOAT && rest.is_empty() && numbers.len() as u64 == self.elements();
        whole.then(|| numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// The constants of a network's own graph, not of graphs within it.
///
/// # Errors
/// See [`OnnxError`].
pub fn constants(file: &[u8]) -> Result<Vec<Constant<'_>>, OnnxError> {
    let mut constants = Vec::new();
    for field in Fields(text_of(file, 7)?) {
        let (5, Value::Bytes(tensor)) = field? else { continue };
        if constants.len() == CONSTANTS_MAX {
            return Err(OnnxError::TooMany { what: "constants" });
        }
        constants.push(constant(tensor)?);
    }
    Ok(constants)
}

/// `TensorProto`, its axes each by itself or packed into one field.
fn constant(data: &[u8]) -> Result<Constant<'_>, OnnxError> {
    let mut constant = Constant { dims: Vec::new(), element: 0, raw: &[] };
    for field in Fields(data) {
        match field? {
            (1, Value::Number(dim)) => constant.dims.push(dim),
            (1, Value::Bytes(packed)) => {
                let mut rest = Fields(packed);
                while !rest.0.is_empty() && constant.dims.len() <= AXES_MAX {
                    constant.dims.push(rest.varint()?);
                }
            }
            (2, Value::Number(element)) => constant.element = element,
            (9, Value::Bytes(raw)) => constant.raw = raw,
            _ => {}
        }
        if constant.dims.len() > AXES_MAX {
            return Err(OnnxError::TooMany { what: "axes" });
        }
    }
    Ok(constant)
}

/// `GraphProto`. Constants that are listed as inputs too, as old exporters do, are no inputs.
fn graph(data: &[u8], depth: usize) -> Result<Interface, OnnxError> {
    if depth > DEPTH_MAX {
        return Err(OnnxError::TooMany { what: "nested graphs" });
    }
    let mut interface = Interface::default();
    for field in Fields(data) {
        match field? {
            (1, Value::Bytes(node)) => self::node(node, depth)?,
            (5, Value::Bytes(tensor)) => self::tensor(tensor)?,
            (15, Value::Bytes(sparse)) => self::sparse(sparse)?,
            (11, Value::Bytes(port)) if depth == 0 => push(&mut interface.inputs, port)?,
            (12, Value::Bytes(port)) if depth == 0 => push(&mut interface.outputs, port)?,
            _ => {}
        }
    }
    if !interface.inputs.is_empty() {
        for field in Fields(data) {
            if let (5, Value::Bytes(tensor)) = field? {
                let name = text_of(tensor, 8)?;
                interface.inputs.retain(|port| port.name.as_bytes() != name);
            }
        }
    }
    Ok(interface)
}

fn push(ports: &mut Vec<Port>, data: &[u8]) -> Result<(), OnnxError> {
    if ports.len() == PORTS_MAX {
        return Err(OnnxError::TooMany { what: "inputs or outputs" });
    }
    ports.push(port(data)?);
    Ok(())
}

/// `NodeProto`.
fn node(data: &[u8], depth: usize) -> Result<(), OnnxError> {
    for field in Fields(data) {
        match field? {
            (4, Value::Bytes(CONTEXT_OPERATOR)) => {
                return Err(OnnxError::External { name: printable(text_of(data, 3)?) });
            }
            (5, Value::Bytes(attribute)) => self::attribute(attribute, depth)?,
            _ => {}
        }
    }
    Ok(())
}

/// `AttributeProto`: tensors and graphs, alone and in lists.
fn attribute(data: &[u8], depth: usize) -> Result<(), OnnxError> {
    for field in Fields(data) {
        match field? {
            (5 | 10, Value::Bytes(tensor)) => self::tensor(tensor)?,
            (6 | 11, Value::Bytes(graph)) => _ = self::graph(graph, depth + 1)?,
            (22 | 23, Value::Bytes(sparse)) => self::sparse(sparse)?,
            _ => {}
        }
    }
    Ok(())
}

/// `SparseTensorProto`: values and indices.
fn sparse(data: &[u8]) -> Result<(), OnnxError> {
    for field in Fields(data) {
        if let (1 | 2, Value::Bytes(tensor)) = field? {
            self::tensor(tensor)?;
        }
    }
    Ok(())
}

/// `TensorProto`.
fn tensor(data: &[u8]) -> Result<(), OnnxError> {
    for field in Fields(data) {
        if matches!(field?, (13, _) | (14, Value::Number(EXTERNAL))) {
            return Err(OnnxError::External { name: printable(text_of(data, 8)?) });
        }
    }
    Ok(())
}

/// `ValueInfoProto` of a tensor.
fn port(data: &[u8]) -> Result<Port, OnnxError> {
    let mut port = Port { name: printable(text_of(data, 1)?), ..Port::default() };
    let shape = text_of(text_of(data, 2)?, 1)?;
    for field in Fields(shape) {
        match field? {
            (1, Value::Number(element)) => port.element = element,
            (2, Value::Bytes(axes)) => {
                for axis in Fields(axes) {
                    let (1, Value::Bytes(axis)) = axis? else { continue };
                    if port.dims.len() == AXES_MAX {
                        return Err(OnnxError::TooMany { what: "axes" });
                    }
                    let mut length = None;
                    for field in Fields(axis) {
                        if let (1, Value::Number(value)) = field? {
                            length = Some(value);
                        }
                    }
                    port.dims.push(length);
                }
            }
            _ => {}
        }
    }
    Ok(port)
}

/// The last bytes field of a number, empty when there is none.
fn text_of(data: &[u8], wanted: u64) -> Result<&[u8], OnnxError> {
    let mut found: &[u8] = &[];
    for field in Fields(data) {
        if let (number, Value::Bytes(bytes)) = field?
            && number == wanted
        {
            found = bytes;
        }
    }
    Ok(found)
}

fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]).into_owned()
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes of a float; nobody asks for them.
    Fixed,
}

/// The fields of a message; ends after the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, OnnxError> {
        let mut value = 0u64;
        for shift in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(CUT)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(7 * shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OnnxError::Malformed { what: "a number has too many bytes" })
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], OnnxError> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.0.len()).ok_or(CUT)?;
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), OnnxError> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let count = self.varint()?;
                Value::Bytes(self.take(count)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(OnnxError::Malformed { what: "a field of an unknown type" }),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), OnnxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

const CUT: OnnxError = OnnxError::Malformed { what: "it ends within a field" };

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
    }

    fn port(name: &str) -> Vec<u8> {
        let axes = [bytes(1, &bytes(2, b"batch")), bytes(1, &number(1, 80))].concat();
        let tensor = bytes(1, &[number(1, 1), bytes(2, &axes)].concat());
        [bytes(1, name.as_bytes()), bytes(2, &tensor)].concat()
    }

    fn model(graph: &[Vec<u8>]) -> Vec<u8> {
        [number(1, 8), bytes(7, &graph.concat())].concat()
    }

    #[test]
    fn inputs_and_outputs_are_listed_and_constants_left_out() {
        let file = model(&[
            bytes(11, &port("x")),
            bytes(11, &port("w")),
            bytes(5, &bytes(8, b"w")),
            bytes(12, &port("y")),
        ]);
        let port = |name: &str| Port { name: name.into(), element: 1, dims: vec![None, Some(80)] };
        assert_eq!(inspect(&file), Ok(Interface { inputs: vec![port("x")], outputs: vec![port("y")] }));
    }

    #[test]
    fn data_outside_is_found_wherever_it_hides() {
        let located = [bytes(8, b"w"), number(14, 1)].concat();
        let described = [bytes(8, b"w"), bytes(13, b"location")].concat();
        let inside = [bytes(8, b"w"), number(14, 0), bytes(9, &[0; 8])].concat();
        assert!(inspect(&model(&[bytes(5, &inside)])).is_ok());
        let external = Err(OnnxError::External { name: "w".into() });
        for tensor in [located, described] {
            let inner = bytes(5, &tensor);
            let places = [
                inner.clone(),
                bytes(15, &bytes(2, &tensor)),
                bytes(1, &bytes(5, &bytes(5, &tensor))),
                bytes(1, &bytes(5, &bytes(10, &tensor))),
                bytes(1, &bytes(5, &bytes(22, &bytes(1, &tensor)))),
                bytes(1, &bytes(5, &bytes(6, &inner))),
                bytes(1, &bytes(5, &bytes(11, &bytes(1, &bytes(5, &bytes(6, &inner)))))),
            ];
            for (place, graph) in places.into_iter().enumerate() {
                assert_eq!(inspect(&model(&[graph])), external, "place {place}");
            }
            let elsewhere = |field| [model(&[]), field].concat();
            assert_eq!(inspect(&elsewhere(bytes(25, &bytes(7, &bytes(5, &bytes(5, &tensor)))))), external);
            assert_eq!(inspect(&elsewhere(bytes(20, &bytes(1, &inner)))), external);
        }
        let context = bytes(1, &[bytes(3, b"w"), bytes(4, b"EPContext")].concat());
        assert_eq!(inspect(&model(&[context])), external);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let malformed = |file: &[u8]| matches!(inspect(file), Err(OnnxError::Malformed { .. }));
        assert!(malformed(b"") && malformed(b"PK\x03\x04") && malformed(&number(1, 8)));
        assert!(malformed(&[model(&[]), model(&[])].concat()), "which one would count?");
        assert!(malformed(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]));
        let whole = model(&[bytes(11, &port("x"))]);
        assert!((1..whole.len()).all(|length| malformed(&whole[..length])));
    }

    #[test]
    fn depth_and_numbers_are_bounded() {
        let nested = |depth: usize| {
            let mut graph = Vec::new();
            for _ in 0..depth {
                graph = bytes(1, &bytes(5, &bytes(6, &graph)));
            }
            inspect(&model(&[graph]))
        };
        assert!(nested(DEPTH_MAX).is_ok());
        assert_eq!(nested(DEPTH_MAX + 1), Err(OnnxError::TooMany { what: "nested graphs" }));
        let ports = |count: usize| inspect(&model(&vec![bytes(11, &port("x")); count]));
        assert!(ports(PORTS_MAX).is_ok());
        assert_eq!(ports(PORTS_MAX + 1), Err(OnnxError::TooMany { what: "inputs or outputs" }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(file in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = inspect(&file);
            let _ = inspect(&bytes(7, &file));
        }
    }
}

//! A voice's `.onnx` file in; its named weights and the attributes of its convolutions out.
//!
//! Reads just the few fields of the ONNX protobuf (onnx/onnx.proto) that hold weights: no operator
//! is run from here.

use std::collections::HashMap;

/// Why a file is no ONNX graph; the reader adds the file's name.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The bytes end, or do not parse, where the protobuf format wants more.
    #[error("it is damaged or no ONNX model ({0})")]
    Damaged(&'static str),
}

/// A dense `f32` array in row-major order.
#[derive(Clone, Debug, Default)]
pub struct Array {
    /// Its dimensions, outermost first.
    pub dims: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// What one node of the graph does, as far as the loader needs it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The node's name, which follows the PyTorch module's: `/dec/ups.0/ConvTranspose`.
    pub name: String,
    /// `Conv`, `ConvTranspose`, `Gather`, …
    pub op: String,
    /// Names of its inputs.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Its integer attributes (`dilations`, `strides`, `pads`).
    pub ints: HashMap<String, Vec<i64>>,
}

/// The parts of a graph that hold weights.
#[derive(Debug, Default)]
pub struct Graph {
    /// All nodes, in order.
    pub nodes: Vec<Node>,
    /// The `f32` initializers.
    pub arrays: HashMap<String, Array>,
}

/// Reads a model file.
pub fn read(bytes: &[u8]) -> Result<Graph, OnnxError> {
    const GRAPH: u64 = 7;
    let mut graph = Graph::default();
    let mut found = false;
    for field in Fields(bytes) {
        if let (GRAPH, Value::Bytes(body)) = field? {
            found = true;
            read_graph(body, &mut graph)?;
        }
    }
    if found { Ok(graph) } else { Err(OnnxError::Damaged("no graph in it")) }
}

fn read_graph(bytes: &[u8], graph: &mut Graph) -> Result<(), OnnxError> {
    const NODE: u64 = 1;
    const INITIALIZER: u64 = 5;
    for field in Fields(bytes) {
        match field? {
            (NODE, Value::Bytes(body)) => graph.nodes.push(read_node(body)?),
            (INITIALIZER, Value::Bytes(body)) => {
                if let Some((name, array)) = read_tensor(body)? {
                    graph.arrays.insert(name, array);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_node(bytes: &[u8]) -> Result<Node, OnnxError> {
    let mut node = Node::default();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(text)) => node.inputs.push(string(text)),
            (2, Value::Bytes(text)) => node.outputs.push(string(text)),
            (3, Value::Bytes(text)) => node.name = string(text),
            (4, Value::Bytes(text)) => node.op = string(text),
            (5, Value::Bytes(body)) => {
                let mut name = String::new();
                let mut ints = Vec::new();
                for field in Fields(body) {
                    match field? {
                        (1, Value::Bytes(text)) => name = string(text),
                        (8, value) => integers(value, &mut ints)?,
                        _ => {}
                    }
                }
                if !ints.is_empty() {
                    node.ints.insert(name, ints);
                }
            }
            _ => {}
        }
    }
    Ok(node)
}

/// `None` for a tensor of another type than `f32`.
fn read_tensor(bytes: &[u8]) -> Result<Option<(String, Array)>, OnnxError> {
    const FLOAT: u64 = 1;
    let mut dims = Vec::new();
    let mut kind = 0;
    let mut name = String::new();
    let mut values: &[u8] = &[];
    for field in Fields(bytes) {
        match field? {
            (1, value) => integers(value, &mut dims)?,
            (2, Value::Number(number)) => kind = number,
            // `float_data` (packed) and `raw_data` are both little-endian floats.
            (4 | 9, Value::Bytes(raw)) => values = raw,
            (8, Value::Bytes(text)) => name = string(text),
            _ => {}
        }
    }
    if kind != FLOAT {
        return Ok(None);
    }
    let dims: Vec<usize> = dims
        .into_iter()
        .map(usize::try_from)
        .collect::<Result<_, _>>()
        .map_err(|_| OnnxError::Damaged("a negative size"))?;
    let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if count.and_then(|count| count.checked_mul(4)) != Some(values.len()) {
        return Err(OnnxError::Damaged("a weight of the wrong size"));
    }
    let values = values
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    Ok(Some((name, Array { dims, values })))
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A repeated integer field: packed, or one at a time.
fn integers(value: Value<'_>, into: &mut Vec<i64>) -> Result<(), OnnxError> {
    match value {
        Value::Number(number) => into.push(number as i64),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                into.push(varint(&mut packed)? as i64);
            }
        }
    }
    Ok(())
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of one protobuf message.
struct Fields<'a>(&'a [u8]);

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

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), OnnxError> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return Err(OnnxError::Damaged("an unknown kind of field")),
        };
        Ok((key >> 3, value))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], OnnxError> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(OnnxError::Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, OnnxError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(OnnxError::Damaged("it ends too early"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(OnnxError::Damaged("a number too long"))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        assert!(read(b"").is_err());
        assert!(read(b"<html>not found</html>").is_err());
        // A graph field that promises more bytes than there are.
        assert!(read(&[0x3a, 0xff, 0x7f, 0x00]).is_err());
    }
}

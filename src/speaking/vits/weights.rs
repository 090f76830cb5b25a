//! A graph's arrays under the names of the PyTorch modules they come from.
//!
//! A Piper export keeps most initializers' names; weights that the exporter folded or renamed get
//! theirs back from the convolution nodes, whose names follow the modules.

use std::collections::HashMap;

use super::onnx::{Array, Graph, Node};

/// What a convolution node says beyond its weights.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    /// Samples from one tap to the next.
    pub dilation: usize,
    /// Output samples per input sample (transposed convolutions).
    pub stride: usize,
}

/// All weights of a voice.
#[derive(Debug, Default)]
pub struct Weights {
    arrays: HashMap<String, Array>,
    shapes: HashMap<String, ConvShape>,
}

/// A weight the network needs is not in the file.
#[derive(Debug, thiserror::Error)]
#[error("it lacks the weight {0:?}, or has it in an unknown shape")]
pub struct Missing(pub String);

impl Weights {
    /// Sorts a graph's arrays.
    pub fn from_graph(graph: Graph) -> Self {
        let mut found = Self { arrays: graph.arrays, shapes: HashMap::new() };
        for node in &graph.nodes {
            // Equal weights are stored once; the others' names are outputs of such nodes.
            if let ("Identity", [source], [name]) =
                (node.op.as_str(), node.inputs.as_slice(), node.outputs.as_slice())
            {
                found.alias(name.clone(), source);
            }
        }
        for node in &graph.nodes {
            found.node(node);
        }
        // The exporter folds exp(-logs) into one constant, or leaves the exponential to be done.
        let folded = found.arrays.remove("/dp/flows.0/Exp_output_0");
        if let Some(Array { dims, values }) = folded {
            let values = values.iter().map(|value| -value.ln()).collect();
            found.arrays.insert("dp.flows.0.logs".into(), Array { dims, values });
        }
        found
    }

    /// Takes from a node what it says of its module's weights.
    fn node(&mut self, node: &Node) {
        let Some((path, _)) = node.name.trim_start_matches('/').rsplit_once('/') else { return };
        let module = path.replace('/', ".");
        match (node.op.as_str(), node.inputs.as_slice()) {
            ("Conv" | "ConvTranspose", [_, weight, rest @ ..]) => {
                self.alias(format!("{module}.weight"), weight);
                if let [bias, ..] = rest {
                    self.alias(format!("{module}.bias"), bias);
                }
                let attribute = |name: &str| {
                    let value = node.ints.get(name).and_then(|ints| ints.first()).copied();
                    value.and_then(|value| usize::try_from(value).ok()).unwrap_or(1).max(1)
                };
                let (dilation, stride) = (attribute("dilations"), attribute("strides"));
                self.shapes.insert(module, ConvShape { dilation, stride });
            }
            ("Gather", [table, ..]) if module == "enc_p.emb" || module == "emb_g" => {
                self.alias(format!("{module}.weight"), table);
            }
            ("Exp", [negated]) if module == "dp.flows.0" => {
                if let Some(Array { dims, values }) = self.arrays.get(negated).cloned() {
                    let values = values.iter().map(|value| -value).collect();
                    self.arrays.insert("dp.flows.0.logs".into(), Array { dims, values });
                }
            }
            _ => {}
        }
    }

    /// Gives an array a second name, unless something bears it already.
    fn alias(&mut self, name: String, found: &str) {
        if !self.arrays.contains_key(&name)
            && let Some(array) = self.arrays.get(found).cloned()
        {
            self.arrays.insert(name, array);
        }
    }

    /// Arrays that bear their names already, and what their convolutions need beyond them.
    pub fn named(arrays: HashMap<String, Array>, shapes: HashMap<String, ConvShape>) -> Self {
        Self { arrays, shapes }
    }

    /// A weight of the given shape; 0 stands for any size but none.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&Array, Missing> {
        let array = self.arrays.get(name).ok_or_else(|| Missing(name.into()))?;
        let fits = array.dims.len() == shape.len()
            && array
                .dims
                .iter()
                .zip(shape)
                .all(|(&dim, &wanted)| dim != 0 && (wanted == 0 || dim == wanted));
        if fits { Ok(array) } else { Err(Missing(format!("{name} {:?}", array.dims))) }
    }

    /// A weight the file may lack.
    pub fn find(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// What the graph says of a convolution.
    pub fn shape(&self, module: &str) -> Option<ConvShape> {
        self.shapes.get(module).copied()
    }

    /// How many modules `prefix.0`, `prefix.1`, … have the array `suffix`.
    pub fn count(&self, prefix: &str, suffix: &str) -> usize {
        (0..).take_while(|n| self.arrays.contains_key(&format!("{prefix}.{n}.{suffix}"))).count()
    }
}

//! A graph's arrays under the names of the PyTorch modules they come from.
//!
//! A Piper export keeps most initializers' names; weights that the exporter folded or renamed get
//! theirs back from the convolution nodes, whose names follow the modules.

use std::collections::HashMap;

use super::onnx::{Array, Graph};

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
        let mut renamed: Vec<(String, String)> = Vec::new();
        let mut shapes = HashMap::new();
        for node in &graph.nodes {
            let Some((path, _)) = node.name.trim_start_matches('/').rsplit_once('/') else {
                continue;
            };
            let module = path.replace('/', ".");
            match (node.op.as_str(), node.inputs.as_slice()) {
                ("Conv" | "ConvTranspose", [_, weight, rest @ ..]) => {
                    renamed.push((format!("{module}.weight"), weight.clone()));
                    if let [bias, ..] = rest {
                        renamed.push((format!("{module}.bias"), bias.clone()));
                    }
                    let attribute = |name: &str| {
                        let value = node.ints.get(name).and_then(|ints| ints.first()).copied();
                        value.and_then(|value| usize::try_from(value).ok()).unwrap_or(1).max(1)
                    };
                    shapes.insert(
                        module,
                        ConvShape {
                            dilation: attribute("dilations"),
                            stride: attribute("strides"),
                        },
                    );
                }
                ("Gather", [table, ..]) if module == "enc_p.emb" || module == "emb_g" => {
                    renamed.push((format!("{module}.weight"), table.clone()));
                }
                _ => {}
            }
        }
        let mut arrays = graph.arrays;
        for (name, found) in renamed {
            if !arrays.contains_key(&name)
                && let Some(array) = arrays.get(&found).cloned()
            {
                arrays.insert(name, array);
            }
        }
        // The exporter folds exp(-logs) into one constant.
        if let Some(scale) = arrays.remove("/dp/flows.0/Exp_output_0") {
            let values = scale.values.iter().map(|value| -value.ln()).collect();
            arrays.insert("dp.flows.0.logs".into(), Array { dims: scale.dims, values });
        }
        Self { arrays, shapes }
    }

    /// A weight of the given shape; 0 stands for any size.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&Array, Missing> {
        let array = self.arrays.get(name).ok_or_else(|| Missing(name.into()))?;
        let fits = array.dims.len() == shape.len()
            && array.dims.iter().zip(shape).all(|(&dim, &wanted)| wanted == 0 || dim == wanted);
        if fits { Ok(array) } else { Err(Missing(format!("{name} {:?}", array.dims))) }
    }

    /// All arrays and what the graph says of its convolutions, by name.
    pub fn into_parts(self) -> (HashMap<String, Array>, HashMap<String, ConvShape>) {
        (self.arrays, self.shapes)
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

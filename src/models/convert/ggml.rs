//! Writes and checks whisper.cpp's ggml files.
//!
//! Layout, little-endian (whisper.cpp, `models/convert-pt-to-ggml.py`): the magic "ggml" as u32;
//! eleven i32 of hyper-parameters; mel filters (i32 rows, i32 columns, f32 row by row); the base
//! vocabulary (i32 count, each token an i32 length and its bytes); then until the end tensors: i32
//! rank, i32 length of the name, i32 type (0 f32, 1 f16), i32 sizes innermost first, name, data.

use super::ct2::{Bytes, Model, Tensor};
use super::{mel, vocabulary};

const MAGIC: u32 = 0x6767_6d6c;
const F32: u32 = 0;
const F16: u32 = 1;

/// The eleven numbers at the head of the file, in their order there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    vocabulary: u32,
    audio_context: u32,
    audio_state: u32,
    audio_heads: u32,
    audio_layers: u32,
    text_context: u32,
    text_state: u32,
    text_heads: u32,
    text_layers: u32,
    mels: u32,
    weights: u32,
}

impl Shape {
    fn of(model: &Model) -> Result<Self, String> {
        let size = |name: &str, axis| Ok::<_, String>(model.tensor(name)?.size(axis) as u32);
        let state = size("decoder/embeddings/weight", 1)?;
        Ok(Self {
            vocabulary: size("decoder/embeddings/weight", 0)?,
            audio_context: size("encoder/position_encodings/encodings", 0)?,
            audio_state: state,
            audio_heads: model.tensor("encoder/num_heads")?.number()?,
            audio_layers: model.layers("encoder") as u32,
            text_context: size("decoder/position_encodings/encodings", 0)?,
            text_state: state,
            text_heads: model.tensor("decoder/num_heads")?.number()?,
            text_layers: model.layers("decoder") as u32,
            mels: size("encoder/conv1/weight", 1)?,
            weights: F16,
        })
    }

    fn numbers(&self) -> [u32; 11] {
        [
            self.vocabulary,
            self.audio_context,
            self.audio_state,
            self.audio_heads,
            self.audio_layers,
            self.text_context,
            self.text_state,
            self.text_heads,
            self.text_layers,
            self.mels,
            self.weights,
        ]
    }

    fn read(bytes: &mut Bytes) -> Result<Self, String> {
        Ok(Self {
            vocabulary: bytes.u32()?,
            audio_context: bytes.u32()?,
            audio_state: bytes.u32()?,
            audio_heads: bytes.u32()?,
            audio_layers: bytes.u32()?,
            text_context: bytes.u32()?,
            text_state: bytes.u32()?,
            text_heads: bytes.u32()?,
            text_layers: bytes.u32()?,
            mels: bytes.u32()?,
            weights: bytes.u32()?,
        })
    }

    /// Tensors of a model with so many layers: 15 an encoder layer, 24 a decoder layer, and
    /// positions, embeddings, convolutions and final norms.
    fn tensors(&self) -> usize {
        11 + 15 * self.audio_layers as usize + 24 * self.text_layers as usize
    }
}

/// The whole file for a CTranslate2 model and its `tokenizer.json`.
pub(super) fn write(model: &Model, tokenizer: &[u8]) -> Result<Vec<u8>, String> {
    let shape = Shape::of(model)?;
    let mut out = Writer { model, state: shape.text_state as usize, bytes: Vec::new() };
    out.numbers(&[MAGIC]);
    out.numbers(&shape.numbers());
    out.numbers(&[shape.mels, mel::BINS as u32]);
    for weight in mel::filters(shape.mels as usize) {
        out.bytes.extend(weight.to_le_bytes());
    }
    let tokens = vocabulary::base(tokenizer)?;
    out.numbers(&[tokens.len() as u32]);
    for token in tokens {
        out.numbers(&[token.len() as u32]);
        out.bytes.extend(token);
    }
    out.encoder(shape.audio_layers)?;
    out.decoder(shape.text_layers)?;
    Ok(out.bytes)
}

struct Writer<'a> {
    model: &'a Model<'a>,
    /// Width of the model.
    state: usize,
    bytes: Vec<u8>,
}

impl Writer<'_> {
    fn numbers(&mut self, numbers: &[u32]) {
        self.bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    fn encoder(&mut self, layers: u32) -> Result<(), String> {
        self.plain("encoder.positional_embedding", "encoder/position_encodings/encodings")?;
        for conv in ["conv1", "conv2"] {
            let weight = self.model.tensor(&format!("encoder/{conv}/weight"))?;
            self.weight(&format!("encoder.{conv}.weight"), weight)?;
            let bias = self.model.tensor(&format!("encoder/{conv}/bias"))?;
            let column = bias.reshaped(&[bias.size(0), 1])?;
            self.tensor(&format!("encoder.{conv}.bias"), &column, F32)?;
        }
        for layer in 0..layers {
            let (from, to) = (format!("encoder/layer_{layer}"), format!("encoder.blocks.{layer}"));
            self.self_attention(&from, &to)?;
            self.feed_forward(&from, &to)?;
        }
        self.norm("encoder/layer_norm", "encoder.ln_post")
    }

    fn decoder(&mut self, layers: u32) -> Result<(), String> {
        self.plain("decoder.positional_embedding", "decoder/position_encodings/encodings")?;
        let embeddings = self.model.tensor("decoder/embeddings/weight")?;
        self.weight("decoder.token_embedding.weight", embeddings)?;
        for layer in 0..layers {
            let (from, to) = (format!("decoder/layer_{layer}"), format!("decoder.blocks.{layer}"));
            self.self_attention(&from, &to)?;
            self.cross_attention(&from, &to)?;
            self.feed_forward(&from, &to)?;
        }
        self.norm("decoder/layer_norm", "decoder.ln")
    }

    /// CTranslate2 fuses query, key and value; the key's bias is always zero and left out.
    fn self_attention(&mut self, from: &str, to: &str) -> Result<(), String> {
        let at = format!("{from}/self_attention");
        let weight = self.model.tensor(&format!("{at}/linear_0/weight"))?;
        let bias = self.model.tensor(&format!("{at}/linear_0/bias"))?;
        for (part, name) in ["query", "key", "value"].into_iter().enumerate() {
            let (start, end) = (part * self.state, (part + 1) * self.state);
            self.weight(&format!("{to}.attn.{name}.weight"), &weight.rows(start, end)?)?;
            let bias = bias.rows(start, end)?;
            if name == "key" {
                require_zero(&bias)?;
            } else {
                self.tensor(&format!("{to}.attn.{name}.bias"), &bias, F32)?;
            }
        }
        self.linear(&format!("{at}/linear_1"), &format!("{to}.attn.out"))?;
        self.norm(&format!("{at}/layer_norm"), &format!("{to}.attn_ln"))
    }

    /// The query stands alone here; key and value are fused.
    fn cross_attention(&mut self, from: &str, to: &str) -> Result<(), String> {
        let at = format!("{from}/attention");
        self.linear(&format!("{at}/linear_0"), &format!("{to}.cross_attn.query"))?;
        let weight = self.model.tensor(&format!("{at}/linear_1/weight"))?;
        let bias = self.model.tensor(&format!("{at}/linear_1/bias"))?;
        let (half, whole) = (self.state, 2 * self.state);
        require_zero(&bias.rows(0, half)?)?;
        self.weight(&format!("{to}.cross_attn.key.weight"), &weight.rows(0, half)?)?;
        self.weight(&format!("{to}.cross_attn.value.weight"), &weight.rows(half, whole)?)?;
        self.tensor(&format!("{to}.cross_attn.value.bias"), &bias.rows(half, whole)?, F32)?;
        self.linear(&format!("{at}/linear_2"), &format!("{to}.cross_attn.out"))?;
        self.norm(&format!("{at}/layer_norm"), &format!("{to}.cross_attn_ln"))
    }

    fn feed_forward(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.linear(&format!("{from}/ffn/linear_0"), &format!("{to}.mlp.0"))?;
        self.linear(&format!("{from}/ffn/linear_1"), &format!("{to}.mlp.2"))?;
        self.norm(&format!("{from}/ffn/layer_norm"), &format!("{to}.mlp_ln"))
    }

    fn linear(&mut self, from: &str, to: &str) -> Result<(), String> {
        let weight = self.model.tensor(&format!("{from}/weight"))?;
        self.weight(&format!("{to}.weight"), weight)?;
        self.plain(&format!("{to}.bias"), &format!("{from}/bias"))
    }

    fn norm(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.plain(&format!("{to}.weight"), &format!("{from}/gamma"))?;
        self.plain(&format!("{to}.bias"), &format!("{from}/beta"))
    }

    fn plain(&mut self, name: &str, from: &str) -> Result<(), String> {
        let tensor = self.model.tensor(from)?;
        self.tensor(name, tensor, F32)
    }

    fn weight(&mut self, name: &str, tensor: &Tensor) -> Result<(), String> {
        self.tensor(name, tensor, F16)
    }

    fn tensor(&mut self, name: &str, tensor: &Tensor, kind: u32) -> Result<(), String> {
        self.numbers(&[tensor.sizes.len() as u32, name.len() as u32, kind]);
        let sizes: Vec<u32> = tensor.sizes.iter().rev().map(|size| *size as u32).collect();
        self.numbers(&sizes);
        self.bytes.extend(name.as_bytes());
        let data = if kind == F16 { tensor.f16_bytes() } else { tensor.f32_bytes() };
        self.bytes.extend(data.map_err(|error| format!("{name}: {error}"))?);
        Ok(())
    }
}

fn require_zero(bias: &Tensor) -> Result<(), String> {
    if bias.values()?.iter().any(|value| *value != 0.0) {
        return Err("a key has a bias, which Whisper's keys do not have".to_owned());
    }
    Ok(())
}

/// Checks a whole file; see [`super::check_ggml`].
pub(super) fn check(file: &[u8]) -> Result<Shape, String> {
    let mut bytes = Bytes(file);
    if bytes.u32()? != MAGIC {
        return Err("it is no ggml file".to_owned());
    }
    let shape = Shape::read(&mut bytes)?;
    let (rows, columns) = (bytes.count()?, bytes.count()?);
    if (rows, columns) != (shape.mels as usize, mel::BINS) {
        return Err(format!("it has {rows} x {columns} mel filters"));
    }
    bytes.take(rows * columns * 4)?;
    for _ in 0..bytes.count()? {
        let length = bytes.count()?;
        bytes.take(length)?;
    }
    let mut tensors = 0;
    while !bytes.0.is_empty() {
        skip_tensor(&mut bytes)?;
        tensors += 1;
    }
    if tensors != shape.tensors() {
        return Err(format!("it has {tensors} tensors instead of {}", shape.tensors()));
    }
    Ok(shape)
}

fn skip_tensor(bytes: &mut Bytes) -> Result<(), String> {
    let (rank, name, kind) = (bytes.count()?, bytes.count()?, bytes.u32()?);
    let item = match kind {
        F32 => 4usize,
        F16 => 2,
        kind => return Err(format!("a tensor has the unknown type {kind}")),
    };
    if !(1..=4).contains(&rank) {
        return Err(format!("a tensor has {rank} axes"));
    }
    let mut length = item;
    for _ in 0..rank {
        let size = bytes.count()?;
        length = length.checked_mul(size).ok_or("a tensor is impossibly large")?;
    }
    bytes.take(name)?;
    bytes.take(length).map(|_| ())
}

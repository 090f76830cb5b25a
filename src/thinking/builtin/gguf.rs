//! Reading the model file.
//!
//! In: the path of a GGUF file of the Qwen2 family. Out: a [`Network`] and a [`Tokenizer`], or a
//! sentence that says what is wrong with the file and what to do.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};

use super::kernels::{BLOCK, Isa, LANES};
use super::network::{Layer, Network, Shape, Weights};
use super::packed::{Packed, Source};
use super::pool::Pool;
use super::tokenizer::Tokenizer;

/// Why the built-in brain does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such file.
    #[error("the language model {} is missing; fetch it with `eva models pull`", .0.display())]
    Missing(PathBuf),
    /// The file is there, but cannot be read.
    #[error("the language model {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is cut short, or its content is damaged.
    #[error(
        "the language model {} is damaged ({reason}); delete it and fetch it again with \
         `eva models pull`",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A sound file of a model that this brain cannot run.
    #[error(
        "the language model {} cannot be used ({reason}); the built-in brain runs models of the \
         Qwen2 family as GGUF, `eva models pull` fetches one",
        path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not supported.
        reason: String,
    },
    /// The system gives no threads.
    #[error("the language model's threads do not start: {0}")]
    Threads(String),
}

/// What is wrong, before the path is known to it.
enum Fault {
    Damaged(String),
    Unsupported(String),
}

impl Fault {
    fn damaged(reason: impl std::fmt::Display) -> Self {
        // candle's errors may carry a backtrace; its first line says it all.
        let reason = reason.to_string();
        Self::Damaged(reason.lines().next().unwrap_or_default().to_owned())
    }
}

/// Reads the whole model; a sequence will have at most `context` positions.
pub(super) fn load(
    path: &Path,
    context: usize,
    isa: Isa,
    pool: &Pool,
) -> Result<(Network, Tokenizer), StartError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StartError::Missing(path.to_owned()),
        _ => StartError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    })?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    Content::read(&mut reader)
        .map_err(Fault::damaged)
        .and_then(|content| Reader { reader, content, pool }.load(context, isa))
        .map_err(|fault| match fault {
            Fault::Damaged(reason) => StartError::Damaged { path: path.to_owned(), reason },
            Fault::Unsupported(reason) => StartError::Unsupported { path: path.to_owned(), reason },
        })
}

struct Reader<'a> {
    reader: BufReader<File>,
    content: Content,
    pool: &'a Pool,
}

impl Reader<'_> {
    fn load(mut self, context: usize, isa: Isa) -> Result<(Network, Tokenizer), Fault> {
        let architecture =
            self.value("general.architecture")?.to_string().map_err(Fault::damaged)?;
        if architecture != "qwen2" {
            return Err(Fault::Unsupported(format!("its architecture is {architecture:?}")));
        }
        let tokenizer = self.tokenizer()?;
        let shape = self.shape(context, tokenizer.len())?;
        let weights = Weights {
            layers: (0..shape.layers)
                .map(|index| self.layer(&shape, index))
                .collect::<Result<_, _>>()?,
            norm: self.vector("output_norm.weight", shape.hidden)?,
            head: {
                // Small models tie the output to the embedding.
                let tied = !self.content.tensor_infos.contains_key("output.weight");
                let name = if tied { "token_embd.weight" } else { "output.weight" };
                self.matrix(name, shape.vocabulary, shape.hidden)?
            },
            embedding: {
                let info = self.info("token_embd.weight", &[shape.vocabulary, shape.hidden])?;
                if !shape.hidden.is_multiple_of(info.0.block_size()) {
                    return Err(Fault::damaged("its embedding has an impossible type"));
                }
                self.content
                    .tensor(&mut self.reader, "token_embd.weight", &Device::Cpu)
                    .map_err(Fault::damaged)?
            },
        };
        Ok((Network::new(shape, weights, isa), tokenizer))
    }

    fn value(&self, key: &str) -> Result<&Value, Fault> {
        let missing = || Fault::damaged(format!("it does not say {key}"));
        self.content.metadata.get(key).ok_or_else(missing)
    }

    fn number(&self, key: &str) -> Result<usize, Fault> {
        let number = self.value(&format!("qwen2.{key}"))?.to_u32().map_err(Fault::damaged)?;
        Ok(number as usize)
    }

    fn shape(&self, context: usize, vocabulary: usize) -> Result<Shape, Fault> {
        let float =
            |key: &str| self.value(&format!("qwen2.{key}"))?.to_f32().map_err(Fault::damaged);
        let shape = Shape {
            layers: self.number("block_count")?,
            hidden: self.number("embedding_length")?,
            heads: self.number("attention.head_count")?,
            kv_heads: self.number("attention.head_count_kv")?,
            feed_forward: self.number("feed_forward_length")?,
            vocabulary,
            epsilon: float("attention.layer_norm_rms_epsilon")?,
            rope_base: float("rope.freq_base")?,
            context: context.min(self.number("context_length")?),
        };
        let fits = shape.heads > 0
            && shape.kv_heads > 0
            && shape.hidden > 0
            && shape.hidden.is_multiple_of(shape.heads)
            && shape.heads.is_multiple_of(shape.kv_heads)
            && shape.dims().is_multiple_of(LANES)
            && shape.hidden.is_multiple_of(BLOCK)
            && shape.feed_forward.is_multiple_of(BLOCK)
            && vocabulary.is_multiple_of(LANES);
        if fits {
            Ok(shape)
        } else {
            Err(Fault::Unsupported(format!("its measures {shape:?} do not fit the kernels")))
        }
    }

    fn layer(&mut self, shape: &Shape, index: usize) -> Result<Layer, Fault> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let (hidden, wide) = (shape.hidden, shape.feed_forward);
        let kv = shape.kv_heads * shape.dims();
        let mut bias = self.vector(&name("attn_q.bias"), hidden)?;
        bias.extend(self.vector(&name("attn_k.bias"), kv)?);
        bias.extend(self.vector(&name("attn_v.bias"), kv)?);
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm.weight"), hidden)?,
            query: self.matrix(&name("attn_q.weight"), hidden, hidden)?,
            key: self.matrix(&name("attn_k.weight"), kv, hidden)?,
            value: self.matrix(&name("attn_v.weight"), kv, hidden)?,
            bias,
            output: self.matrix(&name("attn_output.weight"), hidden, hidden)?,
            forward_norm: self.vector(&name("ffn_norm.weight"), hidden)?,
            gate: self.matrix(&name("ffn_gate.weight"), wide, hidden)?,
            up: self.matrix(&name("ffn_up.weight"), wide, hidden)?,
            down: self.matrix(&name("ffn_down.weight"), hidden, wide)?,
        })
    }

    /// A tensor's type and place in the file, once its shape is the expected one.
    fn info(&self, name: &str, dims: &[usize]) -> Result<(GgmlDType, u64), Fault> {
        let info = self.content.tensor_infos.get(name);
        let info = info.ok_or_else(|| Fault::damaged(format!("it has no tensor {name}")))?;
        if info.shape.dims() != dims {
            return Err(Fault::damaged(format!("{name} has the wrong shape")));
        }
        Ok((info.ggml_dtype, self.content.tensor_data_offset.saturating_add(info.offset)))
    }

    fn floats(&mut self, name: &str) -> Result<Vec<f32>, Fault> {
        self.content
            .tensor(&mut self.reader, name, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu))
            .and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>())
            .map_err(Fault::damaged)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, Fault> {
        self.info(name, &[len])?;
        self.floats(name)
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Packed, Fault> {
        let (dtype, offset) = self.info(name, &[rows, columns])?;
        let (bytes, floats);
        let source = match dtype {
            GgmlDType::Q5_0 | GgmlDType::Q8_0 => {
                let size = rows * columns / dtype.block_size() * dtype.type_size();
                bytes = self.bytes(offset, size)?;
                if dtype == GgmlDType::Q5_0 { Source::Q5_0(&bytes) } else { Source::Q8_0(&bytes) }
            }
            _ => {
                floats = self.floats(name)?;
                Source::Floats(&floats)
            }
        };
        Packed::new(&source, rows, columns, self.pool)
            .map_err(|error| Fault::damaged(format!("{name}: {error}")))
    }

    fn bytes(&mut self, offset: u64, size: usize) -> Result<Vec<u8>, Fault> {
        let length = self.reader.seek(SeekFrom::End(0)).map_err(Fault::damaged)?;
        if offset.saturating_add(size as u64) > length {
            return Err(Fault::damaged("it is cut short"));
        }
        let mut bytes = vec![0; size];
        self.reader.seek(SeekFrom::Start(offset)).map_err(Fault::damaged)?;
        self.reader.read_exact(&mut bytes).map_err(Fault::damaged)?;
        Ok(bytes)
    }

    fn tokenizer(&self) -> Result<Tokenizer, Fault> {
        let kind = self.value("tokenizer.ggml.pre")?.to_string().map_err(Fault::damaged)?;
        if kind != "qwen2" {
            return Err(Fault::Unsupported(format!("its tokenizer is {kind:?}")));
        }
        let list = |key: &str| self.value(key)?.to_vec().map_err(Fault::damaged);
        let strings = |key: &str| {
            list(key)?
                .iter()
                .map(|value| value.to_string().cloned().map_err(Fault::damaged))
                .collect::<Result<Vec<String>, Fault>>()
        };
        let kinds = list("tokenizer.ggml.token_type")?
            .iter()
            .map(|value| value.to_i32().map_err(Fault::damaged))
            .collect::<Result<Vec<i32>, Fault>>()?;
        let (tokens, merges) =
            (strings("tokenizer.ggml.tokens")?, strings("tokenizer.ggml.merges")?);
        Tokenizer::new(tokens, &kinds, merges).map_err(Fault::Damaged)
    }
}

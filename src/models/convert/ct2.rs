//! Reads CTranslate2's `model.bin`, binary version 6.
//!
//! Layout, little-endian (CTranslate2, `python/ctranslate2/specs/model_spec.py`, `_serialize`):
//! u32 version, string specification, u32 revision, u32 number of variables; for each variable its
//! name, u8 rank, u32 sizes, u8 type, u32 bytes, data; then aliases. A string is a u16 length that
//! counts the final NUL, and its bytes.

use std::collections::HashMap;

use half::f16;

/// Type codes of `ctranslate2::DataType` that occur in an unquantised model.
const F32: u8 = 0;
const I8: u8 = 1;
const I16: u8 = 2;
const I32: u8 = 3;
const F16: u8 = 4;

/// A parsed model: tensors by name.
pub(super) struct Model<'a> {
    tensors: HashMap<String, Tensor<'a>>,
}

/// One variable, as stored.
#[derive(Clone)]
pub(super) struct Tensor<'a> {
    /// Outermost first.
    pub sizes: Vec<usize>,
    kind: u8,
    data: &'a [u8],
}

/// A cursor over the bytes of the file.
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or("the file ends in the middle of something")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as asked for"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    /// A u32 that is a count or a length.
    pub(super) fn count(&mut self) -> Result<usize, String> {
        self.u32().map(|count| count as usize)
    }

    fn string(&mut self) -> Result<String, String> {
        let length = u16::from_le_bytes(self.array()?) as usize;
        let text = self.take(length)?;
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        String::from_utf8(text.to_vec()).map_err(|_| "a name is not text".to_owned())
    }
}

impl<'a> Model<'a> {
    /// Reads a whole `model.bin` of a Whisper model.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, String> {
        let mut bytes = Bytes(file);
        let version = bytes.u32()?;
        if version != 6 {
            return Err(format!("it is a CTranslate2 model of version {version}, not 6"));
        }
        let specification = bytes.string()?;
        if specification != "WhisperSpec" {
            return Err(format!("it is a {specification}, not a Whisper model"));
        }
        let _revision = bytes.u32()?;
        let mut tensors = HashMap::new();
        for _ in 0..bytes.count()? {
            let name = bytes.string()?;
            let rank = bytes.u8()?;
            let sizes = (0..rank).map(|_| bytes.count()).collect::<Result<Vec<_>, _>>()?;
            let kind = bytes.u8()?;
            let length = bytes.count()?;
            let data = bytes.take(length)?;
            let tensor = Tensor { sizes, kind, data };
            tensor.check().map_err(|error| format!("{name}: {error}"))?;
            tensors.insert(name, tensor);
        }
        for _ in 0..bytes.count()? {
            let (alias, name) = (bytes.string()?, bytes.string()?);
            let tensor = tensors.get(&name).cloned().ok_or("an alias names nothing")?;
            tensors.insert(alias, tensor);
        }
        if !bytes.0.is_empty() {
            return Err("there is something behind its end".to_owned());
        }
        Ok(Self { tensors })
    }

    /// A tensor by its CTranslate2 name.
    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor<'a>, String> {
        self.tensors.get(name).ok_or_else(|| format!("it has no {name}"))
    }

    /// How many `{side}/layer_N` there are.
    pub(super) fn layers(&self, side: &str) -> usize {
        (0..)
            .take_while(|layer| {
                let norm = format!("{side}/layer_{layer}/self_attention/layer_norm/gamma");
                self.tensors.contains_key(&norm)
            })
            .count()
    }
}

impl Tensor<'_> {
    fn check(&self) -> Result<(), String> {
        let item = match self.kind {
            F32 | I32 => 4,
            I16 | F16 => 2,
            I8 => 1,
            kind => return Err(format!("unknown type {kind}")),
        };
        let count = self.sizes.iter().try_fold(item, |all: usize, size| all.checked_mul(*size));
        if count != Some(self.data.len()) {
            return Err("its length does not fit its sizes".to_owned());
        }
        Ok(())
    }

    /// A size, outermost first; 0 beyond the rank.
    pub(super) fn size(&self, axis: usize) -> usize {
        self.sizes.get(axis).copied().unwrap_or(0)
    }

    /// Bytes of one row along the outermost axis.
    fn stride(&self) -> usize {
        self.data.len().checked_div(self.size(0)).unwrap_or(0)
    }

    /// Rows `from..to` along the outermost axis.
    pub(super) fn rows(&self, from: usize, to: usize) -> Result<Self, String> {
        let stride = self.stride();
        let data = self.data.get(from * stride..to * stride).ok_or("it has too few rows")?;
        let mut sizes = self.sizes.clone();
        if let Some(outermost) = sizes.first_mut() {
            *outermost = to - from;
        }
        Ok(Self { sizes, kind: self.kind, data })
    }

    /// The same values with other sizes.
    pub(super) fn reshaped(&self, sizes: &[usize]) -> Result<Self, String> {
        let count = |sizes: &[usize]| sizes.iter().product::<usize>();
        if count(sizes) != count(&self.sizes) {
            return Err("its sizes do not fit".to_owned());
        }
        Ok(Self { sizes: sizes.to_vec(), ..self.clone() })
    }

    /// A whole number, of any integer type.
    pub(super) fn number(&self) -> Result<u32, String> {
        let number = match (self.kind, self.data) {
            (I8, &[byte]) => i64::from(byte as i8),
            (I16, &[a, b]) => i64::from(i16::from_le_bytes([a, b])),
            (I32, &[a, b, c, d]) => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => return Err("a number is missing".to_owned()),
        };
        u32::try_from(number).map_err(|_| "a count is negative".to_owned())
    }

    /// The values.
    pub(super) fn values(&self) -> Result<Vec<f32>, String> {
        match self.kind {
            F32 => Ok(self.data.chunks_exact(4).map(f32_of).collect()),
            F16 => Ok(self.data.chunks_exact(2).map(|b| f16_of(b).to_f32()).collect()),
            _ => Err("quantised CTranslate2 models are not supported".to_owned()),
        }
    }

    /// The values as little-endian f16; those stored so keep their bits.
    pub(super) fn f16_bytes(&self) -> Result<Vec<u8>, String> {
        if self.kind == F16 {
            return Ok(self.data.to_vec());
        }
        let values = self.values()?;
        Ok(values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect())
    }

    /// The values as little-endian f32.
    pub(super) fn f32_bytes(&self) -> Result<Vec<u8>, String> {
        Ok(self.values()?.into_iter().flat_map(f32::to_le_bytes).collect())
    }
}

fn f32_of(bytes: &[u8]) -> f32 {
    f32::from_le_bytes(bytes.try_into().expect("chunks of four"))
}

fn f16_of(bytes: &[u8]) -> f16 {
    f16::from_le_bytes(bytes.try_into().expect("chunks of two"))
}

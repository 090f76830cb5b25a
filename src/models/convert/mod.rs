//! Whisper from CTranslate2's format (`model.bin` and `tokenizer.json`) to whisper.cpp's ggml file.
//!
//! Bytes in, bytes out; the weights keep their values, only names, order and framing change.

mod ct2;
mod ggml;
mod mel;
mod vocabulary;

use std::path::Path;

/// Converts a CTranslate2 Whisper model to a ggml file of f16 weights.
///
/// `model` is the content of `model.bin`, `tokenizer` that of `tokenizer.json`.
///
/// # Errors
/// A sentence, if either is not what it should be.
pub(super) fn whisper_to_ggml(model: &[u8], tokenizer: &[u8]) -> Result<Vec<u8>, String> {
    ggml::write(&ct2::Model::parse(model)?, tokenizer)
}

/// Walks through a ggml file and checks that it is a whole Whisper model: header, mel filters,
/// vocabulary, and as many well-formed tensors as its layers need, up to the last byte.
pub(super) fn check_ggml(path: &Path) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    ggml::check(&bytes).map(|_| ())
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{ggml, mel, vocabulary, whisper_to_ggml};

    const STATE: usize = 4;
    const MELS: usize = 2;

    /// A CTranslate2 file of one encoder and one decoder layer; each value is its index.
    fn tiny_model() -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(6u32.to_le_bytes());
        string(&mut file, "WhisperSpec");
        file.extend(3u32.to_le_bytes());
        let variables = variables();
        file.extend((variables.len() as u32).to_le_bytes());
        for (name, sizes) in variables {
            let is_key_bias = name.ends_with("attention/linear_0/bias") && sizes == [3 * STATE]
                || name.ends_with("attention/linear_1/bias") && sizes == [2 * STATE];
            let is_number = sizes.is_empty();
            string(&mut file, &name);
            file.push(sizes.len() as u8);
            sizes.iter().for_each(|size| file.extend((*size as u32).to_le_bytes()));
            let count: usize = sizes.iter().product();
            if is_number {
                file.extend([2, 2, 0, 0, 0, 2, 0]);
                continue;
            }
            file.push(0);
            file.extend((4 * count as u32).to_le_bytes());
            for index in 0..count {
                let value = if is_key_bias { 0.0 } else { index as f32 };
                file.extend(value.to_le_bytes());
            }
        }
        file.extend(0u32.to_le_bytes());
        file
    }

    fn string(file: &mut Vec<u8>, text: &str) {
        file.extend((text.len() as u16 + 1).to_le_bytes());
        file.extend(text.as_bytes());
        file.push(0);
    }

    fn variables() -> Vec<(String, Vec<usize>)> {
        let mut all: Vec<(String, Vec<usize>)> = Vec::new();
        let mut put = |name: String, sizes: &[usize]| all.push((name, sizes.to_vec()));
        let s = STATE;
        for side in ["encoder", "decoder"] {
            put(format!("{side}/num_heads"), &[]);
            put(format!("{side}/position_encodings/encodings"), &[6, s]);
            let mut norms = vec![format!("{side}/layer_norm")];
            let layer = format!("{side}/layer_0");
            for part in ["self_attention", "ffn", "attention"] {
                if part == "attention" && side == "encoder" {
                    continue;
                }
                norms.push(format!("{layer}/{part}/layer_norm"));
                let widths: &[usize] = match part {
                    "self_attention" => &[3 * s, s],
                    "ffn" => &[4 * s, s],
                    _ => &[s, 2 * s, s],
                };
                for (index, width) in widths.iter().enumerate() {
                    let inner = if part == "ffn" && index == 1 { 4 * s } else { s };
                    put(format!("{layer}/{part}/linear_{index}/weight"), &[*width, inner]);
                    put(format!("{layer}/{part}/linear_{index}/bias"), &[*width]);
                }
            }
            for norm in norms {
                put(format!("{norm}/gamma"), &[s]);
                put(format!("{norm}/beta"), &[s]);
            }
        }
        put("encoder/conv1/weight".into(), &[s, MELS, 3]);
        put("encoder/conv2/weight".into(), &[s, s, 3]);
        put("encoder/conv1/bias".into(), &[s]);
        put("encoder/conv2/bias".into(), &[s]);
        put("decoder/embeddings/weight".into(), &[9, s]);
        all
    }

    /// A `tokenizer.json` of which token 0 is a space and the rest are made of digits.
    fn tokenizer() -> Vec<u8> {
        let tokens: Vec<String> =
            (1..vocabulary::BASE).map(|id| format!("\"{id}\":{id}")).collect();
        format!("{{\"model\":{{\"vocab\":{{\"\u{120}\":0,{}}}}}}}", tokens.join(",")).into_bytes()
    }

    #[test]
    fn a_converted_model_is_a_whole_ggml_file_with_the_parts_in_their_places() {
        let file = whisper_to_ggml(&tiny_model(), &tokenizer()).unwrap();
        ggml::check(&file).unwrap();
        let head: Vec<u32> = file[..48]
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        assert_eq!(head, [0x6767_6d6c, 9, 6, 4, 2, 1, 6, 4, 2, 1, 2, 1]);
        // Behind the filters and the count: token 0 is one byte, a space.
        let tokens = 56 + MELS * mel::BINS * 4;
        assert_eq!(file[tokens..tokens + 9], [0x51, 0xc4, 0, 0, 1, 0, 0, 0, b' ']);
        // The value is the third part of the fused weight: rows 8..12 of width 4, as f16.
        let name = b"encoder.blocks.0.attn.value.weight";
        let at = file.windows(name.len()).position(|bytes| bytes == name).unwrap();
        let first = &file[at + name.len()..][..2];
        assert_eq!(first, half::f16::from_f32(32.0).to_le_bytes());
    }

    #[test]
    fn a_cut_model_or_one_of_another_kind_is_refused() {
        let whole = tiny_model();
        for cut in [3, 10, 100, whole.len() - 1] {
            assert!(whisper_to_ggml(&whole[..cut], &tokenizer()).is_err(), "cut at {cut}");
        }
        let error = whisper_to_ggml(&whole, b"{\"model\":{\"vocab\":{}}}").unwrap_err();
        assert!(error.contains("gaps"), "{error}");
    }

    #[test]
    fn the_mel_filters_are_the_published_ones() {
        // In steps of 1e-7: the last bits follow the compiler and the mathematics library.
        let steps =
            mel::filters(80).into_iter().map(|value| (f64::from(value) * 1e7).round() as i32);
        let bytes: Vec<u8> = steps.flat_map(i32::to_le_bytes).collect();
        let hash: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hash, "5cd02c3c98e786851eb3f62bacbb1bf2ef6bbaf362b8ab8b64dddfab5ce4c722");
    }
}

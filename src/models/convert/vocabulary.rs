//! The base vocabulary of a Whisper model, out of its `tokenizer.json`.

use std::collections::HashMap;

/// Tokens of GPT-2's byte pairs and the multilingual ones alike; special tokens follow them.
pub(super) const BASE: usize = 50_257;

/// The first 50,257 tokens as bytes, in the order of their ids.
///
/// `tokenizer.json` writes each byte of a token as one printable character (GPT-2's byte-level
/// alphabet: printable Latin-1 stands for itself, every other byte for a character from U+0100 on).
pub(super) fn base(tokenizer: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    #[derive(serde::Deserialize)]
    struct Tokenizer {
        model: Model,
    }
    #[derive(serde::Deserialize)]
    struct Model {
        vocab: HashMap<String, usize>,
    }
    let tokenizer: Tokenizer = serde_json::from_slice(tokenizer)
        .map_err(|error| format!("its tokenizer.json cannot be read ({error})"))?;
    let bytes = alphabet();
    let mut tokens: Vec<Option<Vec<u8>>> = vec![None; BASE];
    for (token, id) in tokenizer.model.vocab {
        if id < BASE {
            let token: Option<Vec<u8>> = token.chars().map(|c| bytes.get(&c).copied()).collect();
            tokens[id] = Some(token.ok_or("a token is not in the byte-level alphabet")?);
        }
    }
    tokens.into_iter().collect::<Option<_>>().ok_or("its vocabulary has gaps".to_owned())
}

/// From characters of the byte-level alphabet to the bytes they stand for.
fn alphabet() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut others = '\u{100}'..;
    (0..=255u8)
        .map(|byte| {
            let stand_in = if printable(byte) {
                char::from(byte)
            } else {
                others.next().expect("the range is longer than 256")
            };
            (stand_in, byte)
        })
        .collect()
}

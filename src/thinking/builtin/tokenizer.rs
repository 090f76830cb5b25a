//! Text ⇄ tokens.
//!
//! Byte-level BPE with Qwen2's pre-tokeniser, built from the lists in the model file. Special tokens
//! (`<|im_end|>` and the like) are not part of the encoder's vocabulary: whatever a person says or
//! writes becomes plain text tokens, never a control token.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

/// How Qwen2 cuts text before merging (`tokenizer.json` of Qwen2.5).
const WORDS: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The kind of a token of plain text, as GGUF counts kinds.
const NORMAL: i32 = 1;

/// Encodes text, and turns tokens back into bytes.
pub(super) struct Tokenizer {
    encoder: tokenizers::Tokenizer,
    /// Each token's bytes; empty for special and unused ones, but not for those of tool calls.
    bytes: Vec<Box<[u8]>>,
    normal: Vec<bool>,
    pub(super) im_start: u32,
    pub(super) im_end: u32,
    /// Around a call of a tool, if the model knows tools.
    pub(super) call: Option<[u32; 2]>,
    /// Tokens with a mark that stands in calls and in no speech.
    pub(super) unspoken: Vec<u32>,
}

/// How the tokens around a call are written.
pub(super) const CALL_TAGS: [&str; 2] = ["<tool_call>", "</tool_call>"];

impl Tokenizer {
    /// Builds it from the file's lists; the error says what does not fit.
    pub(super) fn new(
        tokens: Vec<String>,
        kinds: &[i32],
        merges: Vec<String>,
    ) -> Result<Self, String> {
        if tokens.len() != kinds.len() {
            return Err("its tokens and their kinds differ in number".to_owned());
        }
        let special = |name: &str| {
            let index = tokens.iter().position(|token| token == name);
            index.map(|index| index as u32).ok_or_else(|| format!("it has no token {name}"))
        };
        let (im_start, im_end) = (special("<|im_start|>")?, special("<|im_end|>")?);
        let [call, call_end] = CALL_TAGS.map(|tag| special(tag).ok());
        let call = call.zip(call_end).map(<[u32; 2]>::from);
        let normal: Vec<bool> = kinds.iter().map(|kind| *kind == NORMAL).collect();
        let alphabet = byte_alphabet();
        let mut bytes: Vec<Box<[u8]>> = tokens
            .iter()
            .zip(&normal)
            .map(|(token, normal)| {
                let byte = |char| alphabet.get(&char).copied();
                if *normal { token.chars().filter_map(byte).collect() } else { Box::default() }
            })
            .collect();
        for (token, tag) in call.into_iter().flatten().zip(CALL_TAGS) {
            bytes[token as usize] = tag.as_bytes().into();
        }
        let marks = |bytes: &[u8]| bytes.iter().any(|byte| b"{}<>`[]".contains(byte));
        let marked = bytes.iter().enumerate().filter(|(_, bytes)| marks(bytes));
        let unspoken = marked.map(|(token, _)| token as u32).collect();
        let vocabulary: Vocab = tokens
            .into_iter()
            .zip(&normal)
            .enumerate()
            .filter(|(_, (_, normal))| **normal)
            .map(|(index, (token, _))| (token, index as u32))
            .collect();
        let merges = merges
            .iter()
            .map(|merge| {
                let (left, right) = merge.split_once(' ').ok_or("one of its merges is no pair")?;
                Ok((left.to_owned(), right.to_owned()))
            })
            .collect::<Result<Vec<_>, &str>>()?;
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .build()
            .map_err(|error| format!("its merges do not fit its tokens: {error}"))?;
        let mut encoder = tokenizers::Tokenizer::new(bpe);
        let split = Split::new(
            SplitPattern::Regex(WORDS.to_owned()),
            SplitDelimiterBehavior::Isolated,
            false,
        )
        .map_err(|error| error.to_string())?;
        let bytes_of = ByteLevel::new(false, false, false);
        encoder.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes_of.into()])));
        encoder.with_normalizer(Some(NFC)).map_err(|error| error.to_string())?;
        Ok(Self { encoder, bytes, normal, im_start, im_end, call, unspoken })
    }

    /// How many tokens there are, special and unused ones included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The tokens of plain text; never a special one.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoding = self.encoder.encode_fast(text, false).map_err(|error| error.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of text of our own, in which the tags of calls become the model's tokens for them.
    pub(super) fn encode_tags(&self, text: &str) -> Result<Vec<u32>, String> {
        let Some(tokens) = self.call else { return self.encode(text) };
        let found = CALL_TAGS
            .iter()
            .zip(tokens)
            .filter_map(|(tag, token)| text.find(tag).map(|at| (at, at + tag.len(), token)));
        let Some((from, to, token)) = found.min() else { return self.encode(text) };
        let mut encoded = self.encode(&text[..from])?;
        encoded.push(token);
        encoded.extend(self.encode_tags(&text[to..])?);
        Ok(encoded)
    }

    /// Whether a token is a tag of a call.
    pub(super) fn is_call(&self, token: u32) -> bool {
        self.call.is_some_and(|call| call.contains(&token))
    }

    /// Whether a token is text; any other one, but the tags of calls, ends a reply.
    pub(super) fn is_text(&self, token: u32) -> bool {
        self.normal.get(token as usize).copied().unwrap_or(false)
    }

    /// The bytes of a token; not always whole characters.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], |bytes| bytes)
    }
}

/// GPT-2's letters for bytes (Radford et al., 2019): printable ones stand for themselves, the others
/// are shifted past 255.
fn byte_alphabet() -> HashMap<char, u8> {
    let mut shifted = 256u32;
    (0..=255u8)
        .map(|byte| {
            if matches!(byte, 33..=126 | 161..=172 | 174..=255) {
                (char::from(byte), byte)
            } else {
                let char = char::from_u32(shifted).expect("below the surrogates");
                shifted += 1;
                (char, byte)
            }
        })
        .collect()
}

/// Bytes in, whole characters out.
#[derive(Default)]
pub(super) struct Characters {
    held: Vec<u8>,
}

impl Characters {
    /// Adds bytes; returns all characters that are complete now. Bytes that can never become a
    /// character turn into U+FFFD.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (whole, after) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(whole).expect("valid up to here"));
                    rest = after;
                    let Some(broken) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[broken..];
                }
            }
        }
        self.held = rest.to_vec();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Characters;

    #[test]
    fn no_character_is_ever_cut_in_two() {
        let text = "Ça va 🙂? 你好";
        for size in 1..5 {
            let mut characters = Characters::default();
            let mut whole = String::new();
            for bytes in text.as_bytes().chunks(size) {
                whole.push_str(&characters.push(bytes));
                assert!(text.starts_with(&whole));
            }
            assert_eq!(whole, text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hold_up_what_follows() {
        let mut characters = Characters::default();
        assert_eq!(characters.push(b"a\xff\xc3"), "a\u{fffd}");
        assert_eq!(characters.push(b"b"), "\u{fffd}b");
    }
}

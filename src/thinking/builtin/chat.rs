//! Messages → prompt tokens, in Qwen2.5's chat template, within the context.
//!
//! A prompt that is too long loses its oldest messages; the system message stays. They go in steps
//! of a quarter of the room, so that the prompt's beginning, and with it the cache, stays the same
//! for many turns in between. A newest message that is too long alone loses its beginning.

use super::tokenizer::Tokenizer;
use crate::thinking::{Message, Role};

/// Where a prompt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The last message is complete; EVA's turn is opened.
    Reply,
    /// The last message is still growing.
    Open,
}

/// The prompt's tokens, at most `most`.
pub(super) fn encode(
    tokenizer: &Tokenizer,
    messages: &[Message],
    end: End,
    most: usize,
) -> Result<Vec<u32>, String> {
    let mut parts = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let open = end == End::Open && index + 1 == messages.len();
        parts.push(encode_message(tokenizer, message, open)?);
    }
    let closing = match end {
        End::Reply => {
            let mut tokens = vec![tokenizer.im_start];
            tokens.extend(tokenizer.encode("assistant\n")?);
            tokens
        }
        End::Open => Vec::new(),
    };
    let most = most.saturating_sub(closing.len());
    let has_system = messages.first().is_some_and(|first| first.role == Role::System);
    let kept = first_kept(messages, &parts, usize::from(has_system), most);
    let mut tokens = Vec::new();
    if has_system && kept > 0 {
        tokens.append(&mut parts[0]);
    }
    for part in &parts[kept..] {
        tokens.extend_from_slice(part);
    }
    if tokens.len() > most {
        shorten(&mut tokens, parts.last().map_or(0, Vec::len), most);
    }
    tokens.extend(closing);
    Ok(tokens)
}

/// `<|im_start|>role\ncontent<|im_end|>\n`, without its end while it is open.
fn encode_message(
    tokenizer: &Tokenizer,
    message: &Message,
    open: bool,
) -> Result<Vec<u32>, String> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut tokens = vec![tokenizer.im_start];
    let content = message.content.reveal().trim();
    tokens.extend(tokenizer.encode(&format!("{role}\n{content}"))?);
    if !open {
        tokens.push(tokenizer.im_end);
        tokens.extend(tokenizer.encode("\n")?);
    }
    Ok(tokens)
}

/// The first message after the system message that stays.
fn first_kept(messages: &[Message], parts: &[Vec<u32>], system: usize, most: usize) -> usize {
    let total: usize = parts.iter().map(Vec::len).sum();
    let excess = total.saturating_sub(most);
    if excess == 0 {
        return system;
    }
    let goal = excess.next_multiple_of((most / 4).max(1));
    let (mut first, mut dropped) = (system, 0);
    // What remains begins with the person's words.
    while first + 1 < parts.len() && (dropped < goal || messages[first].role != Role::User) {
        dropped += parts[first].len();
        first += 1;
    }
    first.min(parts.len())
}

/// Cuts the beginning of the last message (of `last` tokens), and then of everything.
fn shorten(tokens: &mut Vec<u32>, last: usize, most: usize) {
    /// `<|im_start|>`, the role and the line's end stay.
    const HEADER: usize = 3;
    let excess = tokens.len() - most;
    let start = tokens.len() - last + HEADER.min(last);
    let cut = excess.min(tokens.len() - start);
    tokens.drain(start..start + cut);
    let excess = tokens.len().saturating_sub(most);
    tokens.drain(..excess);
}

//! Messages → prompt tokens, in Qwen2.5's chat template, within the context.
//!
//! The tools stand at the end of the system message, so that all prompts of a call begin alike; a
//! call stands in `<tool_call>` tags in EVA's message, its result in the next message of the
//! person's. A prompt that is too long loses its oldest messages; the system message stays, and so
//! do the person's newest words with what follows them. They go in steps of a quarter of the room,
//! so that the prompt's beginning, and with it the cache, stays the same for many turns in between.
//! A newest message that is too long alone loses its beginning.

use serde::Serialize;
use serde_json::Value;

use super::tokenizer::Tokenizer;
use crate::thinking::{Message, Role, ToolSpec};

/// The most characters of a tool's result that a small model is given.
const MOST_RESULT: usize = 1500;

/// Behind the results: without it a model this small only calls again, or repeats them as an order.
const ANSWER_NOW: &str = "\nNow answer my question with this in one short sentence.";

/// Where a prompt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The last message is complete; EVA's turn is opened.
    Reply,
    /// The last message is still growing.
    Open,
}

/// The tokens of one message.
struct Part {
    tokens: Vec<u32>,
    /// So many at the beginning stay when it is shortened.
    header: usize,
}

/// The prompt's tokens, at most `most`.
pub(super) fn encode(
    tokenizer: &Tokenizer,
    messages: &[Message],
    tools: &[ToolSpec],
    end: End,
    most: usize,
) -> Result<Vec<u32>, String> {
    let mut parts = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let role = |index: usize| messages.get(index).map(|message| message.role);
        let first = index == 0 || role(index - 1) != Some(Role::Tool);
        let last = role(index + 1) != Some(Role::Tool);
        parts.push(match message.role {
            Role::System if index == 0 => system_part(tokenizer, message, tools)?,
            Role::Tool => result_part(tokenizer, message, first, last)?,
            _ => {
                let open = end == End::Open && index + 1 == messages.len();
                said_part(tokenizer, message, open)?
            }
        });
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
        tokens.extend_from_slice(&parts[0].tokens);
    }
    for part in &parts[kept..] {
        tokens.extend_from_slice(&part.tokens);
    }
    if tokens.len() > most
        && let Some(last) = parts.last()
    {
        shorten(&mut tokens, last, most);
    }
    tokens.extend(closing);
    Ok(tokens)
}

/// `<|im_start|>role\ncontent<|im_end|>\n`, without its end while it is open; calls after the
/// content.
fn said_part(tokenizer: &Tokenizer, message: &Message, open: bool) -> Result<Part, String> {
    let role = match message.role {
        Role::System => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    };
    let mut tokens = vec![tokenizer.im_start];
    let content = message.content.reveal().trim();
    let line = if content.is_empty() && !message.calls.is_empty() { "" } else { "\n" };
    tokens.extend(tokenizer.encode(&format!("{role}{line}{content}"))?);
    for call in &message.calls {
        let arguments = call.arguments.reveal();
        let arguments = serde_json::from_str::<Value>(arguments)
            .as_ref()
            .map_or_else(|_| arguments.clone(), spaced);
        let call = format!("{{\"name\": \"{}\", \"arguments\": {arguments}}}", call.name);
        tokens.extend(tokenizer.encode_tags(&format!("\n<tool_call>\n{call}\n</tool_call>"))?);
    }
    if !open {
        close(tokenizer, &mut tokens)?;
    }
    Ok(Part { tokens, header: 3 })
}

/// The instructions, with the tools behind them.
fn system_part(
    tokenizer: &Tokenizer,
    message: &Message,
    tools: &[ToolSpec],
) -> Result<Part, String> {
    if tools.is_empty() {
        return said_part(tokenizer, message, false);
    }
    let mut tokens = vec![tokenizer.im_start];
    let mut text = format!(
        "system\n{}\n\n# Tools\n\nYou may call one or more functions to assist with the user \
         query.\n\nYou are provided with function signatures within <tools></tools> XML \
         tags:\n<tools>",
        message.content.reveal().trim()
    );
    for tool in tools {
        let words = |text: &str| spaced(&Value::String(text.to_owned()));
        text.push_str(&format!(
            "\n{{\"type\": \"function\", \"function\": {{\"name\": {}, \"description\": {}, \
             \"parameters\": {}}}}}",
            words(&tool.name),
            words(&tool.description),
            spaced(&tool.parameters)
        ));
    }
    tokens.extend(tokenizer.encode(&text)?);
    let how = "\n</tools>\n\nFor each function call, return a json object with function name and \
               arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": \
               <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
    tokens.extend(tokenizer.encode_tags(how)?);
    close(tokenizer, &mut tokens)?;
    Ok(Part { tokens, header: 3 })
}

/// One result among those of the same message.
fn result_part(
    tokenizer: &Tokenizer,
    message: &Message,
    first: bool,
    last: bool,
) -> Result<Part, String> {
    let mut tokens = Vec::new();
    if first {
        tokens.push(tokenizer.im_start);
        tokens.extend(tokenizer.encode("user")?);
    }
    tokens.extend(tokenizer.encode("\n<tool_response>\n")?);
    let header = tokens.len();
    let content: String = message.content.reveal().chars().take(MOST_RESULT).collect();
    tokens.extend(tokenizer.encode(&format!("{content}\n</tool_response>"))?);
    if last {
        tokens.extend(tokenizer.encode(ANSWER_NOW)?);
        close(tokenizer, &mut tokens)?;
    }
    Ok(Part { tokens, header })
}

fn close(tokenizer: &Tokenizer, tokens: &mut Vec<u32>) -> Result<(), String> {
    tokens.push(tokenizer.im_end);
    tokens.extend(tokenizer.encode("\n")?);
    Ok(())
}

/// JSON as the model was trained on: with a space behind colons and commas.
fn spaced(value: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Spaced);
    value.serialize(&mut serializer).expect("a value is always JSON");
    String::from_utf8(text).expect("JSON is UTF-8")
}

struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The first message after the system message that stays.
fn first_kept(messages: &[Message], parts: &[Part], system: usize, most: usize) -> usize {
    let total: usize = parts.iter().map(|part| part.tokens.len()).sum();
    let excess = total.saturating_sub(most);
    if excess == 0 {
        return system;
    }
    let goal = excess.next_multiple_of((most / 4).max(1));
    // What remains begins with the person's words, at least the newest ones.
    let newest = messages.iter().rposition(|message| message.role == Role::User);
    let newest = newest.unwrap_or(parts.len().saturating_sub(1));
    let (mut first, mut dropped) = (system, 0);
    while first < newest && (dropped < goal || messages[first].role != Role::User) {
        dropped += parts[first].tokens.len();
        first += 1;
    }
    first.min(parts.len())
}

/// Cuts the beginning of the last message, and then of everything.
fn shorten(tokens: &mut Vec<u32>, last: &Part, most: usize) {
    let excess = tokens.len() - most;
    let start = tokens.len() - last.tokens.len() + last.header.min(last.tokens.len());
    let cut = excess.min(tokens.len() - start);
    tokens.drain(start..start + cut);
    let excess = tokens.len().saturating_sub(most);
    tokens.drain(..excess);
}

//! The items of a conversation as Realtime clients see them.
//!
//! In: turns, replies, calls of tools, and what clients put in. Out: their JSON. Owned by the
//! session. The call's own history holds the same conversation for the model; [`Item::key`] names an
//! item's entry there.

use serde_json::{Value, json};

use super::config::{ConfigError, wrong};
use crate::thinking::Role;
use crate::thinking::history::EntryKey;

/// Items kept; the oldest are forgotten beyond that.
const MOST_ITEMS: usize = 1000;
/// The longest conversation that a client may put in, bytes.
const LONGEST_CONVERSATION: usize = 2 * 1024 * 1024;
/// The longest text of one item that a client puts in, bytes.
const LONGEST_TEXT: usize = 128 * 1024;

/// One item.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub id: String,
    /// Its entry in the call's history, once it has one.
    pub key: Option<EntryKey>,
    pub status: &'static str,
    pub kind: Kind,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The person said this; the words come with the transcript.
    Spoken { transcript: Option<String> },
    /// A client put this in.
    Written { role: Role, text: String },
    /// EVA said or wrote this.
    Reply(Said),
    /// EVA calls a tool of the client's.
    Call { call_id: String, name: String, arguments: String },
    /// Its result.
    Result { call_id: String, output: String },
}

/// What EVA said in one item.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub spoken: bool,
    pub text: String,
    /// Where each word ends: milliseconds from the item's first sound, bytes of the text.
    pub words: Vec<(u64, usize)>,
}

impl Said {
    /// The text up to the last word that ends within so many milliseconds.
    pub(super) fn heard_by(&self, ms: u64) -> &str {
        let end = self.words.iter().take_while(|(end, _)| *end <= ms).last();
        // What was heard may be worded otherwise than what was to be said.
        let end = self.text.floor_char_boundary(end.map_or(0, |(_, byte)| *byte));
        self.text[..end].trim_end()
    }
}

impl Item {
    /// Bytes of its text.
    fn len(&self) -> usize {
        match &self.kind {
            Kind::Spoken { transcript } => transcript.as_ref().map_or(0, String::len),
            Kind::Written { text, .. } => text.len(),
            Kind::Reply(said) => said.text.len(),
            Kind::Call { arguments, .. } => arguments.len(),
            Kind::Result { output, .. } => output.len(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut item = json!({"id": self.id, "object": "realtime.item", "status": self.status});
        match &self.kind {
            Kind::Spoken { transcript } => {
                message(
                    &mut item,
                    "user",
                    json!({"type": "input_audio", "transcript": transcript}),
                );
            }
            Kind::Written { role, text } => {
                let (role, part) = match role {
                    Role::System => ("system", "input_text"),
                    Role::Assistant => ("assistant", "output_text"),
                    Role::User | Role::Tool => ("user", "input_text"),
                };
                message(&mut item, role, json!({"type": part, "text": text}));
            }
            Kind::Reply(said) => {
                let part = if said.spoken {
                    json!({"type": "output_audio", "transcript": said.text})
                } else {
                    json!({"type": "output_text", "text": said.text})
                };
                message(&mut item, "assistant", part);
                if said.text.is_empty() && self.status == "in_progress" {
                    item["content"] = json!([]);
                }
            }
            Kind::Call { call_id, name, arguments } => {
                item["type"] = json!("function_call");
                item["call_id"] = json!(call_id);
                item["name"] = json!(name);
                item["arguments"] = json!(arguments);
            }
            Kind::Result { call_id, output } => {
                item["type"] = json!("function_call_output");
                item["call_id"] = json!(call_id);
                item["output"] = json!(output);
            }
        }
        item
    }
}

fn message(item: &mut Value, role: &str, part: Value) {
    item["type"] = json!("message");
    item["role"] = json!(role);
    item["content"] = json!([part]);
}

/// All items, in order.
#[derive(Debug, Default)]
pub(super) struct Items {
    all: Vec<Item>,
}

impl Items {
    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.all.iter().find(|item| item.id == id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Item> {
        self.all.iter_mut().rev().find(|item| item.id == id)
    }

    pub(super) fn last_id(&self) -> Option<&str> {
        self.all.last().map(|item| item.id.as_str())
    }

    /// Whether a tool was called under this id.
    pub(super) fn has_call(&self, id: &str) -> bool {
        let calls = |item: &Item| matches!(&item.kind, Kind::Call { call_id, .. } if call_id == id);
        self.all.iter().any(calls)
    }

    /// Whether a client may put in another item of this length.
    pub(super) fn has_room(&self, item: &Item) -> bool {
        self.all.iter().map(Item::len).sum::<usize>() + item.len() <= LONGEST_CONVERSATION
    }

    /// Puts an item behind all others; the id of the one before it.
    pub(super) fn push(&mut self, item: Item) -> Option<String> {
        if self.all.len() == MOST_ITEMS {
            self.all.remove(0);
        }
        let before = self.last_id().map(str::to_owned);
        self.all.push(item);
        before
    }

    /// Puts an item behind this one, or first where `None`; `None` if there is no such item.
    pub(super) fn insert(&mut self, behind: Option<&str>, item: Item) -> Option<()> {
        let at = match behind {
            None => 0,
            Some(id) => self.all.iter().position(|other| other.id == id)? + 1,
        };
        self.all.insert(at, item);
        if self.all.len() > MOST_ITEMS {
            self.all.remove(0);
        }
        Some(())
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Item> {
        let at = self.all.iter().position(|item| item.id == id)?;
        Some(self.all.remove(at))
    }

    /// The nearest item with an entry in the history, from this one back.
    pub(super) fn key_at_or_before(&self, id: &str) -> Option<EntryKey> {
        let at = self.all.iter().position(|item| item.id == id)?;
        self.all[..=at].iter().rev().find_map(|item| item.key)
    }
}

/// Reads an item that a client puts in.
pub(super) fn read(item: &Value, id: String) -> Result<Item, ConfigError> {
    let new = |kind| Item { id, key: None, status: "completed", kind };
    match item["type"].as_str() {
        Some("message") => {
            let role = match item["role"].as_str() {
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                Some("system") => Role::System,
                _ => return Err(wrong("item.role", "Choose user, assistant or system.")),
            };
            let text = text_of(&item["content"])?;
            Ok(new(Kind::Written { role, text }))
        }
        Some("function_call_output") => {
            let Some(call_id) = item["call_id"].as_str() else {
                return Err(wrong("item.call_id", "Name the call that this is the result of."));
            };
            let output = match &item["output"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            short(&output, "item.output")?;
            Ok(new(Kind::Result { call_id: call_id.to_owned(), output }))
        }
        _ => {
            let message = "Items of type \"message\" and \"function_call_output\" can be created.";
            Err(wrong("item.type", message))
        }
    }
}

fn text_of(content: &Value) -> Result<String, ConfigError> {
    let Some(parts) = content.as_array() else {
        return Err(wrong("item.content", "Send a list of content parts."));
    };
    let mut texts = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let param = format!("item.content[{at}]");
        let text = match part["type"].as_str() {
            Some("input_text" | "output_text" | "text") => part["text"].as_str(),
            Some("input_audio" | "output_audio" | "audio") => match part["transcript"].as_str() {
                Some(transcript) => Some(transcript),
                None => {
                    let message = "Sound comes with input_audio_buffer.append; an item takes its \
                                   transcript.";
                    return Err(wrong(&param, message));
                }
            },
            Some("input_image") => {
                return Err(wrong(&param, "EVA sees no images: describe it in words."));
            }
            _ => return Err(wrong(&format!("{param}.type"), "There is no such content part.")),
        };
        match text {
            Some(text) => texts.push(text),
            None => return Err(wrong(&format!("{param}.text"), "Send text here.")),
        }
    }
    let text = texts.join(" ");
    short(&text, "item.content")?;
    Ok(text)
}

fn short(text: &str, param: &str) -> Result<(), ConfigError> {
    let short = text.len() <= LONGEST_TEXT;
    if short { Ok(()) } else { Err(wrong(param, "This text is longer than 128 KiB.")) }
}

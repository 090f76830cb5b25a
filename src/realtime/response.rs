//! One response: what a client is told of a reply.
//!
//! In: what happens to the reply. Out: `response.*` events and the items of its output. Owned by the
//! session; at most one at a time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::items::{Item, Kind, Said};
use super::{Carrier, Session};
use crate::ids::ReplyId;
use crate::thinking::history::EntryKey;
use crate::thinking::{Message, ToolCall, ToolSpec};

/// What a client wants of one response; the session's settings where a wish is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Instructions.
    pub instructions: Option<String>,
    /// Whether it is spoken.
    pub spoken: Option<bool>,
    /// Tools.
    pub tools: Option<std::sync::Arc<[ToolSpec]>>,
    /// Which of them.
    pub tool_choice: Option<super::ToolChoice>,
    /// The most tokens.
    pub max_tokens: Option<u32>,
    /// What it answers, in place of the conversation.
    pub input: Option<Vec<Message>>,
    /// It stands beside the conversation, and leaves nothing in it.
    pub apart: bool,
    /// What the client is told back.
    pub metadata: Option<Map<String, Value>>,
}

/// What a reply cost, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub input: u32,
    /// Of the prompt, found in the cache.
    pub cached: u32,
    /// Of the reply.
    pub output: u32,
}

impl Usage {
    fn to_json(self) -> Value {
        json!({
            "total_tokens": self.input.saturating_add(self.output),
            "input_tokens": self.input,
            "output_tokens": self.output,
            "input_token_details": {
                "text_tokens": self.input,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": self.cached,
            },
            "output_token_details": {"text_tokens": self.output, "audio_tokens": 0},
        })
    }
}

/// The response in progress.
pub(super) struct Response {
    pub id: String,
    /// The reply it tells of.
    pub reply: ReplyId,
    pub options: Options,
    spoken: bool,
    /// The item with EVA's words, once there is one, and its place in the output.
    message: Option<(String, usize)>,
    /// Sound goes out.
    sounding: bool,
    /// Ids of its items, in order.
    output: Vec<String>,
}

impl Response {
    fn place(&self, item: &str) -> usize {
        self.output.iter().position(|id| id == item).unwrap_or_default()
    }
}

impl Session {
    /// The id of the response in progress.
    pub fn response_id(&self) -> Option<&str> {
        self.response.as_ref().map(|response| response.id.as_str())
    }

    pub(super) fn reply_begins(&mut self, reply: ReplyId) {
        if self.response.as_ref().is_some_and(|response| response.reply == reply) {
            return;
        }
        self.end_response("cancelled", Some("turn_detected"), Usage::default());
        self.counts.responses += 1;
        let id = format!("resp_{}_{}", &self.id[5..13], self.counts.responses);
        let options = self.asked.take().unwrap_or_default();
        let spoken = options.spoken.unwrap_or(self.config.spoken);
        self.response = Some(Response {
            id,
            reply,
            options,
            spoken,
            message: None,
            sounding: false,
            output: Vec::new(),
        });
        let response = self.tell_response("in_progress", None, None);
        self.tell("response.created", json!({"response": response}));
    }

    pub(super) fn sounds(&mut self) {
        let Some(response) = &mut self.response else { return };
        if std::mem::replace(&mut response.sounding, true) || !response.spoken {
            return;
        }
        let id = response.id.clone();
        self.open_message();
        if self.carrier == Carrier::DataChannel {
            self.tell("output_audio_buffer.started", json!({"response_id": id}));
        }
    }

    /// The item that holds EVA's words: its id.
    fn open_message(&mut self) -> Option<String> {
        let response = self.response.as_ref()?;
        if let Some((id, _)) = &response.message {
            return Some(id.clone());
        }
        let (spoken, apart) = (response.spoken, response.options.apart);
        let id = self.new_item_id();
        let kind = Kind::Reply(Said { spoken, ..Said::default() });
        let item = Item { id: id.clone(), key: None, status: "in_progress", kind };
        let place = self.add_output(item, apart)?;
        self.response.as_mut()?.message = Some((id.clone(), place));
        let part = if spoken {
            json!({"type": "audio", "transcript": ""})
        } else {
            json!({"type": "text", "text": ""})
        };
        let mut told = self.part_of(&id, place);
        told["part"] = part;
        self.tell("response.content_part.added", told);
        Some(id)
    }

    /// Adds an item to the output, and to the conversation; its place in the output.
    fn add_output(&mut self, item: Item, apart: bool) -> Option<usize> {
        let response = self.response.as_mut()?;
        let place = response.output.len();
        response.output.push(item.id.clone());
        let told = item.to_json();
        let added = json!({
            "response_id": response.id, "output_index": place, "item": told,
        });
        self.tell("response.output_item.added", added);
        let before = self.items.push(item);
        if !apart {
            self.tell_item("conversation.item.added", told, before.as_deref());
        }
        Some(place)
    }

    fn part_of(&self, item: &str, place: usize) -> Value {
        json!({
            "response_id": self.response_id(),
            "item_id": item,
            "output_index": place,
            "content_index": 0,
        })
    }

    pub(super) fn sentence(&mut self, text: &str, words: Vec<(u64, usize)>) {
        if !self.response.as_ref().is_some_and(|response| response.spoken) {
            return;
        }
        let Some(id) = self.open_message() else { return };
        let Some(Item { kind: Kind::Reply(said), .. }) = self.items.get_mut(&id) else { return };
        let gap = if said.text.is_empty() { "" } else { " " };
        let start = said.text.len() + gap.len();
        said.text.push_str(gap);
        said.text.push_str(text.trim());
        let trimmed = text.len() - text.trim_start().len();
        let end = said.text.len();
        said.words.extend(
            words
                .into_iter()
                .map(|(ms, byte)| (ms, (start + byte.saturating_sub(trimmed)).min(end))),
        );
        let place = self.response.as_ref().map_or(0, |response| response.place(&id));
        let mut told = self.part_of(&id, place);
        told["delta"] = json!(format!("{gap}{}", text.trim()));
        self.tell("response.output_audio_transcript.delta", told);
    }

    pub(super) fn sound(&mut self, payload: &[u8]) {
        if !self.response.as_ref().is_some_and(|response| response.spoken) {
            return;
        }
        let Some(id) = self.open_message() else { return };
        let place = self.response.as_ref().map_or(0, |response| response.place(&id));
        let mut told = self.part_of(&id, place);
        told["delta"] = json!(BASE64.encode(payload));
        self.tell("response.output_audio.delta", told);
    }

    pub(super) fn text(&mut self, delta: &str) {
        let Some(id) = self.open_message() else { return };
        let Some(Item { kind: Kind::Reply(said), .. }) = self.items.get_mut(&id) else { return };
        said.text.push_str(delta);
        let place = self.response.as_ref().map_or(0, |response| response.place(&id));
        let mut told = self.part_of(&id, place);
        told["delta"] = json!(delta);
        self.tell("response.output_text.delta", told);
    }

    pub(super) fn tools_called(&mut self, calls: &[ToolCall]) {
        let Some(response) = &self.response else { return };
        let (response_id, apart) = (response.id.clone(), response.options.apart);
        for call in calls {
            let id = self.new_item_id();
            let arguments = call.arguments.reveal().clone();
            let kind = |arguments| Kind::Call {
                call_id: call.id.clone(),
                name: call.name.clone(),
                arguments,
            };
            let begun = Item {
                id: id.clone(),
                key: None,
                status: "in_progress",
                kind: kind(String::new()),
            };
            let Some(place) = self.add_output(begun, apart) else { return };
            let of_call = json!({
                "response_id": response_id,
                "item_id": id,
                "output_index": place,
                "call_id": call.id,
            });
            let mut delta = of_call.clone();
            delta["delta"] = json!(arguments);
            self.tell("response.function_call_arguments.delta", delta);
            let mut done = of_call;
            done["arguments"] = json!(arguments);
            done["name"] = json!(call.name);
            self.tell("response.function_call_arguments.done", done);
            if let Some(item) = self.items.get_mut(&id) {
                (item.status, item.kind) = ("completed", kind(arguments));
            }
            self.tell_done(&id, place, apart);
        }
    }

    /// Tells that an item of the output is complete.
    fn tell_done(&mut self, id: &str, place: usize, apart: bool) {
        let Some(item) = self.items.get(id).map(Item::to_json) else { return };
        let told = json!({
            "response_id": self.response_id(), "output_index": place, "item": item,
        });
        self.tell("response.output_item.done", told);
        if !apart {
            self.tell("conversation.item.done", json!({"item": item}));
        }
    }

    pub(super) fn reply_ended(&mut self, key: Option<EntryKey>, usage: Usage) {
        self.bind_message(key);
        self.end_response("completed", None, usage);
    }

    fn bind_message(&mut self, key: Option<EntryKey>) {
        let message = self.response.as_ref().and_then(|response| response.message.clone());
        if let (Some((id, _)), Some(key)) = (message, key) {
            self.bind(&id, key);
        }
    }

    pub(super) fn reply_cut(
        &mut self,
        heard: &str,
        heard_ms: u64,
        key: Option<EntryKey>,
        usage: Usage,
    ) {
        self.announce();
        self.bind_message(key);
        let message = self.response.as_ref().and_then(|response| response.message.clone());
        let cut_by_client = std::mem::take(&mut self.cancelled);
        let why = if cut_by_client { "client_cancelled" } else { "turn_detected" };
        let owns_playout = self.carrier == Carrier::DataChannel;
        if let (Some((id, _)), true) = (&message, owns_playout)
            && let Some(Item { kind: Kind::Reply(said), .. }) = self.items.get_mut(id)
            && said.spoken
        {
            said.text = heard.to_owned();
            said.words.retain(|(_, byte)| *byte <= heard.len());
        }
        self.end_response("cancelled", Some(why), usage);
        if let (Some((id, _)), true) = (message, owns_playout) {
            let told = json!({"item_id": id, "content_index": 0, "audio_end_ms": heard_ms});
            self.tell("conversation.item.truncated", told);
        }
    }

    /// Closes what is open of the response, and tells how it ended.
    pub(super) fn end_response(&mut self, status: &str, why: Option<&str>, usage: Usage) {
        let Some(response) = &self.response else { return };
        let (spoken, sounding) = (response.spoken, response.sounding);
        let (message, apart) = (response.message.clone(), response.options.apart);
        if let Some((id, place)) = message {
            self.close_message(&id, place, status, spoken);
            self.tell_done(&id, place, apart);
        }
        let told = self.tell_response(status, why, Some(usage));
        let id = self.response.take().map(|response| response.id);
        if apart {
            for item in told["output"].as_array().into_iter().flatten() {
                self.items.remove(item["id"].as_str().unwrap_or_default());
            }
        }
        self.tell("response.done", json!({"response": told}));
        if sounding && spoken && self.carrier == Carrier::DataChannel {
            let over = if status == "completed" { "stopped" } else { "cleared" };
            let told = json!({"response_id": id});
            self.tell(&format!("output_audio_buffer.{over}"), told);
        }
    }

    fn close_message(&mut self, id: &str, place: usize, status: &str, spoken: bool) {
        let Some(item) = self.items.get_mut(id) else { return };
        item.status = if status == "completed" { "completed" } else { "incomplete" };
        let Kind::Reply(said) = &item.kind else { return };
        let text = said.text.clone();
        let told = |session: &Self| session.part_of(id, place);
        let mut done = told(self);
        if spoken {
            self.tell("response.output_audio.done", done.clone());
            done["transcript"] = json!(text);
            self.tell("response.output_audio_transcript.done", done);
        } else {
            done["text"] = json!(text);
            self.tell("response.output_text.done", done);
        }
        let mut part = told(self);
        part["part"] = if spoken {
            json!({"type": "audio", "transcript": text})
        } else {
            json!({"type": "text", "text": text})
        };
        self.tell("response.content_part.done", part);
    }

    fn tell_response(&self, status: &str, why: Option<&str>, usage: Option<Usage>) -> Value {
        let Some(response) = &self.response else { return Value::Null };
        let output: Vec<Value> =
            response.output.iter().filter_map(|id| self.items.get(id)).map(Item::to_json).collect();
        let details = why.map(|reason| json!({"type": status, "reason": reason}));
        let config = self.tell_session();
        let modality = if response.spoken { "audio" } else { "text" };
        let conversation = (!response.options.apart).then(|| format!("conv_{}", &self.id[5..]));
        json!({
            "object": "realtime.response",
            "id": response.id,
            "conversation_id": conversation,
            "status": status,
            "status_details": details,
            "output": output,
            "output_modalities": [modality],
            "max_output_tokens": config["max_output_tokens"],
            "audio": {"output": {
                "format": config["audio"]["output"]["format"],
                "voice": config["audio"]["output"]["voice"],
            }},
            "metadata": response.options.metadata,
            "usage": usage.map(Usage::to_json),
        })
    }
}

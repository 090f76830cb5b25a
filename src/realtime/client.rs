//! The events that clients send.
//!
//! In: a text. Out: changes to the session, what the call is to do, and an `error` event (with the
//! client's `event_id`) for what cannot be used. Nothing a client sends ends the session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::config::{self, ConfigError, wrong};
use super::items::{self, Item, Kind};
use super::response::Options;
use super::{Ask, Carrier, Session, TurnDetection};
use crate::thinking::history::Place;
use crate::thinking::{Message, Role};

/// Why an event is not served.
struct Refused {
    code: &'static str,
    message: String,
    param: Option<String>,
}

impl Refused {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None }
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        Self { code: "invalid_value", message: error.message, param: Some(error.param) }
    }
}

impl Session {
    /// Takes a client's event.
    pub fn client(&mut self, text: &str) {
        let event: Value = match serde_json::from_str(text) {
            Ok(event @ Value::Object(_)) => event,
            Ok(_) => return self.refuse(None, &Refused::new("invalid_event", NOT_AN_OBJECT)),
            Err(error) => {
                let message = format!("This is not JSON: {error}.");
                return self.refuse(None, &Refused::new("invalid_json", message));
            }
        };
        if let Err(refused) = self.take(&event) {
            self.refuse(event["event_id"].as_str(), &refused);
        }
    }

    fn refuse(&mut self, event_id: Option<&str>, refused: &Refused) {
        let Refused { code, message, param } = refused;
        self.error("invalid_request_error", code, message, param.as_deref(), event_id);
    }

    fn take(&mut self, event: &Value) -> Result<(), Refused> {
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => self.update(&event["session"])?,
            "conversation.item.create" => self.create_item(event)?,
            "conversation.item.retrieve" => {
                let item = self.named(event)?.to_json();
                self.tell("conversation.item.retrieved", json!({"item": item}));
            }
            "conversation.item.delete" => self.delete_item(event)?,
            "conversation.item.truncate" => self.truncate(event)?,
            "input_audio_buffer.append" => self.append(event)?,
            "input_audio_buffer.commit" => self.commit()?,
            "input_audio_buffer.clear" => {
                self.asks.push_back(Ask::ClearSound);
                self.input.open = None;
                self.input.announced = false;
                self.tell("input_audio_buffer.cleared", json!({}));
            }
            "response.create" => self.create_response(&event["response"])?,
            "response.cancel" => self.cancel(event["response_id"].as_str())?,
            "output_audio_buffer.clear" => {
                // Without sound there is nothing to clear, and that is no error.
                let _ = self.cancel(None);
            }
            "" => return Err(Refused::new("missing_type", "The event has no type.")),
            other => {
                let message = format!("There is no client event {other:?}.");
                return Err(Refused {
                    param: Some("type".into()),
                    ..Refused::new("unknown_event", message)
                });
            }
        }
        Ok(())
    }

    fn update(&mut self, session: &Value) -> Result<(), Refused> {
        let changed = self.config.changed_by(session)?;
        if changed.output != self.config.output
            && let Some(voice) = changed.voice_spec(&self.abilities.own_voice)
        {
            (self.abilities.check_voice)(&voice)
                .map_err(|message| wrong("session.audio.output.voice", &message))?;
        }
        let language = |config: &super::Config| {
            config.input.transcription.as_ref().and_then(|asked| asked.language.clone())
        };
        if let Some(language) =
            language(&changed).filter(|_| language(&changed) != language(&self.config))
        {
            (self.abilities.check_language)(&language)
                .map_err(|message| wrong("session.audio.input.transcription.language", &message))?;
        }
        if changed != self.config {
            self.config = changed;
            self.asks.push_back(Ask::Configure);
        }
        self.tell("session.updated", json!({"session": self.tell_session()}));
        Ok(())
    }

    fn named(&self, event: &Value) -> Result<&Item, Refused> {
        let id = event["item_id"].as_str().unwrap_or_default();
        self.items.get(id).ok_or_else(|| no_item(id))
    }

    fn create_item(&mut self, event: &Value) -> Result<(), Refused> {
        let id = match &event["item"]["id"] {
            Value::Null => self.new_item_id(),
            Value::String(id) if !id.is_empty() && id.len() <= 128 => id.clone(),
            _ => return Err(wrong("item.id", "An item's id has 1 to 128 characters.").into()),
        };
        let will_be = |(_, open): &(u64, String)| *open == id;
        if self.items.get(&id).is_some() || self.input.open.as_ref().is_some_and(will_be) {
            return Err(wrong("item.id", "There is an item with this id already.").into());
        }
        let item = items::read(&event["item"], id.clone())?;
        if let Kind::Result { call_id, .. } = &item.kind
            && !self.items.has_call(call_id)
        {
            return Err(wrong("item.call_id", "There is no call with this id.").into());
        }
        if !self.items.has_room(&item) {
            let message = "The conversation is longer than 2 MiB; delete items first.";
            return Err(Refused::new("conversation_too_long", message));
        }
        let kind = item.kind.clone();
        let told = item.to_json();
        let (place, before) = self.place(&event["previous_item_id"], item)?;
        match kind {
            Kind::Written { role, text } => {
                self.asks.push_back(Ask::Insert { item: id, place, role, text });
            }
            Kind::Result { call_id, output } => {
                self.asks.push_back(Ask::Result { call_id, output });
            }
            Kind::Spoken { .. } | Kind::Reply(_) | Kind::Call { .. } => {}
        }
        self.tell_item("conversation.item.added", told.clone(), before.as_deref());
        self.tell_item("conversation.item.done", told, before.as_deref());
        Ok(())
    }

    /// Puts the item where the client wants it: its place in the history, and the item before it.
    fn place(&mut self, previous: &Value, item: Item) -> Result<(Place, Option<String>), Refused> {
        match previous.as_str() {
            None => Ok((Place::End, self.items.push(item))),
            Some("root") => {
                self.items.insert(None, item);
                Ok((Place::Front, None))
            }
            Some(id) => {
                let key = self.items.key_at_or_before(id);
                self.items.insert(Some(id), item).ok_or_else(|| Refused {
                    param: Some("previous_item_id".into()),
                    ..no_item(id)
                })?;
                Ok((key.map_or(Place::Front, Place::Behind), Some(id.to_owned())))
            }
        }
    }

    fn delete_item(&mut self, event: &Value) -> Result<(), Refused> {
        let item = self.named(event)?;
        if item.status == "in_progress" {
            let message = "EVA is still saying this; cancel the response first.";
            return Err(Refused::new("item_in_progress", message));
        }
        let id = item.id.clone();
        if let Some(item) = self.items.remove(&id)
            && let Some(key) = item.key
        {
            self.asks.push_back(Ask::Remove(key));
        }
        self.tell("conversation.item.deleted", json!({"item_id": id}));
        Ok(())
    }

    /// The client knows how much of an item was heard.
    fn truncate(&mut self, event: &Value) -> Result<(), Refused> {
        let id = self.named(event)?.id.clone();
        let end_ms = event["audio_end_ms"].as_f64().filter(|ms| (0.0..=1e9).contains(ms));
        let Some(end_ms) = end_ms.map(|ms| ms as u64) else {
            let message = "Send how much was heard, in milliseconds.";
            return Err(wrong("audio_end_ms", message).into());
        };
        let Some(item) = self.items.get_mut(&id) else { return Err(no_item(&id)) };
        let Kind::Reply(said) = &mut item.kind else {
            let message = "Only what EVA said can be truncated.";
            return Err(wrong("item_id", message).into());
        };
        if said.spoken {
            let heard = said.heard_by(end_ms).to_owned();
            said.words.retain(|(_, byte)| *byte <= heard.len());
            said.text = heard.clone();
            if let Some(key) = item.key {
                self.asks.push_back(Ask::Rewrite(key, heard));
            }
        }
        let told = json!({"item_id": id, "content_index": 0, "audio_end_ms": end_ms});
        self.tell("conversation.item.truncated", told);
        Ok(())
    }

    fn append(&mut self, event: &Value) -> Result<(), Refused> {
        if self.carrier == Carrier::DataChannel {
            let message = "On a call sound travels as RTP: add it to the peer connection's track.";
            return Err(Refused::new("not_on_a_call", message));
        }
        let audio =
            event["audio"].as_str().ok_or_else(|| wrong("audio", "Send sound as base64."))?;
        let sound = BASE64
            .decode(audio)
            .map_err(|error| wrong("audio", &format!("This is not base64: {error}.")))?;
        self.asks.push_back(Ask::Append(sound));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Refused> {
        if self.config.input.turn_detection != TurnDetection::None {
            let message = "EVA ends turns herself; set turn_detection to null to commit them.";
            return Err(Refused::new("turn_detection_is_on", message));
        }
        self.asks.push_back(Ask::CommitSound);
        Ok(())
    }

    /// The client wanted to commit sound, and there is none.
    pub fn nothing_to_commit(&mut self) {
        let message = "There are less than 100 ms of sound to commit; append some first.";
        self.error("invalid_request_error", "input_audio_buffer_commit_empty", message, None, None);
    }

    fn create_response(&mut self, wishes: &Value) -> Result<(), Refused> {
        if self.response.is_some() || self.asked.is_some() {
            let message = "A response is in progress; wait for its response.done, or cancel it.";
            return Err(Refused::new("conversation_already_has_active_response", message));
        }
        self.asked = Some(options(&self.resolved(wishes)?)?);
        self.asks.push_back(Ask::Respond);
        Ok(())
    }

    /// The same with the items that its input refers to.
    fn resolved(&self, wishes: &Value) -> Result<Value, Refused> {
        let mut wishes = wishes.clone();
        for item in wishes.get_mut("input").and_then(Value::as_array_mut).into_iter().flatten() {
            if item["type"] == "item_reference" {
                let id = item["id"].as_str().unwrap_or_default();
                *item = self.items.get(id).ok_or_else(|| no_item(id))?.to_json();
            }
        }
        Ok(wishes)
    }

    fn cancel(&mut self, id: Option<&str>) -> Result<(), Refused> {
        let current = self.response_id();
        if current.is_none() && self.asked.is_none()
            || id.is_some_and(|id| current.is_some_and(|current| current != id))
        {
            let message = "There is no such response in progress.";
            return Err(Refused::new("response_cancel_not_active", message));
        }
        self.cancelled = true;
        self.asks.push_back(Ask::Cancel);
        Ok(())
    }
}

const NOT_AN_OBJECT: &str = "Send each event as one JSON object.";

fn no_item(id: &str) -> Refused {
    Refused {
        code: "item_not_found",
        message: format!("There is no item {id:?} in the conversation."),
        param: Some("item_id".into()),
    }
}

fn options(wishes: &Value) -> Result<Options, Refused> {
    let at = |name: &str| format!("response.{name}");
    let mut options = Options::default();
    let members = match wishes {
        Value::Null => return Ok(options),
        Value::Object(members) => members,
        _ => return Err(wrong("response", "Send an object here.").into()),
    };
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let param = at(name);
        match name.as_str() {
            "instructions" => options.instructions = config::instructions(value, &param)?,
            "output_modalities" | "modalities" => {
                options.spoken = Some(config::spoken(value, &param)?);
            }
            "tools" => options.tools = Some(config::tools(value, &param)?),
            "tool_choice" => options.tool_choice = Some(config::tool_choice(value, &param)?),
            "max_output_tokens" => options.max_tokens = config::max_tokens(value, &param)?,
            "conversation" => {
                options.apart = match value.as_str() {
                    Some("auto") => false,
                    Some("none") => true,
                    _ => return Err(wrong(&param, "Choose auto or none.").into()),
                };
            }
            "metadata" => {
                let object = value.as_object().filter(|members| members.len() <= 16);
                let message = "Send an object of at most 16 members.";
                options.metadata = Some(object.ok_or_else(|| wrong(&param, message))?.clone());
            }
            "input" => options.input = Some(input(value, &param)?),
            _ => {}
        }
    }
    Ok(options)
}

fn input(value: &Value, param: &str) -> Result<Vec<Message>, Refused> {
    let list = value.as_array().ok_or_else(|| wrong(param, "Send a list of items."))?;
    let mut messages = Vec::new();
    for item in list {
        if let Kind::Written { role, text } = items::read(item, String::new())?.kind {
            messages.push(Message::new(role, text));
        } else {
            messages.push(Message::new(Role::User, item["output"].to_string()));
        }
    }
    Ok(messages)
}

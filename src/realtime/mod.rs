//! OpenAI's Realtime protocol: its events in and out, apart from what carries them.
//!
//! In: texts of a client, and what happens in the call ([`Happening`]). Out: texts to the client,
//! and what the call is to do ([`Ask`]). [`Session`] is pure: it waits for nothing, starts nothing and
//! is told the time where an event carries one. The call drives it, over a data channel or a
//! WebSocket alike; the conversation's decisions stay with `turn/`.
//!
//! Two things are kept differently from OpenAI's server, on purpose. Speech over EVA's voice is told
//! (`input_audio_buffer.speech_started`) once it proves to be an interruption: clients stop their
//! playback at that event, and must not for a "mhm". And a response is done when it was played or cut,
//! so its transcript holds what was heard.

mod client;
pub mod config;
mod items;
mod response;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError, SoundFormat, ToolChoice, TurnDetection};
pub use response::{Options, Usage};

use std::collections::VecDeque;

use serde_json::{Value, json};

use self::items::{Item, Items, Kind};
use self::response::Response;
use crate::ids::{CallId, ReplyId, TurnId};
use crate::thinking::history::{EntryKey, Place};
use crate::thinking::{Role, ToolCall};

/// What carries the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A data channel beside RTP: sound travels by itself, and the gateway owns its playout.
    DataChannel,
    /// A WebSocket: sound travels inside events, and the client owns its playout.
    WebSocket,
}

/// What the call tells the session.
#[derive(Debug)]
pub enum Happening<'a> {
    /// The channel is open.
    Opened,
    /// The person began to speak.
    SpeechStarted {
        /// When, milliseconds of the call.
        at_ms: u64,
    },
    /// The person's voice ended at this time, as far as is known.
    Paused {
        /// When, milliseconds of the call.
        at_ms: u64,
    },
    /// The person's words so far.
    Partial {
        /// The words, never taken back within a turn.
        text: &'a str,
    },
    /// A turn is over.
    Committed {
        /// The turn.
        turn: TurnId,
        /// Its words.
        words: &'a str,
        /// Its entry in the history.
        key: Option<EntryKey>,
    },
    /// The committed turn goes on: nothing of its reply was heard.
    Reopened,
    /// What was heard was no turn.
    Discarded,
    /// Sound that the client committed itself; its words follow.
    SoundCommitted,
    /// Its words; `None` if it could not be understood.
    SoundHeard {
        /// The words and their entry in the history.
        words: Option<(&'a str, Option<EntryKey>)>,
    },
    /// A reply may be heard from now on.
    ReplyBegins {
        /// The reply.
        reply: ReplyId,
    },
    /// Its first sound, or the first sound in place of it, goes out.
    Sounds,
    /// A sentence of the reply begins to sound.
    Sentence {
        /// The sentence.
        text: &'a str,
        /// Where each of its words ends: milliseconds from the reply's first sound, bytes of the
        /// sentence.
        words: Vec<(u64, usize)>,
    },
    /// The next sound of the reply, in the session's format, for a WebSocket.
    Sound {
        /// The encoded samples.
        payload: &'a [u8],
    },
    /// More of a reply's text that is not spoken.
    Text {
        /// The text.
        delta: &'a str,
    },
    /// The model calls tools of the client's.
    ToolsCalled {
        /// The calls.
        calls: &'a [ToolCall],
    },
    /// The reply is over: it was played to its end.
    ReplyEnded {
        /// Its entry in the history.
        key: Option<EntryKey>,
        /// What it cost.
        usage: Usage,
    },
    /// The reply was cut.
    ReplyCut {
        /// The reply.
        reply: ReplyId,
        /// What of it was heard.
        heard: &'a str,
        /// How much of its sound was heard, milliseconds.
        heard_ms: u64,
        /// Its entry in the history.
        key: Option<EntryKey>,
        /// What it cost.
        usage: Usage,
    },
    /// Something failed; the call goes on.
    Failed {
        /// A stable word for programs.
        code: &'a str,
        /// A sentence for people.
        message: &'a str,
    },
}

/// What the call is to do.
#[derive(Debug)]
pub enum Ask {
    /// The settings have changed: see [`Session::config`].
    Configure,
    /// Start a reply to the conversation as it stands; its options: [`Session::options`].
    Respond,
    /// End the reply in progress.
    Cancel,
    /// Take sound of the person's, in the session's format.
    Append(Vec<u8>),
    /// The sound so far is a turn.
    CommitSound,
    /// Forget the sound so far.
    ClearSound,
    /// Put words into the history, and [`Session::bind`] the item to their entry.
    Insert {
        /// The item.
        item: String,
        /// Where.
        place: Place,
        /// Who is to have said them.
        role: Role,
        /// The words.
        text: String,
    },
    /// A tool of the client's has this result.
    Result {
        /// The call.
        call_id: String,
        /// The result.
        output: String,
    },
    /// Forget an entry of the history.
    Remove(EntryKey),
    /// Only this much of an entry was heard.
    Rewrite(EntryKey, String),
}

/// Looks at a wish; says why it cannot be met.
pub type Check = Box<dyn Fn(&str) -> Result<(), String> + Send>;

/// What a session may ask of this gateway.
pub struct Abilities {
    /// Whether there is a voice, or why not.
    pub check_voice: Check,
    /// Whether a language is understood, or why not.
    pub check_language: Check,
    /// The call's own voice.
    pub own_voice: String,
    /// The language model.
    pub own_model: String,
}

/// One session.
pub struct Session {
    id: String,
    carrier: Carrier,
    abilities: Abilities,
    config: Config,
    items: Items,
    input: Input,
    response: Option<Response>,
    /// What the client wants of the response that it has asked for.
    asked: Option<Options>,
    /// The client has ended the response in progress.
    cancelled: bool,
    told: VecDeque<String>,
    asks: VecDeque<Ask>,
    counts: Counts,
}

/// The person's speech that is no item yet.
#[derive(Default)]
struct Input {
    /// Where it began, and the item it will be.
    open: Option<(u64, String)>,
    /// Whether the client was told so.
    announced: bool,
    ended_ms: u64,
    /// The part of its words that was told.
    partial: String,
    /// The item of the last turn, while that can be reopened.
    last: Option<String>,
    /// Committed by the client, without words so far.
    waiting: VecDeque<String>,
}

#[derive(Default)]
struct Counts {
    events: u64,
    items: u64,
    responses: u64,
}

impl Session {
    /// A session that has told nothing yet.
    pub fn new(call: CallId, carrier: Carrier, config: Config, abilities: Abilities) -> Self {
        Self {
            id: format!("sess_{call}"),
            carrier,
            abilities,
            config,
            items: Items::default(),
            input: Input::default(),
            response: None,
            asked: None,
            cancelled: false,
            told: VecDeque::new(),
            // The call begins with the session's settings.
            asks: VecDeque::from([Ask::Configure]),
            counts: Counts::default(),
        }
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the client wants of the response that it has asked for, or that is in progress.
    pub fn options(&self) -> Options {
        let current = self.response.as_ref().map(|response| &response.options);
        self.asked.as_ref().or(current).cloned().unwrap_or_default()
    }

    /// The next text for the client.
    pub fn poll_event(&mut self) -> Option<String> {
        self.told.pop_front()
    }

    /// The next thing to do.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// The entry that [`Ask::Insert`] has made.
    pub fn bind(&mut self, item: &str, key: EntryKey) {
        if let Some(item) = self.items.get_mut(item) {
            item.key = Some(key);
        }
    }

    /// Takes what happened in the call.
    pub fn happened(&mut self, happening: Happening<'_>) {
        match happening {
            Happening::Opened => self.opened(),
            Happening::SpeechStarted { at_ms } => self.speech_started(at_ms),
            Happening::Paused { at_ms } => self.input.ended_ms = at_ms,
            Happening::Partial { text } => self.partial(text),
            Happening::Committed { turn: _, words, key } => self.committed(words, key),
            Happening::Reopened => self.reopened(),
            Happening::Discarded => self.discarded(),
            Happening::SoundCommitted => self.sound_committed(),
            Happening::SoundHeard { words } => self.sound_heard(words),
            Happening::ReplyBegins { reply } => self.reply_begins(reply),
            Happening::Sounds => self.sounds(),
            Happening::Sentence { text, words } => self.sentence(text, words),
            Happening::Sound { payload } => self.sound(payload),
            Happening::Text { delta } => self.text(delta),
            Happening::ToolsCalled { calls } => self.tools_called(calls),
            Happening::ReplyEnded { key, usage } => self.reply_ended(key, usage),
            Happening::ReplyCut { reply, heard, heard_ms, key, usage } => {
                if self.response.as_ref().is_some_and(|response| response.reply == reply) {
                    self.reply_cut(heard, heard_ms, key, usage);
                }
            }
            Happening::Failed { code, message } => {
                self.error("server_error", code, message, None, None);
            }
        }
    }

    fn opened(&mut self) {
        self.tell("session.created", json!({"session": self.tell_session()}));
    }

    fn tell_session(&self) -> Value {
        self.config.tell(&self.id, &self.abilities.own_voice, &self.abilities.own_model)
    }

    // The person's side.

    fn speech_started(&mut self, at_ms: u64) {
        if self.input.open.is_some() {
            return;
        }
        let item = self.new_item_id();
        self.input.open = Some((at_ms, item));
        self.input.partial.clear();
        // Over EVA's voice it may be a "mhm": it is told when it proves to be more.
        if self.response.is_none() {
            self.announce();
        }
    }

    /// Tells that the person speaks, unless that was told.
    fn announce(&mut self) {
        let Some((at_ms, item)) = self.input.open.clone() else { return };
        if !std::mem::replace(&mut self.input.announced, true) {
            let told = json!({"item_id": item, "audio_start_ms": at_ms});
            self.tell("input_audio_buffer.speech_started", told);
        }
    }

    fn partial(&mut self, text: &str) {
        let Some((_, item)) = self.input.open.clone().filter(|_| self.input.announced) else {
            return;
        };
        let new = text.strip_prefix(self.input.partial.as_str()).unwrap_or_default().to_owned();
        if self.config.input.transcription.is_some() && !new.is_empty() {
            self.input.partial = text.to_owned();
            let told = json!({"item_id": item, "content_index": 0, "delta": new});
            self.tell("conversation.item.input_audio_transcription.delta", told);
        }
    }

    fn committed(&mut self, words: &str, key: Option<EntryKey>) {
        if self.input.open.is_none() {
            self.speech_started(self.input.ended_ms);
        }
        self.announce();
        self.input.announced = false;
        let Some((at_ms, id)) = self.input.open.take() else { return };
        let end = self.input.ended_ms.max(at_ms);
        let stopped = json!({"item_id": id, "audio_end_ms": end});
        self.tell("input_audio_buffer.speech_stopped", stopped);
        self.add_spoken(&id, key);
        self.transcribed(&id, words);
        self.input.last = Some(id);
    }

    fn add_spoken(&mut self, id: &str, key: Option<EntryKey>) {
        let kind = Kind::Spoken { transcript: None };
        let item = Item { id: id.to_owned(), key, status: "completed", kind };
        let told = item.to_json();
        let before = self.items.push(item);
        let committed = json!({"item_id": id, "previous_item_id": before});
        self.tell("input_audio_buffer.committed", committed);
        self.tell_item("conversation.item.added", told.clone(), before.as_deref());
        self.tell_item("conversation.item.done", told, before.as_deref());
    }

    fn transcribed(&mut self, id: &str, words: &str) {
        if self.config.input.transcription.is_none() {
            return;
        }
        if let Some(Item { kind: Kind::Spoken { transcript }, .. }) = self.items.get_mut(id) {
            *transcript = Some(words.to_owned());
        }
        let rest = words.strip_prefix(self.input.partial.as_str()).unwrap_or(words).to_owned();
        self.input.partial.clear();
        let delta = json!({"item_id": id, "content_index": 0, "delta": rest});
        self.tell("conversation.item.input_audio_transcription.delta", delta);
        let whole = json!({"item_id": id, "content_index": 0, "transcript": words});
        self.tell("conversation.item.input_audio_transcription.completed", whole);
    }

    /// The turn goes on: it comes again as another item, with all of its words.
    fn reopened(&mut self) {
        self.end_response("cancelled", Some("turn_detected"), Usage::default());
        let Some(id) = self.input.last.take() else { return };
        if self.items.remove(&id).is_some() {
            self.tell("conversation.item.deleted", json!({"item_id": id}));
        }
        self.announce();
    }

    fn discarded(&mut self) {
        let Some((at_ms, id)) = self.input.open.take() else { return };
        if std::mem::take(&mut self.input.announced) {
            let end = self.input.ended_ms.max(at_ms);
            let stopped = json!({"item_id": id, "audio_end_ms": end});
            self.tell("input_audio_buffer.speech_stopped", stopped);
            self.tell("input_audio_buffer.cleared", json!({}));
        }
    }

    fn sound_committed(&mut self) {
        let id = self.new_item_id();
        self.add_spoken(&id, None);
        self.input.waiting.push_back(id);
    }

    fn sound_heard(&mut self, words: Option<(&str, Option<EntryKey>)>) {
        let Some(id) = self.input.waiting.pop_front() else { return };
        match words {
            Some((words, key)) => {
                if let Some(item) = self.items.get_mut(&id) {
                    item.key = key;
                }
                self.transcribed(&id, words);
            }
            None => {
                let error = json!({
                    "type": "server_error",
                    "code": "not_understood",
                    "message": "The sound could not be turned into words; send it again.",
                });
                let told = json!({"item_id": id, "content_index": 0, "error": error});
                self.tell("conversation.item.input_audio_transcription.failed", told);
            }
        }
    }

    // What is told.

    fn new_item_id(&mut self) -> String {
        loop {
            self.counts.items += 1;
            let id = format!("item_{}_{}", &self.id[5..13], self.counts.items);
            // Clients name items as they like.
            if self.items.get(&id).is_none() {
                return id;
            }
        }
    }

    fn tell_item(&mut self, kind: &str, item: Value, before: Option<&str>) {
        self.tell(kind, json!({"previous_item_id": before, "item": item}));
    }

    fn tell(&mut self, kind: &str, mut event: Value) {
        self.counts.events += 1;
        event["type"] = json!(kind);
        event["event_id"] = json!(format!("event_{}_{}", &self.id[5..13], self.counts.events));
        self.told.push_back(event.to_string());
    }

    fn error(
        &mut self,
        kind: &str,
        code: &str,
        message: &str,
        param: Option<&str>,
        event_id: Option<&str>,
    ) {
        let error = json!({
            "type": kind,
            "code": code,
            "message": message,
            "param": param,
            "event_id": event_id,
        });
        self.tell("error", json!({"error": error}));
    }
}

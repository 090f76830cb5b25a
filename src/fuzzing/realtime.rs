//! A Realtime session: any events of a client, among any happenings of the call.
//!
//! The bytes are lines. One that begins with `!` is a happening (`!committed Hello.`), every other one
//! is an event as the client sent it; `!socket` as the first line makes it a WebSocket's session. Ids
//! of the session are the same each time, so that an input can name them: `item_00000000_1`.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::ids::{CallId, ReplyId, TurnId};
use crate::private::Private;
use crate::realtime::{Abilities, Ask, Carrier, Config, Happening, Session, Usage};
use crate::thinking::ToolCall;
use crate::thinking::history::History;

/// Lines that are looked at; the oldest items are forgotten only beyond that.
const MOST_LINES: usize = 300;

/// Any lines: what the client is told is whole, in order, and ends what it begins.
pub fn realtime(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().take(MOST_LINES).peekable();
    let socket = lines.next_if_eq(&"!socket").is_some();
    let mut call = Call::new(if socket { Carrier::WebSocket } else { Carrier::DataChannel });
    for line in lines {
        match line.strip_prefix('!') {
            Some(happening) => call.happen(happening),
            None => call.session.client(line),
        }
        call.follow();
    }
}

struct Call {
    session: Session,
    history: History,
    replies: u32,
    at_ms: u64,
    told: Told,
}

impl Call {
    fn new(carrier: Carrier) -> Self {
        let abilities = Abilities {
            check_voice: Box::new(|voice| match voice {
                "nobody" => Err("There is no such voice.".to_owned()),
                _ => Ok(()),
            }),
            check_language: Box::new(|_| Ok(())),
            own_voice: "joe".to_owned(),
            own_model: "brain".to_owned(),
        };
        let id = CallId::parse(&"0".repeat(32)).expect("an id");
        Self {
            session: Session::new(id, carrier, Config::default(), abilities),
            history: History::new("Be kind."),
            replies: 0,
            at_ms: 0,
            told: Told::default(),
        }
    }

    fn happen(&mut self, happening: &str) {
        let (what, text) = happening.split_once(' ').unwrap_or((happening, ""));
        self.at_ms += 20;
        let at_ms = self.at_ms;
        let usage = Usage { input: u32::MAX, cached: 1, output: 7 };
        let reply = ReplyId(self.replies);
        let words = || text.char_indices().map(|(at, c)| (at as u64 * 60, at + c.len_utf8()));
        let call;
        let happening = match what {
            "opened" => Happening::Opened,
            "speech" => Happening::SpeechStarted { at_ms },
            "paused" => Happening::Paused { at_ms },
            "partial" => Happening::Partial { text },
            "committed" => {
                Happening::Committed { turn: TurnId(1), words: text, key: self.history.user(text) }
            }
            "reopened" => Happening::Reopened,
            "discarded" => Happening::Discarded,
            "sound_committed" => Happening::SoundCommitted,
            "heard" => Happening::SoundHeard { words: Some((text, self.history.user(text))) },
            "unheard" => Happening::SoundHeard { words: None },
            "begins" => {
                self.replies += 1;
                Happening::ReplyBegins { reply: ReplyId(self.replies) }
            }
            "sounds" => Happening::Sounds,
            "sentence" => Happening::Sentence { text, words: words().collect() },
            "sound" => Happening::Sound { payload: text.as_bytes() },
            "text" => Happening::Text { delta: text },
            "tool" => {
                call = [ToolCall {
                    id: format!("call_{at_ms}"),
                    name: text.to_owned(),
                    arguments: Private::new(text.to_owned()),
                }];
                Happening::ToolsCalled { calls: &call }
            }
            "ended" => Happening::ReplyEnded { key: self.history.user(text), usage },
            "cut" => Happening::ReplyCut { reply, heard: text, heard_ms: at_ms, key: None, usage },
            _ => Happening::Failed { code: what, message: text },
        };
        self.session.happened(happening);
    }

    /// Does what the session asks for, and looks at what it tells.
    fn follow(&mut self) {
        while let Some(ask) = self.session.poll_ask() {
            match ask {
                Ask::Insert { item, place, role, text } => {
                    let key = self.history.insert(place, role, &text);
                    self.session.bind(&item, key);
                }
                Ask::Result { call_id, output } => {
                    self.history.result(&call_id, Private::new(output));
                }
                Ask::Remove(key) => self.history.remove(key),
                Ask::Rewrite(key, text) => self.history.rewrite(key, &text),
                Ask::Configure | Ask::Respond => drop(self.session.options()),
                Ask::Cancel | Ask::Append(_) | Ask::CommitSound | Ask::ClearSound => {}
            }
        }
        while let Some(event) = self.session.poll_event() {
            let event: Value = serde_json::from_str(&event).expect("events are JSON");
            self.told.look_at(&event);
        }
        assert!(self.history.prompt().len() <= MOST_LINES + 1, "the history is bounded");
    }
}

/// What the client was told.
#[derive(Default)]
struct Told {
    events: HashSet<String>,
    items: HashSet<String>,
    response: Option<String>,
    /// Items of the response's output, and whether they are complete.
    output: HashMap<String, bool>,
    playing: Option<String>,
}

impl Told {
    fn look_at(&mut self, event: &Value) {
        let kind = event["type"].as_str().expect("an event has a type");
        let id = event["event_id"].as_str().expect("an event has an id");
        assert!(self.events.insert(id.to_owned()), "{id} comes twice");
        match kind {
            "error" => {
                for field in ["type", "code", "message"] {
                    assert!(event["error"][field].is_string(), "an error has a {field}: {event}");
                }
            }
            "response.created" => {
                assert!(self.response.is_none(), "one response at a time: {event}");
                self.response = Some(text(&event["response"]["id"]));
            }
            "response.done" => self.done(event),
            _ if kind.starts_with("response.") => {
                let response = self.response.as_deref();
                assert_eq!(response, event["response_id"].as_str(), "of another response: {event}");
                self.output_of(kind, event);
            }
            "output_audio_buffer.started" => {
                let before = self.playing.replace(text(&event["response_id"]));
                assert!(before.is_none(), "it plays already: {event}");
            }
            "output_audio_buffer.stopped" | "output_audio_buffer.cleared" => {
                let before = self.playing.take();
                assert_eq!(before.as_deref(), event["response_id"].as_str(), "{event}");
            }
            "conversation.item.added" => {
                assert!(self.items.insert(text(&event["item"]["id"])), "it comes twice: {event}");
            }
            "conversation.item.deleted" => {
                let id = text(&event["item_id"]);
                self.items.remove(&id);
                self.output.remove(&id);
            }
            _ => {}
        }
    }

    fn output_of(&mut self, kind: &str, event: &Value) {
        let id = if event["item"].is_object() { &event["item"]["id"] } else { &event["item_id"] };
        let id = text(id);
        match kind {
            "response.output_item.added" => {
                assert!(!self.items.contains(&id), "an item of the conversation has its id: {id}");
                assert_eq!(self.output.insert(id, false), None, "it comes twice: {event}");
            }
            "response.output_item.done" => {
                assert_eq!(self.output.insert(id, true), Some(false), "not once: {event}");
            }
            _ => assert_eq!(self.output.get(&id), Some(&false), "not open: {event}"),
        }
    }

    fn done(&mut self, event: &Value) {
        let id = text(&event["response"]["id"]);
        assert_eq!(self.response.take(), Some(id), "another response is done: {event}");
        let open: Vec<_> = self.output.drain().filter(|(_, done)| !done).collect();
        assert!(open.is_empty(), "{open:?} are not done: {event}");
    }
}

fn text(id: &Value) -> String {
    id.as_str().expect("an id").to_owned()
}

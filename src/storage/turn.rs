//! What is kept of a conversation: turns, and the sessions that they belong to.
//!
//! Plain data, and its form as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ids::SessionId;
use crate::private::Private;
use crate::thinking::{Message, Role, ToolCall};

/// How the person was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// A call.
    Call,
    /// Text over HTTP or a WebSocket.
    Chat,
}

impl Channel {
    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Chat => "chat",
        }
    }

    pub(super) fn of(name: &str) -> Self {
        if name == "chat" { Self::Chat } else { Self::Call }
    }
}

/// A turn to keep. [`Turn::new`] makes one; fill in what was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Names it when it is corrected or written twice.
    pub id: Uuid,
    /// Whose it is: the same string as in [`Storage::load`](super::Storage::load).
    pub owner: String,
    /// The conversation that it belongs to.
    pub session: SessionId,
    /// Where it was said.
    pub channel: Channel,
    /// What the person said; may be empty.
    pub user: Private<String>,
    /// What was heard of the reply; may be empty.
    pub reply: Private<String>,
    /// The calls of tools for the reply, and their results.
    pub exchange: Vec<Message>,
    /// When the person had said it, unix milliseconds.
    pub at: i64,
    /// Until the reply began, milliseconds.
    pub latency_ms: Option<f64>,
}

impl Turn {
    /// An empty turn, said now.
    pub fn new(owner: impl Into<String>, session: SessionId, channel: Channel) -> Self {
        Self {
            id: Uuid::new_v4(),
            owner: owner.into(),
            session,
            channel,
            user: Private::default(),
            reply: Private::default(),
            exchange: Vec::new(),
            at: now_ms(),
            latency_ms: None,
        }
    }
}

/// A turn that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTurn {
    /// Where it was said.
    pub channel: Channel,
    /// What the person said.
    pub user: Private<String>,
    /// What was heard of the reply.
    pub reply: Private<String>,
    /// The calls of tools for the reply, and their results.
    pub exchange: Vec<Message>,
    /// When the person had said it, unix milliseconds.
    pub at: i64,
    /// Until the reply began, milliseconds.
    pub latency_ms: Option<f64>,
}

impl StoredTurn {
    fn json(&self) -> Value {
        let mut turn = json!({
            "at": self.at,
            "channel": self.channel.name(),
            "user": self.user.reveal(),
            "reply": self.reply.reveal(),
            "latency_ms": self.latency_ms,
        });
        if !self.exchange.is_empty() {
            let kept: Vec<_> = self.exchange.iter().map(Kept::from).collect();
            turn["tools"] = serde_json::to_value(kept).unwrap_or_default();
        }
        turn
    }
}

/// A session, without what was said in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// When it began, unix milliseconds.
    pub created_at: i64,
    /// When its newest turn was said, unix milliseconds.
    pub changed_at: i64,
    /// Turns kept of it.
    pub turns: i64,
}

/// Which sessions to list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Those that follow this one; the newest where `None`.
    pub after: Option<SessionId>,
    /// At most so many: 1 to 100, 20 where `None`.
    pub limit: Option<u32>,
}

/// A page of sessions, those that changed last first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The sessions.
    pub data: Vec<SessionInfo>,
    /// More follow the last of them.
    pub has_more: bool,
}

/// Everything that is kept of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// The session.
    pub session: SessionInfo,
    /// Its turns, oldest first.
    pub turns: Vec<StoredTurn>,
}

impl Export {
    /// For the person: all of it, readable.
    pub fn json(&self) -> Value {
        json!({
            "object": "session",
            "id": self.session.id,
            "created_at": self.session.created_at,
            "changed_at": self.session.changed_at,
            "turns": self.turns.iter().map(StoredTurn::json).collect::<Vec<_>>(),
        })
    }
}

/// A message as it is stored: what OpenAI's chat format calls its parts, flat.
#[derive(Serialize, Deserialize)]
struct Kept {
    role: Role,
    content: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<KeptCall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct KeptCall {
    id: String,
    name: String,
    arguments: String,
}

impl From<&Message> for Kept {
    fn from(message: &Message) -> Self {
        let call = |call: &ToolCall| KeptCall {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.reveal().clone(),
        };
        Self {
            role: message.role,
            content: message.content.reveal().clone(),
            tool_calls: message.calls.iter().map(call).collect(),
            tool_call_id: message.answers.clone(),
        }
    }
}

impl From<Kept> for Message {
    fn from(kept: Kept) -> Self {
        let call = |call: KeptCall| ToolCall {
            id: call.id,
            name: call.name,
            arguments: Private::new(call.arguments),
        };
        Self {
            role: kept.role,
            content: Private::new(kept.content),
            calls: kept.tool_calls.into_iter().map(call).collect(),
            answers: kept.tool_call_id,
        }
    }
}

/// Messages as they are stored; nothing where there are none.
pub(super) fn exchange_to_text(messages: &[Message]) -> String {
    if messages.is_empty() {
        return String::new();
    }
    let kept: Vec<_> = messages.iter().map(Kept::from).collect();
    serde_json::to_string(&kept).expect("messages hold nothing that JSON cannot")
}

/// The messages back. What cannot be read is left out: the conversation goes on without it.
pub(super) fn exchange_of_text(text: &str) -> Vec<Message> {
    if text.is_empty() {
        return Vec::new();
    }
    let kept = serde_json::from_str::<Vec<Kept>>(text).unwrap_or_else(|_| {
        tracing::warn!("a stored call of a tool cannot be read and is left out");
        Vec::new()
    });
    kept.into_iter().map(Message::from).collect()
}

/// Unix milliseconds.
pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

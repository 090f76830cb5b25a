//! History and words in; a reply, sentence by sentence, out.
//!
//! In: a [`Prompt`]. Out: [`LlmEvent`]s, cut into speakable pieces by the sentence splitter. Owns the
//! language model clients (any OpenAI-compatible server, or the built-in brain), the history and the
//! tools that a model may call. Decides neither when to answer (`turn/`) nor how it sounds (`speaking/`).

pub mod builtin;
mod call_text;
pub mod discover;
pub mod history;
mod message;
pub mod openai;
pub mod sentences;
pub mod server;
pub mod tools;

pub use self::message::{Message, Offer, Prompt, Role, ToolCall, ToolSpec};

use tokio::sync::mpsc;

use crate::ids::CallId;
use crate::private::Private;

/// What a model sends back for one prompt.
#[derive(Debug)]
pub enum LlmEvent {
    /// More text, as it came (any number of characters).
    Text(Private<String>),
    /// A whole call of a tool; any number of them, after the text. The results go into the next
    /// prompt. Comes only if the prompt's offer is open.
    ToolCall(ToolCall),
    /// The reply is complete; nothing follows.
    Done(Usage),
    /// The reply failed; nothing follows. What came before stays valid.
    Failed(LlmError),
}

/// What a reply cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, as far as known.
    pub prompt_tokens: u32,
    /// Prompt tokens that came from a cache, as far as known.
    pub cached_tokens: u32,
    /// Tokens of the reply (for servers that do not say: the number of text events).
    pub completion_tokens: u32,
}

/// Why a reply failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LlmError {
    /// The server cannot be reached.
    #[error("the language model's server at {url} does not answer: {reason}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// The server refuses.
    #[error("the language model's server refused the request ({status}): {reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the server said, shortened.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("the language model was silent for {0} s")]
    Stalled(u64),
    /// Too much to do.
    #[error(transparent)]
    Overloaded(#[from] OverloadedBrain),
    /// The model itself failed.
    #[error("the language model failed: {0}")]
    Model(String),
    /// An address or key that cannot be used.
    #[error("{0}")]
    Config(String),
    /// The server does not have the model that was asked for.
    #[error(
        "the language model's server at {url} has no model named {model:?}; choose one of: {known}"
    )]
    UnknownModel {
        /// Its address.
        url: String,
        /// The name that was asked for.
        model: String,
        /// The names it has, or that it has none.
        known: String,
    },
}

/// The built-in brain has too many replies waiting.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the built-in language model has too many replies waiting; try again in a moment")]
pub struct OverloadedBrain;

/// How many events of one reply may wait to be read; a reader that is slower slows the model down.
pub const EVENT_QUEUE: usize = 64;

/// A language model: an OpenAI-compatible server, the built-in brain, and a scripted double in tests.
///
/// Methods return at once; the work happens elsewhere.
pub trait Llm: Send + Sync {
    /// Starts a reply. Dropping the receiver withdraws it.
    fn reply(&self, prompt: Prompt) -> mpsc::Receiver<LlmEvent>;

    /// Says what a prompt will begin with (history and the stable words so far), so that a model
    /// with a cache can read it ahead. A hint: it may be ignored, and a newer one replaces it.
    fn read_ahead(&self, prompt: Prompt) {
        let _ = prompt;
    }

    /// The call is over: whatever is cached for it may go.
    fn forget(&self, call: CallId) {
        let _ = call;
    }

    /// The model's name, for people.
    fn name(&self) -> String;

    /// How it is doing, as far as is known without asking it for anything; returns at once.
    fn health(&self) -> Health {
        Health::Up
    }

    /// The server behind it, if there is one, for requests that are passed on to it.
    fn upstream(&self) -> Option<Upstream> {
        None
    }
}

/// Whether a language model can be used.
#[derive(Clone, Debug)]
pub enum Health {
    /// It answers.
    Up,
    /// Nobody knows yet.
    Unknown,
    /// It does not.
    Down(LlmError),
}

/// An OpenAI-compatible server, for requests as they are.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its address up to and including its version, without a slash at the end.
    pub base: String,
    /// The connections to it.
    pub http: reqwest::Client,
    /// The key it wants.
    pub key: Option<Private<String>>,
    /// The model that EVA talks with, as far as known.
    pub model: Option<String>,
}

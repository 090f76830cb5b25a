//! The body of a request for a reply, and what a server does not take in it.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::{Value, json};

use super::wire::Refusal;
use crate::thinking::{Prompt, Role};

/// Fields of a request that the server does not take, learned from its refusals.
#[derive(Debug, Default)]
pub(super) struct Quirks {
    no_stream_options: AtomicBool,
    no_temperature: AtomicBool,
    max_completion_tokens: AtomicBool,
}

impl Quirks {
    /// Learns from a refusal; true if the same request may now be taken.
    pub fn learn(&self, refusal: &Refusal) -> bool {
        if !matches!(refusal.status, 400 | 422) {
            return false;
        }
        let fields = [
            ("stream_options", &self.no_stream_options),
            ("temperature", &self.no_temperature),
            ("max_tokens", &self.max_completion_tokens),
        ];
        let mut blamed = fields.into_iter().filter(|(field, _)| refusal.reason.contains(field));
        blamed.any(|(_, quirk)| !quirk.swap(true, Ordering::Relaxed))
    }

    /// The request for a reply, without the fields that the server does not take.
    pub fn request<'a>(&self, model: &'a str, prompt: &'a Prompt) -> ChatRequest<'a> {
        let has = |quirk: &AtomicBool| quirk.load(Ordering::Relaxed);
        let limit = Some(prompt.max_tokens);
        let new_limit = has(&self.max_completion_tokens);
        let usage = || json!({"include_usage": true});
        let messages = prompt
            .messages
            .iter()
            .map(|message| ChatMessage { role: message.role, content: message.content.reveal() });
        ChatRequest {
            model,
            messages: messages.collect(),
            stream: true,
            stream_options: (!has(&self.no_stream_options)).then(usage),
            max_tokens: limit.filter(|_| !new_limit),
            max_completion_tokens: limit.filter(|_| new_limit),
            temperature: (!has(&self.no_temperature)).then_some(prompt.temperature),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ChatRequest<'a> {
    model: &'a str,
    messages: Vec<ChatMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: Role,
    content: &'a str,
}

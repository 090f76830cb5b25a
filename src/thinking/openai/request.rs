//! The body of a request for a reply, and what a server does not take in it.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::{Value, json};

use super::wire::Refusal;
use crate::thinking::{Message, Prompt, Role, ToolSpec};

/// What a server does not take in a request, learned from its refusals.
#[derive(Debug, Default)]
pub(super) struct Quirks {
    no_stream_options: AtomicBool,
    no_temperature: AtomicBool,
    max_completion_tokens: AtomicBool,
    no_tools: AtomicBool,
    no_tool_choice: AtomicBool,
}

/// What was learned from a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// Nothing: asking again is no use.
    Nothing,
    /// To leave a field out.
    Field,
    /// To leave the tools out.
    NoTools,
}

impl Quirks {
    /// Learns from a refusal of a request for this prompt.
    pub fn learn(&self, refusal: &Refusal, prompt: &Prompt) -> Learned {
        let reason = &refusal.reason;
        let fields = [
            ("stream_options", &self.no_stream_options),
            ("temperature", &self.no_temperature),
            ("max_tokens", &self.max_completion_tokens),
            ("tool_choice", &self.no_tool_choice),
        ];
        if matches!(refusal.status, 400 | 422) {
            let mut blamed = fields.into_iter().filter(|(field, _)| reason.contains(field));
            if blamed.any(|(_, quirk)| !quirk.swap(true, Ordering::Relaxed)) {
                return Learned::Field;
            }
        }
        let offered = !prompt.offer.tools.is_empty() && !self.no_tools.load(Ordering::Relaxed);
        if offered && refuses_tools(refusal) {
            self.no_tools.store(true, Ordering::Relaxed);
            return Learned::NoTools;
        }
        Learned::Nothing
    }

    /// The request for a reply, without what the server does not take.
    pub fn request<'a>(&self, model: &'a str, prompt: &'a Prompt) -> ChatRequest<'a> {
        let has = |quirk: &AtomicBool| quirk.load(Ordering::Relaxed);
        let limit = Some(prompt.max_tokens);
        let new_limit = has(&self.max_completion_tokens);
        let usage = || json!({"include_usage": true});
        let with_tools = !has(&self.no_tools);
        let messages = prompt.messages.iter().filter(|m| with_tools || m.role != Role::Tool);
        let messages = messages.map(|message| chat_message(message, with_tools));
        let offered = with_tools && !prompt.offer.tools.is_empty();
        let choice = match (prompt.offer.words_only, prompt.offer.must_call) {
            (true, _) => Some("none"),
            (false, true) => Some("required"),
            (false, false) => None,
        };
        ChatRequest {
            model,
            messages: messages.collect(),
            stream: true,
            stream_options: (!has(&self.no_stream_options)).then(usage),
            max_tokens: limit.filter(|_| !new_limit),
            max_completion_tokens: limit.filter(|_| new_limit),
            temperature: (!has(&self.no_temperature)).then_some(prompt.temperature),
            tools: prompt.offer.tools.iter().filter(|_| offered).map(tool).collect(),
            tool_choice: choice.filter(|_| offered && !has(&self.no_tool_choice)),
        }
    }
}

/// Whether a server says that it, or its model, knows no tools. Each says it with another status;
/// a complaint about one message's calls is not that.
fn refuses_tools(refusal: &Refusal) -> bool {
    let reason = refusal.reason.to_lowercase();
    let of_tools = ["tools", "tool choice", "tool use", "tool calling", "function call"];
    matches!(refusal.status, 400 | 404 | 405 | 422 | 500 | 501)
        && of_tools.iter().any(|words| reason.contains(words))
        && !reason.contains("tool_call")
}

fn chat_message(message: &Message, with_tools: bool) -> ChatMessage<'_> {
    let calls = message.calls.iter().filter(|_| with_tools).map(|call| {
        let arguments = call.arguments.reveal();
        let function = json!({"name": call.name, "arguments": arguments});
        json!({"id": call.id, "type": "function", "function": function})
    });
    ChatMessage {
        role: message.role,
        content: message.content.reveal(),
        tool_calls: calls.collect(),
        tool_call_id: message.answers.as_deref(),
    }
}

fn tool(spec: &ToolSpec) -> Value {
    let ToolSpec { name, description, parameters } = spec;
    let function = json!({"name": name, "description": description, "parameters": parameters});
    json!({"type": "function", "function": function})
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: Role,
    content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_know_no_tools_are_told_from_others() {
        let refuses = |status, reason: &str| {
            refuses_tools(&Refusal { status, reason: reason.to_owned(), retry_after: None })
        };
        assert!(refuses(400, "registry.ollama.ai/library/gemma:2b does not support tools"));
        assert!(refuses(400, "\"auto\" tool choice requires --enable-auto-tool-choice"));
        assert!(refuses(500, "tools param requires --jinja flag"));
        assert!(refuses(404, "No endpoints found that support tool use."));
        assert!(refuses(400, "Function calling is not enabled for this model"));
        assert!(!refuses(400, "tool_call_id of the tools result is unknown"));
        assert!(!refuses(429, "too many tools"));
        assert!(!refuses(500, "out of memory"));
    }
}

//! `POST /v1/chat/completions` where no server stands behind the brain: the built-in one answers.
//!
//! In: a request as OpenAI defines it. Out: a completion, whole or in chunks, with usage and calls of
//! tools. What the built-in brain cannot do is refused rather than ignored.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::chat::Permit;
use crate::gateway::Gateway;
use crate::ids::CallId;
use crate::private::Private;
use crate::signaling::ApiError;
use crate::thinking::{LlmEvent, Message, Offer, Prompt, Role, ToolCall, ToolSpec, Usage};

/// Tokens of a reply where the request sets no limit.
const MAX_TOKENS: u32 = 512;
/// The most tokens that can be asked for.
const MOST_TOKENS: u32 = 4_096;
/// Tools of one request.
const MOST_TOOLS: usize = 64;

#[derive(Deserialize)]
struct Request {
    messages: Vec<Told>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    tools: Option<Vec<Tool>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Told {
    role: String,
    #[serde(default)]
    content: Value,
    tool_calls: Option<Vec<Called>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct Called {
    id: String,
    function: CalledFunction,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    description: String,
    parameters: Option<Value>,
}

/// One completion in the making.
struct Completion {
    id: String,
    created: u64,
    model: String,
    events: mpsc::Receiver<LlmEvent>,
    most: u32,
    calls: usize,
    _place: Permit,
}

pub(super) async fn complete(
    gateway: &Gateway,
    request: Map<String, Value>,
    place: Permit,
) -> Result<Response, ApiError> {
    let request: Request = serde_json::from_value(Value::Object(request)).map_err(|error| {
        let message = format!("The request is not as expected: {error}.");
        ApiError::bad_request("bad_request", message)
    })?;
    let streams = request.stream.unwrap_or(false);
    let usage = request.stream_options.as_ref().is_some_and(|options| options.include_usage);
    let prompt = prompt(request)?;
    let llm = &gateway.engines().llm;
    let completion = Completion {
        id: format!("chatcmpl-{}", prompt.call),
        created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        model: llm.name(),
        most: prompt.max_tokens,
        events: llm.reply(prompt),
        calls: 0,
        _place: place,
    };
    if streams { completion.chunks(usage).await } else { completion.whole().await }
}

fn wrong(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::bad_request("unsupported", message).about(param)
}

fn prompt(request: Request) -> Result<Prompt, ApiError> {
    let words_only = check_rest(&request.rest)?;
    let temperature = request.temperature.unwrap_or(0.7);
    if !(0.0..=2.0).contains(&temperature) {
        return Err(wrong("temperature", "The temperature is from 0 to 2."));
    }
    let max_tokens = request.max_completion_tokens.or(request.max_tokens).unwrap_or(MAX_TOKENS);
    if !(1..=MOST_TOKENS).contains(&max_tokens) {
        let message = format!("A reply has from 1 to {MOST_TOKENS} tokens.");
        return Err(wrong("max_completion_tokens", message));
    }
    let tools: Vec<ToolSpec> = request.tools.unwrap_or_default().into_iter().map(spec).collect();
    if tools.len() > MOST_TOOLS {
        return Err(wrong("tools", format!("At most {MOST_TOOLS} tools fit.")));
    }
    let (mut system, mut messages) = (Vec::new(), Vec::new());
    for told in request.messages {
        match message(told)? {
            told if told.role == Role::System => system.push(told.content.into_revealed()),
            told => messages.push(told),
        }
    }
    // The model wants one, and wants it first.
    messages.insert(0, Message::new(Role::System, system.join("\n\n")));
    if messages.len() == 1 {
        return Err(wrong("messages", "Somebody must say something: send a message of the user."));
    }
    let offer = Offer { tools: tools.into(), words_only, ..Offer::default() };
    Ok(Prompt { call: CallId::random(), messages, offer, max_tokens, temperature })
}

/// Refuses what the built-in brain cannot do; whether it may call no tools.
fn check_rest(rest: &Map<String, Value>) -> Result<bool, ApiError> {
    let given = |name: &str| rest.get(name).filter(|value| !value.is_null());
    if given("n").is_some_and(|n| *n != 1) {
        return Err(wrong("n", "The built-in brain gives one answer: leave n out."));
    }
    if given("stop").is_some_and(|stop| *stop != json!([])) {
        return Err(wrong("stop", "The built-in brain knows no stop sequences: leave stop out."));
    }
    let shape = given("response_format").and_then(|shape| shape.get("type"));
    if shape.is_some_and(|shape| shape != "text") {
        return Err(wrong("response_format", "The built-in brain answers in text only."));
    }
    match given("tool_choice").map(|choice| choice.as_str()) {
        None | Some(Some("auto")) => Ok(false),
        Some(Some("none")) => Ok(true),
        Some(_) => Err(wrong("tool_choice", "The built-in brain takes auto or none.")),
    }
}

fn spec(tool: Tool) -> ToolSpec {
    let Function { name, description, parameters } = tool.function;
    let parameters = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    ToolSpec { name, description, parameters }
}

fn message(told: Told) -> Result<Message, ApiError> {
    let role = match told.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => {
            return Err(wrong("messages", "A role is system, developer, user, assistant or tool."));
        }
    };
    let content = text(&told.content)
        .ok_or_else(|| wrong("messages", "The built-in brain reads text only."))?;
    let calls = told.tool_calls.unwrap_or_default().into_iter().map(|call| ToolCall {
        id: call.id,
        name: call.function.name,
        arguments: Private::new(call.function.arguments),
    });
    let (content, calls) = (Private::new(content), calls.collect());
    Ok(Message { role, content, calls, answers: told.tool_call_id })
}

/// A message's text: a string, or parts of text.
fn text(content: &Value) -> Option<String> {
    match content {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().map(|part| part.get("text")?.as_str()).collect(),
        _ => None,
    }
}

impl Completion {
    async fn whole(mut self) -> Result<Response, ApiError> {
        let (mut text, mut calls) = (String::new(), Vec::new());
        let usage = loop {
            match self.events.recv().await {
                Some(LlmEvent::Text(part)) => text.push_str(part.reveal()),
                Some(LlmEvent::ToolCall(call)) => calls.push(called(&call)),
                Some(LlmEvent::Done(usage)) => break usage,
                Some(LlmEvent::Failed(error)) => return Err(error.into()),
                None => return Err(broken()),
            }
        };
        self.calls = calls.len();
        let mut message = json!({"role": "assistant", "content": text, "refusal": null});
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        let choice = json!({
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": self.reason(usage),
        });
        Ok(Json(json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": counted(usage),
        }))
        .into_response())
    }

    /// The chunks; what goes wrong before the first token is an ordinary error.
    async fn chunks(mut self, with_usage: bool) -> Result<Response, ApiError> {
        let first = match self.events.recv().await {
            Some(LlmEvent::Failed(error)) => return Err(error.into()),
            None => return Err(broken()),
            Some(event) => event,
        };
        let role = self.chunk(json!({"role": "assistant", "content": ""}), None).to_string();
        let begin = (Some(first), Some(self));
        let rest = stream::unfold(begin, move |(first, completion)| async move {
            let mut completion = completion?;
            let event = match first {
                Some(event) => Some(event),
                None => completion.events.recv().await,
            };
            let (lines, end) = completion.lines(event, with_usage);
            Some((lines, (None, (!end).then_some(completion))))
        });
        let lines = stream::iter([vec![role]]).chain(rest).flat_map(stream::iter);
        let events = lines.map(|line| Ok::<_, Infallible>(Event::default().data(line)));
        Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
    }

    /// The lines for an event, and whether nothing follows.
    fn lines(&mut self, event: Option<LlmEvent>, with_usage: bool) -> (Vec<String>, bool) {
        let lines = match event {
            Some(LlmEvent::Text(text)) => {
                let chunk = self.chunk(json!({"content": text.reveal()}), None);
                return (vec![chunk.to_string()], false);
            }
            Some(LlmEvent::ToolCall(call)) => {
                let mut called = called(&call);
                called["index"] = json!(self.calls);
                self.calls += 1;
                let chunk = self.chunk(json!({"tool_calls": [called]}), None);
                return (vec![chunk.to_string()], false);
            }
            Some(LlmEvent::Done(usage)) => {
                let mut lines = vec![self.chunk(json!({}), Some(self.reason(usage)))];
                if with_usage {
                    let mut chunk = self.chunk(json!({}), None);
                    chunk["choices"] = json!([]);
                    chunk["usage"] = counted(usage);
                    lines.push(chunk);
                }
                lines
            }
            Some(LlmEvent::Failed(error)) => vec![ApiError::from(error).body()],
            None => vec![broken().body()],
        };
        let done = "[DONE]".to_owned();
        (lines.iter().map(Value::to_string).chain([done]).collect(), true)
    }

    fn chunk(&self, delta: Value, reason: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}],
        })
    }

    fn reason(&self, usage: Usage) -> &'static str {
        match self.calls {
            0 if usage.completion_tokens >= self.most => "length",
            0 => "stop",
            _ => "tool_calls",
        }
    }
}

fn called(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments.reveal()});
    json!({"id": call.id, "type": "function", "function": function})
}

fn counted(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    })
}

fn broken() -> ApiError {
    crate::thinking::LlmError::Model("it ended without a word".to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(request: Value) -> Result<Prompt, ApiError> {
        prompt(serde_json::from_value(request).expect("a request"))
    }

    #[test]
    fn a_conversation_with_tools_is_read() {
        let call = json!({"id": "c1", "type": "function",
            "function": {"name": "weather", "arguments": "{}"}});
        let prompt = read(json!({
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "How "}, {"type": "text", "text": "warm?"}]},
                {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "21"},
            ],
            "tools": [{"type": "function", "function": {"name": "weather"}}],
            "tool_choice": "none",
            "max_tokens": 7,
        }))
        .expect("a prompt");
        let said: Vec<_> = prompt.messages.iter().map(|m| m.content.reveal().as_str()).collect();
        assert_eq!(said, ["Be brief.", "How warm?", "", "21"]);
        assert_eq!(prompt.messages[2].calls[0].name, "weather");
        assert_eq!(prompt.messages[3].answers.as_deref(), Some("c1"));
        assert!(prompt.offer.words_only && prompt.offer.tools.len() == 1);
        assert_eq!(prompt.max_tokens, 7);
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_names_the_field() {
        let hello = json!([{"role": "user", "content": "Hello"}]);
        for (field, value) in [
            ("n", json!(2)),
            ("stop", json!("x")),
            ("response_format", json!({"type": "json_object"})),
            ("tool_choice", json!("required")),
            ("temperature", json!(3)),
            ("max_completion_tokens", json!(0)),
            ("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}])),
            ("messages", json!([{"role": "system", "content": "Be brief."}])),
            ("messages", json!([{"role": "robot", "content": "Beep."}])),
        ] {
            let mut request = json!({"messages": hello});
            request[field] = value;
            let error = read(request).expect_err(field);
            assert_eq!(error.param.as_deref(), Some(field));
        }
    }
}

//! What a model is told and what it asks for: messages, tools, calls of tools.
//!
//! Plain data; owns nothing and decides nothing.

use std::sync::Arc;

use serde_json::Value;

use crate::ids::CallId;
use crate::private::Private;

/// Who said a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions.
    System,
    /// The person.
    User,
    /// EVA.
    Assistant,
    /// A tool that EVA called.
    Tool,
}

/// One message of the conversation as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said; for EVA's own messages only what was heard. A tool's result.
    pub content: Private<String>,
    /// With EVA's messages: the tools she called, after saying the content.
    pub calls: Vec<ToolCall>,
    /// With a tool's result: the id of the call that it answers.
    pub answers: Option<String>,
}

impl Message {
    /// Something said.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let content = Private::new(content.into());
        Self { role, content, calls: Vec::new(), answers: None }
    }

    /// EVA says something (or nothing) and calls tools.
    pub fn calling(content: impl Into<String>, calls: Vec<ToolCall>) -> Self {
        Self { calls, ..Self::new(Role::Assistant, content) }
    }

    /// What a tool answered to a call.
    pub fn result(call: &ToolCall, content: Private<String>) -> Self {
        let answers = Some(call.id.clone());
        Self { role: Role::Tool, content, calls: Vec::new(), answers }
    }
}

/// A tool as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Letters, digits, `_` and `-`; at most 64.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// A JSON schema of type `object`.
    pub parameters: Value,
}

/// A model wants a tool to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Never empty; unlike that of any other call in the conversation.
    pub id: String,
    /// The tool's name, as the model wrote it.
    pub name: String,
    /// A JSON object, unless the model made a mistake.
    pub arguments: Private<String>,
}

impl ToolCall {
    /// A call with an id of its own: nine letters and digits, which every server takes.
    pub fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string()[..9].to_owned();
        Self { id, name: name.into(), arguments: Private::new(arguments.into()) }
    }
}

/// The tools that a model is offered with a prompt.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The tools; the same ones in all prompts of a call, so that their beginning stays cached.
    pub tools: Arc<[ToolSpec]>,
    /// The model has called enough: it must answer in words now.
    pub words_only: bool,
    /// The model must call one of them, if it can be made to.
    pub must_call: bool,
}

impl Offer {
    /// Whether the model may call one of them.
    pub fn is_open(&self) -> bool {
        !self.tools.is_empty() && !self.words_only
    }
}

/// Everything a model needs for one reply.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The call it belongs to: servers and the built-in brain keep its prefix cached.
    pub call: CallId,
    /// System message first, the person's newest words (or the results of tools) last.
    pub messages: Vec<Message>,
    /// The tools it may call.
    pub offer: Offer,
    /// The most tokens a reply may have.
    pub max_tokens: u32,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f32,
}

//! What a server has said of one reply so far, on its way to the reader.

use serde_json::Value;
use tokio::sync::mpsc;

use super::calls::Calls;
use crate::private::Private;
use crate::thinking::call_text::{CallText, Found};
use crate::thinking::{LlmEvent, Offer, ToolCall};

/// The text and calls of one reply.
pub(super) struct Said<'a> {
    events: &'a mpsc::Sender<LlmEvent>,
    /// Calls are passed on.
    open: bool,
    /// Looks for calls in the text, where tools are offered.
    written: Option<CallText>,
    calls: Calls,
    found: Vec<ToolCall>,
    /// Pieces of text that came.
    texts: u32,
}

impl<'a> Said<'a> {
    pub(super) fn new(offer: &Offer, events: &'a mpsc::Sender<LlmEvent>) -> Self {
        Self {
            events,
            open: offer.is_open(),
            written: (!offer.tools.is_empty()).then(CallText::default),
            calls: Calls::default(),
            found: Vec::new(),
            texts: 0,
        }
    }

    /// Whether the server has said anything yet.
    pub(super) fn has_begun(&self) -> bool {
        self.texts > 0 || !self.calls.is_empty()
    }

    /// Pieces of text so far, which are about as many tokens.
    pub(super) fn texts(&self) -> u32 {
        self.texts
    }

    /// Takes a chunk and its text; false if nobody listens any more.
    pub(super) async fn take(&mut self, chunk: &Value, text: String) -> bool {
        self.calls.take(chunk);
        if text.is_empty() {
            return true;
        }
        self.texts += 1;
        let found = match &mut self.written {
            Some(written) => written.push(&text),
            None => Found { text, calls: Vec::new() },
        };
        self.pass_on(found).await
    }

    async fn pass_on(&mut self, found: Found) -> bool {
        self.found.extend(found.calls);
        let text = found.text;
        text.is_empty() || self.events.send(LlmEvent::Text(Private::new(text))).await.is_ok()
    }

    /// The reply is complete: passes its calls on. False if there was neither text nor call.
    pub(super) async fn finish(mut self) -> bool {
        let rest = self.written.as_mut().map(CallText::finish).unwrap_or_default();
        self.pass_on(rest).await;
        let mut calls = self.calls.finish();
        calls.append(&mut self.found);
        calls.retain(|_| self.open);
        let empty = self.texts == 0 && calls.is_empty();
        for call in calls {
            if self.events.send(LlmEvent::ToolCall(call)).await.is_err() {
                break;
            }
        }
        !empty
    }
}

//! Text conversations: `POST /chat`, `/chat/stream`, `/chat/expressive`, `GET /ws/chat`.
//!
//! In: messages. Out: replies from [`crate::chat`], whole, as server-sent events, or over a WebSocket.
//! Requests and events are described in docs/api/talk.md. A client that goes away withdraws the
//! reply. Nothing is decided here.

mod expressive;
mod socket;
mod stream;

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::JsonObject;
use super::{ApiError, Caller, Service};
use crate::chat::{ChatError, Crowded, Said, Summary};
use crate::ids::SessionId;
use crate::thinking::LlmError;

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/chat", post(reply))
        .route("/chat/stream", post(stream::stream))
        .route("/chat/expressive", post(expressive::express))
        .route("/ws/chat", get(socket::open))
}

/// A message, and the conversation that it belongs to.
#[derive(Deserialize)]
struct Message {
    message: String,
    session_id: Option<SessionId>,
}

/// `POST /chat`: the whole reply.
async fn reply(
    State(service): State<Service>,
    caller: Caller,
    JsonObject(Message { message, session_id }): JsonObject<Message>,
) -> Result<Json<Value>, ApiError> {
    let began = Instant::now();
    let chat = service.gateway.chat();
    let turn = chat.reply(caller.owner(), session_id, &message, began).await?;
    let mut turn = turn.at_once();
    loop {
        match turn.next().await {
            Said::Text(_) | Said::Tool { .. } => {}
            Said::Done(summary) => {
                let mut answer = json!({"reply": summary.text.reveal()});
                add_summary(&mut answer, &summary, turn.session_id());
                return Ok(Json(answer));
            }
            Said::Failed(error) => return Err(error.into()),
        }
    }
}

/// Adds what clients are told of a reply that is complete.
fn add_summary(event: &mut Value, summary: &Summary, session: &SessionId) {
    event["session_id"] = json!(session);
    event["latency_ms"] = json!(ms(summary.latency));
    event["first_token_ms"] = json!(ms(summary.first_token));
    event["cached"] = json!(summary.cached);
}

/// Milliseconds with one digit after the point.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

/// An event of the one error shape.
fn error_event(error: &ApiError) -> Value {
    let mut event = error.body();
    event["type"] = json!("error");
    event
}

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> Self {
        let message = error.to_string();
        match error {
            ChatError::Empty => Self::bad_request("empty_message", message).about("message"),
            ChatError::TooLong => Self::bad_request("message_too_long", message).about("message"),
            ChatError::SessionBusy => {
                Self::new(StatusCode::CONFLICT, "session_busy", message).about("session_id")
            }
            ChatError::Crowded(crowded) => crowded.into(),
            ChatError::Closing => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(10)
            }
        }
    }
}

impl From<Crowded> for ApiError {
    fn from(crowded: Crowded) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", crowded.to_string()).retry_after(3)
    }
}

impl From<LlmError> for ApiError {
    /// The language model's failure, without what its server wrote: that is for the owner's log.
    fn from(error: LlmError) -> Self {
        tracing::warn!(%error, "a reply failed");
        let sentence = match &error {
            LlmError::Overloaded(_) => {
                let message = "The language model has too many replies waiting; try again.";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(3);
            }
            LlmError::Unreachable { .. } => "The language model cannot be reached; try again soon.",
            LlmError::Stalled(_) => "The language model took too long; try again.",
            LlmError::Refused { .. } => "The language model refused the request.",
            LlmError::Model(_) => "The language model failed; try again.",
            LlmError::Config(_) | LlmError::UnknownModel { .. } => {
                "The language model is not set up right; the gateway's log says what is wrong."
            }
        };
        Self::new(StatusCode::BAD_GATEWAY, "brain_failed", sentence)
    }
}

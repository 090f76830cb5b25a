//! `POST /chat/stream`: the reply's tokens as server-sent events.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderName;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use super::{Message, add_summary, error_event};
use crate::chat::{Said, TextTurn};
use crate::ids::SessionId;
use crate::signaling::extract::JsonObject;
use crate::signaling::{ApiError, Caller, Service};

/// A comment is sent into a silent stream this often, so that nobody in between closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    State(service): State<Service>,
    caller: Caller,
    JsonObject(Message { message, session_id }): JsonObject<Message>,
) -> Result<impl IntoResponse, ApiError> {
    let began = Instant::now();
    let chat = service.gateway.chat();
    let turn = chat.reply(caller.owner(), session_id, &message, began).await?;
    let start = json!({"type": "start", "session_id": turn.session_id()});
    Ok(events(start, said(turn)))
}

/// The events of a reply; dropping the stream withdraws it.
fn said(turn: TextTurn) -> impl Stream<Item = Value> + Send {
    stream::unfold(Some(turn), async |turn| {
        let mut turn = turn?;
        let said = turn.next().await;
        let event = event(&said, turn.session_id());
        // With its end the turn is over, and its session free.
        Some((event, (!said.is_end()).then_some(turn)))
    })
}

/// What happened, as events have it here and on the WebSocket.
pub(super) fn event(said: &Said, session: &SessionId) -> Value {
    match said {
        Said::Text(text) => json!({"type": "token", "text": text}),
        Said::Tool { name, ok } => tool_event(name, *ok),
        Said::Done(summary) => {
            let mut event = json!({"type": "done"});
            add_summary(&mut event, summary, session);
            event
        }
        Said::Failed(error) => error_event(&error.clone().into()),
    }
}

/// A tool runs (`ok` is absent), or has ended.
pub(super) fn tool_event(name: &str, ok: Option<bool>) -> Value {
    match ok {
        None => json!({"type": "tool", "name": name}),
        Some(ok) => json!({"type": "tool", "name": name, "ok": ok}),
    }
}

/// A response of server-sent events, one JSON object each.
pub(super) fn events(
    start: Value,
    rest: impl Stream<Item = Value> + Send + 'static,
) -> impl IntoResponse {
    let events = stream::iter([start]).chain(rest);
    let events = events.map(|event| Ok::<_, Infallible>(Event::default().data(event.to_string())));
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Proxies such as nginx hold events back unless told.
    ([(HeaderName::from_static("x-accel-buffering"), "no")], sse)
}

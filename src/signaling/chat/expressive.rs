//! `POST /chat/expressive`: the reply in writing and in sound, as server-sent events.

use std::time::Instant;

use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::stream::{events, tool_event};
use super::{add_summary, error_event, ms};
use crate::chat::encoding::Format;
use crate::chat::{Encoded, Expressed, ExpressiveTurn, Manner};
use crate::ids::SessionId;
use crate::signaling::extract::JsonObject;
use crate::signaling::{ApiError, Caller, Service, speech};

/// A message, and how its reply should sound.
#[derive(Deserialize)]
pub(super) struct Expressive {
    message: String,
    session_id: Option<SessionId>,
    voice: Option<String>,
    format: Option<String>,
    #[serde(default = "yes")]
    fillers: bool,
}

fn yes() -> bool {
    true
}

pub(super) async fn express(
    State(service): State<Service>,
    caller: Caller,
    JsonObject(request): JsonObject<Expressive>,
) -> Result<impl IntoResponse, ApiError> {
    let began = Instant::now();
    let Expressive { message, session_id, voice, format, fillers } = request;
    let format = speech::format(format.as_deref(), "format")?;
    let voice = match voice.as_deref().map(str::trim).filter(|voice| !voice.is_empty()) {
        Some(voice) => {
            let spec = speech::spec(&service.gateway, Some(voice), None)?;
            Some(service.gateway.voice(spec).await?)
        }
        None => None,
    };
    let manner = Manner { voice, format, fillers };
    let chat = service.gateway.chat();
    let turn = chat.express(caller.owner(), session_id, &message, manner, began).await?;
    let start =
        json!({"type": "start", "session_id": turn.session_id(), "format": format.to_string()});
    Ok(events(start, expressed(turn, format, began)))
}

fn expressed(
    turn: ExpressiveTurn,
    format: Format,
    began: Instant,
) -> impl Stream<Item = Value> + Send {
    stream::unfold(Some(turn), move |turn| async move {
        let mut turn = turn?;
        let (mut event, end) = match turn.next().await {
            Ok(expressed) => (event(&expressed, format, turn.session_id()), expressed.is_end()),
            Err(error) => {
                tracing::error!(%error, "a reply could not be encoded");
                (error_event(&speech::failed()), true)
            }
        };
        event["at_ms"] = json!(ms(began.elapsed()));
        Some((event, (!end).then_some(turn)))
    })
}

fn event(expressed: &Expressed, format: Format, session: &SessionId) -> Value {
    match expressed {
        Expressed::Filler { text, sound } => {
            add_sound(json!({"type": "filler", "text": text}), sound, format)
        }
        Expressed::Sentence { index, text, words, visemes } => {
            let text = text.reveal();
            let words = words.iter().map(|(at, (start, end))| {
                json!({"text": &text[at.clone()], "start_ms": start, "end_ms": end})
            });
            let visemes = visemes
                .iter()
                .map(|(id, (start, end))| json!({"id": id, "start_ms": start, "end_ms": end}));
            json!({
                "type": "text",
                "index": index,
                "text": text,
                "words": words.collect::<Vec<_>>(),
                "visemes": visemes.collect::<Vec<_>>(),
            })
        }
        Expressed::Sound { index, sound } => {
            add_sound(json!({"type": "audio", "index": index}), sound, format)
        }
        Expressed::Tool { name, ok } => tool_event(name, *ok),
        Expressed::Done(summary) => {
            let mut event = json!({"type": "done", "reply": summary.text.reveal()});
            add_summary(&mut event, summary, session);
            event
        }
        Expressed::Failed(error) => error_event(&error.clone().into()),
    }
}

fn add_sound(mut event: Value, sound: &Encoded, format: Format) -> Value {
    event["audio"] = json!(STANDARD.encode(&sound.bytes));
    event["format"] = json!(format.to_string());
    event["sample_rate"] = json!(format.rate());
    event["duration_ms"] = json!(sound.duration_ms);
    event
}

//! `POST /v1/audio/speech`: a text spoken, as a file or as server-sent events.

use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, StreamExt, future, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chat::SpeechError;
use crate::signaling::extract::{JsonObject, ObjectOnly};
use crate::signaling::speech::{self, OPENAI_VOICES};
use crate::signaling::{ApiError, Service};
use crate::thinking::history::estimate_tokens;

/// OpenAI's limit, in characters.
const LONGEST_INPUT: usize = 4_096;

/// A text to speak. `instructions` are accepted and have no effect.
#[derive(Deserialize)]
pub(super) struct Speech {
    model: Option<String>,
    input: String,
    voice: Option<Voice>,
    response_format: Option<String>,
    speed: Option<f32>,
    stream_format: Option<String>,
}

/// A voice by name, or as newer clients send it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Voice {
    Name(String),
    Id {
        id: String,
        #[serde(flatten)]
        _rest: ObjectOnly,
    },
}

pub(super) async fn speak(
    State(service): State<Service>,
    JsonObject(request): JsonObject<Speech>,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let format = speech::format(request.response_format.as_deref(), "response_format")?;
    let events = match request.stream_format.as_deref() {
        None | Some("audio") => false,
        Some("sse") => true,
        Some(_) => {
            let message = "Choose audio or sse as the stream_format.";
            return Err(ApiError::bad_request("bad_stream_format", message).about("stream_format"));
        }
    };
    speech::check_text(&request.input, LONGEST_INPUT, "input")?;
    let voice = match &request.voice {
        Some(Voice::Name(name) | Voice::Id { id: name, .. }) => Some(name.as_str()),
        None => None,
    };
    // A model that is a voice of ours speaks, unless the voice is one too.
    let installed = service.gateway.engines().voices.installed();
    let model = request.model.as_deref().filter(|model| installed.iter().any(|own| own == model));
    let voice = match voice {
        Some(voice) if !OPENAI_VOICES.contains(&voice) => Some(voice),
        other => model.or(other),
    };
    let spec = speech::spec(&service.gateway, voice, request.speed)?;
    let begun = speech::begin(&service.gateway, spec, &request.input, format, began).await?;
    if !events {
        let body = Body::from_stream(begun.bytes());
        return Ok((speech::speech_headers(format), body).into_response());
    }
    let tokens = estimate_tokens(&request.input);
    let body = Body::from_stream(sse(begun.bytes(), tokens));
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, body).into_response())
}

/// The file in events; a failure breaks the stream off.
fn sse(
    bytes: impl Stream<Item = Result<axum::body::Bytes, SpeechError>> + Send,
    tokens: usize,
) -> impl Stream<Item = Result<String, SpeechError>> + Send {
    let deltas = bytes.map(|bytes| {
        let audio = STANDARD.encode(bytes?);
        Ok(line(&json!({"type": "speech.audio.delta", "audio": audio})))
    });
    let usage = json!({"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens});
    let done = line(&json!({"type": "speech.audio.done", "usage": usage}));
    // Nothing is done after a failure.
    let all = deltas.map(Some).chain(stream::iter([None]));
    all.scan(false, move |failed, part| {
        let part = match part {
            Some(part) => {
                *failed |= part.is_err();
                Some(part)
            }
            None if *failed => None,
            None => Some(Ok(done.clone())),
        };
        future::ready(part)
    })
}

fn line(event: &Value) -> String {
    format!("data: {event}\n\n")
}

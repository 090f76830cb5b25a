//! `POST /tts` and `GET /voices`; what the doors that speak have in common.
//!
//! In: a text and how it should sound. Out: a sound file, its first byte as soon as the first chunk
//! is spoken. Speech is made by [`crate::chat`].

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::JsonObject;
use super::{ApiError, Service};
use crate::chat::encoding::Format;
use crate::chat::{Chat, Kind, SpeechError, SpeechStream};
use crate::gateway::Gateway;
use crate::speaking::{SpeakError, SpecError, Voice, VoiceSpec};
use crate::voices::language_of;

/// The longest text, in characters: some ten minutes.
const LONGEST_TEXT: usize = 10_000;

/// OpenAI's voices; here they all are the gateway's own voice.
pub(super) const OPENAI_VOICES: &[&str] = &[
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
];

pub(super) fn routes() -> Router<Service> {
    Router::new().route("/tts", post(speak)).route("/voices", get(voices))
}

/// A text to speak.
#[derive(Deserialize)]
struct Text {
    text: String,
    voice: Option<String>,
    speed: Option<f32>,
    format: Option<String>,
}

async fn speak(
    State(service): State<Service>,
    JsonObject(request): JsonObject<Text>,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let Text { text, voice, speed, format: name } = request;
    let format = format(name.as_deref(), "format")?;
    check_text(&text, LONGEST_TEXT, "text")?;
    let spec = spec(&service.gateway, voice.as_deref(), speed)?;
    let speech = begin(&service.gateway, spec, &text, format, began).await?;
    Ok((speech_headers(format), Body::from_stream(speech.bytes())).into_response())
}

/// `GET /voices`: who can speak here.
async fn voices(State(service): State<Service>) -> Json<Value> {
    let engines = service.gateway.engines();
    let own = engines.voice.name();
    let entry = |name: String| {
        let language = language_of(&name).to_owned();
        json!({"id": name, "name": name, "language": language, "default": name == own})
    };
    let mut installed = engines.voices.installed();
    if !installed.contains(&own) {
        installed.insert(0, own.clone());
    }
    let voices: Vec<Value> = installed.into_iter().map(entry).collect();
    Json(json!({"voices": voices, "default": own, "openai": OPENAI_VOICES}))
}

/// The form of the sound that is asked for; WAV where none is.
pub(super) fn format(name: Option<&str>, param: &str) -> Result<Format, ApiError> {
    let name = name.unwrap_or("wav");
    name.parse().map_err(|error: crate::chat::encoding::UnknownFormat| {
        ApiError::bad_request("unknown_format", format!("The format {error}.")).about(param)
    })
}

/// The voice that is asked for: the gateway's own where none is, or one of OpenAI's.
pub(super) fn spec(
    gateway: &Gateway,
    voice: Option<&str>,
    speed: Option<f32>,
) -> Result<VoiceSpec, ApiError> {
    let wrong = |error: SpecError| {
        let param = if matches!(error, SpecError::Speed(_)) { "speed" } else { "voice" };
        ApiError::bad_request("bad_voice", sentence(&error)).about(param)
    };
    let own = gateway.engines().voice.name();
    let named = voice.map(str::trim).filter(|voice| !voice.is_empty());
    let named = named.filter(|voice| !OPENAI_VOICES.contains(voice)).unwrap_or(&own);
    let spec: VoiceSpec = named.parse().map_err(wrong)?;
    match speed {
        Some(speed) => spec.at_speed(speed).map_err(wrong),
        None => Ok(spec),
    }
}

/// An error's words as a sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

/// A text must have something in it, and not too much.
pub(super) fn check_text(text: &str, most: usize, param: &str) -> Result<(), ApiError> {
    if !text.contains(char::is_alphanumeric) {
        let message = format!("There is nothing to say in {param}: write some words.");
        return Err(ApiError::bad_request("empty_text", message).about(param));
    }
    if text.chars().count() > most {
        let message = format!("{param} is longer than {most} characters; send it in parts.");
        return Err(ApiError::bad_request("text_too_long", message).about(param));
    }
    Ok(())
}

/// What a sound file is sent with.
pub(super) fn speech_headers(format: Format) -> [(header::HeaderName, &'static str); 2] {
    [(header::CONTENT_TYPE, format.content_type()), (header::CACHE_CONTROL, "no-store")]
}

/// A text that is being spoken, its first bytes ready.
pub(super) struct Begun {
    first: Bytes,
    rest: SpeechStream,
    chat: Arc<Chat>,
    began: Instant,
    first_at: Instant,
}

/// Speaks until the first sound is there, so that what goes wrong before it is an error.
pub(super) async fn begin(
    gateway: &Gateway,
    spec: VoiceSpec,
    text: &str,
    format: Format,
    began: Instant,
) -> Result<Begun, ApiError> {
    let chat = gateway.chat().clone();
    let place = chat.place_to_speak().await?;
    let own = &gateway.engines().voice;
    let voice: Arc<dyn Voice> = if own.name() == spec.to_string() {
        own.clone()
    } else {
        Arc::new(gateway.voice_alone(spec).await?)
    };
    let spoken = async {
        let mut rest = SpeechStream::new(voice, text, format, place)?;
        Ok::<_, SpeechError>((rest.next().await?, rest))
    };
    match spoken.await {
        Ok((Some(first), rest)) => {
            Ok(Begun { first: first.into(), rest, chat, began, first_at: Instant::now() })
        }
        Ok((None, _)) => {
            let message = "There is nothing in the text that can be spoken: write some words.";
            Err(ApiError::bad_request("empty_text", message))
        }
        Err(error) => {
            chat.failed(Kind::Speech);
            Err(error.into())
        }
    }
}

impl Begun {
    /// All bytes of the file. A failure breaks the stream off, so that nobody takes it for whole.
    pub(super) fn bytes(self) -> impl Stream<Item = Result<Bytes, SpeechError>> + Send {
        let Self { first, rest, chat, began, first_at } = self;
        let rest = stream::unfold(Some(rest), move |rest| {
            let chat = chat.clone();
            async move {
                let mut rest = rest?;
                match rest.next().await {
                    Ok(Some(bytes)) => Some((Ok(Bytes::from(bytes)), Some(rest))),
                    Ok(None) => {
                        chat.served(Kind::Speech, first_at - began, began.elapsed());
                        None
                    }
                    Err(error) => {
                        chat.failed(Kind::Speech);
                        tracing::warn!(%error, "a text was not spoken to its end");
                        Some((Err(error), None))
                    }
                }
            }
        });
        stream::iter([Ok(first)]).chain(rest)
    }
}

/// Speech failed for no fault of the client's.
pub(super) fn failed() -> ApiError {
    let message = "The text could not be spoken; try again, and look at the gateway's log if it \
                   goes on.";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "voice_failed", message)
}

impl From<SpeechError> for ApiError {
    fn from(error: SpeechError) -> Self {
        if let SpeechError::Voice(SpeakError::Overloaded(_)) = error {
            let message = "The voice has too much to say; try again in a moment.";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(3);
        }
        tracing::error!(%error, "a text could not be spoken");
        failed()
    }
}

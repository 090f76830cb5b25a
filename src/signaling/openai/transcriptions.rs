//! `POST /v1/audio/transcriptions`: a recording written down.
//!
//! In: a form with the file. Out: its words, in one of OpenAI's five shapes, or as events while they
//! are recognised. The file is in memory while it is worked on, so few are taken at once.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;

use super::transcripts::{Shape, Transcript};
use crate::chat::transcription::{self, Heard, Segment, TranscriptionError};
use crate::chat::{Chat, Kind, Permit};
use crate::gateway::Gateway;
use crate::language::Language;
use crate::listening::ListenError;
use crate::signaling::{ApiError, Service};

/// OpenAI's limit of a file, in bytes.
const LONGEST_FILE: usize = 25 << 20;
/// The file and the form around it.
pub(super) const UPLOAD_LIMIT: usize = LONGEST_FILE + (64 << 10);
/// How long the file may take to come.
const UPLOAD_WITHIN: Duration = Duration::from_secs(120);
/// The longest other field, in bytes.
const LONGEST_FIELD: usize = 4 << 10;

/// What was asked for.
#[derive(Default)]
struct Form {
    file: Option<Bytes>,
    language: Option<String>,
    shape: Option<String>,
    stream: bool,
    words: bool,
}

pub(super) async fn transcribe(
    State(service): State<Service>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let form = form.map_err(|_| {
        let message = "Send a form: Content-Type: multipart/form-data, with the recording in file.";
        ApiError::bad_request("not_a_form", message)
    })?;
    let chat = service.gateway.chat().clone();
    // Taken before the upload: it bounds the files in memory.
    let upload = chat.place_to_upload().await?;
    let read = tokio::time::timeout(UPLOAD_WITHIN, read_form(form)).await;
    let form = read.map_err(|_| {
        let message = "The file took too long to come; try again on a better line.";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message)
    })??;
    let shape: Shape = form.shape.as_deref().unwrap_or("json").parse()?;
    if form.words {
        let message = "Times of single words are not known here; ask for segment.";
        return Err(
            ApiError::bad_request("no_word_times", message).about("timestamp_granularities")
        );
    }
    let language = language(&service.gateway, form.language.as_deref())?;
    let file = form.file.ok_or_else(|| {
        ApiError::bad_request("no_file", "The form has no file: send the recording in file.")
            .about("file")
    })?;
    let place = chat.place_to_transcribe().await?;
    drop(upload);
    let work = Work { began, chat, language };
    let work = work.start(&service.gateway, file, place);
    if form.stream && shape.streams() { work.events().await } else { work.whole(shape).await }
}

async fn read_form(mut form: Multipart) -> Result<Form, ApiError> {
    let mut read = Form::default();
    while let Some(field) = form.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" => {
                let file = field.bytes().await?;
                if file.len() > LONGEST_FILE {
                    return Err(too_large());
                }
                read.file = Some(file);
            }
            "language" => read.language = Some(text(field).await?),
            "response_format" => read.shape = Some(text(field).await?),
            "stream" => read.stream = text(field).await? == "true",
            "timestamp_granularities[]" | "timestamp_granularities" => {
                read.words |= text(field).await? == "word";
            }
            // model, prompt, temperature and the like: accepted, without effect.
            _ => drop(text(field).await?),
        }
    }
    Ok(read)
}

async fn text(mut field: Field<'_>) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(part) = field.chunk().await? {
        bytes.extend_from_slice(&part);
        if bytes.len() > LONGEST_FIELD {
            return Err(ApiError::bad_request(
                "field_too_long",
                "A field of the form is too long.",
            ));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn too_large() -> ApiError {
    let message = "The file is larger than 25 MB; send it in parts, or as Opus or MP3.";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).about("file")
}

impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large();
        }
        Self::bad_request("bad_form", format!("The form is not as expected: {error}."))
    }
}

/// The language to listen for; what the gateway understands where none is named.
fn language(gateway: &Gateway, wanted: Option<&str>) -> Result<Language, ApiError> {
    let many = gateway.is_multilingual();
    let language = match wanted.filter(|wanted| !wanted.is_empty()) {
        None if many => gateway.call_settings().language,
        None | Some("en" | "english") => return Ok(Language::En),
        Some("fr" | "french") => Language::Fr,
        Some("auto") => Language::Auto,
        Some(_) => {
            let message = "Choose en, fr or auto as the language.";
            return Err(ApiError::bad_request("bad_language", message).about("language"));
        }
    };
    if many {
        return Ok(language);
    }
    let message = "This gateway understands English only; its owner can start it with --language \
                   auto after `eva models pull whisper-base`.";
    Err(ApiError::bad_request("bad_language", message).about("language"))
}

/// A recording to be worked on.
struct Work {
    began: Instant,
    chat: std::sync::Arc<Chat>,
    language: Language,
}

/// A recording that is worked on.
struct Running {
    work: Work,
    heard: tokio::sync::mpsc::Receiver<Result<Heard, TranscriptionError>>,
    first: Option<Duration>,
}

impl Work {
    fn start(self, gateway: &Gateway, file: Bytes, place: Permit) -> Running {
        let transcriber = gateway.engines().transcriber.clone();
        let heard = transcription::start(transcriber, file, self.language, place);
        Running { work: self, heard, first: None }
    }
}

impl Running {
    /// The next words, or the recording's length.
    async fn next(&mut self) -> Result<Heard, ApiError> {
        let heard = match self.heard.recv().await {
            Some(Ok(heard)) => heard,
            Some(Err(error)) => return Err(self.failed(error)),
            None => {
                // Reading it broke: that is the file's fault.
                let message = "The file could not be read; send it in another format.";
                self.work.chat.failed(Kind::Transcription);
                return Err(ApiError::bad_request("bad_file", message).about("file"));
            }
        };
        let elapsed = self.work.began.elapsed();
        let first = *self.first.get_or_insert(elapsed);
        if matches!(heard, Heard::End { .. }) {
            self.work.chat.served(Kind::Transcription, first, elapsed);
        }
        Ok(heard)
    }

    fn failed(&self, error: TranscriptionError) -> ApiError {
        self.work.chat.failed(Kind::Transcription);
        let message = error.to_string();
        let mut letters = message.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        let message = format!("{first}{}.", letters.as_str());
        match error {
            TranscriptionError::File(_) => ApiError::bad_request("bad_file", message).about("file"),
            TranscriptionError::TooLong | TranscriptionError::TimeUp => {
                ApiError::bad_request("too_long", message).about("file")
            }
            TranscriptionError::Listen(ListenError::Overloaded(_)) => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(5)
            }
            TranscriptionError::Listen(error) => {
                tracing::error!(%error, "a recording was not recognised");
                let message = "The recogniser failed; try again.";
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "recogniser_failed", message)
            }
        }
    }

    async fn whole(mut self, shape: Shape) -> Result<Response, ApiError> {
        let mut segments: Vec<Segment> = Vec::new();
        loop {
            match self.next().await? {
                Heard::Words(segment) => segments.push(segment),
                Heard::End { seconds } => {
                    let language = self.work.language;
                    let transcript = Transcript { segments, seconds, language };
                    return Ok(transcript.response(shape));
                }
            }
        }
    }

    /// The words as events, as they are recognised. What goes wrong before the first of them is an
    /// ordinary error.
    async fn events(mut self) -> Result<Response, ApiError> {
        let first = self.next().await?;
        let events = stream::unfold(
            (Some(first), Some(self), String::new()),
            async |(first, running, mut text)| {
                let mut running = running?;
                let heard = match first {
                    Some(heard) => Ok(heard),
                    None => running.next().await,
                };
                let (event, end) = match heard {
                    Ok(Heard::Words(segment)) => {
                        let space = if text.is_empty() { "" } else { " " };
                        let delta = format!("{space}{}", segment.text.reveal());
                        text.push_str(&delta);
                        (json!({"type": "transcript.text.delta", "delta": delta}), false)
                    }
                    Ok(Heard::End { seconds }) => {
                        let usage = json!({"type": "duration", "seconds": seconds.ceil()});
                        (
                            json!({"type": "transcript.text.done", "text": text, "usage": usage}),
                            true,
                        )
                    }
                    Err(error) => {
                        let mut event = error.body();
                        event["type"] = json!("error");
                        (event, true)
                    }
                };
                let line = Ok::<_, std::convert::Infallible>(format!("data: {event}\n\n"));
                Some((line, (None, (!end).then_some(running), text)))
            },
        );
        let headers =
            [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
        Ok((headers, axum::body::Body::from_stream(events)).into_response())
    }
}

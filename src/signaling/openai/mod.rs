//! OpenAI's HTTP API for speech, recordings and chat, under `/v1`.
//!
//! In: requests as OpenAI's clients make them. Out: answers in the same shapes. What is different
//! from OpenAI is said in docs/api/talk.md. The work is done by [`crate::chat`], and by the language
//! model's own server where there is one.

mod completions;
mod models;
mod own;
mod speech;
mod transcriptions;
mod transcripts;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use super::Service;

/// The largest request for a completion: a long conversation, without pictures.
const COMPLETION_LIMIT: usize = 2 << 20;

/// Routes of text.
pub(super) fn chat_routes() -> Router<Service> {
    let limit = DefaultBodyLimit::max(COMPLETION_LIMIT);
    Router::new()
        .route("/v1/chat/completions", post(completions::complete).layer(limit))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
}

/// Routes of sound.
pub(super) fn speech_routes() -> Router<Service> {
    let limit = DefaultBodyLimit::max(transcriptions::UPLOAD_LIMIT);
    Router::new()
        .route("/v1/audio/speech", post(speech::speak))
        .route("/v1/audio/transcriptions", post(transcriptions::transcribe).layer(limit))
}

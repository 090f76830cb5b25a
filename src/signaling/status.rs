//! `/health`, `/ready`, `/info`, `/metrics` and `/stats`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{ApiError, Service};
use crate::chat::stats::Figures;
use crate::personas::Persona;
use crate::storage;
use crate::thinking::Health;

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/info", get(info))
}

pub(super) fn admin_routes() -> Router<Service> {
    Router::new().route("/metrics", get(metrics)).route("/stats", get(stats))
}

/// The process lives; how it and each of its parts are doing. Nothing is asked of the parts: what is
/// known of them is told.
pub(super) async fn health(State(service): State<Service>) -> Json<Value> {
    let gateway = &service.gateway;
    let engines = gateway.engines();
    let (brain, why) = match engines.llm.health() {
        Health::Up => ("up", None),
        Health::Unknown => ("unknown", None),
        // The reason can name addresses: it is in the log.
        Health::Down(_) => ("down", Some("It does not answer; the gateway's log says why.")),
    };
    let languages: &[&str] = if gateway.is_multilingual() { &["en", "fr"] } else { &["en"] };
    let mut brain_state = json!({"state": brain, "name": engines.llm.name()});
    if let Some(why) = why {
        brain_state["message"] = json!(why);
    }
    let database = gateway.storage().health().await;
    let kept = database != storage::Health::Failing;
    Json(json!({
        "status": if brain == "down" || !kept { "degraded" } else { "healthy" },
        "version": env!("CARGO_PKG_VERSION"),
        "calls": gateway.active(),
        "max_calls": gateway.max_calls(),
        "uptime_s": gateway.uptime().as_secs(),
        "services": {
            "brain": brain_state,
            "recogniser": {"state": "up", "languages": languages},
            "voice": {"state": "up", "name": engines.voice.name()},
            "database": {"state": database},
        },
        // As the predecessor had them.
        "llm": brain != "down",
        "whisper": true,
        "tts": true,
        "database": database == storage::Health::Healthy,
    }))
}

/// Figures of chats and speech in windows, and what goes on now.
pub(super) async fn stats(State(service): State<Service>) -> Json<Value> {
    let gateway = &service.gateway;
    let chat = gateway.chat();
    let stats = chat.stats();
    let all = [&stats.chat, &stats.speech, &stats.transcription];
    let sum = |of: fn(&Figures) -> u64| all.iter().map(|figures| of(figures)).sum::<u64>();
    Json(json!({
        "total_requests": sum(|figures| figures.all.requests) + stats.cached_replies,
        "requests_last_hour": sum(|figures| figures.last_hour.requests),
        "avg_latency_ms": stats.chat.last_hour.latency_ms.mean,
        "active_sessions": chat.active_sessions(),
        "active_calls": gateway.active(),
        "cached_replies": stats.cached_replies,
        "uptime_s": gateway.uptime().as_secs(),
        "chat": stats.chat,
        "speech": stats.speech,
        "transcription": stats.transcription,
    }))
}

/// Whether a new call would be taken: 200, or 503.
pub(super) async fn ready(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    let ready = service.gateway.takes_calls();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready })))
}

/// What the call page shows before a call.
pub(super) async fn info(State(service): State<Service>) -> Result<Json<Value>, ApiError> {
    let about = service.gateway.about();
    let catalogue = service.gateway.catalogue().await?;
    let personas = service.gateway.personas();
    let listed = |persona: &Arc<Persona>| {
        let Persona { name, title, description, .. } = &**persona;
        json!({"name": name, "title": title, "description": description})
    };
    Ok(Json(json!({
        "name": "EVA-Voice",
        "version": env!("CARGO_PKG_VERSION"),
        "needs_key": service.access.needs_key(),
        // Whether `/ice` has servers that a caller should use.
        "ice": !service.ice.is_empty(),
        "voice": about.voice,
        "brain": about.brain,
        "language": about.language,
        "voices": catalogue.voices,
        "languages": catalogue.languages,
        "personas": personas.all().iter().map(listed).collect::<Vec<_>>(),
        "persona": personas.default_one().name,
        "keeps_days": about.keeps_days,
        "recording": about.recording,
    })))
}

/// Prometheus metrics; behind the key where there is one.
pub(super) async fn metrics(State(service): State<Service>) -> Result<String, ApiError> {
    let metrics = service.gateway.metrics().clone();
    // The system is asked how much it uses.
    let rendered = tokio::task::spawn_blocking(move || metrics.render()).await;
    rendered.map_err(|_| {
        let message = "The metrics could not be read; the gateway's log says why.";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    })
}

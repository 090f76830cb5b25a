//! `/health`, `/ready`, `/info` and `/metrics`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Service;

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/info", get(info))
}

pub(super) fn admin_routes() -> Router<Service> {
    Router::new().route("/metrics", get(metrics))
}

/// The process lives; how it is doing.
pub(super) async fn health(State(service): State<Service>) -> Json<Value> {
    let gateway = &service.gateway;
    Json(json!({
        "status": "healthy",
        "version": env!("CARGO_PKG_VERSION"),
        "calls": gateway.active(),
        "max_calls": gateway.max_calls(),
        "uptime_s": gateway.uptime().as_secs(),
    }))
}

/// Whether a new call would be taken: 200, or 503.
pub(super) async fn ready(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    let ready = service.gateway.takes_calls();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready })))
}

/// What the call page shows before a call.
pub(super) async fn info(State(service): State<Service>) -> Json<Value> {
    let about = service.gateway.about();
    Json(json!({
        "name": "EVA-Voice",
        "version": env!("CARGO_PKG_VERSION"),
        "needs_key": service.access.needs_key(),
        // Whether `/ice` has servers that a caller should use.
        "ice": !service.ice.is_empty(),
        "voice": about.voice,
        "brain": about.brain,
        "language": about.language,
    }))
}

/// Prometheus metrics; behind the key where there is one.
pub(super) async fn metrics(State(service): State<Service>) -> String {
    service.gateway.metrics().render()
}

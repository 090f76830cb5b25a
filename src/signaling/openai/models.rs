//! `GET /v1/models` and `/v1/models/{id}`: what can be asked here, by name.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::signaling::extract::Path;
use crate::signaling::{ApiError, Service};
use crate::thinking::server::parse_models;

/// How long the language model's server may take to list its models.
const LIST_WITHIN: Duration = Duration::from_secs(2);
/// Names that OpenAI's clients use for the recogniser and the voice.
const USUAL: &[&str] = &["whisper-1", "tts-1"];
const OWNER: &str = "eva-voice";

pub(super) async fn list(State(service): State<Service>) -> Json<Value> {
    Json(json!({"object": "list", "data": models(&service.gateway).await}))
}

pub(super) async fn one(
    State(service): State<Service>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = models(&service.gateway).await.into_iter().find(|model| model["id"] == id);
    found.map(Json).ok_or_else(|| {
        let message = "There is no such model; GET /v1/models lists those there are.";
        ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message).about("model")
    })
}

async fn models(gateway: &Gateway) -> Vec<Value> {
    let model = |id: &str, owner: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": owner});
    let engines = gateway.engines();
    let mut models = brains(gateway).await;
    models.extend(USUAL.iter().map(|id| model(id, OWNER)));
    models.extend(engines.voices.installed().iter().map(|id| model(id, OWNER)));
    models
}

/// The models of the language model's server, or the one that EVA talks with.
async fn brains(gateway: &Gateway) -> Vec<Value> {
    let llm = &gateway.engines().llm;
    let entry = |id: &str, owner: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": owner});
    let Some(upstream) = llm.upstream() else { return vec![entry(&llm.name(), OWNER)] };
    let mut get = upstream.http.get(format!("{}/models", upstream.base)).timeout(LIST_WITHIN);
    if let Some(key) = &upstream.key {
        get = get.bearer_auth(key.reveal());
    }
    let listed = async { get.send().await?.error_for_status()?.bytes().await };
    let listed = listed.await.ok().and_then(|body| parse_models(&body)).unwrap_or_default();
    if listed.is_empty() {
        let known = upstream.model.unwrap_or_else(|| llm.name());
        return vec![entry(&known, OWNER)];
    }
    listed.iter().map(|model| entry(&model.id, &model.owned_by)).collect()
}

//! `POST /v1/chat/completions`: passed on to the language model's server as it is.
//!
//! In: the request's bytes. Out: the answer's bytes, as they come. EVA's own instructions, history and
//! tools have no part in it: the conversation is the client's. Where the brain is built in,
//! [`super::own`] answers. The client's key stays here; the server gets the gateway's own.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};

use super::own;
use crate::chat::Permit;
use crate::signaling::{ApiError, Service};
use crate::thinking::Upstream;

/// A reply without streaming is complete within this.
const HEAD_WITHIN: Duration = Duration::from_secs(300);
/// From one part of an answer to the next.
const PART_WITHIN: Duration = Duration::from_secs(120);
/// So much of a refusal is read, in bytes.
const LONGEST_REFUSAL: usize = 64 << 10;
/// What stands for the model that EVA talks with.
const ANY_MODEL: &[&str] = &["", "eva", "default"];

pub(super) async fn complete(
    State(service): State<Service>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message =
                format!("The request is larger than {} KiB.", super::COMPLETION_LIMIT / 1024);
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        }
        _ => ApiError::bad_request("bad_request", "The request did not come to its end."),
    })?;
    let request: Map<String, Value> = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("The request is no JSON object: {error}.");
        ApiError::bad_request("not_json", message)
    })?;
    let messages = request.get("messages").and_then(Value::as_array);
    if messages.is_none_or(Vec::is_empty) {
        let message = "The request has no messages: send at least one.";
        return Err(ApiError::bad_request("no_messages", message).about("messages"));
    }
    let place = service.gateway.chat().place_to_reply().await?;
    match service.gateway.engines().llm.upstream() {
        Some(upstream) => pass_on(&upstream, body, request, place).await,
        None => own::complete(&service.gateway, request, place).await,
    }
}

/// The request to the server, its answer back.
async fn pass_on(
    upstream: &Upstream,
    body: Bytes,
    request: Map<String, Value>,
    place: Permit,
) -> Result<Response, ApiError> {
    let body = with_model(upstream, body, request);
    let mut post = upstream.http.post(format!("{}/chat/completions", upstream.base));
    post = post.header(header::CONTENT_TYPE, "application/json").body(body);
    if let Some(key) = &upstream.key {
        post = post.bearer_auth(key.reveal());
    }
    let answer = match tokio::time::timeout(HEAD_WITHIN, post.send()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(error = %error.without_url(), "a request could not be passed on");
            let message = "The language model cannot be reached; try again soon.";
            return Err(ApiError::new(StatusCode::BAD_GATEWAY, "brain_failed", message));
        }
        Err(_) => {
            let message = "The language model took too long; try again.";
            return Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "brain_failed", message));
        }
    };
    if !answer.status().is_success() {
        return Err(refusal(answer).await);
    }
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let kind = kind.unwrap_or_else(|| header::HeaderValue::from_static("application/json"));
    let parts = stream::unfold((answer.bytes_stream(), place), async |(mut parts, place)| {
        let part = match tokio::time::timeout(PART_WITHIN, parts.next()).await {
            Ok(Some(Ok(part))) => Ok(part),
            Ok(None) => return None,
            // The answer breaks off here as it did there.
            Ok(Some(Err(_))) | Err(_) => Err(std::io::Error::other("the answer broke off")),
        };
        Some((part, (parts, place)))
    });
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

/// The request with a model that the server knows; byte for byte as it came if it names one.
fn with_model(upstream: &Upstream, body: Bytes, mut request: Map<String, Value>) -> Bytes {
    let named = request.get("model").and_then(Value::as_str).unwrap_or_default();
    match &upstream.model {
        Some(model) if ANY_MODEL.contains(&named) => {
            request.insert("model".to_owned(), json!(model));
            Value::Object(request).to_string().into()
        }
        _ => body,
    }
}

/// What the server refused with, in the one shape of errors.
async fn refusal(answer: reqwest::Response) -> ApiError {
    let status = answer.status();
    let retry_after = answer.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    let mut parts = answer.bytes_stream();
    while let Ok(Some(Ok(part))) = tokio::time::timeout(PART_WITHIN, parts.next()).await {
        body.extend_from_slice(&part);
        if body.len() > LONGEST_REFUSAL {
            break;
        }
    }
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let sentence = ["/error/message", "/error", "/message", "/detail"]
        .iter()
        .find_map(|at| told.pointer(at)?.as_str());
    let sentence = sentence.unwrap_or("The language model's server gave no reason.");
    let param = told.pointer("/error/param").and_then(Value::as_str).map(str::to_owned);
    let error = match status.as_u16() {
        // It is the gateway's key that is wrong, not the client's.
        401 | 403 => {
            tracing::error!("the language model's server does not accept the key");
            let message = "The language model's server does not accept the gateway's key.";
            ApiError::new(StatusCode::BAD_GATEWAY, "brain_failed", message)
        }
        _ => ApiError::new(status, "brain_refused", sentence),
    };
    ApiError { param, retry_after, ..error }
}

//! `/admin/…`: the calls of this moment, their end, errors, recordings. For keys of the scope `admin`.
//!
//! The page at `/admin` shows it, with the figures of `/metrics`.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router, middleware};
use futures::Stream;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::extract::Path;
use super::{ApiError, Caller, Scope, Service};
use crate::gateway::{Gateway, Refusal};
use crate::ids::CallId;
use crate::observability::journal::journal;
use crate::recordings::Recordings;

/// Changes are told no faster than this.
const PACE: Duration = Duration::from_millis(100);
/// Without a change, the state is told again after this: whether the key still holds is looked at, too.
const REPEAT: Duration = Duration::from_secs(10);

pub(super) fn routes(service: &Service) -> Router<Service> {
    Router::new()
        .route("/admin/calls", get(calls))
        .route("/admin/calls/{call_id}", delete(end))
        .route("/admin/events", get(events))
        .route("/admin/errors", get(errors))
        .route("/admin/recordings", get(recordings))
        .route("/admin/recordings/{name}", get(recording).delete(forget))
        .route_layer(middleware::from_fn_with_state(service.clone(), not_for_anybody))
}

/// On a gateway that is open to anybody, the operator is whoever sits at the machine.
async fn not_for_anybody(
    State(service): State<Service>,
    caller: Caller,
    request: Request,
    next: middleware::Next,
) -> Result<Response, ApiError> {
    if !service.access.needs_key() && !caller.address().is_loopback() {
        let message = "This gateway is open to anybody, and its operator is not just anybody: come \
                       from the machine itself, or start the gateway with a key.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "needs_key", message));
    }
    Ok(next.run(request).await)
}

fn state_of(gateway: &Gateway) -> Value {
    json!({
        "calls": gateway.calls_now(),
        "max_calls": gateway.max_calls(),
        "uptime_s": gateway.uptime().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "recording": gateway.recordings().is_some(),
    })
}

async fn calls(State(service): State<Service>) -> Json<Value> {
    Json(state_of(&service.gateway))
}

/// The state now and whenever it changes. The stream ends when the key does.
async fn events(
    State(service): State<Service>,
    caller: Caller,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut changes = service.gateway.call_changes();
    changes.mark_changed();
    let start = (service, caller, headers, changes);
    let events = futures::stream::unfold(start, |(service, caller, headers, mut changes)| async {
        let changed = tokio::time::timeout(REPEAT, changes.changed()).await;
        if changed.is_err() {
            let address = caller.address();
            service.access.check(&headers, address, Scope::Admin).ok()?;
        }
        if service.gateway.is_closing() {
            return None;
        }
        changes.borrow_and_update();
        let event = Event::default().event("calls").json_data(state_of(&service.gateway)).ok()?;
        tokio::time::sleep(PACE).await;
        Some((Ok(event), (service, caller, headers, changes)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn end(
    State(service): State<Service>,
    Path(call_id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let known = CallId::parse(&call_id).is_some_and(|id| service.gateway.dismiss(id));
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::UnknownCall.into()) }
}

async fn errors() -> Json<Value> {
    let counts = journal().counts();
    let of = |wanted: &str| -> u64 {
        counts.iter().filter(|(level, ..)| *level == wanted).map(|(.., count)| count).sum()
    };
    Json(json!({
        "object": "list",
        "counts": {"error": of("error"), "warn": of("warn")},
        "data": journal().entries(),
    }))
}

async fn recordings(State(service): State<Service>) -> Result<Json<Value>, ApiError> {
    let data = match service.gateway.recordings().cloned() {
        Some(recordings) => on_disk(move || recordings.list()).await?,
        None => Vec::new(),
    };
    Ok(Json(json!({
        "object": "list",
        "recording": service.gateway.recordings().is_some(),
        "data": data,
    })))
}

/// The sound, whole or in ranges.
async fn recording(
    State(service): State<Service>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let kept = kept(&service)?;
    let path = on_disk(move || Ok(kept.path_of(&name))).await?.ok_or_else(unknown)?;
    let ogg = "audio/ogg".parse().expect("a type");
    let served = ServeFile::new_with_mime(path, &ogg).oneshot(request).await;
    let mut response = served.into_response();
    response.headers_mut().remove(header::LAST_MODIFIED);
    Ok(response)
}

async fn forget(
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let kept = kept(&service)?;
    match on_disk(move || kept.remove(&name)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown()),
    }
}

fn kept(service: &Service) -> Result<Recordings, ApiError> {
    service.gateway.recordings().cloned().ok_or_else(unknown)
}

fn unknown() -> ApiError {
    let message = "There is no such recording; it may have been deleted, or kept long enough.";
    ApiError::new(StatusCode::NOT_FOUND, "unknown_recording", message)
}

/// Does work with the folder of recordings where it disturbs no call.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).and_then(|done| done).map_err(|error| {
        tracing::error!(%error, "the folder of recordings cannot be used");
        let message = "The folder of recordings cannot be used; the gateway's log says why.";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "recordings_failed", message)
    })
}

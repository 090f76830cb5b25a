//! `GET /sessions`, `GET /sessions/{id}` and `DELETE /sessions/{id}`: people's own conversations.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::extract::{Path, Query};
use super::{ApiError, Caller, Service};
use crate::ids::SessionId;
use crate::storage::{Page, StorageError};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/sessions", get(list))
        .route("/sessions/{session_id}", get(export).delete(delete))
}

/// Whose sessions a request is about. An ephemeral secret is one of many that stand for the same key:
/// who holds it may go on with a session whose name it knows, and no more.
fn owner(caller: &Caller) -> Result<&str, ApiError> {
    if caller.is_ephemeral() {
        let message = "Ephemeral secrets are for calls; ask about sessions with the key itself.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "needs_key", message));
    }
    Ok(caller.owner())
}

/// Reads the name of a session.
pub(super) fn session_id(text: &str) -> Result<SessionId, ApiError> {
    let bad = |error: crate::ids::BadSessionId| {
        ApiError::bad_request("bad_session_id", error.to_string()).about("session_id")
    };
    SessionId::parse(text).map_err(bad)
}

#[derive(Deserialize)]
struct Paging {
    after: Option<String>,
    limit: Option<u32>,
}

/// What people said is for the asker only: nothing on the way may keep it.
const NOT_TO_BE_KEPT: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn list(
    State(service): State<Service>,
    caller: Caller,
    Query(Paging { after, limit }): Query<Paging>,
) -> Result<Response, ApiError> {
    if !service.access.needs_key() && !caller.address().is_loopback() {
        let message = "A gateway that is open to anybody lists nobody's sessions.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "needs_key", message));
    }
    if limit.is_some_and(|limit| !(1..=100).contains(&limit)) {
        let message = "limit is a number from 1 to 100.";
        return Err(ApiError::bad_request("bad_limit", message).about("limit"));
    }
    let after = after.as_deref().map(session_id).transpose();
    let page = Page { after: after.map_err(|error| error.about("after"))?, limit };
    let sessions = service.gateway.storage().sessions(owner(&caller)?, &page).await?;
    let list = json!({ "object": "list", "data": sessions.data, "has_more": sessions.has_more });
    Ok(([NOT_TO_BE_KEPT], Json(list)).into_response())
}

async fn export(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = session_id(&id)?;
    let export = service.gateway.storage().export(owner(&caller)?, &id).await?;
    let export = export.ok_or_else(unknown)?;
    // A long session takes a while to write.
    let body = tokio::task::spawn_blocking(move || export.json().to_string()).await;
    let body = body.map_err(|_| StorageError::Slow)?;
    let json = [(header::CONTENT_TYPE, "application/json"), NOT_TO_BE_KEPT];
    Ok((json, body).into_response())
}

async fn delete(
    State(service): State<Service>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = session_id(&id)?;
    let owner = owner(&caller)?;
    service.gateway.chat().forget(owner, &id);
    if let Some(recordings) = service.gateway.recordings() {
        let (recordings, owner, id) = (recordings.clone(), owner.to_owned(), id.clone());
        super::admin::on_disk(move || recordings.remove_session(&owner, &id)).await?;
    }
    match service.gateway.storage().delete(owner, &id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown()),
    }
}

fn unknown() -> ApiError {
    let message = "There is no such session here; it may have been deleted, or kept long enough.";
    ApiError::new(StatusCode::NOT_FOUND, "unknown_session", message)
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        if let StorageError::NoSuchPage = error {
            let message = "The session to go on from is gone; begin with the first page.";
            return Self::bad_request("unknown_session", message).about("after");
        }
        tracing::warn!(%error, "a request about a session cannot be served");
        let message = "The database does not answer; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_failed", message).retry_after(5)
    }
}

//! `POST /offer` and `DELETE /calls/{call_id}`.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::sessions::session_id;
use super::{ApiError, Caller, Service};
use crate::gateway::Wishes;
use crate::ids::{CallId, SessionId};

pub(super) fn routes() -> Router<Service> {
    Router::new().route("/offer", post(offer)).route("/calls/{call_id}", delete(hang_up))
}

/// A browser's `RTCSessionDescription`, and wishes for the call.
#[derive(Deserialize)]
pub(super) struct Offer {
    r#type: String,
    sdp: String,
    language: Option<String>,
    voice: Option<String>,
    /// Changes to the conversation's settings: `{"backchannels":{"on":false}}`.
    conversation: Option<serde_json::Value>,
    /// The conversation to go on with (docs/api/memory.md).
    session_id: Option<String>,
}

/// Wishes that can stand in the address as well.
#[derive(Deserialize)]
pub(super) struct InAddress {
    voice: Option<String>,
}

/// The complete answer: it holds all candidates, nothing trickles.
#[derive(Serialize)]
pub(super) struct Answer {
    r#type: &'static str,
    sdp: String,
    call_id: CallId,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
}

pub(super) async fn offer(
    State(service): State<Service>,
    caller: Caller,
    Query(address): Query<InAddress>,
    body: Result<Json<Offer>, JsonRejection>,
) -> Result<(StatusCode, Json<Answer>), ApiError> {
    let Json(offer) = body?;
    if offer.r#type != "offer" {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_offer",
            "The field type must be \"offer\": send what createOffer() made.",
        ));
    }
    let voice = offer.voice.or(address.voice);
    let wishes = Wishes {
        language: offer.language,
        voice,
        conversation: offer.conversation,
        session: offer.session_id.as_deref().map(session_id).transpose()?,
        owner: caller.owner().to_owned(),
    };
    let admitted = service.admit(&caller, offer.sdp, wishes, None).await?;
    let answer = Answer {
        r#type: "answer",
        sdp: admitted.answer_sdp,
        call_id: admitted.call_id,
        session_id: admitted.session,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn hang_up(
    State(service): State<Service>,
    Path(call_id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let known = CallId::parse(&call_id).is_some_and(|id| service.gateway.hang_up(id));
    if known {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_call",
            "There is no such call; it may have ended already.",
        ))
    }
}

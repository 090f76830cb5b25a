//! `POST /offer`, `PATCH /offer` and `DELETE /calls/{call_id}`; `/api/offer` is the same.
//!
//! The wire is that of Pipecat's small WebRTC clients, less what they do on their data channel: their
//! `pc_id` is our call's id.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::extract::{JsonObject, Path, Query};
use super::sessions::session_id;
use super::{ApiError, Caller, Service};
use crate::gateway::{Refusal, Wishes};
use crate::ids::{CallId, SessionId};

pub(super) fn routes() -> Router<Service> {
    let offers = || post(offer).patch(candidates);
    Router::new()
        .route("/offer", offers())
        .route("/api/offer", offers())
        .route("/calls/{call_id}", delete(hang_up))
}

/// A browser's `RTCSessionDescription`, and wishes for the call.
#[derive(Deserialize)]
pub(super) struct Offer {
    r#type: String,
    sdp: String,
    /// The call that the offer continues; a new one begins without it.
    pc_id: Option<String>,
    /// With `pc_id`: the client has made a new connection, so the call begins anew.
    restart_pc: Option<bool>,
    #[serde(flatten)]
    wishes: Wanted,
    /// Where Pipecat's clients put what is theirs to say: wishes, too.
    #[serde(alias = "requestData")]
    request_data: Option<serde_json::Value>,
}

/// How the call should be.
#[derive(Deserialize, Default)]
struct Wanted {
    language: Option<String>,
    voice: Option<String>,
    /// The persona's name (docs/personas.md).
    persona: Option<String>,
    /// Turns begin and end with a button.
    push_to_talk: Option<bool>,
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
    /// The call, as Pipecat's clients name it.
    pc_id: CallId,
}

impl Answer {
    fn new(sdp: String, call_id: CallId, session_id: Option<SessionId>) -> Json<Self> {
        Json(Self { r#type: "answer", sdp, call_id, session_id, pc_id: call_id })
    }
}

pub(super) async fn offer(
    State(service): State<Service>,
    caller: Caller,
    Query(address): Query<InAddress>,
    JsonObject(offer): JsonObject<Offer>,
) -> Result<(StatusCode, Json<Answer>), ApiError> {
    if offer.r#type != "offer" {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_offer",
            "The field type must be \"offer\": send what createOffer() made.",
        ));
    }
    let known = offer.pc_id.as_deref().map(|id| known_call(&service, id)).transpose();
    match (known, offer.restart_pc.unwrap_or_default()) {
        (Ok(Some(call)), false) => {
            let sdp = service.gateway.renegotiate(call, &offer.sdp)?;
            return Ok((StatusCode::OK, Answer::new(sdp, call, None)));
        }
        (Ok(Some(call)), true) => service.gateway.end(call).await,
        // The call is over, and the client has made a connection for a new one.
        (Err(_), true) | (Ok(None), _) => {}
        (Err(error), false) => return Err(error),
    }
    let wishes = wishes(&caller, offer.wishes, offer.request_data, address)?;
    let admitted = service.admit(&caller, offer.sdp, wishes, None).await?;
    let answer = Answer::new(admitted.answer_sdp, admitted.call_id, admitted.session);
    Ok((StatusCode::CREATED, answer))
}

fn wishes(
    caller: &Caller,
    said: Wanted,
    data: Option<serde_json::Value>,
    address: InAddress,
) -> Result<Wishes, ApiError> {
    // What clients put there for themselves is none of our business, whatever its shape.
    let data: Wanted = data.and_then(|data| serde_json::from_value(data).ok()).unwrap_or_default();
    let session = said.session_id.or(data.session_id);
    Ok(Wishes {
        language: said.language.or(data.language),
        voice: said.voice.or(data.voice).or(address.voice),
        persona: said.persona.or(data.persona),
        push_to_talk: said.push_to_talk.or(data.push_to_talk).unwrap_or_default(),
        conversation: said.conversation.or(data.conversation),
        session: session.as_deref().map(session_id).transpose()?,
        owner: caller.owner().to_owned(),
    })
}

fn known_call(service: &Service, id: &str) -> Result<CallId, ApiError> {
    let call = CallId::parse(id).ok_or(Refusal::UnknownCall)?;
    service.gateway.connection(call, None)?;
    Ok(call)
}

/// Candidates of a client that does not wait until it has them all.
#[derive(Deserialize)]
pub(super) struct Trickled {
    pc_id: String,
    candidates: Vec<Candidate>,
}

/// One of them. They are not used: callers reach us.
#[derive(Deserialize)]
struct Candidate {
    #[serde(rename = "candidate")]
    _candidate: String,
    #[serde(rename = "sdp_mid")]
    _sdp_mid: Option<String>,
    #[serde(rename = "sdp_mline_index")]
    _sdp_mline_index: Option<f64>,
    #[serde(flatten)]
    _rest: super::extract::ObjectOnly,
}

pub(super) async fn candidates(
    State(service): State<Service>,
    JsonObject(trickled): JsonObject<Trickled>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let call = known_call(&service, &trickled.pc_id)?;
    tracing::debug!(%call, candidates = trickled.candidates.len(), "candidates, not used");
    Ok(Json(serde_json::json!({ "status": "success" })))
}

pub(super) async fn hang_up(
    State(service): State<Service>,
    Path(call_id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let known = CallId::parse(&call_id).is_some_and(|id| service.gateway.hang_up(id));
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::UnknownCall.into()) }
}

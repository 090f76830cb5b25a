//! `POST /whep/{call}`: a player that hears EVA in a call.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::{SDP, call_id, created, text};
use crate::signaling::extract::Path;
use crate::signaling::{ApiError, Caller, Service, ice};

pub(super) async fn play(
    State(service): State<Service>,
    caller: Caller,
    Path(call): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    let offer = text(&headers, &body, SDP)?;
    let call = call_id(&call)?;
    let playing = service.gateway.play(call, offer).await?;
    let links = ice::link_headers(&service.ice.for_caller(caller.owner(), SystemTime::now()));
    let location = format!("/whep/{call}/{}", playing.player);
    Ok(created(playing.answer_sdp, &location, &playing.ice_name, links))
}

/// `GET` and `HEAD`: by the type, players tell that this is a WHEP endpoint.
pub(super) async fn endpoint(
    State(service): State<Service>,
    Path(call): Path<String>,
) -> Result<Response, ApiError> {
    service.gateway.connection(call_id(&call)?, None)?;
    Ok([(header::CONTENT_TYPE, SDP)].into_response())
}

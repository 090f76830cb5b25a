//! `PATCH` and `DELETE` of a WHIP or WHEP session (RFC 9725 section 4.3).
//!
//! Candidates that trickle in are checked and not used, since callers reach us. New credentials restart
//! ICE. The entity tag names the ICE session that a request means.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, patch};

use super::{FRAGMENT, call_id, entity_tag, text};
use crate::gateway::{Gateway, Refusal};
use crate::ids::{CallId, PlayerId};
use crate::rtc::{FragmentError, IceFragment, LegHandle};
use crate::signaling::extract::Path;
use crate::signaling::{ApiError, Service};

pub(super) fn of_call() -> MethodRouter<Service> {
    patch(patch_call).delete(end_call)
}

pub(super) fn of_player() -> MethodRouter<Service> {
    patch(patch_player).delete(end_player)
}

async fn patch_call(
    State(service): State<Service>,
    Path(call): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let leg = service.gateway.connection(call_id(&call)?, None)?;
    Ok(answer(&service.gateway, &leg, &headers, &body?, Tagless::Refused))
}

async fn patch_player(
    State(service): State<Service>,
    Path((call, player)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let (call, player) = player_of(&call, &player)?;
    let leg = service.gateway.connection(call, Some(player))?;
    Ok(answer(&service.gateway, &leg, &headers, &body?, Tagless::MayTrickle))
}

async fn end_call(
    State(service): State<Service>,
    Path(call): Path<String>,
) -> Result<StatusCode, ApiError> {
    let call = call_id(&call)?;
    if service.gateway.hang_up(call) {
        Ok(StatusCode::OK)
    } else {
        Err(Refusal::UnknownCall.into())
    }
}

async fn end_player(
    State(service): State<Service>,
    Path((call, player)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (call, player) = player_of(&call, &player)?;
    service.gateway.connection(call, Some(player))?.hang_up();
    Ok(StatusCode::OK)
}

fn player_of(call: &str, player: &str) -> Result<(CallId, PlayerId), ApiError> {
    let player = PlayerId::parse(player).ok_or(Refusal::UnknownPlayer)?;
    Ok((call_id(call)?, player))
}

/// What a request without `If-Match` gets.
#[derive(Clone, Copy, PartialEq)]
enum Tagless {
    /// 428, by the letter.
    Refused,
    /// Players that never learned their entity tag (whip-whep's among them) may tell candidates of
    /// the session in force; they are not used anyway.
    MayTrickle,
}

/// `If-Match` (RFC 9110 section 13.1.1).
enum Condition {
    None,
    Any,
    /// The session in force is among those named.
    Holds,
    Fails,
}

impl Condition {
    fn read(headers: &HeaderMap, current: &str) -> Self {
        let mut tags = headers
            .get_all(header::IF_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .peekable();
        if tags.peek().is_none() {
            return Self::None;
        }
        let tag = entity_tag(current);
        tags.fold(Self::Fails, |found, given| match given {
            // The RFC's own example puts the star in quotes.
            "*" | "\"*\"" => Self::Any,
            given if given == tag => Self::Holds,
            _ => found,
        })
    }
}

fn answer(
    gateway: &Gateway,
    leg: &LegHandle,
    headers: &HeaderMap,
    body: &Bytes,
    tagless: Tagless,
) -> Response {
    match patched(gateway, leg, headers, body, tagless) {
        Ok(response) => response,
        Err(error) => {
            let wrong_kind = error.status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let mut response = error.into_response();
            if wrong_kind {
                let kind = HeaderValue::from_static(FRAGMENT);
                response.headers_mut().insert("accept-patch", kind);
            }
            response
        }
    }
}

fn patched(
    gateway: &Gateway,
    leg: &LegHandle,
    headers: &HeaderMap,
    body: &Bytes,
    tagless: Tagless,
) -> Result<Response, ApiError> {
    let text = text(headers, body, FRAGMENT)?;
    let condition = Condition::read(headers, &leg.ice_name());
    match condition {
        Condition::Fails => return Err(outdated()),
        Condition::None if tagless == Tagless::Refused => return Err(no_tag()),
        _ => {}
    }
    let fragment = IceFragment::read(text).map_err(unreadable)?;
    if leg.is_current(&fragment.ice) {
        // A restart whose answer was lost is asked for again, and gets the same answer.
        return match condition {
            Condition::Any if leg.was_restarted() => Ok(restarted(&gateway.ice(leg))),
            _ => Ok(StatusCode::NO_CONTENT.into_response()),
        };
    }
    if matches!(condition, Condition::None) {
        return Err(no_tag());
    }
    let ours = gateway.restart_ice(leg, fragment.ice)?;
    Ok(restarted(&ours))
}

/// 200 with our side of the new ICE session.
fn restarted(ours: &IceFragment) -> Response {
    let kind = [(header::CONTENT_TYPE, FRAGMENT)];
    let mut response = (kind, ours.write()).into_response();
    let tag = HeaderValue::try_from(entity_tag(&ours.ice.ufrag));
    response.headers_mut().insert(header::ETAG, tag.expect("ICE names are letters and digits"));
    response
}

fn no_tag() -> ApiError {
    let message = "Send If-Match with the ETag of the session, or with * to restart ICE.";
    ApiError::new(StatusCode::PRECONDITION_REQUIRED, "etag_missing", message)
}

fn outdated() -> ApiError {
    let message = "If-Match names another ICE session than the one in force; \
                   take the newest ETag, or send * to restart ICE.";
    ApiError::new(StatusCode::PRECONDITION_FAILED, "etag_outdated", message)
}

fn unreadable(error: FragmentError) -> ApiError {
    let (status, code) = match error {
        FragmentError::Malformed(_) => (StatusCode::BAD_REQUEST, "bad_fragment"),
        FragmentError::Unusable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unusable_fragment"),
    };
    let mut message = error.to_string();
    message.replace_range(..1, "T");
    ApiError::new(status, code, message + ".")
}

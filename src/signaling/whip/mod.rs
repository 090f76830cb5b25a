//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): a caller's voice in over one connection, EVA's
//! voice out over others, each by one HTTP request.
//!
//! In: SDP offers and fragments. Out: answers. `POST /whip` begins a call that hears its caller and
//! says nothing on that connection; `POST /whep/{call}` lets a player listen to what EVA says in it.
//! The conversation goes on whether anybody listens or not. `patch` is what both do to ICE.

mod patch;
mod play;
mod publish;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};

use super::{ApiError, Service};
use crate::ids::CallId;

/// An offer or an answer.
const SDP: &str = "application/sdp";
/// What PATCH takes (RFC 8840).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// The relation of a call to the address that plays it, in `Link` headers. There is no registered one.
const PLAYS: &str = "https://github.com/eva-voice/eva-voice#whep";

pub(super) fn routes() -> Router<Service> {
    let session = |handlers: MethodRouter<Service>| handlers.get(publish::nothing);
    Router::new()
        .route("/whip", post(publish::publish).get(publish::nothing))
        .route("/whip/{call}", session(patch::of_call()))
        .route("/whep/{call}", post(play::play).get(play::endpoint))
        .route("/whep/{call}/{player}", session(patch::of_player()))
}

/// Layer of all routes: the answers to `OPTIONS` say what may be sent there (RFC 9725 section 4.2).
/// Whatever is asked before a request is answered without a key, and before any route.
pub(super) async fn announced(request: Request, next: Next) -> Response {
    let asked = request.method() == Method::OPTIONS;
    let takes = asked.then(|| taken_at(request.uri().path())).flatten();
    let mut response = next.run(request).await;
    if let Some((name, kind)) = takes {
        response.headers_mut().insert(name, HeaderValue::from_static(kind));
    }
    response
}

/// What can be sent to an address of ours, and the header that says so.
fn taken_at(path: &str) -> Option<(&'static str, &'static str)> {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next()?, parts.count()) {
        ("whip", 0) | ("whep", 1) => Some(("accept-post", SDP)),
        ("whip", 1) | ("whep", 2) => Some(("accept-patch", FRAGMENT)),
        _ => None,
    }
}

/// The body, if it is text of the wanted kind.
fn text<'a>(headers: &HeaderMap, body: &'a Bytes, kind: &'static str) -> Result<&'a str, ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(kind) {
        let message = format!("Send {kind}, with the header Content-Type: {kind}.");
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong_content_type",
            message,
        ));
    }
    std::str::from_utf8(body)
        .map_err(|_| ApiError::bad_request("not_text", "The body is not text."))
}

fn call_id(text: &str) -> Result<CallId, ApiError> {
    CallId::parse(text).ok_or_else(|| crate::gateway::Refusal::UnknownCall.into())
}

/// The entity tag of an ICE session (RFC 9725 section 4.3.1): our name in it never comes back.
fn entity_tag(ice_name: &str) -> String {
    format!("\"{ice_name}\"")
}

/// 201 with the answer, and where the new resource lies.
fn created(answer: String, location: &str, ice_name: &str, links: HeaderMap) -> Response {
    let mut response = (StatusCode::CREATED, answer).into_response();
    let headers = response.headers_mut();
    headers.extend(links);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    for (name, value) in
        [(header::LOCATION, location.to_owned()), (header::ETAG, entity_tag(ice_name))]
    {
        let value = HeaderValue::try_from(value).expect("ids and ICE names are letters and digits");
        headers.insert(name, value);
    }
    response
}

/// `GET` and `HEAD` where there is nothing to be got.
fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

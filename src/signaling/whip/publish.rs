//! `POST /whip`: a call that hears its caller.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::{PLAYS, SDP, created, no_content, text};
use crate::gateway::Wishes;
use crate::rtc::Flow;
use crate::signaling::extract::Query;
use crate::signaling::sessions::session_id;
use crate::signaling::{ApiError, Caller, Service, ice};

/// Wishes for the call; an SDP offer has no place for them.
#[derive(Deserialize)]
pub(super) struct InAddress {
    voice: Option<String>,
    language: Option<String>,
    /// The conversation to go on with (docs/api/memory.md).
    session_id: Option<String>,
    /// `1`: EVA's voice comes back on the same connection.
    duplex: Option<String>,
}

pub(super) async fn publish(
    State(service): State<Service>,
    caller: Caller,
    Query(address): Query<InAddress>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    let offer_sdp = text(&headers, &body, SDP)?.to_owned();
    if !takes_sdp(&headers) {
        let message = "The answer is application/sdp: let the header Accept allow that.";
        return Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message));
    }
    let flow = match address.duplex.as_deref() {
        None | Some("" | "0" | "false") => Flow::FromClient,
        Some("1" | "true") => Flow::Both,
        Some(_) => {
            let message = "Write duplex=1 to hear EVA on the same connection, or leave it out.";
            return Err(ApiError::bad_request("bad_request", message).about("duplex"));
        }
    };
    let wishes = Wishes {
        language: address.language,
        voice: address.voice,
        session: address.session_id.as_deref().map(session_id).transpose()?,
        owner: caller.owner().to_owned(),
        ..Wishes::default()
    };
    let admitted = service.admit_as(&caller, offer_sdp, wishes, flow).await?;
    let call = admitted.call_id;
    let name = service.gateway.connection(call, None)?.ice_name();
    let mut links = ice::link_headers(&service.ice.for_caller(caller.owner(), SystemTime::now()));
    let plays = HeaderValue::try_from(format!("</whep/{call}>; rel=\"{PLAYS}\""));
    links.append(header::LINK, plays.expect("ids are letters and digits"));
    Ok(created(admitted.answer_sdp, &format!("/whip/{call}"), &name, links))
}

/// Whether the client can read the answer; one that says nothing can.
fn takes_sdp(headers: &HeaderMap) -> bool {
    let mut kinds = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim())
        .peekable();
    kinds.peek().is_none()
        || kinds.any(|kind| {
            ["*/*", "application/*", SDP].iter().any(|good| kind.eq_ignore_ascii_case(good))
        })
}

/// `GET` and `HEAD`: there is nothing to be got (RFC 9725 section 4.1).
pub(super) async fn nothing() -> Response {
    no_content()
}

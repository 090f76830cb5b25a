//! OpenAI's Realtime API: calls by SDP, sessions over a WebSocket, and secrets for browsers.
//!
//! In: `POST /v1/realtime/calls`, `GET /v1/realtime` (upgraded), `POST /v1/realtime/client_secrets`.
//! Out: what OpenAI's clients expect of them. The events themselves are `crate::realtime`'s.

use std::time::Duration;

use axum::extract::multipart::MultipartRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::auth::Caller;
use super::extract::{Path, Query};
use super::sessions::session_id;
use super::{ApiError, Service, read_json};
use crate::call::SocketEnds;
use crate::gateway::Wishes;
use crate::ids::CallId;
use crate::realtime::{Config, ConfigError};

/// How long a secret is good where its caller does not say, seconds.
const SECRET_TTL_S: u64 = 600;
/// The largest event on a WebSocket: some 30 s of sound.
const LARGEST_EVENT: usize = 2 * 1024 * 1024;
/// A client that takes no byte for so long is gone.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How often a silent client is pinged, and after how much silence it is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const GONE_AFTER: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/v1/realtime", get(socket).post(call))
        .route("/v1/realtime/calls", post(call))
        .route("/v1/realtime/client_secrets", post(client_secret))
        .route("/v1/realtime/calls/{call_id}/hangup", post(hang_up))
        .route("/v1/realtime/calls/{call_id}/accept", post(of_phones))
        .route("/v1/realtime/calls/{call_id}/reject", post(of_phones))
        .route("/v1/realtime/calls/{call_id}/refer", post(of_phones))
}

/// Wishes in the address.
#[derive(Deserialize)]
struct InAddress {
    model: Option<String>,
    voice: Option<String>,
    language: Option<String>,
    call_id: Option<String>,
    /// The conversation to go on with (docs/api/memory.md).
    session_id: Option<String>,
    /// Whether EVA's own events are sent as well.
    #[serde(default)]
    eva_events: bool,
}

impl InAddress {
    /// The session's settings from the beginning on: those of the secret, of the request, of the
    /// address.
    fn config(&self, secret: Option<Value>, request: Option<Value>) -> Result<Config, ApiError> {
        let mut config = Config { eva_events: self.eva_events, ..Config::default() };
        for settings in [secret, request].into_iter().flatten() {
            config = config.changed_by(&settings)?;
        }
        if let Some(model) = &self.model {
            config.model = Some(model.clone());
        }
        Ok(config)
    }

    fn wishes(&self, caller: &Caller) -> Result<Wishes, ApiError> {
        Ok(Wishes {
            language: self.language.clone(),
            voice: self.voice.clone(),
            session: self.session_id.as_deref().map(session_id).transpose()?,
            owner: caller.owner().to_owned(),
            ..Wishes::default()
        })
    }
}

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        Self::bad_request("invalid_value", error.message).about(error.param)
    }
}

async fn call(
    State(service): State<Service>,
    caller: Caller,
    Query(address): Query<InAddress>,
    request: Request,
) -> Result<Response, ApiError> {
    let (offer_sdp, session) = read_offer(request).await?;
    let config = address.config(service.access.session_of(&caller), session)?;
    let admitted =
        service.admit(&caller, offer_sdp, address.wishes(&caller)?, Some(config)).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/sdp".to_owned()),
        (header::LOCATION, format!("/v1/realtime/calls/{}", admitted.call_id)),
    ];
    Ok((StatusCode::CREATED, headers, admitted.answer_sdp).into_response())
}

/// The offer, and the session's settings if they come with it.
async fn read_offer(request: Request) -> Result<(String, Option<Value>), ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/sdp" => {
            let sdp = String::from_request(request, &()).await.map_err(|rejection| {
                ApiError::new(rejection.status(), "bad_request", rejection.body_text())
            })?;
            Ok((sdp, None))
        }
        "multipart/form-data" => read_form(request).await,
        _ => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send the offer as application/sdp, or in the field sdp of multipart/form-data.",
        )),
    }
}

async fn read_form(request: Request) -> Result<(String, Option<Value>), ApiError> {
    let bad_form = |error: String| ApiError::bad_request("bad_form", error);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|rejection: MultipartRejection| bad_form(rejection.body_text()))?;
    let (mut sdp, mut session) = (None, None);
    loop {
        let field = form.next_field().await.map_err(|error| bad_form(error.body_text()))?;
        let Some(field) = field else { break };
        let name = field.name().unwrap_or_default().to_owned();
        let text = field.text().await.map_err(|error| bad_form(error.body_text()))?;
        match name.as_str() {
            "sdp" => sdp = Some(text),
            "session" => {
                let parsed = serde_json::from_str(&text).map_err(|error| {
                    bad_form(format!("The field session is not JSON: {error}.")).about("session")
                })?;
                session = Some(parsed);
            }
            _ => {}
        }
    }
    let missing = || bad_form("The field sdp with the offer is missing.".to_owned()).about("sdp");
    Ok((sdp.ok_or_else(missing)?, session))
}

/// What a secret is asked for with.
#[derive(Deserialize, Default)]
struct SecretWish {
    expires_after: Option<ExpiresAfter>,
    session: Option<Value>,
}

#[derive(Deserialize)]
struct ExpiresAfter {
    #[serde(default)]
    anchor: Option<String>,
    seconds: Option<u64>,
    #[serde(flatten)]
    _rest: super::extract::ObjectOnly,
}

async fn client_secret(
    State(service): State<Service>,
    caller: Caller,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let wish: SecretWish = read_json(request).await?;
    let session = wish.session.unwrap_or_else(|| json!({"type": "realtime"}));
    // What cannot be used is said now, not to the browser later.
    let config = Config::default().changed_by(&session)?;
    let ttl_s = match wish.expires_after {
        Some(ExpiresAfter { anchor: Some(anchor), .. }) if anchor != "created_at" => {
            let message = "Secrets expire counted from their making: choose created_at.";
            return Err(
                ApiError::bad_request("invalid_value", message).about("expires_after.anchor")
            );
        }
        Some(after) => after.seconds.unwrap_or(SECRET_TTL_S),
        None => SECRET_TTL_S,
    };
    let secret = service.access.issue(&caller, ttl_s, Some(session))?;
    let about = service.gateway.about();
    let id = format!("sess_{}", CallId::random());
    Ok(Json(json!({
        "value": secret.value,
        "expires_at": secret.expires_at,
        "session": config.tell(&id, &about.voice, &about.brain),
    })))
}

async fn hang_up(
    State(service): State<Service>,
    Path(call_id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let known = CallId::parse(&call_id).is_some_and(|id| service.gateway.hang_up(id));
    if known { Ok(StatusCode::OK) } else { Err(unknown_call()) }
}

fn unknown_call() -> ApiError {
    let message = "There is no such call; it may have ended already.";
    ApiError::new(StatusCode::NOT_FOUND, "unknown_call", message)
}

/// Calls that come over the web are accepted as they come.
async fn of_phones(
    State(service): State<Service>,
    Path(call_id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let known = CallId::parse(&call_id).is_some_and(|id| service.gateway.is_active(id));
    if !known {
        return Err(unknown_call());
    }
    let message = "This is no phone call: it was accepted when it came. Hang up with /hangup.";
    Err(ApiError::bad_request("not_a_phone_call", message))
}

async fn socket(
    State(service): State<Service>,
    caller: Caller,
    Query(address): Query<InAddress>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        let message = format!("This address takes WebSockets: {}.", rejection.body_text());
        ApiError::new(StatusCode::UPGRADE_REQUIRED, "not_a_websocket", message)
    })?;
    if address.call_id.is_some() {
        let message = "A WebSocket beside a call is not supported; use the call's data channel.";
        return Err(ApiError::bad_request("not_supported", message).about("call_id"));
    }
    let config = address.config(service.access.session_of(&caller), None)?;
    let wishes = address.wishes(&caller)?;
    let ticket = service.access.call_ticket(&caller)?;
    let (id, ends) = service.gateway.admit_socket(wishes, config, ticket).await?;
    Ok(upgrade
        .protocols(["realtime"])
        .max_message_size(LARGEST_EVENT)
        .max_frame_size(LARGEST_EVENT)
        .on_upgrade(move |socket| async move {
            carry(socket, ends).await;
            service.gateway.hang_up(id);
        }))
}

/// Carries texts between the client and its call until one of them ends.
async fn carry(mut socket: WebSocket, ends: SocketEnds) {
    let SocketEnds { events, mut texts } = ends;
    let mut heard = Instant::now();
    let mut ping = tokio::time::interval_at(heard + PING_EVERY, PING_EVERY);
    let why = loop {
        let out = tokio::select! {
            text = texts.recv() => match text {
                Some(text) => Message::Text(text.into()),
                None => break (close_code::NORMAL, "The call is over."),
            },
            message = socket.recv() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => {
                        if events.send(text.to_string()).await.is_err() {
                            break (close_code::NORMAL, "The call is over.");
                        }
                        continue;
                    }
                    Some(Ok(Message::Binary(_))) => {
                        break (close_code::UNSUPPORTED, "Send events as text.");
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > GONE_AFTER {
                    return;
                }
                Message::Ping(axum::body::Bytes::new())
            }
        };
        if !matches!(timeout(SEND_WITHIN, socket.send(out)).await, Ok(Ok(()))) {
            return;
        }
    };
    let (code, reason) = why;
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = timeout(SEND_WITHIN, socket.send(close)).await;
}

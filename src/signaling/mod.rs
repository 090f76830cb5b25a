//! HTTP requests in; admitted calls and SDP answers out.
//!
//! Routes, authorisation and limits. Owns the listening socket and its TLS; never touches media.
//! What is asked of a call goes through [`crate::gateway::Gateway`].

pub mod address;
mod admin;
pub mod auth;
mod calls;
mod chat;
mod errors;
mod extract;
pub mod ice;
mod layers;
pub mod limits;
mod openai;
pub mod origins;
mod page;
mod realtime;
pub mod reload;
pub mod server;
mod sessions;
mod speech;
mod status;
pub mod tls;
mod whip;

pub use auth::{Access, Caller, Scope, Scopes};
pub use errors::ApiError;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::{Router, middleware};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use self::ice::IceServers;
use crate::gateway::{Admitted, Gateway, Invitation, Wishes};
use crate::observability::live::CallCarrier;
use crate::realtime as protocol;
use crate::rtc::Flow;

/// The largest request body. A browser's offer has some 3-8 KiB; SDP with many candidates fits too.
pub const BODY_LIMIT: usize = 64 * 1024;

/// What every route may use.
#[derive(Clone)]
pub struct Service {
    /// The calls.
    pub gateway: Arc<Gateway>,
    /// Who may call.
    pub access: Arc<Access>,
    /// STUN and TURN servers that callers are told of.
    pub ice: Arc<IceServers>,
    /// The owner's folder of files of the pages, which come before the program's own.
    pub web: Option<Arc<std::path::Path>>,
}

impl Service {
    /// Takes a caller's offer in, if the limits allow.
    ///
    /// # Errors
    /// What stands against it.
    pub async fn admit(
        &self,
        caller: &Caller,
        offer_sdp: String,
        wishes: Wishes,
        realtime: Option<protocol::Config>,
    ) -> Result<Admitted, ApiError> {
        let ticket = Some(self.access.call_ticket(caller)?);
        Ok(self.gateway.admit(Invitation { offer_sdp, wishes, realtime, ticket }).await?)
    }

    /// The same for a WHIP client, with sound going this way at most.
    ///
    /// # Errors
    /// What stands against it.
    pub async fn admit_as(
        &self,
        caller: &Caller,
        offer_sdp: String,
        wishes: Wishes,
        flow: Flow,
    ) -> Result<Admitted, ApiError> {
        let ticket = Some(self.access.call_ticket(caller)?);
        let invitation = Invitation { offer_sdp, wishes, realtime: None, ticket };
        let admitted = self.gateway.admit_as(invitation, flow).await?;
        self.gateway.carried_by(admitted.call_id, CallCarrier::Whip);
        Ok(admitted)
    }
}

/// All routes.
pub fn routes(service: Service) -> Router {
    let open = status::routes().merge(page::routes());
    let guarded = [
        (
            Scope::Call,
            calls::routes().merge(ice::routes()).merge(realtime::routes()).merge(whip::routes()),
        ),
        (Scope::Chat, chat::routes().merge(openai::chat_routes()).merge(sessions::routes())),
        (Scope::Speech, speech::routes().merge(openai::speech_routes())),
        (Scope::Admin, status::admin_routes().merge(admin::routes(&service))),
    ];
    let guarded = guarded.into_iter().fold(Router::new(), |all, (scope, routes)| {
        let layer = middleware::from_fn_with_state((service.clone(), scope), auth::guard);
        all.merge(routes.route_layer(layer))
    });
    // Sound is compressed already, or must not wait for more of it.
    let quiet = DefaultPredicate::new().and(NotForContentType::const_new("audio/"));
    let all = open
        .merge(guarded)
        .fallback(errors::no_such_page)
        .method_not_allowed_fallback(errors::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CompressionLayer::new().compress_when(quiet));
    let all = layers::before(all, &service).layer(middleware::from_fn(whip::announced));
    all.with_state(service)
}

/// Reads a JSON body; none at all reads as an empty object.
async fn read_json<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let body = Bytes::from_request(request, &()).await?;
    extract::read_object(if body.is_empty() { b"{}" } else { &body })
}

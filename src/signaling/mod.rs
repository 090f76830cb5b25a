//! HTTP requests in; admitted calls and SDP answers out.
//!
//! Routes, authorisation and limits. Owns the listening socket and its TLS; never touches media.
//! What is asked of a call goes through [`crate::gateway::Gateway`].

mod auth;
mod calls;
mod chat;
mod errors;
pub mod ice;
mod openai;
mod page;
mod speech;
mod status;
pub mod tls;

pub use auth::{Access, Caller, Scope, Scopes};
pub use errors::ApiError;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use self::ice::IceServers;
use crate::gateway::Gateway;

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
}

/// All routes.
pub fn routes(service: Service) -> Router {
    let open = status::routes().merge(page::routes());
    let guarded = [
        (Scope::Call, calls::routes().merge(ice::routes())),
        (Scope::Chat, chat::routes().merge(openai::chat_routes())),
        (Scope::Speech, speech::routes().merge(openai::speech_routes())),
        (Scope::Admin, status::admin_routes()),
    ];
    let guarded = guarded.into_iter().fold(Router::new(), |all, (scope, routes)| {
        let layer = middleware::from_fn_with_state((service.clone(), scope), auth::guard);
        all.merge(routes.route_layer(layer))
    });
    // Sound is compressed already, or must not wait for more of it.
    let quiet = DefaultPredicate::new().and(NotForContentType::const_new("audio/"));
    let compression = CompressionLayer::new().compress_when(quiet);
    open.merge(guarded)
        .fallback(errors::no_such_page)
        .method_not_allowed_fallback(errors::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(compression)
        .with_state(service)
}

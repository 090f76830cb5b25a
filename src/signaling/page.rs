//! The call page, the operator's view, the OpenAPI document and the page that shows it, served from the program itself, or
//! from the owner's folder where that has a file of the name.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::extract::Path;
use super::{ApiError, Service};

/// Nothing from elsewhere, no inline script or style; the page may use the microphone.
const SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
                               object-src 'none'; base-uri 'none'; form-action 'none'; \
                               frame-ancestors 'none'";

macro_rules! web {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../web/", $name)))),*]
    };
}

/// Name and content of every file of the pages.
const FILES: &[(&str, &[u8])] = web! {
    "index.html",
    "style.css",
    "app.js",
    "captions.js",
    "eva-voice.js",
    "line.js",
    "texts.js",
    "favicon.svg",
    "admin.html",
    "admin.css",
    "admin.js",
    "admin-figures.js",
    "admin-link.js",
    "admin-texts.js",
    "api.html",
    "api.css",
    "api.js",
    "openapi.json",
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/", get(index))
        .route("/{file}", get(file))
        .route("/admin", get(admin))
        .route("/api", get(api))
        .route("/openapi.json", get(document))
        .route("/voice", get(to_page))
        .route("/eva-her", get(to_page))
}

/// The call page at the addresses that the predecessor had it.
async fn to_page() -> Redirect {
    Redirect::temporary("/")
}

async fn index(State(service): State<Service>) -> Response {
    serve(&service, "index.html").await
}

/// The operator's view; what it shows wants a key.
async fn admin(State(service): State<Service>) -> Response {
    serve(&service, "admin.html").await
}

/// What can be asked here, for people.
async fn api(State(service): State<Service>) -> Response {
    serve(&service, "api.html").await
}

/// The same for programs.
async fn document(State(service): State<Service>) -> Response {
    serve(&service, "openapi.json").await
}

async fn file(State(service): State<Service>, Path(name): Path<String>) -> Response {
    serve(&service, &name).await
}

async fn serve(service: &Service, name: &str) -> Response {
    if let Some(content) = own_file(service, name).await {
        return dressed(name, content);
    }
    match FILES.iter().find(|(file, _)| *file == name) {
        Some((_, content)) => dressed(name, *content),
        None => ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is no such page. The call page is at /.",
        )
        .into_response(),
    }
}

/// The owner's file of this name. Names lead to no other folder.
async fn own_file(service: &Service, name: &str) -> Option<Vec<u8>> {
    let folder = service.web.as_deref()?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !plain || name.starts_with('.') {
        return None;
    }
    tokio::fs::read(folder.join(name)).await.ok()
}

/// What a file is by its name.
fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

fn dressed(name: &str, content: impl IntoResponse) -> Response {
    (
        [
            (header::CONTENT_TYPE, kind_of(name)),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ],
        content,
    )
        .into_response()
}

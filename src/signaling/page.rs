//! The call page, the OpenAPI document and the page that shows it, served from the program itself.

use axum::Router;
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
    ($($name:literal => $kind:literal),* $(,)?) => {
        &[$(($name, $kind, include_bytes!(concat!("../../web/", $name)))),*]
    };
}

/// Name, content type and content of every file of the page.
const FILES: &[(&str, &str, &[u8])] = web! {
    "index.html" => "text/html; charset=utf-8",
    "style.css" => "text/css; charset=utf-8",
    "app.js" => "text/javascript; charset=utf-8",
    "captions.js" => "text/javascript; charset=utf-8",
    "eva-voice.js" => "text/javascript; charset=utf-8",
    "line.js" => "text/javascript; charset=utf-8",
    "texts.js" => "text/javascript; charset=utf-8",
    "favicon.svg" => "image/svg+xml",
    "api.html" => "text/html; charset=utf-8",
    "api.css" => "text/css; charset=utf-8",
    "api.js" => "text/javascript; charset=utf-8",
    "openapi.json" => "application/json",
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/", get(index))
        .route("/{file}", get(file))
        .route("/api", get(api))
        .route("/openapi.json", get(document))
        .route("/voice", get(to_page))
        .route("/eva-her", get(to_page))
}

/// The call page at the addresses that the predecessor had it.
async fn to_page() -> Redirect {
    Redirect::temporary("/")
}

async fn index() -> Response {
    serve("index.html")
}

/// What can be asked here, for people.
async fn api() -> Response {
    serve("api.html")
}

/// The same for programs.
async fn document() -> Response {
    serve("openapi.json")
}

async fn file(Path(name): Path<String>) -> Response {
    serve(&name)
}

fn serve(name: &str) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, kind, content)) => (
            [
                (header::CONTENT_TYPE, *kind),
                (header::CACHE_CONTROL, "no-cache"),
                (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
            ],
            *content,
        )
            .into_response(),
        None => ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is no such page. The call page is at /.",
        )
        .into_response(),
    }
}

//! The call page, the operator's view, the OpenAPI document and the page that shows it, served from the program itself, or
//! from the owner's folder where that has a file of the name.
//!
//! In: a file's name and what the browser has of it already. Out: the file, compressed once for all
//! requests, or the word that it is unchanged. It knows nothing of what is in the files.

use std::io::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

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
    "eva-call.js",
    "eva-call-parts.js",
    "eva-gateway.js",
    "eva-link.js",
    "eva-sound.js",
    "eva-voice.js",
    "face.js",
    "figures.css",
    "figures-texts.js",
    "line.js",
    "settings.js",
    "store.js",
    "talk.js",
    "texts.js",
    "transcript.js",
    "waterfall.js",
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

/// The end of the entity tag of a compressed file: another encoding is another representation.
const PACKED: &str = "-gzip";

/// A built-in file, ready to be sent.
struct Page {
    name: &'static str,
    content: &'static [u8],
    /// The content in gzip.
    packed: Vec<u8>,
    hash: String,
}

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let page = |(name, content): &(&'static str, &'static [u8])| Page {
        name,
        content,
        packed: packed(content),
        hash: hash(content),
    };
    FILES.iter().map(page).collect()
});

pub(super) fn routes() -> Router<Service> {
    // The compressing is done before the first caller comes.
    LazyLock::force(&PAGES);
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

async fn index(State(service): State<Service>, headers: HeaderMap) -> Response {
    serve(&service, "index.html", &headers).await
}

/// The operator's view; what it shows wants a key.
async fn admin(State(service): State<Service>, headers: HeaderMap) -> Response {
    serve(&service, "admin.html", &headers).await
}

/// What can be asked here, for people.
async fn api(State(service): State<Service>, headers: HeaderMap) -> Response {
    serve(&service, "api.html", &headers).await
}

/// The same for programs.
async fn document(State(service): State<Service>, headers: HeaderMap) -> Response {
    serve(&service, "openapi.json", &headers).await
}

async fn file(
    State(service): State<Service>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    serve(&service, &name, &headers).await
}

async fn serve(service: &Service, name: &str, asked: &HeaderMap) -> Response {
    if let Some(content) = own_file(service, name).await {
        let hash = hash(&content);
        // Weak: it is compressed on its way, or not.
        let tag = format!("W/\"{hash}\"");
        return if has(asked, &hash) {
            unchanged(name, &tag)
        } else {
            dressed(name, &tag, content)
        };
    }
    let Some(page) = PAGES.iter().find(|page| page.name == name) else {
        let message = "There is no such page. The call page is at /.";
        return ApiError::new(StatusCode::NOT_FOUND, "not_found", message).into_response();
    };
    let takes_gzip = takes_gzip(asked);
    let tag = format!("\"{}{}\"", page.hash, if takes_gzip { PACKED } else { "" });
    let mut response = if has(asked, &page.hash) {
        unchanged(name, &tag)
    } else if takes_gzip {
        let mut response = dressed(name, &tag, page.packed.as_slice());
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        dressed(name, &tag, page.content)
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
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

/// What a file's entity tags are made of.
fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes every write")
}

/// Whether the browser has the file of this hash, in any encoding.
fn has(asked: &HeaderMap, hash: &str) -> bool {
    values(asked, header::IF_NONE_MATCH).any(|tag| {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        tag == "*" || opaque.strip_suffix(PACKED).unwrap_or(opaque) == hash
    })
}

/// Whether the answer may be in gzip.
fn takes_gzip(asked: &HeaderMap) -> bool {
    values(asked, header::ACCEPT_ENCODING).any(|encoding| {
        let mut parts = encoding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        named && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

/// The values of a header that is a list.
fn values(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
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

/// The word that the browser has the file. What it keeps takes these headers on, the policy too.
fn unchanged(name: &str, tag: &str) -> Response {
    let mut response = dressed(name, tag, ());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn dressed(name: &str, tag: &str, content: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind_of(name)),
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, tag),
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn asked(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_browser_that_has_the_file_is_recognised_in_every_way_to_say_so() {
        for value in ["\"ab\"", "W/\"ab\"", "\"ab-gzip\"", "\"x\", \"ab\"", "*"] {
            assert!(has(&asked(header::IF_NONE_MATCH, value), "ab"), "{value}");
        }
        for value in ["\"abc\"", "\"\"", "", "\"ab-br\""] {
            assert!(!has(&asked(header::IF_NONE_MATCH, value), "ab"), "{value}");
        }
        assert!(!has(&HeaderMap::new(), "ab"));
    }

    #[test]
    fn what_is_unchanged_keeps_its_policy() {
        let response = unchanged("index.html", "\"ab\"");
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], SECURITY_POLICY);
        assert_eq!(response.headers()[header::ETAG], "\"ab\"");
    }

    #[test]
    fn gzip_goes_to_those_who_name_it_only() {
        for value in ["gzip", "br, gzip", "deflate, GZIP;q=0.5"] {
            assert!(takes_gzip(&asked(header::ACCEPT_ENCODING, value)), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip; q=0.0, br", "identity"] {
            assert!(!takes_gzip(&asked(header::ACCEPT_ENCODING, value)), "{value}");
        }
    }

    #[test]
    fn every_file_unpacks_to_itself_and_has_a_hash_of_its_own() {
        let mut hashes: Vec<_> = PAGES.iter().map(|page| page.hash.as_str()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), FILES.len());
        for page in PAGES.iter() {
            let mut content = Vec::new();
            flate2::read::GzDecoder::new(page.packed.as_slice())
                .read_to_end(&mut content)
                .expect("gzip");
            assert_eq!(content, page.content, "{}", page.name);
        }
    }
}

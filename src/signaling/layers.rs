//! What stands before every route: who comes, from which page, how often, how slowly; and the
//! security headers of every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::{ApiError, Service};

/// A body has so long to begin with ...
const BODY_WITHIN: Duration = Duration::from_secs(15);
/// ... and so much longer for each byte that came: 4 KiB a second is slow enough for any line.
const BODY_PER_BYTE: Duration = Duration::from_nanos(1_000_000_000 / 4096);

/// Headers of every answer, unless the route gave its own. A page says what it may load itself.
const DEFAULTS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts everything before the routes; what stands last here comes first.
pub(super) fn before(routes: Router<Service>, service: &Service) -> Router<Service> {
    let with = |state: &Service| state.clone();
    routes
        .layer(middleware::from_fn(paced))
        .layer(middleware::from_fn_with_state(with(service), counted))
        .layer(service.access.origins().clone().cors())
        .layer(middleware::from_fn_with_state(with(service), from_our_pages))
        .layer(middleware::from_fn_with_state(with(service), dressed))
}

async fn counted(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    service.access.count_request(&request)?;
    Ok(next.run(request).await)
}

async fn from_our_pages(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    service.access.origins().check(request.uri(), request.headers())?;
    Ok(next.run(request).await)
}

async fn dressed(State(service): State<Service>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if service.access.strict_transport() {
        let a_year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, a_year);
    }
    response
}

/// Ends requests whose body trickles in, so that they hold nothing.
async fn paced(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let late = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| in_time(body, BODY_WITHIN, late.clone()));
    let response = next.run(request).await;
    if late.load(Ordering::Relaxed) && !response.status().is_success() {
        let message = "The request's body came too slowly; send it again over a better line.";
        return ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message).into_response();
    }
    response
}

/// The body, or an error once it is behind its time.
fn in_time(body: Body, within: Duration, late: Arc<AtomicBool>) -> Body {
    let start = (body.into_data_stream(), Instant::now() + within);
    let parts = futures::stream::try_unfold(start, move |(mut parts, deadline)| {
        let late = late.clone();
        async move {
            match timeout_at(deadline, parts.next()).await {
                Ok(Some(part)) => {
                    let part = part?;
                    let size = u32::try_from(part.len()).unwrap_or(u32::MAX);
                    Ok(Some((part, (parts, deadline + BODY_PER_BYTE * size))))
                }
                Ok(None) => Ok(None),
                Err(_) => {
                    late.store(true, Ordering::Relaxed);
                    Err(axum::Error::new("the body came too slowly"))
                }
            }
        }
    });
    Body::from_stream(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a body of so many parts, one every 10 ms, is taken within `within_ms` and what its
    /// bytes earn.
    async fn is_taken(parts: usize, size: usize, within_ms: u64) -> bool {
        let parts = futures::stream::iter(0..parts).then(move |_| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, std::io::Error>("x".repeat(size))
        });
        let late = Arc::new(AtomicBool::new(false));
        let within = Duration::from_millis(within_ms);
        let body = in_time(Body::from_stream(parts), within, late.clone());
        let taken = axum::body::to_bytes(body, usize::MAX).await.is_ok();
        assert_ne!(taken, late.load(Ordering::Relaxed));
        taken
    }

    #[tokio::test]
    async fn a_body_that_trickles_in_is_ended_and_a_steady_one_is_not() {
        assert!(!is_taken(200, 1, 100).await);
        assert!(is_taken(3, 1, 5000).await);
        assert!(is_taken(30, 8192, 200).await);
    }
}

//! What handlers take from requests, as axum reads it; what cannot be read is an error of the one
//! shape.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::ApiError;

/// Names in the address.
pub(super) struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    axum::extract::Path<T>: FromRequestParts<S, Rejection = PathRejection>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(names)| Self(names)).map_err(|rejection| {
            let message = format!("The address is not as expected: {rejection}.");
            ApiError::bad_request("bad_request", message)
        })
    }
}

/// What follows the `?`.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(wishes)| Self(wishes)).map_err(|rejection| {
            let message = format!("What follows the ? is not as expected: {rejection}.");
            ApiError::bad_request("bad_request", message)
        })
    }
}

/// In a struct, flattened: a list of the fields' values, which serde takes for one as well, is
/// refused. Other fields are left alone.
pub(super) type ObjectOnly = serde::de::IgnoredAny;

/// A body that is a JSON object. serde takes a list of the fields' values for one as well; that is
/// refused here.
pub(super) struct JsonObject<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonObject<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !says_json(&request) {
            let message = "Send JSON, with the header Content-Type: application/json.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
        }
        let body = axum::body::Bytes::from_request(request, state).await?;
        read_object(&body).map(Self)
    }
}

/// Whether the body is said to be JSON, as `application/json` or `application/…+json`.
fn says_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let Some((family, kind)) = kind.split_once('/') else { return false };
    let kind = kind.to_ascii_lowercase();
    family.eq_ignore_ascii_case("application") && (kind == "json" || kind.ends_with("+json"))
}

/// Reads the one JSON object in `body`.
pub(super) fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let wrong = |reason: String| {
        ApiError::bad_request("bad_request", format!("The request is not as expected: {reason}."))
    };
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(wrong("it is no JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))
}

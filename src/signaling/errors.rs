//! One shape for every error: `{"error":{"code","message"}}`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::gateway::Refusal;

/// What a client is told when a request cannot be served.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people that says what to do.
    pub message: String,
    /// Seconds after which a new try makes sense.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error without a retry hint.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": {"code": self.code, "message": self.message}}));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Busy { retry_after_s } | Refusal::Closing { retry_after_s } => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "busy",
                message,
                retry_after: Some(retry_after_s),
            },
            Refusal::BadOffer(_) => Self::new(StatusCode::BAD_REQUEST, "bad_offer", message),
            Refusal::Language(_) => Self::new(StatusCode::BAD_REQUEST, "bad_language", message),
            Refusal::Voice(_) => Self::new(StatusCode::BAD_REQUEST, "bad_voice", message),
            Refusal::Conversation(_) => {
                Self::new(StatusCode::BAD_REQUEST, "bad_conversation", message)
            }
            Refusal::Media(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "media_failed", message)
            }
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        let (code, message) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => (
                "too_large",
                format!("The request is larger than {} KiB.", super::BODY_LIMIT / 1024),
            ),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "not_json",
                "Send JSON, with the header Content-Type: application/json.".to_owned(),
            ),
            _ => ("bad_request", format!("The request is not as expected: {rejection}.")),
        };
        // A body of the wrong shape is a bad request like any other.
        let status = match status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        Self::new(status, code, message)
    }
}

/// Nothing lies at this address.
pub(super) async fn no_such_page(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("There is nothing at {}. The call page is at /.", uri.path()),
    )
}

/// The address exists, with another method.
pub(super) async fn wrong_method(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take this method.", uri.path()),
    )
}

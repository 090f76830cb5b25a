//! One shape for every error: `{"error":{"message","type","code","param"}}`, as OpenAI's API has it.

use axum::Json;
use axum::extract::rejection::BytesRejection;
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
    /// The field of the request that is wrong.
    pub param: Option<String>,
    /// Seconds after which a new try makes sense.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error without a retry hint.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, retry_after: None }
    }

    /// A request that cannot be served as it is.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The same, about this field of the request.
    #[must_use]
    pub fn about(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// The same, worth a new try after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The kind of error, as OpenAI's clients sort them.
    pub fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The body.
    pub fn body(&self) -> serde_json::Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind(),
            "code": self.code,
            "param": self.param,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            let protocol = HeaderValue::from_static("websocket");
            response.headers_mut().insert(header::UPGRADE, protocol);
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Busy { retry_after_s } | Refusal::Closing { retry_after_s } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
                    .retry_after(retry_after_s)
            }
            Refusal::UnknownCall => Self::new(StatusCode::NOT_FOUND, "unknown_call", message),
            Refusal::UnknownPlayer => Self::new(StatusCode::NOT_FOUND, "unknown_player", message),
            Refusal::TooManyPlayers { retry_after_s, .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_players", message)
                    .retry_after(retry_after_s)
            }
            Refusal::BadOffer(_) => Self::new(StatusCode::BAD_REQUEST, "bad_offer", message),
            Refusal::Language(_) => Self::new(StatusCode::BAD_REQUEST, "bad_language", message),
            Refusal::Persona(_) => Self::new(StatusCode::BAD_REQUEST, "bad_persona", message),
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

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = super::BODY_LIMIT / 1024;
            return Self::new(
                status,
                "too_large",
                format!("The request is larger than {limit} KiB."),
            );
        }
        Self::new(status, "bad_request", format!("The request cannot be read: {rejection}."))
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

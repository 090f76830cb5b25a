//! Who may call.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ApiError, Service};

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Calls: offers, Realtime, WHIP, and what belongs to a call.
    Call,
    /// Text: chat, completions, the caller's own sessions.
    Chat,
    /// Speech and transcription over HTTP.
    Speech,
    /// Metrics, everybody's sessions, other people's calls.
    Admin,
}

/// Who asks (stands in for a merge).
#[derive(Clone)]
pub struct Caller {
    secret: Option<String>,
}

impl<S: Sync> axum::extract::FromRequestParts<S> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, ApiError> {
        let secret = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .map(|(_, key)| key.to_owned());
        Ok(Self { secret })
    }
}

/// A secret.
pub struct EphemeralSecret {
    /// It.
    pub value: String,
    /// Unix seconds.
    pub expires_at: u64,
}

impl Access {
    /// Issues.
    pub fn issue(
        &self,
        _: &Caller,
        ttl_s: u64,
        session: Option<serde_json::Value>,
    ) -> Result<EphemeralSecret, ApiError> {
        let value = format!("ek_{}", uuid::Uuid::new_v4().simple());
        self.secrets.lock().unwrap().insert(value.clone(), session);
        Ok(EphemeralSecret { value, expires_at: ttl_s })
    }

    /// Session.
    pub fn session_of(&self, caller: &Caller) -> Option<serde_json::Value> {
        self.secrets.lock().unwrap().get(caller.secret.as_ref()?).cloned().flatten()
    }
}

/// The key a request must carry, kept as its hash.
pub struct Access {
    key: Option<[u8; 32]>,
    secrets: std::sync::Mutex<std::collections::HashMap<String, Option<serde_json::Value>>>,
}

impl Access {
    /// Anybody may call.
    pub fn open() -> Self {
        Self { key: None, secrets: Default::default() }
    }

    /// Only bearers of this key may call.
    pub fn with_key(key: &str) -> Self {
        Self { key: Some(Sha256::digest(key.as_bytes()).into()), secrets: Default::default() }
    }

    /// Whether a key is wanted.
    pub fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    /// Checks `Authorization: Bearer KEY` (RFC 6750, section 2.1) in constant time.
    pub fn check(&self, headers: &HeaderMap, _scope: Scope) -> Result<(), ApiError> {
        let Some(expected) = &self.key else { return Ok(()) };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim());
        let Some(given) = given else {
            return Err(refused("This gateway wants a key: send Authorization: Bearer KEY."));
        };
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        if bool::from(given.ct_eq(expected)) { Ok(()) } else { Err(refused("The key is wrong.")) }
    }
}

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// Layer of routes that want a key with this scope.
pub(super) async fn guard(
    State((service, scope)): State<(Service, Scope)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    service.access.check(request.headers(), scope)?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearing(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().expect("a header value"))])
    }

    #[test]
    fn only_the_key_opens() {
        let access = Access::with_key("secret");
        assert!(access.check(&bearing("Bearer secret"), Scope::Call).is_ok());
        assert!(access.check(&bearing("bearer secret"), Scope::Call).is_ok());
        for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer "] {
            let error = access.check(&bearing(wrong), Scope::Call).expect_err(wrong);
            assert_eq!(error.status, StatusCode::UNAUTHORIZED);
        }
        assert!(access.check(&HeaderMap::new(), Scope::Call).is_err());
        assert!(Access::open().check(&HeaderMap::new(), Scope::Call).is_ok());
    }
}

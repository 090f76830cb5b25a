//! Who may call.

mod caller;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use self::caller::{Caller, Scope, Scopes};
use super::{ApiError, Service};

pub(super) type KeyHash = [u8; 32];

/// The key a request must carry, kept as its hash.
pub struct Access {
    key: Option<[u8; 32]>,
}

impl Access {
    /// Anybody may call.
    pub fn open() -> Self {
        Self { key: None }
    }

    /// Only bearers of this key may call.
    pub fn with_key(key: &str) -> Self {
        Self { key: Some(Sha256::digest(key.as_bytes()).into()) }
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
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    service.access.check(request.headers(), scope)?;
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    let scopes = Scopes::all();
    request.extensions_mut().insert(Caller {
        owner: "owner".into(),
        address,
        scopes,
        secret: None,
    });
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

//! Who may call: keys, short-lived secrets, what each is good for and how much of it.
//!
//! In: a request's headers and address. Out: a [`Caller`], or an error. Owns the keys (which can
//! change while it runs), the secrets and the limits. Reads no file but through [`Keys`].

mod caller;
mod keys;
mod secrets;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::caller::{Caller, Scope, Scopes};
pub use self::keys::{KeyLine, Keys, KeysError, NewKey, new_key, without};
pub use self::secrets::{EphemeralSecret, SECRET_TTL_S};
use self::secrets::{PREFIX, Secrets, Shown};
use super::address::TrustedProxies;
use super::limits::{Limits, Rates, too_often};
use super::origins::Origins;
use super::{ApiError, Service};
use crate::admission::{Admission, CallTicket};
use crate::observability::Metrics;

/// SHA-256 of a key.
type KeyHash = [u8; 32];

fn hash(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

/// In a WebSocket's subprotocols, where browsers cannot send headers: OpenAI's SDK, and our own.
const KEY_PROTOCOLS: [&str; 2] = ["openai-insecure-api-key.", "eva-key."];

/// Who may use the gateway, and how much.
pub struct Access {
    /// `None`: anybody may.
    keys: RwLock<Option<Arc<Keys>>>,
    secrets: Secrets,
    rates: Rates,
    admission: Admission,
    origins: Arc<Origins>,
    proxies: TrustedProxies,
    /// Browsers are told to come over TLS only.
    strict_transport: AtomicBool,
}

impl Access {
    /// Without limits.
    fn new(keys: Option<Keys>) -> Self {
        let limits = Limits::none();
        Self {
            keys: RwLock::new(keys.map(Arc::new)),
            secrets: Secrets::default(),
            rates: Rates::new(&limits),
            admission: Admission::new(limits.calls),
            origins: Arc::default(),
            proxies: TrustedProxies::default(),
            strict_transport: AtomicBool::new(false),
        }
    }

    /// Anybody may call, without limits.
    pub fn open() -> Self {
        Self::new(None)
    }

    /// Only bearers of this key may call, without limits.
    pub fn with_key(key: &str) -> Self {
        Self::with_keys(Keys::one(key))
    }

    /// Only bearers of these keys may call, without limits but their own.
    pub fn with_keys(keys: Keys) -> Self {
        Self::new(Some(keys))
    }

    /// The same with these limits.
    #[must_use]
    pub fn limited(self, limits: &Limits) -> Self {
        Self { rates: Rates::new(limits), admission: Admission::new(limits.calls), ..self }
    }

    /// The same for these pages.
    #[must_use]
    pub fn for_origins(self, origins: Origins) -> Self {
        Self { origins: Arc::new(origins), ..self }
    }

    /// The same behind these proxies.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// Takes other keys from now on; calls in progress go on.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
    }

    /// Whether a key is wanted.
    pub fn needs_key(&self) -> bool {
        self.keys().is_some()
    }

    /// Tells browsers from now on to come over TLS only, or not.
    pub fn set_strict_transport(&self, strict: bool) {
        self.strict_transport.store(strict, Ordering::Relaxed);
    }

    pub(super) fn strict_transport(&self) -> bool {
        self.strict_transport.load(Ordering::Relaxed)
    }

    pub(super) fn origins(&self) -> &Arc<Origins> {
        &self.origins
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what is over: secrets, and addresses that have paused. Call it now and then.
    pub fn sweep(&self) {
        self.secrets.sweep(Instant::now());
        self.rates.sweep();
    }

    /// The request's address; one more request of it is counted.
    pub(super) fn count_request(&self, request: &Request) -> Result<(), ApiError> {
        self.rates.request(self.address(request))
    }

    fn address(&self, request: &Request) -> IpAddr {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        let peer = peer.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        self.proxies.caller(peer, request.headers())
    }

    /// Who shows a key or a secret that is good for `scope`.
    ///
    /// # Errors
    /// 401 without a good key, 403 if it is not for that, 429 if it is used too often.
    pub fn check(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        scope: Scope,
    ) -> Result<Caller, ApiError> {
        let Some(keys) = self.keys() else {
            // A secret is no key where none is wanted, but keeps its session.
            let secret = shown(headers).map(hash).filter(|s| self.secrets.session(s).is_some());
            let scopes = Scopes::all();
            return Ok(Caller { owner: "anybody".into(), address, scopes, secret });
        };
        let Some(given) = shown(headers) else {
            return Err(refused("This gateway wants a key: send Authorization: Bearer KEY."));
        };
        let given_hash = hash(given);
        let now = SystemTime::now();
        let found = keys.find(&given_hash);
        let (key, secret) = match found {
            Some(key) => (key, None),
            None if given.starts_with(PREFIX) => {
                let issued = match self.secrets.check(&given_hash, Instant::now()) {
                    Shown::Good(owner) => keys.named(&owner),
                    Shown::Expired => {
                        return Err(refused("The secret has expired; ask for a new one."));
                    }
                    Shown::Unknown => None,
                };
                (issued.ok_or_else(|| refused("The secret is wrong."))?, Some(given_hash))
            }
            None => return Err(refused("The key is wrong.")),
        };
        if key.is_over(now) {
            return Err(refused("The key has expired."));
        }
        let scopes = match secret {
            Some(_) => key.scopes.and([Scope::Call].into_iter().collect()),
            None => key.scopes,
        };
        if !scopes.has(scope) {
            let message = format!("This key is not good for {:?}; ask its owner.", scope.name());
            return Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_scope", message));
        }
        if let Some(Err(wait)) = key.requests.as_ref().map(super::limits::Rate::take) {
            return Err(too_often("Your key sends too many requests", wait));
        }
        Ok(Caller { owner: key.name.clone(), address, scopes, secret })
    }

    /// Leave to begin one more call. Take it before anything else is done for the call, and keep it
    /// as long as the call: [`crate::gateway::Invitation`] carries it.
    ///
    /// # Errors
    /// 429 or 503 with the time to wait.
    pub fn call_ticket(&self, caller: &Caller) -> Result<CallTicket, ApiError> {
        self.ticket(caller).inspect_err(|_| Metrics::call_refused("limit"))
    }

    fn ticket(&self, caller: &Caller) -> Result<CallTicket, ApiError> {
        self.rates.call_start(caller.address)?;
        let keys = self.keys();
        let key = keys.as_ref().and_then(|keys| keys.named(&caller.owner));
        if let Some(Err(wait)) =
            key.and_then(|key| key.call_starts.as_ref()).map(|rate| rate.take())
        {
            return Err(too_often("Your key begins too many calls", wait));
        }
        let most = key.and_then(|key| key.calls);
        Ok(self.admission.enter(&caller.owner, caller.address, most)?)
    }

    /// A secret for calls in the caller's name, good for `ttl_s` seconds ([`SECRET_TTL_S`]), bound
    /// to a session's settings if some are given.
    ///
    /// # Errors
    /// If the caller shows a secret itself, the time is out of range, or there are too many.
    pub fn issue(
        &self,
        caller: &Caller,
        ttl_s: u64,
        session: Option<Value>,
    ) -> Result<EphemeralSecret, ApiError> {
        if caller.is_ephemeral() && self.needs_key() {
            let message = "A secret cannot ask for another one; use a key.";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_scope", message));
        }
        if !SECRET_TTL_S.contains(&ttl_s) {
            let message = "A secret is good for 10 to 7200 seconds.";
            return Err(ApiError::bad_request("bad_ttl", message).about("expires_after.seconds"));
        }
        let ttl = Duration::from_secs(ttl_s);
        self.secrets
            .issue(&caller.owner, ttl, session, Instant::now())
            .ok_or_else(|| too_often("There are too many secrets that are still good", 60))
    }

    /// The session's settings that the caller's secret is bound to.
    pub fn session_of(&self, caller: &Caller) -> Option<Value> {
        self.secrets.session(caller.secret.as_ref()?)
    }
}

/// The key or secret in a request's headers: `Authorization: Bearer KEY` (RFC 6750, section 2.1),
/// or a WebSocket's subprotocol. Never from the address, which logs and histories keep.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim());
    let protocols = || {
        headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(|name| {
                KEY_PROTOCOLS.iter().find_map(|prefix| name.trim().strip_prefix(prefix))
            })
    };
    bearer.or_else(protocols)
}

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// Layer of routes that want a key with this scope; their handlers find a [`Caller`].
pub(super) async fn guard(
    State((service, scope)): State<(Service, Scope)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let address = service.access.address(&request);
    let caller = service.access.check(request.headers(), address, scope)?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests;

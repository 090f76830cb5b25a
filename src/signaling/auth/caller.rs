//! Who makes a request, as the guard found out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::KeyHash;
use crate::signaling::ApiError;

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

impl Scope {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Call, Self::Chat, Self::Speech, Self::Admin];

    /// As files, command line and errors name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Chat => "chat",
            Self::Speech => "speech",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether the scope is one of them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }

    /// Those in both sets.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The scopes, in their order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

/// Who makes a request. Handlers behind the guard take it as an argument.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(super) owner: Arc<str>,
    pub(super) address: IpAddr,
    pub(super) scopes: Scopes,
    /// The hash of the ephemeral secret that was shown, if it was one.
    pub(super) secret: Option<KeyHash>,
}

impl Caller {
    /// Whom calls and sessions belong to: the key's name; of an ephemeral secret, the name of the
    /// key that it was issued for. `owner` with the one key of `--api-key`, `anybody` without keys.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Where the request comes from, behind trusted proxies.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether the caller's key is good for that too.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }

    /// Whether an ephemeral secret was shown in place of a key.
    pub fn is_ephemeral(&self) -> bool {
        self.secret.is_some()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    /// Fails on routes that no guard stands before.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            let message = "The gateway does not know who calls; please report it.";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "no_caller", message)
        })
    }
}

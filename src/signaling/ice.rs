//! STUN and TURN servers that callers are told of (RFC 8656).
//!
//! In: their addresses and a secret, a password or nothing, from the command line. Out: what a
//! browser takes as `iceServers`, as `GET /ice` or as the `Link` headers of WHIP (RFC 9725, section
//! 4.6). The gateway itself asks none of them: it has addresses of its own, and a relay reaches it
//! like any caller.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Caller, Service};

/// How long time-limited credentials are good for where nobody says. coturn asks for them again
/// whenever a relay is prolonged, so they should outlast a call.
pub const TURN_TTL: Duration = Duration::from_secs(4 * 3600);

/// Why the servers cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IceError {
    /// Not as RFC 7064 and RFC 7065 write addresses.
    #[error(
        "{0:?} is no STUN or TURN server; write stun:HOST, turn:HOST:PORT, turn:HOST?transport=tcp or turns:HOST"
    )]
    Address(String),
    /// TURN servers let nobody in without a name.
    #[error(
        "{0:?} needs --turn-secret (time-limited credentials), or --turn-user with --turn-password"
    )]
    NoCredentials(String),
}

/// How callers prove to a TURN server that they may use it.
#[derive(Clone, Default)]
pub enum TurnCredentials {
    /// There are none; STUN needs none.
    #[default]
    None,
    /// The same for everybody.
    Fixed {
        /// The name.
        username: String,
        /// Its password.
        password: String,
    },
    /// For each caller its own, for a while: coturn's `use-auth-secret`. The name is
    /// `EXPIRY:OWNER`, the password base64(HMAC-SHA1(secret, name)).
    Timed {
        /// coturn's `static-auth-secret`.
        secret: String,
        /// How long they are good for.
        ttl: Duration,
    },
}

/// The servers of a gateway; the default has none.
#[derive(Clone, Default)]
pub struct IceServers {
    stun: Vec<String>,
    turn: Vec<String>,
    credentials: TurnCredentials,
}

/// One entry of a browser's `RTCConfiguration.iceServers`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// Addresses that share the credentials.
    pub urls: Vec<String>,
    /// The name, at TURN servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl IceServers {
    /// Checks the addresses.
    ///
    /// # Errors
    /// If an address is none, or a TURN server has no credentials.
    pub fn new(urls: &[String], credentials: TurnCredentials) -> Result<Self, IceError> {
        let mut servers = Self { credentials, ..Self::default() };
        for url in urls.iter().map(|url| url.trim()) {
            let wrong = || IceError::Address(url.to_owned());
            match scheme(url).ok_or_else(wrong)? {
                "stun" | "stuns" => servers.stun.push(url.to_owned()),
                _ if matches!(servers.credentials, TurnCredentials::None) => {
                    return Err(IceError::NoCredentials(url.to_owned()));
                }
                _ => servers.turn.push(url.to_owned()),
            }
        }
        Ok(servers)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stun.is_empty() && self.turn.is_empty()
    }

    /// How long what [`for_caller`](Self::for_caller) gives is good for.
    pub fn ttl(&self) -> Duration {
        match &self.credentials {
            TurnCredentials::Timed { ttl, .. } => *ttl,
            _ => TURN_TTL,
        }
    }

    /// The servers as this caller may use them.
    pub fn for_caller(&self, owner: &str, now: SystemTime) -> Vec<IceServer> {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), username: None, credential: None });
        }
        if !self.turn.is_empty() {
            let (username, credential) = match &self.credentials {
                TurnCredentials::None => (None, None),
                TurnCredentials::Fixed { username, password } => {
                    (Some(username.clone()), Some(password.clone()))
                }
                TurnCredentials::Timed { secret, ttl } => {
                    let (username, credential) = timed(secret, owner, now + *ttl);
                    (Some(username), Some(credential))
                }
            };
            servers.push(IceServer { urls: self.turn.clone(), username, credential });
        }
        servers
    }
}

/// coturn's time-limited credentials (draft-uberti-behave-turn-rest-00, section 2.2).
fn timed(secret: &str, owner: &str, expiry: SystemTime) -> (String, String) {
    let expiry = expiry.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let owner: String = owner.chars().map(|c| if plain(c) { c } else { '_' }).take(64).collect();
    let username = format!("{expiry}:{owner}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    (username, credential)
}

/// The scheme of an address that RFC 7064 or RFC 7065 allows.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    let (place, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q)));
    let is_turn = matches!(scheme, "turn" | "turns");
    let known = is_turn || matches!(scheme, "stun" | "stuns");
    let query_fits = match query {
        None => true,
        Some(query) => is_turn && matches!(query, "transport=udp" | "transport=tcp"),
    };
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let in_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    let host_fits = (1..=253).contains(&host.len()) && host.chars().all(in_host);
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (known && query_fits && host_fits && port_fits).then_some(scheme)
}

/// The servers as `Link` headers of a WHIP or WHEP answer.
pub fn link_headers(servers: &[IceServer]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for server in servers {
        for url in &server.urls {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
                link.push_str(&format!(
                    "; username={}; credential={}; credential-type=\"password\"",
                    quoted(username),
                    quoted(credential)
                ));
            }
            // What cannot stand in a header cannot be told this way.
            if let Ok(link) = HeaderValue::try_from(link) {
                headers.append(header::LINK, link);
            }
        }
    }
    headers
}

/// A quoted string (RFC 9110, section 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

pub(super) fn routes() -> Router<Service> {
    Router::new().route("/ice", get(ice))
}

/// What a client puts into its `RTCPeerConnection`.
async fn ice(State(service): State<Service>, caller: Caller) -> Json<Value> {
    let ice = &service.ice;
    Json(json!({
        "iceServers": ice.for_caller(caller.owner(), SystemTime::now()),
        "ttl": ice.ttl().as_secs(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(urls: &[&str], credentials: TurnCredentials) -> Result<IceServers, IceError> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        IceServers::new(&urls, credentials)
    }

    fn timed_servers() -> IceServers {
        let secret = TurnCredentials::Timed { secret: "north".to_owned(), ttl: TURN_TTL };
        servers(&["stun:a.example", "turn:a.example:3478?transport=tcp"], secret).unwrap()
    }

    /// The password was computed with `openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn credentials_are_what_coturn_computes() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let given = timed_servers().for_caller("joe:x", now);
        assert_eq!(given[0].username, None);
        assert_eq!(given[1].username.as_deref(), Some("1700014400:joe_x"));
        assert_eq!(given[1].credential.as_deref(), Some("giyygb0rRzfELXiM7tXxEtLH1CA="));
        assert!(!format!("{given:?}").contains("1700014400"));
    }

    #[test]
    fn links_are_as_in_the_rfc() {
        let fixed =
            TurnCredentials::Fixed { username: "u".to_owned(), password: "p\"\\w".to_owned() };
        let servers = servers(&["stun:s.example", "turn:t.example?transport=udp"], fixed).unwrap();
        let headers = link_headers(&servers.for_caller("x", SystemTime::now()));
        let links: Vec<_> = headers.get_all(header::LINK).iter().collect();
        assert_eq!(links[0], "<stun:s.example>; rel=\"ice-server\"");
        assert_eq!(
            links[1],
            "<turn:t.example?transport=udp>; rel=\"ice-server\"; username=\"u\"; \
             credential=\"p\\\"\\\\w\"; credential-type=\"password\""
        );
    }

    #[test]
    fn addresses_that_are_none_are_named() {
        let fixed = || TurnCredentials::Fixed { username: "u".into(), password: "p".into() };
        for good in ["stun:a", "stun:a.b:3478", "turn:[::1]:3478", "turns:a?transport=tcp"] {
            assert!(servers(&[good], fixed()).is_ok(), "{good}");
        }
        for wrong in
            ["a.example", "http://a", "stun:", "turn:a:0", "turn:a:x", "stun:a?transport=udp"]
                .into_iter()
                .chain(["turn:a>; rel=x", "turn:a\r\nX: y", "turn:a b", "turn:a?transport=sctp"])
        {
            let error = servers(&[wrong], fixed()).err();
            assert_eq!(error, Some(IceError::Address(wrong.to_owned())), "{wrong}");
        }
        let error = servers(&["turn:a"], TurnCredentials::None).err();
        assert!(matches!(error, Some(IceError::NoCredentials(_))));
    }
}

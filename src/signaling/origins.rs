//! Which web pages may use the gateway from a browser.
//!
//! In: the headers `Origin`, `Host` and `Sec-Fetch-*`. Out: leave to go on, or a 403; and the CORS
//! headers that browsers want. Other programs send no `Origin` and are judged by their keys alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::ApiError;

/// For so long a browser need not ask again.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// The pages that are let in. The default: those of the gateway itself and of this machine.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    any: bool,
    allowed: Vec<String>,
    /// Only names of this machine are taken as `Host`.
    local_hosts_only: bool,
}

impl Origins {
    /// Beside the default ones these: `https://app.example`, or `*` for all.
    ///
    /// # Errors
    /// If one of them is no origin.
    pub fn allowing(origins: &[String]) -> Result<Self, String> {
        let mut allowed = Vec::new();
        for origin in origins.iter().map(|origin| origin.trim().trim_end_matches('/')) {
            let place = origin.split_once("://").map(|(_, place)| place);
            let is_origin = place.is_some_and(|place| {
                !place.is_empty() && !place.contains(['/', '?', '#', '@', ' '])
            });
            if !is_origin && !matches!(origin, "*" | "null") {
                return Err(format!(
                    "{origin:?} is no origin; write it as browsers do, like https://app.example"
                ));
            }
            allowed.push(origin.to_ascii_lowercase());
        }
        let any = allowed.iter().any(|origin| origin == "*");
        Ok(Self { any, allowed, local_hosts_only: false })
    }

    /// Takes only names of this machine, and those of the origins allowed, as `Host`. For a gateway
    /// without keys: a page elsewhere can give its own name this machine's address.
    #[must_use]
    pub fn with_local_hosts_only(self) -> Self {
        Self { local_hosts_only: true, ..self }
    }

    /// Whether this request may go on.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = host(uri, headers);
        if self.local_hosts_only && !host.is_some_and(|host| self.is_own_host(host)) {
            return Err(forbidden(
                "foreign_host",
                "This gateway answers to names of this machine only, like localhost, as long as it \
                 wants no key. Its owner can allow your page with --allow-origin.",
            ));
        }
        let fits = match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
            Some(Ok(origin)) => self.allows(origin, host),
            Some(Err(_)) => false,
            None => self.any || !is_foreign_fetch(headers),
        };
        if fits {
            return Ok(());
        }
        Err(forbidden(
            "foreign_origin",
            "This page may not use the gateway; its owner can allow it with --allow-origin.",
        ))
    }

    fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.any || self.allowed.contains(&origin) {
            return true;
        }
        let Some((_, place)) = origin.split_once("://") else { return false };
        host.is_some_and(|host| place.eq_ignore_ascii_case(host)) || is_local(place)
    }

    fn is_own_host(&self, host: &str) -> bool {
        let name = without_port(host);
        let named = |origin: &String| {
            let place = origin.split_once("://").map(|(_, place)| without_port(place));
            place.is_some_and(|place| place.eq_ignore_ascii_case(name))
        };
        self.any || is_local(host) || self.allowed.iter().any(named)
    }

    /// What browsers ask for before a page elsewhere may read an answer. The headers that a page
    /// wants to send are all granted (OpenAI's SDKs send a dozen `x-stainless-…`): keys come in
    /// `Authorization`, never in cookies, so a page can send none that it does not hold.
    pub(super) fn cors(self: Arc<Self>) -> CorsLayer {
        let allows = move |origin: &HeaderValue, parts: &Parts| {
            let host = host(&parts.uri, &parts.headers);
            origin.to_str().is_ok_and(|origin| self.allows(origin, host))
        };
        let exposed = ["location", "link", "etag", "retry-after", "accept-patch", "x-request-id"];
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(allows))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed.map(HeaderName::from_static))
            .max_age(PREFLIGHT_AGE)
    }
}

fn forbidden(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, message)
}

/// The name that the caller knows the gateway by, with its port.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(|authority| authority.as_str()).or(named)
}

/// The name in `HOST[:PORT]`.
fn without_port(place: &str) -> &str {
    match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => place.rsplit_once(':').map_or(place, |(host, _)| host),
    }
}

/// Whether `HOST[:PORT]` is this machine.
fn is_local(place: &str) -> bool {
    let host = without_port(place).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether a page elsewhere loads this as a picture or a sound, for which browsers send no `Origin`.
fn is_foreign_fetch(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(origins: &Origins, headers: &[(&'static str, &str)]) -> Option<&'static str> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        origins.check(&Uri::from_static("/offer"), &headers).err().map(|error| error.code)
    }

    #[test]
    fn pages_elsewhere_are_refused_unless_they_are_allowed() {
        let own = Origins::default();
        let host = ("host", "eva.example");
        assert_eq!(refusal(&own, &[host]), None);
        for good in ["https://eva.example", "http://localhost:3000", "http://[::1]:80"] {
            assert_eq!(refusal(&own, &[host, ("origin", good)]), None, "{good}");
        }
        for foreign in [
            "https://evil.example",
            "https://eva.example.evil.example",
            "https://eva.example:444",
            "https://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "null",
            "",
        ] {
            let refused = refusal(&own, &[host, ("origin", foreign)]);
            assert_eq!(refused, Some("foreign_origin"), "{foreign}");
        }
        let listed = Origins::allowing(&["https://App.example/".to_owned()]).unwrap();
        assert_eq!(refusal(&listed, &[host, ("origin", "https://app.example")]), None);
        assert!(refusal(&listed, &[host, ("origin", "http://app.example")]).is_some());
        let any = Origins::allowing(&["*".to_owned()]).unwrap();
        assert_eq!(refusal(&any, &[host, ("origin", "https://evil.example")]), None);
        assert!(Origins::allowing(&["app.example".to_owned()]).is_err());
        assert!(Origins::allowing(&["https://app.example/x".to_owned()]).is_err());
    }

    #[test]
    fn a_name_that_was_rebound_to_this_machine_is_refused() {
        let open = Origins::allowing(&["https://a.example".to_owned()]).unwrap();
        let open = open.with_local_hosts_only();
        for good in
            ["localhost:8484", "127.0.0.1:8484", "[::1]:8484", "eva.localhost", "a.example:80"]
        {
            assert_eq!(refusal(&open, &[("host", good)]), None, "{good}");
        }
        for wrong in ["evil.example:8484", "192.0.2.1", "localhost.evil.example", ""] {
            let headers = [("host", wrong), ("origin", "http://localhost")];
            assert_eq!(refusal(&open, &headers), Some("foreign_host"), "{wrong}");
        }
        assert_eq!(refusal(&open, &[]), Some("foreign_host"));
    }

    #[test]
    fn a_page_elsewhere_cannot_load_it_as_a_sound() {
        let own = Origins::default();
        let fetch = |mode| [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode)];
        assert_eq!(refusal(&own, &fetch("no-cors")), Some("foreign_origin"));
        assert_eq!(refusal(&own, &fetch("navigate")), None);
    }
}

//! HTTP requests that the gateway makes for others: tools, webhooks.
//!
//! In: an address that a file or a caller names. Out: a client that reaches public addresses only,
//! or a sentence. Every address that a name resolves to is checked, and those checked are the ones
//! connected to, so that a name cannot point inwards between the two. Redirects stay on their host.
//! What the owner writes for the gateway itself (the language model's server) does not pass here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Redirects that are followed, on the same host.
const MAX_REDIRECTS: usize = 3;
/// Where a proxy for all requests is named.
const PROXIES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// What a request may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses.
    Public,
    /// This machine and its network too.
    Anywhere,
}

/// Why an address is not asked.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// It lies inside.
    #[error("{0} is a private address, which is not asked unless allow_private = true")]
    Private(String),
    /// There is no client.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// A client for requests to `url`. It follows redirects on the same host only, and uses a proxy from
/// the environment only for other machines; the proxy then decides what can be reached.
///
/// # Errors
/// If `url` names an address that may not be reached, or the system has no certificates.
pub fn client(url: &Url, reach: Reach) -> Result<Client, OutboundError> {
    let literal = literal(url);
    if let Some(ip) = literal.filter(|ip| reach == Reach::Public && !is_public(*ip)) {
        return Err(OutboundError::Private(ip.to_string()));
    }
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .redirect(redirect::Policy::custom(same_host))
        .user_agent(concat!("eva-voice/", env!("CARGO_PKG_VERSION")));
    let client = if is_this_machine(url) { client.no_proxy() } else { client };
    let client = match reach {
        Reach::Public => client.dns_resolver(Arc::new(PublicOnly::from_environment())),
        Reach::Anywhere => client,
    };
    Ok(client.build()?)
}

/// Whether the host is written as an inner address or as this machine: whoever wrote it meant it.
pub fn is_written_private(url: &Url) -> bool {
    is_this_machine(url) || literal(url).is_some_and(|ip| !is_public(ip))
}

/// The host as an address, if it is written as one. An address in a URL has one way to be written
/// by then: its parser reads `0x7f.1` as 127.0.0.1.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host.ends_with(".localhost")
        || literal(url).is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Follows a redirect to the same host, with the same or a safer scheme.
fn same_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let Some(from) = attempt.previous().last() else { return attempt.stop() };
    let to = attempt.url();
    let upgrade = from.scheme() == "http" && to.scheme() == "https";
    let same = from.host_str() == to.host_str()
        && (from.origin() == to.origin() || upgrade && to.port().is_none());
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("it redirects again and again")
    } else if same {
        attempt.follow()
    } else {
        attempt.error("it redirects to another host, which is not followed")
    }
}

/// Resolves names to public addresses.
struct PublicOnly {
    /// Proxies may lie inside: their owner put them into the environment.
    proxies: Vec<String>,
}

impl PublicOnly {
    fn from_environment() -> Self {
        let proxies = PROXIES.iter().filter_map(|name| std::env::var(name).ok());
        let hosts = proxies.filter_map(|proxy| {
            let url = Url::parse(&proxy).ok().filter(Url::has_host);
            let url = url.or_else(|| Url::parse(&format!("http://{proxy}")).ok())?;
            url.host_str().map(str::to_owned)
        });
        Self { proxies: hosts.collect() }
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let is_proxy = self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(&name));
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> =
                found.iter().copied().filter(|at| is_proxy || is_public(at.ip())).collect();
            if public.is_empty() && !found.is_empty() {
                return Err(OutboundError::Private(name).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the open internet: not this machine, its network, its provider's,
/// nor one reserved for something else (RFC 6890), however it is wrapped in IPv6.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocols = (a, b, c) == (192, 0, 0);
    let relay = (a, b, c) == (192, 88, 99);
    let benchmarks = a == 198 && b & 0xfe == 18;
    !(a == 0
        || a >= 224
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || shared
        || protocols
        || relay
        || benchmarks)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        // IPv4 behind NAT64 (RFC 6052; RFC 8215 is for local use), 6to4 and in IPv6's first days.
        (0x64, 0xff9b, 0, 0, 0, 0) => is_public_v4(v4(g, h)),
        (0x64, 0xff9b, ..) => false,
        (0x2002, ..) => is_public_v4(v4(b, c)),
        // Global unicast (RFC 4291), less what is set aside in it: Teredo and other protocols,
        // documentation.
        _ => {
            let protocols = a == 0x2001 && b < 0x200;
            let documentation = a == 0x2001 && b == 0xdb8 || a == 0x3fff && b < 0x1000;
            a & 0xe000 == 0x2000 && !protocols && !documentation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_told_from_public_ones() {
        for inner in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "4000::1",
        ] {
            assert!(!is_public(inner.parse().unwrap()), "{inner}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::808:808",
            "2002:808:808::",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn hosts_written_as_inner_addresses_are_seen_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://localhost:1/",
            "http://x.localhost/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://017700000001/",
        ] {
            let url = Url::parse(url).unwrap();
            assert!(is_written_private(&url), "{url}");
        }
        for url in ["http://example.com/", "http://8.8.8.8/", "http://127.0.0.1.example.com/"] {
            assert!(!is_written_private(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_points_inwards_is_not_connected_to() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name: Name = "localhost".parse().unwrap();
        let resolver = PublicOnly { proxies: Vec::new() };
        let error = resolver.resolve(name).await.err().expect("refused").to_string();
        assert!(error.contains("private address"), "{error}");
        let resolver = PublicOnly { proxies: vec!["LOCALHOST".to_owned()] };
        assert!(resolver.resolve("localhost".parse().unwrap()).await.is_ok());
        let inner = Url::parse("http://169.254.169.254/latest/meta-data").unwrap();
        assert!(client(&inner, Reach::Public).is_err());
        assert!(client(&inner, Reach::Anywhere).is_ok());
    }
}

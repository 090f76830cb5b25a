//! Where a request comes from.
//!
//! In: the connection's far end and `X-Forwarded-For`. Out: the caller's address. The header counts
//! only where a trusted proxy wrote it, since anybody can send one.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::HeaderMap;

/// Addresses with a common beginning: `10.0.0.0/8`, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address is one of them.
    pub fn has(&self, ip: IpAddr) -> bool {
        let (base, ip, all) = match (self.base, ip.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                (u128::from(base.to_bits()), u128::from(ip.to_bits()), 32)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits(), ip.to_bits(), 128),
            _ => return false,
        };
        let rest = u32::from(all - self.prefix.min(all));
        base.checked_shr(rest).unwrap_or(0) == ip.checked_shr(rest).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address or network, like 192.0.2.1 or 10.0.0.0/8");
        let (base, prefix) = text.split_once('/').map_or((text, None), |(b, p)| (b, Some(p)));
        let base: IpAddr = base.trim().parse().map_err(|_| wrong())?;
        let all = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(all), str::parse).map_err(|_| wrong())?;
        if prefix > all { Err(wrong()) } else { Ok(Self { base, prefix }) }
    }
}

/// The proxies whose word counts.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    warned: AtomicBool,
}

impl TrustedProxies {
    /// These, and no others.
    pub fn new(networks: Vec<Network>) -> Self {
        Self { networks, warned: AtomicBool::new(false) }
    }

    fn trust(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.has(ip))
    }

    /// The caller's address: the nearest one that is no trusted proxy.
    pub(super) fn caller(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.ip().to_canonical();
        let forwarded = headers.get_all("x-forwarded-for");
        let mut named: Vec<&str> = forwarded
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        if !named.is_empty() && !self.trust(address) && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                proxy = %address,
                "a proxy names its callers, but it is not trusted: all of them count as one \
                 address; name it with --trusted-proxy if it is yours"
            );
        }
        while self.trust(address) {
            let Some(before) = named.pop().and_then(|name| name.parse::<IpAddr>().ok()) else {
                break;
            };
            address = before.to_canonical();
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let networks = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let name = axum::http::HeaderName::from_static("x-forwarded-for");
        let headers = forwarded.iter().map(|value| (name.clone(), value.parse().unwrap()));
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        TrustedProxies::new(networks).caller(peer, &headers.collect()).to_string()
    }

    #[test]
    fn only_trusted_proxies_name_their_callers() {
        assert_eq!(caller(&[], "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(caller(&["192.0.2.1"], "192.0.2.1", &["198.51.100.7"]), "198.51.100.7");
        // What the caller wrote itself stands before what the proxy added.
        assert_eq!(
            caller(&["127.0.0.1"], "127.0.0.1", &["10.9.9.9, 198.51.100.7"]),
            "198.51.100.7"
        );
        assert_eq!(
            caller(&["127.0.0.1", "10.0.0.0/8"], "::ffff:127.0.0.1", &["1.2.3.4", "10.1.1.1"]),
            "1.2.3.4"
        );
        assert_eq!(caller(&["127.0.0.1"], "127.0.0.1", &["nonsense"]), "127.0.0.1");
        assert_eq!(caller(&["127.0.0.1"], "127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn networks_are_what_they_say() {
        let has = |net: &str, ip: &str| net.parse::<Network>().unwrap().has(ip.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.1.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("0.0.0.0/0", "8.8.8.8") && !has("0.0.0.0/0", "::1"));
        assert!(has("2001:db8::/32", "2001:db8:1::1") && has("::1", "::1"));
        assert!(has("::/0", "fe80::1"));
        for wrong in ["10.0.0.0/33", "x", "10.0.0.0/", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}

//! Shared by the tests of the media ports: an endpoint and calls on 127.0.0.1.
#![allow(dead_code)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use eva_voice::rtc::{Caller, CallerConfig, CloseReason, LegEvent, RtcConfig, RtcEndpoint, WebLeg};
use tokio::net::UdpSocket;

pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub async fn endpoint() -> RtcEndpoint {
    let config = RtcConfig {
        tcp: Some(SocketAddr::new(LOCAL, 0)),
        ..RtcConfig::new(SocketAddr::new(LOCAL, 0))
    };
    RtcEndpoint::bind(config).await.expect("free ports")
}

pub fn from_localhost() -> CallerConfig {
    CallerConfig { bind: Some(LOCAL), ..CallerConfig::default() }
}

/// Dials, answers, and waits until both sides are connected. Gateway's leg first.
pub async fn call(endpoint: &RtcEndpoint, config: CallerConfig) -> (WebLeg, WebLeg) {
    let (caller, offer) = Caller::dial(config).await.expect("an offer");
    let (mut near, answer) = endpoint.answer(&offer).await.expect("an answer");
    let mut far = caller.accept(&answer).await.expect("a fitting answer");
    until(&mut near, |event| matches!(event, LegEvent::Connected)).await;
    until(&mut far, |event| matches!(event, LegEvent::Connected)).await;
    (near, far)
}

/// Reads events until one fits.
pub async fn until(leg: &mut WebLeg, fits: impl Fn(&LegEvent) -> bool) -> LegEvent {
    let search = async {
        loop {
            let event = leg.next_event().await.expect("the leg is not over yet");
            if fits(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(12), search).await.expect("the event within 12 s")
}

pub async fn until_closed(leg: &mut WebLeg) -> CloseReason {
    match until(leg, |event| matches!(event, LegEvent::Closed(_))).await {
        LegEvent::Closed(reason) => reason,
        _ => unreachable!("only Closed fits"),
    }
}

/// A piece of network between a caller and the gateway: it loses, delays and reorders datagrams
/// both ways, and can give the caller another address, as a NAT that has forgotten it does.
pub struct Network {
    /// Where the caller sends to instead of the gateway.
    pub address: SocketAddr,
    rebind: tokio::sync::mpsc::Sender<()>,
}

impl Network {
    /// `loss` is a share of all datagrams; each is late by up to `jitter`.
    pub async fn new(gateway: SocketAddr, loss: f64, jitter: Duration) -> Self {
        let near = Arc::new(UdpSocket::bind((LOCAL, 0)).await.expect("a free port"));
        let address = near.local_addr().expect("an address");
        let (rebind, mut rebinds) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let mut far = Arc::new(UdpSocket::bind((LOCAL, 0)).await.expect("a free port"));
            let mut caller = None;
            let (mut up, mut down) = (vec![0; 2000], vec![0; 2000]);
            let mut random: u64 = 1;
            loop {
                let (packet, through, to) = tokio::select! {
                    Ok((length, from)) = near.recv_from(&mut up) => {
                        caller = Some(from);
                        (up[..length].to_vec(), far.clone(), Some(gateway))
                    }
                    Ok((length, _)) = far.recv_from(&mut down) => {
                        (down[..length].to_vec(), near.clone(), caller)
                    }
                    Some(()) = rebinds.recv() => {
                        far = Arc::new(UdpSocket::bind((LOCAL, 0)).await.expect("a free port"));
                        continue;
                    }
                };
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let share = (random >> 40) as f64 / (1_u64 << 24) as f64;
                let late = jitter.mul_f64((random >> 20 & 0xff) as f64 / 255.0);
                if let Some(to) = to.filter(|_| share >= loss) {
                    tokio::spawn(async move {
                        if !late.is_zero() {
                            tokio::time::sleep(late).await;
                        }
                        let _ = through.send_to(&packet, to).await;
                    });
                }
            }
        });
        Self { address, rebind }
    }

    /// From now on the caller appears under another address.
    pub async fn forget_address(&self) {
        self.rebind.send(()).await.expect("the network is up");
    }

    /// Calls the gateway through this network.
    pub async fn call(&self, endpoint: &RtcEndpoint) -> (WebLeg, WebLeg) {
        let (caller, offer) = Caller::dial(from_localhost()).await.expect("an offer");
        let (mut near, answer) = endpoint.answer(&offer).await.expect("an answer");
        let (gateway, network) = (endpoint.udp_addr().port(), self.address.port());
        let answer = answer.replace(
            &format!("127.0.0.1 {gateway} typ host"),
            &format!("127.0.0.1 {network} typ host"),
        );
        let mut far = caller.accept(&answer).await.expect("a fitting answer");
        until(&mut near, |event| matches!(event, LegEvent::Connected)).await;
        until(&mut far, |event| matches!(event, LegEvent::Connected)).await;
        (near, far)
    }
}

//! Calls between the dialling side and the gateway's media ports on 127.0.0.1.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eva_voice::rtc::{Caller, CallerConfig, LegEvent, RtcConfig, RtcEndpoint, Transport, WebLeg};

mod rtc_support;
use rtc_support::{call, endpoint, from_localhost, until};

/// Sends Opus packets from one leg until one arrives at the other, and returns its payload.
async fn hears(from: &WebLeg, to: &mut WebLeg, payload: &'static [u8]) {
    for packet in 0..20 {
        assert!(from.sender().send_opus(Bytes::from_static(payload), packet * 960, packet == 0));
    }
    let LegEvent::Rtp(first) = until(to, |event| matches!(event, LegEvent::Rtp(_))).await else {
        unreachable!("only Rtp fits")
    };
    assert_eq!((first.timestamp, first.marker), (0, true));
    let mut sequence = first.sequence;
    assert_eq!(&first.payload[..], payload);
    for packet in 1..20 {
        let LegEvent::Rtp(next) = until(to, |event| matches!(event, LegEvent::Rtp(_))).await else {
            unreachable!("only Rtp fits")
        };
        sequence = sequence.wrapping_add(1);
        assert_eq!((next.sequence, next.timestamp), (sequence, packet * 960));
        assert_eq!(&next.payload[..], payload);
        assert!(!next.marker && next.arrived <= Instant::now());
    }
}

async fn reads(from: &WebLeg, to: &mut WebLeg, text: &str) {
    assert!(from.sender().send_text(text.to_owned()));
    let event = until(to, |event| matches!(event, LegEvent::Text(_))).await;
    assert!(matches!(event, LegEvent::Text(read) if read == text));
}

async fn talk(near: &mut WebLeg, far: &mut WebLeg, name: &'static str) {
    until(near, |event| matches!(event, LegEvent::ChannelOpen)).await;
    until(far, |event| matches!(event, LegEvent::ChannelOpen)).await;
    hears(near, far, name.as_bytes()).await;
    hears(far, near, name.as_bytes()).await;
    reads(near, far, &format!("to the caller of {name}")).await;
    reads(far, near, &format!("to the gateway from {name}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_connects_within_a_second_and_carries_sound_and_texts_both_ways() {
    let endpoint = endpoint().await;
    let (caller, offer) = Caller::dial(from_localhost()).await.expect("an offer");
    let began = Instant::now();
    let (mut near, answer) = endpoint.answer(&offer).await.expect("an answer");
    let answered = began.elapsed();
    let mut far = caller.accept(&answer).await.expect("a fitting answer");
    until(&mut far, |event| matches!(event, LegEvent::Connected)).await;
    until(&mut near, |event| matches!(event, LegEvent::Connected)).await;
    let connected = began.elapsed();
    println!("answered in {answered:?}, connected in {connected:?}");
    assert!(connected < Duration::from_secs(1), "connected only after {connected:?}");
    talk(&mut near, &mut far, "one").await;
    let stats = near.sender().stats().await;
    assert_eq!(stats.transport, Some(Transport::Udp), "{stats:?}");
    assert!(stats.rtt.is_some() && stats.received == 20 && stats.sent == 20, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_calls_share_the_udp_port() {
    let endpoint = endpoint().await;
    let (mut near_a, mut far_a) = call(&endpoint, from_localhost()).await;
    let (mut near_b, mut far_b) = call(&endpoint, from_localhost()).await;
    talk(&mut near_a, &mut far_a, "first").await;
    talk(&mut near_b, &mut far_b, "second").await;
    talk_again(&mut near_a, &mut far_a, "first again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_calls_share_the_tcp_port() {
    let endpoint = endpoint().await;
    let tcp = || CallerConfig { tcp_only: true, ..from_localhost() };
    let (mut near_a, mut far_a) = call(&endpoint, tcp()).await;
    let (mut near_b, mut far_b) = call(&endpoint, tcp()).await;
    talk(&mut near_a, &mut far_a, "first").await;
    talk(&mut near_b, &mut far_b, "second").await;
    talk_again(&mut near_a, &mut far_a, "first again").await;
    let stats = near_b.sender().stats().await;
    assert_eq!(stats.transport, Some(Transport::Tcp), "{stats:?}");
}

async fn talk_again(near: &mut WebLeg, far: &mut WebLeg, name: &'static str) {
    hears(near, far, name.as_bytes()).await;
    hears(far, near, name.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_data_channel_carries_sound() {
    let endpoint = endpoint().await;
    let config = CallerConfig { data_channel: false, ..from_localhost() };
    let (mut near, mut far) = call(&endpoint, config).await;
    talk_again(&mut near, &mut far, "no texts").await;
    assert!(!near.sender().send_text("nobody reads this".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dual_stack_port_serves_ipv4_and_ipv6() {
    let Ok(probe) = std::net::UdpSocket::bind("[::1]:0") else {
        return;
    };
    drop(probe);
    let config = RtcConfig {
        public_addresses: vec!["127.0.0.1".parse().expect("IPv4"), "::1".parse().expect("IPv6")],
        tcp: Some("[::]:0".parse().expect("an address")),
        ..RtcConfig::new("[::]:0".parse::<SocketAddr>().expect("an address"))
    };
    let endpoint = RtcEndpoint::bind(config).await.expect("free ports");
    for bind in ["127.0.0.1", "::1"] {
        for tcp_only in [false, true] {
            let bind = Some(bind.parse().expect("an address"));
            let config = CallerConfig { bind, tcp_only, ..CallerConfig::default() };
            let (mut near, mut far) = call(&endpoint, config).await;
            talk_again(&mut near, &mut far, "hello").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_loses_the_oldest_packets_and_they_are_counted() {
    let endpoint = endpoint().await;
    let (mut near, far) = call(&endpoint, from_localhost()).await;
    for packet in 0..200_u32 {
        far.sender().send_opus(Bytes::from_static(b"opus"), packet * 960, packet == 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while near.sender().stats().await.received < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(near.sender().stats().await.dropped_unread, 200 - 64);
    let LegEvent::Rtp(first) = until(&mut near, |event| matches!(event, LegEvent::Rtp(_))).await
    else {
        unreachable!("only Rtp fits")
    };
    assert_eq!(first.timestamp, (200 - 64) * 960);
}

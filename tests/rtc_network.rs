//! Calls over bad networks.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use eva_voice::rtc::{
    CallerConfig, CloseReason, IceCredentials, LegEvent, RtcConfig, RtcEndpoint, RtcError, WebLeg,
};

mod rtc_support;
use rtc_support::{LOCAL, Network, endpoint, until};

/// Talks both ways in real time for a while; the shares of packets that arrived, gateway's side
/// first.
async fn talk(near: &mut WebLeg, far: &mut WebLeg, seconds: u64) -> (f64, f64) {
    let packets = seconds * 50;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let (mut sent, mut at_near, mut at_far) = (0, 0_u64, 0_u64);
    let is_rtp = |event: Option<LegEvent>| match event {
        Some(LegEvent::Rtp(_)) => 1,
        Some(LegEvent::Closed(reason)) => panic!("closed: {reason:?}"),
        _ => 0,
    };
    while sent < packets {
        tokio::select! {
            _ = pace.tick() => {
                let payload = || Bytes::from_static(&[0xfc; 80]);
                near.sender().send_opus(payload(), sent as u32 * 960, sent == 0);
                far.sender().send_opus(payload(), sent as u32 * 960, sent == 0);
                sent += 1;
            }
            event = near.next_event() => at_near += is_rtp(event),
            event = far.next_event() => at_far += is_rtp(event),
        }
    }
    (at_near as f64 / packets as f64, at_far as f64 / packets as f64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_connects_and_stays_up_with_a_fifth_of_all_packets_lost_and_40_ms_jitter() {
    let endpoint = endpoint().await;
    let network = Network::new(endpoint.udp_addr(), 0.2, Duration::from_millis(40)).await;
    let began = Instant::now();
    let (mut near, mut far) = network.call(&endpoint).await;
    println!("connected after {:?}", began.elapsed());
    let arrived = talk(&mut near, &mut far, 4).await;
    println!("arrived: {arrived:?}");
    assert!((0.7..0.9).contains(&arrived.0) && (0.7..0.9).contains(&arrived.1));
    // The channel opens by itself, however often its handshake is lost.
    let text = || near.sender().send_text("retransmitted until it arrives".to_owned());
    let sent = async {
        while !text() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let limit = Duration::from_secs(15);
    tokio::time::timeout(limit, sent).await.expect("the channel opens");
    until(&mut far, |event| matches!(event, LegEvent::Text(_))).await;
    let stats = near.sender().stats().await;
    println!("{stats:?}");
    assert!(stats.rtt.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_survives_its_caller_getting_another_address() {
    let endpoint = endpoint().await;
    let network = Network::new(endpoint.udp_addr(), 0.0, Duration::ZERO).await;
    let (mut near, mut far) = network.call(&endpoint).await;
    assert_eq!(talk(&mut near, &mut far, 1).await.0.round(), 1.0);
    for _ in 0..2 {
        network.forget_address().await;
        talk(&mut near, &mut far, 3).await;
        let arrived = talk(&mut near, &mut far, 2).await;
        assert!(arrived.0 > 0.9 && arrived.1 > 0.9, "{arrived:?} under the new address");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ice_restarts_in_mid_call_and_both_sides_keep_hearing_each_other() {
    let local = std::net::SocketAddr::new(LOCAL, 0);
    let config = RtcConfig {
        tcp: Some(local),
        silence_limit: Duration::from_secs(5),
        ..RtcConfig::new(local)
    };
    let endpoint = RtcEndpoint::bind(config).await.expect("free ports");
    let caller = CallerConfig {
        tcp_only: true,
        silence_limit: Duration::from_secs(5),
        ..rtc_support::from_localhost()
    };
    let (mut near, mut far) = rtc_support::call(&endpoint, caller).await;
    let handle = near.handle().expect("the gateway's side has one");
    let mut names = vec![handle.ice_name()];
    for _ in 0..6 {
        let theirs = IceCredentials::random();
        let ours = endpoint.restart_ice(&handle, theirs.clone()).expect("new credentials");
        assert!(handle.is_current(&theirs) && handle.was_restarted());
        assert_eq!(ours.ice.ufrag, handle.ice_name());
        assert!(far.restart_ice(theirs, ours.ice));
        names.push(handle.ice_name());
        let (at_near, at_far) = talk(&mut near, &mut far, 1).await;
        assert!(at_near > 0.9 && at_far > 0.9, "{at_near} {at_far}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 7, "every session has a name of its own");
    assert_eq!(endpoint.calls(), 1, "one call, whatever its names");
    // Silence for longer than either side waits: only checks keep the call up, under the newest
    // credentials.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (at_near, at_far) = talk(&mut near, &mut far, 1).await;
    assert!(at_near > 0.9 && at_far > 0.9, "{at_near} {at_far}");
    handle.hang_up();
    assert_eq!(rtc_support::until_closed(&mut far).await, CloseReason::ChannelClosed);
    assert_eq!(rtc_support::until_closed(&mut near).await, CloseReason::Local);
    while endpoint.calls() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = endpoint.restart_ice(&handle, IceCredentials::random());
    assert!(matches!(late, Err(RtcError::Over)));
}

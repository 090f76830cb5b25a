//! Nothing outlives a call: no task, no file descriptor, no entry in the table, no memory.
//!
//! One test in a program of its own, since it counts what the whole process holds.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use bytes::Bytes;
use eva_voice::rtc::{CallerConfig, LegEvent, RtcEndpoint};

mod rtc_support;
use rtc_support::{call, endpoint, from_localhost, until};

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Held {
    tasks: usize,
    descriptors: usize,
    calls: usize,
}

fn held(endpoint: &RtcEndpoint) -> Held {
    Held {
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        descriptors: std::fs::read_dir("/proc/self/fd").expect("Linux").count(),
        calls: endpoint.calls(),
    }
}

fn resident_kib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number of pages") * 4
}

/// A short call over UDP or TCP, ended by the caller, the gateway or by dropping both.
async fn short_call(endpoint: &RtcEndpoint, number: u32) {
    let config = CallerConfig { tcp_only: number % 2 == 1, ..from_localhost() };
    let (mut near, mut far) = call(endpoint, config).await;
    until(&mut near, |event| matches!(event, LegEvent::ChannelOpen)).await;
    until(&mut far, |event| matches!(event, LegEvent::ChannelOpen)).await;
    for packet in 0..50 {
        near.sender().send_opus(Bytes::from_static(&[0xfc; 80]), packet * 960, packet == 0);
        far.sender().send_opus(Bytes::from_static(&[0xfc; 80]), packet * 960, packet == 0);
    }
    near.sender().send_text("{}".to_owned());
    until(&mut far, |event| matches!(event, LegEvent::Text(_))).await;
    match number % 3 {
        0 => near.split().0.close().await,
        1 => far.split().0.close().await,
        _ => drop((near, far)),
    }
}

/// Waits up to 3 s for everything to be let go of.
async fn settled(endpoint: &RtcEndpoint, expected: Held) {
    for _ in 0..300 {
        if held(endpoint) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(held(endpoint), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_a_call() {
    let endpoint = endpoint().await;
    let before = held(&endpoint);
    for number in 0..12 {
        short_call(&endpoint, number).await;
    }
    settled(&endpoint, before).await;
    let warm = resident_kib();
    for number in 0..60 {
        short_call(&endpoint, number).await;
    }
    settled(&endpoint, before).await;
    let after = resident_kib();
    println!("{before:?}; {warm} KiB after 12 calls, {after} KiB after 72");
    // A connection that stayed would hold some 500 KiB: 60 of them 30 MiB.
    assert!(after < warm + 4096, "{warm} KiB grew to {after} KiB in 60 calls");
}

//! Every way a call ends is noticed in time, and leaves nothing behind.
#![allow(clippy::disallowed_methods)]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use eva_voice::rtc::{Caller, CallerConfig, CloseReason, LegEvent, RtcEndpoint};

mod rtc_support;
use rtc_support::{call, endpoint, from_localhost, until, until_closed};

/// The endpoint forgets its calls within a second.
async fn forgets(endpoint: &RtcEndpoint) {
    let began = Instant::now();
    while endpoint.calls() > 0 {
        assert!(began.elapsed() < Duration::from_secs(1), "the call is still in the table");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn hangs_up(config: CallerConfig, expected: CloseReason) {
    let has_channel = config.data_channel;
    let endpoint = endpoint().await;
    let (mut near, mut far) = call(&endpoint, config).await;
    if has_channel {
        until(&mut near, |event| matches!(event, LegEvent::ChannelOpen)).await;
        until(&mut far, |event| matches!(event, LegEvent::ChannelOpen)).await;
    }
    let (far, mut far_events) = far.split();
    let began = Instant::now();
    far.close().await;
    assert_eq!(until_closed(&mut near).await, expected);
    let noticed = began.elapsed();
    println!("{expected:?} noticed after {noticed:?}");
    assert!(noticed < Duration::from_secs(1));
    assert!(near.next_event().await.is_none());
    loop {
        match far_events.next().await {
            Some(LegEvent::Closed(reason)) => break assert_eq!(reason, CloseReason::Local),
            Some(_) => {}
            None => panic!("closed without saying so"),
        }
    }
    forgets(&endpoint).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_data_channel_hangs_up() {
    hangs_up(from_localhost(), CloseReason::ChannelClosed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_data_channel_hangs_up_over_tcp() {
    let config = CallerConfig { tcp_only: true, ..from_localhost() };
    hangs_up(config, CloseReason::ChannelClosed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_data_channel_a_bye_hangs_up() {
    hangs_up(CallerConfig { data_channel: false, ..from_localhost() }, CloseReason::Bye).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_hanging_up_is_noticed_by_the_caller() {
    let endpoint = endpoint().await;
    let (near, mut far) = call(&endpoint, from_localhost()).await;
    let began = Instant::now();
    near.split().0.close().await;
    assert_eq!(endpoint.calls(), 0);
    until_closed(&mut far).await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_handles_hangs_up() {
    let endpoint = endpoint().await;
    let (near, mut far) = call(&endpoint, from_localhost()).await;
    drop(near);
    until_closed(&mut far).await;
    forgets(&endpoint).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_vanishes_is_noticed_within_ten_seconds() {
    let endpoint = endpoint().await;
    let (to_caller, answers) = mpsc::channel::<String>();
    let (to_gateway, offers) = mpsc::channel::<String>();
    // The caller lives in a runtime of its own, which is stopped without a word to anybody.
    let caller = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (caller, offer) = Caller::dial(from_localhost()).await.expect("an offer");
            to_gateway.send(offer).expect("the test waits");
            let answer = answers.recv().expect("an answer");
            let mut leg = caller.accept(&answer).await.expect("a fitting answer");
            until(&mut leg, |event| matches!(event, LegEvent::ChannelOpen)).await;
            std::mem::forget(leg);
        });
        runtime.shutdown_background();
    });
    let offer = tokio::task::block_in_place(|| offers.recv()).expect("an offer");
    let (mut near, answer) = endpoint.answer(&offer).await.expect("an answer");
    to_caller.send(answer).expect("the caller waits");
    until(&mut near, |event| matches!(event, LegEvent::ChannelOpen)).await;
    let began = Instant::now();
    assert_eq!(until_closed(&mut near).await, CloseReason::TimedOut);
    let noticed = began.elapsed();
    println!("noticed after {noticed:?}");
    assert!(noticed < Duration::from_secs(10));
    forgets(&endpoint).await;
    caller.join().expect("the caller's thread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_never_comes_is_given_up() {
    let endpoint = endpoint().await;
    let (caller, offer) = Caller::dial(from_localhost()).await.expect("an offer");
    let (mut near, _) = endpoint.answer(&offer).await.expect("an answer");
    caller.hang_up().await;
    assert_eq!(until_closed(&mut near).await, CloseReason::Failed);
    forgets(&endpoint).await;
}

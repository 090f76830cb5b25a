//! Whole calls with real models over real WebRTC: what people hear.

#![allow(clippy::disallowed_methods)]

mod common;
#[path = "rtc_support/mod.rs"]
mod rtc_support;

use std::time::Duration;

use common::{engines, engines_with_server, gateway, human, runtime, say, transcribe};
use eva_voice::bench::mock_llm::{MockConfig, MockLlm};
use eva_voice::headless::{HeadlessCall, Options};
use rtc_support::Network;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// Each sentence comes with a track of shapes, without gaps, that lasts as long as its words.
fn the_mouth_moves_with_the_words(told: &[Value]) {
    let of = |kind| told.iter().filter(move |event| event["type"] == kind);
    assert_eq!(of("eva.words").count(), of("eva.viseme").count());
    for (words, shapes) in of("eva.words").zip(of("eva.viseme")) {
        assert_eq!(words["reply_id"], shapes["reply_id"]);
        let (words, track) = (&words["words"], shapes["track"].as_array().expect("a track"));
        let last = words.as_array().and_then(|words| words.last()).expect("a word");
        let end = track.last().expect("a shape")["end"].as_u64();
        assert!(track[0]["start"].as_u64() <= words[0]["start"].as_u64(), "{shapes}");
        assert!(end >= last["end"].as_u64(), "{shapes}");
        assert!(track.windows(2).all(|pair| pair[0]["end"] == pair[1]["start"]), "{shapes}");
        assert!(track.iter().any(|shape| shape["id"] != "sil"), "{shapes}");
    }
}

#[test]
fn a_question_is_answered_by_voice_with_real_models() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let question = say("What is the capital of France?").await;
        let mut call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        let report = call.ask(&question, PATIENCE).await;
        assert!(report.understood.to_lowercase().contains("capital"), "{report:?}");
        assert!(report.voice_to_voice_ms.is_some(), "{report:?}");
        let heard = transcribe(call.recording()).await;
        assert!(heard.contains("paris"), "heard {heard:?}, {report:?}");
        the_mouth_moves_with_the_words(call.log());
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn a_human_voice_is_understood_and_answered() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let mut call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        let report = call.ask(&human("vm-goodbye.wav"), PATIENCE).await;
        assert!(report.understood.to_lowercase().contains("goodbye"), "{report:?}");
        assert!(report.voice_to_voice_ms.is_some(), "{report:?}");
        assert!(!transcribe(call.recording()).await.is_empty(), "{report:?}");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn a_question_is_understood_with_a_fifth_of_all_packets_lost_and_40_ms_jitter() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let udp = gateway.gateway.endpoint().udp_addr();
        let network = Network::new(udp, 0.2, Duration::from_millis(40)).await;
        let options = Options { via: Some(network.address), ..Options::default() };
        let mut call = HeadlessCall::dial(&gateway.url, &options).await.expect("a call");
        let report = call.ask(&say("What is the capital of France?").await, PATIENCE).await;
        assert!(report.understood.to_lowercase().contains("capital"), "{report:?}");
        assert!(report.voice_to_voice_ms.is_some(), "{report:?}");
        call.run_for(&[], Duration::from_secs(1)).await;
        assert!(!call.is_closed(), "the call stays up");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn nothing_outlives_a_call() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let talk = async |count: usize| {
            for _ in 0..count {
                let mut call =
                    HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
                call.run_for(&[], Duration::from_millis(150)).await;
                call.hang_up().await.expect("hung up");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux").count();
            (tokio::runtime::Handle::current().metrics().num_alive_tasks(), descriptors, rss_kib())
        };
        let (tasks, descriptors, memory) = talk(10).await;
        let (tasks_after, descriptors_after, memory_after) = talk(30).await;
        assert_eq!(gateway.gateway.active(), 0);
        // Other tests of this program come and go beside this one: what 30 calls would leave
        // behind is more than they take.
        assert!(tasks_after < tasks + 15, "tasks: {tasks}, then {tasks_after}");
        assert!(descriptors_after < descriptors + 15, "{descriptors}, then {descriptors_after}");
        assert!(memory_after < memory + 20_000, "KiB: {memory}, then {memory_after}");
        gateway.shut_down().await;
    });
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn two_calls_at_once_are_both_answered_over_udp_and_over_tcp() {
    runtime().block_on(async {
        let mock = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(engines_with_server(mock.url())).await;
        for tcp_only in [false, true] {
            let options = Options { tcp_only, ..Options::default() };
            let (one, two) =
                (say("How are you today?").await, say("What can you do for me?").await);
            let ask = async |sound: Vec<f32>| {
                let mut call = HeadlessCall::dial(&gateway.url, &options).await.expect("a call");
                let report = call.ask(&sound, PATIENCE).await;
                call.hang_up().await.expect("hung up");
                report
            };
            for report in <[_; 2]>::from(tokio::join!(ask(one), ask(two))) {
                assert!(report.voice_to_voice_ms.is_some(), "tcp {tcp_only}: {report:?}");
            }
        }
        gateway.shut_down().await;
    });
}

#[test]
fn a_late_reply_has_a_filler_before_it_and_one_in_time_has_none() {
    runtime().block_on(async {
        for (first_token_ms, fills) in [(1_500, true), (50, false)] {
            let config = MockConfig { first_token_ms, ..MockConfig::default() };
            let mock = MockLlm::start(config).await.expect("a brain");
            let engines = engines_with_server(mock.url());
            let clips = engines.clips.clone();
            let patience = tokio::time::Instant::now() + PATIENCE;
            while clips.all().len() < 10 && tokio::time::Instant::now() < patience {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let gateway = gateway(engines).await;
            let mut call =
                HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
            let report = call.ask(&say("How are you today?").await, PATIENCE).await;
            assert_eq!(report.filler_ms.is_some(), fills, "{report:?}");
            let answered = report.voice_to_voice_ms.expect("an answer");
            if let Some(filled) = report.filler_ms {
                assert!(filled < answered && answered > 1_500.0, "{report:?}");
                let said = call.log().iter().find(|event| event["type"] == "eva.filler").cloned();
                let said =
                    said.expect("it was announced")["text"].as_str().unwrap_or("").to_owned();
                assert!(!said.is_empty() && !report.answered.contains(&said), "{report:?}");
            }
            call.hang_up().await.expect("hung up");
            gateway.shut_down().await;
        }
    });
}

#[test]
fn speech_over_a_reply_stops_it_and_the_history_keeps_what_was_heard() {
    runtime().block_on(async {
        let mock = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(engines_with_server(mock.url())).await;
        let mut call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        let question = say("Can you tell me a story about a fox?").await;
        let interruption = say("Wait, tell me about the weather in London instead.").await;
        let asking = call.ask(&question, Duration::ZERO).await;
        assert!(!asking.taken_over);
        // Until EVA speaks, then over her.
        while !call.log().iter().any(|event| event["type"] == "eva.words") {
            call.run_for(&[], Duration::from_millis(20)).await;
        }
        call.run_for(&[], Duration::from_millis(600)).await;
        let report = call.ask(&interruption, PATIENCE).await;
        let cut = call.log().iter().find(|event| event["type"] == "eva.cut").cloned();
        let cut = cut.unwrap_or_else(|| panic!("the reply goes on: {report:?}"));
        let heard = cut["heard_text"].as_str().expect("a text").to_owned();
        assert!(report.understood.to_lowercase().contains("weather"), "{report:?}");
        let prompt = mock.seen().last_request.to_string();
        assert!(prompt.contains(&heard), "the history holds {heard:?}: {prompt}");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn a_call_ends_when_the_caller_hangs_up_one_way_or_the_other() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        for by_request in [true, false] {
            let call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
            assert_eq!(gateway.gateway.active(), 1);
            if by_request {
                call.hang_up().await.expect("hung up");
            } else {
                call.close().await;
            }
            let noticed = tokio::time::timeout(Duration::from_secs(1), async {
                while gateway.gateway.active() > 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            noticed
                .await
                .unwrap_or_else(|_| panic!("by request {by_request}: still there after 1 s"));
        }
        gateway.shut_down().await;
    });
}

#[test]
fn the_gateway_hangs_up_when_it_shuts_down() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let mut call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        gateway.shut_down().await;
        call.run_for(&[], Duration::from_secs(2)).await;
        assert!(call.is_closed());
    });
}

//! Whole calls with real models over real WebRTC: what people hear.

#![allow(clippy::disallowed_methods)]

mod common;
#[path = "rtc_support/mod.rs"]
mod rtc_support;

use std::sync::Arc;
use std::time::Duration;

use common::{engines, engines_with_server, gateway, human, runtime, say, transcribe};
use eva_voice::bench::local::LocalGateway;
use eva_voice::bench::mock_llm::{MockConfig, MockLlm};
use eva_voice::call::CallSettings;
use eva_voice::headless::{HeadlessCall, Options};
use eva_voice::personas::Personas;
use eva_voice::signaling::Access;
use rtc_support::Network;
use serde_json::{Value, json};

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

/// A call with a scripted brain.
async fn dial(gateway: &LocalGateway, options: &Options) -> HeadlessCall {
    HeadlessCall::dial(&gateway.url, options).await.expect("a call")
}

fn told<'a>(call: &'a HeadlessCall, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    call.log().iter().filter(move |event| event["type"] == kind)
}

/// Waits until so many events of a kind were told.
async fn wait_for(call: &mut HeadlessCall, kind: &str, count: usize) -> Value {
    let there = call.run_until(PATIENCE, |call| told(call, kind).count() >= count).await;
    assert!(there, "no {kind} number {count}: {:?}", call.log());
    told(call, kind).nth(count - 1).cloned().unwrap_or_default()
}

/// Waits until EVA has said all and listens.
async fn heard_out(call: &mut HeadlessCall) {
    let quiet = |call: &HeadlessCall| {
        call.state() == "listening" && call.quiet_for() > Duration::from_millis(300)
    };
    assert!(call.run_until(PATIENCE, quiet).await, "she goes on: {:?}", call.log());
}

/// Sends a frame, and waits for the error that answers it.
async fn refused(call: &mut HeadlessCall, frame: Value, code: &str) -> String {
    let before = told(call, "eva.error").count();
    call.tell(&frame);
    let error = wait_for(call, "eva.error", before + 1).await;
    assert_eq!(error["code"], code, "{frame}: {error}");
    error["message"].as_str().expect("a sentence").to_owned()
}

#[test]
fn typed_words_stop_her_and_are_answered_aloud() {
    runtime().block_on(async {
        let mock = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(engines_with_server(mock.url())).await;
        let mut call = dial(&gateway, &Options::default()).await;
        call.tell(&json!({"type": "eva.say", "text": " What is the capital of France? "}));
        let said = wait_for(&mut call, "eva.final", 1).await;
        assert_eq!(said["text"], "What is the capital of France?");
        assert_eq!(said["typed"], true);
        wait_for(&mut call, "eva.words", 1).await;
        call.run_for(&[], Duration::from_millis(900)).await;
        call.tell(&json!({"type": "eva.say", "text": "And of Spain?"}));
        let cut = wait_for(&mut call, "eva.cut", 1).await;
        wait_for(&mut call, "eva.words", 2).await;
        heard_out(&mut call).await;
        let messages = mock.seen().last_request["messages"].clone();
        let heard = cut["heard_text"].as_str().expect("a text");
        let expected = ["What is the capital of France?", heard, "And of Spain?"];
        let texts: Vec<_> = messages.as_array().expect("messages")[1..]
            .iter()
            .filter_map(|message| message["content"].as_str())
            .collect();
        assert_eq!(texts, expected);
        for latency in told(&call, "eva.latency") {
            let parts = &latency["parts_ms"];
            assert_eq!((&parts["pause"], &parts["words"]), (&json!(0.0), &json!(0.0)));
            assert!(latency["total_ms"].as_f64().is_some_and(|ms| ms > 50.0), "{latency}");
        }
        assert_eq!(told(&call, "eva.latency").count(), 2);
        let heard = transcribe(call.recording()).await;
        assert!(heard.contains("ready for you"), "heard {heard:?}");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn with_a_button_only_what_is_said_while_it_is_down_counts() {
    runtime().block_on(async {
        let mock = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(engines_with_server(mock.url())).await;
        let options = Options { push_to_talk: true, ..Options::default() };
        let mut call = dial(&gateway, &options).await;
        let question = say("What can you do for me today?").await;
        let (press, release) = (json!({"type": "eva.press"}), json!({"type": "eva.release"}));
        // The button is up, then down without a word, then down by mistake.
        call.run_for(&question, Duration::from_millis(3_000)).await;
        assert!(told(&call, "eva.partial").next().is_none(), "{:?}", call.log());
        for (presses, held) in [(1, 600), (2, 20)] {
            call.tell(&press);
            call.run_for(&[], Duration::from_millis(held)).await;
            call.tell(&release);
            let nothing = wait_for(&mut call, "eva.partial", presses).await;
            assert_eq!(nothing["text"], "");
            assert!(call.run_until(PATIENCE, |call| call.state() == "listening").await);
        }
        assert_eq!(mock.seen().requests, 0);
        // A question that seems to go on: the button says that it is over.
        let open = say("Can you please tell me something about the long history of the").await;
        call.tell(&press);
        // People let go a moment after their last word.
        let length = Duration::from_secs_f64(open.len() as f64 / 48_000.0 + 0.3);
        call.run_for(&open, length).await;
        call.tell(&release);
        let latency = wait_for(&mut call, "eva.latency", 1).await;
        assert!(told(&call, "eva.partial").any(|partial| partial["text"] != ""), "words so far");
        let pause = latency["parts_ms"]["pause"].as_f64().expect("a part");
        assert!((140.0..300.0).contains(&pause), "{latency}");
        assert!(latency["parts_ms"]["committed"].as_f64() < Some(20.0), "{latency}");
        println!("from the release to the first sound: {latency}");
        // Pressed again, she stops; the history has what was heard.
        call.run_for(&[], Duration::from_millis(900)).await;
        call.tell(&press);
        let cut = wait_for(&mut call, "eva.cut", 1).await;
        assert!(call.run_until(PATIENCE, |call| call.state() == "hearing").await);
        call.run_for(&say("Yes, please.").await, Duration::from_millis(1_300)).await;
        call.tell(&release);
        wait_for(&mut call, "eva.latency", 2).await;
        heard_out(&mut call).await;
        let prompt = mock.seen().last_request["messages"].to_string();
        let heard = cut["heard_text"].as_str().expect("a text");
        assert!(heard.starts_with("Answer number one"), "{heard}");
        assert!(prompt.contains(&format!("\"{heard}\"")), "{heard:?}: {prompt}");
        // Without the button her turn ends as usual.
        call.tell(&json!({"type": "eva.push_to_talk", "on": false}));
        assert_eq!(wait_for(&mut call, "eva.configured", 1).await["push_to_talk"], false);
        let report = call.ask(&question, PATIENCE).await;
        assert!(report.understood.to_lowercase().contains("what can you do"), "{report:?}");
        println!("from the last sound to the first, without a button: {:?}", report.parts_ms);
        call.tell(&json!({"type": "eva.push_to_talk", "on": true}));
        wait_for(&mut call, "eva.configured", 2).await;
        call.tell(&press);
        call.run_for(&question, Duration::from_millis(2_500)).await;
        call.tell(&release);
        let last = wait_for(&mut call, "eva.latency", 4).await;
        println!("from the release to the first sound: {last}");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn a_persona_has_its_own_voice_unless_the_caller_names_one() {
    runtime().block_on(async {
        let mock = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let text = |name: &str, voice: &str| {
            format!(
                "[[persona]]\nname = \"{name}\"\ntitle.en = \"{name}\"\nvoice = \"{voice}\"\n\
                     instructions.en = \"You are {name}.\"\ntemperature = 0.7\n"
            )
        };
        let list = text("quick", "en_US-joe-medium@1.5") + &text("absent", "en_US-nobody-high");
        let personas = Arc::new(Personas::read(&list).expect("a list"));
        let engines = engines_with_server(mock.url());
        let call =
            CallSettings { persona: personas.default_one().clone(), ..CallSettings::default() };
        let gateway = LocalGateway::start_changed(engines, call, 8, Access::open(), |config| {
            config.personas = personas;
        });
        let gateway = gateway.await.expect("a gateway");
        for (persona, voice, expected) in [
            (None, None, "en_US-joe-medium@1.5"),
            (None, Some("en_US-joe-medium@0.9"), "en_US-joe-medium@0.9"),
            (Some("absent"), None, "en_US-joe-medium"),
        ] {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let options =
                Options { persona: owned(persona), voice: owned(voice), ..Options::default() };
            let mut call = dial(&gateway, &options).await;
            let ready = wait_for(&mut call, "eva.ready", 1).await;
            assert_eq!(
                (&ready["voice"], &ready["persona"]),
                (&json!(expected), &json!(persona.unwrap_or("quick")))
            );
            call.tell(&json!({"type": "eva.say", "text": "Who are you?"}));
            wait_for(&mut call, "eva.words", 1).await;
            let request = mock.seen().last_request;
            let system = request["messages"][0]["content"].as_str().expect("instructions");
            assert_eq!(system, format!("You are {}.", persona.unwrap_or("quick")));
            assert!((request["temperature"].as_f64().expect("a number") - 0.7).abs() < 1e-3);
            call.hang_up().await.expect("hung up");
        }
        let info: Value = reqwest::get(format!("{}/info", gateway.url))
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!((&info["persona"], &info["languages"]), (&json!("quick"), &json!(["en"])));
        assert_eq!((&info["keeps_days"], &info["recording"]), (&json!(0), &json!(false)));
        let voice = json!({"name": "en_US-joe-medium", "language": "en", "speakers": 1});
        assert!(info["voices"].as_array().is_some_and(|voices| voices.contains(&voice)), "{info}");
        assert_eq!(
            info["personas"][1],
            json!({
                "name": "absent",
                "title": {"en": "absent", "fr": "absent"},
                "description": {"en": "", "fr": ""},
            })
        );
        gateway.shut_down().await;
    });
}

#[test]
fn voice_and_persona_change_in_a_call_and_what_cannot_be_is_refused() {
    runtime().block_on(async {
        let mock = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(engines_with_server(mock.url())).await;
        let options = Options { persona: Some("teacher".to_owned()), ..Options::default() };
        let mut call = dial(&gateway, &options).await;
        assert_eq!(wait_for(&mut call, "eva.ready", 1).await["persona"], "teacher");
        let mut lengths = Vec::new();
        for (wish, teaches) in [
            (json!({"type": "eva.configure", "language": "en"}), true),
            (json!({"type": "eva.configure", "voice": "en_US-joe-medium@2"}), true),
            (json!({"type": "eva.configure", "persona": "", "voice": ""}), false),
        ] {
            let turn = lengths.len() + 1;
            call.tell(&wish);
            let now = wait_for(&mut call, "eva.configured", turn).await;
            assert_eq!(now["persona"], if teaches { "teacher" } else { "eva" }, "{now}");
            call.tell(&json!({"type": "eva.say", "text": "Go on."}));
            // Two sentences a reply; the first ones have the same number of words.
            let words = wait_for(&mut call, "eva.words", 2 * turn - 1).await;
            lengths.push(
                words["words"].as_array().and_then(|w| w.last()).cloned().unwrap_or_default(),
            );
            wait_for(&mut call, "eva.words", 2 * turn).await;
            heard_out(&mut call).await;
            let system = mock.seen().last_request["messages"][0]["content"].to_string();
            assert_eq!(system.contains("patient teacher"), teaches, "{system}");
        }
        let lengths: Vec<f64> = lengths.iter().filter_map(|word| word["end"].as_f64()).collect();
        assert!(lengths[1] < 0.7 * lengths[0] && lengths[1] < 0.7 * lengths[2], "{lengths:?}");
        let configure = |field: &str, value: &str| json!({"type": "eva.configure", field: value});
        for (frame, code, says) in [
            (configure("voice", "nobody"), "bad_voice", "en_US-joe-medium"),
            (configure("voice", "en_US-joe-medium@fast"), "bad_voice", "no speed"),
            (configure("language", "fr"), "bad_language", "English only"),
            (configure("language", "xx"), "bad_language", "en, fr or auto"),
            (configure("persona", "captain"), "bad_persona", "eva, brief"),
            (json!({"type": "eva.press"}), "bad_event", "eva.push_to_talk"),
            (json!({"type": "eva.say", "text": ""}), "bad_event", "write some words"),
            (json!({"type": "session.update"}), "bad_event", "eva.configure"),
            (json!("eva.say"), "bad_event", "type"),
        ] {
            let sentence = refused(&mut call, frame, code).await;
            assert!(sentence.contains(says) && sentence.ends_with('.'), "{sentence}");
            call.run_for(&[], Duration::from_millis(260)).await;
        }
        assert_eq!(told(&call, "eva.configured").count(), 3, "nothing else has changed");
        // A flood costs the client its answers, and nobody the call.
        let before = told(&call, "eva.error").count();
        (0..500).for_each(|_| call.tell(&json!({"type": "eva.nonsense"})));
        call.run_for(&[], Duration::from_millis(500)).await;
        assert!((2..20).contains(&(told(&call, "eva.error").count() - before)));
        call.run_for(&[], Duration::from_millis(1_000)).await;
        call.tell(&json!({"type": "eva.say", "text": "Are you there?"}));
        wait_for(&mut call, "eva.words", 7).await;
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

//! Calls in French, and calls whose language is found out, with the multilingual recogniser.
//!
//! No French voice is among the default models: what EVA says is checked as text.

#![allow(clippy::disallowed_methods)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{engines_with_server, human, human_french, runtime};
use eva_voice::bench::local::LocalGateway;
use eva_voice::bench::mock_llm::{MockConfig, MockLlm};
use eva_voice::call::{CallSettings, Engines};
use eva_voice::headless::{HeadlessCall, Options, TurnReport};
use eva_voice::listening::whisper::{WhisperEngines, WhisperPaths};
use eva_voice::models::{WHISPER_BASE, default_dir};
use eva_voice::signaling::Access;

const PATIENCE: Duration = Duration::from_secs(30);

/// Engines that hear both languages, with the scripted brain.
fn engines(brain: &MockLlm) -> Engines {
    let multilingual = Some(default_dir().join(WHISPER_BASE));
    let whisper = WhisperEngines::start(WhisperPaths { en: None, multilingual })
        .expect("the multilingual recogniser: run `eva models pull --all`");
    whisper.warm_up().expect("a warm recogniser");
    Engines { transcriber: Arc::new(whisper), ..engines_with_server(brain.url()) }
}

async fn gateway(brain: &MockLlm) -> LocalGateway {
    LocalGateway::start_multilingual(engines(brain), CallSettings::default(), 8, Access::open())
        .await
        .expect("a gateway on 127.0.0.1")
}

async fn ask(gateway: &LocalGateway, language: &str, sounds: &[Vec<f32>]) -> Vec<TurnReport> {
    let options = Options { language: Some(language.to_owned()), ..Options::default() };
    let mut call = HeadlessCall::dial(&gateway.url, &options).await.expect("a call");
    let mut reports = Vec::new();
    for sound in sounds {
        reports.push(call.ask(sound, PATIENCE).await);
    }
    call.hang_up().await.expect("hung up");
    reports
}

#[test]
fn a_french_call_is_understood_and_the_brain_is_told_to_speak_french() {
    runtime().block_on(async {
        let brain = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(&brain).await;
        let reports = ask(&gateway, "fr", &[human_french("vm-goodbye.wav")]).await;
        let understood = reports[0].understood.to_lowercase();
        assert!(understood.contains("revoir"), "{reports:?}");
        assert!(reports[0].voice_to_voice_ms.is_some(), "{reports:?}");
        let request = brain.seen().last_request.to_string();
        assert!(request.contains("Réponds en français"), "{request}");
        gateway.shut_down().await;
    });
}

#[test]
fn a_call_finds_out_which_language_is_spoken_turn_by_turn() {
    runtime().block_on(async {
        let brain = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(&brain).await;
        let sounds = [human_french("vm-nobodyavail.wav"), human("vm-goodbye.wav")];
        let reports = ask(&gateway, "auto", &sounds).await;
        assert!(reports[0].understood.to_lowercase().contains("personne"), "{reports:?}");
        assert!(reports[1].understood.to_lowercase().contains("bye"), "{reports:?}");
        let request = brain.seen().last_request.to_string();
        assert!(request.contains("the language the person"), "{request}");
        gateway.shut_down().await;
    });
}

#[test]
fn the_language_changes_in_a_call() {
    runtime().block_on(async {
        let brain = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let gateway = gateway(&brain).await;
        let options = Options { language: Some("en".to_owned()), ..Options::default() };
        let mut call = HeadlessCall::dial(&gateway.url, &options).await.expect("a call");
        call.tell(&serde_json::json!({"type": "eva.configure", "language": "fr"}));
        let configured = call.run_until(PATIENCE, |call| {
            let is_french = |event: &serde_json::Value| event["language"] == "fr";
            call.log().iter().any(|event| event["type"] == "eva.configured" && is_french(event))
        });
        assert!(configured.await, "{:?}", call.log());
        let report = call.ask(&human_french("vm-goodbye.wav"), PATIENCE).await;
        assert!(report.understood.to_lowercase().contains("revoir"), "{report:?}");
        let request = brain.seen().last_request.to_string();
        assert!(request.contains("Réponds en français"), "{request}");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

//! A language model that fails: EVA says so, and the call lives on.

mod common;

use std::time::Duration;

use common::{engines_with_server, gateway, runtime, say, transcribe};
use eva_voice::bench::mock_llm::{Fault, MockConfig, MockLlm};
use eva_voice::headless::{HeadlessCall, Options};

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks one question of a gateway whose brain is at `url`; what EVA said and the errors she told.
async fn ask(url: &str) -> (String, Vec<String>) {
    let gateway = gateway(engines_with_server(url)).await;
    let mut call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
    let report = call.ask(&say("What is the capital of France?").await, PATIENCE).await;
    assert!(!call.is_closed(), "the call lives on");
    let heard = transcribe(call.recording()).await;
    call.hang_up().await.expect("hung up");
    gateway.shut_down().await;
    (heard, report.errors)
}

#[test]
fn a_server_that_is_down_gives_an_apology() {
    runtime().block_on(async {
        let (heard, errors) = ask("http://127.0.0.1:9").await;
        assert!(heard.contains("sorry"), "heard {heard:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    });
}

#[test]
fn a_server_that_stalls_in_mid_stream_gives_what_came_and_an_apology() {
    runtime().block_on(async {
        let config = MockConfig { then: Some(Fault::StallAfter(12)), ..MockConfig::default() };
        let mock = MockLlm::start(config).await.expect("a brain");
        let (heard, errors) = ask(mock.url()).await;
        assert!(heard.contains("sorry"), "heard {heard:?}");
        assert!(heard.split_whitespace().count() > 8, "the first sentence is heard: {heard:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    });
}

#[test]
fn a_server_that_breaks_off_gives_an_apology() {
    runtime().block_on(async {
        let config = MockConfig { then: Some(Fault::DropAfter(4)), ..MockConfig::default() };
        let mock = MockLlm::start(config).await.expect("a brain");
        let (heard, _) = ask(mock.url()).await;
        assert!(heard.contains("sorry"), "heard {heard:?}");
    });
}

//! The client against the scripted server, with everything that can go wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{OpenAi, OpenAiConfig, api_key};
use crate::bench::mock_llm::{Fault, MockConfig, MockLlm, Style, reply_tokens};
use crate::ids::{CallId, ReplyId};
use crate::private::Private;
use crate::thinking::history::History;
use crate::thinking::{Llm, LlmError, LlmEvent, Message, Offer, Prompt, Usage};

/// No answer in these tests takes longer.
const LONG: Duration = Duration::from_secs(10);

/// A brain that answers at once, so that tests are quick.
fn quick() -> MockConfig {
    MockConfig { first_token_ms: 0, token_ms: 0, ..MockConfig::default() }
}

async fn mock(config: MockConfig) -> MockLlm {
    let _ = rustls::crypto::ring::default_provider().install_default();
    MockLlm::start(config).await.unwrap()
}

async fn failing(fault: Fault) -> MockLlm {
    mock(MockConfig { then: Some(fault), ..quick() }).await
}

fn client(mock: &MockLlm) -> OpenAi {
    let mut config = OpenAiConfig::new(mock.url());
    config.first_token_timeout = Duration::from_millis(400);
    config.stall_timeout = Duration::from_millis(300);
    OpenAi::new(config).unwrap()
}

fn prompt(messages: Vec<Message>) -> Prompt {
    Prompt {
        call: CallId::random(),
        messages,
        offer: Offer::default(),
        max_tokens: 200,
        temperature: 0.7,
    }
}

fn ask(words: &str) -> Prompt {
    prompt(History::new("Be brief.").prompt_with(words))
}

/// The whole text of a reply and how it ended.
async fn read(client: &OpenAi, prompt: Prompt) -> (String, Result<Usage, LlmError>) {
    let mut events = client.reply(prompt);
    let mut text = String::new();
    loop {
        match timeout(LONG, events.recv()).await.expect("the reply ends") {
            Some(LlmEvent::Text(part)) => text.push_str(part.reveal()),
            Some(LlmEvent::ToolCall(call)) => panic!("nothing was offered: {call:?}"),
            Some(LlmEvent::Done(usage)) => return (text, Ok(usage)),
            Some(LlmEvent::Failed(error)) => return (text, Err(error)),
            None => panic!("a reply ends with Done or Failed"),
        }
    }
}

fn first_tokens(n: usize, of_reply: usize) -> String {
    reply_tokens(of_reply)[..n].concat()
}

#[tokio::test]
async fn a_reply_comes_whole_with_its_usage() {
    let mock = mock(quick()).await;
    let (text, end) = read(&client(&mock), ask("How are you?")).await;
    assert_eq!(text, reply_tokens(1).concat());
    let usage = Usage { prompt_tokens: 40, cached_tokens: 32, completion_tokens: 23 };
    assert_eq!(end.unwrap(), usage);
    let request = mock.seen().last_request;
    assert_eq!(request["model"], "mock-23-tokens");
    assert_eq!(request["messages"][1]["content"], "How are you?");
    assert_eq!(request["messages"][1]["role"], "user");
    assert_eq!((&request["max_tokens"], &request["stream"]), (&200.into(), &true.into()));
    assert_eq!(mock.seen().last_key, None, "no key, no header");
}

#[tokio::test]
async fn servers_that_leave_out_or_add_things_are_understood() {
    for style in [Style::Bare, Style::Chatty] {
        let mock = mock(MockConfig { style, ..quick() }).await;
        let (text, end) = read(&client(&mock), ask("Hello there")).await;
        assert_eq!(text, reply_tokens(1).concat(), "{style:?}");
        assert_eq!(end.unwrap().completion_tokens, 23, "{style:?}");
    }
}

#[tokio::test]
async fn fields_that_a_server_does_not_take_are_left_out_from_then_on() {
    for field in ["stream_options", "temperature", "max_tokens"] {
        let mock = failing(Fault::RefuseField(field)).await;
        let client = client(&mock);
        let (text, end) = read(&client, ask("Hello there")).await;
        assert!(end.is_ok() && !text.is_empty(), "{field}");
        assert_eq!(mock.seen().requests, 2);
        assert!(mock.seen().last_request.get(field).is_none());
        assert!(read(&client, ask("Hello again")).await.1.is_ok());
        assert_eq!(mock.seen().requests, 3, "{field} is remembered");
    }
}

#[tokio::test]
async fn a_server_that_is_down_fails_with_its_address() {
    let mock = mock(quick()).await;
    let client = client(&mock);
    assert!(read(&client, ask("Hello")).await.1.is_ok());
    let url = mock.url().to_owned();
    mock.stop().await;
    let (text, end) = read(&client, ask("Hello")).await;
    let sentence = end.unwrap_err().to_string();
    assert!(text.is_empty() && sentence.contains(&url) && sentence.contains("refused"));
}

#[tokio::test]
async fn a_server_that_says_nothing_stalls_and_is_asked_once() {
    let mut config = OpenAiConfig::new("");
    for fault in [Fault::SilentHead, Fault::StallAfter(0)] {
        let mock = failing(fault.clone()).await;
        config.url = mock.url().to_owned();
        config.first_token_timeout = Duration::from_millis(1100);
        let (text, end) = read(&OpenAi::new(config.clone()).unwrap(), ask("Hello")).await;
        assert!(text.is_empty() && matches!(end, Err(LlmError::Stalled(1))), "{fault:?}: {end:?}");
        assert_eq!(mock.seen().requests, 1);
    }
}

#[tokio::test]
async fn what_came_before_a_failure_stays() {
    let cases = [
        (Fault::StallAfter(5), "silent"),
        (Fault::DropAfter(5), "broke off"),
        (Fault::GarbageAfter(5, "my secret words"), "not JSON"),
        (Fault::ErrorAfter(5), "out of memory"),
    ];
    for (fault, reason) in cases {
        let mock = failing(fault.clone()).await;
        let (text, end) = read(&client(&mock), ask("Hello")).await;
        assert_eq!(text, first_tokens(5, 1), "{fault:?}");
        let sentence = end.unwrap_err().to_string();
        assert!(sentence.contains(reason) && !sentence.contains("secret"), "{fault:?}: {sentence}");
        assert_eq!(mock.seen().requests, 1, "not asked again: {fault:?}");
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_once_more() {
    let passing = [
        Fault::DropAfter(0),
        Fault::Refuse(503, "loading", None),
        Fault::Refuse(502, "", Some(0)),
        Fault::Refuse(429, "slow down", Some(0)),
    ];
    for fault in passing {
        let faults = vec![fault.clone()];
        let mock = mock(MockConfig { faults, ..quick() }).await;
        let (text, end) = read(&client(&mock), ask("Hello")).await;
        assert!(end.is_ok() && text == reply_tokens(2).concat(), "{fault:?}: {end:?}");
        let mock = failing(fault.clone()).await;
        assert!(read(&client(&mock), ask("Hello")).await.1.is_err());
        assert_eq!(mock.seen().requests, 2, "only once more: {fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_says_why() {
    let cases = [
        (Fault::Refuse(429, "quota", Some(30)), "(429): quota"),
        (Fault::Refuse(500, "boom", None), "(500): boom"),
        (Fault::Refuse(404, "no such model", None), "no such model"),
        (Fault::Refuse(401, "bad key sk-abc", None), "set EVA_LLM_API_KEY"),
        (Fault::Refuse(400, "you said: tell me a secret about", None), "quotes the conversation"),
    ];
    for (fault, reason) in cases {
        let mock = failing(fault.clone()).await;
        let (_, end) = read(&client(&mock), ask("tell me a secret about cats")).await;
        let sentence = end.unwrap_err().to_string();
        assert!(sentence.contains(reason) && !sentence.contains("sk-abc"), "{sentence}");
        assert_eq!(mock.seen().requests, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_empty_reply_is_a_failure() {
    let mock = failing(Fault::Empty).await;
    let (_, end) = read(&client(&mock), ask("Hello")).await;
    assert!(end.unwrap_err().to_string().contains("empty"));
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_given_a_rest_and_found_again() {
    let faults = vec![Fault::StallAfter(0); 3];
    let mock = mock(MockConfig { faults, ..quick() }).await;
    let mut config = OpenAiConfig::new(mock.url());
    config.first_token_timeout = Duration::from_millis(100);
    config.rest = Duration::from_millis(500);
    let client = OpenAi::new(config).unwrap();
    for _ in 0..3 {
        assert!(matches!(read(&client, ask("Hello")).await.1, Err(LlmError::Stalled(_))));
    }
    let failed = Instant::now();
    let mut at_once = 0;
    while read(&client, ask("Hello")).await.1.is_err() {
        at_once += 1;
        assert_eq!(mock.seen().requests, 3, "the server is not asked");
        tokio::task::yield_now().await;
    }
    assert!(at_once > 2 && failed.elapsed() > Duration::from_millis(400));
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_before_the_rest_is_over() {
    let server = mock(quick()).await;
    let mut config = OpenAiConfig::new(server.url());
    config.rest = Duration::from_secs(600);
    let port = config.url.rsplit(':').next().unwrap().trim_end_matches("/v1").parse().unwrap();
    let client = OpenAi::new(config).unwrap();
    client.warm_up().await.unwrap();
    server.stop().await;
    for _ in 0..3 {
        assert!(read(&client, ask("Hello")).await.1.is_err());
    }
    let server = mock(MockConfig { port, ..quick() }).await;
    let back = async {
        while read(&client, ask("Hello")).await.1.is_err() {
            assert_eq!(server.seen().requests, 0, "replies fail at once until it is found");
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, back).await.unwrap();
}

#[tokio::test]
async fn a_dropped_reply_is_withdrawn_at_the_server_at_once() {
    for fault in [Fault::Fine, Fault::StallAfter(3)] {
        let config = MockConfig { token_ms: 50, then: Some(fault), ..quick() };
        let mock = mock(config).await;
        let client = client(&mock);
        let mut events = client.reply(ask("Hello"));
        assert!(matches!(timeout(LONG, events.recv()).await.unwrap(), Some(LlmEvent::Text(_))));
        let dropped = Instant::now();
        drop(events);
        let seen = timeout(LONG, mock.wait_until(|seen| seen.withdrawn == 1)).await.unwrap();
        assert_eq!(seen.finished, 0);
        assert!(dropped.elapsed() < Duration::from_millis(300), "{:?}", dropped.elapsed());
    }
}

#[tokio::test]
async fn one_connection_serves_all_turns() {
    let mock = mock(quick()).await;
    let client = client(&mock);
    client.warm_up().await.unwrap();
    for _ in 0..5 {
        assert!(read(&client, ask("Hello")).await.1.is_ok());
    }
    assert_eq!(mock.connections(), 1);
}

#[tokio::test]
async fn warming_up_names_the_model_or_says_what_there_is() {
    let models = ["nomic-embed-text", "llama3.2:latest", "qwen-instruct"].map(str::to_owned);
    let mock = mock(MockConfig { models: models.to_vec(), ..quick() }).await;
    let with_model = |model: &str| {
        let mut config = OpenAiConfig::new(mock.url());
        config.model = Some(model.to_owned());
        OpenAi::new(config).unwrap()
    };
    let found = client(&mock).warm_up().await.unwrap();
    assert_eq!(found.model, "qwen-instruct");
    assert!(found.to_string().contains("one of 3; choose another with --llm-model"));
    assert_eq!(mock.seen().last_request["max_tokens"], 1, "the model is loaded with one token");
    let found = with_model("llama3.2").warm_up().await.unwrap();
    assert!(found.model == "llama3.2" || found.model == "llama3.2:latest");
    let error = with_model("gpt-9").warm_up().await.unwrap_err().to_string();
    assert!(error.contains("gpt-9") && error.contains("qwen-instruct"), "{error}");
}

#[tokio::test]
async fn warming_up_reports_a_server_without_models_and_one_that_is_down() {
    let server = mock(MockConfig { models: Vec::new(), ..quick() }).await;
    let error = client(&server).warm_up().await.unwrap_err().to_string();
    assert!(error.contains("it has none"), "{error}");
    let client = client(&server);
    server.stop().await;
    let error = client.warm_up().await.unwrap_err();
    assert!(matches!(error, LlmError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn the_key_is_sent_and_never_shown() {
    let mock = mock(quick()).await;
    let mut config = OpenAiConfig::new(mock.url());
    config.api_key = Some(Private::new("sk-secret".to_owned()));
    let client = OpenAi::new(config.clone()).unwrap();
    assert!(read(&client, ask("Hello")).await.1.is_ok());
    assert_eq!(mock.seen().last_key.as_deref(), Some("Bearer sk-secret"));
    assert!(!format!("{client:?} {config:?}").contains("sk-secret"));
    config.api_key = Some(Private::new("sk-\nsecret".to_owned()));
    let error = OpenAi::new(config).unwrap_err().to_string();
    assert!(error.contains("EVA_LLM_API_KEY") && !error.contains("secret"));
}

/// Collects everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_words_nor_keys_are_logged_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let said_back = "you said: tell me a secret";
    let faults = [
        Fault::Fine,
        Fault::GarbageAfter(3, "a secret"),
        Fault::ErrorAfter(3),
        Fault::DropAfter(3),
        Fault::Refuse(400, said_back, None),
        Fault::Refuse(500, said_back, None),
    ];
    for fault in faults {
        let mock = failing(fault).await;
        let mut config = OpenAiConfig::new(mock.url());
        config.api_key = Some(Private::new("sk-hidden".to_owned()));
        let client = OpenAi::new(config).unwrap();
        let _ = client.warm_up().await;
        let _ = read(&client, ask("tell me a secret")).await;
    }
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("127.0.0.1"), "the log works");
    for hidden in ["secret", "sk-hidden", "Answer number", "short moment"] {
        let line = log.lines().find(|line| line.contains(hidden));
        assert!(line.is_none(), "{hidden} in: {line:?}");
    }
}

#[test]
fn the_key_comes_from_our_own_variable_first() {
    let read = |values: &'static [(&str, &str)]| {
        let key = api_key(|name| {
            values.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        });
        key.map(Private::into_revealed)
    };
    assert_eq!(read(&[("EVA_LLM_API_KEY", "a\n"), ("OPENAI_API_KEY", "b")]).unwrap(), "a");
    assert_eq!(read(&[("EVA_LLM_API_KEY", " "), ("OPENAI_API_KEY", "b")]).unwrap(), "b");
    assert_eq!(read(&[]), None);
}

#[tokio::test]
async fn each_prompt_of_a_conversation_begins_with_the_one_before() {
    let mock = mock(quick()).await;
    let client = client(&mock);
    let mut history = History::new("Be brief.");
    let mut before: Vec<Value> = Vec::new();
    for turn in 1..=4 {
        let words = format!("Question {turn}?");
        let (text, _) = read(&client, prompt(history.prompt_with(&words))).await;
        history.user(&words);
        history.assistant(ReplyId(turn), &text);
        let messages = mock.seen().last_request["messages"].as_array().unwrap().clone();
        assert!(messages.starts_with(&before) && messages.len() == 2 * turn as usize);
        before = messages;
    }
    history.heard(ReplyId(4), "Answer number");
    read(&client, prompt(history.prompt_with("Stop"))).await.1.unwrap();
    let request = mock.seen().last_request;
    assert_eq!(request["messages"][8]["content"], "Answer number");
    assert_eq!(request["messages"][8]["role"], "assistant");
}

/// How long a first token is under way from the server's socket to the reader: our client's own
/// part of a turn's delay.
#[tokio::test]
async fn the_clients_own_delay_is_small() {
    let mock = mock(MockConfig { token_ms: 2, ..MockConfig::default() }).await;
    let client = client(&mock);
    client.warm_up().await.unwrap();
    let (mut from_token, mut from_request) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let asked = Instant::now();
        let mut events = client.reply(ask("How long does this take?"));
        assert!(matches!(events.recv().await, Some(LlmEvent::Text(_))));
        let arrived = Instant::now();
        from_token.push(arrived - mock.seen().first_token_at.unwrap());
        from_request.push((arrived - asked).saturating_sub(Duration::from_millis(50)));
        while events.recv().await.is_some() {}
    }
    from_token.sort();
    from_request.sort();
    let (token, request) = (from_token[15], from_request[15]);
    println!(
        "first token: {token:?} after the server sent it, {request:?} over the server's 50 ms"
    );
    assert!(token < Duration::from_millis(20), "{token:?}");
}

//! The standard brain for comparisons: an OpenAI-compatible server with exact timing.
//!
//! In: `POST /v1/chat/completions` and `GET /v1/models` on a port of its own on 127.0.0.1. Out: the
//! same two sentences for every question, 23 tokens, the first sentence 9, with a number in them
//! that makes each reply unique, and more sentences where more tokens are wanted; token `k` is sent `first_token_ms + token_ms * (k - 1)` after the
//! request arrived. It can be told to fail in the ways that servers fail. Owned by the benchmark or
//! test that starts it, and ends with it. It is no brain for callers: `eva serve` cannot reach it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tts::Sentences;

/// The tokens of every reply.
pub const REPLY_TOKENS: usize = 23;
/// The tokens of a reply's first sentence.
pub const FIRST_SENTENCE_TOKENS: usize = 9;

/// The largest request it reads, in bytes.
const MAX_REQUEST: usize = 1 << 20;

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct MockConfig {
    /// From the request's arrival to the first token.
    pub first_token_ms: u64,
    /// From token to token.
    pub token_ms: u64,
    /// The port on 127.0.0.1; 0 for any.
    pub port: u16,
    /// The names it lists as its models.
    pub models: Vec<String>,
    /// What goes wrong with the first requests, one after the other.
    pub faults: Vec<Fault>,
    /// What goes wrong with all later ones.
    pub then: Option<Fault>,
    /// How the chunks look.
    pub style: Style,
    /// Tokens of a reply: 23 are the standard; more of them are further sentences.
    pub tokens: usize,
}

impl Default for MockConfig {
    fn default() -> Self {
        Self {
            first_token_ms: 50,
            token_ms: 20,
            port: 0,
            models: vec!["mock-23-tokens".to_owned()],
            faults: Vec::new(),
            then: None,
            style: Style::Full,
            tokens: REPLY_TOKENS,
        }
    }
}

/// How the chunks look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As OpenAI writes them, with usage if asked and `[DONE]` at the end.
    #[default]
    Full,
    /// As little as servers get by with: no ids, no role, no usage, no `[DONE]`.
    Bare,
    /// With reasoning before the reply, empty deltas, comments and null fields.
    Chatty,
}

/// A way to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No failure.
    Fine,
    /// The head of the answer never comes.
    SilentHead,
    /// The answer begins, then nothing comes after this many tokens.
    StallAfter(usize),
    /// The connection is dropped after this many tokens.
    DropAfter(usize),
    /// After this many tokens comes something that is no JSON, with these words in it.
    GarbageAfter(usize, &'static str),
    /// After this many tokens comes an error object.
    ErrorAfter(usize),
    /// The request is refused with this status, body and `Retry-After` in seconds.
    Refuse(u16, &'static str, Option<u64>),
    /// The request is refused with status 400 if it has this field.
    RefuseField(&'static str),
    /// The reply ends without a single token.
    Empty,
}

/// What the server has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Requests for a reply.
    pub requests: usize,
    /// Replies sent to their end.
    pub finished: usize,
    /// Replies that the client withdrew before their end.
    pub withdrawn: usize,
    /// The body of the newest request.
    pub last_request: Value,
    /// The newest request's `Authorization` header.
    pub last_key: Option<String>,
    /// When the newest first token was handed to the socket.
    pub first_token_at: Option<Instant>,
}

/// The running server; ends when dropped.
#[derive(Debug)]
pub struct MockLlm {
    url: String,
    server: Arc<Server>,
    serving: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

#[derive(Debug)]
struct Server {
    /// It may change while the server runs.
    config: std::sync::Mutex<MockConfig>,
    faults: Mutex<VecDeque<Fault>>,
    connections: AtomicUsize,
    seen: watch::Sender<Seen>,
    stop: CancellationToken,
}

impl Drop for MockLlm {
    fn drop(&mut self) {
        self.server.stop.cancel();
    }
}

impl MockLlm {
    /// Starts the server.
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub async fn start(config: MockConfig) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", config.port)).await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let stop = CancellationToken::new();
        let server = Arc::new(Server {
            faults: Mutex::new(config.faults.iter().cloned().collect()),
            config: std::sync::Mutex::new(config),
            connections: AtomicUsize::new(0),
            seen: watch::Sender::new(Seen::default()),
            stop: stop.clone(),
        });
        let counter = Arc::clone(&server);
        let listener = listener.tap_io(move |socket| {
            counter.connections.fetch_add(1, Ordering::Relaxed);
            let _ = socket.set_nodelay(true);
        });
        let routes = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(reply))
            .with_state(Arc::clone(&server));
        let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
        let serving = Some(tokio::spawn(serving.into_future()));
        Ok(Self { url, server, serving })
    }

    /// Ends the server and waits until its port and connections are closed.
    pub async fn stop(mut self) {
        self.server.stop.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = serving.await;
        }
    }

    /// Changes how replies to later requests look and how fast they come.
    pub fn change(&self, change: impl FnOnce(&mut MockConfig)) {
        change(&mut self.server.config());
    }

    /// The address for clients, with `/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.server.seen.borrow().clone()
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> usize {
        self.server.connections.load(Ordering::Relaxed)
    }

    /// Waits until what it has seen is as the condition says, and returns it.
    pub async fn wait_until(&self, condition: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.server.seen.subscribe();
        let found = seen.wait_for(condition).await;
        found.expect("the sender lives as long as the server").clone()
    }
}

impl Server {
    fn config(&self) -> MutexGuard<'_, MockConfig> {
        // A change that panics leaves the settings as they are.
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first `count` tokens of reply number `n`: the standard 23, then sentences of ten words that
/// no other reply has.
fn tokens_of(n: usize, count: usize) -> Vec<String> {
    let mut tokens = reply_tokens(n);
    let mut more = Sentences::new(n as u64);
    while tokens.len() < count {
        let sentence = more.draw(10);
        tokens.extend(sentence.trim_end_matches(['.', '!']).split(' ').map(|w| format!(" {w}")));
        tokens.push(".".to_owned());
    }
    tokens.truncate(count);
    tokens
}

/// The tokens of reply number `n`, counted from 1.
pub fn reply_tokens(n: usize) -> Vec<String> {
    let number = format!(" {}", number_word(n));
    let first = ["Answer", " number", &number, " is", " ready", " for", " you", " now", "."];
    let second = " It took me only a short moment to find it for you today.";
    let mut tokens = first.map(str::to_owned).to_vec();
    tokens.extend(
        second
            .trim_end_matches('.')
            .split_inclusive(' ')
            .skip(1)
            .map(|word| format!(" {}", word.trim_end())),
    );
    tokens.push(".".to_owned());
    debug_assert_eq!(tokens.len(), REPLY_TOKENS);
    tokens
}

/// A number below ten thousand as one hyphenated word; larger ones begin anew.
fn number_word(n: usize) -> String {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 10] =
        ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let join = |head: String, rest: usize| match rest {
        0 => head,
        rest => format!("{head}-{}", number_word(rest)),
    };
    match n % 10_000 {
        n @ 0..20 => SMALL[n].to_owned(),
        n @ 20..100 => join(TENS[n / 10].to_owned(), n % 10),
        n @ 100..1000 => join(format!("{}-hundred", SMALL[n / 100]), n % 100),
        n => join(format!("{}-thousand", SMALL[n / 1000]), n % 1000),
    }
}

async fn models(State(server): State<Arc<Server>>) -> Json<Value> {
    let entry = |id: &String| json!({"id": id, "object": "model", "owned_by": "mock"});
    let data = server.config().models.iter().map(entry).collect::<Vec<_>>();
    Json(json!({"object": "list", "data": data}))
}

async fn reply(State(server): State<Arc<Server>>, request: Request) -> Response {
    let arrived = Instant::now();
    let key = request.headers().get(header::AUTHORIZATION);
    let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
    let Ok(body) = axum::body::to_bytes(request.into_body(), MAX_REQUEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return refuse(400, "the body is not JSON", None);
    };
    let mut number = 0;
    server.seen.send_modify(|seen| {
        seen.requests += 1;
        seen.last_request = request.clone();
        seen.last_key = key;
        number = seen.requests;
    });
    let planned = server.faults.lock().await.pop_front();
    let config = server.config().clone();
    let fault = planned.or_else(|| config.then.clone()).unwrap_or(Fault::Fine);
    match fault {
        Fault::SilentHead => server.stop.cancelled().await,
        Fault::Refuse(status, message, retry_after) => return refuse(status, message, retry_after),
        Fault::RefuseField(field) if request.get(field).is_some() => {
            return refuse(400, &format!("Unsupported parameter: '{field}'"), None);
        }
        _ => {}
    }
    let script = script(&config, &request, number, &fault);
    let stop = server.stop.clone();
    let mut guard = ReplyGuard { server, finished: false };
    let sent = futures::stream::iter(script).then(move |(after, event)| {
        let stop = stop.clone();
        async move {
            tokio::time::sleep_until(arrived + after).await;
            if matches!(event, Event::Stall) {
                stop.cancelled().await;
            }
            event
        }
    });
    // Each event is a chunk of the body, flushed on its own. The guard notices a client that
    // goes away, since the body is dropped then.
    let events = sent.map(move |event| match event {
        Event::Data(text, mark) => {
            guard.note(mark);
            Ok(Bytes::from(text))
        }
        Event::Stall | Event::Drop => Err(std::io::Error::other("dropped on purpose")),
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn refuse(status: u16, message: &str, retry_after: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).expect("tests name real statuses");
    let body = Json(json!({"error": {"message": message, "type": "mock"}}));
    let mut response = (status, body).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// What an event means to the counters.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    None,
    FirstToken,
    End,
}

enum Event {
    Data(String, Mark),
    Stall,
    Drop,
}

struct ReplyGuard {
    server: Arc<Server>,
    finished: bool,
}

impl ReplyGuard {
    fn note(&mut self, mark: Mark) {
        match mark {
            Mark::None => {}
            Mark::FirstToken => {
                let now = Instant::now();
                self.server.seen.send_modify(|seen| seen.first_token_at = Some(now));
            }
            Mark::End => {
                self.finished = true;
                self.server.seen.send_modify(|seen| seen.finished += 1);
            }
        }
    }
}

impl Drop for ReplyGuard {
    fn drop(&mut self) {
        if !self.finished {
            self.server.seen.send_modify(|seen| seen.withdrawn += 1);
        }
    }
}

/// The events of one reply, each with the time after the request's arrival when it is due.
fn script(
    config: &MockConfig,
    request: &Value,
    number: usize,
    fault: &Fault,
) -> Vec<(Duration, Event)> {
    let limit = ["max_tokens", "max_completion_tokens"].iter().find_map(|f| request[f].as_u64());
    let limit = limit.map_or(config.tokens, |limit| config.tokens.min(limit as usize));
    let mut events = Vec::new();
    for text in opening(config.style) {
        events.push((Duration::ZERO, Event::Data(text, Mark::None)));
    }
    let tokens = if *fault == Fault::Empty { Vec::new() } else { tokens_of(number, limit) };
    let mut due = Duration::from_millis(config.first_token_ms);
    for (k, token) in tokens.iter().enumerate() {
        due = Duration::from_millis(config.first_token_ms + config.token_ms * k as u64);
        match fault {
            Fault::StallAfter(n) if k == *n => {
                events.push((due, Event::Stall));
                return events;
            }
            Fault::DropAfter(n) if k == *n => {
                // Later than the tokens before it, which would be dropped with the connection.
                events.push((due + Duration::from_millis(20), Event::Drop));
                return events;
            }
            Fault::GarbageAfter(n, words) if k == *n => {
                let garbage = format!("data: {{\"choices\": {words}\n\n");
                events.push((due, Event::Data(garbage, Mark::None)));
            }
            Fault::ErrorAfter(n) if k == *n => {
                let error = json!({"error": {"message": "out of memory", "code": 500}});
                events.push((due, Event::Data(format!("data: {error}\n\n"), Mark::None)));
            }
            _ => {}
        }
        let mark = if k == 0 { Mark::FirstToken } else { Mark::None };
        let text = chunk(config.style, json!({"content": token}), None);
        events.push((due, Event::Data(text, mark)));
    }
    events.push((due, Event::Data(closing(config, request, limit), Mark::End)));
    events
}

/// What stands after the last token.
fn closing(config: &MockConfig, request: &Value, sent: usize) -> String {
    let style = config.style;
    let reason = if sent < config.tokens { "length" } else { "stop" };
    let mut end = chunk(style, json!({}), Some(reason));
    if style != Style::Bare {
        if request["stream_options"]["include_usage"] == true {
            let usage = json!({"prompt_tokens": 40, "completion_tokens": sent,
                "prompt_tokens_details": {"cached_tokens": 32}});
            end.push_str(&format!("data: {}\n\n", json!({"choices": [], "usage": usage})));
        }
        end.push_str("data: [DONE]\n\n");
    }
    end
}

/// What stands before the first token.
fn opening(style: Style) -> Vec<String> {
    let role = chunk(style, json!({"role": "assistant", "content": ""}), None);
    match style {
        Style::Full => vec![role],
        Style::Bare => Vec::new(),
        Style::Chatty => vec![
            ": OPENROUTER PROCESSING\n\n".to_owned(),
            role,
            chunk(style, json!({"reasoning_content": "Hmm, let me see.", "content": null}), None),
            chunk(style, json!({"reasoning": "Still thinking."}), None),
            "event: keepalive\ndata: {}\n\n".to_owned(),
        ],
    }
}

fn chunk(style: Style, delta: Value, finish_reason: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
    let chunk = match style {
        Style::Bare => match finish_reason {
            None => json!({"choices": [{"delta": delta}]}),
            Some(_) => return String::new(),
        },
        _ => json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "mock-23-tokens", "system_fingerprint": null, "choices": [choice]}),
    };
    format!("data: {chunk}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_has_23_tokens_in_two_sentences_and_is_unique() {
        for n in [1, 7, 19, 20, 21, 40, 99, 100, 101, 999, 1000, 1234, 9999] {
            let tokens = reply_tokens(n);
            assert_eq!(tokens.len(), REPLY_TOKENS);
            assert!(tokens[FIRST_SENTENCE_TOKENS - 1] == "." && tokens[REPLY_TOKENS - 1] == ".");
            assert_eq!(tokens.iter().filter(|token| *token == ".").count(), 2);
        }
        let replies = (1..2000).map(|n| reply_tokens(n).concat());
        assert_eq!(replies.collect::<std::collections::HashSet<_>>().len(), 1999);
        assert_eq!(
            reply_tokens(42).concat(),
            "Answer number forty-two is ready for you now. \
             It took me only a short moment to find it for you today."
        );
    }

    #[test]
    fn longer_replies_go_on_with_sentences_of_their_own() {
        let (one, two) = (tokens_of(1, 80), tokens_of(2, 80));
        assert_eq!((one.len(), &one[..23]), (80, &reply_tokens(1)[..]));
        assert_ne!(one[23..], two[23..]);
        assert_eq!(tokens_of(1, 80), one);
        let max = json!({"max_tokens": 30});
        let config = MockConfig { tokens: 80, ..MockConfig::default() };
        assert_eq!(script(&config, &max, 1, &Fault::Fine).len(), 32);
    }

    #[test]
    fn tokens_are_due_by_the_requests_arrival() {
        let events = script(&MockConfig::default(), &json!({}), 1, &Fault::Fine);
        let due = events.iter().map(|(due, _)| due.as_millis() as u64).collect::<Vec<_>>();
        assert_eq!(due[0], 0, "the role comes at once");
        let tokens = (0..REPLY_TOKENS as u64).map(|k| 50 + 20 * k).collect::<Vec<_>>();
        assert_eq!(due[1..=REPLY_TOKENS], tokens[..]);
    }
}

//! `eva bench chat`: what the gateway adds to a chat, and how soon it speaks.
//!
//! In: how many requests. Out: a [`Report`]. The scripted brain and the gateway are asked in turn in
//! one run, the brain directly and through the gateway, each time with a message never seen: the
//! difference is the gateway's. Then speech, a hundred WebSockets at once, and fillers. Everything
//! runs in this process, so the figures hold the client's work too.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::{SinkExt, StreamExt};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async_with_config as connect_with;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::Spread;
use super::local::LocalGateway;
use super::mock_llm::{MockConfig, MockLlm};
use super::tts::Sentences;
use crate::call::{CallSettings, Engines};
use crate::engines::{self, BrainChoice, EngineChoice};
use crate::models::DEFAULT_VOICE;
use crate::signaling::Access;
use crate::speaking::{Device, VoiceSpec};

/// WebSockets at once.
const SOCKETS: usize = 100;
/// Words of a message.
const MESSAGE_WORDS: usize = 10;
/// Words of a text to speak.
const SPOKEN_WORDS: usize = 4;
/// Small frames leave at once.
const NO_DELAY: bool = true;
/// No request takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Messages over each way; a fifth as many texts and expressive replies.
    pub requests: usize,
    /// What the voice runs on.
    pub device: Device,
    /// Folder of the models.
    pub models: Option<std::path::PathBuf>,
}

/// What was measured; times in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Messages over each way.
    pub requests: usize,
    /// Until the first token.
    pub first_token: FirstToken,
    /// Until the reply is whole.
    pub whole: Whole,
    /// `/tts`, a sentence of four words, WAV.
    pub tts: Tts,
    /// `/ws/chat`, all at the same moment.
    pub sockets: Sockets,
    /// `/chat/expressive`.
    pub expressive: Expressive,
    /// Replies that came from the cache: none may.
    pub cached: u64,
}

/// Times to the first token.
#[derive(Clone, Debug, Serialize)]
pub struct FirstToken {
    /// The brain alone.
    pub brain_ms: Spread,
    /// `/chat/stream`.
    pub stream_ms: Spread,
    /// Median of the differences to the brain alone, message by message.
    pub stream_adds_ms: f64,
    /// `/v1/chat/completions` passed through.
    pub passed_ms: Spread,
    /// Median of the differences.
    pub passed_adds_ms: f64,
}

/// Times to the whole reply.
#[derive(Clone, Debug, Serialize)]
pub struct Whole {
    /// The brain alone.
    pub brain_ms: Spread,
    /// `/chat`.
    pub chat_ms: Spread,
    /// Median of the differences.
    pub chat_adds_ms: f64,
}

/// Times of speech.
#[derive(Clone, Debug, Serialize)]
pub struct Tts {
    /// The first byte.
    pub first_byte_ms: Spread,
    /// The whole file.
    pub whole_ms: Spread,
}

/// Conversations over WebSockets.
#[derive(Clone, Debug, Serialize)]
pub struct Sockets {
    /// How many at once.
    pub count: usize,
    /// Those that did not get their whole reply.
    pub dropped: usize,
    /// The first token.
    pub first_token_ms: Spread,
    /// The whole reply.
    pub whole_ms: Spread,
}

/// Times of replies in sound.
#[derive(Clone, Debug, Serialize)]
pub struct Expressive {
    /// The filler with its sound.
    pub filler_ms: Spread,
    /// The first sentence with its sound.
    pub first_sentence_ms: Spread,
    /// The whole reply with all its sound.
    pub whole_ms: Spread,
}

/// The clients' side.
struct Bench {
    http: reqwest::Client,
    gateway: String,
    brain: String,
    messages: Sentences,
    count: usize,
}

/// Runs all parts.
///
/// # Errors
/// A part of the gateway does not answer as it should.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let config = MockConfig { first_token_ms: 20, token_ms: 2, ..MockConfig::default() };
    let mock = MockLlm::start(config).await?;
    let choice = EngineChoice {
        models: plan.models.clone(),
        multilingual: false,
        voice: VoiceSpec::of(DEFAULT_VOICE),
        device: plan.device.clone(),
        brain: BrainChoice::Server { url: mock.url().to_owned(), model: None },
    };
    let call = CallSettings::default();
    let engines = engines::start(choice, &call.instructions()).await?.engines;
    wait_for_fillers(&engines).await?;
    let gateway = LocalGateway::start(engines, call, 8, Access::open()).await?;
    let bench = Bench {
        http: reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?,
        gateway: gateway.url.clone(),
        brain: mock.url().to_owned(),
        messages: Sentences::new(rand::random()),
        count: 0,
    };
    let report = bench.run(plan.requests, &gateway).await;
    gateway.shut_down().await;
    mock.stop().await;
    report
}

async fn wait_for_fillers(engines: &Engines) -> anyhow::Result<()> {
    let began = Instant::now();
    while engines.clips.filler(None).is_none_or(|clip| clip.sample_rate != crate::audio::WIRE_RATE)
    {
        ensure!(began.elapsed() < Duration::from_secs(120), "the voice made no fillers");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

impl Bench {
    async fn run(mut self, requests: usize, gateway: &LocalGateway) -> anyhow::Result<Report> {
        let texts = requests.div_ceil(5);
        // Connections, caches and memory are warm before anything counts.
        for _ in 0..3 {
            self.round().await?;
            self.tts().await?;
            self.expressive().await?;
        }
        let mut rounds = Vec::new();
        for _ in 0..requests {
            rounds.push(self.round().await?);
        }
        let (mut spoken, mut expressed) = (Vec::new(), Vec::new());
        for _ in 0..texts {
            spoken.push(self.tts().await?);
        }
        for _ in 0..texts {
            expressed.push(self.expressive().await?);
        }
        let sockets = self.sockets().await;
        let answered: Vec<[f64; 2]> = sockets.into_iter().flatten().collect();
        let of = |pick: fn(&Round) -> f64| Spread::of(rounds.iter().map(pick));
        let first_token = FirstToken {
            brain_ms: of(|round| round.brain[0]),
            stream_ms: of(|round| round.stream),
            stream_adds_ms: of(|round| round.stream - round.brain[0]).p50,
            passed_ms: of(|round| round.passed),
            passed_adds_ms: of(|round| round.passed - round.brain[0]).p50,
        };
        let whole = Whole {
            brain_ms: of(|round| round.brain[1]),
            chat_ms: of(|round| round.chat),
            chat_adds_ms: of(|round| round.chat - round.brain[1]).p50,
        };
        let tts = Tts { first_byte_ms: column(&spoken, 0), whole_ms: column(&spoken, 1) };
        let sockets = Sockets {
            count: SOCKETS,
            dropped: SOCKETS - answered.len(),
            first_token_ms: column(&answered, 0),
            whole_ms: column(&answered, 1),
        };
        let expressive = Expressive {
            filler_ms: column(&expressed, 0),
            first_sentence_ms: column(&expressed, 1),
            whole_ms: column(&expressed, 2),
        };
        let cached = gateway.gateway.chat().stats().cached_replies;
        Ok(Report { requests, first_token, whole, tts, sockets, expressive, cached })
    }

    /// A message never seen.
    fn message(&mut self) -> String {
        self.count += 1;
        format!("Question {}: {}", self.count, self.messages.draw(MESSAGE_WORDS))
    }

    /// One message over each way, another one first each time.
    async fn round(&mut self) -> anyhow::Result<Round> {
        let mut round = Round::default();
        let first = self.count / 4;
        for way in first..first + 4 {
            let message = self.message();
            match way % 4 {
                0 => round.brain = self.completion(&self.brain.clone(), &message).await?,
                1 => round.stream = self.stream(&message).await?,
                2 => round.chat = self.chat(&message).await?,
                _ => {
                    let url = format!("{}/v1", self.gateway);
                    round.passed = self.completion(&url, &message).await?[0];
                }
            }
        }
        Ok(round)
    }

    /// First token and whole reply of a server's completion.
    async fn completion(&self, url: &str, message: &str) -> anyhow::Result<[f64; 2]> {
        let body = json!({
            "model": "mock-23-tokens",
            "stream": true,
            "messages": [{"role": "user", "content": message}],
        });
        let began = Instant::now();
        let mut events = self.post(&format!("{url}/chat/completions"), &body).await?;
        let mut first = None;
        while let Some(event) = events.next().await? {
            let text = event.pointer("/choices/0/delta/content").and_then(Value::as_str);
            if text.is_some_and(|text| !text.is_empty()) {
                first.get_or_insert(ms(began));
            }
            if event.pointer("/choices/0/finish_reason").is_some_and(Value::is_string) {
                return Ok([first.context("a reply without a token")?, ms(began)]);
            }
        }
        bail!("a completion broke off")
    }

    async fn stream(&self, message: &str) -> anyhow::Result<f64> {
        let began = Instant::now();
        let url = format!("{}/chat/stream", self.gateway);
        let mut events = self.post(&url, &json!({"message": message})).await?;
        let mut first = None;
        while let Some(event) = events.next().await? {
            match event["type"].as_str() {
                Some("token") => drop(first.get_or_insert(ms(began))),
                Some("done") => return first.context("a reply without a token"),
                Some("error") => bail!("{event}"),
                _ => {}
            }
        }
        bail!("/chat/stream broke off")
    }

    async fn chat(&self, message: &str) -> anyhow::Result<f64> {
        let began = Instant::now();
        let request = self.http.post(format!("{}/chat", self.gateway));
        let answer = request.json(&json!({"message": message})).send().await?.error_for_status()?;
        let answer: Value = answer.json().await?;
        let took = ms(began);
        ensure!(answer["reply"].as_str().is_some_and(|reply| !reply.is_empty()), "no reply");
        Ok(took)
    }

    /// First byte and whole file.
    async fn tts(&mut self) -> anyhow::Result<[f64; 2]> {
        let text = self.messages.draw(SPOKEN_WORDS);
        let began = Instant::now();
        let request = self.http.post(format!("{}/tts", self.gateway));
        let answer = request.json(&json!({"text": text})).send().await?.error_for_status()?;
        let mut parts = answer.bytes_stream();
        let (mut first, mut bytes) = (None, 0);
        while let Some(part) = parts.next().await {
            first.get_or_insert(ms(began));
            bytes += part?.len();
        }
        ensure!(bytes > 10_000, "too little sound: {bytes} bytes");
        Ok([first.context("no sound")?, ms(began)])
    }

    /// Filler, first sentence with its sound, end.
    async fn expressive(&mut self) -> anyhow::Result<[f64; 3]> {
        let body = json!({"message": self.message()});
        let began = Instant::now();
        let mut events = self.post(&format!("{}/chat/expressive", self.gateway), &body).await?;
        let (mut filler, mut first) = (None, None);
        while let Some(event) = events.next().await? {
            match event["type"].as_str() {
                Some("filler") => drop(filler.get_or_insert(ms(began))),
                Some("audio") => drop(first.get_or_insert(ms(began))),
                Some("done") => {
                    let (filler, first) = (filler.context("no filler")?, first.context("mute")?);
                    return Ok([filler, first, ms(began)]);
                }
                Some("error") => bail!("{event}"),
                _ => {}
            }
        }
        bail!("/chat/expressive broke off")
    }

    /// First token and whole reply over each WebSocket; `None` where it was dropped.
    async fn sockets(&mut self) -> Vec<Option<[f64; 2]>> {
        let url = format!("{}/ws/chat", self.gateway.replacen("http", "ws", 1));
        let mut open = Vec::new();
        for _ in 0..SOCKETS {
            open.push((connect_with(&url, None, NO_DELAY).await.ok(), self.message()));
        }
        let asked = open.into_iter().map(async |(socket, message)| {
            let (mut socket, _) = socket?;
            let began = Instant::now();
            let frame = json!({"type": "message", "message": message}).to_string();
            socket.send(Frame::text(frame)).await.ok()?;
            let mut first = None;
            loop {
                let frame = tokio::time::timeout(PATIENCE, socket.next()).await.ok()??.ok()?;
                let Frame::Text(text) = frame else { continue };
                let event: Value = serde_json::from_str(&text).ok()?;
                match event["type"].as_str() {
                    Some("token") => drop(first.get_or_insert(ms(began))),
                    Some("end") => return Some([first?, ms(began)]),
                    Some("error") => return None,
                    _ => {}
                }
            }
        });
        futures::future::join_all(asked).await
    }

    async fn post(&self, url: &str, body: &Value) -> anyhow::Result<Events> {
        let answer = self.http.post(url).json(body).send().await?.error_for_status()?;
        Ok(Events { answer, text: Vec::new() })
    }
}

/// One round's times.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    brain: [f64; 2],
    stream: f64,
    chat: f64,
    passed: f64,
}

/// Server-sent events of a response.
struct Events {
    answer: reqwest::Response,
    text: Vec<u8>,
}

impl Events {
    /// The next event that is an object.
    async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data: ") else { continue };
                if let Ok(event) = serde_json::from_slice(data) {
                    return Ok(Some(event));
                }
            }
            match tokio::time::timeout(PATIENCE, self.answer.chunk()).await?? {
                Some(part) => self.text.extend_from_slice(&part),
                None => return Ok(None),
            }
        }
    }
}

/// The spread of one of several times.
fn column<const N: usize>(times: &[[f64; N]], at: usize) -> Spread {
    Spread::of(times.iter().map(|times| times[at]))
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

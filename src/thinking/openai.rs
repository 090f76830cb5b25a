//! Any OpenAI-compatible server as the language model.
//!
//! In: a [`Prompt`]. Out: its [`LlmEvent`]s, streamed (chat completions,
//! <https://platform.openai.com/docs/api-reference/chat/streaming>). Owns the connections to one
//! server, its timeouts and what is known of its peculiarities. One task for each reply, which ends
//! with the reply or when its receiver is dropped; the request is then withdrawn at once. Keeps no
//! history and logs neither words nor keys.

mod breaker;
mod calls;
mod known;
mod request;
mod said;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::stream::StreamResponse;
use futures::StreamExt;
use reqwest::header::HeaderValue;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use self::breaker::Breaker;
use self::known::Known;
use self::request::{Learned, Quirks};
use self::said::Said;
use self::wire::{Chunk, Refusal, Wire};
use super::Upstream;
use super::server::{ServerUrl, choose_model, find_model, refused};
use super::{EVENT_QUEUE, Health, Llm, LlmError, LlmEvent, Message, Offer, Prompt, Role, Usage};
use crate::ids::CallId;
use crate::private::Private;

/// How long a list of models may take.
const LIST_WITHIN: Duration = Duration::from_secs(5);
/// How long, after the reply's end, its usage may take to come.
const USAGE_WITHIN: Duration = Duration::from_millis(200);
/// The longest time a server may ask us to wait before the one retry.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The wait before a retry if the server asks for none.
const BACKOFF: Duration = Duration::from_millis(150);
/// Servers close connections that are idle for 5 s (uvicorn, cpp-httplib); an older one is opened
/// again while the person still speaks.
const IDLE: Duration = Duration::from_secs(4);
/// How often a server that is down is asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long the list of models may take when it is asked for to see whether the server is up.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// How many models' names a sentence lists.
const NAMES_SHOWN: usize = 8;

/// A server and how long to wait for it.
#[derive(Clone, Debug)]
pub struct OpenAiConfig {
    /// Its address, with or without `/v1`.
    pub url: String,
    /// The model's name; without one the server's first that suits a conversation.
    pub model: Option<String>,
    /// The key, if it wants one ([`api_key_from_env`]).
    pub api_key: Option<Private<String>>,
    /// For a connection.
    pub connect_timeout: Duration,
    /// From the request to the first text.
    pub first_token_timeout: Duration,
    /// From text to text.
    pub stall_timeout: Duration,
    /// For a whole reply.
    pub total_timeout: Duration,
    /// For the first reply of all, in which the server may load its model.
    pub load_timeout: Duration,
    /// After several failures in a row, replies fail at once for so long.
    pub rest: Duration,
}

impl OpenAiConfig {
    /// A server with the default timeouts, no key, and its first model.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: None,
            api_key: None,
            connect_timeout: Duration::from_secs(3),
            first_token_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(60),
            load_timeout: Duration::from_secs(120),
            rest: Duration::from_secs(3),
        }
    }
}

/// The key for the language model's server: `EVA_LLM_API_KEY`, else `OPENAI_API_KEY`.
pub fn api_key_from_env() -> Option<Private<String>> {
    api_key(|name| std::env::var(name).ok())
}

fn api_key(read: impl Fn(&str) -> Option<String>) -> Option<Private<String>> {
    ["EVA_LLM_API_KEY", "OPENAI_API_KEY"]
        .into_iter()
        .filter_map(read)
        .map(|key| key.trim().to_owned())
        .find(|key| !key.is_empty())
        .map(Private::new)
}

/// What warming up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// The model that replies will come from.
    pub model: String,
    /// How many models the server has; 0 if it does not say.
    pub models: usize,
    /// Nobody named the model.
    pub chosen: bool,
    /// The server's address.
    pub url: String,
}

impl std::fmt::Display for WarmUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "language model {} at {}", self.model, self.url)?;
        match self.models {
            models if self.chosen && models > 1 => {
                write!(f, ", one of {models}; choose another with --llm-model")
            }
            _ => Ok(()),
        }
    }
}

/// A language model behind an OpenAI-compatible server.
#[derive(Debug)]
pub struct OpenAi {
    server: Arc<Server>,
    runtime: Handle,
}

#[derive(Debug)]
struct Server {
    config: OpenAiConfig,
    url: ServerUrl,
    http: reqwest::Client,
    client: async_openai::Client<OpenAIConfig>,
    model: OnceLock<String>,
    quirks: Quirks,
    breaker: Mutex<Breaker>,
    /// When the server last answered.
    used: Mutex<Instant>,
    warming: AtomicBool,
    since: Instant,
    known: Mutex<Known>,
}

/// How one attempt at a reply failed.
#[derive(Debug)]
struct Failure {
    error: LlmError,
    /// Worth one more attempt, after so long.
    retry: Option<Duration>,
}

impl From<LlmError> for Failure {
    fn from(error: LlmError) -> Self {
        Self { error, retry: None }
    }
}

impl OpenAi {
    /// A client for the server; opens no connection yet ([`OpenAi::warm_up`]). Call it within the
    /// runtime that serves calls, after a crypto provider is installed.
    ///
    /// # Errors
    /// [`LlmError::Config`] if the address or the key cannot be used.
    pub fn new(config: OpenAiConfig) -> Result<Self, LlmError> {
        let url = ServerUrl::parse(&config.url)?;
        let key = config.api_key.as_ref().map_or("", |key| key.reveal().as_str());
        if HeaderValue::from_str(key).is_err() {
            let sentence = "the language model's key holds characters that no key has; check \
                            EVA_LLM_API_KEY";
            return Err(LlmError::Config(sentence.to_owned()));
        }
        let http = url.http_client(config.connect_timeout)?;
        let settings = OpenAIConfig::new()
            .with_api_base(url.as_str())
            .with_api_key(key)
            .with_org_id("")
            .with_project_id("");
        let wire = Wire { http: http.clone(), keyed: !key.is_empty() };
        let client = async_openai::Client::build(http.clone(), settings).with_http_service(wire);
        let model = config.model.clone().map_or_else(OnceLock::new, OnceLock::from);
        let rest = config.rest;
        let server = Server {
            config,
            url,
            http,
            client,
            model,
            quirks: Quirks::default(),
            breaker: Mutex::new(Breaker::new(rest)),
            used: Mutex::new(Instant::now()),
            warming: AtomicBool::new(false),
            since: Instant::now(),
            known: Mutex::default(),
        };
        Ok(Self { server: Arc::new(server), runtime: Handle::current() })
    }

    /// Opens the connection, checks that the server has the model (or chooses one), and asks for
    /// one token so that the server loads it.
    ///
    /// # Errors
    /// Any [`LlmError`], as a sentence for whoever starts the gateway.
    pub async fn warm_up(&self) -> Result<WarmUp, LlmError> {
        let server = &self.server;
        let named = server.config.model.is_some();
        let (model, models) = server.find_model().await?;
        let model = server.model.get_or_init(|| model).clone();
        let prompt = Prompt {
            call: CallId::random(),
            messages: vec![Message::new(Role::User, "Hi.")],
            offer: Offer::default(),
            max_tokens: 1,
            temperature: 0.0,
        };
        let (events, mut ignored) = mpsc::channel(EVENT_QUEUE);
        tokio::select! {
            outcome = server.attempts(&prompt, &events, server.config.load_timeout) => match outcome {
                // One token may be a blank.
                Ok(_) | Err(LlmError::Model(_)) => {}
                Err(error) => return Err(error),
            },
            () = async { while ignored.recv().await.is_some() {} } => {}
        }
        let url = server.url.as_str().to_owned();
        Ok(WarmUp { model, models, chosen: !named, url })
    }
}

impl Llm for OpenAi {
    fn reply(&self, prompt: Prompt) -> mpsc::Receiver<LlmEvent> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let server = Arc::clone(&self.server);
        self.runtime.spawn(async move {
            tokio::select! {
                biased;
                () = events.closed() => {}
                () = server.reply(&prompt, &events) => {}
            }
        });
        receiver
    }

    /// The person speaks, so a reply will be asked for soon: a connection to another machine that
    /// its server may have closed is opened again. The words are not sent.
    fn read_ahead(&self, _prompt: Prompt) {
        let server = Arc::clone(&self.server);
        let idle = lock(&server.used).elapsed();
        if server.url.is_loopback() || idle < IDLE || server.warming.swap(true, Ordering::Relaxed) {
            return;
        }
        self.runtime.spawn(async move {
            let _ = server.models(LIST_WITHIN).await;
            server.warming.store(false, Ordering::Relaxed);
        });
    }

    fn name(&self) -> String {
        let url = self.server.url.as_str();
        self.server.model.get().cloned().unwrap_or_else(|| format!("the model at {url}"))
    }

    /// What the newest reply or list of models told; where that is old, the list is asked for
    /// meanwhile, and the next question meets its answer.
    fn health(&self) -> Health {
        let server = &self.server;
        let (health, stale) = lock(&server.known).ask(server.since.elapsed());
        if stale {
            let server = Arc::clone(server);
            self.runtime.spawn(async move {
                let _ = server.models(PROBE_WITHIN).await;
            });
        }
        health
    }

    fn upstream(&self) -> Option<Upstream> {
        let Server { config, url, http, model, .. } = &*self.server;
        let (base, http) = (url.as_str().to_owned(), http.clone());
        let model = model.get().cloned();
        Some(Upstream { base, http, key: config.api_key.clone(), model })
    }
}

impl Server {
    /// One reply to its end, all events included.
    async fn reply(self: &Arc<Self>, prompt: &Prompt, events: &mpsc::Sender<LlmEvent>) {
        let refused = lock(&self.breaker).refuses(self.since.elapsed());
        if let Some(error) = refused {
            let _ = events.send(LlmEvent::Failed(error)).await;
            return;
        }
        let total = self.config.total_timeout;
        let reply = self.attempts(prompt, events, self.config.first_token_timeout);
        let outcome = timeout(total, reply).await.unwrap_or_else(|_| {
            Err(LlmError::Model(format!("the reply took longer than {} s", total.as_secs())))
        });
        let last = match outcome {
            Ok(usage) => {
                lock(&self.breaker).succeeded();
                lock(&self.known).succeeded(self.since.elapsed());
                *lock(&self.used) = Instant::now();
                LlmEvent::Done(usage)
            }
            Err(error) => {
                lock(&self.known).failed(self.since.elapsed(), &error);
                let opened = lock(&self.breaker).failed(self.since.elapsed(), &error);
                if opened && matches!(error, LlmError::Unreachable { .. }) {
                    tokio::spawn(Self::probe(Arc::downgrade(self), self.config.rest));
                }
                LlmEvent::Failed(error)
            }
        };
        let _ = events.send(last).await;
    }

    /// Asks a server that is down whether it is back; ends when it is, or after one rest.
    async fn probe(server: Weak<Self>, rest: Duration) {
        let until = Instant::now() + rest;
        while Instant::now() < until {
            tokio::time::sleep(PROBE_EVERY).await;
            let Some(server) = server.upgrade() else { return };
            if server.models(PROBE_EVERY).await.is_ok() {
                lock(&server.breaker).succeeded();
                return;
            }
        }
    }

    /// Asks, and asks once more if nothing came and the failure may pass.
    async fn attempts(
        &self,
        prompt: &Prompt,
        events: &mpsc::Sender<LlmEvent>,
        first_token: Duration,
    ) -> Result<Usage, LlmError> {
        let first_by = Instant::now() + first_token;
        let silent = LlmError::Stalled(first_token.as_secs());
        let again = match self.attempt(prompt, events, first_by, &silent).await {
            Ok(usage) => return Ok(usage),
            Err(Failure { error, retry: None }) => return Err(error),
            Err(Failure { retry: Some(wait), .. }) => Instant::now() + wait,
        };
        if again >= first_by {
            return Err(silent);
        }
        tokio::time::sleep_until(again).await;
        let outcome = self.attempt(prompt, events, first_by, &silent).await;
        outcome.map_err(|failure| failure.error)
    }

    /// One request, to the end of its stream.
    async fn attempt(
        &self,
        prompt: &Prompt,
        events: &mpsc::Sender<LlmEvent>,
        first_by: Instant,
        silent: &LlmError,
    ) -> Result<Usage, Failure> {
        let late = |_| Failure::from(silent.clone());
        let mut stream = timeout_at(first_by, self.open(prompt)).await.map_err(late)??;
        let mut usage = Usage::default();
        let mut said = Said::new(&prompt.offer, events);
        let mut deadline = first_by;
        let mut finished = false;
        loop {
            let json = match timeout_at(deadline, stream.next()).await {
                Ok(Some(Ok(json))) => json,
                Ok(None) | Ok(Some(Err(_))) | Err(_) if finished => break,
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(self.failure(error, prompt).error.into()),
                Err(_) if !said.has_begun() => return Err(silent.clone().into()),
                Err(_) => {
                    return Err(LlmError::Stalled(self.config.stall_timeout.as_secs()).into());
                }
            };
            let chunk = Chunk::read(&json);
            if let Some(reason) = chunk.broken {
                if finished {
                    break;
                }
                let error = LlmError::Model(format!("its reply broke off: {reason}"));
                return Err(Failure { error, retry: (!said.has_begun()).then_some(BACKOFF) });
            }
            if let Some(reason) = chunk.error {
                return Err(LlmError::Model(scrub(reason, prompt)).into());
            }
            if let Some((prompt_tokens, cached_tokens, completion_tokens)) = chunk.usage {
                usage = Usage { prompt_tokens, cached_tokens, completion_tokens };
                if finished {
                    break;
                }
            }
            if !said.take(&json, chunk.text).await {
                return Ok(usage); // nobody listens
            }
            finished |= chunk.finished;
            if finished {
                deadline = Instant::now() + USAGE_WITHIN;
            } else if said.has_begun() {
                deadline = Instant::now() + self.config.stall_timeout;
            }
        }
        if usage.completion_tokens == 0 {
            usage.completion_tokens = said.texts();
        }
        if !said.finish().await {
            return Err(LlmError::Model("its reply was empty".to_owned()).into());
        }
        Ok(usage)
    }

    /// Sends the request; without the fields that the server turns out not to take.
    async fn open(&self, prompt: &Prompt) -> Result<StreamResponse<Value>, Failure> {
        let model = match self.model.get() {
            Some(model) => model,
            None => {
                let (model, _) = self.find_model().await?;
                self.model.get_or_init(|| model)
            }
        };
        loop {
            let chat = self.client.chat();
            let request = self.quirks.request(model, prompt);
            let error = match chat.create_stream_byot::<_, Value>(request).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let learn = |refusal| (refusal, self.quirks.learn(refusal, prompt));
            match refusal(&error).map(learn) {
                Some((_, Learned::Field)) => {}
                Some((refusal, Learned::NoTools)) => {
                    let reason = scrub(refusal.reason.clone(), prompt);
                    tracing::warn!(
                        "the language model's server takes no tools ({reason}); replies come \
                         without them until the gateway is started again"
                    );
                }
                _ => return Err(self.failure(error, prompt)),
            }
        }
    }

    /// The model to ask: the one that was named, if the server has it, or the one that suits best.
    /// And how many it has, 0 if it does not say.
    async fn find_model(&self) -> Result<(String, usize), LlmError> {
        let named = self.config.model.as_deref();
        let models = match (self.models(LIST_WITHIN).await, named) {
            (Ok(models), _) => models,
            // Some servers keep no list; a name is then enough.
            (Err(LlmError::Refused { status: 404 | 405 | 501, .. }), Some(name)) => {
                return Ok((name.to_owned(), 0));
            }
            (Err(error), _) => return Err(error),
        };
        let found = match named {
            Some(name) => find_model(&models, name),
            None => choose_model(&models),
        };
        if let Some(found) = found {
            return Ok((found.id.clone(), models.len()));
        }
        let names = models.iter().take(NAMES_SHOWN).map(|entry| entry.id.as_str());
        let mut known = names.collect::<Vec<_>>().join(", ");
        match models.len() {
            0 => known.push_str("(it has none; load one there first)"),
            count if count > NAMES_SHOWN => known.push_str(", …"),
            _ => {}
        }
        let model = named.unwrap_or("(any for conversation)").to_owned();
        Err(LlmError::UnknownModel { url: self.url.as_str().to_owned(), model, known })
    }

    async fn models(&self, within: Duration) -> Result<Vec<super::server::ModelEntry>, LlmError> {
        let models = self.url.models(&self.http, self.config.api_key.as_ref(), within).await;
        if models.is_ok() {
            *lock(&self.used) = Instant::now();
        }
        lock(&self.known).probed(self.since.elapsed(), models.as_ref().err().cloned());
        models
    }

    /// What an error of the client means, and whether it may pass.
    fn failure(&self, error: OpenAIError, prompt: &Prompt) -> Failure {
        if let Some(refusal) = refusal(&error) {
            let wait = refusal.retry_after.unwrap_or(BACKOFF);
            let passes = matches!(refusal.status, 429 | 502 | 503) && wait <= MAX_RETRY_AFTER;
            let error = refused(refusal.status, scrub(refusal.reason.clone(), prompt));
            return Failure { error, retry: passes.then_some(wait) };
        }
        match error {
            OpenAIError::Reqwest(error) => {
                let retry = (!error.is_timeout()).then_some(BACKOFF);
                Failure { error: self.url.unreachable(&error), retry }
            }
            // The other errors quote the text that they could not read.
            _ => LlmError::Model("the request or its answer cannot be read".to_owned()).into(),
        }
    }
}

fn refusal(error: &OpenAIError) -> Option<&Refusal> {
    match error {
        OpenAIError::Boxed(error) => error.downcast_ref(),
        _ => None,
    }
}

/// A server's reason without the words of the prompt, which some servers quote.
fn scrub(reason: String, prompt: &Prompt) -> String {
    let words = prompt.messages.iter().filter(|message| message.role != Role::System);
    let quoted = words.map(|message| message.content.reveal().trim()).any(|content| {
        let start = content.char_indices().nth(20).map_or(content, |(end, _)| &content[..end]);
        start.chars().count() >= 4 && reason.contains(start)
    });
    if quoted { "its reason quotes the conversation".to_owned() } else { reason }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

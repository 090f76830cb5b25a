//! Tools that the model may call.
//!
//! In: a file (`eva serve --tools FILE`, docs/tools.md) and the model's calls. Out: what the tools
//! are, and their results as sentences for the model. Owns the connections to them. A tool runs for
//! as long as its future is polled and ends when that is dropped. Decides neither when a tool may
//! run nor what becomes of its result (`call/reply.rs`).

mod arguments;
mod config;
mod http;
mod mcp;

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

pub use self::config::ToolsError;
use self::config::{Config, Limits};
use self::http::HttpTool;
use self::mcp::McpServer;
use super::{Offer, ToolCall, ToolSpec};
use crate::private::Private;

/// How often servers that are down are tried again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));

/// All tools of a gateway; clones share them. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Toolbox(Arc<Tools>);

#[derive(Debug, Default)]
struct Tools {
    http: Vec<(ToolSpec, Arc<HttpTool>)>,
    servers: Vec<Arc<McpServer>>,
    /// What the model is told of them; changes when a server is connected.
    specs: RwLock<Arc<[ToolSpec]>>,
    /// What was said last about servers that are down.
    down: Mutex<Vec<String>>,
}

/// Where a tool runs.
#[derive(Clone, Debug)]
enum Home {
    /// An HTTP request.
    Http(Arc<HttpTool>),
    /// The tool of this name at an MCP server.
    Mcp(Arc<McpServer>, String),
}

/// A call that is ready to run.
pub struct Run {
    /// The tool's name.
    pub name: String,
    /// Runs it; ends within the tool's time limit.
    pub result: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

/// How a tool ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it did what it was asked.
    pub ok: bool,
    /// For the model: its result, or a sentence that says what went wrong.
    pub text: Private<String>,
    /// How long it took.
    pub took: Duration,
}

/// What went wrong: a sentence, and what the tool said about it, which no log may hold.
#[derive(Debug)]
struct Failure {
    sentence: String,
    said: Private<String>,
}

impl Failure {
    fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), said: Private::default() }
    }

    fn saying(self, said: impl Into<String>) -> Self {
        Self { said: Private::new(said.into()), ..self }
    }

    /// For the model.
    fn told(&self) -> String {
        format!("{} {}", self.sentence, self.said.reveal()).trim().to_owned()
    }
}

impl Toolbox {
    /// Reads the file; connects to nothing yet ([`Toolbox::connect`]).
    ///
    /// # Errors
    /// A sentence that names the file, the tool and the field.
    pub fn load(path: &Path) -> Result<Self, ToolsError> {
        Ok(Self::of(Config::load(path)?))
    }

    fn of(config: Config) -> Self {
        let http = config.http.into_iter().map(|(spec, tool)| (spec, Arc::new(tool)));
        let servers = config.mcp.into_iter().map(McpServer::new).map(Arc::new);
        let tools = Tools { http: http.collect(), servers: servers.collect(), ..Tools::default() };
        let toolbox = Self(Arc::new(tools));
        toolbox.note_specs();
        toolbox
    }

    /// Whether there is neither a tool nor a server.
    pub fn is_empty(&self) -> bool {
        self.0.http.is_empty() && self.0.servers.is_empty()
    }

    /// What the file has, for people.
    pub fn summary(&self) -> String {
        let http = self.0.http.iter().map(|(spec, _)| spec.name.clone());
        let servers = self.0.servers.iter().map(|server| format!("MCP server {}", server.name()));
        http.chain(servers).collect::<Vec<_>>().join(", ")
    }

    /// Connects to all servers at once, each within ten seconds; sentences about those that are
    /// down. Logs what has changed. Needs a crypto provider installed.
    pub async fn connect(&self) -> Vec<String> {
        let connecting = self.0.servers.iter().map(async |server| {
            let name = server.name();
            match server.connect().await {
                Ok(true) => {
                    let tools = server.tools().len();
                    tracing::info!(tools, "the MCP server {name} is connected");
                    None
                }
                Ok(false) => None,
                Err(reason) => Some(format!("the MCP server {name} is down: {reason}")),
            }
        });
        let down: Vec<String> = join_all(connecting).await.into_iter().flatten().collect();
        self.note_specs();
        let mut said = self.0.down.lock().unwrap_or_else(PoisonError::into_inner);
        for sentence in down.iter().filter(|sentence| !said.contains(*sentence)) {
            tracing::warn!("{sentence}; it is tried again, and EVA goes on without its tools");
        }
        said.clone_from(&down);
        down
    }

    /// Keeps the servers connected, for ever: those that are down are tried again, ever less often.
    pub async fn tend(self) {
        if self.0.servers.is_empty() {
            return;
        }
        let mut wait = RETRY.0;
        loop {
            sleep(wait).await;
            let all_up = self.connect().await.is_empty();
            wait = if all_up { RETRY.0 } else { (wait * 2).min(RETRY.1) };
        }
    }

    /// The tools that there are now.
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        self.0.specs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, for a prompt.
    pub fn offer(&self) -> Offer {
        Offer { tools: self.specs(), ..Offer::default() }
    }

    fn note_specs(&self) {
        let specs = self.all().map(|(spec, _)| spec).collect();
        *self.0.specs.write().unwrap_or_else(PoisonError::into_inner) = specs;
    }

    /// All tools under names of their own, always in the same order.
    fn all(&self) -> impl Iterator<Item = (ToolSpec, Home)> {
        let mut tools: Vec<(ToolSpec, Home)> = Vec::new();
        for (spec, tool) in &self.0.http {
            tools.push((spec.clone(), Home::Http(tool.clone())));
        }
        for server in &self.0.servers {
            for tool in server.tools() {
                let mut spec = tool.spec;
                if tools.iter().any(|(other, _)| other.name == spec.name) {
                    spec.name = format!("{}_{}", server.name(), spec.name);
                    spec.name.truncate(64);
                }
                if tools.iter().all(|(other, _)| other.name != spec.name) {
                    tools.push((spec, Home::Mcp(server.clone(), tool.name)));
                }
            }
        }
        tools.into_iter()
    }

    /// Makes a call ready; nothing runs until its future is polled.
    ///
    /// # Errors
    /// If there is no such tool or the arguments do not fit: a sentence for the model.
    pub fn prepare(&self, call: &ToolCall) -> Result<Run, Private<String>> {
        let Some((spec, home)) = self.all().find(|(spec, _)| spec.name == call.name) else {
            let names = self.all().map(|(spec, _)| spec.name).collect::<Vec<_>>().join(", ");
            let sentence = format!("Error: There is no such tool. There are: {names}.");
            return Err(Private::new(sentence));
        };
        let arguments = call.arguments.reveal();
        let arguments = arguments::check(arguments, &spec.parameters).map_err(|failure| {
            let told = failure.told();
            Private::new(format!("Error: {told} Correct the call, or ask the person."))
        })?;
        let name = spec.name.clone();
        let result = Box::pin(async move {
            let started = Instant::now();
            let limits = home.limits();
            let running = async {
                match &home {
                    Home::Http(tool) => tool.run(&arguments).await,
                    Home::Mcp(server, name) => server.run(name.clone(), arguments).await,
                }
            };
            let seconds = limits.within.as_secs_f64();
            let late = |_| Err(Failure::new(format!("The tool took longer than {seconds} s.")));
            let result = timeout(limits.within, running).await.unwrap_or_else(late);
            let took = started.elapsed();
            outcome(&spec.name, result, limits, took)
        });
        Ok(Run { name, result })
    }
}

impl Home {
    fn limits(&self) -> Limits {
        match self {
            Self::Http(tool) => tool.limits(),
            Self::Mcp(server, _) => server.limits(),
        }
    }
}

/// The result for the model; a failure is logged without what the tool said.
fn outcome(name: &str, result: Result<String, Failure>, limits: Limits, took: Duration) -> Outcome {
    let ok = result.is_ok();
    let text = match result {
        Ok(text) if text.trim().is_empty() => "Done; the tool had nothing to say.".to_owned(),
        Ok(text) => text,
        Err(failure) => {
            tracing::warn!(tool = name, "{}", failure.sentence);
            format!("Error: {}", failure.told())
        }
    };
    let mut short: String = text.chars().take(limits.most_result).collect();
    if short.len() < text.len() {
        short.push_str(" … (the rest is left out)");
    }
    Outcome { ok, text: Private::new(short), took }
}

//! Servers of the Model Context Protocol (<https://modelcontextprotocol.io>), through its official
//! Rust library.
//!
//! In: a server's address or program. Out: its tools, and what they answer. Owns the connection or
//! the child process, which is opened when it is first needed and again when it broke. A server that
//! is down has no tools until it is back; calls are served meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, Tool};
use rmcp::service::RunningService;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{Peer, RoleClient, ServiceError, ServiceExt};
use serde_json::{Map, Value};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Failure;
use super::config::{Limits, is_tool_name};
use super::http;
use crate::outbound;
use crate::thinking::ToolSpec;
use crate::thinking::server::root_cause;

/// How long a server may take to connect and list its tools.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Tools of one server that are used; a model is lost among more.
const MOST_TOOLS: usize = 64;
/// The longest description of a tool, characters; all of them are read for each reply.
const MOST_DESCRIPTION: usize = 600;
/// What a server's program gets of the environment, beside what the file says: no keys of EVA's.
const INHERITED: [&str; 10] =
    ["HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// Where a server is.
#[derive(Clone)]
pub(super) enum Reach {
    /// At an address, over streamable HTTP.
    Http { url: Url, headers: HeaderMap, allow_private: bool },
    /// A program that EVA starts, over its standard input and output.
    Program { command: String, args: Vec<String>, env: BTreeMap<String, String> },
}

impl std::fmt::Debug for Reach {
    /// Addresses and arguments may hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http { .. } => "Http",
            Self::Program { .. } => "Program",
        })
    }
}

/// One server of the file.
#[derive(Clone, Debug)]
pub(super) struct ServerConfig {
    pub name: String,
    pub reach: Reach,
    /// The tools that are used; all of them where `None`.
    pub only: Option<Vec<String>>,
    pub limits: Limits,
}

/// A tool of a server.
#[derive(Clone, Debug)]
pub(super) struct McpTool {
    /// Its name at the server.
    pub name: String,
    /// As the model sees it.
    pub spec: ToolSpec,
}

/// A server, connected or not.
#[derive(Debug)]
pub(super) struct McpServer {
    config: ServerConfig,
    line: Mutex<Option<RunningService<RoleClient, ()>>>,
    tools: RwLock<Vec<McpTool>>,
}

impl McpServer {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self { config, line: Mutex::new(None), tools: RwLock::new(Vec::new()) }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn limits(&self) -> Limits {
        self.config.limits
    }

    /// The tools it had when it was last connected.
    pub(super) fn tools(&self) -> Vec<McpTool> {
        self.tools.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects if there is no connection; whether there was none. The error is a reason.
    pub(super) async fn connect(&self) -> Result<bool, String> {
        let mut line = self.line.lock().await;
        if line.as_ref().is_some_and(|line| !line.peer().is_transport_closed()) {
            return Ok(false);
        }
        // The old process ends before a new one begins.
        *line = None;
        let connect = async {
            let service = self.open().await?;
            let tools = service.peer().list_all_tools().await;
            Ok::<_, String>((service, tools.map_err(|error| root_cause(&error))?))
        };
        let connected = timeout(CONNECT_WITHIN, connect).await;
        let (service, tools) = connected.map_err(|_| "it does not answer".to_owned())??;
        let tools = usable(tools, self.config.only.as_deref());
        *self.tools.write().unwrap_or_else(PoisonError::into_inner) = tools;
        *line = Some(service);
        Ok(true)
    }

    async fn open(&self) -> Result<RunningService<RoleClient, ()>, String> {
        match &self.config.reach {
            Reach::Http { url, headers, allow_private } => {
                let client = outbound::client(url, http::reach(url, *allow_private))
                    .map_err(|error| root_cause(&error))?;
                let headers: HashMap<_, _> =
                    headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                    .custom_headers(headers)
                    .reinit_on_expired_session(true);
                let transport = StreamableHttpClientTransport::with_client(client, config);
                ().serve(transport).await.map_err(|error| root_cause(&error))
            }
            Reach::Program { command, args, env } => {
                let inherited = INHERITED
                    .iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
                let mut program = Command::new(command);
                program.args(args).env_clear().envs(inherited).envs(env).kill_on_drop(true);
                // What it prints may hold what people say.
                let started = TokioChildProcess::builder(program).stderr(Stdio::null()).spawn();
                let (transport, _) =
                    started.map_err(|error| format!("{command} cannot be started: {error}"))?;
                ().serve(transport).await.map_err(|error| {
                    format!("{command} does not speak MCP: {}", root_cause(&error))
                })
            }
        }
    }

    async fn peer(&self) -> Result<Peer<RoleClient>, Failure> {
        let gone = || Failure::new("The tool's server cannot be reached.");
        self.connect().await.map_err(|_| gone())?;
        self.line.lock().await.as_ref().map(|line| line.peer().clone()).ok_or_else(gone)
    }

    /// Calls a tool. Dropping the future tells the server that the answer is not wanted any more.
    pub(super) async fn run(
        &self,
        name: String,
        arguments: Map<String, Value>,
    ) -> Result<String, Failure> {
        let peer = self.peer().await?;
        let params = CallToolRequestParams::new(name).with_arguments(arguments);
        match peer.call_tool_once(params).await {
            Ok(CallToolResponse::Complete(result)) => text_of(&result),
            Ok(_) => Err(Failure::new("The tool wants more than a voice call can give.")),
            Err(ServiceError::McpError(error)) => {
                Err(Failure::new("The tool refused.").saying(error.message.into_owned()))
            }
            Err(_) => Err(Failure::new("The tool's server went away.")),
        }
    }
}

/// A server's tools, as many as a model can be told, under names that every model's server takes.
fn usable(tools: Vec<Tool>, only: Option<&[String]>) -> Vec<McpTool> {
    let wanted = |tool: &Tool| only.is_none_or(|only| only.iter().any(|name| *name == tool.name));
    let usable = tools.into_iter().filter(wanted).take(MOST_TOOLS).map(|tool| {
        let name = plain_name(&tool.name);
        let description = tool.description.unwrap_or_default();
        let description = description.chars().take(MOST_DESCRIPTION).collect();
        let mut parameters = Value::Object((*tool.input_schema).clone());
        // Of no use to a model, and refused by some servers.
        if let Some(schema) = parameters.as_object_mut() {
            schema.remove("$schema");
            schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        }
        let spec = ToolSpec { name, description, parameters };
        McpTool { name: tool.name.into_owned(), spec }
    });
    usable.filter(|tool| is_tool_name(&tool.spec.name)).collect()
}

fn plain_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.chars().map(|c| if allowed(c) { c } else { '_' }).take(64).collect()
}

/// The text of a result.
fn text_of(result: &CallToolResult) -> Result<String, Failure> {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    let texts: Vec<&str> = texts.map(|text| text.text.as_str()).collect();
    let text = match &result.structured_content {
        Some(value) if texts.is_empty() => value.to_string(),
        _ => texts.join("\n"),
    };
    match result.is_error {
        Some(true) => Err(Failure::new("The tool failed.").saying(text)),
        _ if text.is_empty() && !result.content.is_empty() => {
            Err(Failure::new("The tool answered with something that is no text."))
        }
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn tool(name: &'static str) -> Tool {
        let schema = json!({"$schema": "x", "type": "object"});
        Tool::new(name, "words ".repeat(500), Arc::new(schema.as_object().unwrap().clone()))
    }

    #[test]
    fn tools_get_names_and_descriptions_that_models_take() {
        let tools = usable(vec![tool("notes.search"), tool("other")], None);
        assert_eq!(tools[0].name, "notes.search");
        assert_eq!(tools[0].spec.name, "notes_search");
        assert_eq!(tools[0].spec.description.len(), MOST_DESCRIPTION);
        assert_eq!(tools[0].spec.parameters, json!({"type": "object", "properties": {}}));
        let only = ["other".to_owned()];
        let tools = usable(vec![tool("notes.search"), tool("other")], Some(&only));
        assert_eq!(tools.len(), 1);
    }
}

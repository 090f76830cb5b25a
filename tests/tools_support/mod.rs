//! What the tests of tools share: a scripted brain that calls tools, a service, MCP servers.

#![allow(dead_code, clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// What the brain does with one request.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Sends these deltas.
    Deltas(Vec<Value>),
    /// Refuses with this status and reason if the request has tools.
    RefuseTools(u16, &'static str),
}

/// An OpenAI-compatible server that does as it is told, and keeps what it was asked.
#[derive(Clone, Default)]
pub struct Brain {
    turns: Arc<Mutex<VecDeque<Turn>>>,
    requests: Arc<Mutex<Vec<Value>>>,
    pub url: String,
}

impl Brain {
    pub async fn start(turns: impl IntoIterator<Item = Turn>) -> Self {
        let (listener, url) = listen().await;
        let turns = Arc::new(Mutex::new(turns.into_iter().collect()));
        let brain = Self { turns, requests: Arc::default(), url: format!("{url}/v1") };
        let models = json!({"object": "list", "data": [{"id": "scripted"}]});
        let routes = Router::new()
            .route("/v1/models", get(async move || Json(models)))
            .route("/v1/chat/completions", post(Self::reply))
            .with_state(brain.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        brain
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }

    async fn reply(State(brain): State<Self>, Json(request): Json<Value>) -> Response {
        let has_tools = request.get("tools").is_some();
        brain.requests.lock().unwrap().push(request);
        let next = |brain: &Self| brain.turns.lock().unwrap().pop_front();
        let mut turn = next(&brain);
        if let Some(Turn::RefuseTools(status, reason)) = turn {
            if has_tools {
                let status = StatusCode::from_u16(status).unwrap();
                return (status, Json(json!({"error": {"message": reason}}))).into_response();
            }
            turn = next(&brain);
        }
        let deltas = match turn {
            Some(Turn::Deltas(deltas)) => deltas,
            _ => vec![json!({"content": "I have nothing to say."})],
        };
        let mut body = String::new();
        for delta in deltas {
            let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
            body.push_str(&format!("data: {chunk}\n\n"));
        }
        let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        body.push_str(&format!("data: {end}\n\ndata: [DONE]\n\n"));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    }
}

/// A turn of text.
pub fn text(text: &str) -> Turn {
    Turn::Deltas(vec![json!({"content": text})])
}

/// A turn that says something and calls a tool, in pieces.
pub fn call(said: &str, name: &str, arguments: &Value) -> Turn {
    let arguments = arguments.to_string();
    let (one, two) = arguments.split_at(arguments.len() / 2);
    let piece = |function: Value| json!({"tool_calls": [{"index": 0, "function": function}]});
    let mut first = piece(json!({"name": name, "arguments": ""}));
    first["tool_calls"][0]["id"] = json!("call_1");
    first["tool_calls"][0]["type"] = json!("function");
    let mut deltas = vec![json!({"role": "assistant", "content": null})];
    if !said.is_empty() {
        deltas.push(json!({"content": said}));
    }
    deltas.extend([first, piece(json!({"arguments": one})), piece(json!({"arguments": two}))]);
    Turn::Deltas(deltas)
}

async fn listen() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// What the service was asked: method, path with query, header `x-key`, body.
pub type Asked = Arc<Mutex<Vec<(String, String, String, Value)>>>;

/// An HTTP service: `/weather/{city}`, `/book`, `/away` (redirects to another host), `/here`
/// (redirects to itself), `/slow`, `/long`.
pub async fn service() -> (String, Asked) {
    let (listener, url) = listen().await;
    let asked = Asked::default();
    let note = asked.clone();
    let weather = async |Path(city): Path<String>| {
        Json(json!({"current": {"city": city, "degrees": 21, "sky": "clear"}}))
    };
    let routes = Router::new()
        .route("/weather/{city}", get(weather))
        .route("/book", post(async |Json(body): Json<Value>| Json(json!({"booked": body}))))
        .route("/away", get(async || redirect("http://localhost:9/weather/Rome")))
        .route("/here", get(async || redirect("/weather/Rome")))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_secs(600)).await))
        .route("/long", get(async || "word ".repeat(10_000)))
        .layer(axum::middleware::from_fn(move |request: axum::extract::Request, next| {
            let note = note.clone();
            async move { note_and_serve(note, request, next).await }
        }));
    tokio::spawn(axum::serve(listener, routes).into_future());
    (url, asked)
}

async fn note_and_serve(
    note: Asked,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let key = head.headers.get("x-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let entry = (
        head.method.to_string(),
        head.uri.to_string(),
        key.to_owned(),
        serde_json::from_slice(&body).unwrap_or_default(),
    );
    note.lock().unwrap().push(entry);
    next.run(axum::extract::Request::from_parts(head, body.into())).await
}

fn redirect(to: &'static str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
}

/// An MCP server over streamable HTTP, as small as the protocol allows: one tool, `add`.
pub async fn mcp_over_http() -> String {
    let (listener, url) = listen().await;
    let answer = async |Json(request): Json<Value>| {
        let Some(id) = request.get("id") else { return StatusCode::ACCEPTED.into_response() };
        let params = &request["params"];
        let result = match request["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "adder", "version": "1"},
            }),
            Some("tools/list") => json!({"tools": [{
                "name": "add",
                "description": "Adds two numbers.",
                "inputSchema": {
                    "type": "object",
                    "required": ["a", "b"],
                    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                },
            }]}),
            Some("tools/call") => {
                let argument = |name: &str| params["arguments"][name].as_f64().unwrap_or_default();
                let sum = argument("a") + argument("b");
                json!({"content": [{"type": "text", "text": sum.to_string()}]})
            }
            _ => {
                let error = json!({"code": -32601, "message": "no such method"});
                return Json(json!({"jsonrpc": "2.0", "id": id, "error": error})).into_response();
            }
        };
        Json(json!({"jsonrpc": "2.0", "id": id, "result": result})).into_response()
    };
    let routes = Router::new().route("/mcp", post(answer));
    tokio::spawn(axum::serve(listener, routes).into_future());
    format!("{url}/mcp")
}

/// The script of an MCP server over standard input and output.
pub fn mcp_script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tools_support/mcp_server.py")
}

//! One request on the wire, below async-openai's client.
//!
//! In: the requests that the client builds. Out: answers that it can read safely. The service sends
//! each request once (whether to try again is decided above), turns a refusal into a [`Refusal`],
//! and checks every line of the stream before the client sees it: async-openai logs text that it
//! cannot read, and that text may be what EVA was about to say.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use axum::http;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Body, Response};
use serde_json::{Value, json};

use crate::thinking::server::root_cause;

/// The longest line of a stream, in bytes; a token's chunk has a few hundred.
const MAX_LINE: usize = 256 << 10;
/// The longest stream, in bytes; a spoken reply has some ten thousand.
const MAX_STREAM: usize = 8 << 20;
/// So much of a refusal's body is read.
const MAX_REFUSAL: usize = 16 << 10;
/// For so long.
const REFUSAL_WITHIN: Duration = Duration::from_secs(2);
/// So much of a refusal's reason is shown, in characters.
const MAX_REASON: usize = 200;

/// The field of our own event that says why a stream broke off.
const BROKEN: &str = "eva_broken";

/// The server answered with a status other than success.
#[derive(Debug, thiserror::Error)]
#[error("status {status}")]
pub(super) struct Refusal {
    pub status: u16,
    /// What the server said, shortened; may quote the request.
    pub reason: String,
    pub retry_after: Option<Duration>,
}

/// Sends requests.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub http: reqwest::Client,
    /// There is a key to send.
    pub keyed: bool,
}

impl tower::Service<HttpRequestFactory> for Wire {
    type Response = Response;
    type Error = OpenAIError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, OpenAIError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move { wire.send(request).await })
    }
}

impl Wire {
    async fn send(self, request: HttpRequestFactory) -> Result<Response, OpenAIError> {
        let mut request = request.build().await?;
        if !self.keyed {
            request.headers_mut().remove(AUTHORIZATION);
        }
        let response = self.http.execute(request).await.map_err(OpenAIError::Reqwest)?;
        if !response.status().is_success() {
            return Err(OpenAIError::Boxed(Box::new(read_refusal(response).await)));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let whole = kind.is_some_and(|kind| kind.starts_with("application/json"));
        let lines = Lines { whole, ..Lines::default() };
        Ok(http::Response::new(Body::wrap_stream(checked(response.bytes_stream(), lines))).into())
    }
}

async fn read_refusal(mut response: Response) -> Refusal {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| value.trim().parse::<f64>().ok());
    let retry_after = retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(part)) = response.chunk().await {
            body.extend_from_slice(&part);
            if body.len() > MAX_REFUSAL {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(REFUSAL_WITHIN, read).await;
    Refusal { status, reason: reason_of(&body), retry_after }
}

/// The sentence in a refusal's body, wherever servers put it; nothing from a body of another shape,
/// which may repeat the whole request.
pub(super) fn reason_of(body: &[u8]) -> String {
    let Ok(json) = serde_json::from_slice::<Value>(body) else { return String::new() };
    error_sentence(&json).unwrap_or_default()
}

/// The sentence of an error object: `{"error": {"message"}}`, `{"error": "…"}`, `{"message"}`,
/// `{"detail": "…"}` or FastAPI's `{"detail": [{"loc", "msg"}]}`.
pub(super) fn error_sentence(json: &Value) -> Option<String> {
    let detail = json.pointer("/detail/0").and_then(|first| {
        let field = first.pointer("/loc/1").and_then(Value::as_str).unwrap_or("request");
        Some(format!("{field}: {}", first.get("msg")?.as_str()?))
    });
    let sentence = ["/error/message", "/error", "/message", "/detail"];
    let sentence = sentence.iter().find_map(|at| json.pointer(at)?.as_str()).map(str::to_owned);
    let text = sentence.or(detail)?;
    Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect())
}

/// Holds what has come until a line is complete.
#[derive(Debug, Default)]
struct Lines {
    held: Vec<u8>,
    /// Bytes so far.
    total: usize,
    /// The server does not stream: the body is one JSON object.
    whole: bool,
    ended: bool,
}

/// The body again, line by line, until something is wrong with it. What is wrong comes as a last
/// event of our own ([`Chunk::broken`]), since the client would hide the reason of an error.
fn checked(
    body: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    lines: Lines,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let state = (Box::pin(body), lines);
    futures::stream::unfold(state, |(mut body, mut lines)| async move {
        while !lines.ended {
            let now = match body.next().await {
                Some(Ok(part)) => lines.take(&part),
                Some(Err(error)) => Err(root_cause(&error)),
                None => lines.end(),
            };
            let bytes = now.unwrap_or_else(|reason| {
                lines.ended = true;
                format!("\n\ndata: {}\n\n", json!({ BROKEN: reason })).into()
            });
            if !bytes.is_empty() {
                return Some((Ok(bytes), (body, lines)));
            }
        }
        None
    })
}

impl Lines {
    /// Takes more of the body; gives the lines that are complete.
    fn take(&mut self, part: &[u8]) -> Result<Bytes, String> {
        let searched = self.held.len();
        self.held.extend_from_slice(part);
        self.total += part.len();
        if self.total > MAX_STREAM {
            return Err("the reply is far too long".to_owned());
        }
        if self.whole {
            return Ok(Bytes::new());
        }
        let line_end = self.held[searched..].iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(line_end) = line_end else {
            let fits = self.held.len() <= MAX_LINE;
            let error = || "a line of the reply is far too long".to_owned();
            return fits.then(Bytes::new).ok_or_else(error);
        };
        let rest = self.held.split_off(searched + line_end + 1);
        let complete = std::mem::replace(&mut self.held, rest);
        check(&complete)?;
        Ok(complete.into())
    }

    /// The body has ended: gives what is left, as a complete event.
    fn end(&mut self) -> Result<Bytes, String> {
        self.ended = true;
        let mut last = std::mem::take(&mut self.held);
        if self.whole {
            let json = serde_json::from_slice::<Value>(&last).map_err(|_| not_json())?;
            last = format!("data: {json}").into_bytes();
        }
        check(&last)?;
        last.extend_from_slice(b"\n\n");
        Ok(last.into())
    }
}

/// Every `data:` line must be JSON or `[DONE]`.
fn check(lines: &[u8]) -> Result<(), String> {
    for line in lines.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let Some(data) = line.strip_prefix(b"data:") else { continue };
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            continue;
        }
        serde_json::from_slice::<Value>(data).map_err(|_| not_json())?;
    }
    Ok(())
}

fn not_json() -> String {
    "it sent something that is not JSON".to_owned()
}

/// One chunk of a reply, as far as it matters to us. Reads what OpenAI documents
/// (<https://platform.openai.com/docs/api-reference/chat/streaming>) and what others send instead;
/// whatever is missing or of another type counts as absent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk {
    pub text: String,
    pub finished: bool,
    /// The server's own error.
    pub error: Option<String>,
    /// The stream broke off, for this reason.
    pub broken: Option<String>,
    /// Prompt, cached and completion tokens.
    pub usage: Option<(u32, u32, u32)>,
}

impl Chunk {
    pub fn read(json: &Value) -> Self {
        let text = ["/choices/0/delta/content", "/choices/0/message/content", "/choices/0/text"];
        let text = text.iter().find_map(|at| json.pointer(at)?.as_str()).unwrap_or_default();
        let finished = json.pointer("/choices/0/finish_reason").is_some_and(Value::is_string);
        let failed = json.get("error").is_some_and(|error| !error.is_null())
            || json.get("object").is_some_and(|object| object == "error");
        let error = failed.then(|| error_sentence(json).unwrap_or_default());
        let usage = json.get("usage").filter(|usage| usage.is_object()).map(|usage| {
            let count = |at| usage.pointer(at).and_then(Value::as_u64).unwrap_or(0);
            let number = |at| u32::try_from(count(at)).unwrap_or(u32::MAX);
            let cached = number("/prompt_tokens_details/cached_tokens");
            (number("/prompt_tokens"), cached, number("/completion_tokens"))
        });
        let broken = json.get(BROKEN).and_then(Value::as_str).map(str::to_owned);
        Self { text: text.to_owned(), finished, error, broken, usage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_until_they_are_complete() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"data: {\"a\"").unwrap(), "");
        assert_eq!(lines.take(b":1}\ndata").unwrap(), "data: {\"a\":1}\n");
        assert_eq!(lines.take(b": [DONE]\r\n\r\n").unwrap(), "data: [DONE]\r\n\r\n");
        assert_eq!(lines.take(b"data: {}").unwrap(), "");
        assert_eq!(lines.end().unwrap(), "data: {}\n\n", "the last event may lack its end");
    }

    #[test]
    fn what_is_not_json_ends_the_stream_and_is_not_repeated() {
        let mut lines = Lines::default();
        let error = lines.take(b"data: {}\n\ndata: {secret words\n").unwrap_err();
        assert!(!error.to_string().contains("secret"));
        assert!(check(b"data: secret").is_err() && check(b"data:\xff\xfe").is_err());
        assert!(check(b": comment\nevent: x\n\ndata:\nid: 1\n").is_ok());
    }

    #[test]
    fn endless_lines_and_streams_are_given_up() {
        let mut lines = Lines::default();
        let error = std::iter::repeat_with(|| lines.take(&[b'x'; 8192])).find_map(Result::err);
        assert!(error.unwrap().to_string().contains("too long"));
        let mut lines = Lines::default();
        let error = std::iter::repeat_with(|| lines.take(&[b'\n'; 8192])).find_map(Result::err);
        assert!(error.unwrap().to_string().contains("too long"));
    }

    #[test]
    fn chunks_are_read_whatever_is_missing() {
        let text = |json: Value| Chunk::read(&json).text;
        assert_eq!(text(json!({"choices": [{"delta": {"content": "Hi"}}]})), "Hi");
        assert_eq!(text(json!({"choices": [{"message": {"content": "Hi"}}]})), "Hi");
        for empty in [
            json!({}),
            json!([]),
            json!(null),
            json!({"choices": null}),
            json!({"choices": []}),
            json!({"choices": [{}]}),
            json!({"choices": [{"delta": null}]}),
            json!({"choices": [{"delta": {"role": "assistant"}, "finish_reason": null}]}),
            json!({"choices": [{"delta": {"content": null, "reasoning_content": "Hm"}}]}),
            json!({"usage": null, "error": null}),
        ] {
            assert_eq!(Chunk::read(&empty), Chunk::default(), "{empty}");
        }
        let end = json!({"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 9}});
        let end = Chunk::read(&end);
        assert!(end.finished && end.usage == Some((9, 0, 0)));
        let error = |json: Value| Chunk::read(&json).error;
        assert_eq!(error(json!({"error": {"message": "no", "code": 500}})).unwrap(), "no");
        assert_eq!(error(json!({"error": "no"})).unwrap(), "no");
        assert_eq!(error(json!({"object": "error", "message": "no"})).unwrap(), "no");
    }

    #[test]
    fn a_refusals_reason_is_a_short_sentence_and_never_the_whole_body() {
        assert_eq!(reason_of(br#"{"error":{"message":"too\nbig"}}"#), "too big");
        assert_eq!(reason_of(br#"{"detail":"Not Found"}"#), "Not Found");
        let fastapi = br#"{"detail":[{"loc":["body","model"],"msg":"missing","input":"words"}]}"#;
        assert_eq!(reason_of(fastapi), "model: missing");
        assert_eq!(reason_of(b"<html>words</html>"), "");
        assert_eq!(reason_of(br#"{"input":"words"}"#), "");
        let long = format!("{{\"message\":\"{}\"}}", "x".repeat(1000));
        assert_eq!(reason_of(long.as_bytes()).len(), MAX_REASON);
    }
}

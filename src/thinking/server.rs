//! One OpenAI-compatible server: its address and the models it has.
//!
//! In: an address as people write it. Out: the address that requests use, an HTTP client for it, and
//! its models (`GET /v1/models`, <https://platform.openai.com/docs/api-reference/models/list>).
//! Shared by the client ([`super::openai`]) and the search for local servers
//! ([`super::discover`]). It asks for no replies.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::LlmError;
use crate::private::Private;

/// The longest list of models that is read, in bytes; hosted routers list thousands.
const MAX_LIST: usize = 8 << 20;
/// The longest name of a model.
const MAX_NAME: usize = 200;

/// The address of an OpenAI-compatible server, up to and including its version (`…/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    base: String,
    loopback: bool,
}

impl ServerUrl {
    /// Reads an address: with or without `http://`, `/v1`, a slash at the end, or the whole path
    /// `/v1/chat/completions`.
    ///
    /// # Errors
    /// [`LlmError::Config`] if it is no HTTP address, or carries a key or password.
    pub fn parse(text: &str) -> Result<Self, LlmError> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|host| !host.is_empty())
        });
        let Some(url) = url else {
            return Err(LlmError::Config(
                "the language model's address is not one; give it like http://127.0.0.1:8000/v1"
                    .to_owned(),
            ));
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(LlmError::Config(
                "the language model's address may hold no password or query; put its key into \
                 EVA_LLM_API_KEY"
                    .to_owned(),
            ));
        }
        let path = url.path().trim_end_matches('/');
        let whole_path = path.strip_suffix("/chat/completions");
        let path = whole_path.unwrap_or(path).trim_end_matches('/');
        let version = |part: &str| {
            part.strip_prefix('v')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let versioned = whole_path.is_some() || path.split('/').any(version);
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let suffix = if versioned { "" } else { "/v1" };
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        Ok(Self {
            base: format!("{}://{host}{port}{path}{suffix}", url.scheme()),
            loopback: host == "localhost" || address.is_ok_and(|ip| ip.is_loopback()),
        })
    }

    /// The address, without a slash at the end; holds no secret.
    pub fn as_str(&self) -> &str {
        &self.base
    }

    /// It is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// An HTTP client for it: connections stay open, small packets leave at once, a proxy from the
    /// environment is used only for other machines.
    ///
    /// # Errors
    /// [`LlmError::Config`] if the system's certificates cannot be read.
    pub fn http_client(&self, connect_timeout: Duration) -> Result<reqwest::Client, LlmError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(15))
            .pool_idle_timeout(Duration::from_secs(300))
            .user_agent(concat!("eva-voice/", env!("CARGO_PKG_VERSION")));
        if self.loopback {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| {
            let reason = root_cause(&error);
            LlmError::Config(format!("HTTP requests cannot be made on this machine: {reason}"))
        })
    }

    /// Asks for the models; an empty list if the server keeps none.
    ///
    /// # Errors
    /// [`LlmError::Unreachable`], [`LlmError::Refused`], or [`LlmError::Model`] if what answers is
    /// not such a server.
    pub async fn models(
        &self,
        http: &reqwest::Client,
        key: Option<&Private<String>>,
        timeout: Duration,
    ) -> Result<Vec<ModelEntry>, LlmError> {
        let mut request = http.get(format!("{}/models", self.base)).timeout(timeout);
        if let Some(key) = key {
            request = request.bearer_auth(key.reveal());
        }
        let unreachable = |error: reqwest::Error| self.unreachable(&error);
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(refused(status, String::new()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&part);
            if body.len() > MAX_LIST {
                break;
            }
        }
        parse_models(&body).ok_or_else(|| {
            LlmError::Model(format!("what answers at {} is no language model's server", self.base))
        })
    }

    /// The error for a request that got no answer.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> LlmError {
        let reason = match error {
            error if error.is_timeout() => "it took too long".to_owned(),
            error => root_cause(error),
        };
        LlmError::Unreachable { url: self.base.clone(), reason }
    }
}

/// The error for a status other than success.
pub(super) fn refused(status: u16, reason: String) -> LlmError {
    let reason = match status {
        401 | 403 => "it does not accept the key; set EVA_LLM_API_KEY".to_owned(),
        _ if reason.is_empty() => "it gave no reason".to_owned(),
        _ => reason,
    };
    LlmError::Refused { status, reason }
}

/// The innermost reason of an error, the part that says what happened.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// One entry of a server's list of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name that requests use.
    pub id: String,
    /// Who serves it, as the server says ("vllm", "llamacpp", "library" …).
    pub owned_by: String,
}

/// Reads a list of models; `None` if the text is not one.
pub fn parse_models(body: &[u8]) -> Option<Vec<ModelEntry>> {
    let list = serde_json::from_slice::<Value>(body).ok()?;
    let kind = list.get("object");
    if kind.is_some_and(|kind| !kind.is_null() && kind != "list") {
        return None;
    }
    let entries = match list.get("data")? {
        Value::Null => return Some(Vec::new()), // Ollama without models
        data => data.as_array()?,
    };
    let mut models = Vec::new();
    for entry in entries {
        let id = entry.get("id")?.as_str()?.trim();
        if id.is_empty() || id.len() > MAX_NAME || id.contains(char::is_control) {
            return None;
        }
        let owned_by = entry.get("owned_by").and_then(Value::as_str).unwrap_or_default();
        models.push(ModelEntry { id: id.to_owned(), owned_by: owned_by.to_owned() });
    }
    Some(models)
}

/// Parts of names of models that do not hold conversations.
const NOT_FOR_TALK: &[&str] = &[
    "embed",
    "bge-",
    "gte-",
    "e5-",
    "minilm",
    "rerank",
    "whisper",
    "tts",
    "clip",
    "moderation",
    "dall-e",
    "image",
    "guard",
    "reward",
    "ocr",
    "transcribe",
    "realtime",
    "davinci",
    "babbage",
];

/// Parts of names of models made for conversation.
const FOR_TALK: &[&str] = &["instruct", "chat", "-it", ":it", "assistant"];

/// Parts of names of models that think long before they speak, or are made for code.
const SLOW_TO_TALK: &[&str] = &["-r1", "qwq", "think", "reason", "coder", "code", "math", "-base"];

/// The model for a spoken conversation: the first one made for it, else the first that is neither
/// for other work nor slow, else the first that can hold one.
pub fn choose_model(models: &[ModelEntry]) -> Option<&ModelEntry> {
    let rank = |entry: &&ModelEntry| {
        let name = entry.id.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        match () {
            () if has(SLOW_TO_TALK) => 2,
            () if has(FOR_TALK) => 0,
            () => 1,
        }
    };
    let talks = |entry: &&ModelEntry| {
        let name = entry.id.to_lowercase();
        !NOT_FOR_TALK.iter().any(|part| name.contains(part))
    };
    models.iter().filter(talks).min_by_key(rank)
}

/// The model with this name; Ollama's names may leave `:latest` out.
pub fn find_model<'a>(models: &'a [ModelEntry], name: &str) -> Option<&'a ModelEntry> {
    let latest = format!("{name}:latest");
    models.iter().find(|entry| entry.id == name).or_else(|| models.iter().find(|e| e.id == latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> String {
        ServerUrl::parse(text).map_or_else(|error| error.to_string(), |url| url.base)
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for text in [
            "http://127.0.0.1:8000",
            "http://127.0.0.1:8000/",
            "http://127.0.0.1:8000/v1",
            " http://127.0.0.1:8000/v1/ ",
            "127.0.0.1:8000",
            "http://127.0.0.1:8000/v1/chat/completions",
        ] {
            assert_eq!(base(text), "http://127.0.0.1:8000/v1", "{text}");
        }
        assert_eq!(base("https://api.groq.com/openai"), "https://api.groq.com/openai/v1");
        assert_eq!(base("https://a.dev/chat/completions"), "https://a.dev");
        assert_eq!(base("https://g.com/v1beta/openai/"), "https://g.com/v1beta/openai");
        assert_eq!(base("http://[::1]:11434"), "http://[::1]:11434/v1");
        assert_eq!(base("localhost:1234/v1"), "http://localhost:1234/v1");
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_without_repeating_secrets() {
        for text in ["", "ftp://a.b", "http://", "not an address", "http://a b"] {
            assert!(base(text).contains("give it like"), "{text}: {}", base(text));
        }
        for text in ["https://user:secret@host/v1", "https://host/v1?key=secret"] {
            assert!(base(text).contains("EVA_LLM_API_KEY") && !base(text).contains("secret"));
        }
    }

    #[test]
    fn loopback_addresses_are_known() {
        let loopback = |text| ServerUrl::parse(text).unwrap().is_loopback();
        assert!(loopback("127.0.0.1:1") && loopback("[::1]:1") && loopback("localhost:1"));
        assert!(!loopback("192.168.0.2:1") && !loopback("https://api.openai.com"));
    }

    fn ids(body: &str) -> Option<Vec<String>> {
        Some(parse_models(body.as_bytes())?.into_iter().map(|entry| entry.id).collect())
    }

    #[test]
    fn lists_of_models_are_read_from_all_known_servers() {
        let ollama = r#"{"object":"list","data":[{"id":"qwen2.5:0.5b","object":"model",
            "created":1,"owned_by":"library"}]}"#;
        assert_eq!(ids(ollama).unwrap(), ["qwen2.5:0.5b"]);
        let llama_cpp = r#"{"models":[{"name":"x.gguf"}],"object":"list",
            "data":[{"id":"x.gguf","owned_by":"llamacpp","meta":{"n_params":1}}]}"#;
        assert_eq!(ids(llama_cpp).unwrap(), ["x.gguf"]);
        let bare = r#"{"data":[{"id":"a"},{"id":"b","owned_by":null}]}"#;
        assert_eq!(ids(bare).unwrap(), ["a", "b"]);
        assert_eq!(ids(r#"{"object":"list","data":null}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn other_services_are_not_taken_for_a_model_server() {
        for body in [
            "",
            "<html></html>",
            "[]",
            "{}",
            "null",
            r#"{"status":"ok"}"#,
            r#"{"data":{}}"#,
            r#"{"data":["a"]}"#,
            r#"{"data":[{"id":1}]}"#,
            r#"{"data":[{"id":""}]}"#,
            r#"{"data":[{"name":"a"}]}"#,
            r#"{"object":"error","data":[]}"#,
            "{\"data\":[",
        ] {
            assert_eq!(ids(body), None, "{body}");
        }
    }

    #[test]
    fn a_model_for_conversation_is_chosen() {
        let choose = |names: &[&str]| {
            let entry = |id: &&str| ModelEntry { id: (*id).to_owned(), owned_by: String::new() };
            let models = names.iter().map(entry).collect::<Vec<_>>();
            choose_model(&models).map(|entry| entry.id.clone()).unwrap_or_default()
        };
        assert_eq!(choose(&["nomic-embed-text", "llama3.2:1b"]), "llama3.2:1b");
        assert_eq!(choose(&["mistral-7b", "Qwen2.5-0.5B-Instruct"]), "Qwen2.5-0.5B-Instruct");
        assert_eq!(choose(&["deepseek-r1:8b", "gemma2:2b"]), "gemma2:2b");
        assert_eq!(choose(&["a", "b"]), "a");
        assert_eq!(choose(&["bge-m3", "whisper-1"]), "");
        assert_eq!(choose(&["qwen2.5-coder-instruct"]), "qwen2.5-coder-instruct");
    }

    #[test]
    fn names_may_leave_latest_out() {
        let models = parse_models(br#"{"data":[{"id":"a:latest"},{"id":"b"}]}"#).unwrap();
        assert_eq!(find_model(&models, "a").unwrap().id, "a:latest");
        assert_eq!(find_model(&models, "b").unwrap().id, "b");
        assert!(find_model(&models, "c").is_none());
    }
}

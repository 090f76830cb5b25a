//! Finding a language model's server that already runs on this machine.
//!
//! In: the ports where such servers usually listen. Out: those that answer as one. It runs once, at
//! start-up; it starts nothing, sends no key and no words.

use std::time::Duration;

use futures::future::join_all;

use super::server::{ModelEntry, ServerUrl, choose_model};

/// How long a server may take to say which models it has; one on this machine needs a few ms.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// A server that may run on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its program's name, for people.
    pub name: &'static str,
    /// The port on 127.0.0.1 where it usually listens.
    pub port: u16,
}

/// The servers that are looked for, the preferred one first.
pub const KNOWN: [Candidate; 4] = [
    Candidate { name: "Ollama", port: 11434 },
    Candidate { name: "llama.cpp", port: 8080 },
    Candidate { name: "vLLM", port: 8000 },
    Candidate { name: "LM Studio", port: 1234 },
];

/// A server that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its program's name, for people.
    pub name: &'static str,
    /// Its address, for [`OpenAiConfig::url`](super::openai::OpenAiConfig).
    pub url: String,
    /// The model that suits a spoken conversation best.
    pub model: String,
    /// How many models it has.
    pub models: usize,
}

/// Asks all candidates at once; gives those that have a model for conversation, in the order of the
/// candidates. Takes at most about 300 ms. Needs a crypto provider installed.
pub async fn discover(candidates: &[Candidate]) -> Vec<Found> {
    join_all(candidates.iter().map(ask)).await.into_iter().flatten().collect()
}

async fn ask(candidate: &Candidate) -> Option<Found> {
    let url = ServerUrl::parse(&format!("http://127.0.0.1:{}/v1", candidate.port)).ok()?;
    let http = url.http_client(ANSWER_WITHIN).ok()?;
    let models = url.models(&http, None, ANSWER_WITHIN).await.ok()?;
    recognise(candidate.name, url.as_str(), &models)
}

/// What a list of models says about who answers on a port.
fn recognise(usual: &'static str, url: &str, models: &[ModelEntry]) -> Option<Found> {
    let chosen = choose_model(models)?;
    let name = match chosen.owned_by.as_str() {
        "eva-voice" => return None, // a gateway of our own
        "llamacpp" => "llama.cpp",
        "vllm" => "vLLM",
        "library" => "Ollama",
        "organization_owner" => "LM Studio",
        _ => usual,
    };
    Some(Found { name, url: url.to_owned(), model: chosen.id.clone(), models: models.len() })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    /// Serves this answer at `/v1/models`; its port.
    async fn serve(status: u16, body: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let status = StatusCode::from_u16(status).unwrap();
        let routes = Router::new().route("/v1/models", get(move || async move { (status, body) }));
        tokio::spawn(axum::serve(listener, routes).into_future());
        port
    }

    async fn closed_port() -> u16 {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn running_servers_are_found_and_named_and_others_are_not() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let ports = [
            closed_port().await,
            silent.local_addr().unwrap().port(),
            serve(200, "<html>a page</html>").await,
            serve(404, "not found").await,
            serve(200, r#"{"object":"list","data":[{"id":"nomic-embed-text"}]}"#).await,
            serve(200, r#"{"data":[{"id":"eva","owned_by":"eva-voice"}]}"#).await,
            serve(200, r#"{"data":[{"id":"m-instruct","owned_by":"vllm"}]}"#).await,
            serve(200, r#"{"data":[{"id":"embed"},{"id":"x"}]}"#).await,
        ];
        let candidates = ports.map(|port| Candidate { name: "somebody", port });
        let started = std::time::Instant::now();
        let found = discover(&candidates).await;
        assert!(started.elapsed() < Duration::from_secs(2), "all are asked at once");
        let url = |port: u16| format!("http://127.0.0.1:{port}/v1");
        let vllm =
            Found { name: "vLLM", url: url(ports[6]), model: "m-instruct".into(), models: 1 };
        let other = Found { name: "somebody", url: url(ports[7]), model: "x".into(), models: 2 };
        assert_eq!(found, [vllm, other]);
    }
}

//! Bad input: each gets a clear error with the right status, and disturbs nobody.

#![allow(clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{engines, gateway, runtime};
use eva_voice::bench::local::LocalGateway;
use eva_voice::call::CallSettings;
use eva_voice::headless::{DialError, HeadlessCall, Options};
use eva_voice::signaling::Access;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn send(url: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let mut request = reqwest::Client::new().request(method, format!("{url}{path}"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.unwrap_or_default())
}

fn assert_error(answer: &(StatusCode, Value), status: StatusCode, code: &str) {
    assert_eq!(answer.0, status, "{answer:?}");
    assert_eq!(answer.1["error"]["code"], code, "{answer:?}");
    let message = answer.1["error"]["message"].as_str().unwrap_or_default();
    assert!(message.len() > 15, "a sentence: {answer:?}");
}

const WITHOUT_SOUND: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:\
    00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\na=setup:actpass\r\na=mid:0\r\n\
    a=sctp-port:5000\r\n";

#[test]
fn offers_that_are_none_are_refused_with_a_sentence() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let offer = |sdp: &str| Some(json!({"type": "offer", "sdp": sdp}));
        for (body, code) in [
            (offer("hello"), "bad_offer"),
            (offer(""), "bad_offer"),
            (offer(WITHOUT_SOUND), "bad_offer"),
            (Some(json!({"type": "answer", "sdp": WITHOUT_SOUND})), "bad_offer"),
            (Some(json!({"type": "offer"})), "bad_request"),
            (Some(json!({"type": "offer", "sdp": 7})), "bad_request"),
            (Some(json!(["offer"])), "bad_request"),
            (Some(json!({"type": "offer", "sdp": "v=0", "language": "xx"})), "bad_language"),
            (Some(json!({"type": "offer", "sdp": "v=0", "voice": "nobody"})), "bad_voice"),
            (Some(json!({"type": "offer", "sdp": "v=0", "persona": "x"})), "bad_persona"),
            (
                Some(json!({"type": "offer", "sdp": "v=0", "voice": "en_US-joe-medium#2"})),
                "bad_voice",
            ),
            (
                Some(json!({"type": "offer", "sdp": "v=0", "voice": "en_US-joe-medium@99"})),
                "bad_voice",
            ),
        ] {
            let answer = send(&gateway.url, Method::POST, "/offer", body).await;
            assert_error(&answer, StatusCode::BAD_REQUEST, code);
        }
        let huge = Some(json!({"type": "offer", "sdp": "x".repeat(200_000)}));
        let answer = send(&gateway.url, Method::POST, "/offer", huge).await;
        assert_error(&answer, StatusCode::PAYLOAD_TOO_LARGE, "too_large");
        let answer = send(&gateway.url, Method::POST, "/offer", None).await;
        assert_error(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json");
        assert_eq!(gateway.gateway.active(), 0, "nothing is left of a refused offer");
        gateway.shut_down().await;
    });
}

#[test]
fn unknown_calls_pages_and_methods_are_named() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        for id in ["nonsense", "00000000000000000000000000000000", "%2e%2e%2fetc"] {
            let answer = send(&gateway.url, Method::DELETE, &format!("/calls/{id}"), None).await;
            assert_error(&answer, StatusCode::NOT_FOUND, "unknown_call");
        }
        for path in ["/nothing", "/a/b/c", "/..%2f..%2fCargo.toml"] {
            let answer = send(&gateway.url, Method::GET, path, None).await;
            assert_error(&answer, StatusCode::NOT_FOUND, "not_found");
        }
        let answer = send(&gateway.url, Method::GET, "/offer", None).await;
        assert_error(&answer, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
        gateway.shut_down().await;
    });
}

#[test]
fn a_full_gateway_says_when_to_come_back_and_takes_calls_again() {
    runtime().block_on(async {
        let call = CallSettings::default();
        let gateway =
            LocalGateway::start(engines(), call, 1, Access::open()).await.expect("a gateway");
        let first = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        let (ready, _) = send(&gateway.url, Method::GET, "/ready", None).await;
        assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
        match HeadlessCall::dial(&gateway.url, &Options::default()).await {
            Err(DialError::Refused { status, message }) => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                assert!(message.contains("busy"), "{message}");
            }
            _ => panic!("a second call was taken"),
        }
        first.hang_up().await.expect("hung up");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let again = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        again.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn a_key_is_wanted_where_one_is_set() {
    runtime().block_on(async {
        let call = CallSettings::default();
        let access = Access::with_key("opensesame");
        let gateway = LocalGateway::start(engines(), call, 8, access).await.expect("a gateway");
        for key in [None, Some("sesame".to_owned())] {
            let options = Options { key, ..Options::default() };
            match HeadlessCall::dial(&gateway.url, &options).await {
                Err(DialError::Refused { status, .. }) => {
                    assert_eq!(status, StatusCode::UNAUTHORIZED);
                }
                _ => panic!("a stranger was let in"),
            }
        }
        let options = Options { key: Some("opensesame".to_owned()), ..Options::default() };
        let call = HeadlessCall::dial(&gateway.url, &options).await.expect("a call");
        call.hang_up().await.expect("hung up");
        let (status, _) = send(&gateway.url, Method::GET, "/metrics", None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        gateway.shut_down().await;
    });
}

/// The addresses in the sources of the routes.
fn routes(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(routes(&path));
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        let named = text.split(".route(").skip(1).filter_map(|rest| {
            rest.trim_start().strip_prefix('"')?.split_once('"').map(|(path, _)| path)
        });
        found.extend(named.map(|path| path.replace("{*", "{")));
    }
    found
}

#[test]
fn the_document_names_every_door_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("web/openapi.json")).expect("the document");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().expect("paths");
    let documented: BTreeSet<String> = paths.keys().cloned().collect();
    assert_eq!(documented, routes(&root.join("src/signaling")));
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        for (path, methods) in paths {
            let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            let address = parts.collect::<Vec<_>>().join("/");
            for method in ["get", "post", "put", "patch", "delete"] {
                let sent = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                let answer = client.request(sent, format!("{}{address}", gateway.url)).send().await;
                let taken = answer.expect("an answer").status() != StatusCode::METHOD_NOT_ALLOWED;
                assert_eq!(taken, methods.get(method).is_some(), "{method} {path}");
            }
        }
        gateway.shut_down().await;
    });
}

/// Runs the program; its exit status and what it wrote to standard error.
fn eva(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_eva"))
        .args(arguments)
        .env_remove("EVA_API_KEY")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_port_in_use_is_said_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (success, said) = eva(&["serve", "--listen", &address]);
    assert!(!success && said.contains("cannot listen on"), "{said}");
}

#[test]
fn missing_and_broken_models_are_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().to_str().expect("a plain path");
    let (success, said) = eva(&["serve", "--listen", "127.0.0.1:0", "--models", models]);
    assert!(!success && said.contains("eva models pull"), "{said}");

    // The real models, but one file cut short.
    let real = eva_voice::models::default_dir();
    for entry in std::fs::read_dir(&real).expect("models").flatten() {
        let target = folder.path().join(entry.file_name());
        if entry.file_name() != "silero-vad" && !target.exists() {
            std::os::unix::fs::symlink(entry.path(), target).expect("a link");
        }
    }
    let vad = folder.path().join("silero-vad");
    std::fs::create_dir_all(&vad).expect("a folder");
    std::fs::write(vad.join("silero_vad.onnx"), b"cut short").expect("a file");
    let (success, said) = eva(&["serve", "--listen", "127.0.0.1:0", "--models", models]);
    assert!(!success && said.contains("silero_vad.onnx"), "{said}");
    assert!(said.contains("eva models pull"), "{said}");
}

#[test]
fn others_are_not_let_in_by_accident() {
    let (success, said) = eva(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(!success && said.contains("--api-key"), "{said}");
}

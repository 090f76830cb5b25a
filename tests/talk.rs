//! Chat, speech, recordings and OpenAI's HTTP API, with real engines.

#![allow(clippy::disallowed_methods)]

mod common;
mod tools_support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{engines, engines_with_server, gateway, human, runtime};
use eva_voice::audio::WIRE_RATE;
use eva_voice::audio::file::FileReader;
use eva_voice::audio::wav::wav_bytes;
use eva_voice::bench::local::LocalGateway;
use eva_voice::bench::mock_llm::{Fault, MockConfig, MockLlm, REPLY_TOKENS};
use eva_voice::call::{CallSettings, Engines};
use eva_voice::signaling::Access;
use eva_voice::storage::{DatabaseUrl, Retention, Storage};
use eva_voice::thinking::tools::Toolbox;
use futures::{SinkExt, StreamExt};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tools_support::{Brain, call, service, text};

fn http() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(120)).build().expect("a client")
}

async fn mock(change: impl FnOnce(&mut MockConfig)) -> (MockLlm, LocalGateway) {
    let mut config = MockConfig { first_token_ms: 10, token_ms: 1, ..MockConfig::default() };
    change(&mut config);
    let mock = MockLlm::start(config).await.expect("a mock");
    let gateway = gateway(engines_with_server(mock.url())).await;
    (mock, gateway)
}

async fn post(url: &str, path: &str, body: Value) -> Response {
    http().post(format!("{url}{path}")).json(&body).send().await.expect("an answer")
}

async fn ask(url: &str, body: Value) -> Value {
    let answer = post(url, "/chat", body).await;
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

/// The events of a response of server-sent events.
async fn events(answer: Response) -> Vec<Value> {
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = answer.text().await.expect("text");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect("an event is JSON"))
        .collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    kinds.dedup();
    kinds
}

async fn error(answer: Response, status: u16, code: &str) -> Value {
    assert_eq!(answer.status().as_u16(), status);
    let body: Value = answer.json().await.expect("an error is JSON");
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{body}");
    assert!(body["error"]["type"].is_string() && body["error"].get("param").is_some(), "{body}");
    body
}

/// What a sound file holds, in seconds.
fn seconds(file: Vec<u8>) -> f64 {
    let mut reader = FileReader::open(file.into()).expect("a sound file");
    let mut samples = Vec::new();
    while reader.read(&mut samples).expect("sound") {}
    samples.len() as f64 / 16_000.0
}

#[test]
fn a_session_remembers_and_belongs_to_nobody_else() {
    runtime().block_on(async {
        let (mock, gateway) = mock(|_| {}).await;
        let first = ask(&gateway.url, json!({"message": "My name is Ada."})).await;
        assert!(first["reply"].as_str().is_some_and(|reply| reply.starts_with("Answer number")));
        assert_eq!(first["cached"], false);
        assert!(first["latency_ms"].as_f64() >= first["first_token_ms"].as_f64());
        let session = first["session_id"].clone();
        let second = json!({"message": "What is my name?", "session_id": session});
        assert_eq!(ask(&gateway.url, second).await["session_id"], session);
        let messages = mock.seen().last_request["messages"].clone();
        let texts: Vec<&str> =
            messages.as_array().unwrap().iter().filter_map(|m| m["content"].as_str()).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert_eq!(texts[1], "My name is Ada.");
        assert_eq!(texts[2], first["reply"]);
        ask(&gateway.url, json!({"message": "Who am I?", "session_id": "another"})).await;
        let messages = mock.seen().last_request["messages"].clone();
        assert_eq!(messages.as_array().map(Vec::len), Some(2));
        gateway.shut_down().await;
    });
}

#[test]
fn a_stream_gives_each_token_and_its_end() {
    runtime().block_on(async {
        let (_mock, gateway) = mock(|_| {}).await;
        let answer = post(&gateway.url, "/chat/stream", json!({"message": "Tell me."})).await;
        let events = events(answer).await;
        assert_eq!(kinds(&events), ["start", "token", "done"]);
        let tokens = events.iter().filter(|event| event["type"] == "token").count();
        assert_eq!(tokens, REPLY_TOKENS);
        let done = events.last().unwrap();
        assert_eq!(done["session_id"], events[0]["session_id"]);
        assert!(done["first_token_ms"].as_f64().unwrap() >= 10.0);
        gateway.shut_down().await;
    });
}

#[test]
fn a_greeting_is_cached_once_and_only_at_the_beginning() {
    runtime().block_on(async {
        let (mock, gateway) = mock(|_| {}).await;
        let first = ask(&gateway.url, json!({"message": "Hello!"})).await;
        assert_eq!(first["cached"], false);
        let again = ask(&gateway.url, json!({"message": " hello"})).await;
        assert_eq!((&again["cached"], &again["reply"]), (&json!(true), &first["reply"]));
        let later = json!({"message": "Hello!", "session_id": again["session_id"]});
        assert_eq!(ask(&gateway.url, later).await["cached"], false, "not in mid-conversation");
        assert_eq!(mock.seen().requests, 2);
        let stats: Value = http()
            .get(format!("{}/stats", gateway.url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(stats["cached_replies"], 1);
        assert_eq!(stats["chat"]["last_minute"]["requests"], 2, "cached ones are no latencies");
        assert_eq!((&stats["total_requests"], &stats["active_sessions"]), (&json!(3), &json!(2)));
        gateway.shut_down().await;
    });
}

#[test]
fn a_client_that_goes_away_withdraws_the_reply_and_the_history_keeps_what_it_got() {
    runtime().block_on(async {
        let (mock, gateway) = mock(|config| config.token_ms = 50).await;
        let body = json!({"message": "Go on.", "session_id": "s"});
        let mut answer = post(&gateway.url, "/chat/stream", body).await;
        let mut got = String::new();
        while got.matches("\"token\"").count() < 3 {
            got.push_str(&String::from_utf8_lossy(&answer.chunk().await.unwrap().unwrap()));
        }
        drop(answer);
        mock.wait_until(|seen| seen.withdrawn == 1).await;
        ask(&gateway.url, json!({"message": "And?", "session_id": "s"})).await;
        let messages = mock.seen().last_request["messages"].clone();
        let kept = messages[2]["content"].as_str().expect("what was sent");
        assert!(kept.starts_with("Answer number one"), "{kept}");
        assert!(kept.split(' ').count() < REPLY_TOKENS - 5, "{kept}");
        gateway.shut_down().await;
    });
}

#[test]
fn tools_work_in_chats() {
    runtime().block_on(async {
        let (url, asked) = service().await;
        let brain = Brain::start([
            call("Let me look.", "weather", &json!({"city": "Paris"})),
            text("It is 21 degrees."),
        ])
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tools.toml");
        let tools = format!(
            "[[tool]]\nname = \"weather\"\ndescription = \"x\"\nurl = \"{url}/weather/{{city}}\"\n\
             [tool.parameters]\nrequired = [\"city\"]\nproperties.city = {{ type = \"string\" }}\n"
        );
        std::fs::write(&file, tools).expect("written");
        let tools = Toolbox::load(&file).expect("tools");
        let gateway = gateway(Engines { tools, ..engines_with_server(&brain.url) }).await;
        let body = json!({"message": "How warm is it in Paris?", "session_id": "s"});
        let events = events(post(&gateway.url, "/chat/stream", body).await).await;
        assert_eq!(kinds(&events), ["start", "token", "tool", "token", "done"]);
        let texts: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
        assert_eq!(texts, "Let me look. It is 21 degrees.");
        assert_eq!(asked.lock().unwrap().len(), 1);
        gateway.shut_down().await;
    });
}

#[test]
fn an_expressive_reply_comes_sentence_by_sentence_after_a_filler() {
    runtime().block_on(async {
        let (_mock, gateway) = mock(|config| config.first_token_ms = 150).await;
        while engines().clips.filler(None).is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for format in ["wav", "opus"] {
            let body = json!({"message": format!("Please answer as {format}."), "format": format});
            let events = events(post(&gateway.url, "/chat/expressive", body).await).await;
            assert_eq!(kinds(&events)[..2], ["start", "filler"], "{:?}", kinds(&events));
            let of = |kind: &str| events.iter().filter(|e| e["type"] == kind).collect::<Vec<_>>();
            assert!(of("filler")[0]["at_ms"].as_f64().unwrap() < 300.0);
            assert_eq!((of("text").len(), of("audio").len()), (2, 2));
            assert!(of("done")[0]["reply"].as_str().unwrap().contains("is ready for you now. It"));
            let words = of("text")[0]["words"].as_array().unwrap().clone();
            assert!(words.len() >= 8 && words[0]["text"] == "Answer", "{words:?}");
            assert!(!of("text")[0]["visemes"].as_array().unwrap().is_empty());
            let sound = &of("audio")[0];
            let file = base64::Engine::decode(
                &base64::engine::general_purpose::STANDARD,
                sound["audio"].as_str().unwrap(),
            );
            let file = file.expect("base64");
            let length = sound["duration_ms"].as_f64().unwrap() / 1e3;
            assert!((seconds(file) - length).abs() < 0.06, "{format} {length}");
            let last = words.last().unwrap()["end_ms"].as_f64().unwrap() / 1e3;
            assert!(last <= length && last > 0.5 * length, "{last} of {length}");
        }
        gateway.shut_down().await;
    });
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn socket(gateway: &LocalGateway) -> Socket {
    let url = format!("{}/ws/chat", gateway.url.replacen("http", "ws", 1));
    tokio_tungstenite::connect_async(url).await.expect("a WebSocket").0
}

async fn tell(socket: &mut Socket, event: Value) {
    socket.send(Frame::text(event.to_string())).await.expect("sent");
}

/// The next event.
async fn told(socket: &mut Socket) -> Value {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
        match frame.expect("in time").expect("open").expect("a frame") {
            Frame::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            _ => continue,
        }
    }
}

/// The events up to one of this kind.
async fn told_until(socket: &mut Socket, kind: &str) -> Vec<Value> {
    let mut events = vec![told(socket).await];
    while events.last().unwrap()["type"] != kind {
        events.push(told(socket).await);
    }
    events
}

#[test]
fn a_websocket_carries_a_conversation_and_cancels() {
    runtime().block_on(async {
        let (mock, gateway) = mock(|config| config.token_ms = 20).await;
        let mut socket = socket(&gateway).await;
        tell(&mut socket, json!({"type": "ping"})).await;
        assert_eq!(told(&mut socket).await, json!({"type": "pong"}));
        for message in ["First words.", "Second words."] {
            tell(&mut socket, json!({"type": "message", "message": message})).await;
        }
        let first = told_until(&mut socket, "end").await;
        let second = told_until(&mut socket, "end").await;
        assert_eq!(kinds(&first), ["start", "token", "end"]);
        assert_eq!(first[0]["session_id"], second[0]["session_id"], "one conversation");
        assert!(second.last().unwrap()["latency_ms"].as_f64().unwrap() > 100.0);
        tell(&mut socket, json!({"type": "message", "message": "Third words."})).await;
        told_until(&mut socket, "token").await;
        tell(&mut socket, json!({"type": "cancel"})).await;
        let end = told_until(&mut socket, "end").await.pop().unwrap();
        assert_eq!(end["cancelled"], true);
        mock.wait_until(|seen| seen.withdrawn == 1).await;
        for wrong in [json!({"type": "dance"}), json!({"type": "message", "message": " "})] {
            tell(&mut socket, wrong).await;
            assert_eq!(told(&mut socket).await["type"], "error");
        }
        tell(&mut socket, json!({"type": "ping"})).await;
        assert_eq!(told(&mut socket).await["type"], "pong", "it is still open");
        gateway.shut_down().await;
        let closed = tokio::time::timeout(Duration::from_secs(5), async {
            while let Some(Ok(frame)) = socket.next().await {
                if let Frame::Close(Some(close)) = frame {
                    return u16::from(close.code);
                }
            }
            0
        });
        assert_eq!(closed.await, Ok(1001));
    });
}

#[test]
fn a_hundred_websockets_at_once_all_get_their_replies() {
    runtime().block_on(async {
        let (_mock, gateway) = mock(|_| {}).await;
        let asked = (0..100).map(async |n| {
            let mut socket = socket(&gateway).await;
            tell(&mut socket, json!({"type": "message", "message": format!("Number {n}")})).await;
            told_until(&mut socket, "end").await.len()
        });
        let lengths = futures::future::join_all(asked).await;
        assert!(lengths.iter().all(|length| *length == REPLY_TOKENS + 2), "{lengths:?}");
        gateway.shut_down().await;
    });
}

#[test]
fn what_is_wrong_with_a_message_is_said() {
    runtime().block_on(async {
        let (mock, gateway) = mock(|_| {}).await;
        let url = &gateway.url;
        for path in ["/chat", "/chat/stream", "/chat/expressive"] {
            let say = |body| post(url, path, body);
            error(say(json!({"message": "  "})).await, 400, "empty_message").await;
            error(say(json!({"message": "x ".repeat(9_000)})).await, 400, "message_too_long").await;
            error(say(json!({})).await, 400, "bad_request").await;
            let session = json!({"message": "Hi.", "session_id": "../etc"});
            error(say(session).await, 400, "bad_request").await;
            let plain = http().post(format!("{url}{path}")).body("hello").send().await.unwrap();
            error(plain, 415, "not_json").await;
        }
        let body = json!({"message": "Hi you.", "format": "mp3"});
        let body = error(post(url, "/chat/expressive", body).await, 400, "unknown_format").await;
        assert_eq!(body["error"]["param"], "format");
        mock.change(|config| config.then = Some(Fault::Refuse(500, "out of memory: secret", None)));
        let body =
            error(post(url, "/chat", json!({"message": "Anyone?"})).await, 502, "brain_failed");
        assert!(!body.await.to_string().contains("secret"));
        let events = events(post(url, "/chat/stream", json!({"message": "Anyone?"})).await).await;
        assert_eq!(kinds(&events), ["start", "error"]);
        assert_eq!(events[1]["error"]["type"], "server_error");
        gateway.shut_down().await;
    });
}

#[test]
fn health_tells_each_service_and_notices_a_brain_that_is_gone() {
    runtime().block_on(async {
        let (mock, gateway) = mock(|_| {}).await;
        let health = async || {
            let answer = http().get(format!("{}/health", gateway.url)).send().await.unwrap();
            answer.json::<Value>().await.unwrap()
        };
        ask(&gateway.url, json!({"message": "Are you there?"})).await;
        let up = health().await;
        assert_eq!(up["status"], "healthy");
        for service in ["brain", "recogniser", "voice"] {
            assert_eq!(up["services"][service]["state"], "up", "{up}");
        }
        mock.stop().await;
        let answer = post(&gateway.url, "/chat", json!({"message": "And now?"})).await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        let down = health().await;
        assert_eq!((&down["status"], &down["llm"]), (&json!("degraded"), &json!(false)), "{down}");
        for page in ["/voice", "/eva-her"] {
            let page = http().get(format!("{}{page}", gateway.url)).send().await.unwrap();
            assert_eq!(page.url().path(), "/");
        }
        gateway.shut_down().await;
    });
}

#[test]
fn speech_comes_in_every_format_and_speed_and_wrong_wishes_are_refused() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let url = &gateway.url;
        let text = "The train leaves at nine. Please be there in good time.";
        let say = async |body: Value| {
            let answer = post(url, "/tts", body).await;
            assert_eq!(answer.status(), 200);
            answer.bytes().await.expect("a whole file").to_vec()
        };
        let length = seconds(say(json!({"text": text})).await);
        assert!((2.0..6.0).contains(&length), "{length}");
        let opus = say(json!({"text": text, "format": "opus"})).await;
        assert!(opus.starts_with(b"OggS") && (seconds(opus) - length).abs() < 0.8);
        let pcm = say(json!({"text": text, "format": "pcm"})).await;
        assert!((pcm.len() as f64 / 48_000.0 - length).abs() < 0.8);
        let fast = seconds(say(json!({"text": text, "speed": 2.0})).await);
        assert!(fast < 0.7 * length, "{fast} of {length}");
        let wrong = |body| post(url, "/tts", body);
        error(wrong(json!({"text": " "})).await, 400, "empty_text").await;
        error(wrong(json!({"text": "🙂"})).await, 400, "empty_text").await;
        error(wrong(json!({"text": "word ".repeat(3_000)})).await, 400, "text_too_long").await;
        error(wrong(json!({"text": "Hi.", "voice": "nobody"})).await, 400, "bad_voice").await;
        error(wrong(json!({"text": "Hi.", "speed": 9})).await, 400, "bad_voice").await;
        error(wrong(json!({"text": "Hi.", "format": "mp3"})).await, 400, "unknown_format").await;
        let voices: Value =
            http().get(format!("{url}/voices")).send().await.unwrap().json().await.unwrap();
        let own = voices["voices"].as_array().unwrap().iter().find(|v| v["default"] == true);
        assert_eq!(own.unwrap()["language"], "en");
        gateway.shut_down().await;
    });
}

/// A form (RFC 7578) with a recording and other fields, sent.
async fn send(url: &str, file: Option<&[u8]>, fields: &[(&str, &str)]) -> Response {
    let mut body = Vec::new();
    let mut part = |head: &str, content: &[u8]| {
        body.extend_from_slice(b"--xyz\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"model\"", b"whisper-1");
    for (name, value) in fields {
        part(&format!("name=\"{name}\""), value.as_bytes());
    }
    if let Some(file) = file {
        part("name=\"file\"; filename=\"recording\"", file);
    }
    body.extend_from_slice(b"--xyz--\r\n");
    let kind = "multipart/form-data; boundary=xyz";
    let request = http().post(url).header("content-type", kind).body(body);
    request.send().await.expect("an answer")
}

#[test]
fn recordings_are_written_down_and_broken_ones_refused() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let url = format!("{}/v1/audio/transcriptions", gateway.url);
        let person = human("vm-goodbye.wav");
        let file = wav_bytes(&person, WIRE_RATE);
        let words: Value = send(&url, Some(&file), &[]).await.json().await.unwrap();
        assert!(words["text"].as_str().unwrap().to_lowercase().contains("goodbye"), "{words}");
        // The same words twice with a long pause between them: two segments with their times.
        let pause = vec![0.0; WIRE_RATE as usize * 3];
        let long = wav_bytes(&[&person[..], &pause, &person].concat(), WIRE_RATE);
        let seconds = (long.len() - 44) as f64 / 2.0 / f64::from(WIRE_RATE);
        let verbose = send(&url, Some(&long), &[("response_format", "verbose_json")]).await;
        let verbose: Value = verbose.json().await.unwrap();
        assert!((verbose["duration"].as_f64().unwrap() - seconds).abs() < 0.1, "{verbose}");
        let segments = verbose["segments"].as_array().unwrap();
        assert!(!segments.is_empty() && verbose["language"] == "english", "{verbose}");
        assert!(segments.last().unwrap()["end"].as_f64().unwrap() <= seconds, "{verbose}");
        let srt =
            send(&url, Some(&file), &[("response_format", "srt")]).await.text().await.unwrap();
        assert!(srt.starts_with("1\n00:00:0") && srt.contains(" --> "), "{srt}");
        let streamed = events(send(&url, Some(&file), &[("stream", "true")]).await).await;
        assert_eq!(kinds(&streamed), ["transcript.text.delta", "transcript.text.done"]);
        for broken in [&b"no sound".repeat(100)[..], b"", &file[..30]] {
            error(send(&url, Some(broken), &[]).await, 400, "bad_file").await;
        }
        error(send(&url, None, &[]).await, 400, "no_file").await;
        let format = send(&url, Some(&file), &[("response_format", "xml")]).await;
        error(format, 400, "unknown_format").await;
        let language = send(&url, Some(&file), &[("language", "xx")]).await;
        error(language, 400, "bad_language").await;
        error(send(&url, Some(&vec![0; (25 << 20) + 1]), &[]).await, 413, "too_large").await;
        let plain = http().post(&url).body("hello").send().await.unwrap();
        error(plain, 400, "not_a_form").await;
        gateway.shut_down().await;
    });
}

#[test]
fn completions_are_passed_on_byte_for_byte() {
    runtime().block_on(async {
        let (mock, gateway) = mock(|_| {}).await;
        let url = format!("{}/v1/chat/completions", gateway.url);
        let body = json!({"model": "eva", "stream": true, "seed": 7,
            "messages": [{"role": "user", "content": "Hello?"}]});
        let text = http().post(&url).json(&body).send().await.unwrap().text().await.unwrap();
        assert!(text.starts_with("data: {") && text.ends_with("data: [DONE]\n\n"), "{text}");
        let asked = mock.seen().last_request;
        assert_eq!((&asked["model"], &asked["seed"]), (&json!("mock-23-tokens"), &json!(7)));
        assert_eq!(asked["messages"], body["messages"], "nothing of EVA's is added");
        mock.change(|config| config.then = Some(Fault::Refuse(429, "slow down, please", Some(7))));
        let refused = http().post(&url).json(&body).send().await.unwrap();
        assert_eq!(refused.headers()["retry-after"], "7");
        let refused = error(refused, 429, "brain_refused").await;
        assert_eq!(refused["error"]["message"], "slow down, please");
        mock.change(|config| config.then = Some(Fault::Refuse(401, "bad key", None)));
        let refused = http().post(&url).json(&body).send().await.unwrap();
        error(refused, 502, "brain_failed").await;
        let wrong = |body: &'static str| http().post(&url).body(body).send();
        error(wrong("{").await.unwrap(), 400, "not_json").await;
        error(wrong("{\"messages\": []}").await.unwrap(), 400, "no_messages").await;
        gateway.shut_down().await;
    });
}

#[test]
fn the_official_python_client_talks_listens_and_chats() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/openai_client.py");
    assert!(python.exists(), "no {}: run scripts/setup.sh test", python.display());
    let gateway = runtime().block_on(gateway(engines()));
    let output = Command::new(python)
        .arg(script)
        .env("OPENAI_BASE_URL", format!("{}/v1", gateway.url))
        .env("OPENAI_API_KEY", "none")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}");
    assert!(said.contains("all is well"), "{said}");
    runtime().block_on(gateway.shut_down());
}

/// schemathesis makes requests out of web/openapi.json, good and bad ones, and holds the answers
/// against it. `EVA_API_EXAMPLES` is the number of random ones for each operation.
#[test]
fn the_gateway_keeps_to_its_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tool = root.join(".venv/bin/schemathesis");
    assert!(tool.exists(), "no {}: run scripts/setup.sh test", tool.display());
    let (mock, gateway) = runtime().block_on(async {
        let config = MockConfig { first_token_ms: 1, token_ms: 0, ..MockConfig::default() };
        let mock = MockLlm::start(config).await.expect("a mock");
        let engines = engines_with_server(mock.url());
        let memory = DatabaseUrl::Sqlite("unused.db".into());
        let storage = Storage::open(&memory, Retention::days(0)).await.expect("memory");
        let access = Access::with_key("for-the-fuzzer");
        let call = CallSettings::default();
        let gateway = LocalGateway::start_with_storage(engines, call, 400, access, storage).await;
        (mock, gateway.expect("a gateway"))
    });
    // The same requests each time, unless more are asked for.
    let random = std::env::var("EVA_API_EXAMPLES").ok();
    let examples = random.as_deref().unwrap_or("3");
    let seed: &[&str] = if random.is_none() { &["--seed", "1"] } else { &[] };
    let output = Command::new(root.join("tests/clients/api/run.sh"))
        .args([&gateway.url, "--max-examples", examples])
        .args(seed)
        .env("EVA_API_KEY", "for-the-fuzzer")
        .output()
        .expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}");
    println!("{}", said.split("SUMMARY").last().unwrap_or_default());
    runtime().block_on(gateway.shut_down());
    drop(mock);
}

//! What the gateway's operator sees and does: live calls, their end, errors, metrics, recordings.

#![allow(clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{engines_with_server, runtime, say};
use eva_voice::audio::level::rms_dbfs;
use eva_voice::bench::local::LocalGateway;
use eva_voice::bench::mock_llm::{MockConfig, MockLlm};
use eva_voice::call::CallSettings;
use eva_voice::headless::{
    CALLER_VOICED_DBFS, DialError, HeadlessCall, Options, REPLY_AUDIBLE_DBFS,
};
use eva_voice::ids::SessionId;
use eva_voice::observability::journal::{KEPT, journal};
use eva_voice::recordings::Recordings;
use eva_voice::signaling::Access;
use eva_voice::storage::{DatabaseUrl, Retention, Storage};
use futures::StreamExt;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

const KEY: &str = "the-operators-own-key";
const PATIENCE: Duration = Duration::from_secs(30);

fn options(session: Option<&str>) -> Options {
    let session = session.map(str::to_owned);
    Options { key: Some(KEY.to_owned()), session, ..Options::default() }
}

async fn dial(gateway: &LocalGateway, session: Option<&str>) -> Result<HeadlessCall, DialError> {
    HeadlessCall::dial(&gateway.url, &options(session)).await
}

async fn asked(gateway: &LocalGateway, method: Method, path: &str) -> Response {
    let client = Client::builder().no_proxy().build().expect("a client");
    let request = client.request(method, format!("{}{path}", gateway.url)).bearer_auth(KEY);
    request.send().await.expect("an answer")
}

async fn json(gateway: &LocalGateway, path: &str) -> Value {
    let answer = asked(gateway, Method::GET, path).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("JSON")
}

/// A gateway with a key and a quick brain; with recordings where a folder is given.
async fn gateway(folder: Option<&Path>) -> (MockLlm, LocalGateway) {
    let config = MockConfig { first_token_ms: 10, token_ms: 1, ..MockConfig::default() };
    let mock = MockLlm::start(config).await.expect("a mock");
    let recordings =
        folder.map(|folder| Recordings::open(folder.to_owned(), 30).expect("a folder"));
    let call = CallSettings { recordings, ..CallSettings::default() };
    let storage = match folder {
        Some(folder) => {
            let url = DatabaseUrl::Sqlite(folder.join("eva.db"));
            Storage::open(&url, Retention::days(1)).await.expect("a database")
        }
        None => Storage::off(),
    };
    let (engines, access) = (engines_with_server(mock.url()), Access::with_key(KEY));
    let gateway = LocalGateway::start_with_storage(engines, call, 8, access, storage).await;
    (mock, gateway.expect("a gateway"))
}

/// Waits until no call is in progress.
async fn free(gateway: &LocalGateway) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    while gateway.gateway.active() > 0 {
        assert!(tokio::time::Instant::now() < give_up, "a call does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The states of the one call as the stream tells them, until it is over.
async fn states(events: Response) -> Vec<String> {
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let (mut seen, mut text) = (Vec::<String>::new(), String::new());
    let mut body = events.bytes_stream();
    while let Some(Ok(part)) = body.next().await {
        text.push_str(&String::from_utf8_lossy(&part));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data:"));
            let state: Option<Value> = data.and_then(|data| serde_json::from_str(data).ok());
            text = rest.to_owned();
            let Some(state) = state else { continue };
            match state["calls"][0]["state"].as_str() {
                Some(state) if seen.last().is_none_or(|last| last != state) => {
                    seen.push(state.to_owned());
                }
                None if !seen.is_empty() => return seen,
                _ => {}
            }
        }
    }
    seen
}

#[test]
fn the_operators_doors_want_an_operators_key() {
    runtime().block_on(async {
        let (_mock, gateway) = gateway(None).await;
        let client = Client::builder().no_proxy().build().expect("a client");
        for (method, path) in [
            (Method::GET, "/admin/calls"),
            (Method::GET, "/admin/events"),
            (Method::GET, "/admin/errors"),
            (Method::GET, "/admin/recordings"),
            (Method::GET, "/admin/recordings/x"),
            (Method::DELETE, "/admin/recordings/x"),
            (Method::DELETE, "/admin/calls/x"),
            (Method::GET, "/metrics"),
        ] {
            let url = format!("{}{path}", gateway.url);
            let answer = client.request(method.clone(), url).send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        }
        for (method, path) in [
            (Method::DELETE, "/admin/calls/x"),
            (Method::DELETE, "/admin/calls/5f0f6e1e8a1d4b3c9d7e2a1b0c9d8e7f"),
            (Method::GET, "/admin/recordings/..%2Feva.db"),
            (Method::DELETE, "/admin/recordings/x.ogg"),
        ] {
            let answer = asked(&gateway, method.clone(), path).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
        }
        let page = client.get(format!("{}/admin", gateway.url)).send().await.expect("the page");
        assert_eq!(page.status(), StatusCode::OK, "the page itself is open");
        gateway.shut_down().await;
    });
}

#[test]
fn a_call_is_followed_live_and_ended_in_the_operators_name() {
    runtime().block_on(async {
        let (_mock, gateway) = gateway(None).await;
        let events = asked(&gateway, Method::GET, "/admin/events").await;
        let followed = tokio::spawn(states(events));
        let mut call = dial(&gateway, None).await.expect("a call");
        let report = call.ask(&say("How are you today?").await, PATIENCE).await;
        assert!(report.voice_to_voice_ms.is_some(), "{report:?}");
        // The wire is looked at every two seconds.
        call.run_for(&[], Duration::from_millis(2200)).await;
        let now = json(&gateway, "/admin/calls").await;
        let seen = &now["calls"][0];
        assert_eq!(now["calls"].as_array().expect("calls").len(), 1, "{now}");
        assert_eq!((&now["max_calls"], &now["recording"]), (&8.into(), &false.into()));
        assert_eq!((&seen["carrier"], &seen["protocol"]), (&"webrtc".into(), &"eva".into()));
        assert_eq!((&seen["turns"], &seen["interruptions"]), (&1.into(), &0.into()), "{seen}");
        assert!(seen["last_ms"].as_f64().is_some_and(|ms| ms > 50.0), "{seen}");
        assert_eq!(seen["last_ms"], seen["median_ms"]);
        assert_eq!((&seen["wire"]["transport"], &seen["connected"]), (&"udp".into(), &true.into()));
        assert!(seen["wire"]["lost_percent"].as_f64().is_some(), "{seen}");
        assert!(!now.to_string().contains("today"), "nothing that was said is told: {now}");

        let path = format!("/admin/calls/{}", call.id());
        assert_eq!(asked(&gateway, Method::DELETE, &path).await.status(), StatusCode::NO_CONTENT);
        call.run_for(&[], Duration::from_secs(3)).await;
        assert!(call.is_closed(), "the call is over");
        let told = call.log().iter().find(|event| event["type"] == "eva.hangup");
        assert_eq!(told.expect("a reason")["reason"], "operator");
        free(&gateway).await;
        assert_eq!(asked(&gateway, Method::DELETE, &path).await.status(), StatusCode::NOT_FOUND);
        let states =
            tokio::time::timeout(PATIENCE, followed).await.expect("in time").expect("seen");
        for state in ["listening", "hearing", "thinking", "speaking"] {
            assert!(states.iter().any(|seen| seen == state), "{state} in {states:?}");
        }
        assert_eq!(gateway.gateway.active(), 0);
        gateway.shut_down().await;
    });
}

/// Both channels of a recording, 48 kHz.
fn decoded(bytes: Vec<u8>) -> [Vec<f32>; 2] {
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(bytes));
    let head = reader.read_packet_expected().expect("a head").data;
    let skip = usize::from(u16::from_le_bytes([head[10], head[11]]));
    reader.read_packet_expected().expect("tags");
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).expect("a decoder");
    let (mut pairs, mut pcm) = (Vec::new(), [0.0; 2 * 5760]);
    while let Ok(Some(packet)) = reader.read_packet() {
        let n = decoder.decode_float(&packet.data, &mut pcm, false).expect("sound");
        pairs.extend_from_slice(&pcm[..2 * n]);
    }
    let channel = |at: usize| pairs[2 * skip..].iter().skip(at).step_by(2).copied().collect();
    [channel(0), channel(1)]
}

/// The frames of 20 ms that are louder than this, by their number.
fn loud(pcm: &[f32], dbfs: f32) -> Vec<usize> {
    let frames = pcm.chunks(960).enumerate();
    frames.filter(|(_, frame)| rms_dbfs(frame) > dbfs).map(|(number, _)| number).collect()
}

#[test]
fn a_recording_has_both_sides_where_they_were_and_goes_with_its_session() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (_mock, gateway) = gateway(Some(folder.path())).await;
        let session = SessionId::random();
        let mut call = dial(&gateway, Some(session.as_str())).await.expect("a call");
        let report = call.ask(&say("How are you today?").await, PATIENCE).await;
        let heard = report.voice_to_voice_ms.expect("an answer");
        let id = call.id();
        call.hang_up().await.expect("hung up");
        let mut other = dial(&gateway, None).await.expect("a call");
        other.run_for(&[], Duration::from_millis(300)).await;
        other.hang_up().await.expect("hung up");
        free(&gateway).await;

        let list = json(&gateway, "/admin/recordings").await;
        assert_eq!(list["data"].as_array().expect("recordings").len(), 2, "{list}");
        let own = list["data"].as_array().into_iter().flatten();
        let mut own = own.filter(|one| one["call"] == serde_json::json!(id));
        let own = own.next().expect("the call's own");
        assert!(own["seconds"].as_f64().is_some_and(|long| long > 2.0), "{own}");
        let path = format!("/admin/recordings/{}", own["name"].as_str().expect("a name"));
        let answer = asked(&gateway, Method::GET, &path).await;
        assert_eq!(answer.headers()["content-type"], "audio/ogg");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let bytes = answer.bytes().await.expect("the sound").to_vec();
        assert_eq!(Some(bytes.len() as u64), own["bytes"].as_u64());
        let client = Client::builder().no_proxy().build().expect("a client");
        let part = client.get(format!("{}{path}", gateway.url)).bearer_auth(KEY);
        let part = part.header("range", "bytes=100-199").send().await.expect("a part");
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.bytes().await.expect("bytes"), bytes[100..200]);

        let [person, eva] = decoded(bytes);
        let (said, answered) = (loud(&person, CALLER_VOICED_DBFS), loud(&eva, REPLY_AUDIBLE_DBFS));
        let (last, first) = (said.last().expect("speech"), answered.first().expect("an answer"));
        assert!(last < first, "{last} {first}");
        let between = (first - last - 1) as f64 * 20.0;
        println!("heard {heard} ms apart, recorded {between} ms apart");
        assert!((between - heard).abs() <= 60.0, "heard {heard} ms, recorded {between} ms");
        assert!(rms_dbfs(&eva[..first * 960]) < -55.0, "the person is not on EVA's side");

        let gone =
            asked(&gateway, Method::DELETE, &format!("/sessions/{}", session.as_str())).await;
        assert_eq!(gone.status(), StatusCode::NO_CONTENT);
        assert_eq!(asked(&gateway, Method::GET, &path).await.status(), StatusCode::NOT_FOUND);
        let list = json(&gateway, "/admin/recordings").await;
        let rest = list["data"][0]["name"].as_str().expect("the other one").to_owned();
        let path = format!("/admin/recordings/{rest}");
        assert_eq!(asked(&gateway, Method::DELETE, &path).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(asked(&gateway, Method::DELETE, &path).await.status(), StatusCode::NOT_FOUND);
        gateway.shut_down().await;
    });
}

#[test]
fn warnings_are_kept_counted_and_bounded() {
    runtime().block_on(async {
        eva_voice::observability::start_quiet_logging();
        let (_mock, gateway) = gateway(None).await;
        for number in 0..KEPT + 50 {
            tracing::warn!(number, "a test of the journal");
        }
        tracing::error!(call = "none", "a test of errors");
        tracing::error!(call = "none", "a test of errors");
        assert_eq!(journal().entries().len(), KEPT);
        let told = json(&gateway, "/admin/errors").await;
        // Other tests of this program may have something to say as well.
        let kept = told["data"].as_array().expect("entries");
        let newest = kept.iter().find(|entry| entry["message"] == "a test of errors");
        let newest = newest.expect("the newest");
        assert_eq!(newest["count"], 2);
        assert_eq!(
            (&newest["level"], &newest["fields"]["call"]),
            (&"error".into(), &"none".into())
        );
        assert!(told["counts"]["warn"].as_u64() >= Some(KEPT as u64 + 50), "{}", told["counts"]);
        gateway.shut_down().await;
    });
}

//! What the open internet sends: each is refused, holds nothing, and live calls do not notice.
//!
//! One gateway with real engines, its limits as in production (only its patience is shorter, to keep
//! the test short), and one live call whose packets are timed meanwhile.

#![allow(clippy::disallowed_methods)]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum_server::Handle;
use common::{engines_with_server, runtime, say};
use eva_voice::bench::mock_llm::{MockConfig, MockLlm};
use eva_voice::call::{CallSettings, Engines};
use eva_voice::gateway::{Gateway, GatewayConfig};
use eva_voice::headless::{HeadlessCall, Options};
use eva_voice::outbound;
use eva_voice::rtc::{Caller, CallerConfig, RtcConfig};
use eva_voice::signaling::auth::{Keys, new_key};
use eva_voice::signaling::limits::Limits;
use eva_voice::signaling::server::{self, Patience};
use eva_voice::signaling::{Access, Scope, Scopes, Service};
use eva_voice::thinking::ToolCall;
use eva_voice::thinking::tools::Toolbox;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const PLACES: usize = 8;
const PATIENCE: Duration = Duration::from_secs(2);
const HALF_OPEN_OFFERS: usize = 10_000;
/// What the process may grow by, MiB: the live call, the attackers' own sockets, the allocator.
const GROWTH_MIB: f64 = 48.0;

struct Fortress {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    access: Arc<Access>,
    /// A key with all scopes, and one for calls only.
    all: String,
    calls: String,
}

impl Fortress {
    async fn build(engines: Engines) -> Self {
        let all = new_key("all", Scopes::all(), None).expect("a key");
        let calls = new_key("calls", [Scope::Call].into_iter().collect(), None).expect("a key");
        let keys = Keys::read("keys", &format!("{}{}", all.entry, calls.entry)).expect("two keys");
        let access = Arc::new(Access::with_keys(keys).limited(&Limits::for_places(PLACES)));
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = GatewayConfig {
            chat: eva_voice::chat::ChatSettings::default(),
            rtc: RtcConfig { tcp: Some(anywhere), ..RtcConfig::new(anywhere) },
            max_calls: PLACES,
            call: CallSettings::default(),
            multilingual: false,
            personas: Arc::default(),
            storage: eva_voice::storage::Storage::off(),
        };
        let gateway = Gateway::start(config, engines).await.expect("a gateway");
        let listener = std::net::TcpListener::bind(anywhere).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let service = Service {
            gateway: gateway.clone(),
            access: access.clone(),
            ice: Arc::default(),
            web: None,
        };
        let patience = Patience { headers: PATIENCE, ..Patience::default() };
        tokio::spawn(server::serve(listener, service, None, Handle::new(), patience));
        Self { address, gateway, access, all: all.key, calls: calls.key }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with these headers; its status and what it says went wrong.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, String) {
        let mut request = reqwest::Client::new().request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Bytes as they are; what comes back until the connection ends or `limit` passes.
    fn raw(&self, bytes: &[u8], limit: Duration) -> String {
        let mut stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(limit)).expect("a time limit");
        // The gateway may have closed the connection before all is written.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.take(64 * 1024).read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// How the packets of the live call came: how many, and the median and 99th percentile of what
/// their spacing is off 20 ms, milliseconds.
#[derive(Debug)]
struct Pace {
    packets: u64,
    median: f64,
    p99: f64,
}

/// A live call on a thread of its own in which EVA talks and talks; its packets are timed from
/// `begin` until `stop`.
fn live_call(
    url: String,
    key: String,
    question: Vec<f32>,
    [begin, stop]: [Arc<AtomicBool>; 2],
) -> std::thread::JoinHandle<Pace> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let options = Options { key: Some(key), ..Options::default() };
            let mut call = HeadlessCall::dial(&url, &options).await.expect("a live call");
            call.say(&question);
            let talks = |call: &HeadlessCall| call.pacing_ms().len() > 50;
            assert!(call.run_until(Duration::from_secs(30), talks).await, "EVA talks");
            begin.store(true, Ordering::Relaxed);
            let (packets, timed) = (call.packets(), call.pacing_ms().len());
            while !stop.load(Ordering::Relaxed) {
                call.run_for(&[], Duration::from_millis(100)).await;
                assert!(!call.is_closed(), "the live call was ended");
            }
            let mut off = call.pacing_ms()[timed..].to_vec();
            off.sort_by(f64::total_cmp);
            let at = |percent: usize| off[(off.len() * percent / 100).min(off.len() - 1)];
            let packets = call.packets() - packets;
            let pace = Pace { packets, median: at(50), p99: at(99) };
            call.hang_up().await.expect("hung up");
            pace
        })
    })
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib / 1024.0
}

async fn good_offer() -> String {
    let (caller, offer) = Caller::dial(CallerConfig::default()).await.expect("an offer");
    caller.hang_up().await;
    offer
}

/// The attack runs apart from the gateway's two threads.
#[test]
fn attacks_are_refused_hold_nothing_and_disturb_no_call() {
    let long = MockConfig { tokens: 400, ..MockConfig::default() };
    let brain = runtime().block_on(MockLlm::start(long)).expect("a brain that talks");
    let fortress =
        runtime().block_on(async { Fortress::build(engines_with_server(brain.url())).await });
    let question = runtime().block_on(say("What can you tell me about the weather?"));
    let [begin, stop] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let signals = [begin.clone(), stop.clone()];
    let live = live_call(fortress.url(""), fortress.all.clone(), question, signals);
    let attackers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    attackers.block_on(async {
        while !begin.load(Ordering::Relaxed) {
            assert!(!live.is_finished(), "the live call failed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let before = resident_mib();
        let secret_ends = strangers(&fortress).await;
        foreign_pages(&fortress).await;
        odd_paths(&fortress);
        hostile_offers(&fortress).await;
        let slow = slow_connections(&fortress);
        large_bodies(&fortress);
        half_open_offers(&fortress).await;
        still_closed(slow);
        tokio::time::sleep_until(secret_ends.0.into()).await;
        let bearer = format!("Bearer {}", secret_ends.1);
        let late = fortress.send(Method::GET, "/ice", &[("authorization", &bearer)], None).await;
        assert_eq!(late.0, StatusCode::UNAUTHORIZED, "an expired secret");
        let grown = resident_mib() - before;
        println!("memory grew by {grown:.1} MiB");
        assert!(grown < GROWTH_MIB, "memory grew by {grown:.1} MiB");
    });
    stop.store(true, Ordering::Relaxed);
    let pace = live.join().expect("the live call lasted");
    println!("live call: {pace:.1?}");
    assert!(pace.packets > 200 && pace.median < 4.0 && pace.p99 < 40.0, "{pace:?}");
    attackers.block_on(room_again(&fortress));
}

/// Offers that never connect are given up, and their places are free again.
async fn room_again(fortress: &Fortress) {
    let given_up = Instant::now() + Duration::from_secs(25);
    while fortress.gateway.active() > 0 && Instant::now() < given_up {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fortress.gateway.active(), 0, "no call is left");
    let options = Options { key: Some(fortress.calls.clone()), ..Options::default() };
    let call = HeadlessCall::dial(&fortress.url(""), &options).await.expect("a new call");
    call.hang_up().await.expect("hung up");
}

/// No key, wrong keys, keys in the wrong place, keys and secrets beyond their scope. Returns a
/// secret and when it ends.
async fn strangers(fortress: &Fortress) -> (Instant, String) {
    let offer = Some(json!({"type": "offer", "sdp": good_offer().await}));
    let in_url = format!("/offer?api_key={0}&key={0}&access_token={0}", fortress.all);
    for (path, header) in [
        ("/offer", None),
        ("/offer", Some("Bearer eva_wrong")),
        ("/offer", Some("Bearer ek_wrong")),
        ("/offer", Some("Bearer ")),
        ("/offer", Some("Basic b3duZXI6b3duZXI=")),
        (in_url.as_str(), None),
    ] {
        let headers: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
        let (status, code) = fortress.send(Method::POST, path, &headers, offer.clone()).await;
        assert_eq!(
            (status, code.as_str()),
            (StatusCode::UNAUTHORIZED, "unauthorized"),
            "{header:?}"
        );
    }
    let bearer = format!("Bearer {}", fortress.all);
    let headers = [("authorization", bearer.as_str())].into_iter().collect::<Vec<_>>();
    let map = headers.iter().map(|(name, value)| {
        (
            name.parse::<reqwest::header::HeaderName>().expect("a name"),
            value.parse().expect("a value"),
        )
    });
    let here = [127, 0, 0, 1].into();
    let owner = fortress.access.check(&map.collect(), here, Scope::Call).expect("a good key");
    let secret = fortress.access.issue(&owner, 10, None).expect("a secret");
    let ends = Instant::now() + Duration::from_millis(10_100);
    for (key, path, status) in [
        (&fortress.all, "/metrics", StatusCode::OK),
        (&fortress.calls, "/metrics", StatusCode::FORBIDDEN),
        (&secret.value, "/metrics", StatusCode::FORBIDDEN),
        (&secret.value, "/ice", StatusCode::OK),
        (&secret.value, "/ice", StatusCode::OK),
    ] {
        let bearer = format!("Bearer {key}");
        let answer = fortress.send(Method::GET, path, &[("authorization", &bearer)], None).await;
        assert_eq!(answer.0, status, "{path}");
    }
    (ends, secret.value)
}

/// Pages elsewhere, with and without a good key; a page that is let in gets what a browser needs.
async fn foreign_pages(fortress: &Fortress) {
    let bearer = format!("Bearer {}", fortress.all);
    let websocket = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (method, path) in [
        (Method::GET, "/health"),
        (Method::POST, "/offer"),
        (Method::OPTIONS, "/offer"),
        (Method::GET, "/v1/realtime"),
    ] {
        for origin in ["https://evil.example", "null", "https://127.0.0.1.evil.example"] {
            let mut headers = vec![("origin", origin), ("authorization", bearer.as_str())];
            headers.extend(websocket.iter().filter(|_| path == "/v1/realtime"));
            let (status, code) = fortress.send(method.clone(), path, &headers, None).await;
            assert_eq!((status, code.as_str()), (StatusCode::FORBIDDEN, "foreign_origin"));
        }
    }
    let preflight = reqwest::Client::new()
        .request(Method::OPTIONS, fortress.url("/offer"))
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,openai-beta,x-openai-agents-sdk,x-stainless-os",
        )
        .send()
        .await
        .expect("an answer");
    let header = |name: &str| {
        let value = preflight.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    assert!(preflight.status().is_success());
    assert_eq!(header("access-control-allow-origin"), "http://localhost:3000");
    assert!(header("access-control-allow-headers").contains("x-stainless-os"));
    assert!(header("access-control-allow-methods").contains("PATCH"));
    let answer = reqwest::Client::new()
        .get(fortress.url("/health"))
        .header("origin", "http://localhost:3000")
        .send()
        .await
        .expect("an answer");
    let exposed = answer.headers()["access-control-expose-headers"].to_str().expect("text");
    for name in ["location", "link", "etag"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    assert!(answer.headers().get("strict-transport-security").is_none(), "not over plain HTTP");
}

/// Paths that would climb, headers that are too large, requests for another host.
fn odd_paths(fortress: &Fortress) {
    let key = format!("Authorization: Bearer {}\r\n", fortress.calls);
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/..%5c..%5cetc%5cpasswd",
        "/calls/../metrics",
        "/calls/%2e%2e/metrics",
        "//metrics",
        "/metrics%00.js",
        "/app.js%00",
        "/%",
        "/\u{0}",
        "http://evil.example/metrics",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{key}\r\n", fortress.address);
        let answer = fortress.raw(request.as_bytes(), Duration::from_millis(300));
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "400" | "403" | "404"), "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("# TYPE"), "{path}: {answer}");
    }
    let huge = format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let answer = fortress.raw(huge.as_bytes(), Duration::from_millis(300));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(500));
    let answer = fortress.raw(many.as_bytes(), Duration::from_millis(300));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// Offers with what should not be there: refused, or answered without a trace of it.
async fn hostile_offers(fortress: &Fortress) {
    let good = good_offer().await;
    let with = |line: &str| format!("{good}{line}\r\n");
    let changed = |from: &str, to: &str| {
        let line = good.lines().find(|line| line.starts_with(from)).expect("such a line");
        good.replace(line, to)
    };
    let candidate = "a=candidate:1 1 udp 1 evil.example 9 typ host";
    let offers = [
        with("a=evil:1"),
        with("a=fmtp:111 x=evil\ra=evil:1"),
        with("a=fmtp:111 evil=1;x-google-start-bitrate=99999999"),
        with("a=evil:\u{0}\u{7}"),
        with(candidate),
        with("a=candidate:evil"),
        with(&format!("{candidate}\r\n").repeat(1000)),
        with(&format!("a=evil:{}", "x".repeat(50_000))),
        with(&"a=x\r\n".repeat(10_000)),
        with("a=ice-options:evil\r\na=setup:evil"),
        changed("s=", "s=evil\na=evil:1"),
        changed("a=ice-ufrag:", "a=ice-ufrag:evil\u{0}\r\nX-Evil: 1"),
        changed("a=ice-pwd:", &format!("a=ice-pwd:{}", "evil".repeat(2000))),
        changed("a=fingerprint:", "a=fingerprint:sha-256 evil"),
        changed("o=", "o=evil 1 1 IN IP4 127.0.0.1\r\nc=IN IP4 169.254.169.254"),
    ];
    let bearer = format!("Bearer {}", fortress.calls);
    let client = reqwest::Client::new();
    for (index, sdp) in offers.into_iter().enumerate() {
        let offer = client.post(fortress.url("/offer")).header("authorization", &bearer);
        let offer = offer.json(&json!({"type": "offer", "sdp": sdp})).send().await;
        let offer = offer.expect("an answer");
        let status = offer.status();
        assert!(offer.headers().get("x-evil").is_none());
        if status != StatusCode::CREATED {
            let refused = matches!(status.as_u16(), 400 | 413);
            assert!(refused, "offer {index}: {status} {:?}", offer.text().await);
            continue;
        }
        let answer: Value = offer.json().await.expect("JSON");
        let sdp = answer["sdp"].as_str().expect("an answer");
        assert!(!sdp.contains("evil") && !sdp.contains("99999999"), "offer {index}: {sdp}");
        for line in sdp.split("\r\n").filter(|line| !line.is_empty()) {
            let plain = line.as_bytes().get(1) == Some(&b'=') && !line.contains(char::is_control);
            assert!(plain, "offer {index}: {line:?}");
        }
        let call = format!("/calls/{}", answer["call_id"].as_str().expect("an id"));
        let ended = fortress.send(Method::DELETE, &call, &[("authorization", &bearer)], None).await;
        assert_eq!(ended.0, StatusCode::NO_CONTENT);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Connections that say nothing, trickle their headers, or stop within a preface of HTTP/2.
fn slow_connections(fortress: &Fortress) -> Vec<(TcpStream, Instant)> {
    let beginnings: [&[u8]; 4] =
        [b"", b"G", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-a:"];
    let connect = |index: usize| {
        let mut stream = TcpStream::connect(fortress.address).expect("connected");
        stream.write_all(beginnings[index % beginnings.len()]).expect("written");
        (stream, Instant::now())
    };
    let slow: Vec<_> = (0..300).map(connect).collect();
    let answer = fortress.raw(b"GET /health HTTP/1.0\r\n\r\n", Duration::from_millis(500));
    assert!(answer.contains("healthy"), "others are served meanwhile: {answer}");
    slow
}

fn still_closed(slow: Vec<(TcpStream, Instant)>) {
    for (index, (mut stream, since)) in slow.into_iter().enumerate() {
        let rest = (PATIENCE + Duration::from_secs(1)).saturating_sub(since.elapsed());
        std::thread::sleep(rest);
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let timed_out = ended.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!timed_out, "connection {index} is still open after {:?}", since.elapsed());
    }
}

/// 100 MB, told at once or bit by bit.
fn large_bodies(fortress: &Fortress) {
    let key = format!("Authorization: Bearer {}\r\n", fortress.calls);
    for length in ["Content-Length: 104857600", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(fortress.address).expect("connected");
        let head = format!(
            "POST /offer HTTP/1.1\r\nHost: x\r\n{key}Content-Type: application/json\r\n{length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a time limit");
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a time limit");
        let chunk = [b"10000\r\n", [b'x'; 0x10000].as_slice(), b"\r\n"].concat();
        let taken = (0..1600).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(taken < 200, "{length}: {taken} chunks of 64 KiB were taken");
        let mut answer = [0; 64];
        // What was said before the connection broke may be lost with it.
        if let Ok(count @ 1..) = stream.read(&mut answer) {
            let answer = String::from_utf8_lossy(&answer[..count]);
            assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        }
    }
}

/// Good offers from a good key, and nobody who connects.
async fn half_open_offers(fortress: &Fortress) {
    let body = Arc::new(json!({"type": "offer", "sdp": good_offer().await}).to_string());
    let bearer = format!("Bearer {}", fortress.calls);
    let client = reqwest::Client::new();
    let sent = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tasks = (0..16).map(|_| {
        let (client, body, sent) = (client.clone(), body.clone(), sent.clone());
        let (url, bearer) = (fortress.url("/offer"), bearer.clone());
        tokio::spawn(async move {
            let mut admitted = 0;
            while sent.fetch_add(1, Ordering::Relaxed) < HALF_OPEN_OFFERS {
                let request = client.post(&url).header("authorization", &bearer);
                let request = request.header("content-type", "application/json");
                let answer = request.body(body.to_string()).send().await.expect("an answer");
                match answer.status() {
                    StatusCode::CREATED => admitted += 1,
                    StatusCode::TOO_MANY_REQUESTS => {
                        assert!(answer.headers().contains_key("retry-after"));
                    }
                    other => panic!("{other}"),
                }
                // The connection is used again.
                let _ = answer.bytes().await;
            }
            admitted
        })
    });
    let mut admitted = 0;
    for task in tasks.collect::<Vec<_>>() {
        admitted += task.await.expect("the task ends");
    }
    println!("{HALF_OPEN_OFFERS} offers in {:?}, {admitted} admitted", began.elapsed());
    // Each holds its place until it is given up, some seconds later.
    let given_up = began.elapsed().as_secs() as usize / 7;
    assert!(admitted <= PLACES / 2 * (1 + given_up), "{admitted} admitted");
    assert!(fortress.gateway.active() <= 1 + PLACES / 2);
    assert!(fortress.gateway.takes_calls(), "places are left");
}

/// A name of this machine that stands in `/etc/hosts`, and the inner address that it leads to. A
/// name on the internet could lead there as well.
fn inner_name() -> (String, IpAddr) {
    let hosts = std::fs::read_to_string("/etc/hosts").expect("names of this machine");
    let mut lines = hosts.lines().map(str::split_whitespace);
    let named = lines.find_map(|mut words| {
        let ip: IpAddr = words.next()?.parse().ok()?;
        let name = words.find(|name| !name.starts_with("localhost"))?;
        let inner = !outbound::is_public(ip) && std::net::TcpListener::bind((ip, 0)).is_ok();
        inner.then(|| (name.to_owned(), ip))
    });
    named.expect("a name beside localhost in /etc/hosts")
}

/// A tool whose name leads inwards does not get there.
#[test]
fn a_tool_is_not_steered_to_a_private_address() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (name, ip) = inner_name();
    let inside = std::net::TcpListener::bind((ip, 0)).expect("a port");
    inside.set_nonblocking(true).expect("a socket");
    let port = inside.local_addr().expect("an address").port();
    let run = |more: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tools.toml");
        let tool = format!(
            "[[tool]]\nname = \"inside\"\ndescription = \"x\"\ntimeout_s = 1\n\
             url = \"http://{name}:{port}/\"\n{more}"
        );
        std::fs::write(&file, tool).expect("written");
        let tools = Toolbox::load(&file).expect("a tool");
        let call = ToolCall::new("inside", "{}");
        let outcome = runtime().block_on(tools.prepare(&call).expect("ready").result);
        outcome.text.into_revealed()
    };
    let told = run("");
    assert!(told.contains("private address"), "{told}");
    assert!(inside.accept().is_err(), "nobody came");
    let told = run("allow_private = true");
    assert!(!told.contains("private address"), "{told}");
    assert!(inside.accept().is_ok(), "the owner allowed it");
}

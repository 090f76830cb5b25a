//! WHIP, WHEP and later offers: by raw HTTP for every rule, and with real engines for what is heard.

#![allow(clippy::disallowed_methods)]

mod common;
#[path = "rtc_support/mod.rs"]
mod rtc_support;

use std::time::{Duration, Instant};

use common::{engines, engines_with_server, gateway, runtime, say, transcribe};
use eva_voice::audio::opus::{Decoder, Encoder, EncoderConfig};
use eva_voice::audio::{SLOT_SAMPLES, WIRE_RATE};
use eva_voice::bench::local::LocalGateway;
use eva_voice::call::CallSettings;
use eva_voice::rtc::{Caller, CallerConfig, IceCredentials, LegEvent, WebLeg};
use eva_voice::signaling::Access;
use futures::FutureExt;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use rtc_support::{from_localhost, until, until_closed};
use serde_json::{Value, json};

const SDP: &str = "application/sdp";
/// An answer may take so many times 20 ms on a busy machine.
const PATIENCE_SLOTS: u32 = 25 * 50;
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    /// An error of our one shape.
    fn is(&self, status: StatusCode, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        let body: Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(body["error"]["code"], code, "{body}");
        self
    }

    /// The address that plays the call.
    fn plays(&self) -> String {
        let links = self.headers.get_all("link").iter();
        let links = links.filter_map(|link| link.to_str().ok());
        let mut links = links;
        let link = links.find(|link| link.contains("#whep\"")).expect("a Link to WHEP");
        link[1..link.find('>').expect("a reference")].to_owned()
    }
}

async fn send(
    gateway: &LocalGateway,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Answer {
    let mut request = reqwest::Client::new()
        .request(method, format!("{}{path}", gateway.url))
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(HeaderName::from_static(name), *value);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.expect("text") }
}

async fn post_sdp(gateway: &LocalGateway, path: &str, offer: &str) -> Answer {
    send(gateway, Method::POST, path, &[("content-type", SDP)], offer).await
}

async fn patch(gateway: &LocalGateway, path: &str, if_match: Option<&str>, body: &str) -> Answer {
    let mut headers = vec![("content-type", FRAGMENT)];
    headers.extend(if_match.map(|tag| ("if-match", tag)));
    send(gateway, Method::PATCH, path, &headers, body).await
}

fn voice_only() -> CallerConfig {
    CallerConfig { data_channel: false, ..from_localhost() }
}

/// A caller, and its offer with this direction.
async fn dial(direction: &str) -> (Caller, String) {
    let (caller, offer) = Caller::dial(voice_only()).await.expect("an offer");
    (caller, offer.replace("a=sendrecv", direction))
}

fn value(sdp: &str, name: &str) -> String {
    let prefix = format!("a={name}:");
    let line = sdp.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name} in {sdp}")).to_owned()
}

fn fragment(ice: &IceCredentials) -> String {
    format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n",
        ice.ufrag, ice.password
    )
}

fn ice_of(sdp: &str) -> IceCredentials {
    IceCredentials { ufrag: value(sdp, "ice-ufrag"), password: value(sdp, "ice-pwd") }
}

async fn until_free(gateway: &LocalGateway) {
    let give_up = Instant::now() + Duration::from_secs(5);
    while gateway.gateway.active() + gateway.gateway.endpoint().calls() > 0 {
        assert!(Instant::now() < give_up, "something is left of the calls");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The first leg says `sound`, then silence, and all of them listen until EVA has answered; what each
/// heard, 48 kHz.
async fn converse(legs: &mut [WebLeg], sound: &[f32]) -> Vec<Vec<f32>> {
    let mut encoder = Encoder::new(EncoderConfig::default()).expect("libopus");
    let decoder = || Decoder::full_band().expect("libopus");
    let mut ears: Vec<_> = legs.iter().map(|_| (decoder(), Vec::new(), None)).collect();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut last_heard = Instant::now();
    for slot in 0..PATIENCE_SLOTS {
        pace.tick().await;
        let answered = ears.iter().any(|(_, pcm, _)| pcm.len() > WIRE_RATE as usize / 2);
        if answered && last_heard.elapsed() > Duration::from_secs(2) {
            break;
        }
        let from = (slot as usize * SLOT_SAMPLES).min(sound.len());
        let mut pcm = [0.0; SLOT_SAMPLES];
        for (to, sample) in pcm.iter_mut().zip(&sound[from..]) {
            *to = *sample;
        }
        let packet = encoder.encode(&pcm).expect("a packet");
        legs[0].sender().send_opus(packet, slot * SLOT_SAMPLES as u32, slot == 0);
        for (leg, (decoder, pcm, last)) in legs.iter_mut().zip(&mut ears) {
            while let Some(Some(event)) = leg.next_event().now_or_never() {
                if let LegEvent::Rtp(packet) = event {
                    let expected = last.map(|last: u16| last.wrapping_add(1));
                    assert!(expected.is_none_or(|expected| expected == packet.sequence));
                    *last = Some(packet.sequence);
                    last_heard = Instant::now();
                    decoder.decode(&packet.payload, pcm).expect("Opus");
                }
            }
        }
    }
    ears.into_iter().map(|(_, pcm, _)| pcm).collect()
}

#[test]
fn a_caller_speaks_by_whip_and_two_players_hear_the_answer_by_whep() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let (caller, offer) = dial("a=sendonly").await;
        let created = post_sdp(&gateway, "/whip?language=en", &offer).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        assert_eq!(created.header("content-type"), SDP);
        assert!(created.body.contains("a=recvonly") && !created.body.contains("a=msid:"));
        let mut speaker = caller.accept(&created.body).await.expect("a leg");
        until(&mut speaker, |event| matches!(event, LegEvent::Connected)).await;

        let mut legs = vec![speaker];
        let mut addresses = Vec::new();
        for direction in ["a=recvonly", "a=sendrecv"] {
            let (caller, offer) = dial(direction).await;
            let playing = post_sdp(&gateway, &created.plays(), &offer).await;
            assert_eq!(playing.status, StatusCode::CREATED, "{}", playing.body);
            assert!(playing.body.contains("a=sendonly"), "{}", playing.body);
            let mut player = caller.accept(&playing.body).await.expect("a leg");
            until(&mut player, |event| matches!(event, LegEvent::Connected)).await;
            legs.push(player);
            addresses.push(playing.header("location"));
        }
        let question = say("What is the capital of France?").await;
        let heard = converse(&mut legs, &question).await;
        assert!(heard[0].is_empty(), "by the letter, nothing comes back");
        for sound in &heard[1..] {
            assert!(sound.len() > WIRE_RATE as usize / 2, "{} samples", sound.len());
            let words = transcribe(sound).await;
            assert!(words.contains("paris"), "heard {words:?}");
        }

        let ended = send(&gateway, Method::DELETE, &addresses[0], &[], "").await;
        assert_eq!(ended.status, StatusCode::OK);
        until_closed(&mut legs[1]).await;
        assert_eq!(gateway.gateway.active(), 1, "the call goes on");
        let again = send(&gateway, Method::DELETE, &addresses[0], &[], "").await;
        again.is(StatusCode::NOT_FOUND, "unknown_player");
        let session = created.header("location");
        assert_eq!(send(&gateway, Method::DELETE, &session, &[], "").await.status, StatusCode::OK);
        until_closed(&mut legs[0]).await;
        until_closed(&mut legs[2]).await;
        until_free(&gateway).await;
        let again = send(&gateway, Method::DELETE, &session, &[], "").await;
        again.is(StatusCode::NOT_FOUND, "unknown_call");
        gateway.shut_down().await;
    });
}

#[test]
fn duplex_talks_both_ways_on_one_connection() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let (caller, offer) = dial("a=sendrecv").await;
        // A client that only knows the client's part of DTLS is answered as one.
        let offer = offer.replace("a=setup:actpass", "a=setup:active");
        let created = post_sdp(&gateway, "/whip?duplex=1", &offer).await;
        assert!(created.body.contains("a=setup:passive"), "{}", created.body);
        assert!(created.body.contains("a=sendrecv"), "{}", created.body);
        let mut leg = caller.accept(&created.body).await.expect("a leg");
        until(&mut leg, |event| matches!(event, LegEvent::Connected)).await;
        let mut legs = [leg];
        let question = say("What is the capital of France?").await;
        let words = transcribe(&converse(&mut legs, &question).await[0]).await;
        assert!(words.contains("paris"), "heard {words:?}");
        let [leg] = legs;
        leg.split().0.close().await;
        until_free(&gateway).await;
        gateway.shut_down().await;
    });
}

#[test]
fn whip_refuses_what_the_rfc_wants_refused() {
    runtime().block_on(async {
        let gateway = gateway(engines_with_server("http://127.0.0.1:9/v1")).await;
        let (caller, offer) = dial("a=sendonly").await;
        let post = async |kind: &str, body: &str| {
            send(&gateway, Method::POST, "/whip", &[("content-type", kind)], body).await
        };
        for kind in ["application/json", "text/plain", "application/sdpx"] {
            post(kind, &offer).await.is(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type");
        }
        let silent = send(&gateway, Method::POST, "/whip", &[], &offer).await;
        silent.is(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type");
        let json_only = [("content-type", SDP), ("accept", "application/json")];
        let picky = send(&gateway, Method::POST, "/whip", &json_only, &offer).await;
        picky.is(StatusCode::NOT_ACCEPTABLE, "not_acceptable");
        for bad in ["", "hello", "v=0\r\n"] {
            post(SDP, bad).await.is(StatusCode::BAD_REQUEST, "bad_offer");
        }
        for direction in ["a=recvonly", "a=inactive"] {
            let wrong = offer.replace("a=sendonly", direction);
            post(SDP, &wrong).await.is(StatusCode::BAD_REQUEST, "bad_offer");
        }
        let section = &offer[offer.find("m=audio").expect("audio")..];
        let twice = format!("{offer}{}", section.replace("a=mid:0", "a=mid:1"));
        post(SDP, &twice).await.is(StatusCode::BAD_REQUEST, "bad_offer");
        let wishes =
            ["voice=nobody", "language=xx", "duplex=maybe"].map(|wish| format!("/whip?{wish}"));
        for (path, code) in
            wishes.iter().zip(["bad_voice", "bad_language", "bad_request", "bad_request"])
        {
            post_sdp(&gateway, path, &offer).await.is(StatusCode::BAD_REQUEST, code);
        }
        post(SDP, &"x".repeat(100_000)).await.is(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
        assert_eq!(gateway.gateway.active(), 0, "nothing is left of what was refused");

        let with_parameter = post("application/sdp; charset=utf-8", &offer).await;
        assert_eq!(with_parameter.status, StatusCode::CREATED);
        let session = with_parameter.header("location");
        for path in ["/whip", &session] {
            for method in [Method::GET, Method::HEAD] {
                let got = send(&gateway, method, path, &[], "").await;
                assert_eq!((got.status, got.body.len()), (StatusCode::NO_CONTENT, 0));
            }
            let put = send(&gateway, Method::PUT, path, &[], "").await;
            put.is(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
        }
        send(&gateway, Method::DELETE, "/whip", &[], "")
            .await
            .is(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
        post_sdp(&gateway, &session, &offer)
            .await
            .is(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
        let options = send(&gateway, Method::OPTIONS, "/whip", &[], "").await;
        assert_eq!(options.header("accept-post"), SDP);
        let options = send(&gateway, Method::OPTIONS, &session, &[], "").await;
        assert_eq!(options.header("accept-patch"), FRAGMENT);
        let tag = send(&gateway, Method::DELETE, &session, &[("if-match", "\"other\"")], "").await;
        assert_eq!(tag.status, StatusCode::OK, "the tag is ignored where no session is meant");
        until_free(&gateway).await;
        caller.hang_up().await;
        gateway.shut_down().await;
    });
}

#[test]
fn candidates_and_restarts_come_by_patch_under_the_entity_tag() {
    runtime().block_on(async {
        let gateway = gateway(engines_with_server("http://127.0.0.1:9/v1")).await;
        let (caller, offer) = dial("a=sendonly").await;
        let created = post_sdp(&gateway, "/whip", &offer).await;
        let (session, tag) = (created.header("location"), created.header("etag"));
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 6, "{tag}");
        let theirs = ice_of(&offer);
        let trickle = fragment(&theirs);

        let trickled = patch(&gateway, &session, Some(&tag), &trickle).await;
        assert_eq!((trickled.status, trickled.body.as_str()), (StatusCode::NO_CONTENT, ""));
        assert_eq!(trickled.header("etag"), "");
        patch(&gateway, &session, None, &trickle)
            .await
            .is(StatusCode::PRECONDITION_REQUIRED, "etag_missing");
        for other in ["\"other\"", &format!("W/{tag}"), "nonsense"] {
            patch(&gateway, &session, Some(other), &trickle)
                .await
                .is(StatusCode::PRECONDITION_FAILED, "etag_outdated");
        }
        let either = format!("\"other\", {tag}");
        let listed = patch(&gateway, &session, Some(&either), &trickle).await;
        assert_eq!(listed.status, StatusCode::NO_CONTENT);
        for (bad, status, code) in [
            ("hello", StatusCode::BAD_REQUEST, "bad_fragment"),
            ("a=mid:0\r\n", StatusCode::UNPROCESSABLE_ENTITY, "unusable_fragment"),
            ("a=ice-ufrag:abcd\r\n", StatusCode::UNPROCESSABLE_ENTITY, "unusable_fragment"),
            (
                "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n",
                StatusCode::UNPROCESSABLE_ENTITY,
                "unusable_fragment",
            ),
        ] {
            patch(&gateway, &session, Some(&tag), bad).await.is(status, code);
        }
        let json = [("content-type", "application/json"), ("if-match", tag.as_str())];
        let wrong = send(&gateway, Method::PATCH, &session, &json, &trickle).await;
        wrong.is(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type");
        assert_eq!(wrong.header("accept-patch"), FRAGMENT);

        let next = IceCredentials::random();
        let restarted = patch(&gateway, &session, Some("*"), &fragment(&next)).await;
        assert_eq!(restarted.status, StatusCode::OK, "{}", restarted.body);
        assert_eq!(restarted.header("content-type"), FRAGMENT);
        assert_ne!(restarted.header("etag"), tag);
        let ours = ice_of(&restarted.body);
        assert_ne!(ours, ice_of(&created.body));
        assert_eq!(value(&restarted.body, "mid"), value(&created.body, "mid"));
        let candidates = |sdp: &str| sdp.matches("a=candidate:").count();
        assert_eq!(candidates(&restarted.body), candidates(&created.body));
        patch(&gateway, &session, Some(&tag), &trickle)
            .await
            .is(StatusCode::PRECONDITION_FAILED, "etag_outdated");
        let again = patch(&gateway, &session, Some("*"), &fragment(&next)).await;
        assert_eq!((again.status, ice_of(&again.body)), (StatusCode::OK, ours), "asked again");
        let tag = restarted.header("etag");
        let trickled = patch(&gateway, &session, Some(&tag), &fragment(&next)).await;
        assert_eq!(trickled.status, StatusCode::NO_CONTENT);

        send(&gateway, Method::DELETE, &session, &[], "").await;
        until_free(&gateway).await;
        patch(&gateway, &session, Some("*"), &trickle)
            .await
            .is(StatusCode::NOT_FOUND, "unknown_call");
        caller.hang_up().await;
        gateway.shut_down().await;
    });
}

#[test]
fn players_are_counted_and_their_offers_checked() {
    runtime().block_on(async {
        let gateway = gateway(engines_with_server("http://127.0.0.1:9/v1")).await;
        let (caller, offer) = dial("a=sendonly").await;
        let created = post_sdp(&gateway, "/whip", &offer).await;
        let whep = created.plays();
        let (player, listens) = dial("a=recvonly").await;
        for unknown in ["/whep/00000000000000000000000000000000", "/whep/nonsense"] {
            post_sdp(&gateway, unknown, &listens).await.is(StatusCode::NOT_FOUND, "unknown_call");
        }
        for direction in ["a=sendonly", "a=inactive"] {
            let wrong = listens.replace("a=recvonly", direction);
            post_sdp(&gateway, &whep, &wrong).await.is(StatusCode::BAD_REQUEST, "bad_offer");
        }
        post_sdp(&gateway, &whep, "hello").await.is(StatusCode::BAD_REQUEST, "bad_offer");
        let head = send(&gateway, Method::HEAD, &whep, &[], "").await;
        assert_eq!((head.status, head.header("content-type").as_str()), (StatusCode::OK, SDP));
        let mut addresses = Vec::new();
        for _ in 0..eva_voice::rtc::MOST_PLAYERS {
            let playing = post_sdp(&gateway, &whep, &listens).await;
            assert_eq!(playing.status, StatusCode::CREATED);
            addresses.push(playing.header("location"));
        }
        let full = post_sdp(&gateway, &whep, &listens).await;
        full.is(StatusCode::SERVICE_UNAVAILABLE, "too_many_players");
        assert!(!full.header("retry-after").is_empty());
        // Players that never learned their tag may trickle, and restart with a star.
        let trickled = patch(&gateway, &addresses[0], None, &fragment(&ice_of(&listens))).await;
        assert_eq!(trickled.status, StatusCode::NO_CONTENT);
        let next = fragment(&IceCredentials::random());
        patch(&gateway, &addresses[0], None, &next)
            .await
            .is(StatusCode::PRECONDITION_REQUIRED, "etag_missing");
        assert_eq!(patch(&gateway, &addresses[0], Some("*"), &next).await.status, StatusCode::OK);
        let gone = send(&gateway, Method::DELETE, &addresses[0], &[], "").await;
        assert_eq!(gone.status, StatusCode::OK);
        let give_up = Instant::now() + Duration::from_secs(3);
        loop {
            let again = post_sdp(&gateway, &whep, &listens).await;
            if again.status == StatusCode::CREATED {
                break;
            }
            assert!(Instant::now() < give_up, "the place is free again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        send(&gateway, Method::DELETE, &created.header("location"), &[], "").await;
        until_free(&gateway).await;
        player.hang_up().await;
        caller.hang_up().await;
        gateway.shut_down().await;
    });
}

#[test]
fn a_key_and_a_free_line_are_wanted_as_anywhere() {
    runtime().block_on(async {
        let engines = engines_with_server("http://127.0.0.1:9/v1");
        let access = Access::with_key("secret");
        let gateway = LocalGateway::start(engines, CallSettings::default(), 1, access)
            .await
            .expect("a gateway");
        let (caller, offer) = dial("a=sendonly").await;
        let refused = post_sdp(&gateway, "/whip", &offer).await;
        refused.is(StatusCode::UNAUTHORIZED, "unauthorized");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        let options = send(&gateway, Method::OPTIONS, "/whip", &[], "").await;
        assert_eq!(options.status, StatusCode::OK, "browsers ask before they may send the key");
        let keyed = [("content-type", SDP), ("authorization", "Bearer secret")];
        let created = send(&gateway, Method::POST, "/whip", &keyed, &offer).await;
        assert_eq!(created.status, StatusCode::CREATED);
        let session = created.header("location");
        send(&gateway, Method::DELETE, &session, &[], "")
            .await
            .is(StatusCode::UNAUTHORIZED, "unauthorized");
        let busy = send(&gateway, Method::POST, "/whip", &keyed, &offer).await;
        busy.is(StatusCode::SERVICE_UNAVAILABLE, "busy");
        assert!(!busy.header("retry-after").is_empty());
        send(&gateway, Method::DELETE, &session, &keyed[1..], "").await;
        until_free(&gateway).await;
        caller.hang_up().await;
        gateway.shut_down().await;
    });
}

#[test]
fn the_plain_offer_is_continued_restarted_and_trickled_as_pipecats_clients_do() {
    runtime().block_on(async {
        let gateway = gateway(engines_with_server("http://127.0.0.1:9/v1")).await;
        let (caller, offer) = Caller::dial(voice_only()).await.expect("an offer");
        let call = async |method: Method, body: Value| {
            let headers = [("content-type", "application/json")];
            let answer = send(&gateway, method, "/api/offer", &headers, &body.to_string()).await;
            let json: Value = serde_json::from_str(&answer.body).expect("JSON");
            (answer, json)
        };
        let offered = |sdp: &str, pc_id: Value, restart: bool| {
            json!({"sdp": sdp, "type": "offer", "pc_id": pc_id, "restart_pc": restart,
                   "requestData": {"language": "en", "theirs": [1]}})
        };
        let (created, first) = call(Method::POST, offered(&offer, Value::Null, false)).await;
        assert_eq!(created.status, StatusCode::CREATED, "{first}");
        assert_eq!((&first["type"], &first["pc_id"]), (&json!("answer"), &first["call_id"]));
        let id = first["pc_id"].clone();

        let candidate = json!({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host",
                               "sdp_mid": "0", "sdp_mline_index": 0});
        let trickled = json!({"pc_id": id, "candidates": [candidate]});
        let (answer, body) = call(Method::PATCH, trickled).await;
        assert_eq!((answer.status, body), (StatusCode::OK, json!({"status": "success"})));
        let (answer, _) = call(Method::PATCH, json!({"pc_id": id, "candidates": [7]})).await;
        answer.is(StatusCode::BAD_REQUEST, "bad_request");
        let unknown = "00000000000000000000000000000000";
        let (answer, _) = call(Method::PATCH, json!({"pc_id": unknown, "candidates": []})).await;
        answer.is(StatusCode::NOT_FOUND, "unknown_call");

        // The same once more, then with new credentials, then what is not the same connection.
        let (same, body) = call(Method::POST, offered(&offer, id.clone(), false)).await;
        assert_eq!((same.status, &body["pc_id"]), (StatusCode::OK, &id));
        let sdp = |body: &Value| body["sdp"].as_str().expect("an answer").to_owned();
        assert_eq!(ice_of(&sdp(&body)), ice_of(&sdp(&first)));
        let theirs = ice_of(&offer);
        let next = IceCredentials::random();
        let restart =
            offer.replace(&theirs.ufrag, &next.ufrag).replace(&theirs.password, &next.password);
        let (restarted, body) = call(Method::POST, offered(&restart, id.clone(), false)).await;
        assert_eq!(restarted.status, StatusCode::OK, "{body}");
        assert_ne!(ice_of(&sdp(&body)), ice_of(&sdp(&first)));
        assert_eq!(value(&sdp(&body), "fingerprint"), value(&sdp(&first), "fingerprint"));
        let fingerprint = value(&offer, "fingerprint");
        let other = offer.replace(&fingerprint, &format!("sha-256 {}", ["AB"; 32].join(":")));
        let (refused, _) = call(Method::POST, offered(&other, id.clone(), false)).await;
        refused.is(StatusCode::BAD_REQUEST, "bad_offer");
        let (refused, _) = call(Method::POST, offered(&offer, json!(unknown), false)).await;
        refused.is(StatusCode::NOT_FOUND, "unknown_call");
        assert_eq!(gateway.gateway.active(), 1);

        // A new connection of the same client: the call begins anew in the old one's place.
        let (anew, body) = call(Method::POST, offered(&other, id.clone(), true)).await;
        assert_eq!(anew.status, StatusCode::CREATED, "{body}");
        assert_ne!(body["pc_id"], id);
        assert_eq!(gateway.gateway.active(), 1);
        let path = format!("/calls/{}", body["call_id"].as_str().expect("an id"));
        let ended = send(&gateway, Method::DELETE, &path, &[], "").await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        until_free(&gateway).await;
        caller.hang_up().await;
        gateway.shut_down().await;
    });
}

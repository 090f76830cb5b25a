//! What strangers and broken clients send does not harm the gateway or its calls.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use bytes::Bytes;
use eva_voice::rtc::{Caller, CallerConfig, LegEvent, RtcError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

mod rtc_support;
use rtc_support::{call, endpoint, from_localhost, until};

/// An offer as our own caller makes it.
async fn good_offer() -> String {
    let (caller, offer) = Caller::dial(from_localhost()).await.expect("an offer");
    caller.hang_up().await;
    offer
}

/// A binding request for `ufrag` with a MESSAGE-INTEGRITY nobody computed.
fn forged_request(ufrag: &str) -> Vec<u8> {
    let username = format!("{ufrag}:x");
    let mut message = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes".to_vec();
    message.extend([0, 6, 0, username.len() as u8]);
    message.extend(username.as_bytes());
    message.resize(message.len().next_multiple_of(4), 0);
    message.extend([0, 8, 0, 20]);
    message.extend([0xab; 20]);
    let length = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_requests_and_noise_do_not_disturb_a_call() {
    let endpoint = endpoint().await;
    let (caller, offer) = Caller::dial(from_localhost()).await.expect("an offer");
    let (mut near, answer) = endpoint.answer(&offer).await.expect("an answer");
    let mut far = caller.accept(&answer).await.expect("a fitting answer");
    until(&mut far, |event| matches!(event, LegEvent::Connected)).await;
    until(&mut near, |event| matches!(event, LegEvent::Connected)).await;
    let ufrag = answer
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"))
        .expect("the answer names the call");
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    stranger.connect(endpoint.udp_addr()).await.expect("an address");
    for round in 0..200_u32 {
        stranger.send(&forged_request(ufrag)).await.expect("sent");
        stranger.send(&[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xfc]).await.expect("sent");
        stranger.send(&vec![round as u8; round as usize * 7]).await.expect("sent");
        near.sender().send_opus(Bytes::from_static(b"opus"), round * 960, false);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut buffer = [0; 2000];
    assert!(stranger.try_recv(&mut buffer).is_err(), "a stranger is never answered");
    for round in 0..200_u32 {
        let event = until(&mut far, |event| matches!(event, LegEvent::Rtp(_))).await;
        let LegEvent::Rtp(packet) = event else { unreachable!("only Rtp fits") };
        if packet.timestamp == 199 * 960 {
            break;
        }
        assert!(round < 199, "the last packet came");
    }
    assert!(far.sender().send_opus(Bytes::from_static(b"still here"), 0, false));
    until(&mut near, |event| matches!(event, LegEvent::Rtp(_))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_do_not_introduce_themselves_are_closed_and_stop_nobody() {
    let endpoint = endpoint().await;
    let address = endpoint.tcp_addr().expect("a TCP port");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address).await.expect("accepted"));
    }
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 4, 1, 2, 3, 4], &[0, 0]] {
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        stream.write_all(garbage).await.expect("sent");
        is_closed_within(1, &mut stream).await;
    }
    let config = CallerConfig { tcp_only: true, ..from_localhost() };
    let _call = call(&endpoint, config).await;
    is_closed_within(6, &mut silent[0]).await;
}

async fn is_closed_within(seconds: u64, stream: &mut TcpStream) {
    let mut buffer = [0; 10];
    let closed = tokio::time::timeout(Duration::from_secs(seconds), stream.read(&mut buffer));
    assert!(matches!(closed.await, Ok(Ok(0) | Err(_))), "closed within {seconds} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_without_opus_audio_is_refused_with_a_sentence() {
    let endpoint = endpoint().await;
    let good = good_offer().await;
    let data_only: String = {
        let cut = good.find("m=audio").expect("an audio section");
        let end = good[cut..].find("m=application").expect("a data section") + cut;
        format!("{}{}", &good[..cut], &good[end..])
    };
    let no_opus = good.replace("opus/48000/2", "PCMU/8000");
    let rejected = good.replace("m=audio 9", "m=audio 0");
    for offer in [data_only, no_opus, rejected] {
        let error = endpoint.answer(&offer).await.err().expect("refused");
        assert!(matches!(error, RtcError::NoAudio), "{error}");
    }
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_offer_is_refused_with_a_sentence() {
    let endpoint = endpoint().await;
    let good = good_offer().await;
    let without = |prefix: &str| -> String {
        good.split_inclusive('\n').filter(|line| !line.starts_with(prefix)).collect()
    };
    let offers = [
        String::new(),
        "hello".to_owned(),
        "v=0\r\n".to_owned(),
        "{\"type\":\"offer\"}".to_owned(),
        without("a=ice-ufrag"),
        without("a=ice-pwd"),
        without("a=fingerprint"),
        without("a=rtcp-mux"),
        good.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        good.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 zz:"),
        good.replace("o=", "x="),
        format!("{good}{}", "a=x\r\n".repeat(20_000)),
        format!("{good}{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(100)),
    ];
    for offer in offers {
        let shown: String = offer.chars().take(40).collect();
        match endpoint.answer(&offer).await {
            Err(error @ RtcError::BadOffer(_)) => println!("{error}"),
            Err(error) => panic!("{shown:?}: {error}"),
            Ok(_) => panic!("{shown:?} was answered"),
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutilated_offers_never_bring_the_gateway_down() {
    let endpoint = endpoint().await;
    let good = good_offer().await;
    let lines: Vec<&str> = good.lines().collect();
    for missing in 0..lines.len() {
        let offer: String = (0..lines.len())
            .filter(|line| *line != missing)
            .map(|line| format!("{}\r\n", lines[line]))
            .collect();
        let _ = endpoint.answer(&offer).await;
    }
    for cut in (0..good.len()).step_by(37) {
        let _ = endpoint.answer(&good[..cut]).await;
    }
    let _call = call(&endpoint, from_localhost()).await;
}

/// The `m=` lines of an answer: kind and port.
fn sections(answer: &str) -> Vec<(String, String)> {
    let words = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    };
    answer.lines().filter_map(|line| line.strip_prefix("m=")).map(words).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn video_and_a_second_audio_section_are_rejected_and_the_rest_answered() {
    let endpoint = endpoint().await;
    let good = good_offer().await;
    let transport: String = good
        .lines()
        .skip_while(|line| !line.starts_with("m=audio"))
        .filter(|line| line.starts_with("a=ice-") || line.starts_with("a=setup"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let more = format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:7\r\n\
         a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:8\r\n\
         a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
    );
    let offer = format!("{good}{more}").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 7 8");
    let (_leg, answer) = endpoint.answer(&offer).await.expect("an answer");
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "{answer}");
    let ports: Vec<(String, bool)> =
        sections(&answer).into_iter().map(|(kind, port)| (kind, port != "0")).collect();
    let expected = [("audio", true), ("application", true), ("video", false), ("audio", false)];
    assert_eq!(ports, expected.map(|(kind, live)| (kind.to_owned(), live)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_way_offers_are_answered() {
    let endpoint = endpoint().await;
    let audio_is = |offer: &str, direction: &str| {
        let (audio, data) = offer.split_once("m=application").expect("a data section");
        format!("{}m=application{data}", audio.replace("a=sendrecv", direction))
    };
    let good = good_offer().await;
    for (offered, answered) in [("a=sendonly", "a=recvonly"), ("a=recvonly", "a=sendonly")] {
        let offer = audio_is(&good, offered);
        let (_leg, answer) = endpoint.answer(&offer).await.expect("an answer");
        let (audio, _) = answer.split_once("m=application").expect("a data section");
        assert!(audio.contains(answered), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_complete_and_asks_for_the_sound_we_want() {
    let endpoint = endpoint().await;
    let offer = good_offer().await.replace("useinbandfec=1", "useinbandfec=1;usedtx=1");
    let (_leg, answer) = endpoint.answer(&offer).await.expect("an answer");
    let (udp, tcp) = (endpoint.udp_addr().port(), endpoint.tcp_addr().expect("TCP").port());
    println!("{answer}");
    for line in [
        &format!(" udp 2130706431 127.0.0.1 {udp} typ host"),
        &format!(" 127.0.0.1 {tcp} typ host tcptype passive"),
        "a=end-of-candidates",
        "minptime=10;useinbandfec=1;usedtx=1;stereo=0;sprop-stereo=0;maxaveragebitrate=32000",
        "a=ptime:20",
    ] {
        assert_eq!(answer.matches(line).count(), 1, "{line}");
    }
}

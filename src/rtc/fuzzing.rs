//! What fuzzers call of this folder, see [`crate::fuzzing`].
//!
//! In: any bytes. Out: nothing; a panic says that a promise is broken. Owns an endpoint on loopback
//! that answers offers as the gateway does; nobody connects to it.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::mux::locked;
use super::sdp::{Answer, Offer};
use super::stun::Packet;
use super::{Flow, IceFragment, RtcConfig, RtcEndpoint};

/// Between a first offer and a later one.
const SEPARATOR: &str = "\n=====\n";
/// How long an abandoned call may hold its place.
const PATIENCE: Duration = Duration::from_secs(10);

/// Any bytes as an offer and a later one: they are answered or refused, and an answer says nothing of
/// the client's own making but names of sections and numbers of codecs.
pub fn sdp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Answer::read(text).map(|answer| answer.reached_at(([127, 0, 0, 1], 9).into()));
    let (first, later) = text.split_once(SEPARATOR).unwrap_or((text, text));
    let Ok(offer) = Offer::read(first) else { return };
    assert!(Offer::read(&offer.text).is_ok(), "what was taken is taken again: {}", offer.text);
    let flow = match text.len() % 4 {
        0 => Flow::FromClient,
        1 => Flow::ToClient,
        _ => Flow::Both,
    };
    let gateway = locked(gateway());
    let (runtime, endpoint) = &*gateway;
    runtime.block_on(async {
        let Ok((leg, answer)) = endpoint.answer_as(first, flow).await else { return };
        is_ours(&answer, first);
        let handle = leg.handle().expect("an answering leg has a handle");
        if let Ok(answer) = endpoint.reanswer(&handle, later) {
            is_ours(&answer, later);
        }
        let ours = endpoint.ice(&handle).write();
        assert!(IceFragment::read(&ours).is_ok(), "our own fragment: {ours}");
        leg.split().0.close().await;
        let gone = async {
            while endpoint.calls() > 0 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("an abandoned call leaves its place");
    });
}

fn gateway() -> &'static Mutex<(Runtime, RtcEndpoint)> {
    static GATEWAY: OnceLock<Mutex<(Runtime, RtcEndpoint)>> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = RtcConfig::new(([127, 0, 0, 1], 0).into());
        let endpoint = runtime.block_on(RtcEndpoint::bind(config)).expect("a port");
        Mutex::new((runtime, endpoint))
    })
}

/// Attributes of answers whose values are ours, or fixed words.
const OURS: &[&str] = &[
    "candidate",
    "end-of-candidates",
    "extmap-allow-mixed",
    "fingerprint",
    "fmtp",
    "ice-options",
    "ice-pwd",
    "ice-ufrag",
    "inactive",
    "max-message-size",
    "msid",
    "msid-semantic",
    "ptime",
    "recvonly",
    "rtcp-mux",
    "rtcp-mux-only",
    "rtcp-rsize",
    "rtpmap",
    "sctp-port",
    "sendonly",
    "sendrecv",
    "setup",
    "ssrc",
];

/// Every line of an answer is of a kind that answers have; what is repeated of the offer is the name
/// of a section, as it stands there.
fn is_ours(answer: &str, offer: &str) {
    let offered: HashSet<&str> = offer.lines().map(str::trim_end).collect();
    for line in answer.split_terminator("\r\n") {
        assert!(!line.contains(char::is_control), "a line with {line:?} in {answer:?}");
        let (kind, value) = line.split_once('=').expect("a line is LETTER=VALUE");
        let known = match kind {
            "v" | "o" | "s" | "t" | "c" => offered.contains(line) || value.len() < 64,
            "m" => value.len() < 256,
            "a" => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                match name {
                    "mid" => offered.contains(line),
                    "group" => {
                        let mut mids = value.strip_prefix("BUNDLE").expect("of BUNDLE").split(' ');
                        mids.all(|mid| {
                            mid.is_empty() || offered.contains(format!("a=mid:{mid}").as_str())
                        })
                    }
                    _ => OURS.contains(&name),
                }
            }
            _ => false,
        };
        assert!(known, "{line:?} is nothing that belongs into an answer: {answer}");
    }
}

/// Any bytes as a fragment of WHIP's: what is read is written so that it reads the same again.
pub fn whip_fragment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = match IceFragment::read(text) {
        Ok(read) => read,
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 200 && message.is_ascii(), "{message}");
            return;
        }
    };
    let written = read.write();
    let lines = written.split_terminator("\r\n");
    for line in lines.clone() {
        assert!(!line.contains(char::is_control), "a line with {line:?} in {written:?}");
        assert!(line.starts_with("a=") || line.starts_with("m="), "{line:?} in {written:?}");
    }
    assert_eq!(lines.last(), Some("a=end-of-candidates"));
    let again = IceFragment::read(&written).expect("what was written is read");
    assert_eq!(again.write(), written);
    assert_eq!((again.ice, again.candidates), (read.ice, read.candidates));
}

/// Any bytes as a datagram: whatever it is told to be lies within it.
pub fn stun(datagram: &[u8]) {
    let signed = match Packet::of(datagram) {
        Packet::Request(request) => {
            assert!(request.ufrag.len() <= datagram.len());
            assert_eq!(request.transaction, datagram[8..20]);
            request.signed()
        }
        Packet::Success(Some(signed)) => signed,
        _ => return,
    };
    let (proof, tag) = signed.proof();
    assert_eq!(tag.len(), 20);
    let length = usize::from(u16::from_be_bytes([proof.header[2], proof.header[3]]));
    assert_eq!(length, proof.attributes.len() + 24, "the header counts up to the tag");
    assert!(20 + length <= datagram.len());
}

//! Session descriptions as text: what must be in an offer, and what the library leaves out of the
//! answer (RFC 8866, RFC 9429).
//!
//! In: offers from clients, which are not trusted, and the library's own answers. Out: an [`Offer`]
//! fit for the library, or a sentence saying why not; and complete answers. Owns nothing.

use std::net::{IpAddr, SocketAddr};

use super::RtcError;
use super::ice::IceCredentials;

/// Far more than any browser's offer for one audio and one data section.
const LONGEST_OFFER: usize = 64 << 10;
/// Sections of an offer. Browsers send one per kind of media they have.
const MOST_SECTIONS: usize = 16;

/// An offer that can be answered.
#[derive(Debug)]
pub(super) struct Offer {
    /// The offer for the library: no candidates, lines ended as the RFC wants.
    pub(super) text: String,
    /// Which way the client wants sound to go.
    pub(super) direction: Direction,
    /// How many audio sections it has.
    pub(super) audio_sections: usize,
    /// The client asks for silence not to be sent (`usedtx`, RFC 7587 section 6.1).
    pub(super) dtx: bool,
    /// The client's ICE credentials.
    pub(super) ice: IceCredentials,
    /// The hash of the certificate the client shows in DTLS.
    pub(super) fingerprint: String,
    /// The client wants to begin the DTLS handshake (`setup:active`).
    pub(super) dtls_client: bool,
}

/// Which way sound goes, as the side says it whose description it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn of_line(line: &str) -> Option<Self> {
        match line {
            "a=sendrecv" => Some(Self::SendRecv),
            "a=sendonly" => Some(Self::SendOnly),
            "a=recvonly" => Some(Self::RecvOnly),
            "a=inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    pub(super) fn line(self) -> &'static str {
        match self {
            Self::SendRecv => "a=sendrecv",
            Self::SendOnly => "a=sendonly",
            Self::RecvOnly => "a=recvonly",
            Self::Inactive => "a=inactive",
        }
    }

    fn from(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub(super) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// What this side answers who can do as much as `self`, to an offer of `offered`.
    pub(super) fn narrowed_by(self, offered: Self) -> Self {
        Self::from(self.sends() && offered.receives(), self.receives() && offered.sends())
    }
}

/// What we ask a client's Opus encoder for.
pub(super) struct OpusTerms {
    /// Which way we want sound to go, at most.
    pub(super) direction: Direction,
    /// The client's offer.
    pub(super) offered: Direction,
    /// Say that RTCP never has a port of its own (RFC 8858).
    pub(super) mux_only: bool,
    pub(super) dtx: bool,
    /// Bits per second.
    pub(super) max_average_bitrate: u32,
}

/// One `m=` line and what belongs to it.
pub(super) struct Section<'a> {
    pub(super) lines: Vec<&'a str>,
}

impl<'a> Section<'a> {
    pub(super) fn attribute(&self, prefix: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| line.strip_prefix(prefix))
    }

    /// `audio`, `video`, `application`.
    pub(super) fn kind(&self) -> &'a str {
        let rest = self.lines[0].strip_prefix("m=").unwrap_or_default();
        rest.split(' ').next().unwrap_or_default()
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind() == kind
    }

    /// Which way sound goes; both, where nothing is said (RFC 8866 section 6.7).
    pub(super) fn direction(&self) -> Direction {
        let said = self.lines.iter().find_map(|line| Direction::of_line(line));
        said.unwrap_or(Direction::SendRecv)
    }

    /// Whether the section is used (RFC 9429 section 5.2.1 on `bundle-only`).
    pub(super) fn is_live(&self) -> bool {
        self.lines[0].split(' ').nth(1) != Some("0") || self.attribute("a=bundle-only").is_some()
    }

    /// The payload type of Opus, if the section has it.
    pub(super) fn opus(&self) -> Option<u8> {
        self.lines.iter().find_map(|line| {
            let (number, codec) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            let mut codec = codec.trim().splitn(3, '/');
            let is_opus = codec.next()?.eq_ignore_ascii_case("opus") && codec.next()? == "48000";
            let listed = self.lines[0].split(' ').skip(3).any(|listed| listed == number);
            (is_opus && listed).then(|| number.parse().ok())?
        })
    }

    fn format_parameters(&self, payload_type: u8) -> &'a str {
        self.attribute(&format!("a=fmtp:{payload_type} ")).unwrap_or_default()
    }
}

/// The section as a rejected one (RFC 9429 section 5.3.1).
pub(super) fn rejected<'a>(section: &Section<'a>) -> impl Iterator<Item = &'a str> {
    let line = match section.kind() {
        "audio" => "m=audio 0 UDP/TLS/RTP/SAVPF 0",
        "application" => "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        _ => "m=video 0 UDP/TLS/RTP/SAVPF 0",
    };
    let mid = section.lines.iter().copied().filter(|line| line.starts_with("a=mid:"));
    [line, "c=IN IP4 0.0.0.0"].into_iter().chain(mid.collect::<Vec<_>>())
}

/// Takes a description apart into the lines before the first `m=` and the sections.
pub(super) fn split(text: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let mut session = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            sections.push(Section { lines: vec![line] });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        } else {
            session.push(line);
        }
    }
    (session, sections)
}

pub(super) fn join<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

impl Offer {
    /// Checks a client's offer.
    ///
    /// # Errors
    /// [`RtcError::BadOffer`] and [`RtcError::NoAudio`], each saying what to change.
    pub(super) fn read(text: &str) -> Result<Self, RtcError> {
        let bad = |reason: &str| Err(RtcError::BadOffer(reason.to_owned()));
        if text.len() > LONGEST_OFFER {
            return bad("it is longer than 64 KiB");
        }
        let (session, sections) = split(text);
        // Some readers end a line at a lone CR, and names of sections come back in answers.
        let mut lines = session.iter().chain(sections.iter().flat_map(|s| &s.lines));
        if lines.any(|line| line.contains(char::is_control)) {
            return bad("it has a control character within a line");
        }
        if session.first() != Some(&"v=0") || !session.iter().any(|line| line.starts_with("o=")) {
            return bad("it does not begin with v=0 and name its origin (o=)");
        }
        if sections.is_empty() || sections.len() > MOST_SECTIONS {
            return bad("it must have between 1 and 16 m= sections");
        }
        let Some((section, payload_type)) = voice(&sections) else {
            return Err(RtcError::NoAudio);
        };
        let transport = match transport(&session, section) {
            Ok(transport) => transport,
            Err(reason) => return bad(reason),
        };
        let lines = session.into_iter().chain(sections.iter().flat_map(|s| s.lines.clone()));
        let kept = lines.filter(|line| {
            !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-candidates")
        });
        Ok(Self {
            text: join(kept),
            direction: section.direction(),
            audio_sections: sections.iter().filter(|s| s.is("audio") && s.is_live()).count(),
            ice: transport.ice,
            fingerprint: transport.fingerprint,
            dtls_client: transport.setup == "active",
            dtx: parameter(section.format_parameters(payload_type), "usedtx") == Some("1"),
        })
    }
}

/// What a section says about its transport.
struct Transport<'a> {
    ice: IceCredentials,
    fingerprint: String,
    setup: &'a str,
}

/// The transport of an audio section that has Opus, or what keeps us from talking on it.
fn transport<'a>(
    session: &[&'a str],
    section: &Section<'a>,
) -> Result<Transport<'a>, &'static str> {
    let value = |prefix: &str| {
        let of_session = || session.iter().find_map(|line| line.strip_prefix(prefix));
        section.attribute(prefix).or_else(of_session).unwrap_or_default()
    };
    if !section.lines[0].contains("RTP/SAVPF") {
        return Err("its audio is not encrypted (UDP/TLS/RTP/SAVPF)");
    }
    let ice = IceCredentials::read(value("a=ice-ufrag:"), value("a=ice-pwd:"))?;
    let fingerprint = value("a=fingerprint:");
    if !is_fingerprint(fingerprint) {
        return Err("it has no DTLS fingerprint (a=fingerprint:sha-256 AB:CD:…)");
    }
    if section.attribute("a=rtcp-mux").is_none() {
        return Err("it does not multiplex RTCP (rtcp-mux)");
    }
    let fingerprint = fingerprint.to_ascii_uppercase();
    Ok(Transport { ice, fingerprint, setup: value("a=setup:") })
}

/// A hash function's name and pairs of hexadecimal digits (RFC 8122 section 5).
fn is_fingerprint(value: &str) -> bool {
    value.split_once(' ').is_some_and(|(_, digest)| {
        let is_pair = |pair: &str| pair.len() == 2 && u8::from_str_radix(pair, 16).is_ok();
        digest.len() >= 32 * 3 - 1 && digest.split(':').all(is_pair)
    })
}

/// The section to talk on, and the payload type of Opus there.
fn voice<'s, 'a>(sections: &'s [Section<'a>]) -> Option<(&'s Section<'a>, u8)> {
    sections
        .iter()
        .filter(|section| section.is("audio") && section.is_live())
        .find_map(|section| Some((section, section.opus()?)))
}

/// The value of a name in a `;` separated list.
fn parameter<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The library's answer with the candidates, the end of candidates, what we ask of the client's Opus
/// encoder, and audio on one section only; and the payload type agreed for Opus.
///
/// # Errors
/// [`RtcError::NoAudio`] if the library has refused the audio, [`RtcError::BadOffer`] if it would
/// send our voice on another section.
pub(super) fn complete(
    answer: &str,
    terms: &OpusTerms,
    candidates: &[String],
) -> Result<(String, u8), RtcError> {
    let (session, sections) = split(answer);
    let (voice, payload_type) = voice(&sections).ok_or(RtcError::NoAudio)?;
    let direction = terms.direction.narrowed_by(terms.offered);
    let has_our_voice = voice.attribute("a=msid:").is_some();
    if direction.sends() && !has_our_voice {
        return Err(RtcError::BadOffer("its first audio section is not the one with Opus".into()));
    }
    let format = format!(
        "a=fmtp:{payload_type} minptime=10;useinbandfec=1;usedtx={};stereo=0;sprop-stereo=0;\
         maxaveragebitrate={}",
        u8::from(terms.dtx),
        terms.max_average_bitrate
    );
    let group = bundle_without_other_audio(&session, &sections, voice);
    let mut lines = session;
    if let Some(line) = lines.iter_mut().find(|line| line.starts_with("a=group:BUNDLE")) {
        *line = &group;
    }
    // With BUNDLE all sections share the transport of the first, so its candidates count.
    let first = sections.iter().position(|section| {
        section.is_live() && (!section.is("audio") || std::ptr::eq(section, voice))
    });
    for (index, section) in sections.iter().enumerate() {
        let is_voice = std::ptr::eq(section, voice);
        if section.is("audio") && !is_voice {
            lines.extend(rejected(section));
            continue;
        }
        let replaced = |line: &&str| {
            let ours = line.starts_with("a=fmtp:") || line.starts_with("a=ptime:");
            is_voice && (ours || Direction::of_line(line).is_some())
                || *line == "a=rtcp-mux-only"
                || line.starts_with("a=candidate:")
                || line.starts_with("a=end-of-candidates")
        };
        lines.extend(section.lines.iter().copied().filter(|line| !replaced(line)));
        if is_voice {
            lines.extend([direction.line(), format.as_str(), "a=ptime:20"]);
            lines.extend(terms.mux_only.then_some("a=rtcp-mux-only"));
        }
        if Some(index) == first {
            lines.extend(candidates.iter().map(String::as_str));
            lines.push("a=end-of-candidates");
        }
    }
    Ok((join(lines.into_iter()), payload_type))
}

/// The answer's BUNDLE line less the audio sections that are rejected.
fn bundle_without_other_audio(
    session: &[&str],
    sections: &[Section<'_>],
    voice: &Section<'_>,
) -> String {
    let rejected: Vec<&str> = sections
        .iter()
        .filter(|section| section.is("audio") && !std::ptr::eq(*section, voice))
        .filter_map(|section| section.attribute("a=mid:"))
        .collect();
    let group = session.iter().find(|line| line.starts_with("a=group:BUNDLE"));
    let names = group.map_or("", |line| line);
    let kept: Vec<&str> = names.split(' ').filter(|name| !rejected.contains(name)).collect();
    kept.join(" ")
}

/// Host candidates (RFC 8839 section 5.1; RFC 6544 for TCP) for each address, UDP before TCP.
pub(super) fn candidates(udp: (&[IpAddr], u16), tcp: Option<(Vec<IpAddr>, u16)>) -> Vec<String> {
    // RFC 8445 section 5.1.2.1: type host 126; UDP above TCP, earlier addresses above later ones.
    let priority = |preference: usize, index: usize| {
        126_u32 << 24 | ((preference - index.min(1000)) as u32) << 8 | 255
    };
    let mut lines = Vec::new();
    for (index, ip) in udp.0.iter().enumerate() {
        let (foundation, port) = (index + 1, udp.1);
        let priority = priority(65_535, index);
        lines.push(format!("a=candidate:{foundation} 1 udp {priority} {ip} {port} typ host"));
    }
    for (index, ip) in tcp.iter().flat_map(|tcp| tcp.0.iter()).enumerate() {
        let (foundation, port) = (index + 1001, tcp.as_ref().map_or(0, |tcp| tcp.1));
        // RFC 6544 section 4.2: passive candidates have direction preference 4 (of 7).
        let priority = priority(4 << 13, index);
        lines.push(format!(
            "a=candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive"
        ));
    }
    lines
}

/// The gateway's answer to our own offer.
pub(super) struct Answer {
    pub(super) payload_type: u8,
    pub(super) text: String,
    /// Where it takes TCP connections.
    pub(super) tcp: Vec<SocketAddr>,
    /// The gateway's ICE credentials.
    pub(super) ice: IceCredentials,
}

impl Answer {
    /// # Errors
    /// [`RtcError::BadAnswer`] if there is no Opus in it.
    pub(super) fn read(text: &str) -> Result<Self, RtcError> {
        let (session, sections) = split(text);
        let Some((section, payload_type)) = voice(&sections) else {
            return Err(RtcError::BadAnswer("it has no Opus audio".to_owned()));
        };
        let ice = transport(&session, section)
            .map_err(|reason| RtcError::BadAnswer(reason.to_owned()))?
            .ice;
        let lines = session.into_iter().chain(sections.iter().flat_map(|s| s.lines.clone()));
        let tcp = text.lines().filter_map(tcp_candidate).collect();
        Ok(Self { payload_type, text: join(lines), tcp, ice })
    }

    /// The answer with `peer` as the only place to reach the gateway.
    pub(super) fn reached_at(self, peer: SocketAddr) -> String {
        let (session, sections) = split(&self.text);
        let only = format!("a=candidate:1 1 udp 2130706431 {} {} typ host", peer.ip(), peer.port());
        let mut lines = session;
        for (index, section) in sections.iter().enumerate() {
            let kept = |line: &&str| !line.starts_with("a=candidate:");
            lines.extend(section.lines.iter().copied().filter(kept));
            if index == 0 {
                lines.push(&only);
            }
        }
        join(lines.into_iter())
    }
}

/// The address of a passive TCP candidate line.
fn tcp_candidate(line: &str) -> Option<SocketAddr> {
    let mut words = line.strip_prefix("a=candidate:")?.split_ascii_whitespace().skip(2);
    let is_tcp = words.next()?.eq_ignore_ascii_case("tcp") && line.contains("tcptype passive");
    let mut place = words.skip(1);
    let address = SocketAddr::new(place.next()?.parse().ok()?, place.next()?.parse().ok()?);
    is_tcp.then_some(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines that matter, whole and broken, in any order.
    fn lines() -> impl Strategy<Value = String> {
        let known = proptest::sample::select(vec![
            "v=0",
            "o=- 1 1 IN IP4 0.0.0.0",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
            "m=audio 0 UDP/TLS/RTP/SAVPF 111",
            "m=audio",
            "m=",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "a=bundle-only",
            "a=group:BUNDLE 0 1",
            "a=mid:1",
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:999 opus/48000/2",
            "a=rtpmap:111 opus",
            "a=fmtp:111 usedtx=1;;=",
            "a=msid:x y",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:abcdefghijklmnopqrstuvwx",
            "a=rtcp-mux",
            "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype passive",
            "a=candidate:1 1 tcp",
            "a=candidate:",
        ]);
        let line = prop_oneof![8 => known.prop_map(str::to_owned), 1 => ".{0,20}"];
        proptest::collection::vec(line, 0..30).prop_map(|lines| lines.join("\r\n"))
    }

    proptest! {
        #[test]
        fn any_lines_are_read_or_refused_without_a_panic(text in lines()) {
            let _ = Offer::read(&text);
            let terms = OpusTerms {
                direction: Direction::SendRecv,
                offered: Direction::SendOnly,
                mux_only: true,
                dtx: false,
                max_average_bitrate: 32_000,
            };
            let _ = complete(&text, &terms, &["a=candidate:x".to_owned()]);
            if let Ok(answer) = Answer::read(&text) {
                let _ = answer.reached_at(([127, 0, 0, 1], 9).into());
            }
        }
    }

    #[test]
    fn candidates_prefer_udp_and_earlier_addresses() {
        let ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address"));
        let lines = candidates((&ips, 4000), Some((ips.to_vec(), 443)));
        let priority = |line: &String| {
            line.split(' ').nth(3).and_then(|number| number.parse::<u32>().ok()).expect("a number")
        };
        assert_eq!(lines[0], "a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host");
        assert!(lines[3].ends_with(" 2001:db8::1 443 typ host tcptype passive"));
        assert!(lines.is_sorted_by(|earlier, later| priority(earlier) > priority(later)));
        assert_eq!(tcp_candidate(&lines[3]), Some((ips[1], 443).into()));
        assert_eq!(tcp_candidate(&lines[0]), None);
    }
}

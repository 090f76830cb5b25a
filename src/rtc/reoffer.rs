//! Later offers of a connection (RFC 9429 sections 5.2.2 and 5.3.2).
//!
//! In: what was agreed before and a further offer. Out: what is agreed now, or why it cannot be.
//! Only ICE credentials and the direction of the sound may change: a later offer may restart ICE, hold
//! EVA's voice, and bring sections of other media, which are rejected. Owns nothing.

use super::ice::IceCredentials;
use super::sdp::{Direction, Offer, Section, join, rejected, split};
use super::{IceFragment, RtcError};

/// What offer and answer have agreed on.
#[derive(Clone)]
pub(super) struct Agreed {
    pub(super) answer: String,
    /// The most the two sides agreed on at first; later offers may narrow it and open it again.
    widest: Direction,
    now: Direction,
    /// The certificate the far side shows in DTLS.
    fingerprint: String,
}

impl Agreed {
    /// After the first offer and the complete answer to it.
    pub(super) fn new(offer: &Offer, answer: String) -> Self {
        let (_, sections) = split(&answer);
        let voice = sections.iter().find(|section| section.is("audio") && section.is_live());
        let widest = voice.map_or(Direction::Inactive, Section::direction);
        Self { answer, widest, now: widest, fingerprint: offer.fingerprint.clone() }
    }

    /// Whether the far side wants to hear us.
    pub(super) fn is_heard(&self) -> bool {
        self.now.sends()
    }

    /// What is agreed after `offer`, except for ICE.
    ///
    /// # Errors
    /// [`RtcError::BadOffer`] if it is not an offer of the same connection.
    pub(super) fn next(&self, offer: &Offer, payload_type: u8) -> Result<Self, RtcError> {
        let bad = |reason: &str| Err(RtcError::BadOffer(reason.to_owned()));
        if offer.fingerprint != self.fingerprint {
            return bad(
                "it is of another connection (its DTLS fingerprint differs): begin a new call",
            );
        }
        let (session, answered) = split(&self.answer);
        let (_, offered) = split(&offer.text);
        if offered.len() < answered.len() {
            return bad("it has fewer m= sections than the one before");
        }
        let direction = self.widest.narrowed_by(offer.direction);
        let mut lines: Vec<String> = session.iter().map(|line| next_version(line)).collect();
        for (index, section) in offered.iter().enumerate() {
            let before = answered.get(index).filter(|before| before.is_live());
            let Some(before) = before else {
                lines.extend(rejected(section).map(str::to_owned));
                continue;
            };
            let same = before.kind() == section.kind()
                && before.attribute("a=mid:") == section.attribute("a=mid:");
            if !same || !section.is_live() {
                return bad("it changes or ends an m= section that is in use; hang up instead");
            }
            if before.is("audio") && section.opus() != Some(payload_type) {
                return bad("it gives Opus another payload type than before");
            }
            let changed = |line: &&str| match Direction::of_line(line) {
                Some(_) if before.is("audio") => direction.line().to_owned(),
                _ => (*line).to_owned(),
            };
            lines.extend(before.lines.iter().map(changed));
        }
        let answer = join(lines.iter().map(String::as_str));
        Ok(Self { answer, now: direction, ..self.clone() })
    }

    /// The same with these credentials and candidates of ours.
    pub(super) fn with_ice(&self, local: &IceCredentials, candidates: &[String]) -> Self {
        let mut lines = Vec::new();
        for line in self.answer.lines() {
            if line.starts_with("a=ice-ufrag:") {
                lines.push(format!("a=ice-ufrag:{}", local.ufrag));
            } else if line.starts_with("a=ice-pwd:") {
                lines.push(format!("a=ice-pwd:{}", local.password));
            } else if line == "a=end-of-candidates" {
                // They stood before it, in one place.
                lines.extend(candidates.iter().cloned());
                lines.push(line.to_owned());
            } else if !line.starts_with("a=candidate:") {
                lines.push(line.to_owned());
            }
        }
        let answer = join(lines.iter().map(String::as_str));
        Self { answer, ..self.clone() }
    }

    /// What an ICE restart tells the far side.
    pub(super) fn fragment(&self, local: IceCredentials, candidates: Vec<String>) -> IceFragment {
        let (session, sections) = split(&self.answer);
        let group = session.iter().find_map(|line| line.strip_prefix("a=group:"));
        // The candidates are those of the first section, whose transport all share.
        let first = sections.iter().find(|section| section.is_live());
        IceFragment {
            group: group.map(str::to_owned),
            media: first.map(|section| section.lines[0].to_owned()),
            mid: first.and_then(|section| section.attribute("a=mid:")).map(str::to_owned),
            ice: local,
            candidates,
        }
    }
}

/// The origin line with the next version (RFC 8866 section 5.2); other lines as they are.
fn next_version(line: &str) -> String {
    let Some(origin) = line.strip_prefix("o=") else { return line.to_owned() };
    let mut fields: Vec<String> = origin.split(' ').map(str::to_owned).collect();
    if let Some(version) = fields.get_mut(2)
        && let Ok(number) = version.parse::<u64>()
    {
        *version = number.wrapping_add(1).to_string();
    }
    format!("o={}", fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSPORT: &str = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
        a=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:\
        00:00:00:00:00:00:00:00\r\na=rtcp-mux\r\n";

    fn description(direction: &str, more: &str) -> String {
        format!(
            "v=0\r\no=- 7 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{TRANSPORT}a=mid:0\r\n{direction}\r\n\
             a=rtpmap:111 opus/48000/2\r\n{more}"
        )
    }

    fn agreed() -> Agreed {
        let offer = Offer::read(&description("a=sendrecv", "")).expect("an offer");
        let candidates = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n";
        Agreed::new(&offer, description("a=sendrecv", candidates))
    }

    fn next(offer: &str) -> Result<Agreed, RtcError> {
        agreed().next(&Offer::read(offer)?, 111)
    }

    #[test]
    fn the_direction_follows_the_offer_and_the_version_goes_up() {
        for (offered, answered, heard) in [
            ("a=sendrecv", "a=sendrecv", true),
            ("a=sendonly", "a=recvonly", false),
            ("a=recvonly", "a=sendonly", true),
            ("a=inactive", "a=inactive", false),
        ] {
            let next = next(&description(offered, "")).expect("an answer");
            assert!(next.answer.contains(&format!("\r\n{answered}\r\n")), "{}", next.answer);
            assert!(next.answer.contains("o=- 7 3 IN"));
            assert_eq!(next.is_heard(), heard);
        }
    }

    #[test]
    fn new_sections_are_rejected_and_the_ice_of_the_answer_is_ours() {
        let video = format!("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n{TRANSPORT}a=mid:1\r\n");
        let next = next(&description("a=sendrecv", &video)).expect("an answer");
        let ours = IceCredentials { ufrag: "wxyz".into(), password: "p".repeat(22) };
        let answer = next.with_ice(&ours, &["a=candidate:2 here".to_owned()]).answer;
        assert!(
            answer.contains("m=video 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n")
        );
        assert!(answer.contains("a=ice-ufrag:wxyz\r\n") && !answer.contains("abcd"), "{answer}");
        assert!(answer.contains("a=candidate:2 here\r\na=end-of-candidates"), "{answer}");
        assert!(!answer.contains("192.0.2.1"));
    }

    #[test]
    fn an_offer_of_something_else_is_refused() {
        let good = description("a=sendrecv", "");
        for wrong in [
            good.replace("sha-256 00", "sha-256 01"),
            good.replace("a=mid:0", "a=mid:7"),
            good.replace("111", "112"),
            good.replace(
                "m=audio",
                &format!("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n{TRANSPORT}m=audio"),
            ),
        ] {
            assert!(matches!(next(&wrong), Err(RtcError::BadOffer(_))), "{wrong}");
        }
    }
}

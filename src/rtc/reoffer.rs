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

//! Fragments of descriptions (RFC 8840), as WHIP's PATCH carries them.
//!
//! In: a client's `application/trickle-ice-sdpfrag`, not trusted. Out: its ICE credentials and how many
//! candidates it has, or why it is none; and our own fragment as text. Owns nothing.

use super::ice::IceCredentials;
use super::sdp::join;

/// Far more than any client has.
const MOST_CANDIDATES: usize = 256;
const MOST_SECTIONS: usize = 16;

/// Why a fragment cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// It is not what RFC 8840 describes.
    #[error("this is not an SDP fragment: {0}")]
    Malformed(String),
    /// It is, but lacks what is needed.
    #[error("this SDP fragment cannot be used: {0}")]
    Unusable(&'static str),
}

/// One side of an ICE session.
#[derive(Debug, Clone)]
pub struct IceFragment {
    /// What follows `a=group:`.
    pub group: Option<String>,
    /// The `m=` line the candidates belong to.
    pub media: Option<String>,
    /// That section's `a=mid:`.
    pub mid: Option<String>,
    /// Name and password.
    pub ice: IceCredentials,
    /// `a=candidate:` lines. A client's are counted and checked, but not used: callers reach us.
    pub candidates: Vec<String>,
}

impl IceFragment {
    /// Reads a client's fragment.
    ///
    /// # Errors
    /// [`FragmentError`] says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, FragmentError> {
        let mut read = Reading::default();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            read.line(line)?;
        }
        let (Some(ufrag), Some(password)) = (read.ufrag, read.password) else {
            return Err(FragmentError::Unusable("it has no ice-ufrag and ice-pwd"));
        };
        Ok(Self {
            group: read.group,
            media: read.media,
            mid: read.mid,
            ice: IceCredentials::read(&ufrag, &password).map_err(FragmentError::Unusable)?,
            candidates: read.candidates,
        })
    }

    /// The fragment as text.
    pub fn write(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(self.group.iter().map(|group| format!("a=group:{group}")));
        lines.extend(self.media.clone());
        lines.extend(self.mid.iter().map(|mid| format!("a=mid:{mid}")));
        lines.push(format!("a=ice-ufrag:{}", self.ice.ufrag));
        lines.push(format!("a=ice-pwd:{}", self.ice.password));
        lines.extend(self.candidates.iter().cloned());
        lines.push("a=end-of-candidates".to_owned());
        join(lines.iter().map(String::as_str))
    }
}

#[derive(Default)]
struct Reading {
    group: Option<String>,
    media: Option<String>,
    mid: Option<String>,
    ufrag: Option<String>,
    password: Option<String>,
    candidates: Vec<String>,
    sections: usize,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), FragmentError> {
        let malformed = |what: &str| Err(FragmentError::Malformed(what.to_owned()));
        if line.contains(char::is_control) {
            return malformed("a line has a control character in it");
        }
        let mut letters = line.chars();
        let (Some(kind), Some('=')) = (letters.next(), letters.next()) else {
            return malformed("a line is not LETTER=VALUE");
        };
        let value = letters.as_str();
        match kind {
            'm' => {
                self.sections += 1;
                if self.sections > MOST_SECTIONS {
                    return malformed("it has more than 16 m= sections");
                }
                self.media.get_or_insert_with(|| line.to_owned());
            }
            'a' => return self.attribute(line, value),
            // Session-level lines may come with it (RFC 8840 section 9).
            'v' | 'o' | 's' | 'c' | 't' | 'b' | 'i' => {}
            _ => return malformed("a line begins with a letter that SDP does not have there"),
        }
        Ok(())
    }

    fn attribute(&mut self, line: &str, attribute: &str) -> Result<(), FragmentError> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "ice-ufrag" => once(&mut self.ufrag, value),
            "ice-pwd" => once(&mut self.password, value),
            "group" => {
                self.group.get_or_insert_with(|| value.to_owned());
                Ok(())
            }
            "mid" => {
                self.mid.get_or_insert_with(|| value.to_owned());
                Ok(())
            }
            "candidate" => {
                if !is_candidate(value) || self.candidates.len() == MOST_CANDIDATES {
                    return Err(FragmentError::Malformed(
                        "a candidate is not as RFC 8839 writes it, or there are too many"
                            .to_owned(),
                    ));
                }
                self.candidates.push(line.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// All sections share one transport, so a name or password that differs between them is wrong.
fn once(place: &mut Option<String>, value: &str) -> Result<(), FragmentError> {
    if place.get_or_insert_with(|| value.to_owned()) == value {
        Ok(())
    } else {
        Err(FragmentError::Unusable("its sections have different ICE credentials"))
    }
}

/// `FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ TYPE` and more (RFC 8839 section 5.1).
fn is_candidate(value: &str) -> bool {
    let words: Vec<&str> = value.split(' ').collect();
    words.len() >= 8
        && words.iter().all(|word| !word.is_empty())
        && words[1].parse::<u16>().is_ok()
        && words[3].parse::<u32>().is_ok()
        && words[5].parse::<u16>().is_ok()
        && words[6] == "typ"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRICKLED: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
        a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0\r\n\
        a=end-of-candidates\r\n";

    #[test]
    fn the_example_of_the_rfc_is_read_and_our_own_is_read_back() {
        let read = IceFragment::read(TRICKLED).expect("a fragment");
        assert_eq!((read.ice.ufrag.as_str(), read.candidates.len()), ("EsAw", 2));
        let again = IceFragment::read(&read.write()).expect("a fragment");
        assert_eq!((again.ice, again.mid.as_deref()), (read.ice, Some("0")));
    }

    #[test]
    fn what_is_no_fragment_is_named() {
        let wrong = |from: &str, to: &str| IceFragment::read(&TRICKLED.replace(from, to)).err();
        for (from, to) in [
            ("a=mid:0", "hello"),
            ("a=mid:0", "x=1"),
            ("2122260223", "much"),
            ("61764 typ", "61764"),
            (" 1 udp", " one udp"),
        ] {
            assert!(matches!(wrong(from, to), Some(FragmentError::Malformed(_))), "{to}");
        }
        for (from, to) in [
            ("a=ice-ufrag:EsAw\r\n", ""),
            ("a=ice-ufrag:EsAw", "a=ice-ufrag:E"),
            ("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", "a=ice-pwd:short"),
            ("a=end-of-candidates", "a=ice-ufrag:Another"),
        ] {
            assert!(matches!(wrong(from, to), Some(FragmentError::Unusable(_))), "{to}");
        }
        assert!(IceFragment::read("").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(
            lines in proptest::collection::vec(
                prop_oneof![
                    4 => proptest::sample::select(TRICKLED.lines().map(str::to_owned).collect::<Vec<_>>()),
                    1 => ".{0,30}",
                ],
                0..20,
            ),
        ) {
            if let Ok(fragment) = IceFragment::read(&lines.join("\r\n")) {
                prop_assert!(IceFragment::read(&fragment.write()).is_ok());
            }
        }
    }
}

//! Just enough STUN (RFC 8489) to tell whose packet a binding request is, and whether a
//! message is proven.
//!
//! In: a datagram, or the first frame of a TCP connection. Out: the ICE name it asks for and where
//! its proof lies. The WebRTC library does everything else about STUN. No allocation, no I/O.

/// Marks a STUN message (RFC 8489 section 5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const USERNAME: u16 = 0x0006;
/// RFC 8445 section 16.1.
const USE_CANDIDATE: u16 = 0x0025;
const MESSAGE_INTEGRITY: u16 = 0x0008;
/// An HMAC-SHA1 tag.
const TAG: usize = 20;

/// What a packet of a call is (RFC 7983).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A connectivity check with a proof in it.
    Request(BindingRequest<'a>),
    /// The answer to a connectivity check of ours, with a proof in it if it is a sound one.
    Success(Option<Signed<'a>>),
    /// DTLS, RTP or RTCP.
    Data,
    /// Anything else: other STUN, TURN, ZRTP.
    Other,
}

impl<'a> Packet<'a> {
    /// Tells by the first bytes.
    pub fn of(datagram: &'a [u8]) -> Self {
        match datagram.first() {
            Some(20..=63 | 128..=191) => Self::Data,
            Some(0..=3) => match BindingRequest::parse(datagram) {
                Some(request) => Self::Request(request),
                None if datagram.starts_with(&BINDING_SUCCESS) => {
                    Self::Success(Signed::read(datagram, BINDING_SUCCESS, |_, _| Some(())))
                }
                None => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// A binding request, borrowed from its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingRequest<'a> {
    /// The part of USERNAME before the colon: the ICE name (`ice-ufrag`) of the side addressed.
    pub ufrag: &'a str,
    /// The sender wants this path to be used (USE-CANDIDATE).
    pub nominates: bool,
    /// Repeated in the answer.
    pub transaction: [u8; 12],
    signed: Signed<'a>,
}

impl<'a> BindingRequest<'a> {
    /// Reads a binding request with USERNAME and MESSAGE-INTEGRITY; `None` for anything else.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let mut ufrag = None;
        let mut nominates = false;
        let signed = Signed::read(datagram, BINDING_REQUEST, |kind, value| {
            match kind {
                USERNAME => ufrag = std::str::from_utf8(value).ok()?.split(':').next(),
                USE_CANDIDATE => nominates = true,
                _ => {}
            }
            Some(())
        })?;
        let transaction = signed.message[8..HEADER].try_into().ok()?;
        Some(Self { ufrag: ufrag?, nominates, transaction, signed })
    }

    /// The message with its proof.
    pub fn signed(&self) -> Signed<'a> {
        self.signed
    }

    /// See [`Signed::proof`].
    pub fn proof(&self) -> (Proof<'a>, &'a [u8]) {
        self.signed.proof()
    }
}

/// A message with MESSAGE-INTEGRITY, borrowed from its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    message: &'a [u8],
    integrity_at: usize,
}

impl<'a> Signed<'a> {
    /// Reads a message of this type. `each` is shown the attributes that the integrity covers, and
    /// refuses the message by `None`.
    fn read(
        datagram: &'a [u8],
        kind: [u8; 2],
        mut each: impl FnMut(u16, &'a [u8]) -> Option<()>,
    ) -> Option<Self> {
        if datagram.len() < HEADER || datagram[0..2] != kind || datagram[4..8] != MAGIC_COOKIE {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
        let message = datagram.get(..HEADER + length)?;
        let mut at = HEADER;
        while at + 4 <= message.len() {
            let kind = u16::from_be_bytes([message[at], message[at + 1]]);
            let length = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
            let value = message.get(at + 4..at + 4 + length)?;
            // What follows the integrity is not covered by it, and so not looked at.
            if kind == MESSAGE_INTEGRITY && length == TAG {
                return Some(Self { message, integrity_at: at });
            }
            each(kind, value)?;
            at += 4 + length.next_multiple_of(4);
        }
        None
    }

    /// What the HMAC-SHA1 under the ICE password is taken over, in two pieces, and the tag it must
    /// equal (RFC 8489 section 14.5). The header counts as if the message ended with the tag.
    pub fn proof(&self) -> (Proof<'a>, &'a [u8]) {
        let mut header = [0; HEADER];
        header.copy_from_slice(&self.message[..HEADER]);
        let length = self.integrity_at + 4 + TAG - HEADER;
        // Never more than the length field of the message itself, so it fits.
        header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        let tag = &self.message[self.integrity_at + 4..][..TAG];
        (Proof { header, attributes: &self.message[HEADER..self.integrity_at] }, tag)
    }
}

/// The authenticated part of a [`Signed`] message.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// The STUN header with its length as the integrity attribute expects it.
    pub header: [u8; HEADER],
    /// All attributes before MESSAGE-INTEGRITY.
    pub attributes: &'a [u8],
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use rtc::crypto::{HmacAlgorithm, default_provider};

    use super::*;

    /// RFC 5769 section 2.1, the sample request. Its password is `VOkJxbRl1RmTxUk/WvJxBt`.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\
        \xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\
        \xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    /// A binding request for `ufrag`, proven with `password`, for the path to be used or not.
    pub(in crate::rtc) fn binding_request(ufrag: &str, password: &str, nominates: bool) -> Vec<u8> {
        let username = format!("{ufrag}:remote");
        let mut message = vec![0, 1, 0, 0];
        message.extend(MAGIC_COOKIE);
        message.extend([7; 12]);
        message.extend(USERNAME.to_be_bytes());
        message.extend((username.len() as u16).to_be_bytes());
        message.extend(username.as_bytes());
        message.resize(message.len().next_multiple_of(4), 0);
        if nominates {
            message.extend(USE_CANDIDATE.to_be_bytes());
            message.extend([0, 0]);
        }
        let length = (message.len() + 4 + TAG - HEADER) as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        let mut tag = [0; TAG];
        default_provider()
            .and_then(|provider| {
                provider.crypto().new_hmac(HmacAlgorithm::Sha1, password.as_bytes())
            })
            .and_then(|mut mac| mac.sign(&[&message], &mut tag))
            .expect("HMAC-SHA1");
        message.extend(MESSAGE_INTEGRITY.to_be_bytes());
        message.extend((TAG as u16).to_be_bytes());
        message.extend(tag);
        message
    }

    #[test]
    fn the_sample_request_of_the_rfc_proves_itself_with_its_password() {
        let request = BindingRequest::parse(SAMPLE).expect("a binding request");
        assert_eq!(request.ufrag, "evtj");
        let (proof, tag) = request.proof();
        let provider = default_provider().expect("a provider");
        let check = |password: &[u8]| {
            let mut mac =
                provider.crypto().new_hmac(HmacAlgorithm::Sha1, password).expect("HMAC-SHA1");
            mac.verify(&[&proof.header, proof.attributes], tag).is_ok()
        };
        assert!(check(b"VOkJxbRl1RmTxUk/WvJxBt"));
        assert!(!check(b"VOkJxbRl1RmTxUk/WvJxBu"));
    }

    #[test]
    fn refuses_every_truncation_and_everything_that_is_no_request() {
        for cut in 0..SAMPLE.len() {
            assert_eq!(BindingRequest::parse(&SAMPLE[..cut]), None, "cut at {cut}");
        }
        let mut response = SAMPLE.to_vec();
        response[0] = 0x01;
        assert_eq!(BindingRequest::parse(&response), None);
        assert_eq!(BindingRequest::parse(&[0x80, 0x6f, 0, 1, 0, 0, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            like_a_request in any::<bool>(),
        ) {
            if like_a_request && bytes.len() >= HEADER {
                let length = ((bytes.len() - HEADER) as u16).to_be_bytes();
                bytes[..4].copy_from_slice(&[0, 1, length[0], length[1]]);
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
            }
            match Packet::of(&bytes) {
                Packet::Request(request) => drop(request.proof()),
                Packet::Success(Some(signed)) => drop(signed.proof()),
                _ => {}
            }
        }
    }
}

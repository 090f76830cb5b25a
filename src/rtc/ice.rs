//! ICE sessions of one connection (RFC 8445), and what an ICE restart needs.
//!
//! In: the credentials both sides agree on, at first and at each restart. Out: proofs checked, and
//! connectivity checks written over from one session to another. The WebRTC library only ever
//! knows the first session: it can be given fixed credentials once and no restart after that.
//! Later sessions live here, below it: what the caller sends under a later one reaches the library
//! as if it had been sent under the first, and the library's own checks leave under the session
//! that the caller uses. So a restart touches neither DTLS nor media. No I/O.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use rand::Rng;
use rand::distr::Alphanumeric;
use rtc::crypto::{CryptoError, HmacAlgorithm, Mac, RTCCryptoProvider};
use rtc::stun::attributes::{
    ATTR_FINGERPRINT, ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, ATTR_USERNAME,
};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;

use super::mux::locked;
use super::stun::{BindingRequest, Signed};

/// Sessions a caller may still use: the newest, and those before it until their packets are gone
/// and their answers have arrived. A client that restarts more often in one breath loses the oldest.
const SESSIONS: usize = 4;

/// The name and password of one side of ICE (RFC 8445 section 5.3), fixed before the connection
/// exists so that packets can be sorted from the first on.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `ice-ufrag`.
    pub ufrag: String,
    /// `ice-pwd`.
    pub password: String,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

impl IceCredentials {
    /// New ones, of letters and digits.
    pub fn random() -> Self {
        let mut random = rand::rng();
        let mut text = |length| -> String {
            (&mut random).sample_iter(Alphanumeric).take(length).map(char::from).collect()
        };
        Self { ufrag: text(12), password: text(32) }
    }

    /// Reads what a client wrote.
    ///
    /// # Errors
    /// A sentence if they are not as RFC 8839 section 5.4 wants them.
    pub fn read(ufrag: &str, password: &str) -> Result<Self, &'static str> {
        // RFC 8839 allows letters, digits, + and /; what clients write beyond that does no harm as
        // long as it stays on its line.
        let visible = |text: &str| text.bytes().all(|c| c.is_ascii_graphic());
        if !(4..=256).contains(&ufrag.len()) || !visible(ufrag) {
            return Err("it has no ice-ufrag of at least 4 characters");
        }
        if !(22..=256).contains(&password.len()) || !visible(password) {
            return Err("it has no ice-pwd of at least 22 characters");
        }
        Ok(Self { ufrag: ufrag.to_owned(), password: password.to_owned() })
    }
}

/// One side's credentials and its key.
struct Side {
    credentials: IceCredentials,
    /// HMAC-SHA1 keyed with the password.
    key: Mutex<Box<dyn Mac>>,
}

impl Side {
    fn new(
        credentials: IceCredentials,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, CryptoError> {
        let password = credentials.password.as_bytes();
        let key = crypto.crypto().new_hmac(HmacAlgorithm::Sha1, password)?;
        Ok(Self { credentials, key: Mutex::new(key) })
    }

    fn proves(&self, signed: &Signed<'_>) -> bool {
        let (proof, tag) = signed.proof();
        locked(&self.key).verify(&[&proof.header, proof.attributes], tag).is_ok()
    }
}

/// The credentials of both sides from one (re)start of ICE to the next.
pub(super) struct IceSession {
    local: Side,
    /// Set once the far side's description is known.
    remote: OnceLock<Side>,
}

impl IceSession {
    pub(super) fn local(&self) -> &IceCredentials {
        &self.local.credentials
    }

    pub(super) fn remote(&self) -> Option<&IceCredentials> {
        self.remote.get().map(|side| &side.credentials)
    }

    /// Whether `request` is addressed to this session by someone who knows its password.
    fn is_proven_by(&self, request: &BindingRequest<'_>) -> bool {
        request.ufrag == self.local.credentials.ufrag && self.local.proves(&request.signed())
    }
}

/// All sessions of one connection.
pub(super) struct Sessions {
    crypto: Arc<dyn RTCCryptoProvider>,
    /// The one the library knows.
    first: Arc<IceSession>,
    /// Those a caller may use, newest last.
    usable: Mutex<VecDeque<Arc<IceSession>>>,
}

impl Sessions {
    pub(super) fn new(
        local: IceCredentials,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, CryptoError> {
        let local = Side::new(local, crypto)?;
        let first = Arc::new(IceSession { local, remote: OnceLock::new() });
        let usable = Mutex::new(VecDeque::from([first.clone()]));
        Ok(Self { crypto: crypto.clone(), first, usable })
    }

    /// Notes the far side's credentials of the first session.
    pub(super) fn set_remote(&self, remote: IceCredentials) -> Result<(), CryptoError> {
        let _ = self.first.remote.set(Side::new(remote, &self.crypto)?);
        Ok(())
    }

    /// Begins a later session. Returns the name of the one that had to go for it.
    pub(super) fn restart(
        &self,
        local: IceCredentials,
        remote: IceCredentials,
    ) -> Result<Option<String>, CryptoError> {
        let remote = OnceLock::from(Side::new(remote, &self.crypto)?);
        let session = Arc::new(IceSession { local: Side::new(local, &self.crypto)?, remote });
        let mut usable = locked(&self.usable);
        usable.push_back(session);
        let gone = if usable.len() > SESSIONS { usable.pop_front() } else { None };
        Ok(gone.map(|session| session.local().ufrag.clone()))
    }

    /// The newest.
    pub(super) fn current(&self) -> Arc<IceSession> {
        locked(&self.usable).back().unwrap_or(&self.first).clone()
    }

    /// Whether ICE has never been restarted.
    pub(super) fn is_first(&self, session: &Arc<IceSession>) -> bool {
        Arc::ptr_eq(session, &self.first)
    }

    /// Our names in the usable sessions.
    pub(super) fn names(&self) -> Vec<String> {
        locked(&self.usable).iter().map(|session| session.local().ufrag.clone()).collect()
    }

    /// Whether a usable session has this name.
    pub(super) fn has(&self, ufrag: &str) -> bool {
        locked(&self.usable).iter().any(|session| session.local().ufrag == ufrag)
    }

    /// The session a check proves itself for.
    pub(super) fn proven(&self, request: &BindingRequest<'_>) -> Option<Arc<IceSession>> {
        let usable = locked(&self.usable);
        usable.iter().rev().find(|session| session.is_proven_by(request)).cloned()
    }

    /// The answer to a connectivity check: where it came from, under the session's password.
    pub(super) fn answer(
        &self,
        session: &IceSession,
        request: &BindingRequest<'_>,
        peer: SocketAddr,
    ) -> Option<Vec<u8>> {
        let mut answer = Message::new();
        answer
            .build(&[
                Box::new(TransactionId(request.transaction)),
                Box::new(BINDING_SUCCESS),
                Box::new(XorMappedAddress { ip: peer.ip().to_canonical(), port: peer.port() }),
            ])
            .ok()?;
        self.sealed(answer, &session.local)
    }

    /// A proven check as the library expects it.
    pub(super) fn check_for_library(
        &self,
        packet: &[u8],
        session: &Arc<IceSession>,
    ) -> Option<Vec<u8>> {
        let first = &self.first;
        let Some(remote) = first.remote() else {
            return self.is_first(session).then(|| packet.to_vec());
        };
        // Also in the first session: a caller that restarts ICE comes under its new name before it
        // knows ours, and may go on so for good once such a check was answered.
        let name = username(first.local(), remote);
        self.sealed(unsealed(packet, Some(&name))?, &first.local)
    }

    /// The answer to a check of the library's, as the library expects it.
    pub(super) fn success_for_library(
        &self,
        packet: &[u8],
        signed: Option<Signed<'_>>,
    ) -> Option<Vec<u8>> {
        let Some(signed) = signed else { return Some(packet.to_vec()) };
        let usable = locked(&self.usable);
        let proven = |session: &&Arc<IceSession>| {
            session.remote.get().is_some_and(|remote| remote.proves(&signed))
        };
        let later = usable.iter().rev().filter(|session| !self.is_first(session)).find(proven);
        match later {
            Some(_) => self.sealed(unsealed(packet, None)?, self.first.remote.get()?),
            // Of the first session, or of none: the library looks itself.
            None => Some(packet.to_vec()),
        }
    }

    /// A check of the library's, as the far side expects it in this session.
    pub(super) fn check_from_library(
        &self,
        packet: &[u8],
        session: &IceSession,
    ) -> Option<Vec<u8>> {
        let remote = session.remote.get()?;
        let name = username(&remote.credentials, session.local());
        self.sealed(unsealed(packet, Some(&name))?, remote)
    }

    fn sealed(&self, mut message: Message, side: &Side) -> Option<Vec<u8>> {
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
            side.credentials.password.clone(),
            self.crypto.crypto(),
        );
        integrity.add_to(&mut message).ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }
}

/// RFC 8445 section 7.2.2.
fn username(to: &IceCredentials, from: &IceCredentials) -> String {
    format!("{}:{}", to.ufrag, from.ufrag)
}

/// The message without its proof, and, if wanted, under another name.
fn unsealed(packet: &[u8], name: Option<&str>) -> Option<Message> {
    let mut read = Message::new();
    read.unmarshal_binary(packet).ok()?;
    let mut written = Message::new();
    written.transaction_id = read.transaction_id;
    written.typ = read.typ;
    written.write_header();
    if let Some(name) = name {
        written.add(ATTR_USERNAME, name.as_bytes());
    }
    for attribute in &read.attributes.0 {
        let proof = matches!(
            attribute.typ,
            ATTR_MESSAGE_INTEGRITY | ATTR_MESSAGE_INTEGRITY_SHA256 | ATTR_FINGERPRINT
        );
        if !(proof || name.is_some() && attribute.typ == ATTR_USERNAME) {
            written.add(attribute.typ, &attribute.value);
        }
    }
    Some(written)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::rtc) fn credentials(ufrag: &str, password: &str) -> IceCredentials {
        IceCredentials { ufrag: ufrag.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn credentials_are_as_rfc_8839_wants_them() {
        let ours = IceCredentials::random();
        assert!(IceCredentials::read(&ours.ufrag, &ours.password).is_ok());
        assert!(IceCredentials::read("abc", &ours.password).is_err());
        assert!(IceCredentials::read("abcd", "short").is_err());
        assert!(IceCredentials::read("ab\r\nd", &ours.password).is_err());
        assert!(!format!("{ours:?}").contains(&ours.password));
    }
}

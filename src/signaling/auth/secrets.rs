//! Short-lived secrets that a key's owner hands to a browser.
//!
//! In: a key's wish to have one. Out: `ek_…`, good for calls only, for a while, again and again
//! until it expires. Kept in memory as hashes; a restart ends them all. Bounded in number and size.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{KeyHash, hash};

/// How every one of them begins; OpenAI's browser SDK takes no others.
pub(super) const PREFIX: &str = "ek_";
/// How long they may be good for, seconds.
pub const SECRET_TTL_S: std::ops::RangeInclusive<u64> = 10..=7200;
/// Secrets at once, in all and of one owner.
const MOST: (usize, usize) = (20_000, 5_000);
/// Bytes of the sessions that are bound to them, in all.
const MOST_BYTES: usize = 32 << 20;

/// A secret that was issued.
#[derive(Clone)]
pub struct EphemeralSecret {
    /// What the browser shows as its bearer token.
    pub value: String,
    /// When it ends, seconds since 1970.
    pub expires_at: u64,
}

impl std::fmt::Debug for EphemeralSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EphemeralSecret")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a secret stands for.
struct Issued {
    owner: Arc<str>,
    until: Instant,
    session: Option<Value>,
    bytes: usize,
}

/// What was shown.
pub(super) enum Shown {
    /// A secret of this owner.
    Good(Arc<str>),
    /// It was one, and its time is over.
    Expired,
    /// None that is known.
    Unknown,
}

/// The secrets that are out.
#[derive(Default)]
pub(super) struct Secrets(Mutex<Table>);

#[derive(Default)]
struct Table {
    issued: HashMap<KeyHash, Issued>,
    bytes: usize,
}

impl Secrets {
    /// `None` if there are too many already.
    pub(super) fn issue(
        &self,
        owner: &Arc<str>,
        ttl: Duration,
        session: Option<Value>,
        now: Instant,
    ) -> Option<EphemeralSecret> {
        let bytes = session.as_ref().map_or(0, |session| session.to_string().len());
        let mut table = self.table();
        if table.issued.len() >= MOST.0 || table.bytes + bytes > MOST_BYTES {
            table.sweep(now, Duration::ZERO);
        }
        let owned = table.issued.values().filter(|issued| *issued.owner == **owner).count();
        let full = table.issued.len() >= MOST.0 || table.bytes + bytes > MOST_BYTES;
        if full || owned >= MOST.1 {
            return None;
        }
        let value = format!("{PREFIX}{}", random_text());
        let issued = Issued { owner: owner.clone(), until: now + ttl, session, bytes };
        table.bytes += bytes;
        table.issued.insert(hash(&value), issued);
        let ends = SystemTime::now() + ttl;
        let expires_at = ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Some(EphemeralSecret { value, expires_at })
    }

    /// Whose secret that is. It is found by its hash, so how long that takes tells nothing of it.
    pub(super) fn check(&self, secret: &KeyHash, now: Instant) -> Shown {
        match self.table().issued.get(secret) {
            None => Shown::Unknown,
            Some(issued) if issued.until <= now => Shown::Expired,
            Some(issued) => Shown::Good(issued.owner.clone()),
        }
    }

    /// The session that was bound to it.
    pub(super) fn session(&self, secret: &KeyHash) -> Option<Value> {
        self.table().issued.get(secret).and_then(|issued| issued.session.clone())
    }

    /// Forgets those that are over, a while later, so that they can be told from unknown ones.
    pub(super) fn sweep(&self, now: Instant) {
        self.table().sweep(now, Duration::from_secs(600));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn sweep(&mut self, now: Instant, after: Duration) {
        self.issued.retain(|_, issued| now < issued.until + after);
        self.bytes = self.issued.values().map(|issued| issued.bytes).sum();
    }
}

/// 192 random bits as text.
pub(super) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    #[test]
    fn a_secret_is_good_until_it_expires() {
        let (secrets, now) = (Secrets::default(), Instant::now());
        let owner: Arc<str> = "shop".into();
        let given = secrets.issue(&owner, TTL, Some(json!({"voice": "x"})), now).unwrap();
        assert!(given.value.starts_with("ek_") && given.value.len() == 35);
        let key = hash(&given.value);
        assert!(matches!(secrets.check(&key, now), Shown::Good(owner) if &*owner == "shop"));
        assert!(matches!(secrets.check(&key, now + TTL), Shown::Expired));
        assert_eq!(secrets.session(&key), Some(json!({"voice": "x"})));
        secrets.sweep(now + 20 * TTL);
        assert!(matches!(secrets.check(&key, now + 20 * TTL), Shown::Unknown));
        assert!(!format!("{given:?}").contains(&given.value));
    }

    #[test]
    fn nobody_can_fill_the_memory_with_secrets() {
        let (secrets, now) = (Secrets::default(), Instant::now());
        let owner = |name: usize| -> Arc<str> { name.to_string().into() };
        let large = json!({"instructions": "x".repeat(1 << 20)});
        let held =
            (0..40).filter(|_| secrets.issue(&owner(0), TTL, Some(large.clone()), now).is_some());
        assert_eq!(held.count(), 31);
        let later = now + TTL;
        let held = (0..MOST.1 + 10).filter(|_| secrets.issue(&owner(1), TTL, None, now).is_some());
        assert_eq!(held.count(), MOST.1);
        assert!(secrets.issue(&owner(2), TTL, Some(large), later).is_some(), "old ones make room");
    }
}

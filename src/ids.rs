//! Identifiers of calls, sessions, turns and replies.
//!
//! In: nothing. Out: small ids that print shortly. A [`CallId`] is random, because people hang up by
//! it; a [`SessionId`] is what a client calls its conversation; turns and replies are counted within
//! their call.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One call, from its offer to its end. Random, printed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(uuid::Uuid);

impl CallId {
    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    /// Reads the printed form back; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call-{}", self.0.simple())
    }
}

/// One conversation, over any number of calls and chats: 1 to 128 letters, digits and `_.:-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(Arc<str>);

/// A session's name that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("A session_id has 1 to 128 letters, digits, or any of _ . : -")]
pub struct BadSessionId;

impl SessionId {
    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string().into())
    }

    /// What a client calls its conversation.
    ///
    /// # Errors
    /// Says what a session's name is made of.
    pub fn parse(text: &str) -> Result<Self, BadSessionId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(BadSessionId)
        }
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SessionId {
    type Error = BadSessionId;

    fn try_from(text: String) -> Result<Self, BadSessionId> {
        Self::parse(&text)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hidden: a client may name a session after a person.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[session]")
    }
}

/// One turn of the person within a call, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TurnId(pub u32);

/// One reply of EVA within a call, counted from 1. Whatever carries an old one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplyId(pub u32);

#[cfg(test)]
mod tests {
    use super::SessionId;

    #[test]
    fn a_session_is_named_with_plain_characters_only() {
        let longest = "x".repeat(128);
        for good in ["a", "user_1.chat:2026-11", longest.as_str()] {
            assert_eq!(SessionId::parse(good).map(|id| id.to_string()).as_deref(), Ok(good));
        }
        let too_long = "x".repeat(129);
        for bad in ["", "a b", "é", "a/b", "../x", "a\n", "a\0", too_long.as_str()] {
            assert!(SessionId::parse(bad).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<SessionId>(bad.into()).is_err(), "{bad:?}");
        }
        let id = SessionId::random();
        assert_ne!(id, SessionId::random());
        assert_eq!(SessionId::parse(id.as_str()), Ok(id.clone()));
        assert_eq!(format!("{id:?}"), "[session]");
    }
}

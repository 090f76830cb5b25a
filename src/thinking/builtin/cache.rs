//! What has been read, kept from turn to turn.
//!
//! A [`Session`] is the tokens a sequence has read and their keys and values. The cache keeps one a
//! call, the latest used ones, and one for each system prompt that was warmed up. A prompt takes up
//! where the longest common beginning ends.

use std::collections::VecDeque;

use super::attention::Kv;
use crate::ids::CallId;

/// System prompts that are kept warm; a further one replaces the oldest.
const MOST_WARM: usize = 4;

/// One sequence: its tokens, and their keys and values.
pub(super) struct Session {
    tokens: Vec<u32>,
    kv: Kv,
}

impl Session {
    pub(super) fn new(kv: Kv) -> Self {
        Self { tokens: Vec::new(), kv }
    }

    /// How many tokens have been read.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens that it has in common with a prompt, from the beginning.
    fn common(&self, prompt: &[u32]) -> usize {
        self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count()
    }

    /// Forgets what comes after `len` tokens.
    fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.kv.truncate(len);
    }

    /// Keys and values, for a pass that reads `tokens`.
    pub(super) fn feed(&mut self, tokens: &[u32]) -> &mut Kv {
        self.tokens.extend_from_slice(tokens);
        &mut self.kv
    }
}

/// Sessions at rest.
pub(super) struct Cache {
    /// The latest used last.
    calls: VecDeque<(CallId, Session)>,
    warm: VecDeque<Session>,
    most_calls: usize,
}

impl Cache {
    pub(super) fn new(most_calls: usize) -> Self {
        Self { calls: VecDeque::new(), warm: VecDeque::new(), most_calls }
    }

    /// A session that has read as much of the beginning of `prompt` as is known, but not its last
    /// token, whose logits are needed. The call's own session is taken out.
    pub(super) fn take(
        &mut self,
        call: CallId,
        prompt: &[u32],
        new: impl FnOnce() -> Kv,
    ) -> Session {
        let most = prompt.len().saturating_sub(1);
        let own = self.calls.iter().position(|(owner, _)| *owner == call);
        let own = own.and_then(|index| self.calls.remove(index)).map(|(_, session)| session);
        let known = own.as_ref().map_or(0, |session| session.common(prompt).min(most));
        let warm = self
            .warm
            .iter()
            .map(|session| (session.common(prompt).min(most), session))
            .max_by_key(|(common, _)| *common);
        match (own, warm) {
            (_, Some((common, session))) if common > known => {
                Session { tokens: prompt[..common].to_vec(), kv: session.kv.prefix(common) }
            }
            (Some(mut session), _) => {
                session.truncate(known);
                session
            }
            (None, _) => Session::new(new()),
        }
    }

    /// Keeps a call's session; the call that was used longest ago may lose its own.
    pub(super) fn put(&mut self, call: CallId, session: Session) {
        self.forget(call);
        self.calls.push_back((call, session));
        while self.calls.len() > self.most_calls {
            self.calls.pop_front();
        }
    }

    /// Keeps the beginning that new calls will share.
    pub(super) fn put_warm(&mut self, session: Session) {
        self.warm.retain(|other| other.tokens != session.tokens);
        self.warm.push_back(session);
        while self.warm.len() > MOST_WARM {
            self.warm.pop_front();
        }
    }

    /// Frees what is kept for a call.
    pub(super) fn forget(&mut self, call: CallId) {
        self.calls.retain(|(owner, _)| *owner != call);
    }

    /// Frees everything.
    pub(super) fn clear(&mut self) {
        self.calls.clear();
        self.warm.clear();
    }

    /// How many tokens of the beginning of `prompt` a call would not have to read.
    pub(super) fn known(&self, call: CallId, prompt: &[u32]) -> usize {
        let own = self.calls.iter().filter(|(owner, _)| *owner == call).map(|(_, session)| session);
        own.chain(&self.warm).map(|session| session.common(prompt)).max().unwrap_or(0)
    }

    /// How many calls have a session.
    #[cfg(test)]
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }
}

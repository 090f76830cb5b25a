//! The sessions that are in memory.
//!
//! In: an owner and a session's name. Out: the session, held by one message at a time. Owns the
//! histories; what is idle for long is let go, and loaded from where chats are kept when it goes on.
//! A session belongs to its owner: for others the same name is another session.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::{ChatError, Crowded};
use crate::ids::{CallId, ReplyId, SessionId};
use crate::storage::{Storage, Turn};
use crate::thinking::Llm;
use crate::thinking::history::History;

/// Sessions in memory at once, each of some 10 KB.
const MOST: usize = 2_000;
/// A session is let go after this.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How often idle sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// A message waits so long for the reply to the one before.
const PATIENCE: Duration = Duration::from_secs(10);

/// One conversation.
pub(super) struct Session {
    /// What was said.
    pub history: History,
    /// Under which the language model remembers what it has read.
    pub call: CallId,
    /// Replies so far.
    replies: u32,
    /// What was kept of it has been read.
    loaded: bool,
}

impl Session {
    /// The id of the next reply.
    pub fn next_reply(&mut self) -> ReplyId {
        self.replies += 1;
        ReplyId(self.replies)
    }

    /// Whether nothing was said yet.
    pub fn is_new(&self) -> bool {
        self.history.prompt().len() < 2
    }

    /// A chat is better without what was said before than refused.
    async fn load(&mut self, storage: &Storage, owner: &str, id: &SessionId) {
        let kept = storage.load(owner, id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a chat goes on without what was said before");
            Vec::new()
        });
        for turn in kept {
            self.history.recall(turn.user.reveal(), turn.reply.reveal(), turn.exchange);
        }
        self.loaded = true;
    }
}

type Key = (Arc<str>, SessionId);

struct Slot {
    session: Arc<AsyncMutex<Session>>,
    call: CallId,
    used: Instant,
}

impl Slot {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.session) == 1
    }
}

/// All sessions in memory.
pub(super) struct Sessions {
    instructions: String,
    storage: Storage,
    open: DashMap<Key, Slot>,
    swept: Mutex<Instant>,
}

impl Sessions {
    pub(super) fn new(instructions: String, storage: Storage) -> Self {
        Self { instructions, storage, open: DashMap::new(), swept: Mutex::new(Instant::now()) }
    }

    /// Keeps a turn beyond this process; never waits.
    pub(super) fn keep(&self, turn: Turn) {
        self.storage.keep(turn);
    }

    /// Forgets what is in memory of a session; the message under way is the last that knows it.
    pub(super) fn forget(&self, owner: &str, id: &SessionId) {
        self.open.remove(&(Arc::from(owner), id.clone()));
    }

    pub(super) fn active(&self) -> usize {
        self.open.len()
    }

    /// The session, for one message; a new one if its owner has none of this name.
    pub(super) async fn open(
        &self,
        owner: &str,
        id: &SessionId,
        llm: &dyn Llm,
    ) -> Result<OwnedMutexGuard<Session>, ChatError> {
        self.sweep(llm);
        let key = (Arc::from(owner), id.clone());
        if self.open.len() >= MOST && !self.open.contains_key(&key) {
            return Err(Crowded.into());
        }
        let session = {
            let mut slot = self.open.entry(key).or_insert_with(|| self.slot());
            slot.used = Instant::now();
            slot.session.clone()
        };
        let locked = tokio::time::timeout(PATIENCE, session.lock_owned()).await;
        let mut session = locked.map_err(|_| ChatError::SessionBusy)?;
        if !session.loaded {
            session.load(&self.storage, owner, id).await;
        }
        Ok(session)
    }

    fn slot(&self) -> Slot {
        let call = CallId::random();
        let history = History::new(self.instructions.clone());
        let session = Session { history, call, replies: 0, loaded: false };
        Slot { session: Arc::new(AsyncMutex::new(session)), call, used: Instant::now() }
    }

    /// Lets go of what is idle for long, and of the longest idle ones where there are too many.
    fn sweep(&self, llm: &dyn Llm) {
        let full = self.open.len() >= MOST;
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if !full && swept.elapsed() < SWEEP_EVERY {
                return;
            }
            *swept = Instant::now();
        }
        let mut oldest = Instant::now().checked_sub(IDLE);
        if full {
            let idle = self.open.iter().filter(|slot| slot.is_idle());
            let mut ages: Vec<Instant> = idle.map(|slot| slot.used).collect();
            ages.sort_unstable();
            // A tenth at a time, so that it is not done for every message.
            oldest = ages.get(ages.len().clamp(1, MOST / 10) - 1).copied().max(oldest);
        }
        let Some(oldest) = oldest else { return };
        self.open.retain(|_, slot| {
            let goes = slot.is_idle() && slot.used <= oldest;
            if goes {
                llm.forget(slot.call);
            }
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::thinking::{LlmEvent, Prompt};

    struct Nobody;

    impl Llm for Nobody {
        fn reply(&self, _: Prompt) -> mpsc::Receiver<LlmEvent> {
            mpsc::channel(1).1
        }

        fn name(&self) -> String {
            String::new()
        }
    }

    fn id(name: &str) -> SessionId {
        SessionId::parse(name).expect("a name")
    }

    #[tokio::test]
    async fn a_session_belongs_to_its_owner_and_to_one_message_at_a_time() {
        let sessions = Sessions::new("Be brief.".to_owned(), Storage::off());
        let mut mine = sessions.open("me", &id("a"), &Nobody).await.expect("open");
        mine.history.user("my words");
        let other = sessions.open("you", &id("a"), &Nobody).await.expect("open");
        assert!(other.is_new());
        assert!(!mine.is_new());
        drop(mine);
        assert!(!sessions.open("me", &id("a"), &Nobody).await.expect("open").is_new());
        assert_eq!(sessions.active(), 2);
    }

    #[tokio::test]
    async fn the_longest_idle_make_room_and_those_in_use_stay() {
        let sessions = Sessions::new(String::new(), Storage::off());
        let held = sessions.open("me", &id("first"), &Nobody).await.expect("open");
        for n in 0..2 * MOST {
            sessions.open("me", &id(&format!("s{n}")), &Nobody).await.expect("open");
            assert!(sessions.active() <= MOST);
        }
        assert!(sessions.open.contains_key(&(Arc::from("me"), id("first"))));
        drop(held);
    }
}

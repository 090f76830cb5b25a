//! What was said in one call, and what of it outlives the call.
//!
//! In: what the call does to its [`History`], which it reaches through this. Out: turns for
//! [`Storage`]. A turn is one entry of EVA's with the person's words before it: it is kept once it is
//! in the history, since only what was heard gets there, and corrected when the history is. Never
//! waits; decides nothing.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use super::CallSettings;
use crate::ids::SessionId;
use crate::private::Private;
use crate::storage::{Channel, Storage, StoredTurn, Turn};
use crate::thinking::history::{EntryKey, History, Said};

/// The session that a call belongs to.
#[derive(Clone, Debug)]
pub struct Recall {
    /// Where its turns are kept.
    pub storage: Storage,
    /// Whose it is.
    pub owner: String,
    /// Its id.
    pub session: SessionId,
    /// What was said in it before this call, oldest first.
    pub turns: Vec<StoredTurn>,
}

/// The history of one call.
pub(super) struct Memory {
    history: History,
    /// It may have changed since [`Memory::settle`].
    changed: bool,
    kept: Option<Kept>,
}

/// The part that outlives the call.
struct Kept {
    storage: Storage,
    owner: String,
    session: SessionId,
    /// The newest entry of earlier calls.
    earlier: Option<EntryKey>,
    /// The turns of this call that are kept, by the entry of their reply, as long as the history has
    /// it.
    turns: HashMap<EntryKey, Turn>,
    /// What the person said that nothing answers yet.
    unanswered: Option<Turn>,
    /// Until the next reply began, milliseconds.
    latency_ms: Option<f64>,
    /// [`History::shortened`] when it was looked at.
    shortened: u64,
}

impl Memory {
    /// The history that the call begins with. What is remembered is taken out of the settings.
    pub(super) fn new(settings: &mut CallSettings) -> Self {
        let mut history = History::new(settings.instructions());
        let kept = settings.memory.take().map(|recall| {
            for turn in recall.turns {
                history.recall(turn.user.reveal(), turn.reply.reveal(), turn.exchange);
            }
            Kept {
                storage: recall.storage,
                owner: recall.owner,
                session: recall.session,
                earlier: history.said().map(|said| said.key).max(),
                turns: HashMap::new(),
                unanswered: None,
                latency_ms: None,
                shortened: history.shortened(),
            }
        });
        Self { history, changed: false, kept }
    }

    /// Whether something was said before this call.
    pub(super) fn goes_on(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.earlier.is_some())
    }

    /// The session that is kept, if any.
    pub(super) fn session(&self) -> Option<&SessionId> {
        self.kept.as_ref().map(|kept| &kept.session)
    }

    /// The reply that begins to sound took so long, milliseconds.
    pub(super) fn began_after(&mut self, latency_ms: f64) {
        if let Some(kept) = &mut self.kept {
            kept.latency_ms = Some(latency_ms);
        }
    }

    /// Hands over what has changed since the last time. To be called when a step of the call is done,
    /// so that nothing is written half.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.changed)
            && let Some(kept) = &mut self.kept
        {
            kept.follow(&self.history);
        }
    }
}

impl Deref for Memory {
    type Target = History;

    fn deref(&self) -> &History {
        &self.history
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut History {
        self.changed = true;
        &mut self.history
    }
}

/// The call is over: what the person said last is kept though nothing answers it.
impl Drop for Memory {
    fn drop(&mut self) {
        self.settle();
        if let Some(kept) = &mut self.kept
            && let Some(turn) = kept.unanswered.take()
        {
            kept.storage.keep(turn);
        }
    }
}

impl Kept {
    fn follow(&mut self, history: &History) {
        self.forget_removed(history);
        let mut words: Vec<&str> = Vec::new();
        // The first reply's words may have been dropped for length.
        let mut is_whole = history.shortened() == 0;
        for said in history.said() {
            if said.by_person {
                words.push(said.text.reveal());
            } else if !self.is_earlier(said.key) {
                self.answered(&words, is_whole, said);
            }
            is_whole |= !said.by_person;
            // What was said in an earlier call was kept by that call.
            if !said.by_person || self.is_earlier(said.key) {
                words.clear();
            }
        }
        self.unanswered = match words.as_slice() {
            [] => None,
            words => Some(Turn { user: joined(words), ..self.new_turn() }),
        };
    }

    fn is_earlier(&self, key: EntryKey) -> bool {
        self.earlier.is_some_and(|earlier| key <= earlier)
    }

    /// The words and the reply to them are a turn.
    fn answered(&mut self, words: &[&str], is_whole: bool, reply: Said<'_>) {
        let kept = self.turns.get(&reply.key);
        let user = match kept {
            Some(turn) if !is_whole => turn.user.clone(),
            _ => joined(words),
        };
        let same = |turn: &Turn| {
            turn.user == user && turn.reply == *reply.text && turn.exchange == reply.exchange
        };
        if kept.is_some_and(same) {
            return;
        }
        let is_new = kept.is_none();
        let mut turn = match kept.cloned() {
            Some(turn) => turn,
            None => Turn { latency_ms: self.latency_ms.take(), ..self.new_turn() },
        };
        turn.user = user;
        turn.reply = reply.text.clone();
        turn.exchange = reply.exchange.to_vec();
        self.turns.insert(reply.key, turn.clone());
        if is_new {
            self.unanswered = None;
            self.storage.keep(turn);
        } else {
            self.storage.correct(turn);
        }
    }

    /// Turns whose reply is in the history no more: it was not heard after all, or the client took it
    /// back. What was dropped for length stays kept; those are older than all that is left.
    fn forget_removed(&mut self, history: &History) {
        let shortened = std::mem::replace(&mut self.shortened, history.shortened());
        let is_shorter = shortened != history.shortened();
        let left: Vec<EntryKey> = history.said().map(|said| said.key).collect();
        let oldest = left.iter().min();
        let storage = &self.storage;
        self.turns.retain(|key, turn| {
            let stays = left.contains(key);
            let was_dropped = is_shorter && oldest.is_none_or(|oldest| key < oldest);
            if !stays && !was_dropped {
                storage.forget(turn.clone());
            }
            stays
        });
    }

    /// An empty turn, said when its first words were.
    fn new_turn(&self) -> Turn {
        let turn = Turn::new(self.owner.clone(), self.session.clone(), Channel::Call);
        let at = self.unanswered.as_ref().map_or(turn.at, |first| first.at);
        Turn { at, ..turn }
    }
}

fn joined(words: &[&str]) -> Private<String> {
    Private::new(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReplyId;
    use crate::storage::{DatabaseUrl, Retention};
    use crate::thinking::{Message, ToolCall};

    async fn settings(storage: &Storage) -> CallSettings {
        let session = SessionId::parse("s").expect("a name");
        let turns = storage.load("", &session).await.expect("it answers");
        let recall = Recall { storage: storage.clone(), owner: String::new(), session, turns };
        CallSettings { memory: Some(recall), ..CallSettings::default() }
    }

    async fn storage() -> Storage {
        let url = DatabaseUrl::Sqlite("in-memory".into());
        Storage::open(&url, Retention::days(0)).await.expect("memory is there")
    }

    async fn kept(storage: &Storage) -> Vec<(String, String)> {
        let turns = storage.load("", &SessionId::parse("s").expect("a name")).await;
        let turns = turns.expect("it answers").into_iter();
        turns.map(|turn| (turn.user.into_revealed(), turn.reply.into_revealed())).collect()
    }

    /// A call of which everything was kept goes on as if it had never ended, whether or not others
    /// were before it.
    async fn goes_on(steps: &[&dyn Fn(&mut Memory)]) -> Vec<(String, String)> {
        let storage = storage().await;
        let mut calls = Vec::new();
        for _ in 0..2 {
            let mut before = Memory::new(&mut settings(&storage).await);
            for step in steps {
                step(&mut before);
                before.settle();
            }
            let prompt = before.prompt_with("And now?");
            drop(before);
            let after = Memory::new(&mut settings(&storage).await);
            assert_eq!(after.prompt_with("And now?"), prompt);
            calls.push(kept(&storage).await);
        }
        let first = calls.swap_remove(0);
        assert_eq!(calls[0], [first.clone(), first.clone()].concat());
        first
    }

    fn turn(user: &str, reply: &str) -> (String, String) {
        (user.to_owned(), reply.to_owned())
    }

    #[tokio::test]
    async fn turns_are_kept_as_they_were_heard() {
        let kept = goes_on(&[
            &|call| _ = call.user("Hello. "),
            &|call| call.assistant(ReplyId(1), "Hi! "),
            &|call| call.assistant(ReplyId(2), "Are you still there?"),
            &|call| _ = call.user("Tell me a story."),
            &|call| call.assistant(ReplyId(3), "Once upon a time there was a king."),
            &|call| call.heard(ReplyId(3), "Once upon"),
            &|call| _ = call.user("Stop."),
        ])
        .await;
        let told = [
            turn("Hello.", "Hi!"),
            turn("", "Are you still there?"),
            turn("Tell me a story.", "Once upon"),
            turn("Stop.", ""),
        ];
        assert_eq!(kept, told);
    }

    #[tokio::test]
    async fn a_turn_that_goes_on_is_kept_once_and_one_that_nothing_answered_with_the_next() {
        let kept = goes_on(&[
            &|call| _ = call.user("What is"),
            &|call| call.reopen(),
            &|call| _ = call.user("What is the capital"),
            // Of its reply nothing was heard.
            &|call| call.assistant(ReplyId(1), "Of what?"),
            &|call| call.heard(ReplyId(1), ""),
            &|call| _ = call.user("of France?"),
            &|call| call.assistant(ReplyId(2), "Paris."),
            &|call| call.reopen(),
        ])
        .await;
        assert_eq!(kept, [turn("What is the capital of France?", "Paris.")]);
    }

    #[tokio::test]
    async fn what_tools_did_is_kept_whatever_was_heard() {
        let call = ToolCall::new("weather", "{}");
        let result = Message::result(&call, Private::new("21 degrees".to_owned()));
        let exchange = vec![Message::calling("Let me check.", vec![call]), result];
        let kept = goes_on(&[
            &|call| _ = call.user("How warm is it?"),
            &|call| call.exchange(ReplyId(1), exchange.clone()),
            &|call| _ = call.user("I mean in Rome."),
            &|call| call.assistant(ReplyId(2), "Let me check. It is 21 degrees."),
            &|call| call.exchange(ReplyId(2), exchange.clone()),
            &|call| call.heard(ReplyId(2), "Let me check. It is"),
        ])
        .await;
        let told = [turn("How warm is it?", ""), turn("I mean in Rome.", "Let me check. It is")];
        assert_eq!(kept, told);
    }

    #[tokio::test]
    async fn what_the_client_takes_back_is_forgotten_and_what_is_dropped_for_length_is_not() {
        let storage = storage().await;
        let mut call = Memory::new(&mut settings(&storage).await);
        for n in 0..90 {
            call.user(&format!("Question {n}, which is rather long so that the history is full."));
            call.settle();
            call.assistant(
                ReplyId(n),
                &format!("Answer {n}, as long as that. {}", "So. ".repeat(30)),
            );
            call.settle();
        }
        assert!(call.shortened() > 0);
        let last = call.entry_of(ReplyId(89)).expect("an entry");
        call.remove(last);
        call.settle();
        let turns = kept(&storage).await;
        assert_eq!(turns.len(), 89);
        assert!(turns[88].0.starts_with("Question 88"));
        drop(call);
        assert!(kept(&storage).await[89].0.starts_with("Question 89"), "the words were said");
    }

    #[tokio::test]
    async fn without_a_database_the_call_remembers_itself() {
        let mut call = Memory::new(&mut CallSettings::default());
        call.user("Hello.");
        call.assistant(ReplyId(1), "Hi!");
        call.settle();
        assert!(call.session().is_none() && !call.goes_on());
        assert_eq!(call.prompt_with("").len(), 3);
    }
}

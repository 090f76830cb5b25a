//! What was said in one call, and what of it outlives the call.
//!
//! In: the person's turns, EVA's replies as heard, the tools called for them: the same as
//! [`History`] takes, which it passes on. Out: prompts, and the turns that [`Storage`] keeps. A turn is
//! kept once something of its reply was heard or a tool has run for it; what changes about it after
//! that is a correction of the same turn. Never waits; decides nothing.

use std::collections::VecDeque;

use super::CallSettings;
use crate::ids::{ReplyId, SessionId};
use crate::private::Private;
use crate::storage::{Channel, Storage, StoredTurn, Turn};
use crate::thinking::Message;
use crate::thinking::history::History;

/// Replies that may still change: what was heard of one is known a moment after it.
const OPEN_REPLIES: usize = 8;

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

/// The conversation of one call.
pub(super) struct Memory {
    history: History,
    kept: Option<Kept>,
    goes_on: bool,
}

/// The part that outlives the call.
struct Kept {
    storage: Storage,
    /// What every turn of this call begins with.
    blank: Turn,
    /// What the person said that nothing answers yet, and when the first of it was said.
    unanswered: Vec<(String, i64)>,
    /// Until the next reply began, milliseconds.
    latency_ms: Option<f64>,
    /// The newest turns that were kept.
    replies: VecDeque<(ReplyId, Turn)>,
}

impl Memory {
    /// The history that the call begins with. What is remembered is taken out of the settings.
    pub(super) fn new(settings: &mut CallSettings) -> Self {
        let mut history = History::new(settings.instructions());
        let mut goes_on = false;
        let kept = settings.memory.take().map(|recall| {
            goes_on = !recall.turns.is_empty();
            for turn in recall.turns {
                history.recall(turn.user.reveal(), turn.reply.reveal(), turn.exchange);
            }
            Kept {
                storage: recall.storage,
                blank: Turn::new(recall.owner, recall.session, Channel::Call),
                unanswered: Vec::new(),
                latency_ms: None,
                replies: VecDeque::new(),
            }
        });
        Self { history, kept, goes_on }
    }

    /// Whether something was said before this call.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The session that is kept, if any.
    pub(super) fn session(&self) -> Option<&SessionId> {
        self.kept.as_ref().map(|kept| &kept.blank.session)
    }

    /// [`History::user`].
    pub(super) fn user(&mut self, words: &str) {
        self.history.user(words);
        let words = words.trim();
        if let Some(kept) = self.kept.as_mut().filter(|_| !words.is_empty()) {
            kept.unanswered.push((words.to_owned(), kept.new_turn().at));
        }
    }

    /// [`History::reopen`].
    pub(super) fn reopen(&mut self) {
        self.history.reopen();
        if let Some(kept) = &mut self.kept {
            kept.unanswered.pop();
        }
    }

    /// [`History::assistant`], once it is known what was heard; again if it was another part.
    pub(super) fn assistant(&mut self, reply: ReplyId, text: &str) {
        self.history.assistant(reply, text);
        if let Some(kept) = &mut self.kept {
            kept.heard(reply, text, !text.trim().is_empty());
        }
    }

    /// [`History::exchange`].
    pub(super) fn exchange(&mut self, reply: ReplyId, messages: Vec<Message>) {
        if let Some(kept) = self.kept.as_mut().filter(|_| !messages.is_empty()) {
            let exchange = messages.clone();
            kept.change(reply, true, |turn| turn.exchange = exchange);
        }
        self.history.exchange(reply, messages);
    }

    /// The reply that begins to sound took so long, milliseconds.
    pub(super) fn began_after(&mut self, latency_ms: f64) {
        if let Some(kept) = &mut self.kept {
            kept.latency_ms = Some(latency_ms);
        }
    }

    /// [`History::prompt_with`].
    pub(super) fn prompt_with(&self, words: &str) -> Vec<Message> {
        self.history.prompt_with(words)
    }
}

impl Kept {
    fn heard(&mut self, reply: ReplyId, text: &str, is_new: bool) {
        let text = Private::new(text.trim().to_owned());
        self.change(reply, is_new, |turn| turn.reply = text);
    }

    /// Changes the turn that this reply answers. An unknown reply begins a turn if it is new.
    fn change(&mut self, reply: ReplyId, is_new: bool, change: impl FnOnce(&mut Turn)) {
        if let Some((_, turn)) = self.replies.iter_mut().find(|(id, _)| *id == reply) {
            let before = turn.clone();
            change(turn);
            if *turn != before {
                self.storage.correct(turn.clone());
            }
        } else if is_new {
            let mut turn = self.answered();
            turn.latency_ms = self.latency_ms.take();
            change(&mut turn);
            self.storage.keep(turn.clone());
            if self.replies.len() == OPEN_REPLIES {
                self.replies.pop_front();
            }
            self.replies.push_back((reply, turn));
        }
    }

    /// A turn of all that the person said and nothing has answered.
    fn answered(&mut self) -> Turn {
        let mut turn = self.new_turn();
        let words: Vec<_> = self.unanswered.drain(..).collect();
        if let Some((_, at)) = words.first() {
            turn.at = *at;
        }
        let words: Vec<_> = words.into_iter().map(|(words, _)| words).collect();
        turn.user = Private::new(words.join(" "));
        turn
    }

    fn new_turn(&self) -> Turn {
        Turn::new(self.blank.owner.clone(), self.blank.session.clone(), self.blank.channel)
    }
}

/// The call is over: what the person said last is kept though nothing answers it.
impl Drop for Kept {
    fn drop(&mut self) {
        if !self.unanswered.is_empty() {
            let turn = self.answered();
            self.storage.keep(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{DatabaseUrl, Retention};
    use crate::thinking::ToolCall;

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

    /// A call of which everything was kept goes on as if it had never ended.
    async fn goes_on(call: impl FnOnce(&mut Memory)) -> Vec<(String, String)> {
        let storage = storage().await;
        let mut before = Memory::new(&mut settings(&storage).await);
        call(&mut before);
        let prompt = before.prompt_with("And now?");
        drop(before);
        let after = Memory::new(&mut settings(&storage).await);
        assert_eq!(after.prompt_with("And now?"), prompt);
        let turns = storage.load("", &SessionId::parse("s").expect("a name")).await;
        let turns = turns.expect("it answers").into_iter();
        turns.map(|turn| (turn.user.into_revealed(), turn.reply.into_revealed())).collect()
    }

    fn turn(user: &str, reply: &str) -> (String, String) {
        (user.to_owned(), reply.to_owned())
    }

    #[tokio::test]
    async fn turns_are_kept_as_they_were_heard() {
        let kept = goes_on(|call| {
            call.user("Hello. ");
            call.assistant(ReplyId(1), "Hi! ");
            call.assistant(ReplyId(2), "Are you still there?");
            call.user("Tell me a story.");
            call.assistant(ReplyId(3), "Once upon a time there was a king.");
            call.assistant(ReplyId(3), "Once upon");
            call.user("Stop.");
        });
        let told = [
            turn("Hello.", "Hi!"),
            turn("", "Are you still there?"),
            turn("Tell me a story.", "Once upon"),
            turn("Stop.", ""),
        ];
        assert_eq!(kept.await, told);
    }

    #[tokio::test]
    async fn a_turn_that_goes_on_is_kept_once_and_one_that_nothing_answered_with_the_next() {
        let kept = goes_on(|call| {
            call.user("What is");
            call.reopen();
            call.user("What is the capital");
            // Its reply was cut before anything was heard.
            call.user("of France?");
            call.assistant(ReplyId(2), "Paris.");
            call.reopen();
        });
        assert_eq!(kept.await, [turn("What is the capital of France?", "Paris.")]);
    }

    #[tokio::test]
    async fn what_tools_did_is_kept_whatever_was_heard() {
        let call = ToolCall::new("weather", "{}");
        let result = Message::result(&call, Private::new("21 degrees".to_owned()));
        let exchange = vec![Message::calling("Let me check.", vec![call]), result];
        let kept = goes_on(|call| {
            call.user("How warm is it?");
            call.exchange(ReplyId(1), exchange.clone());
            call.user("I mean in Rome.");
            call.exchange(ReplyId(2), exchange.clone());
            call.assistant(ReplyId(2), "Let me check. It is 21 degrees.");
            call.assistant(ReplyId(2), "Let me check. It is");
        });
        let told = [turn("How warm is it?", ""), turn("I mean in Rome.", "Let me check. It is")];
        assert_eq!(kept.await, told);
    }

    #[tokio::test]
    async fn without_a_database_the_call_remembers_itself() {
        let mut call = Memory::new(&mut CallSettings::default());
        call.user("Hello.");
        call.assistant(ReplyId(1), "Hi!");
        assert!(call.session().is_none());
        assert_eq!(call.prompt_with("").len(), 3);
    }
}

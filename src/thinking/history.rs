//! What was said in a call; the messages for the next reply.
//!
//! In: the person's turns, EVA's replies, and how much of each reply was heard. Out: the messages
//! of a [`Prompt`](super::Prompt). Owned by the call. It calls no model and decides nothing.
//!
//! Models and their servers keep what they have read of a prompt as long as the next prompt begins
//! with the same text. So the history only grows at its end, and when it is too long it drops
//! many old exchanges at once rather than one each turn.

use std::collections::VecDeque;

use super::{Message, Role};
use crate::ids::ReplyId;
use crate::private::Private;

/// The default length of a history in estimated tokens.
pub const DEFAULT_BUDGET: usize = 2000;

/// What a message costs beside its text: role and separators.
const MESSAGE_TOKENS: usize = 4;

/// What a model reads where a client has brought no result of a call.
const NO_RESULT: &str = "Error: No result has come yet.";

/// The conversation of one call.
#[derive(Clone, Debug)]
pub struct History {
    system: Message,
    entries: VecDeque<Entry>,
    /// Entries there have been.
    count: u64,
    /// How often it was shortened.
    shortened: u64,
    /// Estimated tokens, the system message included, above which old exchanges are dropped.
    budget: usize,
}

/// Names an entry of a history, for as long as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey(u64);

/// Something said, for whoever keeps conversations.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Its entry.
    pub key: EntryKey,
    /// The person said it; else it is a reply.
    pub by_person: bool,
    /// The words; of a reply, those that were heard.
    pub text: &'a Private<String>,
    /// The calls of tools for the reply, and their results.
    pub exchange: &'a [Message],
}

/// Where a new entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind all others.
    End,
    /// Before all others.
    Front,
    /// Behind this one; at the end if it is kept no more.
    Behind(EntryKey),
}

/// Whose entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Person,
    /// A reply, or words that a client put into EVA's mouth.
    Eva(Option<ReplyId>),
    /// Further instructions.
    Owner,
}

/// One turn: the person's words, or EVA's reply with the tools that were called for it. It is kept
/// or dropped as a whole, so a call is never without its result.
#[derive(Clone, Debug)]
struct Entry {
    key: EntryKey,
    by: By,
    /// What was said, or heard of the reply.
    text: Private<String>,
    /// Calls of tools and their results.
    exchange: Vec<Message>,
}

impl Entry {
    fn tokens(&self) -> usize {
        let exchange = self.exchange.iter().map(|message| {
            let calls = message.calls.iter().map(|call| call.arguments.reveal());
            let texts = calls.chain([message.content.reveal()]);
            texts.map(|text| estimate_tokens(text) + MESSAGE_TOKENS).sum::<usize>()
        });
        estimate_tokens(self.text.reveal()) + MESSAGE_TOKENS + exchange.sum::<usize>()
    }

    /// Its messages. What was heard is shared out: what EVA said before a call stands before it.
    fn messages(&self) -> Vec<Message> {
        match self.by {
            By::Person => return vec![Message::new(Role::User, self.text.reveal())],
            By::Owner => return vec![Message::new(Role::System, self.text.reveal())],
            By::Eva(_) => {}
        }
        let mut rest = self.text.reveal().as_str();
        let mut messages = answered(&self.exchange);
        for message in messages.iter_mut().filter(|message| !message.calls.is_empty()) {
            let said = message.content.reveal().trim();
            let heard = match rest.strip_prefix(said) {
                Some(after) => {
                    rest = after.trim_start();
                    said
                }
                // She was cut before the call.
                None if said.starts_with(rest) => std::mem::take(&mut rest),
                None => "",
            };
            message.content = Private::new(heard.to_owned());
        }
        if !rest.is_empty() {
            messages.push(Message::new(Role::Assistant, rest));
        }
        messages
    }
}

impl History {
    /// An empty conversation under these instructions (see [`default_system`]).
    pub fn new(system: impl Into<String>) -> Self {
        let system = Message::new(Role::System, system);
        Self { system, entries: VecDeque::new(), count: 0, shortened: 0, budget: DEFAULT_BUDGET }
    }

    /// Bounds the history to this many estimated tokens ([`DEFAULT_BUDGET`] otherwise). The newest
    /// exchange and the instructions stay even if they are longer.
    #[must_use]
    pub fn with_budget(mut self, tokens: usize) -> Self {
        self.budget = tokens;
        self
    }

    /// This was said in an earlier call: what the person said, what was heard of the reply, and the
    /// tools that were called for it. Oldest first, before anything is said in this call.
    pub fn recall(&mut self, user: &str, reply: &str, exchange: Vec<Message>) {
        self.add(By::Person, user);
        if !reply.trim().is_empty() || !exchange.is_empty() {
            let entry = self.entry(By::Eva(None), reply);
            self.entries.push_back(Entry { exchange, ..entry });
        }
        self.shorten();
    }

    /// What was said, in order, as far as it was not dropped for length.
    pub fn said(&self) -> impl Iterator<Item = Said<'_>> {
        self.entries.iter().filter(|entry| entry.by != By::Owner).map(|entry| Said {
            key: entry.key,
            by_person: entry.by == By::Person,
            text: &entry.text,
            exchange: &entry.exchange,
        })
    }

    /// How often old exchanges were dropped for length.
    pub fn shortened(&self) -> u64 {
        self.shortened
    }

    /// The person said this, and EVA answers it: their turn is committed. `None` if it is empty.
    pub fn user(&mut self, words: &str) -> Option<EntryKey> {
        self.add(By::Person, words)
    }

    /// The person goes on: their last turn is open again, and comes back with [`History::user`].
    /// Changes nothing once EVA has answered it.
    pub fn reopen(&mut self) {
        self.entries.pop_back_if(|entry| entry.by == By::Person);
    }

    /// EVA says this. Call it again with the same id as the reply grows; cut it with
    /// [`History::heard`].
    pub fn assistant(&mut self, reply: ReplyId, text: &str) {
        match self.find(reply) {
            Some(at) => self.set(at, text),
            None => {
                self.add(By::Eva(Some(reply)), text);
            }
        }
        self.shorten();
    }

    /// The entry of a reply, if it has one.
    pub fn entry_of(&self, reply: ReplyId) -> Option<EntryKey> {
        self.find(reply).map(|at| self.entries[at].key)
    }

    /// Puts in what somebody said or is to have said (`Role::Tool` is not for this: see
    /// [`History::result`]).
    pub fn insert(&mut self, place: Place, role: Role, text: &str) -> EntryKey {
        let by = match role {
            Role::User => By::Person,
            Role::System => By::Owner,
            Role::Assistant | Role::Tool => By::Eva(None),
        };
        let entry = self.entry(by, text);
        let key = entry.key;
        let behind = |key| self.entries.iter().position(|entry| entry.key == key);
        let at = match place {
            Place::Front => 0,
            Place::Behind(key) => behind(key).map_or(self.entries.len(), |at| at + 1),
            Place::End => self.entries.len(),
        };
        self.entries.insert(at, entry);
        key
    }

    /// Forgets an entry.
    pub fn remove(&mut self, key: EntryKey) {
        self.entries.retain(|entry| entry.key != key);
    }

    /// Only this much of an entry was said.
    pub fn rewrite(&mut self, key: EntryKey, text: &str) {
        if let Some(at) = self.entries.iter().position(|entry| entry.key == key) {
            self.set(at, text);
        }
    }

    /// A client brings the result of a call; whether a call with this id was made.
    pub fn result(&mut self, call_id: &str, content: Private<String>) -> bool {
        for entry in &mut self.entries {
            let calls = |message: &Message| message.calls.iter().any(|call| call.id == call_id);
            let Some(at) = entry.exchange.iter().position(calls) else { continue };
            let behind = entry.exchange[at + 1..].iter().take_while(|m| m.role == Role::Tool);
            let end = at + 1 + behind.count();
            entry.exchange.retain(|m| m.answers.as_deref() != Some(call_id));
            let end = end.min(entry.exchange.len());
            let mut result = Message::new(Role::Tool, content.into_revealed());
            result.answers = Some(call_id.to_owned());
            entry.exchange.insert(end, result);
            return true;
        }
        false
    }

    /// Changes the instructions.
    pub fn instruct(&mut self, system: impl Into<String>) {
        self.system = Message::new(Role::System, system);
    }

    /// For this reply tools were called: EVA's messages with the calls, each followed by its
    /// results. They stand before what was heard of the reply, and stay even if nothing was heard:
    /// what a tool did is done. Told before or after [`History::assistant`].
    pub fn exchange(&mut self, reply: ReplyId, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        match self.find(reply) {
            Some(at) => self.entries[at].exchange = messages,
            None => {
                let entry = self.entry(By::Eva(Some(reply)), "");
                self.entries.push_back(Entry { exchange: messages, ..entry });
            }
        }
    }

    /// Only this much of a reply was heard; the rest was never said. Nothing heard: the reply is
    /// forgotten. An unknown reply changes nothing.
    pub fn heard(&mut self, reply: ReplyId, heard_text: &str) {
        if let Some(at) = self.find(reply) {
            self.set(at, heard_text);
        }
    }

    /// The messages for a reply to these words, which are not committed yet: the instructions, the
    /// conversation, the words. With partial words it is what the prompt will begin with
    /// ([`Llm::read_ahead`](super::Llm::read_ahead)). Messages of one speaker that follow each
    /// other are joined, since many models want them to alternate.
    pub fn prompt_with(&self, words: &str) -> Vec<Message> {
        let words = words.trim();
        let mut messages = vec![self.system.clone()];
        let new = (!words.is_empty()).then(|| Message::new(Role::User, words));
        for message in self.entries.iter().flat_map(Entry::messages).chain(new) {
            match messages.last_mut() {
                Some(last) if last.role == message.role && can_join(last) => join(last, message),
                _ => messages.push(message),
            }
        }
        messages
    }

    /// The messages as they stand, the committed turn last.
    pub fn prompt(&self) -> Vec<Message> {
        self.prompt_with("")
    }

    /// The estimated tokens of [`History::prompt`].
    pub fn tokens(&self) -> usize {
        let system = estimate_tokens(self.system.content.reveal()) + MESSAGE_TOKENS;
        system + self.entries.iter().map(Entry::tokens).sum::<usize>()
    }

    fn add(&mut self, by: By, text: &str) -> Option<EntryKey> {
        if text.trim().is_empty() {
            return None;
        }
        let entry = self.entry(by, text);
        let key = entry.key;
        self.entries.push_back(entry);
        Some(key)
    }

    fn entry(&mut self, by: By, text: &str) -> Entry {
        self.count += 1;
        let text = Private::new(text.trim().to_owned());
        Entry { key: EntryKey(self.count), by, text, exchange: Vec::new() }
    }

    fn find(&self, reply: ReplyId) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.by == By::Eva(Some(reply)))
    }

    fn set(&mut self, at: usize, text: &str) {
        let text = text.trim();
        if text.is_empty() && self.entries[at].exchange.is_empty() {
            self.entries.remove(at);
        } else {
            self.entries[at].text = Private::new(text.to_owned());
        }
    }

    /// Too long: drops the oldest exchanges until half the budget is free again, so that the next
    /// many prompts begin alike. Runs after a reply, when nobody waits for the next prompt.
    fn shorten(&mut self) {
        if self.tokens() <= self.budget {
            return;
        }
        let newest_turn =
            self.entries.iter().rposition(|entry| entry.by == By::Person).unwrap_or(0);
        let mut left = self.tokens();
        let mut dropped = 0;
        for (at, entry) in self.entries.iter().enumerate() {
            let begins_exchange = entry.by == By::Person;
            if at >= newest_turn || left <= self.budget / 2 && begins_exchange {
                break;
            }
            left -= entry.tokens();
            dropped = at + 1;
        }
        self.entries.drain(..dropped);
        self.shortened += 1;
    }
}

/// An exchange in which each call has a result: models want one, and some refuse a prompt without.
fn answered(exchange: &[Message]) -> Vec<Message> {
    let mut whole = Vec::with_capacity(exchange.len());
    for message in exchange {
        whole.push(message.clone());
        for call in &message.calls {
            let id = Some(call.id.as_str());
            if !exchange.iter().any(|other| other.answers.as_deref() == id) {
                whole.push(Message::result(call, Private::new(NO_RESULT.to_owned())));
            }
        }
    }
    whole
}

/// Whether what follows may be joined to it: nothing stands between the words.
fn can_join(message: &Message) -> bool {
    message.role != Role::Tool && message.calls.is_empty()
}

fn join(last: &mut Message, next: Message) {
    let texts = [last.content.reveal().as_str(), next.content.reveal()];
    let said = texts.into_iter().filter(|text| !text.is_empty());
    last.content = Private::new(said.collect::<Vec<_>>().join(" "));
    last.calls = next.calls;
}

/// A rough count of tokens: four letters each, one for a character of scripts without spaces.
pub fn estimate_tokens(text: &str) -> usize {
    let quarters = text.chars().map(|c| if c < '\u{2e80}' { 1 } else { 4 }).sum::<usize>();
    quarters.div_ceil(4)
}

/// EVA's instructions for a call in English (`"en"`), French (`"fr"`) or whatever language the
/// person speaks. Short, because a model without a cache reads them for every reply.
pub fn default_system(language: &str) -> &'static str {
    match language {
        "en" => {
            "You are EVA, a friendly voice assistant on a call. Answer in one or two short \
             sentences, as people speak. No lists, no markdown, no emoji."
        }
        "fr" => {
            "Tu es EVA, une assistante vocale chaleureuse au téléphone. Réponds en français, en \
             une ou deux phrases courtes, comme à l'oral. Pas de listes, de markdown ni d'emoji."
        }
        _ => {
            "You are EVA, a friendly voice assistant on a call. Answer in the language the person \
             speaks, in one or two short sentences, as people speak. No lists, no markdown, no \
             emoji."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thinking::ToolCall;

    fn said(history: &History, words: &str) -> Vec<(Role, String)> {
        let messages = history.prompt_with(words);
        messages.into_iter().map(|m| (m.role, m.content.into_revealed())).collect()
    }

    fn user(text: &str) -> (Role, String) {
        (Role::User, text.to_owned())
    }

    fn eva(text: &str) -> (Role, String) {
        (Role::Assistant, text.to_owned())
    }

    fn system() -> (Role, String) {
        (Role::System, "Be brief.".to_owned())
    }

    #[test]
    fn a_prompt_is_the_instructions_the_conversation_and_the_new_words() {
        let mut history = History::new("Be brief.");
        history.user("Hello. ");
        history.assistant(ReplyId(1), "Hi! ");
        assert_eq!(
            said(&history, " How are "),
            [system(), user("Hello."), eva("Hi!"), user("How are")]
        );
        assert_eq!(said(&history, ""), [system(), user("Hello."), eva("Hi!")]);
        history.user("How are you?");
        assert_eq!(history.prompt().len(), 4);
    }

    #[test]
    fn an_interrupted_reply_stays_as_far_as_it_was_heard() {
        let mut history = History::new("Be brief.");
        history.user("Tell me a story.");
        history.assistant(ReplyId(1), "Once upon a time");
        history.assistant(ReplyId(1), "Once upon a time there was a king.");
        history.user("Stop.");
        history.heard(ReplyId(1), "Once upon");
        let told = [system(), user("Tell me a story."), eva("Once upon"), user("Stop.")];
        assert_eq!(said(&history, ""), told);
        history.heard(ReplyId(7), "Nobody said this");
        assert_eq!(said(&history, ""), told);
    }

    #[test]
    fn a_reply_that_nobody_heard_is_forgotten_and_the_turns_around_it_are_joined() {
        let mut history = History::new("Be brief.");
        history.user("What is the capital");
        history.assistant(ReplyId(1), "Of what?");
        history.heard(ReplyId(1), " ");
        assert_eq!(
            said(&history, "of France?"),
            [system(), user("What is the capital of France?")]
        );
    }

    #[test]
    fn each_prompt_begins_with_the_one_before_until_the_history_is_too_long() {
        let mut history = History::new("Be brief.").with_budget(400);
        let mut before = history.prompt();
        let (mut kept, mut steps) = (0, 0);
        for turn in 0..200 {
            let words = format!("This is turn number {turn} of our long conversation.");
            assert_eq!(history.prompt_with(&words)[..before.len()], before[..]);
            history.user(&words);
            history.assistant(ReplyId(turn), "And this is the answer that EVA gives to it.");
            let now = history.prompt();
            assert!(history.tokens() <= 400);
            assert_eq!(now[0], before[0], "the instructions stay");
            assert_eq!(now[1].role, Role::User, "an exchange begins with the person");
            assert_eq!(now.last().unwrap().role, Role::Assistant, "the newest exchange stays");
            if now.starts_with(&before) {
                kept += 1
            } else {
                steps += 1
            }
            before = now;
        }
        assert!(steps > 0 && kept > 4 * steps, "kept {kept} prefixes, broke {steps}");
    }

    #[test]
    fn the_newest_exchange_stays_however_long_it_is() {
        let mut history = History::new("Be brief.").with_budget(10);
        history.user("Old words.");
        history.assistant(ReplyId(1), "Old answer.");
        history.user(&"very long words ".repeat(50));
        history.assistant(ReplyId(2), "New answer.");
        let left = history.prompt();
        assert_eq!(left.len(), 3);
        assert_eq!(left[2].content.reveal(), "New answer.");
    }

    fn called(text: &str, calls: &[ToolCall]) -> Vec<Message> {
        let results = calls
            .iter()
            .map(|call| Message::result(call, Private::new(format!("result of {}", call.name))));
        [Message::calling(text, calls.to_vec())].into_iter().chain(results).collect()
    }

    #[test]
    fn calls_of_tools_stand_between_the_question_and_the_answer() {
        let mut history = History::new("Be brief.");
        let call = ToolCall::new("weather", "{}");
        history.user("How warm is it?");
        history.exchange(ReplyId(1), called("Let me check.", std::slice::from_ref(&call)));
        history.assistant(ReplyId(1), "Let me check. It is 21 degrees.");
        let tool = |text: &str| (Role::Tool, text.to_owned());
        let told = [
            system(),
            user("How warm is it?"),
            eva("Let me check."),
            tool("result of weather"),
            eva("It is 21 degrees."),
        ];
        assert_eq!(said(&history, ""), told);
        let prompt = history.prompt();
        assert_eq!(prompt[2].calls[0], call);
        assert_eq!(prompt[3].answers.as_ref(), Some(&call.id));
    }

    #[test]
    fn clients_put_entries_in_take_them_out_and_bring_results() {
        let mut history = History::new("Be brief.");
        let hello = history.user("Hello.").expect("it has words");
        history.assistant(ReplyId(1), "Hi.");
        history.insert(Place::Behind(hello), Role::Assistant, "Yes?");
        history.insert(Place::Front, Role::System, "Be kind.");
        let last = history.insert(Place::End, Role::User, "Bye.");
        let told = [
            (Role::System, "Be brief. Be kind.".to_owned()),
            user("Hello."),
            eva("Yes? Hi."),
            user("Bye."),
        ];
        assert_eq!(said(&history, ""), told);
        history.remove(last);
        history.remove(history.entry_of(ReplyId(1)).expect("it was said"));
        assert_eq!(said(&history, "")[1..], [user("Hello."), eva("Yes?")]);

        let call = ToolCall::new("weather", "{}");
        history.exchange(ReplyId(2), vec![Message::calling("", vec![call.clone()])]);
        let tool = |history: &History| said(history, "").pop().expect("messages");
        assert_eq!(tool(&history), (Role::Tool, NO_RESULT.to_owned()));
        assert!(history.result(&call.id, Private::new("Rain.".to_owned())));
        assert_eq!(tool(&history), (Role::Tool, "Rain.".to_owned()));
        assert!(!history.result("unknown", Private::default()));
    }

    #[test]
    fn an_interrupted_reply_with_tools_keeps_what_was_heard_and_what_the_tools_did() {
        let call = ToolCall::new("weather", "{}");
        let heard = |heard: &str| {
            let mut history = History::new("Be brief.");
            history.user("How warm is it?");
            history.assistant(ReplyId(1), "Let me check. It is 21 degrees.");
            history.exchange(ReplyId(1), called("Let me check.", std::slice::from_ref(&call)));
            history.heard(ReplyId(1), heard);
            history.user("Stop.");
            let texts = said(&history, "").into_iter().skip(2).map(|(_, text)| text);
            texts.collect::<Vec<_>>()
        };
        let result = "result of weather";
        assert_eq!(heard("Let me check. It is"), ["Let me check.", result, "It is", "Stop."]);
        assert_eq!(heard("Let me"), ["Let me", result, "Stop."]);
        assert_eq!(heard(""), ["", result, "Stop."]);
        assert_eq!(heard("Other words"), ["", result, "Other words", "Stop."]);
    }

    #[test]
    fn the_bound_on_length_never_splits_a_call_from_its_result() {
        let mut history = History::new("Be brief.").with_budget(400);
        for turn in 0..100 {
            let calls = [ToolCall::new("one", "{}"), ToolCall::new("two", "{}")];
            history.user("This is a question of our long conversation.");
            history.exchange(ReplyId(turn), called("Let me check.", &calls));
            history.assistant(ReplyId(turn), "And this is the answer that EVA gives to it.");
            let prompt = history.prompt();
            assert!(history.tokens() <= 400);
            assert_eq!(prompt[1].role, Role::User, "an exchange begins with the person");
            let asked = prompt.iter().flat_map(|message| &message.calls).map(|call| &call.id);
            let answered = prompt.iter().filter_map(|message| message.answers.as_ref());
            assert!(asked.eq(answered));
        }
    }

    #[test]
    fn words_never_show_in_debug_output() {
        let mut history = History::new("Be brief.");
        history.user("my secret");
        assert!(!format!("{history:?}").contains("secret"));
    }

    #[test]
    fn tokens_are_estimated_by_script() {
        assert_eq!(estimate_tokens("twelve chars"), 3);
        assert_eq!(estimate_tokens("你好"), 2);
        assert!(["en", "fr", "auto"].iter().all(|l| estimate_tokens(default_system(l)) < 60));
    }
}

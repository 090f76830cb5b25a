//! What must hold for every sequence of events.

use proptest::prelude::*;

use super::*;

fn ms(at: u64) -> At {
    At::from_millis(at)
}

fn heard(text: &str) -> Hypothesis {
    let words = Private::new(text.to_owned());
    Hypothesis { words, confidence: 0.9, no_speech: 0.01, level_dbfs: -30.0, as_of: ms(1_000_000) }
}

/// What a driver can do to the machine.
#[derive(Clone, Debug)]
enum Event {
    Voice(u64),
    Resume,
    Silence,
    Pause,
    Words(&'static str),
    Partial(&'static str),
    Failed,
    Vote(f32),
    Sounds,
    Says(&'static str),
    WantsTool,
    Waits,
    Flows,
    Ends,
    Asked,
    Cancelled,
    Press,
    Release,
    LetGo,
    Type(&'static str),
}

fn event() -> impl Strategy<Value = Event> {
    let said = prop::sample::select(vec![
        "",
        "Mhm.",
        "Stop it.",
        "What time is it?",
        "what time is it",
        "I want to",
        "It is noon, my friend.",
    ]);
    prop_oneof![
        3 => (0u64..150).prop_map(Event::Voice),
        1 => Just(Event::Resume),
        4 => Just(Event::Silence),
        3 => Just(Event::Pause),
        4 => said.clone().prop_map(Event::Words),
        2 => said.clone().prop_map(Event::Partial),
        1 => Just(Event::Failed),
        3 => (0.0f32..1.0).prop_map(Event::Vote),
        3 => Just(Event::Sounds),
        1 => said.prop_map(Event::Says),
        1 => Just(Event::WantsTool),
        1 => Just(Event::Waits),
        1 => Just(Event::Flows),
        2 => Just(Event::Ends),
        1 => Just(Event::Asked),
        1 => Just(Event::Cancelled),
        1 => Just(Event::Press),
        1 => Just(Event::Release),
        1 => Just(Event::LetGo),
        1 => Just(Event::Type("What is it?")),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    Held,
    Open,
    Suspended,
}

/// The call's side of the contract: what it would have done with the actions.
#[derive(Default)]
struct Call {
    pass: Option<PassId>,
    reply: Option<(ReplyId, Gate)>,
    /// Something of the reply was heard.
    sounding: bool,
    /// A client asked for the reply.
    asked: bool,
    /// The reply wants to run a tool.
    tool: bool,
    tools_run: u32,
    newest: u32,
    committed: u32,
    answered: u32,
    ducked: bool,
    hung_up: bool,
}

impl Call {
    fn obey(&mut self, action: &Action) {
        match action {
            Action::StartPass { pass } => self.pass = Some(*pass),
            Action::DropPass { pass } => assert_eq!(self.pass.take(), Some(*pass)),
            Action::StartReply { reply, words } => {
                assert!(!words.reveal().is_empty(), "a reply to nothing");
                self.begin(*reply, Gate::Held);
            }
            Action::AskIfThere { reply } => self.begin(*reply, Gate::Open),
            Action::Answer { reply } => {
                self.begin(*reply, Gate::Open);
                self.asked = true;
            }
            Action::Commit { turn, words } => {
                assert!(!words.reveal().is_empty(), "a turn without words");
                self.committed += 1;
                assert_eq!(turn.0, self.committed);
                self.pass = None;
            }
            Action::CommitTyped { turn, words } => {
                assert!(!words.reveal().is_empty(), "a turn without words");
                self.committed += 1;
                assert_eq!(turn.0, self.committed);
                // Words must interrupt its reply.
                self.asked = true;
            }
            Action::Release { reply } => {
                self.gate(*reply, Gate::Held, Gate::Open);
                assert!(self.committed > self.answered, "released before its turn was committed");
                self.answered = self.committed;
                self.run_tools();
            }
            Action::Withhold { reply } => {
                assert!(!self.sounding, "withheld what was heard");
                self.gate(*reply, Gate::Open, Gate::Held);
            }
            Action::Suspend { reply } => self.gate(*reply, Gate::Open, Gate::Suspended),
            Action::Resume { reply } => self.gate(*reply, Gate::Suspended, Gate::Open),
            Action::Reopen { turn } => {
                assert_eq!(turn.0, self.committed, "only the last turn can be reopened");
                self.committed -= 1;
                self.answered = self.committed;
            }
            Action::Withdraw { reply } => {
                assert!(!self.sounding, "withdrew what was heard");
                self.end(*reply);
            }
            Action::Stop { reply } => {
                assert!(self.sounding, "stopped what nobody heard");
                self.end(*reply);
            }
            Action::Filler { reply } => {
                assert_eq!(self.reply, Some((*reply, Gate::Open)), "a filler for no late reply");
            }
            Action::Duck => {
                assert!((self.sounding || self.asked) && !self.ducked);
                self.ducked = true;
            }
            Action::Unduck => {
                assert!(std::mem::take(&mut self.ducked), "restored what was not low")
            }
            Action::Backchannel => assert!(!self.sounding, "a backchannel over a reply"),
            Action::HangUp(_) => self.hung_up = true,
            Action::Discard | Action::Hush | Action::Show(_) => {}
        }
    }

    fn begin(&mut self, reply: ReplyId, gate: Gate) {
        assert!(self.reply.is_none(), "two replies at once");
        assert!(reply.0 > self.newest, "an id used twice");
        self.newest = reply.0;
        self.reply = Some((reply, gate));
        (self.sounding, self.asked, self.tool) = (false, false, false);
    }

    fn gate(&mut self, reply: ReplyId, from: Gate, to: Gate) {
        assert_eq!(self.reply, Some((reply, from)));
        self.reply = Some((reply, to));
    }

    fn end(&mut self, reply: ReplyId) {
        assert_eq!(self.reply.take().map(|(id, _)| id), Some(reply), "ended twice");
        self.sounding = false;
        // A reply takes its lowered voice with it.
        self.ducked = false;
    }

    fn run_tools(&mut self) {
        if std::mem::take(&mut self.tool) {
            assert_eq!(self.committed, self.answered, "a tool before the commit");
            self.tools_run += 1;
        }
    }

    fn open(&self) -> Option<ReplyId> {
        self.reply.filter(|(_, gate)| *gate == Gate::Open).map(|(id, _)| id)
    }
}

/// A machine, the call that obeys it, and the time.
struct Play {
    machine: TurnMachine,
    call: Call,
    now: At,
}

impl Play {
    fn new() -> Self {
        let machine = TurnMachine::new(Settings::default());
        Self { machine, call: Call::default(), now: At::ZERO }
    }

    /// Lets time pass, waking the machine when it wants to be.
    fn pass(&mut self, span: At) {
        let until = self.now + span;
        while let Some((at, why)) = self.machine.poll_timeout().filter(|(at, _)| *at <= until) {
            assert!(at >= self.now, "{why:?} lies in the past");
            self.now = at;
            self.machine.handle_timeout(at);
            self.obey();
        }
        self.now = until;
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            self.call.obey(&action);
        }
        let next = self.machine.poll_timeout();
        assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?} is not in the future");
    }

    fn happen(&mut self, event: Event) {
        let pass = self.call.pass.unwrap_or(PassId(0));
        match event {
            Event::Voice(ago) => {
                let onset = self.now.saturating_sub(ms(ago));
                self.tell(Input::SpeechStarted { onset });
            }
            Event::Resume => self.tell(Input::SpeechResumed),
            Event::Silence => self.tell(Input::SilenceHint),
            Event::Pause => {
                self.tell(Input::Paused { last_voiced: self.now.saturating_sub(ms(200)) });
            }
            Event::Words(text) => self.tell(Input::FinalWords { pass, heard: heard(text) }),
            Event::Partial(text) => self.tell(Input::PartialWords(heard(text))),
            Event::Failed => self.tell(Input::PassFailed { pass }),
            Event::Vote(probability) => self.tell(Input::EndOfTurn { pass, probability }),
            Event::Asked => self.tell(Input::Asked),
            Event::Cancelled => self.tell(Input::Cancelled),
            Event::Press => self.tell(Input::Pressed),
            Event::Release => self.tell(Input::Released),
            Event::LetGo => self.tell(Input::LetGo),
            Event::Type(text) => {
                self.tell(Input::Typed { words: Private::new(text.to_owned()) });
            }
            _ => self.of_reply(event),
        }
    }

    /// What only a reply in progress brings.
    fn of_reply(&mut self, event: Event) {
        if let (Event::WantsTool, Some((_, gate))) = (&event, self.call.reply) {
            self.call.tool = true;
            if gate == Gate::Open {
                self.call.run_tools();
            }
        }
        let Some(reply) = self.call.open() else { return };
        match event {
            Event::Sounds => {
                self.call.sounding = true;
                self.tell(Input::ReplySounds { reply });
            }
            Event::Says(text) => {
                let text = Private::new(text.to_owned());
                self.tell(Input::SentenceSounds { reply, text });
            }
            Event::Waits => self.tell(Input::ReplyWaits { reply }),
            Event::Flows => self.tell(Input::ReplyFlows { reply }),
            Event::Ends => {
                self.call.reply = None;
                self.call.sounding = false;
                self.tell(Input::ReplyEnded { reply });
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]
    #[test]
    fn every_sequence_keeps_the_contract(
        events in prop::collection::vec((1u64..700, event()), 1..80)
    ) {
        let mut play = Play::new();
        for (gap, event) in events {
            play.pass(ms(gap));
            play.happen(event);
        }
        // From every state the person gets an answer: silence out what is open, then ask.
        play.tell(Input::SilenceHint);
        play.pass(ms(12_000));
        play.tell(Input::SpeechStarted { onset: play.now });
        play.pass(ms(1000));
        play.tell(Input::SilenceHint);
        let pass = play.call.pass.expect("speech and silence start a pass");
        play.tell(Input::EndOfTurn { pass, probability: 0.9 });
        play.tell(Input::FinalWords { pass, heard: heard("Are you still there today?") });
        play.pass(ms(200));
        play.tell(Input::Paused { last_voiced: play.now.saturating_sub(ms(200)) });
        prop_assert!(play.call.open().is_some() || play.call.hung_up, "no answer");
        // And when nothing more comes, everything ends.
        if let Some(reply) = play.call.open() {
            play.tell(Input::ReplyEnded { reply });
            play.call.reply = None;
        }
        play.pass(ms(700_000));
        let asked = play.call.open();
        if let Some(reply) = asked {
            play.call.reply = None;
            play.tell(Input::ReplyEnded { reply });
        }
        play.pass(ms(700_000));
        prop_assert!(play.call.hung_up, "a silent call goes on for ever");
    }
}

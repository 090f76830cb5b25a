//! Dialogues on given time, and what must hold for every sequence of events.

use proptest::prelude::*;

use super::*;

fn ms(at: u64) -> At {
    At::from_millis(at)
}

fn words(text: &str) -> Private<String> {
    Private::new(text.to_owned())
}

/// Feeds inputs at given milliseconds, waking the machine at its deadlines in between.
fn play(machine: &mut TurnMachine, script: &[(u64, Input)]) -> Vec<(u64, Action)> {
    let mut done = Vec::new();
    for (at, input) in script {
        wake_until(machine, ms(*at), &mut done);
        machine.handle(ms(*at), input.clone());
        drain(machine, *at, &mut done);
    }
    done
}

fn wake_until(machine: &mut TurnMachine, until: At, done: &mut Vec<(u64, Action)>) {
    while let Some((at, _)) = machine.poll_timeout().filter(|(at, _)| *at <= until) {
        machine.handle_timeout(at);
        drain(machine, at.as_millis() as u64, done);
    }
}

fn drain(machine: &mut TurnMachine, at: u64, done: &mut Vec<(u64, Action)>) {
    while let Some(action) = machine.poll_action() {
        if !matches!(action, Action::Show(_)) {
            done.push((at, action));
        }
    }
}

fn question(start: u64, pass: u32) -> Vec<(u64, Input)> {
    vec![
        (start + 100, Input::SpeechStarted { onset: ms(start) }),
        (start + 1000, Input::SilenceHint),
        (start + 1080, Input::EndOfTurn { pass: PassId(pass), probability: 0.9 }),
        (start + 1150, Input::FinalWords { pass: PassId(pass), words: words("What time is it?") }),
        (start + 1200, Input::Paused { last_voiced: ms(start + 1000) }),
    ]
}

#[test]
fn a_sure_turn_is_committed_at_the_pause() {
    let mut machine = TurnMachine::new(Settings::default());
    let done = play(&mut machine, &question(0, 1));
    let asked = words("What time is it?");
    assert_eq!(
        done,
        [
            (1000, Action::StartPass { pass: PassId(1) }),
            (1200, Action::StartReply { reply: ReplyId(1), words: asked.clone() }),
            (1200, Action::Commit { turn: TurnId(1), words: asked }),
            (1200, Action::Release { reply: ReplyId(1) }),
        ]
    );
}

#[test]
fn speech_that_resumes_in_the_wait_withdraws_the_held_reply() {
    let mut machine = TurnMachine::new(Settings::default());
    let done = play(
        &mut machine,
        &[
            (100, Input::SpeechStarted { onset: ms(0) }),
            (1000, Input::SilenceHint),
            (1080, Input::EndOfTurn { pass: PassId(1), probability: 0.1 }),
            (1150, Input::FinalWords { pass: PassId(1), words: words("My number is") }),
            (1200, Input::Paused { last_voiced: ms(1000) }),
            (2000, Input::SpeechResumed),
        ],
    );
    assert_eq!(
        done[1..],
        [
            (1200, Action::StartReply { reply: ReplyId(1), words: words("My number is") }),
            (2000, Action::DropPass { pass: PassId(1) }),
            (2000, Action::Withdraw { reply: ReplyId(1) }),
        ]
    );
}

#[test]
fn a_turn_goes_on_while_nothing_of_its_reply_was_heard() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut script = question(0, 1);
    script.push((1500, Input::SpeechStarted { onset: ms(1450) }));
    let done = play(&mut machine, &script);
    assert_eq!(
        done[4..],
        [
            (1500, Action::Withdraw { reply: ReplyId(1) }),
            (1500, Action::Reopen { turn: TurnId(1) }),
        ]
    );
}

#[test]
fn a_reply_that_is_late_gets_one_filler() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut done = play(&mut machine, &question(0, 1));
    done.clear();
    wake_until(&mut machine, ms(5000), &mut done);
    assert_eq!(done, [(1600, Action::Filler { reply: ReplyId(1) })]);
}

#[test]
fn a_reply_in_time_gets_no_filler() {
    let mut machine = speaking_machine();
    let mut done = Vec::new();
    wake_until(&mut machine, ms(5000), &mut done);
    assert_eq!(done, []);
}

#[test]
fn a_turn_that_goes_on_gets_no_filler_and_one_again_when_it_is_over() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut script = question(0, 1);
    script.push((1500, Input::SpeechStarted { onset: ms(1450) }));
    play(&mut machine, &script);
    let mut done = Vec::new();
    wake_until(&mut machine, ms(1900), &mut done);
    assert_eq!(done, []);
    play(&mut machine, &question(2000, 2)[1..]);
    wake_until(&mut machine, ms(9000), &mut done);
    assert_eq!(done, [(3600, Action::Filler { reply: ReplyId(2) })]);
}

#[test]
fn fillers_can_be_switched_off() {
    let settings = Settings { filler_after: None, ..Settings::default() };
    let mut machine = TurnMachine::new(settings);
    play(&mut machine, &question(0, 1));
    assert_eq!(machine.poll_timeout(), None);
}

fn speaking_machine() -> TurnMachine {
    let mut machine = TurnMachine::new(Settings::default());
    let mut script = question(0, 1);
    script.push((1500, Input::ReplySounds { reply: ReplyId(1) }));
    play(&mut machine, &script);
    machine
}

#[test]
fn long_speech_over_a_reply_stops_it() {
    let mut machine = speaking_machine();
    let mut done = play(&mut machine, &[(2100, Input::SpeechStarted { onset: ms(2000) })]);
    wake_until(&mut machine, ms(3000), &mut done);
    assert_eq!(done, [(2100, Action::Duck), (2500, Action::Stop { reply: ReplyId(1) })]);
}

#[test]
fn a_backchannel_brings_the_voice_back_and_is_not_answered() {
    let mut machine = speaking_machine();
    let mut done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2300, Input::SilenceHint),
            (2400, Input::FinalWords { pass: PassId(2), words: words("Mhm.") }),
            (2500, Input::Paused { last_voiced: ms(2300) }),
        ],
    );
    wake_until(&mut machine, ms(9000), &mut done);
    let seen: Vec<_> = done.into_iter().map(|(_, action)| action).collect();
    assert_eq!(
        seen,
        [
            Action::Duck,
            Action::StartPass { pass: PassId(2) },
            Action::DropPass { pass: PassId(2) },
            Action::Discard,
            Action::Unduck,
        ]
    );
}

#[test]
fn words_that_come_when_the_voice_is_back_already_still_stop_the_reply() {
    let mut machine = speaking_machine();
    let mut done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2300, Input::SilenceHint),
            (2500, Input::Paused { last_voiced: ms(2300) }),
            (4500, Input::EndOfTurn { pass: PassId(2), probability: 0.8 }),
            (4500, Input::FinalWords { pass: PassId(2), words: words("No, Rome.") }),
        ],
    );
    wake_until(&mut machine, ms(9000), &mut done);
    let seen: Vec<_> = done.into_iter().map(|(_, action)| action).collect();
    assert_eq!(
        seen,
        [
            Action::Duck,
            Action::StartPass { pass: PassId(2) },
            Action::Unduck,
            Action::Stop { reply: ReplyId(1) },
            Action::StartReply { reply: ReplyId(2), words: words("No, Rome.") },
            Action::Commit { turn: TurnId(2), words: words("No, Rome.") },
            Action::Release { reply: ReplyId(2) },
            Action::Filler { reply: ReplyId(2) },
        ]
    );
}

#[test]
fn short_words_that_are_no_backchannel_stop_the_reply_and_are_answered() {
    let mut machine = speaking_machine();
    let done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2300, Input::SilenceHint),
            (2350, Input::EndOfTurn { pass: PassId(2), probability: 0.8 }),
            (2400, Input::FinalWords { pass: PassId(2), words: words("No, Rome.") }),
            (2500, Input::Paused { last_voiced: ms(2300) }),
        ],
    );
    assert_eq!(
        done[2..],
        [
            (2500, Action::Stop { reply: ReplyId(1) }),
            (2500, Action::StartReply { reply: ReplyId(2), words: words("No, Rome.") }),
            (2500, Action::Commit { turn: TurnId(2), words: words("No, Rome.") }),
            (2500, Action::Release { reply: ReplyId(2) }),
        ]
    );
}

#[test]
fn a_cough_is_forgotten() {
    let mut machine = TurnMachine::new(Settings::default());
    let done = play(
        &mut machine,
        &[
            (100, Input::SpeechStarted { onset: ms(0) }),
            (300, Input::SilenceHint),
            (400, Input::FinalWords { pass: PassId(1), words: words("") }),
            (500, Input::Paused { last_voiced: ms(300) }),
        ],
    );
    assert_eq!(done.last(), Some(&(500, Action::Discard)));
    assert!(machine.poll_timeout().is_none());
}

/// What a driver can do to the machine.
#[derive(Clone, Debug)]
enum Event {
    Voice,
    Silence,
    Pause,
    Words(&'static str),
    Partial(&'static str),
    Failed,
    Vote(f32),
    Sounds,
    Ends,
    Wake,
}

fn event() -> impl Strategy<Value = Event> {
    let said = prop::sample::select(vec!["", "Mhm.", "Stop it.", "What time is it?", "I want to"]);
    prop_oneof![
        3 => Just(Event::Voice),
        3 => Just(Event::Silence),
        3 => Just(Event::Pause),
        4 => said.clone().prop_map(Event::Words),
        1 => said.prop_map(Event::Partial),
        1 => Just(Event::Failed),
        3 => (0.0f32..1.0).prop_map(Event::Vote),
        2 => Just(Event::Sounds),
        2 => Just(Event::Ends),
        3 => Just(Event::Wake),
    ]
}

/// The call's side of the contract: what it would have done with the actions.
#[derive(Default)]
struct Caller {
    pass: Option<PassId>,
    reply: Option<(ReplyId, bool)>,
    committed: u32,
    answered: u32,
}

impl Caller {
    fn obey(&mut self, action: &Action) {
        match action {
            Action::StartPass { pass } => self.pass = Some(*pass),
            Action::DropPass { pass } => assert_eq!(self.pass.take(), Some(*pass)),
            Action::StartReply { reply, words } => {
                assert!(self.reply.is_none(), "two replies at once");
                assert!(!words.reveal().is_empty(), "a reply to nothing");
                self.reply = Some((*reply, false));
            }
            Action::Commit { turn, .. } => {
                self.committed += 1;
                assert_eq!(turn.0, self.committed);
                self.pass = None;
            }
            Action::Release { reply } => {
                assert_eq!(self.reply, Some((*reply, false)), "released twice or never started");
                assert!(self.committed > self.answered, "released before its turn was committed");
                self.answered = self.committed;
                self.reply = Some((*reply, true));
            }
            Action::Reopen { turn } => {
                assert_eq!(turn.0, self.committed, "only the last turn can be reopened");
                self.committed -= 1;
                self.answered = self.committed;
            }
            Action::Withdraw { reply } | Action::Stop { reply } => {
                assert_eq!(self.reply.take().map(|(id, _)| id), Some(*reply), "ended twice");
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn every_sequence_keeps_the_contract(events in prop::collection::vec((1u64..700, event()), 1..80)) {
        let mut machine = TurnMachine::new(Settings::default());
        let mut caller = Caller::default();
        let mut now = At::ZERO;
        for (gap, event) in events {
            now += ms(gap);
            let pass = caller.pass.unwrap_or(PassId(0));
            let released = caller.reply.filter(|(_, released)| *released).map(|(id, _)| id);
            match event {
                Event::Voice => machine.handle(now, Input::SpeechStarted { onset: now }),
                Event::Silence => machine.handle(now, Input::SilenceHint),
                Event::Pause => machine.handle(now, Input::Paused { last_voiced: now }),
                Event::Words(text) => {
                    machine.handle(now, Input::FinalWords { pass, words: words(text) });
                }
                Event::Partial(text) => {
                    machine.handle(now, Input::PartialWords { words: words(text) });
                }
                Event::Failed => machine.handle(now, Input::PassFailed { pass }),
                Event::Vote(probability) => {
                    machine.handle(now, Input::EndOfTurn { pass, probability });
                }
                Event::Sounds => {
                    if let Some(reply) = released {
                        machine.handle(now, Input::ReplySounds { reply });
                    }
                }
                Event::Ends => {
                    if let Some(reply) = released {
                        caller.reply = None;
                        machine.handle(now, Input::ReplyEnded { reply });
                    }
                }
                Event::Wake => machine.handle_timeout(now),
            }
            while let Some(action) = machine.poll_action() {
                caller.obey(&action);
            }
        }
        // From every state the person gets an answer: silence out what is open, then ask.
        for _ in 0..4 {
            now += ms(3000);
            machine.handle_timeout(now);
        }
        machine.handle(now, Input::SpeechStarted { onset: now });
        now += ms(1000);
        machine.handle_timeout(now);
        machine.handle(now, Input::SilenceHint);
        while let Some(action) = machine.poll_action() {
            caller.obey(&action);
        }
        let pass = caller.pass.expect("speech and silence start a pass");
        machine.handle(now, Input::EndOfTurn { pass, probability: 0.9 });
        machine.handle(now, Input::FinalWords { pass, words: words("Are you still there?") });
        now += ms(200);
        machine.handle(now, Input::Paused { last_voiced: now });
        while let Some(action) = machine.poll_action() {
            caller.obey(&action);
        }
        prop_assert!(caller.reply.is_some_and(|(_, released)| released), "no answer");
    }
}

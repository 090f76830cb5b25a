//! Dialogues on given time.

use super::*;

fn ms(at: u64) -> At {
    At::from_millis(at)
}

fn words(text: &str) -> Private<String> {
    Private::new(text.to_owned())
}

fn heard(text: &str) -> Hypothesis {
    Hypothesis {
        words: words(text),
        confidence: 0.9,
        no_speech: 0.01,
        level_dbfs: -30.0,
        as_of: ms(1_000_000),
    }
}

fn finally(pass: u32, text: &str) -> Input {
    Input::FinalWords { pass: PassId(pass), heard: heard(text) }
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
        (start + 1150, finally(pass, "What time is it?")),
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
            (1150, Action::StartReply { reply: ReplyId(1), words: asked.clone() }),
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
            (1150, finally(1, "My number is")),
            (1200, Input::Paused { last_voiced: ms(1000) }),
            (2000, Input::SpeechResumed),
        ],
    );
    assert_eq!(
        done[1..],
        [
            (1200, Action::StartReply { reply: ReplyId(1), words: words("My number is") }),
            (2000, Action::DropPass { pass: PassId(1) }),
        ]
    );
    let mut done = Vec::new();
    wake_until(&mut machine, ms(2400), &mut done);
    assert_eq!(done, [(2300, Action::Withdraw { reply: ReplyId(1) })]);
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
            (1500, Action::Withhold { reply: ReplyId(1) }),
            (1500, Action::Reopen { turn: TurnId(1) }),
        ]
    );
    let mut done = Vec::new();
    wake_until(&mut machine, ms(9000), &mut done);
    assert_eq!(done, [(1800, Action::Withdraw { reply: ReplyId(1) })]);
}

#[test]
fn a_click_after_the_turn_costs_the_reply_nothing() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut script = question(0, 1);
    script.push((1300, Input::SpeechStarted { onset: ms(1250) }));
    script.push((1400, Input::SilenceHint));
    script.push((1480, finally(2, "What  time is it?")));
    script.push((1490, Input::EndOfTurn { pass: PassId(2), probability: 0.9 }));
    script.push((1600, Input::Paused { last_voiced: ms(1400) }));
    let done = play(&mut machine, &script);
    assert_eq!(
        done[4..],
        [
            (1300, Action::Withhold { reply: ReplyId(1) }),
            (1300, Action::Reopen { turn: TurnId(1) }),
            (1400, Action::StartPass { pass: PassId(2) }),
            (1600, Action::Commit { turn: TurnId(1), words: words("What  time is it?") }),
            (1600, Action::Release { reply: ReplyId(1) }),
        ]
    );
}

#[test]
fn a_turn_does_not_lose_its_words_to_a_pass_that_fails() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut script = question(0, 1);
    script.push((1300, Input::SpeechStarted { onset: ms(1250) }));
    script.push((1400, Input::SilenceHint));
    script.push((1450, Input::PassFailed { pass: PassId(2) }));
    script.push((1490, Input::EndOfTurn { pass: PassId(2), probability: 0.9 }));
    script.push((1600, Input::Paused { last_voiced: ms(1400) }));
    let done = play(&mut machine, &script);
    let asked = words("What time is it?");
    assert_eq!(done[7], (1600, Action::Commit { turn: TurnId(1), words: asked }));
    assert_eq!(done[8], (1600, Action::Release { reply: ReplyId(1) }));
}

#[test]
fn nothing_is_made_in_vain_without_speculation() {
    let mut settings = Settings::default();
    settings.endpointing.speculate = false;
    let mut machine = TurnMachine::new(settings);
    let done = play(&mut machine, &question(0, 1));
    let asked = words("What time is it?");
    assert_eq!(done[1], (1200, Action::StartReply { reply: ReplyId(1), words: asked }));
    assert_eq!(done[3], (1200, Action::Release { reply: ReplyId(1) }));
}

#[test]
fn a_busy_recogniser_gets_no_early_replies() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut script = question(0, 1);
    script[1].0 = 700;
    script.push((1500, Input::ReplySounds { reply: ReplyId(1) }));
    script.push((1900, Input::ReplyEnded { reply: ReplyId(1) }));
    script.extend(question(2000, 2));
    let done = play(&mut machine, &script);
    let asked = words("What time is it?");
    let started = (3200, Action::StartReply { reply: ReplyId(2), words: asked });
    assert!(done.contains(&started), "the reply waits for the pause: {done:?}");
}

#[test]
fn a_reply_that_is_late_gets_one_filler() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut done = play(&mut machine, &question(0, 1));
    done.clear();
    wake_until(&mut machine, ms(5000), &mut done);
    assert_eq!(done, [(1600, Action::Filler { reply: ReplyId(1) })]);
    done.clear();
    wake_until(&mut machine, ms(60_000), &mut done);
    let again = |at| (at, Action::Filler { reply: ReplyId(1) });
    assert_eq!(done, [again(5600), again(9600)], "a long wait gets a few more, and then no more");
}

#[test]
fn a_reply_that_waits_for_a_tool_gets_a_filler_in_its_middle() {
    let mut machine = speaking_machine();
    let waits = [(4000, Input::ReplyWaits { reply: ReplyId(1) })];
    let mut done = play(&mut machine, &waits);
    wake_until(&mut machine, ms(5000), &mut done);
    assert_eq!(done, [(4400, Action::Filler { reply: ReplyId(1) })]);
    play(&mut machine, &[(5000, Input::ReplyFlows { reply: ReplyId(1) })]);
    done.clear();
    wake_until(&mut machine, ms(20_000), &mut done);
    assert_eq!(done, []);
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
    assert_eq!(done, [(1800, Action::Withdraw { reply: ReplyId(1) })]);
    done.clear();
    play(&mut machine, &question(2000, 2)[1..]);
    wake_until(&mut machine, ms(7000), &mut done);
    assert_eq!(done, [(3600, Action::Filler { reply: ReplyId(2) })]);
}

#[test]
fn fillers_can_be_switched_off() {
    let mut settings = Settings::default();
    settings.fillers.on = false;
    let mut machine = TurnMachine::new(settings);
    play(&mut machine, &question(0, 1));
    let mut done = Vec::new();
    wake_until(&mut machine, ms(9000), &mut done);
    assert_eq!(done, []);
}

fn speaking_machine() -> TurnMachine {
    let mut machine = TurnMachine::new(Settings::default());
    let mut script = question(0, 1);
    script.push((1500, Input::ReplySounds { reply: ReplyId(1) }));
    play(&mut machine, &script);
    machine
}

#[test]
fn long_speech_over_a_reply_stops_it_even_if_no_word_of_it_is_known() {
    let mut machine = speaking_machine();
    let mut done = play(&mut machine, &[(2100, Input::SpeechStarted { onset: ms(2000) })]);
    wake_until(&mut machine, ms(3000), &mut done);
    assert_eq!(done, [(2100, Action::Duck), (2900, Action::Suspend { reply: ReplyId(1) })]);
}

#[test]
fn the_first_words_over_a_reply_suspend_it_and_the_next_ones_stop_it() {
    let mut machine = speaking_machine();
    let done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2400, Input::PartialWords(heard("No, tell me"))),
            (2800, Input::PartialWords(heard("No, tell me about Rome"))),
        ],
    );
    assert_eq!(
        done,
        [
            (2100, Action::Duck),
            (2400, Action::Suspend { reply: ReplyId(1) }),
            (2800, Action::Stop { reply: ReplyId(1) }),
        ]
    );
}

#[test]
fn a_reply_that_was_suspended_for_nothing_goes_on() {
    let mut machine = speaking_machine();
    let mut done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2400, Input::PartialWords(heard("No, tell"))),
            (2500, Input::SilenceHint),
            (2650, finally(2, "Mm-hmm.")),
            (2700, Input::Paused { last_voiced: ms(2500) }),
        ],
    );
    wake_until(&mut machine, ms(9000), &mut done);
    assert_eq!(
        done[1..],
        [
            (2400, Action::Suspend { reply: ReplyId(1) }),
            (2500, Action::StartPass { pass: PassId(2) }),
            (2700, Action::DropPass { pass: PassId(2) }),
            (2700, Action::Discard),
            (2700, Action::Resume { reply: ReplyId(1) }),
            (2700, Action::Unduck),
        ]
    );
}

#[test]
fn a_suspended_reply_goes_on_after_two_seconds_without_words() {
    let mut machine = speaking_machine();
    let mut done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2400, Input::PartialWords(heard("No, tell"))),
            (2500, Input::SilenceHint),
            (2700, Input::Paused { last_voiced: ms(2500) }),
        ],
    );
    done.clear();
    wake_until(&mut machine, ms(9000), &mut done);
    assert!(done.contains(&(4500, Action::Resume { reply: ReplyId(1) })), "{done:?}");
}

#[test]
fn her_own_words_coming_back_are_no_interruption() {
    let mut machine = speaking_machine();
    let said = words("The capital of France is Paris, of course.");
    let mut done = play(
        &mut machine,
        &[
            (1600, Input::SentenceSounds { reply: ReplyId(1), text: said }),
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2500, Input::PartialWords(heard("capital of France"))),
            (2900, Input::PartialWords(heard("the capital of France is Paris"))),
            (3100, Input::SilenceHint),
            (3200, finally(2, "The capital of France is Paris.")),
            (3300, Input::Paused { last_voiced: ms(3100) }),
        ],
    );
    wake_until(&mut machine, ms(9000), &mut done);
    let stops = |(_, action): &(u64, Action)| {
        matches!(action, Action::Stop { .. } | Action::Suspend { .. } | Action::Commit { .. })
    };
    assert!(!done.iter().any(stops), "{done:?}");
    assert_eq!(done.last(), Some(&(3300, Action::Unduck)));
}

#[test]
fn noise_that_goes_on_brings_the_voice_back_and_words_in_it_still_interrupt() {
    let mut machine = speaking_machine();
    let mut done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2500, Input::PartialWords(heard(""))),
            (3300, Input::PartialWords(heard(""))),
            (4500, Input::PartialWords(heard("Please stop talking now"))),
        ],
    );
    wake_until(&mut machine, ms(5000), &mut done);
    assert_eq!(
        done,
        [
            (2100, Action::Duck),
            (4000, Action::Unduck),
            (4500, Action::Suspend { reply: ReplyId(1) }),
        ]
    );
}

#[test]
fn a_backchannel_over_the_end_of_a_reply_is_not_answered() {
    let mut machine = speaking_machine();
    let over_the_end = |text: &str, said: &str| {
        vec![
            (1600, Input::SentenceSounds { reply: ReplyId(1), text: words(said) }),
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2200, Input::ReplyEnded { reply: ReplyId(1) }),
            (2300, Input::SilenceHint),
            (2320, Input::EndOfTurn { pass: PassId(2), probability: 0.9 }),
            (2400, finally(2, text)),
            (2500, Input::Paused { last_voiced: ms(2300) }),
        ]
    };
    let commits = |done: &[(u64, Action)]| {
        done.iter().any(|(_, action)| matches!(action, Action::Commit { .. }))
    };
    let done = play(&mut machine, &over_the_end("Okay.", "It is noon."));
    assert!(!commits(&done), "{done:?}");
    let done = play(&mut speaking_machine(), &over_the_end("Yes.", "Shall I go on?"));
    assert!(commits(&done), "an answer to a question: {done:?}");
    let done = play(&mut speaking_machine(), &over_the_end("And in Rome?", "It is noon."));
    assert!(commits(&done), "{done:?}");
}

#[test]
fn without_barge_in_nothing_touches_the_reply() {
    let mut settings = Settings::default();
    settings.barge_in.on = false;
    let mut machine = TurnMachine::new(settings);
    let mut script = question(0, 1);
    script.push((1500, Input::ReplySounds { reply: ReplyId(1) }));
    script.extend(question(2000, 2));
    let done = play(&mut machine, &script);
    assert_eq!(
        done[4..],
        [
            (3000, Action::StartPass { pass: PassId(2) }),
            (3200, Action::DropPass { pass: PassId(2) }),
            (3200, Action::Discard),
        ]
    );
}

fn story(goes_on: u64) -> Vec<(u64, Input)> {
    vec![
        (100, Input::SpeechStarted { onset: ms(0) }),
        (5000, Input::SilenceHint),
        (5080, Input::EndOfTurn { pass: PassId(1), probability: 0.1 }),
        (5150, finally(1, "Yesterday I went to the market and")),
        (5200, Input::Paused { last_voiced: ms(5000) }),
        (goes_on, Input::SpeechStarted { onset: ms(goes_on - 50) }),
    ]
}

#[test]
fn a_pause_in_a_long_turn_gets_a_backchannel_that_gives_way() {
    let done = play(&mut TurnMachine::new(Settings::default()), &story(5800));
    let seen: Vec<_> = done.iter().filter(|(at, _)| *at >= 5200).cloned().collect();
    assert_eq!(seen[1], (5200, Action::Backchannel));
    assert_eq!(seen[2..], [(5800, Action::DropPass { pass: PassId(1) }), (5800, Action::Hush)]);
    let mut settings = Settings::default();
    settings.backchannels.on = false;
    let done = play(&mut TurnMachine::new(settings), &story(5800));
    assert!(!done.iter().any(|(_, action)| *action == Action::Backchannel));
}

#[test]
fn after_a_long_silence_eva_asks_once_and_ends_the_call_much_later() {
    let mut machine = TurnMachine::new(Settings::default());
    let mut done = Vec::new();
    wake_until(&mut machine, ms(20_000), &mut done);
    assert_eq!(done, [(20_000, Action::AskIfThere { reply: ReplyId(1) })]);
    machine.handle(ms(20_100), Input::ReplySounds { reply: ReplyId(1) });
    machine.handle(ms(21_500), Input::ReplyEnded { reply: ReplyId(1) });
    drain(&mut machine, 21_500, &mut done);
    wake_until(&mut machine, ms(900_000), &mut done);
    assert_eq!(done[1..], [(621_500, Action::HangUp(WhyHangUp::Silence))]);
}

#[test]
fn a_call_has_an_end() {
    let mut settings = Settings::default();
    settings.silence.longest_call = ms(5000);
    let mut machine = TurnMachine::new(settings);
    let mut done = Vec::new();
    wake_until(&mut machine, ms(6000), &mut done);
    assert_eq!(done, [(5000, Action::HangUp(WhyHangUp::TooLong))]);
}

#[test]
fn a_backchannel_brings_the_voice_back_and_is_not_answered() {
    let mut machine = speaking_machine();
    let mut done = play(
        &mut machine,
        &[
            (2100, Input::SpeechStarted { onset: ms(2000) }),
            (2300, Input::SilenceHint),
            (2400, finally(2, "Mhm.")),
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
            (4500, finally(2, "No, Rome.")),
        ],
    );
    wake_until(&mut machine, ms(7000), &mut done);
    let seen: Vec<_> = done.into_iter().map(|(_, action)| action).collect();
    assert_eq!(
        seen,
        [
            Action::Duck,
            Action::StartPass { pass: PassId(2) },
            Action::Unduck,
            Action::Suspend { reply: ReplyId(1) },
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
            (2400, finally(2, "No, Rome.")),
            (2500, Input::Paused { last_voiced: ms(2300) }),
        ],
    );
    assert_eq!(
        done[2..],
        [
            (2400, Action::Suspend { reply: ReplyId(1) }),
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
            (400, finally(1, "")),
            (500, Input::Paused { last_voiced: ms(300) }),
        ],
    );
    assert_eq!(done.last(), Some(&(500, Action::Discard)));
    assert_eq!(machine.poll_timeout().map(|(_, why)| why), Some(Deadline::AskIfThere));
}

#[test]
fn a_reply_that_a_client_asks_for_survives_a_voice_and_gives_way_to_words() {
    let mut machine = TurnMachine::new(Settings::default());
    let asked = play(&mut machine, &[(0, Input::Asked)]);
    assert_eq!(asked, [(0, Action::Answer { reply: ReplyId(1) })]);
    let hum = play(
        &mut machine,
        &[
            (200, Input::SpeechStarted { onset: ms(100) }),
            (500, Input::SilenceHint),
            (550, finally(1, "Mhm.")),
            (700, Input::Paused { last_voiced: ms(500) }),
            (710, Input::EndOfTurn { pass: PassId(1), probability: 0.9 }),
        ],
    );
    let ends = |done: &[(u64, Action)]| {
        done.iter()
            .any(|(_, action)| matches!(action, Action::Withdraw { .. } | Action::Stop { .. }))
    };
    assert!(!ends(&hum), "a mhm is no reason to drop what a client asked for: {hum:?}");
    let words = play(&mut machine, &question(1000, 2));
    assert!(ends(&words), "words are: {words:?}");
    assert!(words.contains(&(2200, Action::Release { reply: ReplyId(2) })));
}

#[test]
fn a_client_ends_a_reply_in_every_phase_of_it() {
    let mut machine = TurnMachine::new(Settings::default());
    play(&mut machine, &question(0, 1)[..4]);
    let held = play(&mut machine, &[(1160, Input::Cancelled)]);
    assert_eq!(held, [(1160, Action::Withdraw { reply: ReplyId(1) })]);
    let mut machine = TurnMachine::new(Settings::default());
    let reply = ReplyId(1);
    play(&mut machine, &[(0, Input::Asked), (100, Input::ReplySounds { reply })]);
    let sounding = play(&mut machine, &[(200, Input::Cancelled), (300, Input::Cancelled)]);
    assert_eq!(sounding, [(200, Action::Stop { reply })]);
}

#[test]
fn turns_can_be_heard_without_being_answered() {
    let mut settings = Settings::default();
    settings.endpointing.respond = false;
    let mut machine = TurnMachine::new(Settings::default());
    machine.handle(ms(0), Input::Configured(Box::new(settings)));
    let done = play(&mut machine, &question(0, 1));
    let words = words("What time is it?");
    assert_eq!(
        done,
        [
            (1000, Action::StartPass { pass: PassId(1) }),
            (1200, Action::Commit { turn: TurnId(1), words }),
        ]
    );
}

#[test]
fn a_turn_can_be_ended_by_silence_alone() {
    let mut settings = Settings::default();
    settings.endpointing.least_wait = ms(300);
    let mut machine = TurnMachine::new(settings);
    let mut script = question(0, 1);
    script.push((1600, Input::Cancelled));
    let done = play(&mut machine, &script);
    let at = done.iter().find(|(_, action)| matches!(action, Action::Commit { .. }));
    assert_eq!(at.expect("a turn").0, 1500);
}

//! What is heard, what is cut, and that nothing sounds after it.

use proptest::prelude::*;

use super::*;
use crate::audio::opus::EncoderConfig;
use crate::speaking::WordSpan;

fn sentence(text: &str, word_samples: usize) -> Sentence {
    let mut words = Vec::new();
    let mut at = 0;
    for (count, word) in text.split(' ').enumerate() {
        words.push(WordSpan {
            text: at..at + word.len(),
            samples: count * word_samples..(count + 1) * word_samples,
        });
        at += word.len() + 1;
    }
    Sentence { text: Private::new(text.to_owned()), words, visemes: Vec::new() }
}

fn playout() -> Playout {
    Playout::new(SoundOut::new(EncoderConfig::default(), 0).unwrap())
}

/// A sentence of as many words as `text` has, `word_samples` each, loud all through.
fn sound(text: &str, word_samples: usize) -> Sound {
    let sentence = sentence(text, word_samples);
    let samples = sentence.words.len() * word_samples;
    let pcm = (0..samples).map(|i| 0.3 * (i as f32 * 0.05).sin()).collect();
    Sound { pcm, sentence: Some(sentence), last: true }
}

fn ticks(playout: &mut Playout, count: usize) -> Vec<f32> {
    let level =
        |(packet, _): (Option<Packet>, Vec<Note>)| packet.map_or(-100.0, |packet| packet.rms_dbfs);
    (0..count).map(|_| level(playout.tick())).collect()
}

#[test]
fn heard_text_ends_with_the_last_whole_word() {
    let begun = vec![(1000, sentence("One two three.", 100)), (1300, sentence("Four five.", 100))];
    assert_eq!(heard_text(&begun, 1000), "");
    assert_eq!(heard_text(&begun, 1199), "One");
    assert_eq!(heard_text(&begun, 1250), "One two");
    assert_eq!(heard_text(&begun, 1300), "One two three.");
    assert_eq!(heard_text(&begun, 1450), "One two three. Four");
    assert_eq!(whole_text(&begun), "One two three. Four five.");
}

#[test]
fn a_suspended_reply_is_silent_and_then_goes_on_without_a_loss() {
    let mut playout = playout();
    let reply = ReplyId(1);
    playout.begin(reply);
    playout.queue(reply, sound("one two three four", 9_600));
    playout.release(reply);
    playout.complete(reply);
    assert!(ticks(&mut playout, 10)[1..].iter().all(|level| *level > -20.0));
    playout.suspend(reply);
    let quiet = ticks(&mut playout, 50);
    assert!(quiet[1..].iter().all(|level| *level < -50.0), "{quiet:?}");
    playout.resume(reply);
    let on = ticks(&mut playout, 30);
    assert!(on[..29].iter().all(|level| *level > -20.0), "{on:?}");
    assert_eq!(playout.out.sent_samples(), 4 * 9_600);
}

#[test]
fn a_withheld_reply_is_not_heard_until_it_is_released_again() {
    let mut playout = playout();
    let reply = ReplyId(1);
    playout.begin(reply);
    playout.queue(reply, sound("one two", 9_600));
    playout.release(reply);
    playout.withhold(reply);
    playout.queue(reply, sound("three four", 9_600));
    assert!(ticks(&mut playout, 20).iter().all(|level| *level < -50.0));
    playout.release(reply);
    playout.complete(reply);
    assert!(ticks(&mut playout, 39).iter().all(|level| *level > -20.0));
}

#[test]
fn a_withheld_reply_that_is_withdrawn_leaves_nothing() {
    let mut playout = playout();
    playout.begin(ReplyId(1));
    playout.queue(ReplyId(1), sound("one two", 9_600));
    playout.release(ReplyId(1));
    playout.withhold(ReplyId(1));
    playout.withdraw(ReplyId(1));
    assert!(ticks(&mut playout, 20).iter().all(|level| *level < -50.0));
    playout.begin(ReplyId(2));
    playout.queue(ReplyId(2), sound("three", 9_600));
    playout.release(ReplyId(2));
    assert!(ticks(&mut playout, 5).iter().all(|level| *level > -20.0));
}

#[test]
fn a_backchannel_gives_way_and_a_reply_behind_it_stays() {
    let mut playout = playout();
    let clip = sound("mhm", 19_200).pcm;
    assert!(playout.interject(&clip).is_some());
    assert!(playout.interject(&clip).is_none(), "one at a time");
    ticks(&mut playout, 5);
    playout.hush();
    let quiet = ticks(&mut playout, 10);
    assert!(quiet[1..].iter().all(|level| *level < -50.0), "{quiet:?}");
    assert!(playout.interject(&clip).is_some());
    playout.begin(ReplyId(1));
    playout.queue(ReplyId(1), sound("one two", 9_600));
    playout.release(ReplyId(1));
    playout.hush();
    assert!(ticks(&mut playout, 39).iter().all(|level| *level > -20.0));
}

/// What a call can do to its sound.
#[derive(Clone, Debug)]
enum Step {
    Begin,
    Queue(usize),
    Complete,
    Release,
    Duck,
    Suspend,
    Resume,
    Withhold,
    Filler,
    Stop,
    Withdraw,
    Tick(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Begin),
        4 => (1usize..5).prop_map(Step::Queue),
        1 => Just(Step::Complete),
        4 => Just(Step::Release),
        1 => Just(Step::Duck),
        2 => Just(Step::Suspend),
        2 => Just(Step::Resume),
        1 => Just(Step::Withhold),
        1 => Just(Step::Filler),
        2 => Just(Step::Stop),
        1 => Just(Step::Withdraw),
        8 => (1usize..40).prop_map(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn nothing_sounds_after_a_cut_and_nothing_is_heard_that_was_not_sent(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        const WORD: usize = 4_800;
        let mut playout = playout();
        let mut replies = 0;
        for step in steps {
            let id = ReplyId(replies);
            let mut cut = false;
            match step {
                Step::Begin if playout.reply.is_none() => {
                    replies += 1;
                    playout.begin(ReplyId(replies));
                }
                Step::Begin => {}
                Step::Queue(words) => playout.queue(id, sound(&vec!["word"; words].join(" "), WORD)),
                Step::Complete => playout.complete(id),
                Step::Release => playout.release(id),
                Step::Duck => playout.duck(),
                Step::Suspend => {
                    cut = playout.reply.is_some();
                    playout.suspend(id);
                }
                Step::Resume => playout.resume(id),
                Step::Withhold => {
                    if playout.reply.as_ref().is_some_and(|reply| reply.released && !reply.sounding)
                    {
                        playout.withhold(id);
                    }
                }
                Step::Filler => drop(playout.fill(id, &[0.2; 4_800])),
                Step::Stop => {
                    let sent = playout.out.sent_samples();
                    cut = playout.reply.is_some();
                    if let Some(heard) = playout.stop(id, 0) {
                        let words = heard.text.reveal().split_whitespace().count();
                        prop_assert!(words as u64 <= sent / WORD as u64, "{words} words of {sent}");
                    }
                }
                Step::Withdraw => {
                    cut = playout.reply.is_some();
                    playout.withdraw(id);
                }
                Step::Tick(count) => drop(ticks(&mut playout, count)),
            }
            if cut {
                let after = ticks(&mut playout, 4);
                prop_assert!(after[1..].iter().all(|level| *level < -50.0), "{after:?}");
            }
        }
    }
}

//! Whether the voice is understood, and whether it keeps up: the real voice, Opus, real Whisper.

use std::sync::OnceLock;

use eva_voice::bench::tts::{Heard, Listener, Sentences, at_once, one};
use eva_voice::engines;
use eva_voice::speaking::Voice;

fn voice() -> &'static dyn Voice {
    static VOICE: OnceLock<std::sync::Arc<dyn Voice>> = OnceLock::new();
    &**VOICE.get_or_init(|| {
        engines::start_voice(None).expect("the test needs the voice: `eva models pull`")
    })
}

#[test]
fn fifty_new_sentences_are_understood_over_opus() {
    let listener = Listener::start(None).expect("the test needs Whisper: `eva models pull --all`");
    let mut sentences = Sentences::new(2026);
    let mut heard = Heard::default();
    for index in 0..50 {
        let text = sentences.draw([4, 10, 10, 20][index % 4]);
        let spoken = one(voice(), &text).expect("the voice speaks");
        let words = listener.write_down(&spoken.pcm, voice().sample_rate()).expect("it listens");
        heard.add(&text, &words);
    }
    println!("{:.2} % of words misheard", 1e2 * heard.error_rate());
    assert!(heard.error_rate() <= 0.04, "{:.2} % of words misheard", 1e2 * heard.error_rate());
}

#[test]
fn four_sentences_at_once_run_without_a_gap() {
    let mut sentences = Sentences::new(7);
    // Other work on this machine can hold the engine up; three tries tell that from the engine.
    let slack = (0..3).map(|_| {
        let texts: Vec<String> = (0..4).map(|_| sentences.draw(20)).collect();
        let all = at_once(voice(), &texts).expect("the voice speaks");
        let slacks = all.iter().map(|spoken| spoken.slack(voice().sample_rate()));
        slacks.fold(f64::INFINITY, f64::min)
    });
    let slack =
        slack.inspect(|slack| println!("the latest chunk came {:.0} ms early", 1e3 * slack));
    let best = slack.fold(f64::NEG_INFINITY, f64::max);
    assert!(best >= 0.0, "in each of three runs a chunk came late, at best {:.0} ms", -1e3 * best);
}

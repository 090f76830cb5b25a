//! What speech over EVA's voice is.
//!
//! In: the words so far, how sure the recogniser is of them, how loud and how long the speech is.
//! Out: [`Evidence`]. Pure.
//!
//! What separates people from babble is the margin by which the recogniser's confidence exceeds its
//! probability that nobody spoke: real interruptions reach 0.45 with their first three words, babble 15 to
//! 25 dB below a voice stays below 0.12. Coughs, keys, knocks, music and noise give no words, mostly not
//! even a mark. What separates hums that were taken for words is that they are short and unclear.

use std::time::Duration;

use super::words::{interrupts, is_backchannel};
use crate::language::Language;

/// The margin that makes words of the first partial pass believable.
const CLEAR_AT_ONCE: f32 = 0.45;
/// The same once the speech has lasted, and for words that are complete.
const CLEAR: [f32; 2] = [0.4, 0.3];
/// The same for complete words of a longer utterance.
const CLEAR_AT_LENGTH: f32 = 0.2;
/// The same for three words and more of a voice as loud as the person's own turns.
const CLEAR_NEAR: f32 = 0.3;
/// The same for two words and more once that voice has gone on for longer than confirmations do.
const CLEAR_ONGOING: f32 = -0.05;
const ONGOING: Duration = Duration::from_millis(550);
/// Above this, relative to the person's own turns, a voice is theirs, dB.
const NEAR: f32 = -8.0;
/// Below this it is another one, further away: a television, somebody behind them.
const FAR: f32 = -13.0;
/// The margin that makes a known interrupting word believable while the person speaks, and after.
const CLEAR_KNOWN: [f32; 2] = [0.1, -0.1];
/// Words heard earlier than this have only just begun; the first partial pass hears 0.4 s.
const BEGINNING: Duration = Duration::from_millis(600);
/// A single word that is on no list takes the floor only if the speech was at least this long: shorter
/// ones are mostly hums.
const LONE_WORD: Duration = Duration::from_millis(500);
/// Speech of this length is an utterance, not a hum.
const UTTERANCE: Duration = Duration::from_millis(700);
/// Sound without a word that lasts this long is none of a person's.
const WORDLESS: Duration = Duration::from_millis(700);

/// What is known of speech over EVA's voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The person takes the floor.
    Interruption,
    /// The person confirms that they listen.
    Backchannel,
    /// A cough, a noise, voices far away.
    Nothing,
    /// It cannot be told yet.
    NotYet,
}

/// Speech over EVA's voice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speech<'a> {
    /// Its words.
    pub words: &'a str,
    /// The recogniser's confidence less its probability of no speech.
    pub margin: f32,
    /// Its level above that of the person's own turns, dB; `None` where that is not known.
    pub relative_db: Option<f32>,
    /// How long it had lasted when the words were asked for.
    pub lasted: Duration,
    /// It is over.
    pub is_final: bool,
}

/// Judges speech by its words.
pub(super) fn judge(speech: Speech<'_>, language: Language) -> Evidence {
    let Speech { words, margin, lasted, is_final, .. } = speech;
    let count =
        words.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count();
    if count == 0 || speech.relative_db.is_some_and(|db| db < FAR) {
        let nothing = is_final || lasted >= WORDLESS;
        return if nothing { Evidence::Nothing } else { Evidence::NotYet };
    }
    if interrupts(words, language) {
        let clear = margin >= CLEAR_KNOWN[usize::from(is_final)];
        return if clear { Evidence::Interruption } else { unclear(is_final, margin) };
    }
    if is_backchannel(words, language) {
        return Evidence::Backchannel;
    }
    let near = speech.relative_db.is_some_and(|db| db > NEAR);
    let needed = match (is_final, lasted) {
        (true, lasted) if lasted >= UTTERANCE => CLEAR_AT_LENGTH,
        (false, lasted) if near && count >= 2 && lasted >= ONGOING => CLEAR_ONGOING,
        _ if near && count >= 3 => CLEAR_NEAR,
        (false, lasted) if lasted < BEGINNING => CLEAR_AT_ONCE,
        _ => CLEAR[usize::from(is_final)],
    };
    let lone =
        count == 1 && if is_final { lasted < LONE_WORD } else { !near || lasted < BEGINNING };
    if margin >= needed && !lone { Evidence::Interruption } else { unclear(is_final, margin) }
}

/// Words that are not believed: a hum if a voice is likely, else nothing; while it lasts, not yet either.
fn unclear(final_pass: bool, margin: f32) -> Evidence {
    match (final_pass, margin >= 0.0) {
        (false, _) => Evidence::NotYet,
        (true, true) => Evidence::Backchannel,
        (true, false) => Evidence::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the recogniser heard real sounds: words, confidence, no speech, ms, final.
    type Row = (&'static str, f32, f32, u64, bool, Evidence);

    fn hold(rows: &[Row]) {
        for &(words, confidence, no_speech, lasted, is_final, expected) in rows {
            let lasted = Duration::from_millis(lasted);
            let margin = confidence - no_speech;
            let speech = Speech { words, margin, relative_db: None, lasted, is_final };
            let judged = judge(speech, Language::En);
            assert_eq!(judged, expected, "{words:?} {confidence} {no_speech} {lasted:?}");
        }
    }

    #[test]
    fn interruptions_stop_her() {
        hold(&[
            ("Stop.", 0.60, 0.26, 350, false, Evidence::Interruption),
            ("No.", 0.72, 0.12, 350, false, Evidence::Interruption),
            ("Wait.", 0.54, 0.10, 350, false, Evidence::Interruption),
            ("Hold on.", 0.46, 0.40, 350, false, Evidence::NotYet),
            ("Hold on.", 0.72, 0.24, 650, false, Evidence::Interruption),
            ("cancel", 0.23, 0.32, 544, true, Evidence::Interruption),
            ("What about", 0.85, 0.21, 350, false, Evidence::Interruption),
            ("Can you...", 0.64, 0.37, 350, false, Evidence::NotYet),
            ("Can you repeat?", 0.83, 0.31, 650, false, Evidence::Interruption),
            ("Yeah.", 0.81, 0.06, 350, false, Evidence::Backchannel),
            ("Yeah, but what about Rome?", 0.80, 0.10, 900, false, Evidence::Interruption),
            ("Laughter, please.", 0.54, 0.08, 800, true, Evidence::Interruption),
            ("You're on.", 0.60, 0.25, 416, true, Evidence::Interruption),
        ]);
    }

    #[test]
    fn a_voice_is_told_by_its_level() {
        let of = |words, margin, db, ms| {
            let lasted = Duration::from_millis(ms);
            let speech = Speech { words, margin, relative_db: Some(db), lasted, is_final: false };
            judge(speech, Language::En)
        };
        assert_eq!(of("Please check the", 0.35, 0.0, 400), Evidence::Interruption);
        assert_eq!(of("Please check the", 0.35, -10.0, 400), Evidence::NotYet);
        assert_eq!(of("That fee", 0.08, 0.0, 600), Evidence::Interruption);
        assert_eq!(of("That fee", 0.08, -10.0, 600), Evidence::NotYet);
        assert_eq!(of("Emma Ma", -0.09, 0.0, 650), Evidence::NotYet);
        assert_eq!(of("And now the weather.", 0.8, -18.0, 900), Evidence::Nothing);
        assert_eq!(of("Something", 0.45, 0.0, 700), Evidence::Interruption);
        assert_eq!(of("Something", 0.45, -10.0, 700), Evidence::NotYet);
    }

    #[test]
    fn hums_and_babble_do_not() {
        hold(&[
            ("MM.", 0.16, 0.28, 350, false, Evidence::Backchannel),
            ("Emma Ma", 0.10, 0.19, 650, false, Evidence::NotYet),
            ("and number.", 0.17, 0.25, 512, true, Evidence::Nothing),
            ("M&M.", 0.56, 0.21, 480, true, Evidence::Backchannel),
            ("Trim", 0.52, 0.10, 350, false, Evidence::NotYet),
            ("Guarded", 0.54, 0.10, 448, true, Evidence::Backchannel),
            ("Yeah, yeah.", 0.72, 0.15, 640, true, Evidence::Backchannel),
            ("I'll put you in the next room.", 0.42, 0.58, 950, false, Evidence::NotYet),
            ("How would you know?", 0.45, 0.45, 650, false, Evidence::NotYet),
            ("How is it?", 0.31, 0.55, 950, false, Evidence::NotYet),
            ("I think.", 0.49, 0.53, 650, false, Evidence::NotYet),
            ("", 0.36, 0.79, 900, true, Evidence::Nothing),
            ("", 0.35, 0.64, 400, false, Evidence::NotYet),
            ("", 0.35, 0.64, 950, false, Evidence::Nothing),
        ]);
    }
}

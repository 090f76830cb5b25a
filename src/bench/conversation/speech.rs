//! What the callers say: sentences of the voice, human prompts, pauses put into them.
//!
//! In: texts. Out: 48 kHz sound, with the places of its words where the voice spoke.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::audio::level::{fade_in, fade_out, rms_dbfs};
use crate::audio::resample::resample;
use crate::audio::wav::read_wav;
use crate::audio::{WIRE_RATE, level};
use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::private::Private;
use crate::speaking::{Speech, Voice, WordSpan};

/// Debian's package of human prompts.
pub(super) const PROMPTS_PACKAGE: &str = "asterisk-core-sounds-en-wav";

/// A spoken sentence.
#[derive(Clone, Debug)]
pub(super) struct Sentence {
    /// What is said.
    pub text: String,
    /// 48 kHz mono.
    pub sound: Vec<f32>,
    /// Its words, in samples of `sound`; none for a prompt.
    pub words: Vec<WordSpan>,
}

impl Sentence {
    /// Speaks a text with a voice.
    pub async fn spoken(voice: &dyn Voice, text: &str) -> anyhow::Result<Self> {
        let private = Private::new(text.to_owned());
        let speech = Speech { reply: ReplyId(0), text: private, urgency: Urgency::Background };
        let mut chunks = voice.speak(speech);
        let (mut pcm, mut words) = (Vec::new(), Vec::new());
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            words.extend(chunk.words);
            pcm.extend(chunk.pcm);
        }
        let ratio = f64::from(WIRE_RATE) / f64::from(voice.sample_rate());
        for word in &mut words {
            word.samples = scaled(&word.samples, ratio);
        }
        let sound = resample(&pcm, voice.sample_rate(), WIRE_RATE)?;
        Ok(Self { text: text.to_owned(), sound, words })
    }

    /// A human prompt, as long as the package is installed.
    pub fn prompt(name: &str, text: &str) -> Option<Self> {
        let folder = Path::new("/usr/share/asterisk/sounds");
        let places = ["en_US_f_Allison", "en"].map(|voice| folder.join(voice));
        let path: PathBuf =
            places.iter().map(|place| place.join(format!("{name}.wav"))).find(|p| p.exists())?;
        let sound = read_wav(&path).ok()?;
        let sound = resample(&sound.samples, sound.sample_rate, WIRE_RATE).ok()?;
        Some(Self { text: text.to_owned(), sound, words: Vec::new() })
    }

    /// The same with `seconds` of silence before the word at byte `at` of the text; the sound up to
    /// there, and the whole.
    pub fn with_pause(&self, at: usize, seconds: f32) -> anyhow::Result<(Vec<f32>, Vec<f32>)> {
        let next = self.words.iter().position(|word| word.text.start >= at);
        let next = next.filter(|next| *next > 0).context("the pause is not between two words")?;
        let seam = self.words[next - 1].samples.end..self.words[next].samples.start;
        let cut = quietest(&self.sound, seam);
        let (mut first, mut rest) = (self.sound[..cut].to_vec(), self.sound[cut..].to_vec());
        let fade = (WIRE_RATE / 200) as usize;
        let from = first.len().saturating_sub(fade);
        fade_out(&mut first[from..]);
        let until = fade.min(rest.len());
        fade_in(&mut rest[..until]);
        let mut whole = first.clone();
        whole.resize(whole.len() + (seconds * WIRE_RATE as f32) as usize, 0.0);
        whole.extend(rest);
        Ok((first, whole))
    }
}

/// A marked text: without its `|`, and the byte where it stood.
pub(super) fn unmarked(text: &str) -> (String, usize) {
    let at = text.find('|').unwrap_or(0);
    (text.replace('|', ""), at)
}

fn scaled(at: &Range<usize>, ratio: f64) -> Range<usize> {
    (at.start as f64 * ratio) as usize..(at.end as f64 * ratio) as usize
}

/// The middle of the quietest 10 ms around a seam.
fn quietest(sound: &[f32], seam: Range<usize>) -> usize {
    let window = (WIRE_RATE / 100) as usize;
    let from = seam.start.saturating_sub(2 * window);
    let until = (seam.end + 2 * window).min(sound.len().saturating_sub(window));
    let places = (from..until.max(from + 1)).step_by(window / 4);
    let level = |at: &usize| level::rms_dbfs(&sound[*at..(*at + window).min(sound.len())]);
    let best = places.min_by(|a, b| level(a).total_cmp(&level(b))).unwrap_or(seam.start);
    best + window / 2
}

/// Without the silence at its end: what comes after it begins at once.
pub(super) fn trimmed(mut sound: Vec<f32>) -> Vec<f32> {
    let slot = (WIRE_RATE / 50) as usize;
    let last = sound.chunks(slot).rposition(|slot| rms_dbfs(slot) > -50.0);
    sound.truncate(last.map_or(0, |last| (last + 2) * slot));
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_stands_between_the_words_where_it_was_marked() {
        let (text, at) = unmarked("one |two");
        assert_eq!((text.as_str(), at), ("one two", 4));
        let mut sound = vec![0.2; 48_000];
        sound[23_000..25_000].fill(0.0);
        let span = |text, samples| WordSpan { text, samples };
        let words = vec![span(0..3, 0..23_000), span(4..7, 25_000..48_000)];
        let sentence = Sentence { text, sound, words };
        let (first, whole) = sentence.with_pause(at, 0.5).unwrap();
        assert!((23_000..25_000).contains(&first.len()), "{}", first.len());
        assert_eq!(whole.len(), 48_000 + 24_000);
        assert!(whole[first.len()..first.len() + 24_000].iter().all(|s| *s == 0.0));
        assert!(sentence.with_pause(0, 0.5).is_err());
    }
}

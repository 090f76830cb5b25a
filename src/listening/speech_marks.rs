//! Speech probabilities in; where speech starts, hesitates and pauses out.
//!
//! In: [`VadWindow`]s of one call, in order. Out: [`SpeechMark`]s, at sample positions. Owned by
//! the call; told the time through the samples' count, so the same windows always give the same
//! marks. It does not decide whose turn it is.

use std::collections::VecDeque;

use super::LISTENING_RATE;
use super::silero::{VAD_WINDOW, VadWindow};

/// When sound counts as speech and silence as a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarksConfig {
    /// Speech starts or goes on at this probability.
    pub activation: f32,
    /// Speech hesitates below this one; in between, things stay as they are.
    pub deactivation: f32,
    /// Shorter speech is a click.
    pub min_speech_ms: u32,
    /// Silence of this length is a pause; noticed at the end of a window of 32 ms.
    pub pause_ms: u32,
    /// How far before the first window of speech the voice is taken to begin: the network needs
    /// to have heard some of a soft beginning to be sure of it.
    pub look_back_ms: u32,
    /// How long the network goes on calling it speech after the voice has ended: 46 to 174 ms,
    /// mostly about 75, on recorded prompts. A pause counts from that much before the first window
    /// without speech.
    pub hangover_ms: u32,
}

impl Default for MarksConfig {
    fn default() -> Self {
        Self {
            activation: 0.5,
            deactivation: 0.35,
            min_speech_ms: 64,
            // Six windows of 32 ms: 200 ms would be noticed only with the seventh.
            pause_ms: 192,
            look_back_ms: 32,
            hangover_ms: 64,
        }
    }
}

/// Something happened to the voice. Positions are samples at 16 kHz from the stream's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeechMark {
    /// The person began to speak.
    Started {
        /// Where the voice begins, as well as can be told.
        at_sample: u64,
    },
    /// The first window without speech: perhaps the end. Time to start a final pass ahead.
    FirstSilence {
        /// Where that window begins.
        at: u64,
    },
    /// The silence was none: the person goes on.
    Resumed {
        /// Where the first window of speech begins.
        at: u64,
    },
    /// The silence has lasted; the next speech comes as [`SpeechMark::Started`].
    Paused {
        /// Where the pause was noticed.
        at: u64,
        /// The sample after the last voiced one, as well as can be told.
        last_voiced_sample: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    Silent,
    /// Speech since this sample, not yet long enough.
    Starting(u64),
    Speaking,
    /// No speech since this sample, not yet long enough.
    Hesitating(u64),
}

/// Turns one call's windows into marks.
#[derive(Debug)]
pub struct SpeechMarks {
    config: MarksConfig,
    state: State,
    marks: VecDeque<SpeechMark>,
}

impl SpeechMarks {
    /// Begins in silence.
    pub fn new(config: MarksConfig) -> Self {
        Self { config, state: State::Silent, marks: VecDeque::new() }
    }

    /// Whether the person speaks, or has only just stopped.
    pub fn speaking(&self) -> bool {
        matches!(self.state, State::Speaking | State::Hesitating(_))
    }

    /// Takes the next window; then ask [`SpeechMarks::poll_mark`] until there is none.
    pub fn handle(&mut self, window: VadWindow) {
        let start = window.end_sample.saturating_sub(VAD_WINDOW as u64);
        let speech = window.probability >= self.config.activation;
        let silence = window.probability < self.config.deactivation;
        match self.state {
            State::Silent if speech => self.state = State::Starting(start),
            State::Starting(_) if silence => self.state = State::Silent,
            State::Speaking if silence => {
                self.state = State::Hesitating(start);
                self.marks.push_back(SpeechMark::FirstSilence { at: start });
            }
            State::Hesitating(_) if speech => {
                self.state = State::Speaking;
                self.marks.push_back(SpeechMark::Resumed { at: start });
            }
            _ => {}
        }
        self.settle(window.end_sample);
    }

    /// The next mark, oldest first.
    pub fn poll_mark(&mut self) -> Option<SpeechMark> {
        self.marks.pop_front()
    }

    /// Makes a start or a pause of what has lasted long enough by `now`.
    fn settle(&mut self, now: u64) {
        match self.state {
            State::Starting(since) if now - since >= samples(self.config.min_speech_ms) => {
                self.state = State::Speaking;
                let at_sample = since.saturating_sub(samples(self.config.look_back_ms));
                self.marks.push_back(SpeechMark::Started { at_sample });
            }
            State::Hesitating(since) => {
                let last_voiced_sample = since.saturating_sub(samples(self.config.hangover_ms));
                if now - last_voiced_sample >= samples(self.config.pause_ms) {
                    self.state = State::Silent;
                    self.marks.push_back(SpeechMark::Paused { at: now, last_voiced_sample });
                }
            }
            _ => {}
        }
    }
}

fn samples(ms: u32) -> u64 {
    u64::from(ms) * u64::from(LISTENING_RATE / 1000)
}

#[cfg(test)]
mod tests {
    use crate::listening::silero::VadEngine;
    use crate::listening::test_sound::{PROMPTS, model, prompt};

    use super::{MarksConfig, SpeechMark, SpeechMarks, VAD_WINDOW, VadWindow};

    /// The marks of a row of probabilities; positions in windows.
    fn marks(probabilities: &[f32]) -> Vec<SpeechMark> {
        let config = MarksConfig { look_back_ms: 0, hangover_ms: 0, ..MarksConfig::default() };
        let mut marks = SpeechMarks::new(config);
        let mut seen = Vec::new();
        for (i, &probability) in probabilities.iter().enumerate() {
            marks.handle(VadWindow { end_sample: at(i + 1), probability });
            seen.extend(std::iter::from_fn(|| marks.poll_mark()));
        }
        seen
    }

    fn at(window: usize) -> u64 {
        (window * VAD_WINDOW) as u64
    }

    #[test]
    fn speech_starts_hesitates_and_pauses() {
        let mut windows = vec![0.1, 0.6, 0.9, 0.9];
        windows.extend([0.1; 8]);
        assert_eq!(
            marks(&windows),
            [
                SpeechMark::Started { at_sample: at(1) },
                SpeechMark::FirstSilence { at: at(4) },
                SpeechMark::Paused { at: at(10), last_voiced_sample: at(4) },
            ]
        );
    }

    #[test]
    fn a_click_is_no_speech() {
        assert_eq!(marks(&[0.1, 0.9, 0.1, 0.1, 0.8, 0.2]), []);
    }

    #[test]
    fn a_short_silence_is_taken_back() {
        assert_eq!(
            marks(&[0.9, 0.9, 0.1, 0.1, 0.9, 0.2])[1..],
            [
                SpeechMark::FirstSilence { at: at(2) },
                SpeechMark::Resumed { at: at(4) },
                SpeechMark::FirstSilence { at: at(5) },
            ]
        );
    }

    #[test]
    fn doubt_changes_nothing() {
        let mut windows = vec![0.4, 0.9, 0.4, 0.4, 0.4];
        assert_eq!(marks(&windows), [SpeechMark::Started { at_sample: at(1) }]);
        windows.extend([0.1, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]);
        assert_eq!(
            marks(&windows)[1..],
            [
                SpeechMark::FirstSilence { at: at(5) },
                SpeechMark::Paused { at: at(11), last_voiced_sample: at(5) },
            ]
        );
    }

    /// First and last sample of the 10 ms that are louder than 1 % of the loudest.
    fn audible(sound: &[f32]) -> (i64, i64) {
        let power = |chunk: &[f32]| chunk.iter().map(|s| s * s).sum::<f32>();
        let powers: Vec<f32> = sound.chunks(160).map(power).collect();
        let loudest = powers.iter().copied().fold(0.0, f32::max);
        let loud = |p: &f32| *p > loudest * 1e-3;
        let first = powers.iter().position(loud).unwrap();
        let last = powers.iter().rposition(loud).unwrap();
        (first as i64 * 160, (last as i64 + 1) * 160)
    }

    #[tokio::test]
    async fn marks_lie_where_the_voice_begins_and_ends() {
        let engine = VadEngine::start(&model(crate::models::SILERO_VAD)).unwrap();
        let (mut far, mut prompts) = (Vec::new(), 0);
        for (name, _) in PROMPTS {
            let mut sound = vec![0.0; 16_000];
            sound.extend(prompt(name));
            sound.extend([0.0; 16_000]);
            let (begin, end) = audible(&sound);
            let mut stream = engine.stream();
            let mut marks = SpeechMarks::new(MarksConfig::default());
            let mut seen = Vec::new();
            for frame in sound.chunks(320) {
                stream.push(frame);
                while stream.busy() {
                    marks.handle(stream.next().await);
                    seen.extend(std::iter::from_fn(|| marks.poll_mark()));
                }
            }
            let Some(SpeechMark::Started { at_sample }) = seen.first() else { panic!("{name}") };
            let Some(SpeechMark::Paused { last_voiced_sample, .. }) = seen.last() else {
                panic!("{name}")
            };
            let off = [*at_sample as i64 - begin, *last_voiced_sample as i64 - end];
            let off = off.map(|samples| samples / 16);
            prompts += 1;
            if off[0].abs() > 100 || off[1].abs() > 150 {
                far.push((name, off));
            }
        }
        assert!(far.is_empty(), "of {prompts} prompts, off by ms: {far:?}");
    }

    #[test]
    fn windows_passed_over_count_as_time() {
        let mut marks = SpeechMarks::new(MarksConfig::default());
        for (window, probability) in [(3, 0.9), (4, 0.9), (5, 0.1), (30, 0.1)] {
            marks.handle(VadWindow { end_sample: at(window), probability });
        }
        let last = std::iter::from_fn(|| marks.poll_mark()).last();
        assert_eq!(last, Some(SpeechMark::Paused { at: at(30), last_voiced_sample: at(2) }));
    }
}

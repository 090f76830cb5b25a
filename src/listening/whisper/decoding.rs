//! From the network's scores to tokens: Whisper's rules for greedy decoding, and when to stop.
//!
//! In: the scores (logits) of one step. Out: the token to go on with, or the end. Pure: it knows
//! token numbers, no network. Timestamps are always decoded, because without them a short context
//! makes the small models repeat themselves.
//!
//! Source: Radford et al. (2022), section 4.5, and `decoding.py` of github.com/openai/whisper.

use std::ops::Range;

/// A number in Whisper's vocabulary.
pub type Token = i32;

/// Timestamps count in steps of 20 ms.
pub const TIMESTAMPS_PER_SECOND: f32 = 50.0;
/// The first timestamp may not lie later than this (1 s).
const LATEST_START: usize = 50;
/// A timestamp this close to the sound's end (0.1 s) ends the pass.
const END_MARGIN: f32 = 5.0;
/// Scores this far below the best add nothing that counts to the sum of probabilities.
const NEGLIGIBLE: f32 = 16.0;

/// The tokens that mean something other than text.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// The end of the transcript.
    pub end: Token,
    /// The first timestamp; all tokens from here on are timestamps. What lies between `end` and
    /// it steers the network and is never an answer.
    pub timestamps: Token,
    /// "There is no speech."
    pub no_speech: Token,
    /// A lone space, which may not come first.
    pub blank: Option<Token>,
    /// Brackets, notes and the like, which stand for sounds other than speech.
    pub non_speech: Vec<Token>,
}

impl Vocabulary {
    /// Whether `token` is text.
    pub fn is_text(&self, token: Token) -> bool {
        token < self.end
    }
}

/// What follows from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Feed this token and go on.
    Token(Token),
    /// The transcript is whole.
    End,
    /// The network repeats itself or says more than anyone can; the transcript is cut before it.
    Runaway,
}

/// One transcript in the making.
pub struct Decoding<'v> {
    vocabulary: &'v Vocabulary,
    /// Length of the sound in timestamp steps.
    sound_steps: f32,
    limit: usize,
    scores: Vec<f32>,
    tokens: Vec<Token>,
    text: Vec<Token>,
    /// Log probability of each token of the text.
    certainty: Vec<f32>,
    wary: bool,
}

impl<'v> Decoding<'v> {
    /// Begins a transcript of `seconds` of sound. `wary` takes the first repetition for a runaway,
    /// for where a second look is to be had; else only what nobody says.
    pub fn new(vocabulary: &'v Vocabulary, seconds: f32, wary: bool) -> Self {
        Self {
            vocabulary,
            sound_steps: seconds * TIMESTAMPS_PER_SECOND,
            limit: most_tokens(seconds),
            scores: Vec::new(),
            tokens: Vec::new(),
            text: Vec::new(),
            certainty: Vec::new(),
            wary,
        }
    }

    /// The text's tokens so far.
    pub fn text(&self) -> &[Token] {
        &self.text
    }

    /// Mean probability of the text's tokens; 0 without any.
    pub fn mean_probability(&self) -> f32 {
        self.certainty.iter().map(|log| log.exp()).sum::<f32>() / self.text.len().max(1) as f32
    }

    /// Mean log probability of the text's tokens; 0 without any.
    pub fn mean_log_probability(&self) -> f32 {
        self.certainty.iter().sum::<f32>() / self.text.len().max(1) as f32
    }

    /// Takes the scores of the next token, one for each of the vocabulary.
    pub fn step(&mut self, logits: &[f32]) -> Step {
        self.scores.clear();
        self.scores.extend_from_slice(logits);
        self.mask();
        let first_timestamp = self.vocabulary.timestamps as usize;
        let (text, timestamps) = self.scores.split_at(first_timestamp);
        let (best_text, text_score) = best(text);
        let (best_timestamp, timestamp_score) = best(timestamps);
        let highest = text_score.max(timestamp_score);
        // A timestamp is due when all of them together are likelier than any one text token.
        let sum_of_timestamps = exponential_sum(timestamps, highest);
        if sum_of_timestamps > (text_score - highest).exp() {
            return self.timestamp(best_timestamp);
        }
        let token = best_text as Token;
        if token == self.vocabulary.end {
            return Step::End;
        }
        let sum = exponential_sum(text, highest) + sum_of_timestamps;
        self.certainty.push(text_score - highest - sum.ln());
        self.tokens.push(token);
        self.text.push(token);
        self.runaway().unwrap_or(Step::Token(token))
    }

    fn timestamp(&mut self, step: usize) -> Step {
        let token = self.vocabulary.timestamps + step as Token;
        self.tokens.push(token);
        if step > 0 && step as f32 + END_MARGIN >= self.sound_steps {
            return Step::End;
        }
        if self.tokens.len() >= self.limit {
            return Step::Runaway;
        }
        Step::Token(token)
    }

    /// Rules out what may not come next.
    fn mask(&mut self) {
        let v = self.vocabulary;
        let end = v.end as usize;
        let timestamps = v.timestamps as usize;
        exclude(&mut self.scores, end + 1..timestamps);
        for &token in &v.non_speech {
            self.scores[token as usize] = f32::NEG_INFINITY;
        }
        if self.tokens.is_empty() {
            exclude(&mut self.scores, end..end + 1);
            if let Some(blank) = v.blank {
                self.scores[blank as usize] = f32::NEG_INFINITY;
            }
            let all = self.scores.len();
            exclude(&mut self.scores, (timestamps + LATEST_START + 1).min(all)..all);
        }
        // Timestamps come in pairs, except right before the end, and never go back.
        let is_timestamp = |token: Option<&Token>| token.is_none_or(|&t| t >= v.timestamps);
        if let Some(&last) = self.tokens.last()
            && last >= v.timestamps
        {
            if is_timestamp(self.tokens.iter().rev().nth(1)) {
                let all = self.scores.len();
                exclude(&mut self.scores, timestamps..all);
            } else {
                exclude(&mut self.scores, 0..end);
            }
        }
        if let Some(&latest) = self.tokens.iter().rev().find(|&&t| t >= v.timestamps) {
            exclude(&mut self.scores, timestamps..latest as usize);
        }
    }

    /// Cuts a transcript that goes on without meaning.
    fn runaway(&mut self) -> Option<Step> {
        let times = if self.wary { [4, 3, 2] } else { [6, 4, 3] };
        if let Some(kept) = before_repetition(&self.text, times) {
            self.text.truncate(kept);
            self.certainty.truncate(kept);
            return Some(Step::Runaway);
        }
        (self.tokens.len() >= self.limit).then_some(Step::Runaway)
    }
}

/// More tokens than anyone speaks: ten a second (fast speech has six), and some for the beginning.
fn most_tokens(seconds: f32) -> usize {
    // Whisper itself stops at half its text context, 224.
    (16 + (seconds * 10.0) as usize).min(220)
}

/// If `text` ends in the same words over and over, how much of it to keep (with them once).
///
/// `times` is how often one token, two tokens, and longer runs must come: "no, no, no" is honest.
fn before_repetition(text: &[Token], times: [usize; 3]) -> Option<usize> {
    (1..=text.len() / 2).find_map(|length| {
        let span = length * times[length.min(3) - 1];
        let tail = &text[text.len().checked_sub(span)?..];
        let repeats = tail.chunks_exact(length).all(|run| run == &tail[..length]);
        repeats.then_some(text.len() - span + length)
    })
}

/// The probability of `token` among all of `logits`.
pub fn probability(logits: &[f32], token: Token) -> f32 {
    let (_, highest) = best(logits);
    (logits[token as usize] - highest).exp() / exponential_sum(logits, highest)
}

/// The likeliest of `tokens`.
pub fn likeliest(logits: &[f32], tokens: &[Token]) -> Option<usize> {
    let score = |i: &usize| logits[tokens[*i] as usize];
    (0..tokens.len()).max_by(|a, b| score(a).total_cmp(&score(b)))
}

fn exclude(scores: &mut [f32], range: Range<usize>) {
    scores[range].fill(f32::NEG_INFINITY);
}

fn best(scores: &[f32]) -> (usize, f32) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let at = scores.iter().position(|&s| s == highest).unwrap_or(0);
    (at, highest)
}

/// The sum of e^(score - highest).
fn exponential_sum(scores: &[f32], highest: f32) -> f32 {
    let counts = |s: &&f32| **s > highest - NEGLIGIBLE;
    scores.iter().filter(counts).map(|s| (s - highest).exp()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Decoding, Step, Token, Vocabulary, before_repetition};

    /// Text 0-9, end 10, specials 11-13, timestamps from 14 on.
    fn vocabulary() -> Vocabulary {
        Vocabulary { end: 10, timestamps: 14, no_speech: 12, blank: Some(0), non_speech: vec![9] }
    }

    fn favour(tokens: &[Token]) -> Vec<f32> {
        let mut logits = vec![-30.0; 14 + 1501];
        for (rank, &token) in tokens.iter().enumerate() {
            logits[token as usize] = 10.0 - rank as f32;
        }
        logits
    }

    #[test]
    fn blanks_marks_and_specials_are_no_answers() {
        let vocabulary = vocabulary();
        let mut decoding = Decoding::new(&vocabulary, 2.0, false);
        assert_eq!(decoding.step(&favour(&[9, 0, 10, 12, 3])), Step::Token(3));
        assert_eq!(decoding.step(&favour(&[10])), Step::End);
        assert_eq!(decoding.text(), [3]);
    }

    #[test]
    fn timestamps_come_in_pairs_and_never_go_back() {
        let vocabulary = vocabulary();
        let mut decoding = Decoding::new(&vocabulary, 4.0, false);
        assert_eq!(decoding.step(&favour(&[14 + 90, 14])), Step::Token(14), "starts within 1 s");
        assert_eq!(decoding.step(&favour(&[15, 3])), Step::Token(3), "text after the opening");
        assert_eq!(decoding.step(&favour(&[14 + 60])), Step::Token(14 + 60));
        assert_eq!(decoding.step(&favour(&[5, 14 + 20, 14 + 70])), Step::Token(14 + 70));
        assert_eq!(decoding.step(&favour(&[4])), Step::Token(4));
        assert_eq!(decoding.step(&favour(&[14 + 196])), Step::End, "the end of the sound");
        assert_eq!(decoding.text(), [3, 4]);
    }

    #[test]
    fn many_likely_timestamps_beat_one_likelier_word() {
        let vocabulary = vocabulary();
        let mut decoding = Decoding::new(&vocabulary, 4.0, false);
        assert_eq!(decoding.step(&favour(&[3])), Step::Token(3));
        let mut logits = favour(&[4]);
        logits[14 + 100..14 + 110].fill(9.0);
        assert_eq!(decoding.step(&logits), Step::Token(14 + 100));
    }

    #[test]
    fn endless_repetition_is_cut_to_one() {
        let vocabulary = vocabulary();
        let mut decoding = Decoding::new(&vocabulary, 30.0, false);
        let mut steps = [1, 2, 3, 4].iter().cycle().map(|&t| decoding.step(&favour(&[t])));
        assert_eq!(steps.position(|step| step == Step::Runaway), Some(11));
        assert_eq!(decoding.text(), [1, 2, 3, 4]);
    }

    #[test]
    fn honest_repetition_is_kept() {
        let patient = [6, 4, 3];
        assert_eq!(before_repetition(&[1, 1, 1, 1], patient), None, "no, no, no, no");
        assert_eq!(before_repetition(&[1, 2, 1, 2, 1, 2], patient), None);
        assert_eq!(before_repetition(&[7, 1, 2, 1, 2, 1, 2, 1, 2], patient), Some(3));
        assert_eq!(before_repetition(&[1, 2, 3, 1, 2, 3], patient), None);
        assert_eq!(before_repetition(&[1, 2, 3, 1, 2, 3], [4, 3, 2]), Some(3));
    }

    #[test]
    fn more_than_anyone_can_say_is_a_runaway() {
        let vocabulary = vocabulary();
        let mut decoding = Decoding::new(&vocabulary, 1.0, false);
        let mut state = 7u32;
        let last = (0..40)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                decoding.step(&favour(&[1 + (state >> 16) as Token % 8]))
            })
            .position(|step| step == Step::Runaway);
        assert!(last.is_some_and(|at| at <= 26));
    }

    #[test]
    fn certainty_is_the_mean_over_the_text() {
        let vocabulary = vocabulary();
        let mut decoding = Decoding::new(&vocabulary, 3.0, false);
        decoding.step(&favour(&[3]));
        let mut logits = favour(&[]);
        logits[4] = 5.0;
        logits[5] = 5.0;
        decoding.step(&logits);
        assert!((decoding.mean_probability() - 0.75).abs() < 1e-3);
    }
}

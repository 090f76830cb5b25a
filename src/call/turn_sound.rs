//! The sound of the open turn.
//!
//! In: 16 kHz frames of the whole call. Out: the sound a pass needs. Keeps what belongs to the open
//! turn, to the last one while it can be reopened, and the last seconds before; forgets the rest.

use crate::audio::level::{SILENCE_DBFS, rms_dbfs};
use crate::listening::LISTENING_RATE;

/// What the end-of-turn model looks at.
const LOOK_BACK: u64 = 8 * LISTENING_RATE as u64;
/// A turn longer than this keeps its end: the recogniser takes no more at once.
const LONGEST: u64 = 30 * LISTENING_RATE as u64;
/// Sound before the detected onset that belongs to the first word.
const LEAD_IN: u64 = LISTENING_RATE as u64 / 4;

/// Levels are of 20 ms.
const LEVEL_FRAME: usize = LISTENING_RATE as usize / 50;

/// A window over the call's sound, in samples since the call began.
#[derive(Debug, Default)]
pub(super) struct TurnSound {
    samples: Vec<f32>,
    /// Place of the first kept sample.
    base: u64,
    /// Where the open turn starts.
    open: Option<u64>,
    /// Where the last committed turn starts.
    last: Option<u64>,
    /// A place to look back to.
    marked: u64,
}

impl TurnSound {
    /// Appends the next samples.
    pub(super) fn push(&mut self, frame: &[f32]) {
        self.samples.extend_from_slice(frame);
        // Moving the window costs a copy: do it once a second.
        let keep = self.keep_from();
        if keep > self.base + u64::from(LISTENING_RATE) {
            self.samples.drain(..(keep - self.base) as usize);
            self.base = keep;
        }
    }

    /// Samples since the call began.
    pub(super) fn end(&self) -> u64 {
        self.base + self.samples.len() as u64
    }

    /// The sound from this sample on, as far as it is kept, and where it begins.
    pub(super) fn since(&self, sample: u64) -> (u64, &[f32]) {
        let from = sample.clamp(self.base, self.end());
        (from, &self.samples[(from - self.base) as usize..])
    }

    fn keep_from(&self) -> u64 {
        let oldest = self.open.or(self.last).unwrap_or(u64::MAX);
        let look_back = self.end().saturating_sub(LOOK_BACK);
        oldest.min(look_back).max(self.end().saturating_sub(LONGEST)).max(self.base)
    }

    /// The person's voice starts at `onset`: opens a turn unless one is open.
    pub(super) fn open(&mut self, onset: u64) {
        self.open.get_or_insert(onset.saturating_sub(LEAD_IN).max(self.base));
    }

    /// The open turn goes on with the next sample; one begins there if none is open.
    pub(super) fn go_on(&mut self) {
        let end = self.end();
        self.open.get_or_insert(end);
    }

    /// A turn begins at exactly this sample.
    pub(super) fn open_at(&mut self, sample: u64) {
        self.open = Some(sample.max(self.base));
    }

    /// The open turn is committed; it can be reopened until the next one is.
    pub(super) fn commit(&mut self) {
        self.last = self.open.take().or(self.last);
    }

    /// The committed turn goes on.
    pub(super) fn reopen(&mut self) {
        self.open = self.last.take().or(self.open);
    }

    /// The open turn held nothing.
    pub(super) fn discard(&mut self) {
        self.open = None;
    }

    /// The reply to the last turn was heard: it will not be reopened.
    pub(super) fn settle(&mut self) {
        self.last = None;
    }

    /// Remembers where the sound is now, for [`Self::since_mark`].
    pub(super) fn mark(&mut self) {
        self.marked = self.end();
    }

    /// What came since [`Self::mark`], as far as it is kept.
    pub(super) fn since_mark(&self) -> &[f32] {
        let from = self.marked.max(self.base).min(self.end());
        &self.samples[(from - self.base) as usize..]
    }

    /// The sound of the open turn so far, at most 30 s; empty when none is open.
    pub(super) fn of_turn(&self) -> &[f32] {
        let Some(open) = self.open else { return &[] };
        let from = open.max(self.base).max(self.end().saturating_sub(LONGEST));
        &self.samples[(from - self.base) as usize..]
    }

    /// How loud the voice in the open turn is, dBFS: the level that its loudest fifth keeps to, over
    /// at most its last 2 s.
    pub(super) fn level_dbfs(&self) -> f32 {
        let turn = self.of_turn();
        let recent = &turn[turn.len().saturating_sub(2 * LISTENING_RATE as usize)..];
        let mut levels: Vec<f32> = recent.chunks(LEVEL_FRAME).map(rms_dbfs).collect();
        levels.sort_by(f32::total_cmp);
        levels.get(levels.len() * 4 / 5).copied().unwrap_or(SILENCE_DBFS)
    }

    /// The last 8 s, of the open turn only: what came before would mislead the vote.
    pub(super) fn for_vote(&self) -> &[f32] {
        let turn = self.of_turn();
        &turn[turn.len().saturating_sub(LOOK_BACK as usize)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(sound: &mut TurnSound, count: usize) {
        for _ in 0..count * 50 {
            sound.push(&[0.5; 320]);
        }
    }

    #[test]
    fn a_turn_is_whole_and_memory_is_bounded() {
        let mut sound = TurnSound::default();
        seconds(&mut sound, 100);
        assert!(sound.samples.len() <= 10 * 16_000);
        sound.open(sound.end() - 1600);
        seconds(&mut sound, 12);
        assert_eq!(sound.of_turn().len(), 12 * 16_000 + 1600 + LEAD_IN as usize);
        assert_eq!(sound.for_vote().len(), LOOK_BACK as usize);
        seconds(&mut sound, 60);
        assert_eq!(sound.of_turn().len() as u64, LONGEST);
        assert!(sound.samples.len() <= 32 * 16_000);
    }

    #[test]
    fn a_reopened_turn_begins_where_it_began() {
        let mut sound = TurnSound::default();
        seconds(&mut sound, 1);
        sound.open(sound.end());
        seconds(&mut sound, 2);
        let before = sound.of_turn().len();
        sound.commit();
        assert!(sound.of_turn().is_empty());
        seconds(&mut sound, 1);
        sound.open(sound.end());
        sound.reopen();
        assert_eq!(sound.of_turn().len(), before + 16_000);
        sound.discard();
        assert!(sound.of_turn().is_empty());
    }
}

//! Records one call: the person on the left, EVA as she was played on the right.
//!
//! In: what was heard and what was sent, with its place in time. Out: a stereo Ogg Opus file, written
//! as the call goes on, so that it can be played up to wherever it was left. A thread of its own mixes,
//! encodes and writes; the call hands sound over and never waits. Sound that the thread cannot take is
//! silence in the file, and counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ears::Ears;
use crate::audio::ogg::OggOpusStereo;
use crate::audio::opus::OpusError;
use crate::audio::resample::Resampler;
use crate::audio::{HEARING_RATE, SLOT_MS, SLOT_SAMPLES, WIRE_RATE};
use crate::observability::Metrics;
use crate::turn::At;

/// Pieces that may wait for the thread: some 5 s of both channels.
const WAITING: usize = 512;
/// Bits a second: two voices apart.
const BITRATE: u32 = 48_000;
/// So much later than EVA's may the person's sound come, samples at 48 kHz: jitter buffers take their
/// time. What comes later is lost.
const LAG: u64 = WIRE_RATE as u64;
/// The person's sound is continuous; when it comes so much later, its place is set anew: 300 ms at 48 kHz.
const GAP: i64 = WIRE_RATE as i64 * 3 / 10;
/// Its place is where the packet that came soonest in a second says; it moves if that is off by more
/// than this: 10 ms at 48 kHz.
const SLACK: i64 = WIRE_RATE as i64 / 100;
/// So far ahead may a client send sound: 30 s at 48 kHz.
const AHEAD: u64 = 30 * WIRE_RATE as u64;

/// A piece of one channel; places are samples at 48 kHz since the call began.
enum Piece {
    /// The person, 16 kHz; `paced` if it comes as fast as it was said.
    Heard { at: u64, pcm: Vec<f32>, paced: bool },
    /// The next slot of EVA's; `None` is silence.
    Sent(Option<Box<[f32]>>),
    /// So many slots pass.
    Passed(u64),
}

impl Piece {
    /// Where it begins to sound, if it does; EVA's next slot is at `now`.
    fn sounds_at(&self, now: u64) -> Option<u64> {
        match self {
            Self::Heard { at, .. } => Some(*at),
            Self::Sent(Some(_)) => Some(now),
            Self::Sent(None) | Self::Passed(_) => None,
        }
    }
}

/// One call's recording.
pub(super) struct Recording {
    pieces: mpsc::Sender<Piece>,
    written: JoinHandle<()>,
    /// The first sample of the person's that was not handed over, at 16 kHz.
    heard: u64,
    /// Slots that the thread was not told of.
    missed: u64,
}

impl Recording {
    /// Begins a recording; what goes wrong is said in the log, and the call goes on without one.
    pub(super) fn start(path: PathBuf) -> Self {
        let (pieces, waiting) = mpsc::channel(WAITING);
        let written = tokio::task::spawn_blocking(move || {
            if let Err(error) = write(&path, waiting) {
                tracing::error!(%error, "a call's recording was not written to its end");
            }
        });
        Self { pieces, written, heard: 0, missed: 0 }
    }

    /// Takes EVA's next slot (48 kHz).
    pub(super) fn sent(&mut self, pcm: &[f32]) {
        let sounds = pcm.iter().any(|sample| *sample != 0.0);
        self.hand(Piece::Sent(sounds.then(|| pcm.into())), 1);
    }

    /// So many slots of EVA's pass unsent.
    pub(super) fn passed(&mut self, slots: u64) {
        if slots > 0 {
            self.hand(Piece::Passed(slots), slots);
        }
    }

    /// Takes what was heard since the last time.
    pub(super) fn hear(&mut self, ears: &Ears) {
        let (from, pcm) = ears.sound.since(self.heard);
        if pcm.is_empty() {
            return;
        }
        // A frame is complete when its end arrives.
        let began = ears.arrival(from).saturating_sub(Duration::from_millis(SLOT_MS.into()));
        self.heard = from + pcm.len() as u64;
        let paced = ears.line().is_some();
        self.hand(Piece::Heard { at: place(began), pcm: pcm.to_vec(), paced }, 0);
    }

    /// Hands a piece over that stands for so many slots.
    fn hand(&mut self, piece: Piece, slots: u64) {
        if self.missed > 0 && self.pieces.try_send(Piece::Passed(self.missed)).is_ok() {
            self.missed = 0;
        }
        if self.missed > 0 || self.pieces.try_send(piece).is_err() {
            self.missed += slots;
            if !self.pieces.is_closed() {
                Metrics::recording_gap("slow_disk");
            }
        }
    }

    /// Ends the recording, and returns when it is written.
    pub(super) async fn finish(self) {
        let Self { pieces, written, .. } = self;
        drop(pieces);
        let _ = written.await;
    }
}

fn place(at: At) -> u64 {
    u64::try_from(at.as_micros() * u128::from(WIRE_RATE) / 1_000_000).unwrap_or(u64::MAX)
}

#[derive(Debug, thiserror::Error)]
enum RecordingError {
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
    #[error("{0}")]
    Opus(#[from] OpusError),
}

fn write(path: &std::path::Path, mut pieces: mpsc::Receiver<Piece>) -> Result<(), RecordingError> {
    let mut tape = Tape::new()?;
    let mut file = None;
    while let Some(piece) = pieces.blocking_recv() {
        // The file begins with the first sound, whose place may turn out to be a little earlier: a call
        // that never connects leaves none.
        if file.is_none()
            && let Some(begins) = piece.sounds_at(tape.now)
        {
            tape.base = begins.min(tape.now).saturating_sub(GAP.unsigned_abs());
            file = Some(crate::recordings::create(path)?);
        }
        match piece {
            Piece::Heard { at, pcm, paced } => tape.heard(at, &pcm, paced),
            Piece::Sent(pcm) => tape.sent(pcm.as_deref()),
            Piece::Passed(slots) => tape.passed(slots),
        }
        if let Some(file) = &mut file {
            tape.save(file, tape.now.saturating_sub(LAG))?;
        }
    }
    match &mut file {
        Some(file) => tape.end(file),
        None => Ok(()),
    }
}

/// Both channels on one time line, as far as they are not in the file yet.
struct Tape {
    ogg: OggOpusStereo,
    resampler: Resampler,
    /// Pairs of samples from `base` on.
    pairs: VecDeque<[f32; 2]>,
    base: u64,
    /// Where EVA's next slot begins.
    now: u64,
    person: Person,
}

/// Where the person's sound belongs.
#[derive(Default)]
struct Person {
    /// Samples so far, as the tape counts them.
    given: i64,
    /// Where the first of them would be, once there was one.
    origin: Option<i64>,
    /// What the pieces of the last second say of the origin, with what was given before each.
    said: VecDeque<(i64, i64)>,
}

impl Person {
    /// Takes when the next piece seems to begin; whether there is a gap before it.
    fn follow(&mut self, at: u64, paced: bool) -> bool {
        let seems = i64::try_from(at).unwrap_or(i64::MAX) - self.given;
        let gap = self.origin.is_some_and(|origin| seems > origin + GAP);
        if gap {
            self.said.clear();
        }
        while self.said.front().is_some_and(|(given, _)| given + i64::from(WIRE_RATE) < self.given)
        {
            self.said.pop_front();
        }
        self.said.push_back((self.given, seems));
        let soonest = self.said.iter().map(|(_, origin)| *origin).min().unwrap_or(seems);
        let off = |origin: i64| paced && (origin - soonest).abs() > SLACK;
        if gap || self.origin.is_none_or(off) {
            self.origin = Some(soonest);
        }
        gap
    }

    /// Where the next piece belongs.
    fn next(&self) -> Option<u64> {
        Some(u64::try_from(self.origin? + self.given).unwrap_or(0))
    }
}

impl Tape {
    fn new() -> Result<Self, OpusError> {
        Ok(Self {
            ogg: OggOpusStereo::new(rand::random(), BITRATE)?,
            resampler: Resampler::new(HEARING_RATE, WIRE_RATE).expect("usual rates"),
            pairs: VecDeque::new(),
            base: 0,
            now: 0,
            person: Person::default(),
        })
    }

    fn heard(&mut self, at: u64, pcm: &[f32], paced: bool) {
        let before = self.person.next();
        if self.person.follow(at, paced) {
            // What the filter holds back belongs before the gap.
            self.rest(before);
        }
        let mut sound = Vec::with_capacity(3 * pcm.len());
        self.resampler.push(pcm, &mut sound);
        if let Some(next) = self.person.next() {
            self.lay(0, next, &sound);
        }
        self.person.given += sound.len() as i64;
    }

    /// What the filter holds back of the person's sound.
    fn rest(&mut self, next: Option<u64>) {
        let mut rest = Vec::new();
        self.resampler.finish(&mut rest);
        if let Some(next) = next {
            self.lay(0, next, &rest);
        }
    }

    fn sent(&mut self, pcm: Option<&[f32]>) {
        if let Some(pcm) = pcm {
            self.lay(1, self.now, pcm);
        }
        self.passed(1);
    }

    fn passed(&mut self, slots: u64) {
        self.now += slots * SLOT_SAMPLES as u64;
    }

    /// Puts sound at its place on a channel; what is in the file already cannot be changed.
    fn lay(&mut self, channel: usize, at: u64, pcm: &[f32]) {
        let late = (self.base.saturating_sub(at) as usize).min(pcm.len());
        let most = (self.now + AHEAD).saturating_sub(at + late as u64) as usize;
        let pcm = &pcm[late..];
        let taken = &pcm[..pcm.len().min(most)];
        if late > 0 || taken.len() < pcm.len() {
            Metrics::recording_gap(if late > 0 { "late" } else { "early" });
        }
        if taken.is_empty() {
            return;
        }
        let from = (at + late as u64 - self.base) as usize;
        if self.pairs.len() < from + taken.len() {
            self.pairs.resize(from + taken.len(), [0.0; 2]);
        }
        for (pair, sample) in self.pairs.range_mut(from..).zip(taken) {
            pair[channel] = *sample;
        }
    }

    /// Writes what comes before `until`.
    fn save(&mut self, file: &mut File, until: u64) -> Result<(), RecordingError> {
        while self.base + SLOT_SAMPLES as u64 <= until {
            let mut slot = [0.0; 2 * SLOT_SAMPLES];
            let ready = self.pairs.len().min(SLOT_SAMPLES);
            for (to, pair) in slot.chunks_exact_mut(2).zip(self.pairs.drain(..ready)) {
                to.copy_from_slice(&pair);
            }
            self.base += SLOT_SAMPLES as u64;
            let bytes = self.ogg.push(&slot)?;
            if !bytes.is_empty() {
                file.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    fn end(mut self, file: &mut File) -> Result<(), RecordingError> {
        self.rest(self.person.next());
        // Sound of a client's that lies ahead of the call's end was never listened to.
        self.save(file, self.now)?;
        file.write_all(&self.ogg.finish()?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both channels of a file, 48 kHz.
    fn played(bytes: Vec<u8>) -> [Vec<f32>; 2] {
        let mut reader = ogg::PacketReader::new(io::Cursor::new(bytes));
        let head = reader.read_packet_expected().unwrap().data;
        assert_eq!(head[9], 2, "two channels");
        let skip = usize::from(u16::from_le_bytes([head[10], head[11]]));
        reader.read_packet_expected().unwrap();
        let mut decoder = ::opus::Decoder::new(WIRE_RATE, ::opus::Channels::Stereo).unwrap();
        let (mut pairs, mut pcm) = (Vec::new(), [0.0; 2 * 5760]);
        while let Ok(Some(packet)) = reader.read_packet() {
            let n = decoder.decode_float(&packet.data, &mut pcm, false).unwrap();
            pairs.extend_from_slice(&pcm[..2 * n]);
        }
        let channel =
            |which: usize| pairs[2 * skip..].iter().skip(which).step_by(2).copied().collect();
        [channel(0), channel(1)]
    }

    /// Where the sound of a channel begins and ends, milliseconds.
    fn sounding(pcm: &[f32]) -> (usize, usize) {
        let loud = |sample: &f32| sample.abs() > 0.05;
        let first = pcm.iter().position(loud).expect("sound");
        (first / 48, pcm.iter().rposition(loud).expect("sound") / 48)
    }

    fn tone(rate: usize, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|i| (i as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin() * 0.5)
            .collect()
    }

    /// Three seconds: the person sounds from 500 to 1000 ms, EVA from 1500 to 2000 ms.
    fn recorded(path: PathBuf) -> Recording {
        let mut recording = Recording::start(path);
        let (person, eva) = (tone(16_000, 8_000), tone(48_000, 24_000));
        for slot in 0..150_usize {
            // The person's sound comes 60 ms late, as from a jitter buffer.
            if (28..53).contains(&slot) {
                let from = (slot - 28) * 320;
                let at = (slot as u64 - 3) * 960;
                let pcm = person[from..from + 320].to_vec();
                recording.hand(Piece::Heard { at, pcm, paced: true }, 0);
            }
            match slot {
                75..100 => recording.sent(&eva[(slot - 75) * 960..(slot - 74) * 960]),
                110 => recording.passed(1),
                _ => recording.sent(&[0.0; 960]),
            }
        }
        recording
    }

    #[tokio::test]
    async fn both_sides_are_where_they_were_in_time_and_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.ogg");
        recorded(path.clone()).finish().await;
        let [person, eva] = played(std::fs::read(&path).unwrap());
        // It begins 300 ms before the first sound.
        assert!((2800..2830).contains(&(eva.len() / 48)), "{} ms", eva.len() / 48);
        for (channel, begins) in [(&person, 300_usize), (&eva, 1300)] {
            let (from, to) = sounding(channel);
            assert!(from.abs_diff(begins) <= 10 && to.abs_diff(begins + 500) <= 10, "{from}-{to}");
        }
    }

    #[test]
    fn a_late_first_packet_moves_nothing_and_a_gap_is_one() {
        let mut person = Person::default();
        // The first pieces come 280 and 100 ms late, the others 20 ms after each other.
        for (piece, late_ms) in [280, 100, 0, 5, 0, 3, 0].into_iter().enumerate() {
            let at = 48_000 + piece as u64 * 960 + late_ms * 48;
            assert!(!person.follow(at, true));
            person.given += 960;
        }
        assert_eq!(person.next(), Some(48_000 + 7 * 960));
        assert!(person.follow(96_000, true), "a pause of more than 300 ms");
        assert_eq!(person.next(), Some(96_000));
        // A client that sends faster than it speaks is continuous.
        let mut person = Person::default();
        for piece in 0..50 {
            assert!(!person.follow(48_000, false));
            assert_eq!(person.next(), Some(48_000 + piece * 960));
            person.given += 960;
        }
    }

    #[tokio::test]
    async fn a_call_without_a_sound_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.ogg");
        let mut recording = Recording::start(path.clone());
        (0..100).for_each(|_| recording.sent(&[0.0; 960]));
        recording.finish().await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_recording_that_was_never_finished_plays_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.ogg");
        let recording = recorded(path.clone());
        let patience = std::time::Instant::now() + Duration::from_secs(5);
        while std::fs::metadata(&path).map_or(0, |file| file.len()) < 2_000 {
            assert!(std::time::Instant::now() < patience, "nothing is written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let bytes = std::fs::read(&path).unwrap();
        let [person, _] = played(bytes.clone());
        let (from, _) = sounding(&person);
        assert!(from.abs_diff(300) <= 10, "{from}");
        let whole = crate::audio::ogg::length48(&bytes, &bytes).expect("an Ogg file");
        assert!((48_000..3 * 48_000).contains(&whole), "{whole}");
        drop(recording);
    }
}

//! Clips: a voice in; its fillers and backchannels out, ready to play.
//!
//! [`Clips`] is a handle that is there at once and fills up while [`Clips::prepare`] runs: short
//! texts ([`texts`]) are spoken when nothing more urgent waits, trimmed and brought to the voice's
//! own loudness ([`polish`]), and kept on the disk ([`cache`]), so that the next start makes none.
//! When to play one is not decided here.

mod cache;
pub mod polish;
mod texts;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Speech, Voice};
use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::private::Private;

/// Where clips come out shorter than this, the voice has no sound for the text.
const SHORTEST_S: f32 = 0.05;

/// What a clip is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// While a reply or a tool is late: "Let me see…".
    Filler,
    /// While the person speaks: "Right."
    Backchannel,
}

/// Tells clips of one voice apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClipId(pub u32);

/// One clip. Clones share the samples.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Its number among the voice's clips.
    pub id: ClipId,
    /// What it is for.
    pub kind: Kind,
    /// What it says.
    pub text: &'static str,
    /// Mono samples, -1..1, with a few ms of faded silence at both ends.
    pub pcm: Arc<[f32]>,
    /// Hz.
    pub sample_rate: u32,
}

/// What [`Clips::prepare`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Clips that were spoken.
    pub made: usize,
    /// Clips that lay on the disk.
    pub cached: usize,
}

/// The clips of one voice. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Clips {
    clips: Arc<Mutex<Vec<Clip>>>,
}

impl Clips {
    /// No clips yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the clips of a language with a voice, or reads them from `dir`. `fingerprint` differs
    /// for whatever sounds different ([`super::VitsVoice::fingerprint`]).
    ///
    /// Blocks for as long as it takes, in the voice's idle time: not for async threads. Ends early
    /// when nobody else holds these clips any more. Clips that fail are left out.
    pub fn prepare(
        &self,
        voice: &dyn Voice,
        fingerprint: &str,
        language: &str,
        dir: &Path,
    ) -> Prepared {
        let mut prepared = Prepared::default();
        let rate = voice.sample_rate();
        let mut target = None;
        for (id, (kind, text)) in (0u32..).zip(texts::all(language)) {
            if Arc::strong_count(&self.clips) == 1 {
                return prepared;
            }
            let place = cache::Place::of(dir, fingerprint, language, text);
            let pcm = match place.read(rate) {
                Some(pcm) => {
                    prepared.cached += 1;
                    pcm
                }
                None => {
                    let target = *target.get_or_insert_with(|| reference(voice, language));
                    let Some(pcm) = target.and_then(|target| make(voice, text, target)) else {
                        tracing::warn!(text, "a clip could not be made");
                        continue;
                    };
                    if let Err(error) = place.write(rate, &pcm) {
                        tracing::debug!(%error, "a clip was not kept");
                    }
                    prepared.made += 1;
                    cache::rounded(&pcm)
                }
            };
            let pcm = pcm.into();
            self.lock().push(Clip { id: ClipId(id), kind, text, pcm, sample_rate: rate });
        }
        if prepared.made > 0 {
            cache::prune(dir);
        }
        prepared
    }

    /// Brings every clip to `rate` Hz with `convert` (samples and their rate in), so that playing one
    /// costs nothing; clips it refuses stay as they are.
    pub fn at_rate(&self, rate: u32, convert: impl Fn(&[f32], u32) -> Option<Vec<f32>>) {
        for mut clip in self.all() {
            let Some(pcm) = convert(&clip.pcm, clip.sample_rate) else { continue };
            (clip.pcm, clip.sample_rate) = (pcm.into(), rate);
            let mut clips = self.lock();
            if let Some(place) = clips.iter_mut().find(|other| other.id == clip.id) {
                *place = clip;
            }
        }
    }

    /// A filler, any but `avoid` (the one said last); `None` while there is none.
    pub fn filler(&self, avoid: Option<ClipId>) -> Option<Clip> {
        self.pick(Kind::Filler, avoid)
    }

    /// A backchannel, any but `avoid`.
    pub fn backchannel(&self, avoid: Option<ClipId>) -> Option<Clip> {
        self.pick(Kind::Backchannel, avoid)
    }

    /// All clips that are ready.
    pub fn all(&self) -> Vec<Clip> {
        self.lock().clone()
    }

    fn pick(&self, kind: Kind, avoid: Option<ClipId>) -> Option<Clip> {
        let clips = self.lock();
        let fitting: Vec<&Clip> =
            clips.iter().filter(|clip| clip.kind == kind && Some(clip.id) != avoid).collect();
        if fitting.is_empty() {
            return None;
        }
        Some(fitting[rand::random_range(0..fitting.len())].clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Clip>> {
        // A clip is pushed whole or not at all.
        self.clips.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The loudness of the voice's speech, dBFS.
fn reference(voice: &dyn Voice, language: &str) -> Option<f32> {
    let sound = say(voice, texts::reference(language))?;
    polish::loudness(&sound, voice.sample_rate())
}

fn make(voice: &dyn Voice, text: &str, target_dbfs: f32) -> Option<Vec<f32>> {
    let rate = voice.sample_rate();
    let sound = say(voice, text)?;
    let mut clip = polish::trim(&sound, rate).to_vec();
    polish::finish(&mut clip, rate, target_dbfs);
    (clip.len() as f32 >= SHORTEST_S * rate as f32).then_some(clip)
}

/// The sound of a text, spoken when nothing more urgent waits.
fn say(voice: &dyn Voice, text: &str) -> Option<Vec<f32>> {
    let text = Private::new(text.to_owned());
    let speech = Speech { reply: ReplyId(0), text, urgency: Urgency::Background };
    let mut chunks = voice.speak(speech);
    let mut sound = Vec::new();
    while let Some(chunk) = chunks.blocking_recv() {
        let chunk = chunk.ok()?;
        sound.extend(chunk.pcm);
        if chunk.last {
            return Some(sound);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;
    use crate::speaking::{SpeakError, SpokenChunk};

    /// Beeps: each text between two stretches of silence, louder or softer by its length.
    #[derive(Default)]
    struct Beeper {
        spoken: AtomicUsize,
    }

    impl Voice for Beeper {
        fn speak(&self, speech: Speech) -> mpsc::Receiver<Result<SpokenChunk, SpeakError>> {
            self.spoken.fetch_add(1, Ordering::SeqCst);
            assert_eq!(speech.urgency, Urgency::Background);
            let amplitude = 0.1 + 0.002 * speech.text.reveal().len() as f32;
            let mut pcm = vec![0.0; 3_000];
            pcm.extend((0..8_000).map(|i| amplitude * (i as f32 * 0.2).sin()));
            pcm.extend(vec![0.0; 5_000]);
            let (sender, receiver) = mpsc::channel(1);
            let chunk = SpokenChunk { pcm, words: Vec::new(), phonemes: Vec::new(), last: true };
            sender.try_send(Ok(chunk)).expect("there is room for one");
            receiver
        }

        fn sample_rate(&self) -> u32 {
            16_000
        }

        fn name(&self) -> String {
            "beeper".to_owned()
        }
    }

    fn clips(beeper: &Beeper, language: &str, dir: &Path) -> (Clips, Prepared) {
        let clips = Clips::new();
        let prepared = clips.clone().prepare(beeper, "beeper", language, dir);
        (clips, prepared)
    }

    #[test]
    fn the_second_start_makes_nothing_and_a_damaged_file_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let beeper = Beeper::default();
        let (first, prepared) = clips(&beeper, "en", dir.path());
        assert_eq!(prepared, Prepared { made: 10, cached: 0 });
        let spoken = beeper.spoken.load(Ordering::SeqCst);
        assert_eq!(spoken, 11, "each clip, and the sentence that tells how loud the voice is");
        let (second, prepared) = clips(&beeper, "en", dir.path());
        assert_eq!(prepared, Prepared { made: 0, cached: 10 });
        assert_eq!(beeper.spoken.load(Ordering::SeqCst), spoken);
        for (made, read) in first.all().iter().zip(second.all()) {
            assert_eq!((made.id, made.kind, made.text, &made.pcm), {
                (read.id, read.kind, read.text, &read.pcm)
            });
        }
        let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::write(file, b"damaged").unwrap();
        let (_, prepared) = clips(&beeper, "en", dir.path());
        assert_eq!(prepared, Prepared { made: 1, cached: 9 });
        let (_, prepared) = clips(&beeper, "fr", dir.path());
        assert_eq!(prepared.made, 10, "another language shares nothing");
    }

    #[test]
    fn clips_are_trimmed_and_as_loud_as_the_voice_speaks() {
        let dir = tempfile::tempdir().unwrap();
        let beeper = Beeper::default();
        let (clips, _) = clips(&beeper, "en", dir.path());
        let wanted = reference(&beeper, "en").unwrap();
        for clip in clips.all() {
            let seconds = clip.pcm.len() as f32 / clip.sample_rate as f32;
            assert!((0.5..0.53).contains(&seconds), "{seconds} s: {}", clip.text);
            let found = polish::loudness(&clip.pcm, clip.sample_rate).unwrap();
            assert!(
                (found - wanted).abs() < 0.7,
                "{found} instead of {wanted} dBFS: {}",
                clip.text
            );
        }
    }

    #[test]
    fn the_one_said_last_is_avoided_and_kinds_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let (clips, _) = clips(&Beeper::default(), "fr", dir.path());
        let mut last = None;
        for _ in 0..50 {
            let clip = clips.filler(last).unwrap();
            assert!(Some(clip.id) != last && clip.kind == Kind::Filler);
            last = Some(clip.id);
            assert_eq!(clips.backchannel(last).unwrap().kind, Kind::Backchannel);
        }
        assert!(Clips::new().filler(None).is_none());
    }

    #[test]
    fn clips_come_to_another_rate_and_keep_what_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let (clips, _) = clips(&Beeper::default(), "en", dir.path());
        let length = clips.all()[0].pcm.len();
        clips.at_rate(48_000, |pcm, rate| (rate == 16_000).then(|| pcm.repeat(3)));
        assert!(clips.all().iter().all(|clip| clip.sample_rate == 48_000));
        assert_eq!(clips.all()[0].pcm.len(), 3 * length);
        clips.at_rate(8_000, |_, _| None);
        assert!(clips.all().iter().all(|clip| clip.sample_rate == 48_000));
    }

    #[test]
    fn nobody_waiting_ends_the_work() {
        let dir = tempfile::tempdir().unwrap();
        let beeper = Beeper::default();
        let prepared = Clips::new().prepare(&beeper, "beeper", "en", dir.path());
        assert_eq!(prepared, Prepared::default());
        assert_eq!(beeper.spoken.load(Ordering::SeqCst), 0);
    }
}

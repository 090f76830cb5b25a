//! The listening side of one call.
//!
//! In: RTP packets. Out: [`Heard`]: speech marks, words, votes. Joins `audio/` (packets to frames) and
//! `listening/` (frames to marks and words); decides nothing.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use super::turn_sound::TurnSound;
use super::{Clock, Engines};
use crate::audio::HEARING_RATE;
use crate::audio::echo::EchoGuard;
use crate::audio::jitter::{JitterConfig, JitterStats};
use crate::audio::level::rms_dbfs;
use crate::audio::pcm_in::PcmIn;
use crate::audio::sound_in::{Frame, RtpFields, SoundIn};
use crate::listening::partials::Partials;
use crate::listening::silero::{VadStream, VadWindow};
use crate::listening::smart_turn::EndOfTurn;
use crate::listening::speech_marks::{MarksConfig, SpeechMark, SpeechMarks};
use crate::listening::{LISTENING_RATE, Language, ListenError, Pass, PassHandle, Transcript};
use crate::private::Private;
use crate::rtc::RtpIn;
use crate::turn::{At, Hypothesis, PassId};

// What `audio` gives is what `listening` takes.
const _: () = assert!(HEARING_RATE == LISTENING_RATE);

/// A first partial this long after the onset: there is a word to hear.
const FIRST_PARTIAL: Duration = Duration::from_millis(300);
/// Partials follow each other no faster than this ...
const PARTIAL_EVERY: Duration = Duration::from_millis(400);
/// ... and than this while the person speaks over EVA, who wants to know why.
const PARTIAL_OVER_EVA: Duration = Duration::from_millis(200);
/// A partial that gave way is asked for again after this.
const MAKE_UP: Duration = Duration::from_millis(40);
/// How far back arrival times are remembered: longer than any pause that ends a turn.
const ARRIVALS: usize = 250;

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// A mark on the person's voice.
    Mark(SpeechMark),
    /// Words so far: what two hypotheses agree on, and all of the newest one.
    Partial {
        /// Agreed words.
        stable: Private<String>,
        /// The whole hypothesis.
        whole: Hypothesis,
    },
    /// The words of a final pass and the language spoken; `None` if it failed.
    Final(PassId, Option<(Hypothesis, Language)>),
    /// The vote on a pass; `None` if the model failed.
    Vote(PassId, Option<f32>),
}

/// The listening side of one call.
pub(super) struct Ears {
    input: Source,
    voice: VoiceActivity,
    pub(super) sound: TurnSound,
    language: Language,
    partial: PartialPasses,
    finals: Option<(PassId, At, PassHandle)>,
    vote: Option<(PassId, Vote)>,
    engines: Engines,
    bounds: Bounds,
    /// First sample and arrival of the latest frames.
    arrivals: VecDeque<(u64, At)>,
    echo: Echo,
}

/// Who says where turns begin and end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bounds {
    /// The person's voice.
    Voice,
    /// The client, when it has sent a turn.
    Client,
    /// A button: only what is heard while it is down counts.
    Button {
        /// It is.
        down: bool,
    },
}

/// When the person's voice is heard.
struct VoiceActivity {
    vad: VadStream,
    /// Where its stream began in the call's sound, in samples.
    from: u64,
    marks: SpeechMarks,
    config: MarksConfig,
}

/// Where the person's sound comes from.
enum Source {
    Rtp(Box<SoundIn>),
    Pcm(Box<PcmIn>),
}

/// The pass over sound that the client itself has committed.
pub(super) const COMMITTED: PassId = PassId(0);
/// Less sound than this is not worth a pass: 100 ms.
const LEAST_SOUND: usize = LISTENING_RATE as usize / 10;

/// After a button's release, sound this far below the person's voice, dB, or below this level, dBFS,
/// is none of it: even soft consonants are louder.
const TAIL_BELOW_DB: f32 = 25.0;
const TAIL_SILENT_DBFS: f32 = -60.0;
/// 20 ms.
const FRAME: usize = LISTENING_RATE as usize / 50;

/// EVA's own sound in the person's microphone.
struct Echo {
    guard: EchoGuard,
    /// What is left of the newest frame is likelier hers than the person's.
    left_over: bool,
    held: Option<HeldStart>,
}

/// A voice that began while what was heard was likelier EVA's: it waits for the proof of a person.
#[derive(Clone, Copy)]
struct HeldStart {
    mark: SpeechMark,
    /// It is silent at the moment.
    silent: bool,
}

/// A vote under way. Dropping it withdraws it.
type Vote = oneshot::Receiver<Result<EndOfTurn, ListenError>>;

/// Partial passes of the open turn.
#[derive(Default)]
struct PartialPasses {
    /// When the next one is due; `None` while nobody speaks.
    due: Option<At>,
    every: Duration,
    running: Option<(At, PassHandle)>,
    words: Partials,
}

impl Source {
    fn poll_frame(&mut self, now: At) -> Option<Frame> {
        match self {
            Self::Rtp(input) => input.poll_frame(now),
            Self::Pcm(input) => input.poll_frame(now),
        }
    }

    fn poll_timeout(&self) -> Option<At> {
        match self {
            Self::Rtp(input) => input.poll_timeout(),
            Self::Pcm(input) => input.poll_timeout(),
        }
    }
}

impl Ears {
    pub(super) fn new(engines: &Engines, language: Language) -> Self {
        Self {
            input: Source::Rtp(Box::new(
                SoundIn::new(JitterConfig::default()).expect("libopus decodes 16 kHz mono"),
            )),
            bounds: Bounds::Voice,
            voice: VoiceActivity {
                vad: engines.vad.stream(),
                from: 0,
                marks: SpeechMarks::new(MarksConfig::default()),
                config: MarksConfig::default(),
            },
            sound: TurnSound::default(),
            language,
            partial: PartialPasses::default(),
            finals: None,
            vote: None,
            engines: engines.clone(),
            arrivals: VecDeque::with_capacity(ARRIVALS),
            echo: Echo { guard: EchoGuard::new(), left_over: false, held: None },
        }
    }

    /// Takes a packet that arrived at `at`.
    pub(super) fn packet(&mut self, at: At, packet: RtpIn) {
        let RtpIn { sequence, timestamp, payload, .. } = packet;
        // One leg carries one source.
        if let Source::Rtp(input) = &mut self.input {
            input.push(at, RtpFields { ssrc: 0, sequence, timestamp, payload });
        }
        self.take_frames(at);
    }

    /// Takes samples that came at this rate; sound does not come as RTP any more.
    pub(super) fn samples(&mut self, at: At, rate: u32, pcm: &[f32]) {
        if !matches!(&self.input, Source::Pcm(input) if input.rate() == rate) {
            let input = PcmIn::new(rate).expect("the formats' rates are usual");
            self.input = Source::Pcm(Box::new(input));
        }
        if let Source::Pcm(input) = &mut self.input {
            input.push(at, pcm);
        }
        self.take_frames(at);
    }

    /// Follows a client's wishes: who ends turns, in which language, and what counts as a voice.
    pub(super) fn configure(&mut self, by_hand: bool, language: Language, activation: Option<f32>) {
        self.language = language;
        if let Some(activation) = activation {
            let before = MarksConfig::default();
            let deactivation = (activation - 0.15).max(0.05);
            self.voice.config = MarksConfig { activation, deactivation, ..before };
            self.voice.marks = SpeechMarks::new(self.voice.config);
        }
        self.bound_by(if by_hand { Bounds::Client } else { Bounds::Voice });
    }

    /// The person speaks this language from now on.
    pub(super) fn set_language(&mut self, language: Language) {
        self.language = language;
    }

    /// Turns begin and end with a button from now on, or with the voice again.
    pub(super) fn follow_button(&mut self, on: bool) {
        self.bound_by(if on { Bounds::Button { down: false } } else { Bounds::Voice });
    }

    fn bound_by(&mut self, bounds: Bounds) {
        if self.bounds == bounds {
            return;
        }
        self.bounds = bounds;
        // What was heard before is forgotten, and the voice is listened for anew.
        self.voice.vad = self.engines.vad.stream();
        self.voice.marks = SpeechMarks::new(self.voice.config);
        self.echo.held = None;
        self.voice.from = self.sound.end();
        self.clear();
    }

    /// The button is down: the open turn's sound begins or goes on, partials too.
    pub(super) fn press(&mut self, now: At) {
        self.bounds = Bounds::Button { down: true };
        self.sound.go_on();
        self.partial.due = Some(now + FIRST_PARTIAL);
        self.partial.every = PARTIAL_EVERY;
    }

    /// The button goes up; sound that is on its way still counts.
    pub(super) fn release(&mut self) {
        self.sound.mark();
    }

    /// Whether somebody is heard in what came after [`Self::release`].
    pub(super) fn spoke_on(&self) -> bool {
        let audible = (self.sound.level_dbfs() - TAIL_BELOW_DB).max(TAIL_SILENT_DBFS);
        self.sound.since_mark().chunks(FRAME).any(|frame| rms_dbfs(frame) > audible)
    }

    /// The button is up for good; how much sound the open turn has.
    pub(super) fn lift(&mut self) -> Duration {
        self.bounds = Bounds::Button { down: false };
        self.partial.due = None;
        let samples = self.sound.of_turn().len() as u64;
        Duration::from_millis(samples * 1000 / u64::from(LISTENING_RATE))
    }

    /// Forgets the sound so far.
    pub(super) fn clear(&mut self) {
        self.sound.discard();
        self.turn_over();
        if self.bounds == Bounds::Client {
            self.sound.open_at(self.sound.end());
        }
    }

    /// The client says that the turn is over: starts the pass [`COMMITTED`] over its sound; false if
    /// there is too little.
    pub(super) fn commit(&mut self, now: At) -> bool {
        let sound = self.sound.of_turn().to_vec();
        if sound.len() < LEAST_SOUND {
            return false;
        }
        let words = self.engines.transcriber.transcribe(sound, self.language, Pass::Final);
        self.finals = Some((COMMITTED, now, words));
        self.sound.commit();
        self.sound.open_at(self.sound.end());
        true
    }

    /// Moves what is due from the jitter buffer on, and starts a partial when it is time.
    pub(super) fn wake(&mut self, now: At) {
        self.take_frames(now);
        if self.partial.due.is_some_and(|due| due <= now) && self.partial.running.is_none() {
            self.partial.due = Some(now + self.partial.every);
            let sound = self.sound.of_turn().to_vec();
            let pass = self.engines.transcriber.transcribe(sound, self.language, Pass::Partial);
            self.partial.running = Some((now, pass));
        }
    }

    /// When to call [`Self::wake`].
    pub(super) fn poll_timeout(&self) -> Option<At> {
        let partial = self.partial.due.filter(|_| self.partial.running.is_none());
        [self.input.poll_timeout(), partial].into_iter().flatten().min()
    }

    /// Takes what EVA's next 20 ms sound like (48 kHz): it may come back as an echo.
    pub(super) fn sent(&mut self, now: At, pcm: &[f32]) {
        self.echo.guard.sent(now, pcm);
    }

    fn take_frames(&mut self, now: At) {
        while let Some(mut frame) = self.input.poll_frame(now) {
            self.echo.left_over = self.echo.guard.hear(&mut frame.samples).residual_is_echo;
            if self.bounds == (Bounds::Button { down: false }) {
                continue;
            }
            if self.arrivals.len() == ARRIVALS {
                self.arrivals.pop_front();
            }
            self.arrivals.push_back((self.sound.end(), frame.arrived));
            self.sound.push(&frame.samples);
            if self.bounds == Bounds::Voice {
                self.voice.vad.push(&frame.samples);
            }
        }
    }

    /// How the caller's packets come; `None` where sound does not come in packets.
    pub(super) fn line(&self) -> Option<JitterStats> {
        match &self.input {
            Source::Rtp(input) => Some(input.stats().jitter),
            Source::Pcm(_) => None,
        }
    }

    /// When the frame that holds a sample arrived.
    pub(super) fn arrival(&self, sample: u64) -> At {
        let frame = self.arrivals.iter().rev().find(|(start, _)| *start <= sample);
        frame.or(self.arrivals.front()).map_or(At::ZERO, |(_, at)| *at)
    }

    /// The person's voice started at this sample: the open turn's sound begins, partials too.
    /// Returns when the voice began.
    pub(super) fn voice_started(&mut self, now: At, onset: u64, over_eva: bool) -> At {
        self.sound.open(onset);
        let began = self.arrival(onset).min(now);
        self.partial.due = Some(now.max(began + FIRST_PARTIAL));
        self.partial.every = if over_eva { PARTIAL_OVER_EVA } else { PARTIAL_EVERY };
        began
    }

    /// The person's voice goes on. The silence has ended the partial that was under way.
    pub(super) fn voice_resumed(&mut self, now: At) {
        self.partial.due.get_or_insert(now);
    }

    /// Starts the final pass over the open turn's sound, and the vote on it; none where a button has
    /// ended the turn.
    pub(super) fn start_pass(&mut self, now: At, pass: PassId) {
        self.partial.due = None;
        self.partial.running = None;
        let sound = self.sound.of_turn().to_vec();
        let words = self.engines.transcriber.transcribe(sound, self.language, Pass::Final);
        self.finals = Some((pass, now, words));
        if matches!(self.bounds, Bounds::Button { .. }) {
            return;
        }
        self.vote = match self.engines.end_of_turn.judge(self.sound.for_vote().to_vec()) {
            Ok(vote) => Some((pass, vote)),
            Err(error) => {
                tracing::warn!(%error, "the turn is judged without a vote");
                None
            }
        };
    }

    /// Withdraws a pass and its vote.
    pub(super) fn drop_pass(&mut self, pass: PassId) {
        self.finals.take_if(|(running, ..)| *running == pass);
        self.vote.take_if(|(running, _)| *running == pass);
    }

    /// The open turn is over, one way or the other.
    pub(super) fn turn_over(&mut self) {
        self.partial = PartialPasses::default();
    }

    /// Waits for the next thing heard. Cancel-safe.
    pub(super) async fn next(&mut self, clock: Clock) -> Heard {
        loop {
            if let Some(mark) = self.next_mark() {
                return Heard::Mark(mark);
            }
            tokio::select! {
                biased;
                window = self.voice.vad.next() => {
                    let end_sample = window.end_sample + self.voice.from;
                    self.voice.marks.handle(VadWindow { end_sample, ..window });
                }
                result = of_pass(&mut self.finals) => {
                    let (pass, started, heard) = result;
                    let level = self.sound.level_dbfs();
                    let words = heard.map(|heard| {
                        (hypothesis(&heard, started, level), heard.language)
                    });
                    return Heard::Final(pass, words);
                }
                result = of_vote(&mut self.vote) => {
                    let (pass, vote) = result;
                    return Heard::Vote(pass, vote);
                }
                (started, words) = of_partial(&mut self.partial.running) => {
                    if let Some(heard) = self.partial_words(clock.now(), started, words) {
                        return heard;
                    }
                }
            }
        }
    }

    /// The next mark on the person's voice; those on EVA's own echo are left out.
    fn next_mark(&mut self) -> Option<SpeechMark> {
        let Echo { left_over, held, .. } = &mut self.echo;
        loop {
            if let Some(start) = held.take_if(|start| !start.silent && !*left_over) {
                return Some(start.mark);
            }
            let mark = self.voice.marks.poll_mark()?;
            match (mark, &mut *held) {
                (SpeechMark::Started { .. }, None) if *left_over => {
                    *held = Some(HeldStart { mark, silent: false });
                }
                (SpeechMark::FirstSilence { .. }, Some(start)) => start.silent = true,
                (SpeechMark::Resumed { .. }, Some(start)) => start.silent = false,
                (SpeechMark::Paused { .. }, Some(_)) => *held = None,
                _ => return Some(mark),
            }
        }
    }

    /// Takes a partial's words and plans the next: a recogniser that is slow is asked less often.
    fn partial_words(&mut self, now: At, started: At, words: Option<Transcript>) -> Option<Heard> {
        let took = now.saturating_sub(started);
        if self.partial.due.is_some() {
            // One that gave way to a final pass is made up for soon.
            let next = started + self.partial.every.max(took * 2);
            self.partial.due = Some(if words.is_some() { next } else { now + MAKE_UP });
        }
        let heard = words?;
        self.partial.words.hear(&heard.text);
        let level_dbfs = self.sound.level_dbfs();
        let words = self.partial.words.text();
        let whole = Hypothesis { words, ..hypothesis(&heard, started, level_dbfs) };
        Some(Heard::Partial { stable: self.partial.words.stable(), whole })
    }
}

/// What the turn machine is told of a transcript.
fn hypothesis(heard: &Transcript, as_of: At, level_dbfs: f32) -> Hypothesis {
    Hypothesis {
        words: heard.text.clone(),
        confidence: heard.confidence,
        no_speech: heard.no_speech,
        level_dbfs,
        as_of,
    }
}

async fn of_pass(slot: &mut Option<(PassId, At, PassHandle)>) -> (PassId, At, Option<Transcript>) {
    let Some((pass, started, handle)) = slot else { return std::future::pending().await };
    let result = (&mut handle.result).await;
    let (pass, started) = (*pass, *started);
    *slot = None;
    (pass, started, told(result))
}

async fn of_partial(slot: &mut Option<(At, PassHandle)>) -> (At, Option<Transcript>) {
    let Some((started, handle)) = slot else { return std::future::pending().await };
    let result = (&mut handle.result).await;
    let started = *started;
    *slot = None;
    (started, told(result))
}

async fn of_vote(slot: &mut Option<(PassId, Vote)>) -> (PassId, Option<f32>) {
    let Some((pass, vote)) = slot else { return std::future::pending().await };
    let result = vote.await;
    let pass = *pass;
    *slot = None;
    (pass, result.ok().and_then(Result::ok).map(|vote| vote.probability))
}

/// The transcript, or a log line that says why there is none.
fn told(
    result: Result<Result<Transcript, ListenError>, oneshot::error::RecvError>,
) -> Option<Transcript> {
    match result {
        Ok(Ok(words)) => Some(words),
        Ok(Err(ListenError::Withdrawn)) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "no words from this pass");
            None
        }
        Err(_) => {
            tracing::error!("the recogniser broke in this pass");
            None
        }
    }
}

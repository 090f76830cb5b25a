//! Whisper through whisper.cpp: the [`Transcriber`] that ships.
//!
//! In: sound and a [`Pass`]. Out: a [`Transcript`]. Owns the recognisers' threads: for each model
//! some for final passes and one for partial ones, which gives way to finals and has the lower
//! priority. Nothing here logs what was said.

mod decoding;
mod session;
mod text;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use self::session::{Session, Weights};
use super::{Language, ListenError, Pass, PassHandle, StartError, Transcriber, Transcript};
use crate::inference::{Engine, Urgency};
use crate::private::Private;

/// Passes that may wait for one thread. A final takes about 0.1 s: beyond this, callers would
/// rather hear an apology.
const FINALS_WAITING: usize = 32;
/// Partial passes that may wait: old ones are worth nothing.
const PARTIALS_WAITING: usize = 16;
/// Passes over recordings that may wait: each recording has one at a time.
const RECORDINGS_WAITING: usize = 8;
/// The lowest priority there is.
const RECORDINGS_NICE: i32 = 19;
/// One thread for final passes per this many cores.
const CORES_PER_FINAL: usize = 4;

/// Where the recognisers' ggml files lie.
#[derive(Clone, Debug, Default)]
pub struct WhisperPaths {
    /// An English-only model, fast.
    pub en: Option<PathBuf>,
    /// A multilingual model, for French and for finding out; English too where `en` is absent.
    pub multilingual: Option<PathBuf>,
}

/// The recognisers, shared by all calls.
pub struct WhisperEngines {
    en: Option<Recogniser>,
    multilingual: Option<Recogniser>,
}

impl WhisperEngines {
    /// Loads the models that `paths` names and starts their threads.
    pub fn start(paths: WhisperPaths) -> Result<Self, StartError> {
        if paths.en.is_none() && paths.multilingual.is_none() {
            return Err(StartError::NoModel);
        }
        let load = |path: Option<PathBuf>| path.map(|p| Recogniser::start(&p)).transpose();
        Ok(Self { en: load(paths.en)?, multilingual: load(paths.multilingual)? })
    }

    /// Runs every session once over a second of faint noise, so that the first caller does not
    /// wait for memory to be mapped. Blocks for some 0.1 s; not for async threads.
    pub fn warm_up(&self) -> Result<(), ListenError> {
        let noise: Vec<f32> = (0..16_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0)
            .map(|s| s * 0.01)
            .collect();
        for recogniser in [&self.en, &self.multilingual].into_iter().flatten() {
            let finals = recogniser.finals.iter().map(|engine| (engine, Pass::Final));
            for (engine, pass) in finals.chain([(&recogniser.partials, Pass::Partial)]) {
                let (done, outcome) = std::sync::mpsc::sync_channel(1);
                let noise = noise.clone();
                engine.submit(Urgency::Background, move |session| {
                    let _ = done.send(session.pass(&noise, Language::En, pass, &|| false));
                })?;
                match outcome.recv() {
                    Ok(Ok(_) | Err(ListenError::Withdrawn)) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(ListenError::Model("it broke while warming up".into())),
                }
            }
        }
        Ok(())
    }

    fn recogniser(&self, language: Language) -> Option<&Recogniser> {
        match language {
            Language::En => self.en.as_ref().or(self.multilingual.as_ref()),
            Language::Fr | Language::Auto => self.multilingual.as_ref(),
        }
    }
}

impl Transcriber for WhisperEngines {
    fn transcribe(&self, sound: Vec<f32>, language: Language, pass: Pass) -> PassHandle {
        match self.recogniser(language) {
            Some(recogniser) => recogniser.transcribe(sound, language, pass),
            None => refused(ListenError::Model(
                "no multilingual model is loaded, and this call is not in English; \
                 run `eva models pull` and name one"
                    .into(),
            )),
        }
    }
}

/// A pass that ends before it begins.
fn refused(error: ListenError) -> PassHandle {
    let (reply, result) = oneshot::channel();
    let _ = reply.send(Err(error));
    PassHandle::new(result, Arc::default())
}

/// One model's threads.
struct Recogniser {
    weights: Arc<Weights>,
    finals: Vec<Engine<Session>>,
    partials: Engine<Session>,
    /// Started with the first recording: most gateways never hear one.
    recordings: Mutex<Option<Engine<Session>>>,
    /// Final passes that wait or run.
    finals_due: Arc<AtomicUsize>,
}

impl Recogniser {
    fn start(path: &Path) -> Result<Self, StartError> {
        let weights = Arc::new(Weights::load(path)?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let session = |name, capacity, nice| {
            start_session(&weights, name, capacity, nice)
                .map_err(|error| StartError::about("Whisper", path, error))
        };
        let finals = (0..cores.div_ceil(CORES_PER_FINAL))
            .map(|_| session("whisper", FINALS_WAITING, 3))
            .collect::<Result<_, _>>()?;
        let partials = session("partials", PARTIALS_WAITING, 7)?;
        let recordings = Mutex::default();
        Ok(Self { weights, finals, partials, recordings, finals_due: Arc::default() })
    }

    /// The thread for recordings. The first call blocks until its buffers are there, some 50 ms.
    fn recordings(&self) -> Result<Engine<Session>, ListenError> {
        let mut started = self.recordings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*started {
            return Ok(engine.clone());
        }
        let engine =
            start_session(&self.weights, "recordings", RECORDINGS_WAITING, RECORDINGS_NICE)
                .map_err(|error| ListenError::Model(error.to_string()))?;
        Ok(started.insert(engine).clone())
    }

    fn transcribe(&self, sound: Vec<f32>, language: Language, pass: Pass) -> PassHandle {
        let (reply, result) = oneshot::channel();
        let withdrawn = Arc::new(AtomicBool::new(false));
        let stop = Stop {
            withdrawn: withdrawn.clone(),
            finals_due: self.finals_due.clone(),
            // A partial pass gives way once every thread for finals is taken.
            gives_way_at: (pass == Pass::Partial).then_some(self.finals.len()),
        };
        let (engine, urgency, due) = match pass {
            Pass::Final => {
                let engine = self.finals.iter().min_by_key(|engine| engine.waiting());
                let engine = engine.expect("a recogniser has a thread for finals");
                (engine.clone(), Urgency::Now, Some(Due::new(&self.finals_due)))
            }
            Pass::Partial => (self.partials.clone(), Urgency::Later, None),
            Pass::Recording => match self.recordings() {
                Ok(engine) => (engine, Urgency::Background, None),
                Err(error) => return refused(error),
            },
        };
        let submitted = engine.submit(urgency, move |session| {
            let begun = Instant::now();
            let outcome = session.pass(&sound, language, pass, &|| stop.now());
            drop(due);
            let engine_ms = begun.elapsed().as_secs_f32() * 1000.0;
            let _ = reply.send(outcome.map(|heard| Transcript {
                text: Private::new(heard.text),
                language: heard.language,
                engine_ms,
                confidence: heard.certainty.mean,
                no_speech: heard.certainty.no_speech,
            }));
        });
        match submitted {
            Ok(()) => PassHandle::new(result, withdrawn),
            Err(overloaded) => refused(overloaded.into()),
        }
    }
}

/// Starts a thread with the buffers of one pass at a time.
fn start_session(
    weights: &Arc<Weights>,
    name: &'static str,
    capacity: usize,
    nice: i32,
) -> Result<Engine<Session>, whisper_rs::WhisperError> {
    let weights = weights.clone();
    Engine::start(name, capacity, nice, move || Session::new(weights))
}

/// A final pass that waits or runs; counted until dropped.
struct Due(Arc<AtomicUsize>);

impl Due {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a running pass may have to stop.
struct Stop {
    withdrawn: Arc<AtomicBool>,
    finals_due: Arc<AtomicUsize>,
    gives_way_at: Option<usize>,
}

impl Stop {
    fn now(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
            || self.gives_way_at.is_some_and(|n| self.finals_due.load(Ordering::Acquire) >= n)
    }
}

#[cfg(test)]
mod tests;

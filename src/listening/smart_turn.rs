//! End of turn: Smart Turn on its own engine thread, shared by all calls.
//!
//! In: the turn's sound so far. Out: the probability that the person has finished. It hears tone
//! and rhythm, not words, and is one vote among several: `turn/` decides.
//!
//! Source: github.com/pipecat-ai/smart-turn, v3.2: Whisper's log-mel picture `[1, 80, 800]` of the
//! last 8 s, sound scaled to mean 0 and variance 1, silence before it where it is shorter.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use tokio::sync::oneshot;

use super::mel::{HOP, LogMel, MEL_BANDS};
use super::{ListenError, StartError};
use crate::inference::{Engine, Urgency};

const FRAMES: usize = 800;
/// The network looks at the last 8 s.
const SOUND: usize = FRAMES * HOP;
/// Judgements that may wait; each takes about 60 ms, and a late one is worth nothing.
const QUEUE: usize = 16;

/// A judgement on a turn.
#[derive(Clone, Copy, Debug)]
pub struct EndOfTurn {
    /// The probability that the person has finished, 0-1.
    pub probability: f32,
    /// Engine time in milliseconds, without waiting in the queue.
    pub engine_ms: f32,
}

struct SmartTurn {
    model: Model,
    options: RunOptions,
    mel: LogMel,
}

impl SmartTurn {
    fn load(path: &Path) -> Result<Self, StartError> {
        let broken = |reason: String| StartError::about("end of turn", path, reason);
        let model = Model::load_file(path).map_err(|error| broken(error.to_string()))?;
        let mut options = RunOptions::default();
        // A pool of one thread: the process-wide one would queue this behind slower engines.
        options.thread_pool = Some(Arc::new(ThreadPool::with_num_threads(1)));
        let mut smart_turn = Self { model, options, mel: LogMel::new() };
        smart_turn.judge(&[0.0; HOP]).map_err(broken)?;
        Ok(smart_turn)
    }

    fn judge(&mut self, sound: &[f32]) -> Result<f32, String> {
        let picture = self.mel.picture(&prepared(sound), FRAMES);
        let input = NdTensor::from_data([1, MEL_BANDS, FRAMES], picture);
        let outcome = self.model.run_one(input.into(), Some(self.options.clone()));
        let output = outcome.map_err(|error| error.to_string())?;
        let values = output.into_tensor::<f32>().map(|tensor| tensor.into_data());
        match values.as_deref() {
            Some(&[probability]) => Ok(probability),
            _ => Err("its output has another shape than Smart Turn v3's".into()),
        }
    }
}

/// The last 8 s of `sound`, with silence before it, scaled to mean 0 and variance 1.
fn prepared(sound: &[f32]) -> Vec<f32> {
    let sound = &sound[sound.len().saturating_sub(SOUND)..];
    let count = SOUND as f64;
    let mean = sound.iter().map(|&s| f64::from(s)).sum::<f64>() / count;
    // The silence before the sound counts, too.
    let silence = mean * mean * (SOUND - sound.len()) as f64;
    let squares = sound.iter().map(|&s| (f64::from(s) - mean).powi(2)).sum::<f64>() + silence;
    let scale = 1.0 / (squares / count + 1e-7).sqrt();
    let scaled = |s: f32| ((f64::from(s) - mean) * scale) as f32;
    let mut whole = vec![scaled(0.0); SOUND - sound.len()];
    whole.extend(sound.iter().map(|&s| scaled(s)));
    whole
}

/// The end-of-turn engine, shared by all calls. Clones share one thread.
#[derive(Clone)]
pub struct EndOfTurnEngine {
    engine: Engine<SmartTurn>,
}

impl EndOfTurnEngine {
    /// Loads the network from `path` and tries it once, which also warms it up.
    pub fn start(path: &Path) -> Result<Self, StartError> {
        let path = path.to_owned();
        let engine = Engine::start("end-of-turn", QUEUE, 2, move || SmartTurn::load(&path))?;
        Ok(Self { engine })
    }

    /// Judges whether the person who said `sound` (16 kHz mono, the turn so far; the last 8 s
    /// count) has finished. Dropping the receiver withdraws a judgement that has not begun; it is
    /// closed without a value if the engine broke.
    pub fn judge(
        &self,
        sound: Vec<f32>,
    ) -> Result<oneshot::Receiver<Result<EndOfTurn, ListenError>>, ListenError> {
        let (reply, result) = oneshot::channel();
        self.engine.submit(Urgency::Frame, move |smart_turn| {
            if reply.is_closed() {
                return;
            }
            let begun = Instant::now();
            let outcome = smart_turn.judge(&sound);
            let engine_ms = begun.elapsed().as_secs_f32() * 1000.0;
            let judged = outcome.map(|probability| EndOfTurn { probability, engine_ms });
            let _ = reply.send(judged.map_err(ListenError::Model));
        })?;
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::{EndOfTurnEngine, FRAMES, HOP, SmartTurn, StartError, prepared};
    use crate::listening::mel::LogMel;
    use crate::listening::test_sound::{PROMPTS, model, prompt};

    /// The sound whose picture and probability the reference implementation (numpy's features,
    /// onnxruntime's network) was asked for.
    fn chirp(samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|i| i as f64)
            .map(|i| (0.3 * (i * i * 1e-6).sin() * (i * 0.0007).sin()) as f32)
            .collect()
    }

    #[test]
    fn picture_and_probability_equal_the_reference() {
        // samples, probability, picture at (0, 799), (10, 700), (40, 750), its mean
        let reference = [
            (16_000, 0.967_305, [1.815_120_6, -0.025_470_9, -0.025_470_9, 0.000_788_3]),
            (40_000, 0.772_240, [0.700_245_6, -0.020_644_7, -0.123_711_8, -0.071_150_3]),
            (128_000, 0.792_352, [0.738_070_6, 0.183_687, -0.246_936_3, -0.070_537_9]),
            (150_000, 0.822_897, [0.639_795_7, -0.154_119_2, -0.246_188_8, -0.064_835_4]),
        ];
        let mut network = SmartTurn::load(&model(crate::models::SMART_TURN)).unwrap();
        for (samples, probability, points) in reference {
            let sound = chirp(samples);
            let picture = LogMel::new().picture(&prepared(&sound), FRAMES);
            let mean = picture.iter().sum::<f32>() / picture.len() as f32;
            let ours = [picture[799], picture[10 * FRAMES + 700], picture[40 * FRAMES + 750], mean];
            for (ours, reference) in ours.iter().zip(points) {
                assert!((ours - reference).abs() < 1e-3, "{samples}: {ours} is not {reference}");
            }
            let ours = network.judge(&sound).unwrap();
            // The network computes in 8 bits: in the reference, too, a change of 1e-5 in the picture
            // moves its answer this much.
            assert!((ours - probability).abs() < 0.15, "{samples}: {ours} is not {probability}");
        }
    }

    #[test]
    fn whole_prompts_are_finished_turns() {
        let engine = EndOfTurnEngine::start(&model(crate::models::SMART_TURN)).unwrap();
        let judged: Vec<_> = PROMPTS
            .iter()
            .map(|(name, _)| engine.judge(prompt(name)).unwrap().blocking_recv().unwrap().unwrap())
            .collect();
        let finished = judged.iter().filter(|judgement| judgement.probability > 0.5).count();
        assert!(finished * 10 >= judged.len() * 8, "{finished} of {}", judged.len());
    }

    /// `cargo test --release --lib judgement_times -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn judgement_times() {
        let engine = EndOfTurnEngine::start(&model(crate::models::SMART_TURN)).unwrap();
        let sound = prompt("agent-incorrect");
        let judge = || engine.judge(sound.clone()).unwrap().blocking_recv().unwrap().unwrap();
        let mut times: Vec<f32> = (0..21).map(|_| judge().engine_ms).collect();
        times.sort_by(f32::total_cmp);
        println!("median {:.0} ms, least {:.0}", times[10], times[0]);
    }

    #[test]
    fn a_withdrawn_judgement_is_not_made() {
        let engine = EndOfTurnEngine::start(&model(crate::models::SMART_TURN)).unwrap();
        let begun = std::time::Instant::now();
        for _ in 0..10 {
            drop(engine.judge(vec![0.1; HOP]).unwrap());
        }
        let last = engine.judge(vec![0.1; HOP]).unwrap().blocking_recv().unwrap().unwrap();
        // At most the first had begun before it was withdrawn.
        assert!(begun.elapsed().as_secs_f32() * 1000.0 < 5.0 * last.engine_ms);
    }

    #[test]
    fn a_missing_file_is_named() {
        let Err(error) = EndOfTurnEngine::start("/nowhere/turn.onnx".as_ref()) else { panic!() };
        assert!(matches!(error, StartError::Missing { .. }));
    }
}

//! Voice activity: Silero VAD on its own engine thread, shared by all calls.
//!
//! In: 16 kHz frames of any size. Out: a speech probability for every window of 512 samples
//! (32 ms), in order. [`VadStream`] belongs to its call and carries the network's state, which
//! travels with the work to the engine and back; the engine keeps nothing of a call. Turning
//! probabilities into marks is [`super::speech_marks`]'s.
//!
//! Source: github.com/snakers4/silero-vad, v5 and v6: input `[1, 64 + 512]` (the last samples of
//! the window before come first), state `[2, 1, 128]`.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use tokio::sync::oneshot;

use super::StartError;
use crate::inference::{Engine, Overloaded, Urgency};

/// Samples of 16 kHz sound in one window.
pub const VAD_WINDOW: usize = 512;
const CONTEXT: usize = 64;
const STATE: usize = 2 * 128;
/// One job a call at a time, so this is about the number of calls one gateway may carry.
const QUEUE: usize = 1024;
/// Windows that may wait while the engine is late (2 s); older sound is then passed over.
const WAITING_WINDOWS: usize = 63;

/// The network's memory of one call.
#[derive(Clone)]
pub struct VadState {
    recurrent: Vec<f32>,
    context: [f32; CONTEXT],
}

impl Default for VadState {
    fn default() -> Self {
        Self { recurrent: vec![0.0; STATE], context: [0.0; CONTEXT] }
    }
}

/// The network.
struct Silero {
    model: Model,
    input: NodeId,
    state: NodeId,
    rate: NodeId,
    outputs: [NodeId; 2],
    options: RunOptions,
}

impl Silero {
    fn load(path: &Path) -> Result<Self, StartError> {
        let broken = |reason: String| StartError::about("voice activity", path, reason);
        let model = Model::load_file(path).map_err(|error| broken(error.to_string()))?;
        let node = |name: &str| model.node_id(name).map_err(|error| broken(error.to_string()));
        let (input, state, rate) = (node("input")?, node("state")?, node("sr")?);
        let outputs = [node("output")?, node("stateN")?];
        // A pool of one thread: the process-wide one would queue this behind slower engines.
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::new(ThreadPool::with_num_threads(1)));
        let mut silero = Self { model, input, state, rate, outputs, options };
        silero.window(&mut VadState::default(), &[0.0; VAD_WINDOW]).map_err(broken)?;
        Ok(silero)
    }

    /// The probability that `samples` are speech; `state` moves on.
    fn window(&mut self, state: &mut VadState, samples: &[f32]) -> Result<f32, String> {
        let mut input = Vec::with_capacity(CONTEXT + VAD_WINDOW);
        input.extend_from_slice(&state.context);
        input.extend_from_slice(samples);
        let recurrent = std::mem::take(&mut state.recurrent);
        let inputs = vec![
            (self.input, NdTensor::from_data([1, CONTEXT + VAD_WINDOW], input).into()),
            (self.state, NdTensor::from_data([2, 1, 128], recurrent).into()),
            (self.rate, NdTensor::from(super::LISTENING_RATE as i32).into()),
        ];
        let outcome = self.model.run_n(inputs, self.outputs, Some(self.options.clone()));
        let [probability, recurrent] = outcome.map_err(|error| error.to_string())?;
        let probability = probability.into_tensor::<f32>().map(|t| t.into_data());
        let recurrent = recurrent.into_tensor::<f32>().map(|t| t.into_data());
        let (Some(probability), Some(recurrent)) = (probability, recurrent) else {
            return Err("its outputs are not f32 tensors".into());
        };
        state.context.copy_from_slice(&samples[VAD_WINDOW - CONTEXT..]);
        match (probability.first(), recurrent.len()) {
            (Some(&probability), STATE) => {
                state.recurrent = recurrent;
                Ok(probability)
            }
            _ => Err("its outputs have another shape than Silero v5's".into()),
        }
    }
}

/// The voice activity engine, shared by all calls. Clones share one thread.
#[derive(Clone)]
pub struct VadEngine {
    engine: Engine<Silero>,
}

impl VadEngine {
    /// Loads the network from `path` and tries it once.
    pub fn start(path: &Path) -> Result<Self, StartError> {
        let path = path.to_owned();
        let engine = Engine::start("vad", QUEUE, 0, move || Silero::load(&path))?;
        Ok(Self { engine })
    }

    /// Runs `windows` (a whole number of [`VAD_WINDOW`]s) from `state` on; the state and a
    /// probability for each window come back in the channel.
    pub fn submit(
        &self,
        mut state: VadState,
        windows: Vec<f32>,
        reply: oneshot::Sender<(VadState, Vec<f32>)>,
    ) -> Result<(), Overloaded> {
        self.engine.submit(Urgency::Frame, move |silero| {
            let mut probabilities = Vec::with_capacity(windows.len() / VAD_WINDOW);
            for window in windows.chunks_exact(VAD_WINDOW) {
                match silero.window(&mut state, window) {
                    Ok(probability) => probabilities.push(probability),
                    // The channel closes and the stream starts afresh.
                    Err(error) => return tracing::error!(%error, "voice activity failed"),
                }
            }
            let _ = reply.send((state, probabilities));
        })
    }

    /// A stream for one call; sample 0 is the first sample pushed.
    pub fn stream(&self) -> VadStream {
        VadStream {
            vad: self.clone(),
            state: VadState::default(),
            pending: VecDeque::new(),
            away: None,
            ready: VecDeque::new(),
            pushed: 0,
        }
    }
}

/// What the network says of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VadWindow {
    /// The sample after the window's last, counted at 16 kHz from the stream's first.
    pub end_sample: u64,
    /// The probability of speech, 0-1.
    pub probability: f32,
}

/// A job under way: where its sound ends and how its result comes back.
struct Away {
    end_sample: u64,
    result: oneshot::Receiver<(VadState, Vec<f32>)>,
}

/// One call's sound on its way through the network. Pushing never waits.
///
/// At most one job of a stream is under way; what comes meanwhile goes together in the next.
pub struct VadStream {
    vad: VadEngine,
    /// Meaningless while a job is away with the real one.
    state: VadState,
    pending: VecDeque<f32>,
    away: Option<Away>,
    ready: VecDeque<VadWindow>,
    pushed: u64,
}

impl VadStream {
    /// Takes the next samples of the call, 16 kHz mono, any number of them.
    pub fn push(&mut self, samples: &[f32]) {
        self.pending.extend(samples);
        self.pushed += samples.len() as u64;
        let limit = WAITING_WINDOWS * VAD_WINDOW;
        if self.pending.len() > limit {
            let late = (self.pending.len() - limit).next_multiple_of(VAD_WINDOW);
            tracing::warn!(
                windows = late / VAD_WINDOW,
                "voice activity is late; sound passed over"
            );
            self.pending.drain(..late);
        }
        self.send();
    }

    /// The next window's result, in order; pends while nothing is under way. Cancel-safe.
    pub async fn next(&mut self) -> VadWindow {
        loop {
            if let Some(window) = self.ready.pop_front() {
                return window;
            }
            match &mut self.away {
                None => std::future::pending::<()>().await,
                Some(away) => {
                    let outcome = (&mut away.result).await;
                    self.arrived(outcome.ok());
                }
            }
        }
    }

    /// Whether results are to come without more sound.
    pub fn busy(&self) -> bool {
        self.away.is_some() || !self.ready.is_empty()
    }

    /// The next window's result if it is there already.
    pub fn try_next(&mut self) -> Option<VadWindow> {
        if self.ready.is_empty()
            && let Some(away) = &mut self.away
        {
            match away.result.try_recv() {
                Ok(outcome) => self.arrived(Some(outcome)),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => self.arrived(None),
            }
        }
        self.ready.pop_front()
    }

    /// Takes a job's outcome in; a lost one means the network starts afresh with the next window.
    fn arrived(&mut self, outcome: Option<(VadState, Vec<f32>)>) {
        let Some(away) = self.away.take() else { return };
        self.state = VadState::default();
        if let Some((state, probabilities)) = outcome {
            self.state = state;
            let windows = probabilities.len();
            self.ready.extend(probabilities.into_iter().enumerate().map(|(i, probability)| {
                let after = ((windows - 1 - i) * VAD_WINDOW) as u64;
                VadWindow { end_sample: away.end_sample - after, probability }
            }));
        }
        self.send();
    }

    /// Sends all whole windows to the engine, unless a job is away.
    fn send(&mut self) {
        let whole = self.pending.len() / VAD_WINDOW * VAD_WINDOW;
        if self.away.is_some() || whole == 0 {
            return;
        }
        let end_sample = self.pushed - (self.pending.len() - whole) as u64;
        let windows = self.pending.drain(..whole).collect();
        let (reply, result) = oneshot::channel();
        match self.vad.submit(std::mem::take(&mut self.state), windows, reply) {
            Ok(()) => self.away = Some(Away { end_sample, result }),
            Err(error) => tracing::warn!(%error, "voice activity passed over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{VAD_WINDOW, VadEngine, VadWindow};
    use crate::listening::StartError;
    use crate::listening::test_sound::{model, prompt};

    fn engine() -> VadEngine {
        VadEngine::start(&model(crate::models::SILERO_VAD)).unwrap()
    }

    async fn windows(sound: &[f32], step: usize) -> Vec<VadWindow> {
        let mut stream = engine().stream();
        let mut heard = Vec::new();
        for frame in sound.chunks(step) {
            stream.push(frame);
            while stream.busy() {
                heard.push(stream.next().await);
            }
        }
        heard
    }

    #[tokio::test]
    async fn windows_come_in_order_whatever_the_frames() {
        let sound = prompt("vm-goodbye");
        let by_20_ms = windows(&sound, 320).await;
        let whole = windows(&sound, sound.len()).await;
        assert_eq!(by_20_ms.len(), sound.len() / VAD_WINDOW);
        for (i, (a, b)) in by_20_ms.iter().zip(&whole).enumerate() {
            assert_eq!(a.end_sample, ((i + 1) * VAD_WINDOW) as u64);
            assert_eq!(a, b);
        }
    }

    #[tokio::test]
    async fn speech_is_likely_and_silence_is_not() {
        let speech = windows(&prompt("vm-goodbye"), 320).await;
        assert!(speech.iter().filter(|w| w.probability > 0.9).count() >= 8);
        let silence = windows(&vec![0.0; 32_000], 320).await;
        assert!(silence.iter().all(|w| w.probability < 0.1));
    }

    #[tokio::test]
    async fn a_late_engine_passes_over_the_oldest_sound() {
        let mut stream = engine().stream();
        stream.push(&vec![0.0; VAD_WINDOW]);
        stream.push(&vec![0.0; 200 * VAD_WINDOW + 7]);
        let mut last = stream.next().await;
        let mut count = 1;
        while last.end_sample != 201 * VAD_WINDOW as u64 {
            let next = stream.next().await;
            assert!(next.end_sample > last.end_sample);
            (last, count) = (next, count + 1);
        }
        assert!(count <= 64);
    }

    #[test]
    fn a_missing_or_broken_file_is_named() {
        let Err(missing) = VadEngine::start(Path::new("/nowhere/silero.onnx")) else { panic!() };
        assert!(matches!(missing, StartError::Missing { .. }));
        assert!(missing.to_string().contains("eva models pull"));
        let junk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(junk.path(), b"not a network").unwrap();
        let Err(broken) = VadEngine::start(junk.path()) else { panic!() };
        assert!(matches!(broken, StartError::Broken { .. }), "{broken}");
    }
}

//! What the scenarios share: the gateway, its brain, the voices, a thread for the callers.
//!
//! In: a [`Plan`](super::Plan). Out: a [`Stage`] with everything started and warm. It plays nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::reference::Dub;
use super::speech::Sentence;
use super::{Plan, Size};
use crate::audio::resample::resample;
use crate::audio::{HEARING_RATE, WIRE_RATE};
use crate::bench::local::LocalGateway;
use crate::bench::mock_llm::{MockConfig, MockLlm};
use crate::call::Engines;
use crate::engines::{self, BrainChoice, EngineChoice};
use crate::listening::{Language, Pass};
use crate::models::DEFAULT_VOICE;
use crate::signaling::Access;
use crate::speaking::clips::Kind;
use crate::speaking::{Device, Voice, VoiceSpec};

/// How long the voice's clips may take to be made before the first call.
const CLIPS_WITHIN: Duration = Duration::from_secs(60);
/// Fillers and backchannels that are enough to begin.
const CLIPS: usize = 10;

/// Everything a scenario needs.
pub(super) struct Stage {
    pub local: LocalGateway,
    pub engines: Engines,
    /// The voice of the replies, with what it said.
    pub dub: Arc<Dub>,
    /// The scripted brain, unless a real one answers.
    pub mock: Option<Arc<MockLlm>>,
    pub seed: u64,
    pub size: Size,
}

impl Stage {
    /// Starts brain, engines and gateway.
    pub async fn set(plan: &Plan) -> anyhow::Result<Self> {
        let mock = match plan.brain {
            Some(_) => None,
            None => Some(Arc::new(MockLlm::start(MockConfig::default()).await?)),
        };
        let brain = match (&mock, &plan.brain) {
            (Some(mock), _) => BrainChoice::Server { url: mock.url().to_owned(), model: None },
            (None, Some(choice)) => choice.clone(),
            (None, None) => BrainChoice::Builtin,
        };
        let choice = engine_choice(plan.models.clone(), plan.device.clone(), brain);
        let loaded = engines::start(choice, &plan.call.instructions()).await?;
        Self::with_engines(loaded.engines, mock, plan).await
    }

    /// As [`Self::set`], with engines that are warm already.
    pub async fn with_engines(
        mut engines: Engines,
        mock: Option<Arc<MockLlm>>,
        plan: &Plan,
    ) -> anyhow::Result<Self> {
        let dub = Arc::new(Dub::new(engines.voice.clone()));
        engines.voice = dub.clone();
        let give_up = Instant::now() + CLIPS_WITHIN;
        while engines.clips.all().len() < CLIPS && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let settings = plan.call.clone();
        let local = LocalGateway::start(engines.clone(), settings, 8, Access::open()).await?;
        Ok(Self { local, engines, dub, mock, seed: plan.seed, size: plan.size })
    }

    /// Where the gateway answers.
    pub fn url(&self) -> String {
        self.local.url.clone()
    }

    /// `full` in a full run, `quick` in a quick one, at most two in a test.
    pub fn many(&self, full: usize, quick: usize) -> usize {
        match self.size {
            Size::Full => full,
            Size::Quick => quick,
            Size::Smoke => quick.min(2),
        }
    }

    /// From now on replies have so many tokens and begin after so long; nothing changes for a real
    /// brain. Ends what the voice remembers of earlier replies.
    pub fn brain(&self, tokens: usize, first_token_ms: u64) {
        self.dub.forget();
        if let Some(mock) = &self.mock {
            mock.change(|config| {
                config.tokens = tokens;
                config.first_token_ms = first_token_ms;
            });
        }
    }

    /// The callers' voice: EVA's own network at another speed.
    pub async fn voice(&self, speed: f32) -> anyhow::Result<Arc<dyn Voice>> {
        let spec = VoiceSpec::of(DEFAULT_VOICE).at_speed(speed)?;
        let voices = self.engines.voices.clone();
        let voice = tokio::task::spawn_blocking(move || voices.get(&spec)).await?;
        Ok(Arc::new(voice?))
    }

    /// Speaks a text for a caller.
    pub async fn speak(&self, text: &str, speed: f32) -> anyhow::Result<Sentence> {
        Sentence::spoken(&*self.voice(speed).await?, text).await
    }

    /// The sounds of EVA's own backchannels, 48 kHz.
    pub fn backchannels(&self) -> Vec<Vec<f32>> {
        let all = self.engines.clips.all();
        let own = all.iter().filter(|clip| clip.kind == Kind::Backchannel);
        own.filter_map(|clip| resample(&clip.pcm, clip.sample_rate, WIRE_RATE).ok()).collect()
    }

    /// What Whisper hears in 48 kHz sound.
    pub async fn transcribe(&self, sound: &[f32]) -> anyhow::Result<String> {
        let sound = resample(sound, WIRE_RATE, HEARING_RATE)?;
        let mut pass = self.engines.transcriber.transcribe(sound, Language::En, Pass::Final);
        let heard = (&mut pass.result).await.context("the recogniser broke")??;
        Ok(heard.text.reveal().clone())
    }

    /// Smart Turn's probability that 48 kHz sound is a finished turn.
    pub async fn turn_over(&self, sound: &[f32]) -> anyhow::Result<f32> {
        let sound = resample(sound, WIRE_RATE, HEARING_RATE)?;
        let judged = self.engines.end_of_turn.judge(sound)?;
        Ok(judged.await.context("Smart Turn broke")??.probability)
    }

    /// A counter of the gateway's metrics; `None` where it has none of that name.
    pub fn counter(&self, name: &str) -> Option<f64> {
        let text = self.local.gateway.metrics().render();
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

fn engine_choice(models: Option<PathBuf>, device: Device, brain: BrainChoice) -> EngineChoice {
    EngineChoice { models, multilingual: false, voice: VoiceSpec::of(DEFAULT_VOICE), device, brain }
}

/// Plays on a thread of its own with its own runtime, as a caller's machine would: the gateway's
/// threads are the gateway's.
pub(super) async fn on_thread<T, F>(play: F) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: AsyncFnOnce() -> anyhow::Result<T> + Send + 'static,
{
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("callers".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let played =
            runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(play()));
        let _ = done.send(played);
    })?;
    outcome.await.context("the callers' thread broke")?
}

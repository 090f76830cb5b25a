//! `eva bench call`: scripted callers on real WebRTC calls.
//!
//! In: how many turns and calls, which brain. Out: a [`Report`]. The gateway runs in this process unless
//! an address is given; the callers run on a thread of their own, whose CPU time is taken out of the
//! gateway's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Spread;
use super::local::LocalGateway;
use super::mock_llm::{MockConfig, MockLlm};
use super::questions::question;
use super::stats::{process_cpu, rss_mib, thread_cpu};
use crate::audio::WIRE_RATE;
use crate::audio::resample::resample;
use crate::call::CallSettings;
use crate::engines::{self, BrainChoice, EngineChoice};
use crate::headless::{HeadlessCall, Options, TurnReport};
use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::models::DEFAULT_VOICE;
use crate::observability::Parts;
use crate::private::Private;
use crate::signaling::Access;
use crate::speaking::{Device, Speech, Voice, VoiceSpec};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a caller thinks between an answer and the next question.
const BETWEEN: Duration = Duration::from_millis(700);
/// Calls begin one after the other by this.
const STAGGER: Duration = Duration::from_millis(400);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Turns of each call.
    pub turns: usize,
    /// Calls at once.
    pub calls: usize,
    /// A gateway that runs already; none starts one in this process.
    pub url: Option<String>,
    /// The brain of a gateway started here; `None` is the scripted standard brain.
    pub brain: Option<BrainChoice>,
    /// What the voice of a gateway started here runs on.
    pub device: Device,
    /// Folder of the models.
    pub models: Option<std::path::PathBuf>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the brain.
    pub brain: String,
    /// Turns asked, all calls together.
    pub turns: usize,
    /// Calls at once.
    pub calls: usize,
    /// Turns without an answer.
    pub unanswered: usize,
    /// Turns in which EVA spoke before the caller had finished.
    pub taken_over: usize,
    /// Turns in which a filler sounded.
    pub turns_with_filler: usize,
    /// Last voiced packet to first audible packet of the reply.
    pub voice_to_voice_ms: Spread,
    /// The same less the language model's own time from the commit to its first piece.
    pub without_brain_ms: Spread,
    /// Medians of the parts.
    pub parts_ms: Map<String, Value>,
    /// Deviation of the spacing of EVA's packets from 20 ms.
    pub pacing_error_ms: Spread,
    /// CPU seconds of the gateway for each second of a call; only where it runs in this process.
    pub cpu_s_per_call_s: Option<f64>,
    /// Resident memory of this process in MiB; only where the gateway runs in it.
    pub rss_mib: Option<f64>,
}

/// Runs the plan.
pub async fn run(plan: Plan) -> anyhow::Result<Report> {
    let mock = match (&plan.url, &plan.brain) {
        (None, None) => Some(MockLlm::start(MockConfig::default()).await?),
        _ => None,
    };
    let brain = match (&mock, &plan.brain) {
        (Some(mock), _) => BrainChoice::Server { url: mock.url().to_owned(), model: None },
        (None, Some(choice)) => choice.clone(),
        (None, None) => BrainChoice::Builtin,
    };
    let (local, url, voice) = match &plan.url {
        None => {
            let (local, voice) = start_gateway(&plan, brain).await?;
            let url = local.url.clone();
            (Some(local), url, voice)
        }
        Some(url) => (None, url.clone(), engines::start_voice(plan.models.clone())?),
    };
    let name = local.as_ref().map_or_else(|| url.clone(), |local| local.gateway.about().brain);
    let name = if mock.is_some() { "mock, 50 ms + 20 ms a token".to_owned() } else { name };
    let mut questions = Vec::new();
    for index in 0..plan.turns * plan.calls {
        questions.push(say(&*voice, &question(index)).await?);
    }
    let cpu_before = process_cpu().as_secs_f64();
    let played = on_thread(url, plan.clone(), questions).await?;
    let cpu = process_cpu().as_secs_f64() - cpu_before - played.thread_cpu_s;
    let mut report = summarise(&played, name, &plan);
    if let Some(local) = local {
        report.cpu_s_per_call_s = Some((cpu / played.call_s * 1e4).round() / 1e4);
        report.rss_mib = Some(rss_mib());
        local.shut_down().await;
    }
    Ok(report)
}

async fn start_gateway(
    plan: &Plan,
    brain: BrainChoice,
) -> anyhow::Result<(LocalGateway, Arc<dyn Voice>)> {
    let choice = EngineChoice {
        models: plan.models.clone(),
        multilingual: false,
        voice: VoiceSpec::of(DEFAULT_VOICE),
        device: plan.device.clone(),
        brain,
    };
    let call = CallSettings::default();
    let loaded = engines::start(choice, &call.instructions()).await?;
    let voice = loaded.engines.voice.clone();
    let places = plan.calls.max(8);
    let local = LocalGateway::start(loaded.engines, call, places, Access::open()).await?;
    Ok((local, voice))
}

/// What the callers brought back.
struct Played {
    turns: Vec<TurnReport>,
    pacing_ms: Vec<f64>,
    /// Seconds all calls lasted together.
    call_s: f64,
    thread_cpu_s: f64,
}

async fn on_thread(url: String, plan: Plan, questions: Vec<Vec<f32>>) -> anyhow::Result<Played> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("callers".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let played = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
            let mut played = runtime.block_on(play(&url, &plan, questions))?;
            played.thread_cpu_s = thread_cpu().as_secs_f64();
            Ok(played)
        });
        let _ = done.send(played);
    })?;
    outcome.await.context("the callers' thread broke")?
}

async fn play(url: &str, plan: &Plan, questions: Vec<Vec<f32>>) -> anyhow::Result<Played> {
    let callers = questions.chunks(plan.turns.max(1)).enumerate().map(|(number, questions)| {
        let delay = STAGGER * number as u32;
        async move {
            tokio::time::sleep(delay).await;
            converse(url, questions).await
        }
    });
    let mut all =
        Played { turns: Vec::new(), pacing_ms: Vec::new(), call_s: 0.0, thread_cpu_s: 0.0 };
    for played in futures::future::join_all(callers).await {
        let played = played?;
        all.turns.extend(played.turns);
        all.pacing_ms.extend(played.pacing_ms);
        all.call_s += played.call_s;
    }
    Ok(all)
}

async fn converse(url: &str, questions: &[Vec<f32>]) -> anyhow::Result<Played> {
    let began = Instant::now();
    let mut call = HeadlessCall::dial(url, &Options::default()).await?;
    call.run_for(&[], BETWEEN).await;
    let mut turns = Vec::new();
    for question in questions {
        turns.push(call.ask(question, PATIENCE).await);
        call.run_for(&[], BETWEEN).await;
    }
    let pacing_ms = call.pacing_ms().to_vec();
    let call_s = began.elapsed().as_secs_f64();
    call.hang_up().await?;
    Ok(Played { turns, pacing_ms, call_s, thread_cpu_s: 0.0 })
}

/// Speaks a text with the voice: 48 kHz.
pub async fn say(voice: &dyn Voice, text: &str) -> anyhow::Result<Vec<f32>> {
    let speech = Speech {
        reply: ReplyId(0),
        text: Private::new(text.to_owned()),
        urgency: Urgency::Background,
    };
    let mut chunks = voice.speak(speech);
    let mut pcm = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        pcm.extend(chunk?.pcm);
    }
    Ok(resample(&pcm, voice.sample_rate(), WIRE_RATE)?)
}

fn summarise(played: &Played, brain: String, plan: &Plan) -> Report {
    let turns = &played.turns;
    let parts: Vec<Parts> = turns.iter().filter_map(|turn| turn.parts_ms).collect();
    let median = |of: fn(&Parts) -> f64| Spread::of(parts.iter().map(of)).p50;
    let medians = [
        ("pause", median(|parts| parts.pause)),
        ("words", median(|parts| parts.words)),
        ("committed", median(|parts| parts.committed)),
        ("first_token", median(|parts| parts.first_token)),
        ("first_piece", median(|parts| parts.first_piece)),
        ("first_sound", median(|parts| parts.first_sound)),
        ("wire", median(|parts| parts.wire)),
    ];
    let answered = turns.iter().filter(|turn| turn.voice_to_voice_ms.is_some());
    let taken_over = turns.iter().filter(|turn| turn.taken_over).count();
    Report {
        brain,
        turns: turns.len(),
        calls: plan.calls,
        unanswered: turns.len() - answered.count() - taken_over,
        taken_over,
        turns_with_filler: turns.iter().filter(|turn| turn.filler_ms.is_some()).count(),
        voice_to_voice_ms: Spread::of(turns.iter().filter_map(|turn| turn.voice_to_voice_ms)),
        without_brain_ms: Spread::of(parts.iter().map(Parts::without_brain)),
        parts_ms: medians.into_iter().map(|(part, ms)| (part.to_owned(), ms.into())).collect(),
        pacing_error_ms: Spread::of(played.pacing_ms.iter().copied()),
        cpu_s_per_call_s: None,
        rss_mib: None,
    }
}

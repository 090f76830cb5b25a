//! `eva bench conversation`: scripted callers who pause, interrupt, cough and echo.
//!
//! In: a [`Plan`]. Out: a [`Report`]: the figures of a good conversation beside their limits, after
//! Full-Duplex-Bench 1 and 1.5. The gateway runs in this process with its real models; the callers talk
//! to it over WebRTC from a thread of their own. What they say comes from human prompts and from the
//! voice; coughs, hums, keys, babble and music are made from a seed.
//!
//! | file | what it does |
//! | --- | --- |
//! | `stage` | gateway, brain, voices; `caller`: what all scripts do |
//! | `smooth`, `pauses`, `interruption`, `noises`, `echo`, `heard`, `edge`, `listening` | a scenario each |
//! | `cuts` | the interruptions that `interruption` and `heard` measure |
//! | `speech`, `sounds` | what the callers say, and what else the microphone hears |
//! | `reply`, `reference`, `ruler`, `align` | the measuring |
//! | `report` | figures beside their limits |

mod align;
mod caller;
mod cuts;
mod echo;
mod edge;
mod heard;
mod interruption;
mod listening;
mod noises;
mod pauses;
mod reference;
mod reply;
mod report;
mod ruler;
mod smooth;
mod sounds;
mod speech;
mod stage;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

pub use report::Line;

use self::speech::{PROMPTS_PACKAGE, Sentence};
use self::stage::Stage;
use super::mock_llm::MockLlm;
use crate::call::{CallSettings, Engines};
use crate::engines::BrainChoice;
use crate::speaking::Device;

/// The scenarios, in the order in which they run.
pub const SCENARIOS: [&str; 8] = [
    "smooth_turn",
    "inner_pause",
    "interruption",
    "heard_text",
    "backchannel",
    "echo",
    "own_backchannel",
    "edge",
];

/// How many of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As many as the limits ask for; some 25 minutes.
    Full,
    /// A few; some minutes.
    Quick,
    /// One or two, for a test.
    Smoke,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names of [`SCENARIOS`]; all where empty.
    pub scenarios: Vec<String>,
    /// Calls at once; beyond 1 only smooth turns are measured.
    pub calls: usize,
    /// How many of everything.
    pub size: Size,
    /// Decides pauses, moments, rooms and noises.
    pub seed: u64,
    /// The brain; `None` is the scripted standard brain.
    pub brain: Option<BrainChoice>,
    /// What the voice runs on.
    pub device: Device,
    /// Folder of the models.
    pub models: Option<PathBuf>,
    /// What every call starts with.
    pub call: CallSettings,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Calls at once.
    pub calls: usize,
    /// Name of the brain.
    pub brain: String,
    /// What decided chance.
    pub seed: u64,
    /// Where the callers' human voices come from; without them, that they are missing.
    pub prompts: String,
    /// The scenarios that ran.
    pub scenarios: Scenarios,
    /// Tokens of the brain that nobody heard; only where the gateway counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasted_tokens: Option<f64>,
}

/// One field for each scenario that ran.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Scenarios {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smooth_turn: Option<smooth::Smooth>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub smooth_turn_at_calls: Vec<smooth::AtCalls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner_pause: Option<pauses::Pauses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption: Option<interruption::Interruptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_text: Option<heard::HeardText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backchannel: Option<noises::Noises>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<echo::Echo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_backchannel: Option<listening::OwnBackchannels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<edge::Edge>,
}

/// Runs the plan. `told` hears of each part as it is done.
///
/// # Errors
/// The gateway or a caller fails: what is slow or wrong in a conversation is a figure, no error.
pub async fn run(plan: &Plan, told: impl Fn(&str, &[Line])) -> anyhow::Result<Report> {
    let stage = Stage::set(plan).await?;
    let report = play(&stage, plan, told).await;
    stage.local.shut_down().await;
    report
}

/// As [`run`], on engines that are warm already and whose brain is this mock.
///
/// # Errors
/// As [`run`].
pub async fn run_on(engines: Engines, mock: Arc<MockLlm>, plan: &Plan) -> anyhow::Result<Report> {
    let stage = Stage::with_engines(engines, Some(mock), plan).await?;
    let report = play(&stage, plan, |_, _| {}).await;
    stage.local.shut_down().await;
    report
}

async fn play(stage: &Stage, plan: &Plan, told: impl Fn(&str, &[Line])) -> anyhow::Result<Report> {
    let prompts = match Sentence::prompt("vm-nomore", "") {
        Some(_) => PROMPTS_PACKAGE.to_owned(),
        None => format!("none: {PROMPTS_PACKAGE} is not installed; the voice alone speaks"),
    };
    let brain = match &stage.mock {
        Some(_) => "mock, 50 ms + 20 ms a token".to_owned(),
        None => stage.engines.llm.name(),
    };
    let mut report =
        Report { calls: plan.calls, brain, seed: plan.seed, prompts, ..Report::default() };
    let wanted =
        |name: &str| plan.scenarios.is_empty() || plan.scenarios.iter().any(|asked| asked == name);
    let scenarios = &mut report.scenarios;
    if plan.calls > 1 {
        for at_once in [false, true] {
            let measured = smooth::run_at(stage, plan.calls, at_once).await?;
            let how = if at_once { "at once" } else { "staggered" };
            told(&format!("smooth_turn, {} calls, {how}", plan.calls), &measured.lines());
            scenarios.smooth_turn_at_calls.push(measured);
        }
        report.wasted_tokens = stage.counter("eva_wasted_tokens_total");
        return Ok(report);
    }
    if wanted("smooth_turn") {
        let measured = smooth::run(stage).await?;
        told("smooth_turn", &measured.lines());
        scenarios.smooth_turn = Some(measured);
    }
    if wanted("inner_pause") {
        let measured = pauses::run(stage).await?;
        told("inner_pause", &measured.lines());
        scenarios.inner_pause = Some(measured);
    }
    if wanted("interruption") || wanted("heard_text") {
        cuts_of(stage, scenarios, &wanted, &told).await?;
    }
    others(stage, scenarios, &wanted, &told).await?;
    report.wasted_tokens = stage.counter("eva_wasted_tokens_total");
    if let Some(wasted) = report.wasted_tokens {
        told("all", &[Line::plain("wasted tokens", format!("{wasted:.0}"))]);
    }
    Ok(report)
}

/// Interruptions are played once and measured twice.
async fn cuts_of(
    stage: &Stage,
    scenarios: &mut Scenarios,
    wanted: &impl Fn(&str) -> bool,
    told: &impl Fn(&str, &[Line]),
) -> anyhow::Result<()> {
    let played = cuts::play(stage, stage.many(30, 4)).await?;
    if wanted("interruption") {
        let measured = interruption::measure(&played, &stage.dub);
        told("interruption", &measured.lines());
        scenarios.interruption = Some(measured);
    }
    if wanted("heard_text") {
        let measured = heard::measure(stage, &played).await?;
        told("heard_text", &measured.lines());
        scenarios.heard_text = Some(measured);
    }
    Ok(())
}

async fn others(
    stage: &Stage,
    scenarios: &mut Scenarios,
    wanted: &impl Fn(&str) -> bool,
    told: &impl Fn(&str, &[Line]),
) -> anyhow::Result<()> {
    if wanted("backchannel") {
        let measured = noises::run(stage).await?;
        told("backchannel", &measured.lines());
        scenarios.backchannel = Some(measured);
    }
    if wanted("echo") {
        let measured = echo::run(stage).await?;
        told("echo", &measured.lines());
        scenarios.echo = Some(measured);
    }
    if wanted("own_backchannel") {
        let measured = listening::run(stage).await?;
        told("own_backchannel", &measured.lines());
        scenarios.own_backchannel = Some(measured);
    }
    if wanted("edge") {
        let measured = edge::run(stage).await?;
        told("edge", &measured.lines());
        scenarios.edge = Some(measured);
    }
    Ok(())
}

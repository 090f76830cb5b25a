//! The edges of a call: silence, hang-ups in mid-reply, call waiting.
//!
//! In: a stage. Out: whether the person is answered afterwards and nothing is left behind.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::caller::Caller;
use super::cuts::LONG_REPLY;
use super::report::Line;
use super::stage::{Stage, on_thread};
use crate::bench::mock_llm::REPLY_TOKENS;
use crate::bench::questions::question;

/// How long the other call takes the line.
const CALL_WAITING: Duration = Duration::from_secs(5);
/// A gateway has let go of a call so soon.
const GONE_WITHIN: Duration = Duration::from_secs(3);

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Edge {
    /// Seconds of silence on the line.
    pub silence_s: f64,
    /// How often EVA spoke in it unasked.
    pub spoke_in_silence: usize,
    /// Whether the person was answered after the silence.
    pub answered_after_silence: bool,
    /// Whether the person was answered after call waiting (no packets for 5 s in mid-reply).
    pub answered_after_call_waiting: bool,
    /// Calls hung up in mid-reply, one way and the other.
    pub hung_up: usize,
    /// From the hang-up until the gateway had no call left, the slowest, ms; `None` if it kept one.
    pub gone_ms: Option<f64>,
    /// Calls that the gateway still had at the end.
    pub calls_left: usize,
    /// Tasks of this process more than before the hang-ups.
    pub tasks_left: usize,
}

/// Runs the scenario.
pub(super) async fn run(stage: &Stage) -> anyhow::Result<Edge> {
    let mut report = Edge::default();
    let mut questions = Vec::new();
    for index in 0..3 {
        questions.push(stage.speak(&question(70 + index), 1.0).await?.sound);
    }
    stage.brain(REPLY_TOKENS, 50);
    let span = Duration::from_secs(stage.many(30, 4) as u64);
    report.silence_s = span.as_secs_f64();
    let (url, question) = (stage.url(), questions[0].clone());
    let silent = on_thread(async move || silence(&url, &question, span).await);
    (report.spoke_in_silence, report.answered_after_silence) = silent.await?;
    stage.brain(LONG_REPLY, 50);
    let (url, two) = (stage.url(), questions[..2].to_vec());
    report.answered_after_call_waiting =
        on_thread(async move || call_waiting(&url, &two).await).await?;
    hang_ups(stage, &questions[2], &mut report).await?;
    Ok(report)
}

/// A caller who says nothing for so long, then asks: how often EVA spoke, whether she answered.
async fn silence(url: &str, question: &[f32], span: Duration) -> anyhow::Result<(usize, bool)> {
    let mut caller = Caller::dial(url).await?;
    caller.wait(span).await;
    let told = caller.call.log().iter().filter(|event| event["type"] == "eva.words");
    let replies: std::collections::BTreeSet<u64> =
        told.filter_map(|event| event["reply_id"].as_u64()).collect();
    let answered = caller.ask(question).await.is_some();
    caller.finish().await?;
    Ok((replies.len(), answered))
}

/// A caller whose packets stop in mid-reply, as on call waiting, and come back.
async fn call_waiting(url: &str, questions: &[Vec<f32>]) -> anyhow::Result<bool> {
    let mut caller = Caller::dial(url).await?;
    let Some(reply) = caller.ask(&questions[0]).await else { return Ok(false) };
    caller.wait(Duration::from_secs(1)).await;
    caller.call.hold(true);
    caller.wait(CALL_WAITING).await;
    caller.call.hold(false);
    caller.wait(Duration::from_millis(500)).await;
    let mut sound = questions[1].clone();
    crate::audio::level::fade_in(&mut sound[..960]);
    caller.say(&sound).await;
    let answered = caller.reply_after(reply).await.is_some();
    caller.finish().await?;
    Ok(answered)
}

/// Calls that end while EVA speaks: by request, and by closing the connection.
async fn hang_ups(stage: &Stage, question: &[f32], report: &mut Edge) -> anyhow::Result<()> {
    let gateway = stage.local.gateway.clone();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (mut before, mut slowest) = (tasks(), Some(0.0_f64));
    for number in 0..stage.many(6, 2) {
        let (url, question) = (stage.url(), question.to_vec());
        on_thread(async move || {
            let mut caller = Caller::dial(&url).await?;
            caller.ask(&question).await;
            caller.wait(Duration::from_millis(600)).await;
            if number % 2 == 0 {
                caller.finish().await?;
            } else {
                caller.call.close().await;
            }
            Ok(())
        })
        .await?;
        let began = Instant::now();
        while gateway.active() > 0 && began.elapsed() < GONE_WITHIN {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = began.elapsed().as_secs_f64() * 1e3;
        slowest =
            slowest.filter(|_| gateway.active() == 0).map(|slowest| slowest.max(took.round()));
        report.hung_up += 1;
        if number == 0 {
            // What the first call leaves is kept for the next ones: connections, caches.
            tokio::time::sleep(Duration::from_secs(1)).await;
            before = tasks();
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    report.gone_ms = slowest;
    report.calls_left = gateway.active();
    report.tasks_left = tasks().saturating_sub(before);
    Ok(())
}

impl Edge {
    pub(super) fn lines(&self) -> Vec<Line> {
        let yes = |figure: &str, is: bool| Line::count(figure, "yes", usize::from(is), 1, is);
        let seconds = self.silence_s;
        vec![
            Line::plain(
                &format!("spoke unasked in {seconds:.0} s of silence"),
                self.spoke_in_silence.to_string(),
            ),
            yes("answered after the silence", self.answered_after_silence),
            yes("answered after call waiting", self.answered_after_call_waiting),
            Line::at_most(
                "calls left after hang-ups in mid-reply",
                0.0,
                self.calls_left as f64,
                "",
            ),
            Line::at_most("tasks left after them", 0.0, self.tasks_left as f64, ""),
            Line::plain(
                "gone after",
                self.gone_ms.map_or("never".to_owned(), |ms| format!("{ms:.0} ms")),
            ),
        ]
    }
}

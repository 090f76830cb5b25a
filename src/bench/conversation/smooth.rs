//! Smooth turns: question, answer, question, answer. Then the same with a slow brain.
//!
//! In: a stage. Out: voice-to-voice times and where they went; how fillers cover a late reply.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Barrier;

use super::Size;
use super::caller::Caller;
use super::reply::{clips, since};
use super::report::Line;
use super::ruler::ms;
use super::speech::Sentence;
use super::stage::{Stage, on_thread};
use crate::bench::Spread;
use crate::bench::mock_llm::REPLY_TOKENS;
use crate::bench::questions::question;
use crate::headless::{REPLY_AUDIBLE_DBFS, Timeline, TurnReport};
use crate::observability::Parts;

const PATIENCE: Duration = Duration::from_secs(15);
/// How long a caller thinks between an answer and the next question.
const BETWEEN: Duration = Duration::from_millis(700);
/// Calls begin one after the other by this.
const STAGGER: Duration = Duration::from_millis(1_700);
/// How long after the commit a reply may take before a filler is due, milliseconds.
const FILLER_AFTER_MS: f64 = 400.0;
/// The slow brain's first token, milliseconds.
const SLOW_MS: u64 = 1_500;

/// Every fifth turn is a human prompt.
const PROMPTS: [(&str, &str); 8] = [
    ("vm-nobodyavail", "Nobody is available to take your call at the moment."),
    ("conf-getpin", "Please enter the conference pin number."),
    ("conf-onlyperson", "You are currently the only person in this conference."),
    ("check-number-dial-again", "Please check the number and dial again."),
    ("vm-enter-num-to-call", "Please enter the number you wish to call."),
    ("pls-hold-while-try", "Please hold while we try to connect you."),
    ("feature-not-avail-line", "That feature is not available on this line."),
    ("all-circuits-busy-now", "All circuits are busy now."),
];

/// What was measured at one call.
#[derive(Clone, Debug, Serialize)]
pub struct Smooth {
    /// Turns asked.
    pub n: usize,
    /// Last voiced frame sent to first audible packet of the reply.
    pub voice_to_voice_ms: Spread,
    /// The same less the brain's time from the commit to its first piece.
    pub without_brain_ms: Spread,
    /// Turns in which a filler sounded.
    pub turns_with_filler: usize,
    /// Turns without an answer.
    pub unanswered: usize,
    /// Turns in which EVA spoke before the caller had finished.
    pub taken_over: usize,
    /// Medians of the parts.
    pub parts_ms: HashMap<&'static str, f64>,
    /// Deviation of the spacing of EVA's packets from 20 ms.
    pub pacing_error_ms: Spread,
    /// The three slowest turns.
    pub slowest: Vec<Slow>,
    /// The second run, with a brain of 1.5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_brain: Option<SlowBrain>,
}

/// A slow turn.
#[derive(Clone, Debug, Serialize)]
pub struct Slow {
    /// The question.
    pub question: String,
    /// Its voice-to-voice time.
    pub voice_to_voice_ms: f64,
    /// Where it went.
    pub parts_ms: Parts,
}

/// Turns whose reply is late.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SlowBrain {
    /// Turns asked.
    pub n: usize,
    /// Turns with exactly one filler.
    pub with_one_filler: usize,
    /// From the committed turn (`eva.final`) and 400 ms on to the filler's first audible packet.
    pub filler_late_ms: Spread,
}

/// Several calls.
#[derive(Clone, Debug, Serialize)]
pub struct AtCalls {
    /// Calls in progress.
    pub calls: usize,
    /// Whether all callers ask in the same moment.
    pub at_once: bool,
    /// What was measured, all calls together.
    #[serde(flatten)]
    pub turns: Smooth,
}

/// One question: what is said, and its sound.
type Question = (String, Vec<f32>);

/// Runs the scenario at one call.
pub(super) async fn run(stage: &Stage) -> anyhow::Result<Smooth> {
    stage.brain(REPLY_TOKENS, 50);
    let questions = questions(stage, stage.many(30, 5), 0).await?;
    let mut report = at(stage, vec![questions], false).await?;
    if stage.mock.is_some() && stage.size != Size::Smoke {
        report.slow_brain = Some(slow_brain(stage).await?);
    }
    Ok(report)
}

/// Runs it at several calls, staggered or all at once.
pub(super) async fn run_at(stage: &Stage, calls: usize, at_once: bool) -> anyhow::Result<AtCalls> {
    stage.brain(REPLY_TOKENS, 50);
    let turns = stage.many(10, 4);
    let mut each = Vec::new();
    for call in 0..calls {
        each.push(questions(stage, turns, 7 + call * turns).await?);
    }
    Ok(AtCalls { calls, at_once, turns: at(stage, each, at_once).await? })
}

async fn questions(stage: &Stage, count: usize, from: usize) -> anyhow::Result<Vec<Question>> {
    let mut questions = Vec::new();
    for index in 0..count {
        let (name, words) = PROMPTS[(from + index) / 5 % PROMPTS.len()];
        let human = (index % 5 == 4).then(|| Sentence::prompt(name, words)).flatten();
        let text = question((from + index + stage.seed as usize * 31) % 96);
        let sentence = match human {
            Some(human) => human,
            None => stage.speak(&text, [1.0, 0.92, 1.08][index % 3]).await?,
        };
        questions.push((sentence.text, sentence.sound));
    }
    Ok(questions)
}

async fn at(stage: &Stage, calls: Vec<Vec<Question>>, at_once: bool) -> anyhow::Result<Smooth> {
    let url = stage.url();
    let texts: Vec<String> = calls.iter().flatten().map(|(text, _)| text.clone()).collect();
    let played = on_thread(async move || {
        let together = Arc::new(Barrier::new(if at_once { calls.len() } else { 1 }));
        let callers = calls.iter().enumerate().map(|(number, questions)| {
            let (url, together) = (&url, together.clone());
            async move {
                tokio::time::sleep(STAGGER * if at_once { 0 } else { number as u32 }).await;
                converse(url, questions, &together).await
            }
        });
        futures::future::join_all(callers).await.into_iter().collect::<anyhow::Result<Vec<_>>>()
    });
    let played = played.await?;
    let turns: Vec<(String, TurnReport)> =
        texts.into_iter().zip(played.iter().flat_map(|(turns, _)| turns.clone())).collect();
    let pacing = played.iter().flat_map(|(_, timeline)| timeline.pacing_ms.iter().copied());
    Ok(summary(&turns, Spread::of(pacing)))
}

async fn converse(
    url: &str,
    questions: &[Question],
    together: &Barrier,
) -> anyhow::Result<(Vec<TurnReport>, Timeline)> {
    let mut caller = Caller::dial(url).await?;
    let mut turns = Vec::new();
    for (_, sound) in questions {
        tokio::select! {
            _ = together.wait() => {}
            // The line stays alive while the caller waits for the others.
            () = caller.wait(PATIENCE) => {}
        }
        turns.push(caller.call.ask(sound, PATIENCE).await);
        caller.wait(BETWEEN).await;
    }
    Ok((turns, caller.finish().await?))
}

fn summary(turns: &[(String, TurnReport)], pacing_error_ms: Spread) -> Smooth {
    let reports = || turns.iter().map(|(_, turn)| turn);
    let parts: Vec<Parts> = reports().filter_map(|turn| turn.parts_ms).collect();
    let median = |of: fn(&Parts) -> f64| Spread::of(parts.iter().map(of)).p50;
    let taken_over = reports().filter(|turn| turn.taken_over).count();
    let answered = reports().filter(|turn| turn.voice_to_voice_ms.is_some()).count();
    let mut slowest: Vec<Slow> = turns
        .iter()
        .filter_map(|(question, turn)| {
            let voice_to_voice_ms = (turn.voice_to_voice_ms? * 10.0).round() / 10.0;
            let parts_ms = turn.parts_ms?;
            Some(Slow { question: question.clone(), voice_to_voice_ms, parts_ms })
        })
        .collect();
    slowest.sort_by(|a, b| b.voice_to_voice_ms.total_cmp(&a.voice_to_voice_ms));
    slowest.truncate(3);
    Smooth {
        n: turns.len(),
        voice_to_voice_ms: Spread::of(reports().filter_map(|turn| turn.voice_to_voice_ms)),
        without_brain_ms: Spread::of(parts.iter().map(Parts::without_brain)),
        turns_with_filler: reports().filter(|turn| turn.filler_ms.is_some()).count(),
        unanswered: turns.len() - answered - taken_over,
        taken_over,
        parts_ms: HashMap::from([
            ("pause", median(|parts| parts.pause)),
            ("words", median(|parts| parts.words)),
            ("committed", median(|parts| parts.committed)),
            ("first_token", median(|parts| parts.first_token)),
            ("first_piece", median(|parts| parts.first_piece)),
            ("first_sound", median(|parts| parts.first_sound)),
            ("wire", median(|parts| parts.wire)),
        ]),
        pacing_error_ms,
        slowest,
        slow_brain: None,
    }
}

async fn slow_brain(stage: &Stage) -> anyhow::Result<SlowBrain> {
    stage.brain(9, SLOW_MS);
    let questions = questions(stage, stage.many(8, 2), 40).await?;
    let (url, n) = (stage.url(), questions.len());
    let timeline =
        on_thread(async move || Ok(converse(&url, &questions, &Barrier::new(1)).await?.1));
    let timeline = timeline.await?;
    let late = fillers_late(&timeline);
    stage.brain(REPLY_TOKENS, 50);
    Ok(SlowBrain {
        n,
        with_one_filler: late.iter().filter(|fillers| fillers.len() == 1).count(),
        filler_late_ms: Spread::of(late.into_iter().flatten()),
    })
}

/// For each committed turn its fillers: how much later than the limit each began to sound, ms.
fn fillers_late(timeline: &Timeline) -> Vec<Vec<f64>> {
    let finals: Vec<_> = timeline.told.iter().filter(|told| told.is("eva.final")).collect();
    let mut late = vec![Vec::new(); finals.len()];
    for (start, end) in clips(timeline, "eva.filler") {
        let audible = timeline.packets.iter().find(|packet| {
            (0..since(start, end)).contains(&since(start, packet.timestamp))
                && packet.dbfs > REPLY_AUDIBLE_DBFS
        });
        let Some(audible) = audible else { continue };
        if let Some(turn) = finals.iter().rposition(|told| told.arrived <= audible.arrived) {
            late[turn].push(ms(finals[turn].arrived, audible.arrived) - FILLER_AFTER_MS);
        }
    }
    late
}

impl Smooth {
    pub(super) fn lines(&self) -> Vec<Line> {
        let (spread, n) = (&self.voice_to_voice_ms, self.n);
        let mut lines = vec![
            Line::at_most("voice to voice, p50", 550.0, spread.p50, " ms"),
            Line::at_most("voice to voice, p95", 900.0, spread.p95, " ms"),
            Line::at_most("less the brain's time, p50", 330.0, self.without_brain_ms.p50, " ms"),
            Line::count(
                "turns with a filler",
                "<= 5 %",
                self.turns_with_filler,
                n,
                self.turns_with_filler * 20 <= n,
            ),
            Line::count("unanswered", "0", self.unanswered, n, self.unanswered == 0),
            Line::plain("taken over", self.taken_over.to_string()),
        ];
        if let Some(slow) = &self.slow_brain {
            let one = slow.with_one_filler;
            lines.push(Line::count("1.5 s brain: one filler", "all", one, slow.n, one == slow.n));
            let late = slow.filler_late_ms.max;
            lines.push(
                Line::at_most("1.5 s brain: filler after the limit, max", 60.0, late, " ms")
                    .unless_empty(one),
            );
        }
        for slow in &self.slowest {
            lines.push(Line::plain(&format!("slow: {}", slow.question), parts(slow)));
        }
        lines
    }
}

/// The parts of a slow turn, on one line.
fn parts(slow: &Slow) -> String {
    let parts = &slow.parts_ms;
    format!(
        "{:.0} ms = pause {:.0} + words {:.0} + decision {:.0} + token {:.0} + piece {:.0} \
         + sound {:.0} + wire {:.0}",
        slow.voice_to_voice_ms,
        parts.pause,
        parts.words,
        parts.committed,
        parts.first_token,
        parts.first_piece,
        parts.first_sound,
        parts.wire
    )
}

impl AtCalls {
    pub(super) fn lines(&self) -> Vec<Line> {
        let turns = &self.turns;
        let all = turns.n - turns.unanswered;
        vec![
            Line::count("answered", "all", all, turns.n, turns.unanswered == 0),
            Line::plain("voice to voice, p50", format!("{:.0} ms", turns.voice_to_voice_ms.p50)),
            Line::at_most("voice to voice, p95", 1_500.0, turns.voice_to_voice_ms.p95, " ms"),
            Line::at_most("pacing error, p99", 5.0, turns.pacing_error_ms.p99, " ms"),
            Line::plain("taken over", turns.taken_over.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::headless::{Packet, Told};

    #[test]
    fn a_filler_belongs_to_the_turn_committed_before_it() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let told = |ms, event| Told { arrived: at(ms), event };
        let filler = |start: u32| json!({"type": "eva.filler", "rtp_start": start, "rtp_end": start + 9_600});
        let packet = |ms, timestamp, dbfs| Packet { timestamp, arrived: at(ms), dbfs, at: 0 };
        let timeline = Timeline {
            told: vec![
                told(0, json!({"type": "eva.final"})),
                told(405, filler(0)),
                told(5_000, json!({"type": "eva.final"})),
            ],
            packets: vec![
                packet(410, 0, -60.0),
                packet(430, 960, -20.0),
                packet(450, 1_920, -20.0),
            ],
            ..Timeline::default()
        };
        assert_eq!(fillers_late(&timeline), vec![vec![30.0], vec![]]);
    }
}

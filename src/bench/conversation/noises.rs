//! Sounds over a reply that are no interruption: backchannels, coughs, keys, babble, music.
//!
//! In: a stage. Out: how many of them stopped the reply, and the gaps they made. A gap is silence that is
//! longer than the voice's own pause at that place of the reply.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::caller::Caller;
use super::reference::Dub;
use super::reply::{Reply, replies};
use super::report::Line;
use super::ruler::gaps;
use super::sounds::{babble, chance, cough, hum, keyboard, music};
use super::speech::trimmed;
use super::stage::{Stage, on_thread};
use crate::bench::Spread;
use crate::bench::questions::question;
use crate::headless::{HeadlessCall, Timeline};

/// Replies of so many tokens sound for half a minute.
const LONG_REPLY: usize = 111;
/// Sounds over one reply.
const PER_REPLY: usize = 5;
/// A sound has had its effect so long after its end.
const EFFECT: Duration = Duration::from_millis(2_500);
/// A gap longer than this is heard as one, ms.
const GAP_MS: f64 = 300.0;
/// What listeners say, and how fast.
const SAID: [(&str, f32); 8] = [
    ("Yeah.", 1.0),
    ("Okay.", 1.1),
    ("Right.", 0.95),
    ("Uh-huh.", 1.0),
    ("I see.", 1.15),
    ("Yeah, yeah.", 1.2),
    ("Oh, okay.", 1.0),
    ("Sure.", 0.9),
];

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Noises {
    /// Sounds played over a sounding reply.
    pub n: usize,
    /// Sounds that stopped the reply.
    pub stopped: usize,
    /// The longest gap of each sound that did not stop the reply.
    pub gap_ms: Spread,
    /// Sounds with a gap of more than 300 ms.
    pub gaps_too_long: usize,
    /// For each kind of sound: how many, how many stopped the reply, how many made a long gap.
    pub by_kind: BTreeMap<&'static str, [usize; 3]>,
}

/// A sound and what it is.
#[derive(Clone)]
struct Noise {
    kind: &'static str,
    sound: Vec<f32>,
}

/// One sound, played.
struct Played {
    kind: &'static str,
    began: Instant,
    /// When its effect is over.
    until: Instant,
    reply: u64,
}

/// Runs the scenario.
pub(super) async fn run(stage: &Stage) -> anyhow::Result<Noises> {
    stage.brain(LONG_REPLY, 50);
    let noises = noises(stage).await?;
    let mut report = Noises::default();
    let mut longest = Vec::new();
    for (number, chunk) in noises.chunks(PER_REPLY).enumerate() {
        let question = stage.speak(&question(60 + number), 1.0).await?.sound;
        let (url, chunk) = (stage.url(), chunk.to_vec());
        let (timeline, played) =
            on_thread(async move || play(&url, &question, &chunk).await).await?;
        measure(&timeline, &played, &stage.dub, &mut report, &mut longest);
    }
    report.gap_ms = Spread::of(longest);
    Ok(report)
}

/// All sounds, kinds in turn.
async fn noises(stage: &Stage) -> anyhow::Result<Vec<Noise>> {
    let mut chance = chance(stage.seed, 4);
    let mut said = stage.backchannels();
    for (text, speed) in SAID {
        said.push(trimmed(stage.speak(text, speed).await?.sound));
    }
    let mut crowd = Vec::new();
    for (index, speed) in [0.9, 1.0, 1.1, 1.2].into_iter().enumerate() {
        crowd.push(stage.speak(&question(80 + index), speed).await?.sound);
    }
    let count = stage.many(40, 6);
    let kinds = ["backchannel", "cough", "keyboard", "babble", "music"];
    // Backchannels come twice as often as each other kind.
    let order = [0, 1, 2, 0, 3, 4];
    Ok((0..count)
        .map(|index| {
            let kind = kinds[order[index % order.len()]];
            let nth = index / order.len();
            Noise { kind, sound: noise(kind, nth * 2 + index % 2, &said, &crowd, &mut chance) }
        })
        .collect())
}

fn noise(
    kind: &str,
    nth: usize,
    said: &[Vec<f32>],
    crowd: &[Vec<f32>],
    chance: &mut StdRng,
) -> Vec<f32> {
    let seconds = chance.random_range(1.5..3.0);
    match kind {
        "backchannel" if nth % 4 == 3 => hum(chance),
        "backchannel" => said[(nth * 5) % said.len()].clone(),
        "cough" => cough(chance),
        "keyboard" => keyboard(chance, seconds),
        "babble" => {
            let below = chance.random_range(15.0..25.0);
            babble(chance, crowd, seconds, below)
        }
        _ => music(chance, seconds),
    }
}

async fn play(
    url: &str,
    question: &[f32],
    noises: &[Noise],
) -> anyhow::Result<(Timeline, Vec<Played>)> {
    let mut caller = Caller::dial(url).await?;
    let mut played = Vec::new();
    let mut sounding = None;
    for noise in noises {
        let reply = match sounding {
            Some(reply) if is_sounding(&caller.call, reply) => Some(reply),
            _ => {
                caller.settle(Duration::from_secs(10)).await;
                let reply = caller.ask(question).await;
                caller.wait(Duration::from_millis(800)).await;
                reply
            }
        };
        sounding = reply;
        let Some(reply) = reply else { continue };
        let began = caller.say(&noise.sound).await;
        caller.wait(EFFECT).await;
        played.push(Played { kind: noise.kind, began, until: Instant::now(), reply });
    }
    // Until a reply that was held up at the very end goes on.
    caller.wait(EFFECT).await;
    Ok((caller.finish().await?, played))
}

/// Whether a reply still sounds: it was not cut, and words of it were told that lie ahead.
fn is_sounding(call: &HeadlessCall, reply: u64) -> bool {
    let own = |kind: &str| {
        let of_it = move |event: &&serde_json::Value| {
            event["type"] == kind && event["reply_id"].as_u64() == Some(reply)
        };
        call.log().iter().rev().find(of_it)
    };
    own("eva.cut").is_none() && call.state() == "speaking" && own("eva.words").is_some()
}

fn measure(
    timeline: &Timeline,
    played: &[Played],
    dub: &Dub,
    report: &mut Noises,
    longest: &mut Vec<f64>,
) {
    let replies = replies(timeline);
    for noise in played {
        let Some(reply) = replies.iter().find(|reply| reply.id == noise.reply) else { continue };
        let stopped =
            reply.cut.as_ref().is_some_and(|cut| (noise.began..noise.until).contains(&cut.arrived));
        let gap = if stopped { 0.0 } else { longest_gap(reply, dub, noise) };
        let tally = report.by_kind.entry(noise.kind).or_default();
        tally[0] += 1;
        tally[1] += usize::from(stopped);
        tally[2] += usize::from(gap > GAP_MS);
        report.n += 1;
        report.stopped += usize::from(stopped);
        report.gaps_too_long += usize::from(gap > GAP_MS);
        if !stopped {
            longest.push(gap);
        }
    }
}

/// The longest gap that begins while a sound has its effect, ms.
fn longest_gap(reply: &Reply, dub: &Dub, noise: &Played) -> f64 {
    let Some(reference) = dub.reference(reply) else { return 0.0 };
    let arrived = |place: i64| {
        let before =
            reply.packets.iter().rev().find(|packet| reply.place(packet.timestamp) < place);
        before.map(|packet| packet.arrived)
    };
    let within =
        |place: i64| arrived(place).is_some_and(|at| (noise.began..noise.until).contains(&at));
    let gaps = gaps(reply, &reference);
    gaps.iter().filter(|gap| within(gap.place)).map(|gap| gap.ms).fold(0.0, f64::max)
}

impl Noises {
    pub(super) fn lines(&self) -> Vec<Line> {
        let (n, long) = (self.n, self.gaps_too_long);
        let mut lines = vec![
            Line::count("stopped the reply", "<= 1", self.stopped, n, self.stopped <= 1),
            Line::count("gaps longer than 300 ms", "0", long, n, long == 0),
            Line::plain("longest gap", format!("{:.0} ms", self.gap_ms.max)),
        ];
        for (kind, [count, stopped, long]) in &self.by_kind {
            let got = format!("{stopped} stopped, {long} long gaps of {count}");
            lines.push(Line::plain(kind, got));
        }
        lines
    }
}

//! EVA's own echo: a loudspeaker and an open microphone in ten rooms.
//!
//! In: a stage. Out: how often she interrupts herself or answers herself, and whether a person still
//! gets through.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::caller::Caller;
use super::cuts::{LONG_REPLY, over, sentences};
use super::reply::replies;
use super::report::Line;
use super::ruler::{ms, onset, silent_from};
use super::sounds::chance;
use super::stage::{Stage, on_thread};
use crate::bench::Spread;
use crate::bench::mock_llm::REPLY_TOKENS;
use crate::bench::questions::question;
use crate::headless::{Room, Timeline};

/// Replies heard to their end in each room.
const REPLIES: usize = 2;

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Echo {
    /// Rooms.
    pub n: usize,
    /// Replies that stopped though nobody spoke.
    pub self_interruptions: usize,
    /// Turns that were committed though nobody spoke.
    pub answered_herself: usize,
    /// Replies that were heard to their end with the echo, all rooms together.
    pub replies: usize,
    /// Interruptions by a person, with the echo.
    pub interruptions: usize,
    /// Those that stopped the reply.
    pub stopped: usize,
    /// Onset to the end of the last audible packet.
    pub stop_ms: Spread,
    /// The rooms in which something went wrong.
    pub faults: Vec<String>,
}

/// What happened in one room.
struct Played {
    /// Without a person's interruption.
    alone: Timeline,
    asked: usize,
    /// With one.
    interrupted: Timeline,
    began: std::time::Instant,
    reply: Option<u64>,
}

/// Runs the scenario.
pub(super) async fn run(stage: &Stage) -> anyhow::Result<Echo> {
    let mut chance = chance(stage.seed, 5);
    let rooms = stage.many(10, 2);
    let spoken_over = sentences(stage, rooms).await?;
    let (mut report, mut stops) = (Echo::default(), Vec::new());
    for (number, sentence) in spoken_over.into_iter().enumerate() {
        let room = room(number, rooms, &mut chance);
        let mut questions = Vec::new();
        for index in 0..=REPLIES {
            questions.push(stage.speak(&question(20 + 3 * number + index), 1.0).await?.sound);
        }
        let last = questions.pop().unwrap_or_default();
        let after = Duration::from_secs_f32(chance.random_range(1.0..3.0));
        stage.brain(REPLY_TOKENS, 50);
        let (url, alone_in) = (stage.url(), room.clone());
        let alone = on_thread(async move || alone(&url, alone_in, &questions).await).await?;
        stage.brain(LONG_REPLY, 50);
        let (url, in_room) = (stage.url(), room.clone());
        let interrupted = on_thread(async move || {
            interrupted(&url, in_room, &last, after, &sentence.sound).await
        });
        let (interrupted, began, reply) = interrupted.await?;
        let played = Played { alone, asked: REPLIES, interrupted, began, reply };
        measure(&played, &room, &mut report, &mut stops);
    }
    report.stop_ms = Spread::of(stops);
    Ok(report)
}

/// Room `number` of `rooms`: delay and loudness go through their ranges, the rest is chance.
fn room(number: usize, rooms: usize, chance: &mut StdRng) -> Room {
    let share = number as f32 / (rooms.max(2) - 1) as f32;
    let taps = chance.random_range(3..=6);
    let reflections = (1..=taps).map(|tap| {
        let tap = tap as f32;
        (tap * chance.random_range(3.0..11.0), 0.6 * 0.55f32.powf(tap))
    });
    Room {
        reflections: reflections.collect(),
        // The loudest rooms are not all those with the longest delay.
        delay_ms: 20.0 + 280.0 * share,
        level_db: -6.0 - 24.0 * ((number * 7 % rooms) as f32 / (rooms.max(2) - 1) as f32),
        drive: chance.random_range(1.0..3.0),
    }
}

/// Asks, and listens to every reply to its end.
async fn alone(url: &str, room: Room, questions: &[Vec<f32>]) -> anyhow::Result<Timeline> {
    let mut caller = Caller::dial(url).await?;
    caller.call.set_room(Some(room));
    for question in questions {
        caller.ask(question).await;
        caller.settle(Duration::from_secs(20)).await;
        caller.wait(Duration::from_millis(700)).await;
    }
    caller.finish().await
}

/// Asks, and speaks over the reply.
async fn interrupted(
    url: &str,
    room: Room,
    question: &[f32],
    after: Duration,
    sound: &[f32],
) -> anyhow::Result<(Timeline, std::time::Instant, Option<u64>)> {
    let mut caller = Caller::dial(url).await?;
    caller.call.set_room(Some(room));
    let reply = caller.ask(question).await;
    caller.wait(after).await;
    let began = match reply {
        Some(reply) => over(&mut caller, reply, sound).await.0,
        None => std::time::Instant::now(),
    };
    Ok((caller.finish().await?, began, reply))
}

fn measure(played: &Played, room: &Room, report: &mut Echo, stops: &mut Vec<f64>) {
    let of = |kind: &str| played.alone.told.iter().filter(|told| told.is(kind)).count();
    let (cuts, extra) = (of("eva.cut"), of("eva.final").saturating_sub(played.asked));
    report.n += 1;
    report.self_interruptions += cuts;
    report.answered_herself += extra;
    report.replies += replies(&played.alone).iter().filter(|reply| reply.cut.is_none()).count();
    let mut faults = Vec::new();
    if cuts + extra > 0 {
        faults.push(format!("{cuts} self-interruptions, {extra} turns of her own"));
    }
    if let Some(id) = played.reply {
        report.interruptions += 1;
        let replies = replies(&played.interrupted);
        let reply = replies.iter().find(|reply| reply.id == id);
        let cut = reply.and_then(|reply| reply.cut.as_ref());
        let onset = onset(&played.interrupted.said, played.began);
        match (reply, cut, onset) {
            (Some(reply), Some(cut), Some(onset)) if cut.arrived >= onset => {
                report.stopped += 1;
                stops.push(ms(onset, silent_from(&reply.packets, onset)));
            }
            (_, Some(_), _) => faults.push("cut before the person spoke".to_owned()),
            _ => faults.push("the person did not get through".to_owned()),
        }
    }
    if !faults.is_empty() {
        let (delay, level) = (room.delay_ms, room.level_db);
        report.faults.push(format!("{delay:.0} ms, {level:.0} dB: {}", faults.join("; ")));
    }
}

impl Echo {
    pub(super) fn lines(&self) -> Vec<Line> {
        let (own, herself) = (self.self_interruptions, self.answered_herself);
        let (stopped, people) = (self.stopped, self.interruptions);
        let mut lines = vec![
            Line::at_most("self-interruptions", 0.0, own as f64, ""),
            Line::at_most("turns of her own", 0.0, herself as f64, ""),
            Line::plain(
                "rooms; replies heard to their end",
                format!("{}; {}", self.n, self.replies),
            ),
            Line::count("people who get through", "all", stopped, people, stopped == self.n),
            Line::plain("onset to stopped, p50", format!("{:.0} ms", self.stop_ms.p50)),
        ];
        lines.extend(self.faults.iter().map(|fault| Line::plain("fault", fault)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_cover_the_ranges() {
        let mut chance = chance(1, 5);
        let rooms: Vec<Room> = (0..10).map(|number| room(number, 10, &mut chance)).collect();
        let delays: Vec<f32> = rooms.iter().map(|room| room.delay_ms).collect();
        assert_eq!((delays[0], delays[9]), (20.0, 300.0));
        let mut levels: Vec<f32> = rooms.iter().map(|room| room.level_db.round()).collect();
        levels.sort_by(f32::total_cmp);
        levels.dedup();
        assert_eq!((levels.len(), levels[0], levels[9]), (10, -30.0, -6.0));
        assert!(rooms.iter().all(|room| (3..=6).contains(&room.reflections.len())));
    }
}

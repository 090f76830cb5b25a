//! Pauses inside a sentence: who thinks for a moment has not finished.
//!
//! In: a stage. Out: how often EVA takes the floor in such a pause, and how often Smart Turn alone
//! would have.

use std::time::{Duration, Instant};

use rand::Rng;
use serde::Serialize;

use super::caller::{Caller, PATIENCE};
use super::reply::{clips, since};
use super::report::Line;
use super::ruler::last_voiced;
use super::sounds::{chance, silence};
use super::speech::{trimmed, unmarked};
use super::stage::{Stage, on_thread};
use crate::headless::{REPLY_AUDIBLE_DBFS, Timeline};

/// Sentences with one pause each, where speakers pause: after a conjunction or an article, before an
/// object, inside a number, after the announcement of one; and at commas where the first half sounds
/// complete.
const SENTENCES: [&str; 30] = [
    "I would like to book a table for |four people tonight.",
    "Could you tell me whether |the museum is open on Sunday?",
    "My number is |five five five, oh one two three.",
    "My phone number is five five five, |oh one two three.",
    "I was thinking that we could |go to the beach tomorrow.",
    "Can you send the letter to |my new address in Paris?",
    "I need a ticket because |my brother is coming to visit.",
    "We want to travel to Italy and |then to Greece in the summer.",
    "If it rains tomorrow, |what should we do instead?",
    "I called you yesterday, |but nobody answered the phone.",
    "Please remind me to |buy some bread after work.",
    "The code is four seven |nine one two.",
    "I have a question about |the price of the small car.",
    "What is the difference between |a lake and a pond?",
    "I like the blue one, |but I think the red one is cheaper.",
    "My name is Peter and |I am calling about the apartment.",
    "How long does it take to |drive from here to the airport?",
    "I would rather have the |second one on the list.",
    "When the train arrives, |could you call me back?",
    "She told me that the |meeting was moved to Friday.",
    "Do you know a good restaurant with |a view of the river?",
    "I am looking for a book by |a famous writer from Russia.",
    "So I went to the shop, |and they did not have any milk.",
    "My address is twenty two |Garden Street in the old town.",
    "Can we change the appointment from |Monday to Wednesday?",
    "I think it was |the third house on the left.",
    "Tell me something about |the history of this city.",
    "It is very cold today, |so I would like to stay at home.",
    "Let me see, |how many days are there until the party?",
    "I want to order a large pizza with |extra cheese and mushrooms.",
];

/// How far into the pause Smart Turn listens: where the gateway asks it.
const INTO_PAUSE_S: f32 = 0.2;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Pauses {
    /// Sentences said.
    pub n: usize,
    /// EVA spoke (a filler counts, her backchannels do not) before the sentence had ended.
    pub taken_over: usize,
    /// Smart Turn alone, at its own threshold of 0.5, would have taken so many.
    pub smart_turn_alone: usize,
    /// Sentences that were answered after all.
    pub answered: usize,
    /// Where EVA took over.
    pub taken_over_at: Vec<String>,
}

/// One sentence, ready to be said.
struct Case {
    text: &'static str,
    sound: Vec<f32>,
    /// Smart Turn's probability in the pause.
    over: f32,
}

/// What came of it.
struct Played {
    began: Instant,
    /// When the caller had said all of it.
    ended: Instant,
    answered: bool,
}

/// Runs the scenario.
pub(super) async fn run(stage: &Stage) -> anyhow::Result<Pauses> {
    stage.brain(9, 50);
    let cases = cases(stage).await?;
    let texts: Vec<&str> = cases.iter().map(|case| case.text).collect();
    let smart_turn_alone = cases.iter().filter(|case| case.over >= 0.5).count();
    let url = stage.url();
    let (timeline, played) = on_thread(async move || play(&url, &cases).await).await?;
    let taken: Vec<bool> =
        played.iter().map(|played| taken_over(&timeline, played.began, played.ended)).collect();
    let taken_over_at: Vec<String> = texts
        .iter()
        .zip(&taken)
        .filter(|(_, taken)| **taken)
        .map(|(text, _)| (*text).to_owned())
        .collect();
    Ok(Pauses {
        n: played.len(),
        taken_over: taken_over_at.len(),
        smart_turn_alone,
        answered: played.iter().filter(|played| played.answered).count(),
        taken_over_at,
    })
}

async fn cases(stage: &Stage) -> anyhow::Result<Vec<Case>> {
    let mut chance = chance(stage.seed, 2);
    let count = stage.many(SENTENCES.len(), 5);
    let mut cases = Vec::new();
    for (index, marked) in SENTENCES.iter().enumerate().take(count) {
        let (text, at) = unmarked(marked);
        let speed = [1.0, 0.92, 1.08][index % 3];
        let pause = chance.random_range(0.5..1.2);
        let (first, sound) = stage.speak(&text, speed).await?.with_pause(at, pause)?;
        let mut heard = first;
        heard.extend(silence(INTO_PAUSE_S));
        let over = stage.turn_over(&heard).await?;
        cases.push(Case { text: marked, sound: trimmed(sound), over });
    }
    Ok(cases)
}

async fn play(url: &str, cases: &[Case]) -> anyhow::Result<(Timeline, Vec<Played>)> {
    let mut caller = Caller::dial(url).await?;
    let mut played = Vec::new();
    for case in cases {
        let began = caller.say(&case.sound).await;
        let ended = Instant::now();
        // A reply to the first half does not count: the second half interrupts or follows it.
        let earlier = caller.last_reply();
        caller.call.run_until(PATIENCE, |call| call.state() != "hearing").await;
        let answered = caller.reply_after(earlier).await.is_some();
        caller.settle(PATIENCE).await;
        caller.wait(Duration::from_millis(300)).await;
        played.push(Played { began, ended, answered });
    }
    Ok((caller.finish().await?, played))
}

/// Whether anything of EVA's but a backchannel was audible before the caller's last word.
fn taken_over(timeline: &Timeline, began: Instant, ended: Instant) -> bool {
    let Some(last) = last_voiced(&timeline.said, began, ended) else { return false };
    let backchannels = clips(timeline, "eva.backchannel");
    timeline.packets.iter().any(|packet| {
        let own = |(start, end): &(u32, u32)| {
            (0..since(*start, *end)).contains(&since(*start, packet.timestamp))
        };
        (began..last).contains(&packet.arrived)
            && packet.dbfs > REPLY_AUDIBLE_DBFS
            && !backchannels.iter().any(own)
    })
}

impl Pauses {
    pub(super) fn lines(&self) -> Vec<Line> {
        let (taken, n) = (self.taken_over, self.n);
        let mut lines = vec![
            Line::count("taken over", "<= 10 %", taken, n, taken * 10 <= n),
            Line::plain("Smart Turn alone (>= 0.5)", format!("{} of {n}", self.smart_turn_alone)),
            Line::count("answered in the end", "all", self.answered, n, self.answered == n),
        ];
        lines.extend(self.taken_over_at.iter().map(|text| Line::plain("taken over at", text)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::headless::{Packet, Said, Told};

    #[test]
    fn sound_in_the_pause_takes_over_and_a_backchannel_does_not() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let packet = Packet { timestamp: 960, arrived: at(500), dbfs: -20.0, at: 0 };
        let said = |ms| Said { sent: at(ms), dbfs: -20.0 };
        let mut timeline = Timeline {
            said: vec![said(0), said(1_000)],
            packets: vec![packet],
            ..Timeline::default()
        };
        assert!(taken_over(&timeline, began, at(1_200)));
        assert!(!taken_over(&timeline, at(600), at(1_200)), "before the sentence");
        let event = json!({"type": "eva.backchannel", "rtp_start": 0, "rtp_end": 9_600});
        timeline.told.push(Told { arrived: at(500), event });
        assert!(!taken_over(&timeline, began, at(1_200)));
    }

    #[test]
    fn every_sentence_has_one_pause() {
        assert!(SENTENCES.iter().all(|text| text.matches('|').count() == 1));
    }
}

//! EVA's own backchannels: somebody tells a long story with pauses.
//!
//! In: a stage. Out: how often EVA says "mhm", and how much of it lies over the person's voice. Overlap
//! is counted in frames of 20 ms in which both are voiced where the caller is: a backchannel that is
//! under way when the person goes on cannot stop at once, so its tail is printed as it is.

use std::time::{Duration, Instant};

use rand::Rng;
use serde::Serialize;

use super::align::words;
use super::caller::{Caller, PATIENCE};
use super::reply::{clips, since};
use super::report::Line;
use super::ruler::last_voiced;
use super::sounds::{chance, silence};
use super::speech::trimmed;
use super::stage::{Stage, on_thread};
use crate::headless::{CALLER_VOICED_DBFS, REPLY_AUDIBLE_DBFS, Timeline};

/// Backchannels a minute.
const A_MINUTE: f64 = 6.0;
/// A person who goes on cannot be foreseen: so much overlap is the time to notice it, ms.
const TO_NOTICE_MS: f64 = 240.0;

/// A story; between its pieces the speaker pauses and has plainly not finished.
const STORY: [&str; 26] = [
    "So last summer we went to the mountains with the children, and",
    "on the first day we wanted to climb up to the old castle, but",
    "the weather was so bad that",
    "we had to stay in the hotel and",
    "the children were of course not very happy about it, because",
    "there was nothing to do except",
    "playing cards with my brother and",
    "watching the rain through the window, which",
    "is nice for about an hour, and then",
    "everybody starts to argue about",
    "who should get the last piece of the chocolate cake that",
    "my sister had made before we left, so",
    "on the second day I said that",
    "we would go out whatever happens, and",
    "we put on our boots and our jackets and",
    "walked along the river until",
    "we came to a small bridge that",
    "looked as if nobody had used it for",
    "at least twenty years, and",
    "my brother said that he would go first, because",
    "he is the lightest of us, which",
    "is not really true, but",
    "nobody wanted to argue with him, so",
    "he went very slowly over the bridge while",
    "we all stood there and",
    "held our breath, and in the end we all got home safely.",
];

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OwnBackchannels {
    /// Backchannels that EVA said.
    pub n: usize,
    /// Seconds of the story.
    pub story_s: f64,
    /// Backchannels a minute of it.
    pub a_minute: f64,
    /// Those that began while the person spoke.
    pub began_over_speech: usize,
    /// The longest overlap of one with the person's voice, ms.
    pub overlap_ms: f64,
    /// Turns committed or prompts of the brain that hold one.
    pub recorded_as_turns: usize,
    /// Turns that EVA answered before the story's end.
    pub taken_over: usize,
    /// Whether she answered in the end.
    pub answered: bool,
}

struct Played {
    timeline: Timeline,
    began: Instant,
    ended: Instant,
    answered: bool,
}

/// Runs the scenario.
pub(super) async fn run(stage: &Stage) -> anyhow::Result<OwnBackchannels> {
    stage.brain(9, 50);
    let story = story(stage).await?;
    let url = stage.url();
    let played = on_thread(async move || play(&url, &story).await).await?;
    let mut report = measure(&played);
    if let Some(mock) = &stage.mock {
        let said: Vec<Vec<String>> = backchannel_texts(&played.timeline);
        let request = mock.seen().last_request;
        let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let held = messages.iter().filter(|message| {
            message["role"] == "assistant"
                && said.contains(&words(message["content"].as_str().unwrap_or_default()))
        });
        report.recorded_as_turns += held.count();
    }
    Ok(report)
}

async fn story(stage: &Stage) -> anyhow::Result<Vec<f32>> {
    let mut chance = chance(stage.seed, 6);
    let count = stage.many(STORY.len(), 6);
    let (last, pieces) = STORY.split_last().expect("a story has an end");
    let mut sound = Vec::new();
    for piece in &pieces[..count - 1] {
        // Without the voice's own falling end: somebody who goes on stays up and breaks off.
        let open = stage.speak(&format!("{piece} then"), 0.95).await?;
        let end = open.words.last().map_or(open.sound.len(), |word| word.samples.start);
        let mut open = open.sound[..end.min(open.sound.len())].to_vec();
        let fade = open.len().saturating_sub(480);
        crate::audio::level::fade_out(&mut open[fade..]);
        sound.extend(trimmed(open));
        sound.extend(silence(chance.random_range(0.8..1.5)));
    }
    sound.extend(trimmed(stage.speak(last, 0.95).await?.sound));
    Ok(sound)
}

async fn play(url: &str, story: &[f32]) -> anyhow::Result<Played> {
    let mut caller = Caller::dial(url).await?;
    let began = caller.say(story).await;
    let ended = Instant::now();
    let before = caller.last_reply();
    let answered = caller.reply_after(before).await.is_some();
    caller.settle(PATIENCE).await;
    Ok(Played { timeline: caller.finish().await?, began, ended, answered })
}

fn backchannel_texts(timeline: &Timeline) -> Vec<Vec<String>> {
    let told = timeline.told.iter().filter(|told| told.is("eva.backchannel"));
    told.map(|told| words(told.text("text"))).collect()
}

fn measure(played: &Played) -> OwnBackchannels {
    let timeline = &played.timeline;
    let last = last_voiced(&timeline.said, played.began, played.ended).unwrap_or(played.ended);
    let story_s = (last - played.began).as_secs_f64();
    let mut report = OwnBackchannels { story_s, answered: played.answered, ..Default::default() };
    for (start, end) in clips(timeline, "eva.backchannel") {
        let audible: Vec<Instant> = timeline
            .packets
            .iter()
            .filter(|packet| {
                (0..since(start, end)).contains(&since(start, packet.timestamp))
                    && packet.dbfs > REPLY_AUDIBLE_DBFS
            })
            .map(|packet| packet.arrived)
            .collect();
        let over = audible.iter().filter(|at| voiced_at(timeline, **at)).count();
        report.n += 1;
        let first = audible.first().is_some_and(|at| voiced_at(timeline, *at));
        report.began_over_speech += usize::from(first);
        report.overlap_ms = report.overlap_ms.max(20.0 * over as f64);
    }
    report.a_minute = (report.n as f64 * 600.0 / story_s).round() / 10.0;
    let texts = backchannel_texts(timeline);
    let finals = timeline.told.iter().filter(|told| told.is("eva.final"));
    report.recorded_as_turns =
        finals.filter(|told| texts.contains(&words(told.text("text")))).count();
    let early = timeline
        .told
        .iter()
        .filter(|told| told.is("eva.latency") && (played.began..last).contains(&told.arrived));
    report.taken_over = early.count();
    report
}

/// Whether the caller's voice sounds at this time.
fn voiced_at(timeline: &Timeline, at: Instant) -> bool {
    let near = Duration::from_millis(20);
    let from = timeline.said.partition_point(|frame| frame.sent + near < at);
    let mut frames = timeline.said[from..].iter().take_while(|frame| frame.sent <= at);
    frames.any(|frame| frame.dbfs > CALLER_VOICED_DBFS)
}

impl OwnBackchannels {
    pub(super) fn lines(&self) -> Vec<Line> {
        let n = self.n;
        vec![
            Line::plain("said", format!("{n} in {:.0} s", self.story_s)),
            Line::at_most("a minute", A_MINUTE, self.a_minute, ""),
            Line::count(
                "began over the person's voice",
                "0",
                self.began_over_speech,
                n,
                self.began_over_speech == 0,
            ),
            Line::at_most(
                "overlap of one with the voice, max",
                TO_NOTICE_MS,
                self.overlap_ms,
                " ms",
            )
            .unless_empty(n),
            Line::at_most("recorded as turns", 0.0, self.recorded_as_turns as f64, "")
                .unless_empty(n),
            Line::plain("EVA answered before the story's end", self.taken_over.to_string()),
            Line::count("answered in the end", "yes", usize::from(self.answered), 1, self.answered),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::headless::{Packet, Said, Told};

    #[test]
    fn overlap_is_what_sounds_while_the_person_speaks() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let said = |ms: u64| Said {
            sent: at(ms),
            // Voiced, a pause of 400 ms, voiced.
            dbfs: if (200..600).contains(&ms) { -100.0 } else { -20.0 },
        };
        let packet = |n: u32| Packet {
            timestamp: 960 * n,
            arrived: at(501 + 20 * u64::from(n)),
            dbfs: if n == 0 { -60.0 } else { -25.0 },
            at: 0,
        };
        let event =
            json!({"type": "eva.backchannel", "text": "Right.", "rtp_start": 0, "rtp_end": 9_600});
        let timeline = Timeline {
            said: (0..50).map(|n| said(20 * n)).collect(),
            packets: (0..10).map(packet).collect(),
            told: vec![
                Told { arrived: at(500), event },
                Told { arrived: at(900), event: json!({"type": "eva.final", "text": "right"}) },
            ],
            ..Timeline::default()
        };
        let played = Played { timeline, began, ended: at(1_000), answered: true };
        let report = measure(&played);
        // Of the packets at 521 to 681 ms those from 601 on lie over the voice: five.
        assert_eq!((report.n, report.began_over_speech, report.overlap_ms), (1, 0, 100.0));
        assert_eq!((report.recorded_as_turns, report.taken_over), (1, 0));
    }
}

//! Whether the history ends where the received sound ends.
//!
//! In: the interruptions that were played. Out: by how many words `eva.cut` and the brain's next prompt
//! are off. The received sound of the reply is brought back to the level it would have had without
//! ducking and written down by the gateway's own Whisper; the transcript is aligned with the reply's
//! words. Where several ends fit it alike (a word misheard at the very end), the one nearest to the word
//! times is taken: a word counts as sent when its middle was sent audibly.

use serde::Serialize;

use super::align::{ends, words};
use super::cuts::{Interruption, Played};
use super::reference::Reference;
use super::reply::{Reply, Word, replies};
use super::report::Line;
use super::ruler::sounds;
use super::stage::Stage;
use crate::audio::SLOT_SAMPLES;
use crate::audio::level::gain;
use crate::headless::{REPLY_AUDIBLE_DBFS, Timeline};

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HeardText {
    /// Cuts.
    pub n: usize,
    /// The most words by which a history ended too early or too late.
    pub max_words_off: usize,
    /// Cuts that are off by more than a word.
    pub off_by_more_than_one: usize,
    /// Cuts whose history holds a word of which not all was sent.
    pub more_than_sent: usize,
    /// Cuts after which the brain was told something else than `eva.cut`; not for a real brain.
    pub history_differs: usize,
    /// Cuts whose transcript had several ends that fit: the word times decided.
    pub decided_by_times: usize,
    /// Each cut that is off, in words.
    pub faults: Vec<String>,
}

/// One cut, measured.
struct One {
    off: usize,
    more_than_sent: bool,
    differs: bool,
    by_times: bool,
    fault: Option<String>,
}

/// Measures what was played.
pub(super) async fn measure(stage: &Stage, played: &[Played]) -> anyhow::Result<HeardText> {
    let mut report = HeardText::default();
    for call in played {
        let replies = replies(&call.timeline);
        for interruption in &call.interruptions {
            let reply = replies.iter().find(|reply| reply.id == interruption.reply);
            let Some(reply) = reply else { continue };
            let Some(one) = one(stage, &call.timeline, reply, interruption).await? else {
                continue;
            };
            report.n += 1;
            report.max_words_off = report.max_words_off.max(one.off);
            report.off_by_more_than_one += usize::from(one.off > 1);
            report.more_than_sent += usize::from(one.more_than_sent);
            report.history_differs += usize::from(one.differs);
            report.decided_by_times += usize::from(one.by_times);
            report.faults.extend(one.fault);
        }
    }
    Ok(report)
}

async fn one(
    stage: &Stage,
    timeline: &Timeline,
    reply: &Reply,
    of: &Interruption,
) -> anyhow::Result<Option<One>> {
    let Some(cut) = &reply.cut else { return Ok(None) };
    let reference = stage.dub.reference(reply);
    let Some(end) = end_of_sound(reply, reference.as_ref()) else { return Ok(None) };
    let told: Vec<&Word> = reply.words().collect();
    let said: Vec<String> = told.iter().flat_map(|word| words(&word.text)).collect();
    let transcript = stage.transcribe(&sound(reference.as_ref(), timeline, reply)).await?;
    let fitting = ends(&said, &words(&transcript));
    let by_times = count(&told, |word| (word.start + word.end) / 2 <= end);
    // Recognisers finish sentences: a word that had not begun to sound was not heard.
    let begun = count(&told, |word| word.start < end);
    let heard = by_times.clamp(*fitting.start(), *fitting.end()).min(begun);
    let kept = words(&cut.heard_text).len();
    let sent = count(&told, |word| word.end <= end);
    let off = heard.abs_diff(kept);
    let expected = cut.heard_text.trim();
    let in_history = of.in_history.as_deref().map(str::trim);
    // Without a word heard there is no message of this reply.
    let differs = of.next.is_some()
        && stage.mock.is_some()
        && !expected.is_empty()
        && in_history != Some(expected);
    let more_than_sent = kept > sent;
    let fault = (off > 1 || differs || more_than_sent).then(|| {
        format!(
            "kept {kept} words ({:?}), heard {heard} ({:?}), sent {sent}; the brain was told {:?}",
            tail(expected),
            tail(&transcript),
            in_history.map(tail)
        )
    });
    let by_times = fitting.start() != fitting.end();
    Ok(Some(One { off, more_than_sent, differs, by_times, fault }))
}

/// How many words, as a transcript counts them, belong to the told words that satisfy `sent`.
fn count(told: &[&Word], sent: impl Fn(&Word) -> bool) -> usize {
    told.iter().filter(|word| sent(word)).map(|word| words(&word.text).len()).sum()
}

/// The last packet that carries the reply's sound, however soft after ducking.
fn last_sounding(reply: &Reply, reference: Option<&Reference>) -> Option<usize> {
    reply.packets.iter().rposition(|packet| match reference {
        Some(reference) => sounds(packet, reference),
        None => packet.dbfs > REPLY_AUDIBLE_DBFS,
    })
}

/// The sample of the reply after the last one that came: the end of the last sounding packet, and of
/// the voice's own silence after it.
fn end_of_sound(reply: &Reply, reference: Option<&Reference>) -> Option<i64> {
    let last = &reply.packets[last_sounding(reply, reference)?];
    let end = reply.place(last.timestamp) + SLOT_SAMPLES as i64;
    let slots = (0..50).map(|slot| end + slot * SLOT_SAMPLES as i64);
    let silent = |place: &i64| reference.is_some_and(|r| r.at(*place) <= REPLY_AUDIBLE_DBFS);
    let quiet = slots.take_while(silent).count() as i64;
    Some(end + quiet * SLOT_SAMPLES as i64)
}

/// What came of the reply, up to its last audible packet, with the ducking undone.
fn sound(reference: Option<&Reference>, timeline: &Timeline, reply: &Reply) -> Vec<f32> {
    let last = last_sounding(reply, reference);
    let packets = &reply.packets[..last.map_or(0, |last| last + 1)];
    let mut sound = Vec::new();
    let mut factor = 1.0;
    for packet in packets {
        let place = usize::try_from(reply.place(packet.timestamp)).unwrap_or_default();
        sound.resize(sound.len().max(place), 0.0);
        let end = (packet.at + SLOT_SAMPLES).min(timeline.recording.len());
        let expected = reference.map_or(packet.dbfs, |r| r.dbfs(packet.timestamp, 0));
        let softer = expected - packet.dbfs;
        // As far as ducking goes; a fade at the end is not undone.
        let wanted = if (6.0..26.0).contains(&softer) { gain(softer) } else { 1.0 };
        let slot = &timeline.recording[packet.at.min(end)..end];
        for (i, sample) in slot.iter().enumerate() {
            let share = (i as f32 / 480.0).min(1.0);
            sound.push((sample * (factor + (wanted - factor) * share)).clamp(-1.0, 1.0));
        }
        factor = wanted;
    }
    sound.resize(sound.len() + 14_400, 0.0);
    sound
}

/// The last words of a text.
fn tail(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words[words.len().saturating_sub(5)..].join(" ")
}

impl HeardText {
    pub(super) fn lines(&self) -> Vec<Line> {
        let n = self.n;
        let mut lines = vec![
            Line::at_most(
                "history off from the sound, max",
                1.0,
                self.max_words_off as f64,
                " words",
            )
            .unless_empty(n),
            Line::count(
                "off by more than a word",
                "0",
                self.off_by_more_than_one,
                n,
                self.off_by_more_than_one == 0,
            ),
            Line::count(
                "more than was sent",
                "0",
                self.more_than_sent,
                n,
                self.more_than_sent == 0,
            ),
            Line::count(
                "the brain told otherwise",
                "0",
                self.history_differs,
                n,
                self.history_differs == 0,
            ),
            Line::plain("word times decided", format!("{} of {n}", self.decided_by_times)),
        ];
        lines.extend(self.faults.iter().map(|fault| Line::plain("fault", fault)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headless::Packet;

    #[test]
    fn words_are_counted_as_a_transcript_does() {
        let word = |text: &str, start, end| Word { text: text.to_owned(), start, end };
        let told = [word("forty-two", 0, 100), word("is,", 100, 200), word("ready", 200, 300)];
        let told: Vec<&Word> = told.iter().collect();
        assert_eq!(count(&told, |word| word.end <= 200), 2);
        assert_eq!(count(&told, |word| (word.start + word.end) / 2 <= 250), 3);
        let packet = |n: u32, dbfs| Packet {
            timestamp: 960 * n,
            arrived: std::time::Instant::now(),
            dbfs,
            at: 0,
        };
        let packets = vec![packet(0, -20.0), packet(1, -20.0), packet(2, -100.0)];
        let reply = Reply { id: 1, rtp_start: 0, sentences: Vec::new(), cut: None, packets };
        assert_eq!(end_of_sound(&reply, None), Some(1_920));
        // The voice is silent for two slots after the last audible one, then goes on.
        let mut voice = vec![0.1; 1_920];
        voice.extend(vec![0.0; 1_920]);
        voice.extend(vec![0.1; 960]);
        let reference = Reference::of(0, voice);
        assert_eq!(end_of_sound(&reply, Some(&reference)), Some(3_840));
        assert_eq!(tail("a b c d e f g"), "c d e f g");
    }
}

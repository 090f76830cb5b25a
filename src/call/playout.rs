//! What is queued, what was heard, what is cut.
//!
//! In: the sound of replies, the gate, the 20 ms tick. Out: Opus packets and [`Note`]s on what has begun
//! or ended to sound. Owns the outgoing sound of one call and the one reply in it; an old reply's
//! sound is dropped here and nowhere else.

use std::collections::VecDeque;
use std::ops::Range;

use super::reply::{Sentence, Sound};
use crate::audio::sound_out::{Packet, SoundOut};
use crate::ids::ReplyId;
use crate::private::Private;

/// How far EVA's voice is lowered while the person speaks over it, dB.
const DUCK_DB: f32 = -18.0;
/// Above this a packet is heard, dBFS.
const AUDIBLE_DBFS: f32 = -50.0;
/// Sound made ahead of the wire before its making pauses: seconds that an interruption wastes.
const AHEAD: usize = 20 * 48_000;

/// What has happened to the outgoing sound.
#[derive(Debug)]
pub(super) enum Note {
    /// The reply's first audible packet is this one.
    Sounds(ReplyId),
    /// A sentence begins in this packet.
    Sentence {
        /// The reply.
        reply: ReplyId,
        /// The sentence; its times in samples from `rtp_start`.
        sentence: Sentence,
        /// RTP timestamp of the reply's first packet.
        rtp_start: u32,
    },
    /// The reply was played to its end; all of its text was heard.
    Ended(ReplyId, Private<String>),
}

/// What was heard of a reply that was cut.
#[derive(Debug)]
pub(super) struct Heard {
    /// The text up to the last word that went out whole.
    pub text: Private<String>,
    /// RTP timestamp of the cut.
    pub rtp_at: u32,
}

/// The outgoing sound of one call.
pub(super) struct Playout {
    out: SoundOut,
    reply: Option<Playing>,
}

/// The reply that is queued or sounding.
struct Playing {
    id: ReplyId,
    /// Sound that waits for the gate.
    held: Vec<Sound>,
    released: bool,
    /// All of its sound has been made.
    complete: bool,
    sounding: bool,
    /// Where a filler before it ends, in the queue's samples.
    filled_until: u64,
    rtp_start: Option<u32>,
    /// Its sentences, with the queue's sample at which each starts.
    sentences: VecDeque<(u64, Sentence)>,
    /// Sentences that have begun: their text, and their words in the queue's samples.
    begun: Vec<(u64, Sentence)>,
}

impl Playout {
    pub(super) fn new(out: SoundOut) -> Self {
        Self { out, reply: None }
    }

    /// A new reply; its sound is held until [`Self::release`].
    pub(super) fn begin(&mut self, id: ReplyId) {
        self.reply = Some(Playing {
            id,
            held: Vec::new(),
            released: false,
            complete: false,
            sounding: false,
            filled_until: 0,
            rtp_start: None,
            sentences: VecDeque::new(),
            begun: Vec::new(),
        });
    }

    /// Whether more sound may be made.
    pub(super) fn has_room(&self) -> bool {
        let held: usize =
            self.reply.iter().flat_map(|reply| &reply.held).map(|sound| sound.pcm.len()).sum();
        self.out.queued() + held < AHEAD
    }

    /// Queues sound of a reply; an old reply's is dropped.
    pub(super) fn queue(&mut self, id: ReplyId, sound: Sound) {
        let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id) else { return };
        if reply.released {
            enqueue(&mut self.out, reply, sound);
        } else {
            reply.held.push(sound);
        }
    }

    /// All sound of a reply was queued.
    pub(super) fn complete(&mut self, id: ReplyId) {
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id) {
            reply.complete = true;
            if reply.released {
                self.out.end_of_speech();
            }
        }
    }

    /// Opens the gate.
    pub(super) fn release(&mut self, id: ReplyId) {
        let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id) else { return };
        reply.released = true;
        self.out.unduck();
        for sound in std::mem::take(&mut reply.held) {
            enqueue(&mut self.out, reply, sound);
        }
        if reply.complete {
            self.out.end_of_speech();
        }
    }

    /// Queues a clip (48 kHz) before a released reply that has no sound yet; the RTP timestamps of
    /// its beginning and its end. `None` if the reply has sound, or is gone.
    pub(super) fn fill(&mut self, id: ReplyId, pcm: &[f32]) -> Option<(u32, u32)> {
        let reply = self.reply.as_mut().filter(|reply| reply.id == id && reply.released)?;
        if !reply.sentences.is_empty() || !reply.begun.is_empty() || self.out.queued() > 0 {
            return None;
        }
        let taken = self.out.push(pcm);
        self.out.end_of_speech();
        reply.filled_until = self.out.queued_end();
        let start = self.out.next_timestamp48();
        Some((start, start.wrapping_add(u32::try_from(taken).unwrap_or(u32::MAX))))
    }

    /// Drops a reply of which nothing was heard.
    pub(super) fn withdraw(&mut self, id: ReplyId) {
        if self.reply.take_if(|reply| reply.id == id).is_some_and(|reply| reply.released) {
            self.out.cut();
        }
    }

    /// Fades a reply out; says what of it was heard.
    pub(super) fn stop(&mut self, id: ReplyId) -> Option<Heard> {
        let reply = self.reply.take_if(|reply| reply.id == id)?;
        let sent = self.out.sent_samples();
        self.out.cut();
        self.out.unduck();
        let text = heard_text(&reply.begun, sent);
        Some(Heard { text: Private::new(text), rtp_at: self.out.next_timestamp48() })
    }

    /// Lowers EVA's voice.
    pub(super) fn duck(&mut self) {
        self.out.duck(DUCK_DB);
    }

    /// Brings EVA's voice back.
    pub(super) fn unduck(&mut self) {
        self.out.unduck();
    }

    /// Lets slots pass for which it is too late.
    pub(super) fn skip(&mut self, slots: u64) {
        self.out.skip_slots(u32::try_from(slots).unwrap_or(u32::MAX));
    }

    /// The next 20 ms: a packet, if there is something to send, and what happens with it.
    pub(super) fn tick(&mut self) -> (Option<Packet>, Vec<Note>) {
        let before = self.out.sent_samples();
        let packet = self.out.next_packet();
        let mut notes = Vec::new();
        let Some(reply) = &mut self.reply else { return (packet, notes) };
        if let Some(packet) = &packet {
            let after = self.out.sent_samples();
            while let Some((start, _)) = reply.sentences.front()
                && *start < after
            {
                let (start, sentence) = reply.sentences.pop_front().expect("a front was seen");
                let at = packet.timestamp48.wrapping_add(start.saturating_sub(before) as u32);
                let rtp_start = *reply.rtp_start.get_or_insert(at);
                let offset = at.wrapping_sub(rtp_start) as usize;
                reply.begun.push((start, sentence.clone()));
                let sentence = sentence.moved_by(offset);
                notes.push(Note::Sentence { reply: reply.id, sentence, rtp_start });
            }
            let new = after > before.max(reply.filled_until);
            if !reply.sounding && new && packet.rms_dbfs > AUDIBLE_DBFS {
                reply.sounding = true;
                notes.push(Note::Sounds(reply.id));
            }
        }
        if reply.released && reply.complete && self.out.queued() == 0 {
            let text = whole_text(&reply.begun);
            notes.push(Note::Ended(reply.id, Private::new(text)));
            self.reply = None;
        }
        (packet, notes)
    }
}

fn enqueue(out: &mut SoundOut, reply: &mut Playing, sound: Sound) {
    if let Some(sentence) = sound.sentence {
        reply.sentences.push_back((out.queued_end(), sentence));
    }
    out.push(&sound.pcm);
}

impl Sentence {
    /// The same with all times later by `offset` samples.
    fn moved_by(mut self, offset: usize) -> Self {
        let later = |at: &mut Range<usize>| *at = at.start + offset..at.end + offset;
        self.words.iter_mut().for_each(|word| later(&mut word.samples));
        self.visemes.iter_mut().for_each(|viseme| later(&mut viseme.samples));
        self
    }
}

fn whole_text(begun: &[(u64, Sentence)]) -> String {
    begun.iter().map(|(_, sentence)| sentence.text.reveal().trim()).collect::<Vec<_>>().join(" ")
}

/// The text up to the last word that was sent whole.
fn heard_text(begun: &[(u64, Sentence)], sent: u64) -> String {
    let mut heard = Vec::new();
    for (start, sentence) in begun {
        let text = sentence.text.reveal();
        let mut words = sentence.words.iter();
        let whole = words.all(|word| start + word.samples.end as u64 <= sent);
        if whole {
            heard.push(text.trim());
            continue;
        }
        let last = sentence.words.iter().rev().find(|word| start + word.samples.end as u64 <= sent);
        heard.push(last.map_or("", |word| text[..word.text.end].trim()));
        break;
    }
    heard.retain(|text| !text.is_empty());
    heard.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speaking::WordSpan;

    fn sentence(text: &str, word_samples: usize) -> Sentence {
        let mut words = Vec::new();
        let mut at = 0;
        for (count, word) in text.split(' ').enumerate() {
            words.push(WordSpan {
                text: at..at + word.len(),
                samples: count * word_samples..(count + 1) * word_samples,
            });
            at += word.len() + 1;
        }
        Sentence { text: Private::new(text.to_owned()), words, visemes: Vec::new() }
    }

    #[test]
    fn heard_text_ends_with_the_last_whole_word() {
        let begun =
            vec![(1000, sentence("One two three.", 100)), (1300, sentence("Four five.", 100))];
        assert_eq!(heard_text(&begun, 1000), "");
        assert_eq!(heard_text(&begun, 1199), "One");
        assert_eq!(heard_text(&begun, 1250), "One two");
        assert_eq!(heard_text(&begun, 1300), "One two three.");
        assert_eq!(heard_text(&begun, 1450), "One two three. Four");
        assert_eq!(whole_text(&begun), "One two three. Four five.");
    }
}

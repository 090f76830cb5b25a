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
    /// How much of its sound was heard, milliseconds.
    pub ms: u64,
}

impl Heard {
    /// Nothing of it was.
    pub(super) fn nothing() -> Self {
        Self { text: Private::default(), rtp_at: 0, ms: 0 }
    }
}

/// The outgoing sound of one call.
pub(super) struct Playout {
    out: SoundOut,
    reply: Option<Playing>,
    /// Where EVA's own "mhm" ends, in the queue's samples.
    interjected_until: u64,
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
    /// Released once, and withheld again: some of its sound is queued.
    withheld: bool,
    /// Where what sounds before it ends (a filler, another reply's fade), in the queue's samples.
    filled_until: u64,
    /// RTP timestamp at which it was suspended.
    suspended_at: Option<u32>,
    rtp_start: Option<u32>,
    /// Its sentences, with the queue's sample at which each starts.
    sentences: VecDeque<(u64, Sentence)>,
    /// Sentences that have begun: their text, and their words in the queue's samples.
    begun: Vec<(u64, Sentence)>,
}

impl Playout {
    pub(super) fn new(out: SoundOut) -> Self {
        Self { out, reply: None, interjected_until: 0 }
    }

    /// A new reply; its sound is held until [`Self::release`].
    pub(super) fn begin(&mut self, id: ReplyId) {
        self.out.resume();
        self.reply = Some(Playing {
            id,
            held: Vec::new(),
            released: false,
            withheld: false,
            suspended_at: None,
            complete: false,
            sounding: false,
            // What fades out of the reply before is none of this one's.
            filled_until: self.out.queued_end(),
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
        reply.withheld = false;
        self.out.resume();
        self.out.unduck();
        for sound in std::mem::take(&mut reply.held) {
            enqueue(&mut self.out, reply, sound);
        }
        if reply.complete {
            self.out.end_of_speech();
        }
    }

    /// Closes the gate again on a reply of which nothing was heard; what is queued of it waits.
    pub(super) fn withhold(&mut self, id: ReplyId) {
        let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id) else { return };
        reply.released = false;
        reply.withheld = true;
        self.out.hold();
    }

    /// Queues a clip (48 kHz) where a released reply has no sound, before it or in the middle; the
    /// RTP timestamps of its beginning and its end. `None` if the reply has sound, or is gone.
    pub(super) fn fill(&mut self, id: ReplyId, pcm: &[f32]) -> Option<(u32, u32)> {
        let reply = self.reply.as_mut().filter(|reply| reply.id == id && reply.released)?;
        if reply.complete || self.out.queued() > 0 {
            return None;
        }
        let range = clip(&mut self.out, pcm);
        reply.filled_until = self.out.queued_end();
        Some(range)
    }

    /// Queues EVA's own "mhm" (48 kHz); the RTP timestamps of its beginning and its end. `None` if
    /// something else sounds.
    pub(super) fn interject(&mut self, pcm: &[f32]) -> Option<(u32, u32)> {
        if self.out.queued() > 0 {
            return None;
        }
        let range = clip(&mut self.out, pcm);
        self.interjected_until = self.out.queued_end();
        Some(range)
    }

    /// Fades the "mhm" out, unless a reply is queued behind it.
    pub(super) fn hush(&mut self) {
        if self.out.queued() > 0 && self.out.queued_end() == self.interjected_until {
            self.out.cut();
        }
    }

    /// Whether a released reply has nothing of its own to sound though it is not complete.
    pub(super) fn is_dry(&self) -> bool {
        let own = |reply: &Playing| self.out.queued_end() > reply.filled_until;
        let dry = |reply: &Playing| {
            reply.released && !reply.complete && (self.out.queued() == 0 || !own(reply))
        };
        self.reply.as_ref().is_some_and(dry)
    }

    /// Drops a reply of which nothing was heard.
    pub(super) fn withdraw(&mut self, id: ReplyId) {
        let queued = |reply: Playing| reply.released || reply.withheld;
        if self.reply.take_if(|reply| reply.id == id).is_some_and(queued) {
            self.out.cut();
        }
    }

    /// Fades a reply out and keeps the rest of it.
    pub(super) fn suspend(&mut self, id: ReplyId) {
        let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id) else { return };
        self.out.hold();
        reply.suspended_at.get_or_insert(self.out.next_timestamp48());
    }

    /// Lets a suspended reply go on where it was.
    pub(super) fn resume(&mut self, id: ReplyId) {
        let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id) else { return };
        reply.suspended_at = None;
        self.out.resume();
    }

    /// Fades a reply out, if it was not, and drops the rest; says what of it was heard. The last
    /// `unheard` samples were sent before their time.
    pub(super) fn stop(&mut self, id: ReplyId, unheard: u64) -> Option<Heard> {
        let reply = self.reply.take_if(|reply| reply.id == id)?;
        let sent = self.out.sent_samples().saturating_sub(unheard);
        self.out.cut();
        self.out.unduck();
        let text = heard_text(&reply.begun, sent);
        let rtp_at = reply.suspended_at.unwrap_or(self.out.next_timestamp48());
        let from = reply.rtp_start.unwrap_or(rtp_at);
        let ms = u64::from(rtp_at.wrapping_sub(from)).saturating_sub(unheard) / 48;
        Some(Heard { text: Private::new(text), rtp_at, ms })
    }

    /// Lowers EVA's voice.
    pub(super) fn duck(&mut self) {
        self.out.duck(DUCK_DB);
    }

    /// Brings EVA's voice back.
    pub(super) fn unduck(&mut self) {
        self.out.unduck();
    }

    /// Whether a reply is heard, or was until it was suspended.
    pub(super) fn is_sounding(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.sounding)
    }

    /// Whether sound waits to be sent; `None` while it is held.
    pub(super) fn is_flowing(&self) -> Option<bool> {
        (!self.out.is_held()).then(|| self.out.queued() > 0)
    }

    /// What the last slot sounds like, 48 kHz.
    pub(super) fn played(&self) -> &[f32] {
        self.out.played()
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
            let clips_end = reply.filled_until.max(self.interjected_until);
            let new = reply.released && after > before.max(clips_end);
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

/// Queues a whole clip where nothing is queued; the RTP timestamps of its beginning and its end.
fn clip(out: &mut SoundOut, pcm: &[f32]) -> (u32, u32) {
    let taken = out.push(pcm);
    out.end_of_speech();
    let start = out.next_timestamp48();
    (start, start.wrapping_add(u32::try_from(taken).unwrap_or(u32::MAX)))
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
#[path = "playout_tests.rs"]
mod tests;

//! The replies of a call, as the gateway told them and as they arrived.
//!
//! In: a [`Timeline`]. Out: one [`Reply`] for each that sounded: its words and their times, its
//! packets, its cut. It judges nothing.

use std::time::Instant;

use serde_json::Value;

use crate::headless::{Packet, Timeline, Told};

/// Opus packets sound this much later than their samples went in: the encoder's look-ahead, 6.5 ms.
pub(super) const CODEC_DELAY: i64 = 312;

/// A word and when it sounds, 48 kHz samples from the reply's first packet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub text: String,
    pub start: i64,
    pub end: i64,
}

/// A sentence of a reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub text: String,
    pub words: Vec<Word>,
}

/// What the gateway told of a cut.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub heard_text: String,
    pub arrived: Instant,
}

/// One reply that sounded.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub id: u64,
    /// RTP timestamp of its first packet.
    pub rtp_start: u32,
    /// Its sentences that began to sound.
    pub sentences: Vec<Said>,
    pub cut: Option<Cut>,
    /// Its packets: from its start to the next reply's, or the next filler's.
    pub packets: Vec<Packet>,
}

impl Reply {
    /// Samples from the reply's start to this RTP timestamp.
    pub fn place(&self, timestamp: u32) -> i64 {
        since(self.rtp_start, timestamp)
    }

    /// All words, in order.
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.sentences.iter().flat_map(|sentence| &sentence.words)
    }
}

/// Samples from one RTP timestamp to another, which may be the earlier one.
pub(super) fn since(start: u32, timestamp: u32) -> i64 {
    i64::from(timestamp.wrapping_sub(start) as i32)
}

/// The RTP timestamps between which clips sounded that are no part of a reply.
pub(super) fn clips(timeline: &Timeline, kind: &str) -> Vec<(u32, u32)> {
    let of_kind = timeline.told.iter().filter(|told| told.is(kind));
    of_kind.map(|told| (told.number("rtp_start") as u32, told.number("rtp_end") as u32)).collect()
}

/// The replies of a call, in the order of their first sound.
pub(super) fn replies(timeline: &Timeline) -> Vec<Reply> {
    let mut replies: Vec<Reply> = Vec::new();
    for told in &timeline.told {
        let id = told.number("reply_id");
        if told.is("eva.words") {
            let said = said(told);
            match replies.iter_mut().find(|reply| reply.id == id) {
                Some(reply) => reply.sentences.push(said),
                None => replies.push(Reply {
                    id,
                    rtp_start: told.number("rtp_start") as u32,
                    sentences: vec![said],
                    cut: None,
                    packets: Vec::new(),
                }),
            }
        } else if told.is("eva.cut") {
            let heard_text = told.text("heard_text").to_owned();
            if let Some(reply) = replies.iter_mut().find(|reply| reply.id == id) {
                reply.cut = Some(Cut { heard_text, arrived: told.arrived });
            }
        }
    }
    let mut starts: Vec<u32> = replies.iter().map(|reply| reply.rtp_start).collect();
    starts.extend(clips(timeline, "eva.filler").into_iter().map(|(start, _)| start));
    for reply in &mut replies {
        let later = starts.iter().map(|start| reply.place(*start)).filter(|place| *place > 0);
        let end = later.min().unwrap_or(i64::MAX);
        let own = |packet: &&Packet| (0..end).contains(&reply.place(packet.timestamp));
        reply.packets = timeline.packets.iter().filter(own).copied().collect();
    }
    replies
}

fn said(told: &Told) -> Said {
    let word = |word: &Value| Word {
        text: word["text"].as_str().unwrap_or_default().to_owned(),
        start: word["start"].as_i64().unwrap_or_default(),
        end: word["end"].as_i64().unwrap_or_default(),
    };
    let words = told.event["words"].as_array().map(Vec::as_slice).unwrap_or_default();
    Said { text: told.text("text").to_owned(), words: words.iter().map(word).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reply_has_its_words_its_cut_and_its_packets_across_a_wrap() {
        let now = Instant::now();
        let told = |event: Value| Told { arrived: now, event };
        let words = |id: u64, rtp_start: u32| {
            told(
                json!({"type": "eva.words", "reply_id": id, "text": "Hi there", "rtp_start": rtp_start,
                "words": [{"text": "Hi", "start": 0, "end": 4800}]}),
            )
        };
        let start = u32::MAX - 1_000;
        let packet = |n: u32| Packet {
            timestamp: start.wrapping_add(n * 960),
            arrived: now,
            dbfs: -20.0,
            at: 0,
        };
        let timeline = Timeline {
            told: vec![
                words(1, start),
                told(json!({"type": "eva.cut", "reply_id": 1, "heard_text": "Hi", "rtp_at": 1})),
                words(2, start.wrapping_add(4 * 960)),
            ],
            packets: (0..6).map(packet).collect(),
            ..Timeline::default()
        };
        let replies = replies(&timeline);
        assert_eq!(replies.len(), 2);
        assert_eq!((replies[0].packets.len(), replies[1].packets.len()), (4, 2));
        assert_eq!(replies[0].cut.as_ref().map(|cut| cut.heard_text.as_str()), Some("Hi"));
        assert_eq!(replies[0].words().next().map(|word| word.end), Some(4800));
        assert_eq!(replies[1].place(start), -3840);
    }
}

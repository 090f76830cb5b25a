//! What a call tells its client as it goes: that it is ready, what sounds, how long a turn took.
//!
//! In: the call's state. Out: events on its line. Decides nothing.

use super::client::{Event, Viseme, Word};
use super::reply::Sentence;
use super::task::{AnsweredTurn, Call};
use crate::ids::ReplyId;
use crate::observability::Metrics;
use crate::realtime::Happening;
use crate::turn::State;

impl Call {
    pub(super) fn tell_ready(&mut self) {
        let (voice, brain) = (self.engines.voice.name(), self.engines.llm.name());
        self.line.tell(&Event::Ready {
            call_id: self.id,
            voice: &voice,
            brain: &brain,
            language: self.settings.language,
            persona: &self.settings.persona.name,
            session_id: self.history.session(),
        });
        self.tell(&Event::Turn { state: State::Listening });
    }

    pub(super) fn tell_words(&mut self, reply_id: ReplyId, sentence: &Sentence, rtp_start: u32) {
        let text = sentence.text.reveal();
        let ends = sentence.words.iter();
        let ends = ends.map(|word| (word.samples.end as u64 / 48, word.text.end)).collect();
        self.line.happened(Happening::Sentence { text, words: ends });
        let words = sentence.words.iter().map(|word| Word {
            text: &text[word.text.clone()],
            start: word.samples.start as u64,
            end: word.samples.end as u64,
        });
        self.tell(&Event::Words { reply_id, text, words: words.collect(), rtp_start });
        let track = sentence.visemes.iter().map(|shape| Viseme {
            id: shape.viseme.name(),
            start: shape.samples.start as u64,
            end: shape.samples.end as u64,
        });
        if track.len() > 0 {
            self.tell(&Event::Viseme { reply_id, track: track.collect(), rtp_start });
        }
    }

    pub(super) fn tell_latency(&mut self, reply_id: ReplyId) {
        let (Some(turn), Some(parts_ms)) = (self.record.turn.take(), self.record.clock.parts())
        else {
            return;
        };
        let AnsweredTurn { id: turn_id, typed } = turn;
        let total_ms = parts_ms.total();
        self.history.began_after(total_ms);
        // The figures are those of spoken turns.
        if typed {
            self.record.live.post.update(|status| status.figures.turns += 1);
        } else {
            Metrics::turn_answered(&parts_ms);
            self.record.live.post.answered(total_ms);
        }
        tracing::info!(call = %self.id, turn = turn_id.0, total_ms, ?parts_ms, "turn answered");
        self.tell(&Event::Latency { turn_id, reply_id, parts_ms, total_ms });
    }
}

//! What the client is told: the `eva.*` events on the data channel, one JSON object a frame.
//!
//! Times of words are 48 kHz samples from `rtp_start`, the RTP timestamp of the reply's first packet,
//! so that a browser can line them up with `getSynchronizationSources()`.

use serde::Serialize;

use crate::ids::{CallId, ReplyId, SessionId, TurnId};
use crate::language::Language;
use crate::observability::Parts;
use crate::turn::{State, WhyHangUp};

/// One event to the client.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub enum Event<'a> {
    /// The channel is open.
    #[serde(rename = "eva.ready")]
    Ready {
        /// The call, for `DELETE /calls/{call_id}`.
        call_id: CallId,
        /// Name of the voice.
        voice: &'a str,
        /// Name of the language model.
        brain: &'a str,
        /// Language of the call.
        language: Language,
        /// Name of the persona.
        persona: &'a str,
        /// The session that the call belongs to, for a later call; absent where nothing is kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<&'a SessionId>,
    },
    /// The person's words so far: what two hypotheses agree on, never taken back within a turn.
    #[serde(rename = "eva.partial")]
    Partial {
        /// The words.
        text: &'a str,
    },
    /// The person's words of a committed turn. A turn that goes on after all comes again under the
    /// same id, with all of its words.
    #[serde(rename = "eva.final")]
    Final {
        /// The turn.
        turn_id: TurnId,
        /// The words.
        text: &'a str,
        /// They were typed, not spoken.
        typed: bool,
    },
    /// A sentence of EVA's that begins to sound.
    #[serde(rename = "eva.words")]
    Words {
        /// The reply.
        reply_id: ReplyId,
        /// The sentence.
        text: &'a str,
        /// Its words.
        words: Vec<Word<'a>>,
        /// RTP timestamp of the reply's first packet.
        rtp_start: u32,
    },
    /// The mouth's shapes for the sentence that begins to sound.
    #[serde(rename = "eva.viseme")]
    Viseme {
        /// The reply.
        reply_id: ReplyId,
        /// The shapes, in order, without gaps.
        track: Vec<Viseme>,
        /// RTP timestamp of the reply's first packet.
        rtp_start: u32,
    },
    /// The reply is late: something short sounds in its place. It is no part of the reply.
    #[serde(rename = "eva.filler")]
    Filler {
        /// The reply that follows.
        reply_id: ReplyId,
        /// What is said.
        text: &'a str,
        /// RTP timestamp at which it begins.
        rtp_start: u32,
        /// RTP timestamp at which it ends.
        rtp_end: u32,
    },
    /// EVA confirms that she listens, while the person has the floor. It is no part of any reply.
    #[serde(rename = "eva.backchannel")]
    Backchannel {
        /// What is said.
        text: &'a str,
        /// RTP timestamp at which it begins.
        rtp_start: u32,
        /// RTP timestamp at which it ends, unless the person goes on before.
        rtp_end: u32,
    },
    /// A tool runs for a reply, or has ended.
    #[serde(rename = "eva.tool")]
    Tool {
        /// The reply.
        reply_id: ReplyId,
        /// The tool's name.
        name: &'a str,
        /// Once it has ended: whether it did what it was asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        ok: Option<bool>,
    },
    /// EVA ends the call.
    #[serde(rename = "eva.hangup")]
    HangUp {
        /// Why.
        reason: WhyHangUp,
    },
    /// The reply was interrupted.
    #[serde(rename = "eva.cut")]
    Cut {
        /// The reply.
        reply_id: ReplyId,
        /// What of it was heard.
        heard_text: &'a str,
        /// RTP timestamp at which it ends.
        rtp_at: u32,
    },
    /// Who has the floor.
    #[serde(rename = "eva.turn")]
    Turn {
        /// The state.
        state: State,
    },
    /// How long the turn took.
    #[serde(rename = "eva.latency")]
    Latency {
        /// The turn.
        turn_id: TurnId,
        /// The reply to it.
        reply_id: ReplyId,
        /// Its parts, milliseconds.
        parts_ms: Parts,
        /// Their sum.
        total_ms: f64,
    },
    /// The call is another from the next reply on.
    #[serde(rename = "eva.configured")]
    Configured {
        /// Name of the voice.
        voice: &'a str,
        /// Language of the call.
        language: Language,
        /// Name of the persona.
        persona: &'a str,
        /// Turns begin and end with a button.
        push_to_talk: bool,
    },
    /// Something went wrong; the call goes on.
    #[serde(rename = "eva.error")]
    Error {
        /// A stable word for programs.
        code: &'a str,
        /// A sentence for people.
        message: &'a str,
    },
}

/// A word and when it sounds.
#[derive(Debug, Serialize)]
pub struct Word<'a> {
    /// The word as written.
    pub text: &'a str,
    /// First sample from `rtp_start`, 48 kHz.
    pub start: u64,
    /// Sample after the last.
    pub end: u64,
}

/// A shape of the mouth and when it is held.
#[derive(Debug, Serialize)]
pub struct Viseme {
    /// Its name among the 15 of OVR: `sil`, `PP`, `aa`.
    pub id: &'static str,
    /// First sample from `rtp_start`, 48 kHz.
    pub start: u64,
    /// Sample after the last.
    pub end: u64,
}

impl Event<'_> {
    /// The frame's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("events hold nothing that JSON cannot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_flat_objects_with_their_name_as_type() {
        let event = Event::Words {
            reply_id: ReplyId(2),
            text: "Hi there",
            words: vec![Word { text: "Hi", start: 0, end: 4800 }],
            rtp_start: 7,
        };
        assert_eq!(
            event.to_json(),
            r#"{"type":"eva.words","reply_id":2,"text":"Hi there","words":[{"text":"Hi","start":0,"end":4800}],"rtp_start":7}"#
        );
        assert_eq!(
            Event::Turn { state: State::Hearing }.to_json(),
            r#"{"type":"eva.turn","state":"hearing"}"#
        );
    }
}

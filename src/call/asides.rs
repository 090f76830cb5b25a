//! What EVA says of her own in a call: fillers, "mhm", questions after a silence, apologies.
//!
//! In: what the turn machine or a failure asks for. Out: clips and sentences in the call's playout,
//! and the events that tell of them. None of it is the language model's.

use super::client::Event;
use super::reply::ReplyMaker;
use super::task::Call;
use crate::audio::WIRE_RATE;
use crate::ids::ReplyId;
use crate::language::Language;
use crate::observability::Metrics;
use crate::private::Private;
use crate::realtime::Happening;
use crate::speaking::clips::Clip;
use crate::thinking::LlmError;

/// EVA's own "mhm" is softer than her replies: -4 dB.
const BACKCHANNEL_GAIN: f32 = 0.63;

impl Call {
    /// Says that the language model failed, instead of falling silent.
    pub(super) fn apologise(&mut self, error: &LlmError) {
        tracing::warn!(call = %self.id, %error, "a reply failed");
        Metrics::reply_failed();
        // The reason names servers: it is the owner's to read, not the caller's.
        let message = "EVA could not think of an answer; the gateway's log says why.";
        self.tell(&Event::Error { code: "brain_failed", message });
        self.line.happened(Happening::Failed { code: "brain_failed", message });
        if let Some(reply) = &mut self.reply {
            let language = self.record.language.unwrap_or(self.settings.language);
            reply.say(apology(language, reply.is_empty()));
        }
    }

    /// The reply is late: says something short before it, if the voice has clips yet.
    pub(super) fn fill(&mut self, reply_id: ReplyId) {
        // Clips are brought to this rate when they are made: here it would hold up other calls.
        let playable = |clip: &Clip| clip.sample_rate == WIRE_RATE;
        let clip = self.engines.clips.filler(self.record.filler).filter(playable);
        let Some(clip) = clip else { return };
        let Some((rtp_start, rtp_end)) = self.playout.fill(reply_id, &clip.pcm) else { return };
        self.record.filler = Some(clip.id);
        Metrics::filled();
        tracing::debug!(call = %self.id, reply = reply_id.0, "a filler is said");
        self.tell(&Event::Filler { reply_id, text: clip.text, rtp_start, rtp_end });
    }

    /// Says "mhm", softly: the person has the floor, and keeps it.
    pub(super) fn confirm(&mut self) {
        let playable = |clip: &Clip| clip.sample_rate == WIRE_RATE;
        let clip = self.engines.clips.backchannel(self.record.backchannel).filter(playable);
        let Some(clip) = clip else { return };
        let soft: Vec<f32> = clip.pcm.iter().map(|sample| sample * BACKCHANNEL_GAIN).collect();
        let Some((rtp_start, rtp_end)) = self.playout.interject(&soft) else { return };
        self.record.backchannel = Some(clip.id);
        Metrics::confirmed();
        self.tell(&Event::Backchannel { text: clip.text, rtp_start, rtp_end });
    }

    pub(super) fn ask_if_there(&mut self, id: ReplyId) {
        self.line.happened(Happening::ReplyBegins { reply: id });
        self.playout.begin(id);
        self.playout.release(id);
        let text = still_there(self.record.language.unwrap_or(self.settings.language));
        let prompt = self.prompt(&Private::default());
        self.reply = Some(ReplyMaker::of_text(id, &self.engines, prompt, text));
    }
}

/// What EVA says after a long silence.
fn still_there(language: Language) -> &'static str {
    match language {
        Language::Fr => "Vous êtes toujours là ?",
        _ => "Are you still there?",
    }
}

/// What EVA says when her language model fails: before she has said anything, or in the middle.
fn apology(language: Language, at_once: bool) -> &'static str {
    match (language, at_once) {
        (Language::Fr, true) => {
            "Je suis désolée, je n'arrive pas à réfléchir en ce moment. Réessayez dans un instant."
        }
        (Language::Fr, false) => "Pardon, j'ai perdu le fil.",
        (_, true) => "I'm sorry, I can't think right now. Please try again in a moment.",
        (_, false) => "Sorry, I lost my train of thought.",
    }
}

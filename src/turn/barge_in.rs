//! What speech over EVA's voice does.
//!
//! In: that the person speaks while a reply sounds, for how long, and the words so far. Out: a
//! [`Decision`]. Owns the speech that is being judged and what EVA has said lately, so that her own
//! words coming back are no interruption.

use std::collections::VecDeque;

use super::agenda::{Agenda, Deadline};
use super::evidence::{Evidence, Speech, judge};
use super::words::is_echo_of;
use super::{At, Hypothesis, Settings};
use crate::private::Private;

/// Sentences of EVA's that may still come back as an echo.
const SENTENCES: usize = 3;
/// How fast the person's level is followed, turn by turn.
const LEVEL_STEP: f32 = 0.3;

/// What to do about speech over EVA's voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing new.
    Wait,
    /// EVA gives up the floor.
    Interrupt,
    /// It is nothing that EVA should lower her voice for.
    Restore,
}

/// Speech over a sounding reply.
#[derive(Clone, Copy, Debug)]
struct Overlap {
    onset: At,
    evidence: Option<Evidence>,
    /// EVA's voice is lowered.
    ducked: bool,
    /// The reply came to its end by itself meanwhile.
    reply_over: bool,
}

/// Speech over EVA's voice, and what she has said.
#[derive(Debug, Default)]
pub(super) struct Overlaps {
    now: Option<Overlap>,
    said: VecDeque<Private<String>>,
    /// How loud the person's own turns are, dBFS.
    own_level: Option<f32>,
}

impl Overlaps {
    /// A turn of the person's was as loud as this.
    pub(super) fn know_level(&mut self, dbfs: Option<f32>) {
        if let Some(dbfs) = dbfs {
            let before = self.own_level.unwrap_or(dbfs);
            self.own_level = Some(before + (dbfs - before) * LEVEL_STEP);
        }
    }

    /// EVA begins to say this.
    pub(super) fn says(&mut self, text: Private<String>) {
        if self.said.len() == SENTENCES {
            self.said.pop_front();
        }
        self.said.push_back(text);
    }

    /// The person begins to speak over EVA's voice; true if it is to be lowered.
    pub(super) fn begin(&mut self, onset: At, settings: &Settings, agenda: &mut Agenda) -> bool {
        if self.now.is_some() || !settings.barge_in.on {
            return false;
        }
        self.now = Some(Overlap { onset, evidence: None, ducked: true, reply_over: false });
        agenda.wake(Deadline::JudgeInterruption, onset + settings.barge_in.stop_unheard_after);
        agenda.wake(Deadline::RestoreVoice, onset + settings.barge_in.duck_limit);
        true
    }

    /// Takes words, and says whether they interrupt. Without speech over EVA's voice there is nothing
    /// to interrupt.
    pub(super) fn hear(
        &mut self,
        now: At,
        heard: &Hypothesis,
        is_final: bool,
        settings: &Settings,
    ) -> Decision {
        let evidence = self.weigh(now, heard, is_final, settings);
        let Some(overlap) = &mut self.now else { return Decision::Wait };
        overlap.evidence = Some(evidence);
        match evidence {
            Evidence::Interruption => Decision::Interrupt,
            _ => Decision::Wait,
        }
    }

    /// Whether words that are complete interrupt.
    pub(super) fn interrupts(&self, now: At, heard: &Hypothesis, settings: &Settings) -> bool {
        settings.barge_in.on && self.weigh(now, heard, true, settings) == Evidence::Interruption
    }

    fn weigh(&self, now: At, heard: &Hypothesis, is_final: bool, settings: &Settings) -> Evidence {
        let words = heard.words.reveal();
        let said: Vec<&str> = self.said.iter().map(|text| text.reveal().as_str()).collect();
        if is_echo_of(words, &said.join(" ")) {
            return Evidence::Nothing;
        }
        let lasted = heard.as_of.min(now).saturating_sub(self.now.map_or(now, |o| o.onset));
        let speech = Speech {
            words,
            margin: heard.confidence - heard.no_speech,
            relative_db: self.own_level.map(|own| heard.level_dbfs - own),
            lasted,
            is_final,
        };
        judge(speech, settings.language)
    }

    /// Speech that has lasted to its deadline, and still goes on. Where words are known, the words
    /// decide.
    pub(super) fn unheard(&self) -> Decision {
        let unheard = |overlap: &Overlap| !overlap.reply_over && overlap.evidence.is_none();
        if self.now.as_ref().is_some_and(unheard) { Decision::Interrupt } else { Decision::Wait }
    }

    /// EVA's voice has been lowered for as long as it may be.
    pub(super) fn duck_limit(&mut self, speaking: bool) -> Decision {
        match &mut self.now {
            Some(overlap) if overlap.ducked && !overlap.reply_over => {
                let unclear = overlap.evidence != Some(Evidence::Nothing);
                if speaking && unclear {
                    return Decision::Interrupt;
                }
                overlap.ducked = false;
                Decision::Restore
            }
            _ => Decision::Wait,
        }
    }

    /// The reply came to its end; true if EVA's voice is lowered.
    pub(super) fn reply_over(&mut self, agenda: &mut Agenda) -> bool {
        agenda.cancel(&[Deadline::JudgeInterruption, Deadline::RestoreVoice]);
        let Some(overlap) = &mut self.now else { return false };
        overlap.reply_over = true;
        std::mem::take(&mut overlap.ducked)
    }

    /// Words that were begun over a reply which is over: whether they only confirm it. An answer to
    /// a question of EVA's is an answer.
    pub(super) fn only_confirms(&self, now: At, heard: &Hypothesis, settings: &Settings) -> bool {
        let asked = self.said.back().is_some_and(|text| text.reveal().trim_end().ends_with('?'));
        self.now.is_some()
            && match self.weigh(now, heard, true, settings) {
                Evidence::Interruption => false,
                Evidence::Backchannel => !asked,
                Evidence::Nothing | Evidence::NotYet => true,
            }
    }

    /// It is judged; true if EVA's voice is lowered.
    pub(super) fn end(&mut self, agenda: &mut Agenda) -> bool {
        agenda.cancel(&[
            Deadline::JudgeInterruption,
            Deadline::RestoreVoice,
            Deadline::ResumeReply,
        ]);
        self.now.take().is_some_and(|overlap| overlap.ducked)
    }
}

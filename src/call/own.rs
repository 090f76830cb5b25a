//! What a client of EVA's own protocol can have done in a call.
//!
//! In: its frames. Out: typed turns, presses of the button, another voice, language or persona from the
//! next reply on; an error for what cannot be done. Realtime clients have `realtime.rs` instead.

use tokio::task::{JoinError, JoinHandle};

use super::button::Button;
use super::choices::{Cast, Choices, Plan};
use super::client::Event;
use super::frames::{Change, Frame};
use super::task::Call;
use crate::observability::{Milestone, TurnClock};
use crate::private::Private;
use crate::turn::{At, Input};
use crate::voices::VoiceError;

/// Frames that start work come at most at this pace, a second ...
const FRAMES_PER_SECOND: f32 = 4.0;
/// ... after so many at once.
const FRAMES_AT_ONCE: f32 = 12.0;

/// What a client of EVA's own protocol wants.
pub(super) struct Own {
    pub choices: Choices,
    pub plan: Plan,
    pub button: Button,
    /// The change that waits for its voice.
    pub changing: Option<Changing>,
    allowance: Allowance,
}

impl Own {
    pub(super) fn new(choices: Choices, plan: Plan) -> Self {
        let button = Button::default();
        Self { choices, plan, button, changing: None, allowance: Allowance::default() }
    }
}

/// A change whose voice is being loaded.
pub(super) struct Changing {
    plan: Plan,
    loading: JoinHandle<Result<Cast, VoiceError>>,
}

/// Waits for the voice of a change; none if it could not be loaded. Cancel-safe.
pub(super) async fn loaded(slot: &mut Option<Changing>) -> (Plan, Option<Cast>) {
    let Some(changing) = slot else { return std::future::pending().await };
    let result = (&mut changing.loading).await;
    let Some(changing) = slot.take() else { return std::future::pending().await };
    (changing.plan, or_logged(result))
}

/// What was loaded; why it was not is said in the log.
pub(super) fn or_logged<T>(result: Result<Result<T, VoiceError>, JoinError>) -> Option<T> {
    match result {
        Ok(Ok(loaded)) => Some(loaded),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a voice could not be loaded");
            None
        }
        Err(error) => {
            tracing::error!(%error, "the loading of a voice broke");
            None
        }
    }
}

/// How many frames may still be followed.
struct Allowance {
    left: f32,
    as_of: At,
    /// The client knows that it sends too much.
    told: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leave {
    /// It is followed.
    Given,
    /// It is one too many: the client is told.
    Refused,
    /// The client was told.
    Ignored,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: FRAMES_AT_ONCE, as_of: At::ZERO, told: false }
    }
}

impl Allowance {
    fn take(&mut self, now: At) -> Leave {
        let since = now.saturating_sub(self.as_of).as_secs_f32();
        self.left = (self.left + since * FRAMES_PER_SECOND).min(FRAMES_AT_ONCE);
        self.as_of = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            self.told = false;
            return Leave::Given;
        }
        if std::mem::replace(&mut self.told, true) { Leave::Ignored } else { Leave::Refused }
    }
}

impl Call {
    /// Takes a frame of EVA's own protocol.
    pub(super) fn own_client(&mut self, text: &str) {
        let now = self.clock.now();
        let frame = Frame::read(text);
        let done = match frame {
            // They cost nothing, and one that is lost would leave the button where it was.
            Ok(Frame::Press) => self.press(now),
            Ok(Frame::Release) => self.release(now),
            frame => match self.record.own.allowance.take(now) {
                Leave::Given => return self.follow_frame(now, frame),
                Leave::Refused => {
                    return self.refuse("bad_event", "Too many frames at once; wait a moment.");
                }
                Leave::Ignored => true,
            },
        };
        if !done {
            self.refuse("bad_event", "Turn push-to-talk on first, with eva.push_to_talk.");
        }
    }

    fn follow_frame(&mut self, now: At, frame: Result<Frame, String>) {
        match frame {
            Ok(Frame::Say(words)) => self.typed(now, words),
            Ok(Frame::PushToTalk(on)) => {
                self.push_to_talk(on);
                self.tell_configured();
            }
            Ok(Frame::Configure(change)) => self.change(&change),
            Ok(Frame::Press | Frame::Release) => {}
            Err(reason) => self.refuse("bad_event", &reason),
        }
    }

    /// Takes words that the person typed.
    fn typed(&mut self, now: At, words: Private<String>) {
        self.record.clock = TurnClock::default();
        self.record.clock.pass(Milestone::SpeechEnd, now);
        self.turn.tell(now, Input::Typed { words });
    }

    fn change(&mut self, change: &Change) {
        let own = &mut self.record.own;
        let before = own.changing.as_ref().map_or(&own.plan, |changing| &changing.plan).clone();
        let plan = own.choices.changed(before, change);
        let plan = plan.and_then(|plan| match &plan.voice {
            Some(spec) => self.engines.voices.check(spec).map(|()| plan).map_err(Into::into),
            None => Ok(plan),
        });
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return self.refuse(error.code(), &error.sentence()),
        };
        if own.choices.is_ready(&plan) {
            own.changing = None;
            let cast = own.choices.cast(&plan).ok();
            return self.take_cast(plan, cast);
        }
        let (choices, wanted) = (own.choices.clone(), plan.clone());
        let loading = tokio::task::spawn_blocking(move || choices.cast(&wanted));
        own.changing = Some(Changing { plan, loading });
    }

    /// Follows a change from the next reply on.
    pub(super) fn take_cast(&mut self, plan: Plan, cast: Option<Cast>) {
        let Some(cast) = cast else {
            let message = "The voice could not be loaded; EVA keeps the one she has.";
            return self.refuse("bad_voice", message);
        };
        self.engines.tongues = cast.tongues;
        (self.engines.voice, self.engines.clips) = (cast.voice, cast.clips);
        if self.settings.language != plan.language {
            self.record.language = None;
            self.settings.set_language(plan.language);
            self.ears.set_language(plan.language);
            let settings = Box::new(self.settings.turn.clone());
            self.turn.tell(self.clock.now(), Input::Configured(settings));
        }
        if let Some(language) = self.record.language {
            self.speak(language);
        }
        self.settings.persona = plan.persona.clone();
        self.history.instruct(self.settings.instructions());
        self.record.own.plan = plan;
        self.engines.llm.read_ahead(self.prompt(&Private::default()));
        self.tell_configured();
    }

    fn tell_configured(&mut self) {
        let voice = self.engines.voice.name();
        self.line.tell(&Event::Configured {
            voice: &voice,
            language: self.settings.language,
            persona: &self.settings.persona.name,
            push_to_talk: self.record.own.button != Button::Absent,
        });
    }

    fn refuse(&mut self, code: &str, message: &str) {
        tracing::debug!(call = %self.id, code, "a client's frame is refused");
        self.tell(&Event::Error { code, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_and_costs_nothing_more() {
        let mut allowance = Allowance::default();
        let at = |ms| At::from_millis(ms);
        let mut flood = (0..1000).map(|frame| allowance.take(at(1000 + frame / 10)));
        assert!(flood.by_ref().take(12).all(|leave| leave == Leave::Given));
        assert_eq!(flood.by_ref().next(), Some(Leave::Refused));
        assert!(flood.by_ref().all(|leave| leave == Leave::Ignored));
        assert_eq!(allowance.take(at(2000)), Leave::Given, "a moment later");
    }
}

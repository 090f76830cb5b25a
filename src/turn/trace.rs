//! What a machine was told and what it said, line by line; and whether it says the same again.
//!
//! In: inputs, wake-ups and actions with their times. Out: lines of JSON, and what replaying them
//! shows. The machine is pure: the same lines give the same actions, to the bit. Holds words people
//! said: a trace is written only where the owner asks for it. Reads and writes no files itself.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Action, At, Deadline, Input, Settings, TurnMachine};

/// The format's version.
const VERSION: u32 = 1;

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first line.
    Trace {
        /// The format's version, 1.
        version: u32,
        /// What the machine was made with.
        #[serde(default)]
        settings: Box<Settings>,
        /// What the dialogue shows, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        about: String,
    },
    /// The machine was told something.
    Told {
        /// Microseconds since the call began.
        #[serde(with = "micros")]
        at: At,
        /// What.
        input: Input,
    },
    /// A deadline had come.
    Woke {
        /// Microseconds since the call began.
        #[serde(with = "micros")]
        at: At,
    },
    /// The machine said what to do.
    Did {
        /// What.
        action: Action,
    },
}

impl Line {
    /// The first line of a new trace.
    pub fn first(settings: &Settings) -> Self {
        let settings = Box::new(settings.clone());
        Self::Trace { version: VERSION, settings, about: String::new() }
    }

    /// The line's text, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a trace holds nothing that JSON cannot")
    }
}

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A line is not one.
    #[error("line {line} is no line of a trace: {reason}")]
    Unreadable {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The first line is missing.
    #[error("the first line must be {{\"trace\":{{\"version\":{VERSION}}}}}")]
    NoHead,
}

/// Something that happened in a replay, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: At,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The machine was told this.
    Told(Input),
    /// It woke, for this if for anything.
    Woke(Option<Deadline>),
    /// It said this.
    Did(Action),
    /// The trace says that it said this, and it did not.
    Missing(Action),
    /// The trace says nothing of this, and it said it.
    Unexpected(Action),
}

/// A replayed trace.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What the trace is about.
    pub about: String,
    /// All that happened, in order.
    pub events: Vec<Event>,
    /// Whether the machine said what the trace says.
    pub same: bool,
}

/// Replays a trace.
///
/// # Errors
/// [`TraceError`], with the line's number.
pub fn replay(text: &str) -> Result<Replay, TraceError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        serde_json::from_str::<Line>(line)
            .map_err(|error| TraceError::Unreadable { line: number + 1, reason: error.to_string() })
    };
    let head = lines.next().map(read).transpose()?;
    let Some(Line::Trace { version: VERSION, settings, about }) = head else {
        return Err(TraceError::NoHead);
    };
    let mut player = Player {
        machine: TurnMachine::new(*settings),
        said: VecDeque::new(),
        now: At::ZERO,
        events: Vec::new(),
        same: true,
    };
    for line in lines {
        player.line(read(line)?);
    }
    player.unexpected();
    Ok(Replay { about, events: player.events, same: player.same })
}

struct Player {
    machine: TurnMachine,
    /// What the machine has said and the trace has not.
    said: VecDeque<Action>,
    now: At,
    events: Vec<Event>,
    same: bool,
}

impl Player {
    fn line(&mut self, line: Line) {
        match line {
            Line::Trace { .. } => {}
            Line::Told { at, input } => {
                self.unexpected();
                self.event(at, What::Told(input.clone()));
                self.machine.handle(at, input);
                self.listen();
            }
            Line::Woke { at } => {
                self.unexpected();
                let due = self.machine.poll_timeout().filter(|(due, _)| *due <= at);
                self.event(at, What::Woke(due.map(|(_, why)| why)));
                self.machine.handle_timeout(at);
                self.listen();
            }
            Line::Did { action } => self.compare(action),
        }
    }

    fn listen(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            self.said.push_back(action);
        }
    }

    fn compare(&mut self, expected: Action) {
        let (now, said) = (self.now, self.said.front() == Some(&expected));
        if said {
            self.said.pop_front();
            self.event(now, What::Did(expected));
        } else {
            self.same = false;
            self.event(now, What::Missing(expected));
        }
    }

    fn unexpected(&mut self) {
        while let Some(action) = self.said.pop_front() {
            self.same = false;
            self.event(self.now, What::Unexpected(action));
        }
    }

    fn event(&mut self, at: At, what: What) {
        self.now = at;
        self.events.push(Event { at, what });
    }
}

/// [`At`] as whole microseconds.
pub(super) mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::turn) fn serialize<S: Serializer>(
        at: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.as_micros() as u64)
    }

    pub(in crate::turn) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }
}

/// Words, in the open: a trace is asked for.
pub(super) mod revealed {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::private::Private;

    pub(in crate::turn) fn serialize<S: Serializer>(
        words: &Private<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(words.reveal())
    }

    pub(in crate::turn) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Private<String>, D::Error> {
        String::deserialize(from).map(Private::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ReplyId;
    use crate::private::Private;
    use crate::turn::{Hypothesis, PassId};

    fn input() -> impl Strategy<Value = Input> {
        let words = prop::sample::select(vec!["", "Mhm.", "What time is it?", "I want to"]);
        let heard = (words, 0.0f32..1.0, 0.0f32..1.0).prop_map(|(words, confidence, no_speech)| {
            let words = Private::new(words.to_owned());
            Hypothesis {
                words,
                confidence,
                no_speech,
                level_dbfs: -30.0,
                as_of: At::from_millis(3),
            }
        });
        let (pass, reply) = ((0u32..6).prop_map(PassId), (0u32..6).prop_map(ReplyId));
        prop_oneof![
            3 => (0u64..1 << 40).prop_map(|at| Input::SpeechStarted { onset: At::from_micros(at) }),
            3 => Just(Input::SilenceHint),
            3 => (0u64..1 << 40).prop_map(|at| Input::Paused { last_voiced: At::from_micros(at) }),
            2 => heard.clone().prop_map(Input::PartialWords),
            3 => (pass.clone(), heard).prop_map(|(pass, heard)| Input::FinalWords { pass, heard }),
            3 => (pass, 0.0f32..1.0)
                .prop_map(|(pass, probability)| Input::EndOfTurn { pass, probability }),
            2 => reply.clone().prop_map(|reply| Input::ReplySounds { reply }),
            1 => reply.prop_map(|reply| Input::ReplyEnded { reply }),
        ]
    }

    /// What a call would have written.
    fn record(told: &[(u64, Input)]) -> String {
        let settings = Settings::default();
        let mut machine = TurnMachine::new(settings.clone());
        let mut lines = vec![Line::first(&settings)];
        let mut now = At::ZERO;
        for (gap, input) in told {
            now += At::from_micros(*gap);
            if machine.poll_timeout().is_some_and(|(at, _)| at <= now) {
                lines.push(Line::Woke { at: now });
                machine.handle_timeout(now);
                lines.extend(drain(&mut machine));
            }
            lines.push(Line::Told { at: now, input: input.clone() });
            machine.handle(now, input.clone());
            lines.extend(drain(&mut machine));
        }
        lines.iter().map(|line| line.to_json() + "\n").collect()
    }

    fn drain(machine: &mut TurnMachine) -> Vec<Line> {
        std::iter::from_fn(|| machine.poll_action()).map(|action| Line::Did { action }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_trace_gives_the_same_decisions_again(
            told in prop::collection::vec((1u64..700_000, input()), 1..60)
        ) {
            let text = record(&told);
            let replay = replay(&text).unwrap();
            prop_assert!(replay.same, "{:?}", replay.events);
        }
    }

    #[test]
    fn a_difference_is_shown_where_it_is() {
        let told =
            [(100_000, Input::SpeechStarted { onset: At::ZERO }), (900_000, Input::SilenceHint)];
        let text = record(&told);
        assert!(text.contains("start_pass"));
        let other = replay(&text.replace(r#""pass":1"#, r#""pass":7"#)).unwrap();
        assert!(!other.same);
        let missing = other
            .events
            .iter()
            .any(|event| event.what == What::Missing(Action::StartPass { pass: PassId(7) }));
        assert!(missing, "{:?}", other.events);
    }

    #[test]
    fn what_is_no_trace_is_said() {
        assert!(replay("").unwrap_err().to_string().contains("first line"));
        let head = Line::first(&Settings::default()).to_json();
        let error = replay(&format!("{head}\n{{\"told\":7}}")).unwrap_err().to_string();
        assert!(error.starts_with("line 2 is no line of a trace"), "{error}");
    }
}

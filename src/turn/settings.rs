//! The settings of a conversation, each with its default's reason.
//!
//! In: nothing, or a part of the settings as JSON or TOML. Out: [`Settings`]. `docs/conversation.md`
//! says what each does to the figures. Times are written in milliseconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::language::Language;

/// Longer than any time that makes sense in a conversation: 24 hours.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// All settings of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Language of the lists that judge words.
    pub language: Language,
    /// When the person's turn is over.
    pub endpointing: Endpointing,
    /// What speech over EVA's voice does.
    pub barge_in: BargeIn,
    /// What is said while a reply is late.
    pub fillers: Fillers,
    /// What EVA says while the person has the floor.
    pub backchannels: Backchannels,
    /// What happens when nobody speaks.
    pub silence: Silence,
}

/// When the person's turn is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpointing {
    /// Votes at or above this call the turn over. Smart Turn's own threshold.
    pub vote_threshold: f32,
    /// How long to wait, counted from the pause, when the words look finished but the vote says no.
    #[serde(rename = "wait_on_doubt_ms", with = "millis")]
    pub wait_on_doubt: Duration,
    /// How long to wait when the vote says yes but the words end in mid-sentence.
    #[serde(rename = "wait_on_open_words_ms", with = "millis")]
    pub wait_on_open_words: Duration,
    /// How long to wait when both say that the person goes on: the longest wait of all.
    #[serde(rename = "wait_on_unfinished_ms", with = "millis")]
    pub wait_on_unfinished: Duration,
    /// How long the words wait for the vote.
    #[serde(rename = "vote_patience_ms", with = "millis")]
    pub vote_patience: Duration,
    /// Whether a turn is answered at all; off, replies come only when a client asks for them.
    pub respond: bool,
    /// The shortest wait, counted from the pause, however finished the turn seems.
    #[serde(rename = "least_wait_ms", with = "millis")]
    pub least_wait: Duration,
    /// Whether replies are begun behind the gate before the turn is committed. Off: each reply
    /// comes later by the brain's own time, and no token is made in vain.
    pub speculate: bool,
}

impl Default for Endpointing {
    fn default() -> Self {
        Self {
            vote_threshold: 0.5,
            wait_on_doubt: Duration::from_millis(600),
            wait_on_open_words: Duration::from_millis(1000),
            wait_on_unfinished: Duration::from_millis(2500),
            vote_patience: Duration::from_millis(150),
            respond: true,
            least_wait: Duration::ZERO,
            speculate: true,
        }
    }
}

/// What speech over EVA's voice does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BargeIn {
    /// Whether the person can interrupt at all.
    pub on: bool,
    /// Speech that lasts this long while no word of it is known yet is an interruption: a slow
    /// recogniser must not make EVA deaf.
    #[serde(rename = "stop_unheard_after_ms", with = "millis")]
    pub stop_unheard_after: Duration,
    /// How long EVA's voice stays lowered for something that proves to be no interruption.
    #[serde(rename = "duck_limit_ms", with = "millis")]
    pub duck_limit: Duration,
    /// A reply that was stopped goes on where it was if nothing is said for so long.
    #[serde(rename = "resume_after_ms", with = "millis")]
    pub resume_after: Duration,
}

impl Default for BargeIn {
    fn default() -> Self {
        Self {
            on: true,
            stop_unheard_after: Duration::from_millis(900),
            duck_limit: Duration::from_millis(2000),
            resume_after: Duration::from_millis(2000),
        }
    }
}

/// What is said while a reply is late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fillers {
    /// Whether anything is.
    pub on: bool,
    /// A reply that is not heard so long after its turn was committed gets a filler before it.
    #[serde(rename = "after_ms", with = "millis")]
    pub after: Duration,
    /// If there is still nothing (a tool takes its time), another one follows so much later.
    #[serde(rename = "again_ms", with = "millis")]
    pub again: Duration,
    /// The most fillers of one reply.
    pub most: u32,
}

impl Default for Fillers {
    fn default() -> Self {
        Self {
            on: true,
            after: Duration::from_millis(400),
            again: Duration::from_millis(4000),
            most: 3,
        }
    }
}

/// EVA's own "mhm" while the person has the floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backchannels {
    /// Whether EVA says any.
    pub on: bool,
    /// The most in a minute.
    pub per_minute: u32,
    /// They are at least so far apart.
    #[serde(rename = "apart_ms", with = "millis")]
    pub apart: Duration,
    /// The person must have had the floor for so long: a listener who confirms at once is in a hurry.
    #[serde(rename = "floor_held_ms", with = "millis")]
    pub floor_held: Duration,
    /// Only where the end-of-turn vote is at most this.
    pub highest_vote: f32,
    /// Only where the wait for the person to go on is at least so long: the clip must fit in.
    #[serde(rename = "least_wait_ms", with = "millis")]
    pub least_wait: Duration,
}

impl Default for Backchannels {
    fn default() -> Self {
        Self {
            on: true,
            per_minute: 6,
            apart: Duration::from_millis(8000),
            floor_held: Duration::from_millis(2500),
            highest_vote: 0.35,
            least_wait: Duration::from_millis(600),
        }
    }
}

/// What happens when nobody speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Silence {
    /// Whether EVA asks once if the person is still there.
    pub ask: bool,
    /// After so long.
    #[serde(rename = "ask_after_ms", with = "millis")]
    pub ask_after: Duration,
    /// The call ends when nobody has spoken for so long.
    #[serde(rename = "hang_up_after_ms", with = "millis")]
    pub hang_up_after: Duration,
    /// The longest call.
    #[serde(rename = "longest_call_ms", with = "millis")]
    pub longest_call: Duration,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            ask: true,
            ask_after: Duration::from_secs(20),
            hang_up_after: Duration::from_secs(10 * 60),
            longest_call: Duration::from_secs(4 * 3600),
        }
    }
}

/// Settings that cannot be used, as a sentence.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0}")]
pub struct SettingsError(pub String);

impl Settings {
    /// The same with the changes that a JSON object names, `{"fillers":{"on":false}}`.
    ///
    /// # Errors
    /// A sentence, if there is no such setting or its value cannot be used.
    pub fn changed_by(&self, changes: &serde_json::Value) -> Result<Self, SettingsError> {
        let mut whole = serde_json::to_value(self).expect("settings hold nothing that JSON cannot");
        merge(&mut whole, changes);
        let changed: Self = serde_json::from_value(whole).map_err(|error| {
            SettingsError(format!("The conversation's settings cannot be used: {error}."))
        })?;
        changed.check()?;
        Ok(changed)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let shares = [
            ("endpointing.vote_threshold", self.endpointing.vote_threshold),
            ("backchannels.highest_vote", self.backchannels.highest_vote),
        ];
        if let Some((name, value)) = shares.iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(SettingsError(format!("{name} must lie between 0 and 1, and is {value}.")));
        }
        Ok(())
    }
}

fn merge(whole: &mut serde_json::Value, changes: &serde_json::Value) {
    match (whole, changes) {
        (serde_json::Value::Object(whole), serde_json::Value::Object(changes)) => {
            for (name, change) in changes {
                merge(whole.entry(name.clone()).or_insert(serde_json::Value::Null), change);
            }
        }
        (whole, changes) => *whole = changes.clone(),
    }
}

/// Durations as whole milliseconds, at most [`LONGEST`].
mod millis {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.as_millis() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let duration = Duration::from_millis(u64::deserialize(from)?);
        if duration > super::LONGEST {
            return Err(D::Error::custom("a time is longer than a day (they are milliseconds)"));
        }
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_touch_what_they_name() {
        let base = Settings { language: Language::Fr, ..Settings::default() };
        let changes = serde_json::json!({"fillers": {"on": false}, "silence": {"ask_after_ms": 5}});
        let changed = base.changed_by(&changes).unwrap();
        let mut expected = base;
        expected.fillers.on = false;
        expected.silence.ask_after = Duration::from_millis(5);
        assert_eq!(changed, expected);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let refuse = |changes: &str| {
            let changes = serde_json::from_str(changes).unwrap();
            Settings::default().changed_by(&changes).unwrap_err().0
        };
        assert!(refuse(r#"{"fillers":{"of":false}}"#).contains("unknown field `of`"));
        assert!(refuse(r#"{"fillers":{"after_ms":-1}}"#).contains("invalid value"));
        assert!(refuse(r#"{"fillers":{"after_ms":90000000}}"#).contains("longer than a day"));
        assert!(refuse(r#"{"endpointing":{"vote_threshold":2}}"#).contains("between 0 and 1"));
        assert!(refuse("7").contains("cannot be used"));
    }

    #[test]
    fn settings_come_back_from_json() {
        let settings = Settings::default();
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }
}

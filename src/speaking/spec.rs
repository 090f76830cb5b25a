//! A voice as people write it: `NAME[#SPEAKER][@SPEED]`.
//!
//! In: text such as `en_US-libritts_r-medium#3922@1.2`. Out: a [`VoiceSpec`]. Whether there is such
//! a voice, and such a speaker, is found out where voices are loaded.

use std::fmt;
use std::str::FromStr;

/// The slowest and the fastest speed, as factors of the voice's own.
pub const SPEEDS: std::ops::RangeInclusive<f32> = 0.25..=4.0;

/// Which voice to speak with, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct VoiceSpec {
    /// The model's name, `en_US-joe-medium`: voices that differ in the rest share its network.
    pub model: String,
    /// The speaker's name or number in a model of several; its first one where `None`.
    pub speaker: Option<String>,
    /// 1 is the voice's own speed, 2 twice as fast. The phonemes become shorter, not the wave:
    /// the pitch stays.
    pub speed: f32,
}

/// Why a text names no voice.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// The name is missing.
    #[error("a voice is written NAME, NAME#SPEAKER, NAME@SPEED or NAME#SPEAKER@SPEED")]
    NoName,
    /// The speed is none.
    #[error(
        "\"{0}\" is no speed: write a number from {low} to {high}, such as NAME@1.2",
        low = SPEEDS.start(), high = SPEEDS.end()
    )]
    Speed(String),
    /// Nothing stands after the `#`.
    #[error("the speaker after # is missing: write its name or number")]
    NoSpeaker,
}

impl VoiceSpec {
    /// A model as it is: its first speaker, its own speed.
    pub fn of(model: impl Into<String>) -> Self {
        Self { model: model.into(), speaker: None, speed: 1.0 }
    }

    /// The same at another speed.
    ///
    /// # Errors
    /// The speed is out of [`SPEEDS`].
    pub fn at_speed(mut self, speed: f32) -> Result<Self, SpecError> {
        if !SPEEDS.contains(&speed) {
            return Err(SpecError::Speed(speed.to_string()));
        }
        self.speed = speed;
        Ok(self)
    }
}

impl FromStr for VoiceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let text = text.trim();
        let (rest, speed) = match text.rsplit_once('@') {
            Some((rest, speed)) => (rest, Some(speed.trim())),
            None => (text, None),
        };
        let (model, speaker) = match rest.split_once('#') {
            Some((model, speaker)) => (model, Some(speaker.trim())),
            None => (rest, None),
        };
        let model = model.trim();
        if model.is_empty() {
            return Err(SpecError::NoName);
        }
        if speaker == Some("") {
            return Err(SpecError::NoSpeaker);
        }
        let spec = Self { speaker: speaker.map(str::to_owned), ..Self::of(model) };
        match speed {
            None => Ok(spec),
            Some(speed) => {
                let wrong = || SpecError::Speed(speed.to_owned());
                spec.at_speed(speed.parse().map_err(|_| wrong())?).map_err(|_| wrong())
            }
        }
    }
}

impl fmt::Display for VoiceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.model)?;
        if let Some(speaker) = &self.speaker {
            write!(f, "#{speaker}")?;
        }
        if self.speed != 1.0 {
            write!(f, "@{}", self.speed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(model: &str, speaker: Option<&str>, speed: f32) -> VoiceSpec {
        VoiceSpec { model: model.to_owned(), speaker: speaker.map(str::to_owned), speed }
    }

    #[test]
    fn every_part_is_read_and_written_back() {
        for (text, expected) in [
            ("en_US-joe-medium", spec("en_US-joe-medium", None, 1.0)),
            ("en_US-libritts-high#p3922", spec("en_US-libritts-high", Some("p3922"), 1.0)),
            ("joe@1.2", spec("joe", None, 1.2)),
            ("fr_FR-upmc-medium#pierre@0.8", spec("fr_FR-upmc-medium", Some("pierre"), 0.8)),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!(" joe # 2 @ 1 ".parse(), Ok(spec("joe", Some("2"), 1.0)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("", SpecError::NoName),
            ("#pierre", SpecError::NoName),
            ("@2", SpecError::NoName),
            ("joe#", SpecError::NoSpeaker),
            ("joe@", SpecError::Speed(String::new())),
            ("joe@fast", SpecError::Speed("fast".to_owned())),
            ("joe@0", SpecError::Speed("0".to_owned())),
            ("joe@NaN", SpecError::Speed("NaN".to_owned())),
            ("joe@-1", SpecError::Speed("-1".to_owned())),
        ] {
            assert_eq!(text.parse::<VoiceSpec>(), Err(error), "{text}");
        }
        assert!(SpecError::Speed("x".to_owned()).to_string().contains("from 0.25 to 4"));
    }
}

//! What clients of EVA's own protocol say: the `eva.*` frames on the data channel, one JSON object each.
//!
//! In: a text. Out: a [`Frame`], or a sentence that says what is wrong with it. Pure.

use serde::Deserialize;
use serde_json::Value;

use crate::private::Private;

/// The longest text that can be typed at once, in characters.
const LONGEST_TEXT: usize = 4_000;
/// The longest frame, in bytes: such a text with every letter escaped.
const LONGEST_FRAME: usize = 32 * 1024;
/// The frames there are.
const KNOWN: &str = "eva.say, eva.push_to_talk, eva.press, eva.release and eva.configure";

/// A client's frame.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    /// The person typed this; it is not empty.
    Say(Private<String>),
    /// Turns begin and end with a button, or with the voice again.
    PushToTalk(bool),
    /// The button is down.
    Press,
    /// The button is up.
    Release,
    /// The call is to be another from the next reply on.
    Configure(Change),
}

/// What is to be changed; empty texts ask for what a call has that asks for nothing.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Change {
    /// The voice, as [`crate::speaking::VoiceSpec`] reads it.
    pub voice: Option<String>,
    /// `en`, `fr` or `auto`.
    pub language: Option<String>,
    /// The persona's name.
    pub persona: Option<String>,
}

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    /// A sentence that says what to send.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_FRAME {
            let most = LONGEST_FRAME / 1024;
            return Err(format!("The frame is longer than {most} KiB; send less at once."));
        }
        let frame: Value = serde_json::from_str(text)
            .map_err(|_| "The frame is not JSON; send one JSON object a frame.".to_owned())?;
        let Some(kind) = frame["type"].as_str() else {
            return Err(format!("The frame needs a type, one of {KNOWN}."));
        };
        match kind {
            "eva.say" => said(frame["text"].as_str()),
            "eva.push_to_talk" => match frame["on"].as_bool() {
                Some(on) => Ok(Self::PushToTalk(on)),
                None => Err("The field on of eva.push_to_talk must be true or false.".to_owned()),
            },
            "eva.press" => Ok(Self::Press),
            "eva.release" => Ok(Self::Release),
            "eva.configure" => change(frame),
            other => {
                let other: String = other.chars().take(40).collect();
                Err(format!("There is no frame \"{other}\"; there are {KNOWN}."))
            }
        }
    }
}

fn said(text: Option<&str>) -> Result<Frame, String> {
    let Some(text) = text else {
        return Err("The field text of eva.say must be a text.".to_owned());
    };
    let spoken = |c: char| !c.is_control() || c == '\n';
    let words: String = text.trim().chars().filter(|c| spoken(*c)).collect();
    if words.trim().is_empty() {
        return Err("There is nothing in text: write some words.".to_owned());
    }
    if words.chars().count() > LONGEST_TEXT {
        return Err(format!(
            "The text is longer than {LONGEST_TEXT} characters; send it in parts."
        ));
    }
    Ok(Frame::Say(Private::new(words)))
}

fn change(frame: Value) -> Result<Frame, String> {
    let change: Change = serde_json::from_value(frame).map_err(|_| {
        "The fields voice, language and persona of eva.configure must be texts.".to_owned()
    })?;
    if change == Change::default() {
        return Err("eva.configure needs a voice, a language or a persona.".to_owned());
    }
    Ok(Frame::Configure(change))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read() {
        let say = |text: &str| Ok(Frame::Say(Private::new(text.to_owned())));
        assert_eq!(Frame::read(r#"{"type":"eva.say","text":" Hi.\u0007 "}"#), say("Hi."));
        assert_eq!(Frame::read(r#"{"type":"eva.press","at":7}"#), Ok(Frame::Press));
        assert_eq!(Frame::read(r#"{"type":"eva.release"}"#), Ok(Frame::Release));
        let on = Frame::read(r#"{"type":"eva.push_to_talk","on":true}"#);
        assert_eq!(on, Ok(Frame::PushToTalk(true)));
        let change = Change { voice: Some("joe".to_owned()), ..Change::default() };
        let configure = r#"{"type":"eva.configure","voice":"joe","language":null}"#;
        assert_eq!(Frame::read(configure), Ok(Frame::Configure(change)));
    }

    #[test]
    fn what_cannot_be_read_is_told_in_a_sentence() {
        let long = format!(r#"{{"type":"eva.say","text":"{}"}}"#, "a".repeat(4_001));
        let longest = format!(r#"{{"type":"eva.say","text":"{}"}}"#, "é".repeat(4_000));
        assert!(Frame::read(&longest).is_ok());
        for (text, expected) in [
            ("", "not JSON"),
            ("[[[", "not JSON"),
            ("7", "needs a type, one of eva.say"),
            (r#"{"type":"eva.sing"}"#, "no frame \"eva.sing\"; there are eva.say"),
            (r#"{"type":"eva.say"}"#, "must be a text"),
            (r#"{"type":"eva.say","text":" \n"}"#, "write some words"),
            (long.as_str(), "longer than 4000 characters"),
            (&" ".repeat(40_000), "longer than 32 KiB"),
            (r#"{"type":"eva.push_to_talk","on":"yes"}"#, "true or false"),
            (r#"{"type":"eva.configure","voice":7}"#, "must be texts"),
            (r#"{"type":"eva.configure"}"#, "needs a voice"),
        ] {
            let error = Frame::read(text).expect_err(text);
            assert!(error.contains(expected) && error.ends_with('.'), "{text}: {error}");
        }
    }
}

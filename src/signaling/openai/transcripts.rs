//! A transcript in OpenAI's five shapes: `json`, `text`, `srt`, `vtt`, `verbose_json`.

use std::fmt::Write;
use std::str::FromStr;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::chat::transcription::Segment;
use crate::language::Language;
use crate::signaling::ApiError;

/// The shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Json,
    Text,
    Srt,
    Vtt,
    VerboseJson,
}

impl FromStr for Shape {
    type Err = ApiError;

    fn from_str(name: &str) -> Result<Self, ApiError> {
        Ok(match name {
            "json" => Self::Json,
            "text" => Self::Text,
            "srt" => Self::Srt,
            "vtt" => Self::Vtt,
            "verbose_json" => Self::VerboseJson,
            _ => {
                let message = "Choose json, text, srt, vtt or verbose_json as the response_format.";
                let error = ApiError::bad_request("unknown_format", message);
                return Err(error.about("response_format"));
            }
        })
    }
}

impl Shape {
    /// Whether its words can come as events.
    pub fn streams(self) -> bool {
        matches!(self, Self::Json | Self::Text)
    }
}

/// A recording's words.
pub(super) struct Transcript {
    pub segments: Vec<Segment>,
    /// How long the recording plays.
    pub seconds: f64,
    /// The language that was listened for.
    pub language: Language,
}

impl Transcript {
    pub fn response(&self, shape: Shape) -> Response {
        let plain = |kind, text: String| ([(header::CONTENT_TYPE, kind)], text).into_response();
        match shape {
            Shape::Json => {
                Json(json!({"text": self.text(), "usage": self.usage()})).into_response()
            }
            Shape::Text => plain("text/plain; charset=utf-8", format!("{}\n", self.text())),
            Shape::Srt => plain("application/x-subrip; charset=utf-8", self.srt()),
            Shape::Vtt => plain("text/vtt; charset=utf-8", self.vtt()),
            Shape::VerboseJson => Json(self.verbose()).into_response(),
        }
    }

    fn text(&self) -> String {
        let texts = self.segments.iter().map(|segment| segment.text.reveal().as_str());
        texts.collect::<Vec<_>>().join(" ")
    }

    fn usage(&self) -> Value {
        json!({"type": "duration", "seconds": self.seconds.ceil()})
    }

    fn srt(&self) -> String {
        let mut text = String::new();
        for (number, segment) in (1..).zip(&self.segments) {
            let (start, end) = (time(segment.span_s.0, ','), time(segment.span_s.1, ','));
            let _ = write!(text, "{number}\n{start} --> {end}\n{}\n\n", segment.text.reveal());
        }
        text
    }

    fn vtt(&self) -> String {
        let mut text = "WEBVTT\n\n".to_owned();
        for segment in &self.segments {
            let (start, end) = (time(segment.span_s.0, '.'), time(segment.span_s.1, '.'));
            // "-->" would end a cue's text (WebVTT, section 4.1).
            let words = segment.text.reveal().replace("-->", "->");
            let _ = write!(text, "{start} --> {end}\n{words}\n\n");
        }
        text
    }

    fn verbose(&self) -> Value {
        let segments = self.segments.iter().enumerate().map(|(id, segment)| {
            json!({
                "id": id,
                "seek": 0,
                "start": hundredth(segment.span_s.0),
                "end": hundredth(segment.span_s.1),
                "text": segment.text.reveal(),
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": f64::from(segment.confidence.max(1e-6).ln()),
                "compression_ratio": null,
                "no_speech_prob": segment.no_speech,
            })
        });
        json!({
            "task": "transcribe",
            "language": self.spoken(),
            "duration": hundredth(self.seconds),
            "text": self.text(),
            "segments": segments.collect::<Vec<_>>(),
            "usage": self.usage(),
        })
    }

    /// The language of most segments, by the name OpenAI has for it.
    fn spoken(&self) -> &'static str {
        let french =
            self.segments.iter().filter(|segment| segment.language == Language::Fr).count();
        let is_french = match self.language {
            Language::Fr => true,
            Language::En => false,
            Language::Auto => 2 * french > self.segments.len(),
        };
        if is_french { "french" } else { "english" }
    }
}

fn hundredth(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

/// `01:02:03,456`
fn time(seconds: f64, point: char) -> String {
    let ms = (seconds * 1000.0).round() as u64;
    let (s, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}{point}{ms:03}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::Private;

    fn transcript() -> Transcript {
        let segment = |start, end, text: &str| Segment {
            span_s: (start, end),
            text: Private::new(text.to_owned()),
            language: Language::En,
            confidence: 0.9,
            no_speech: 0.01,
        };
        let segments =
            vec![segment(0.25, 2.5, "Hello there."), segment(3_725.04, 3_726.0, "Good --> bye.")];
        Transcript { segments, seconds: 3_726.2, language: Language::En }
    }

    #[test]
    fn subtitles_have_their_times() {
        assert_eq!(
            transcript().srt(),
            "1\n00:00:00,250 --> 00:00:02,500\nHello there.\n\n\
             2\n01:02:05,040 --> 01:02:06,000\nGood --> bye.\n\n"
        );
        assert_eq!(
            transcript().vtt(),
            "WEBVTT\n\n00:00:00.250 --> 00:00:02.500\nHello there.\n\n\
             01:02:05.040 --> 01:02:06.000\nGood -> bye.\n\n"
        );
    }

    #[test]
    fn the_verbose_shape_is_openais() {
        let verbose = transcript().verbose();
        assert_eq!(verbose["text"], "Hello there. Good --> bye.");
        assert_eq!(verbose["language"], "english");
        assert_eq!(verbose["duration"], 3_726.2);
        assert_eq!(verbose["segments"][1]["start"], 3_725.04);
        assert_eq!(verbose["usage"]["seconds"], 3_727.0);
    }
}

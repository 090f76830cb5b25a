//! A text to the bytes of a sound file, without a call.
//!
//! In: a text, a voice, a format. Out: bytes, the first as soon as the first chunk is spoken. The
//! text is cut into sentences as a reply is; the first is as urgent as a reply's first, the others
//! give way to calls. Dropping it withdraws what is not spoken yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::bound::Permit;
use super::encoding::{Encoder, Format, encode_gently};
use crate::audio::opus::OpusError;
use crate::call::reply::spoken::Spoken;
use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::private::Private;
use crate::speaking::{SpeakError, Speech, Voice};
use crate::thinking::sentences::{PieceKind, Splitter};

/// Why a text was not spoken to its end.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// The voice refuses or fails.
    #[error(transparent)]
    Voice(#[from] SpeakError),
    /// The sound could not be encoded.
    #[error(transparent)]
    Encoding(#[from] OpusError),
}

/// A text that is being spoken.
pub struct SpeechStream {
    voice: Arc<dyn Voice>,
    pieces: VecDeque<String>,
    speaking: Option<Spoken>,
    encoder: Option<Encoder>,
    begun: bool,
    _place: Permit,
}

impl SpeechStream {
    /// Starts on the text; the place is given back when the stream is dropped.
    ///
    /// # Errors
    /// The format cannot be encoded on this machine.
    pub fn new(
        voice: Arc<dyn Voice>,
        text: &str,
        format: Format,
        place: Permit,
    ) -> Result<Self, SpeechError> {
        let mut splitter = Splitter::new();
        let mut pieces = splitter.push(text);
        pieces.extend(splitter.finish());
        let speakable = pieces.into_iter().filter(|piece| piece.kind != PieceKind::Silent);
        let encoder = Encoder::new(format, voice.sample_rate())?;
        let mut stream = Self {
            voice,
            pieces: speakable.map(|piece| piece.text).collect(),
            speaking: None,
            encoder: Some(encoder),
            begun: false,
            _place: place,
        };
        stream.speak_next(Urgency::Now);
        Ok(stream)
    }

    /// The next bytes of the file; `None` at its end. A text without anything to say has none.
    ///
    /// # Errors
    /// The voice fails; nothing follows.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, SpeechError> {
        while let Some(speaking) = &mut self.speaking {
            let Some(chunk) = speaking.chunk().await.transpose()? else {
                self.speak_next(Urgency::Later);
                continue;
            };
            let last = chunk.last;
            let sound = speaking.take(chunk);
            if last {
                self.speak_next(Urgency::Later);
            }
            if let (Some(sound), Some(encoder)) = (sound, &mut self.encoder) {
                let mut bytes = if self.begun { Vec::new() } else { encoder.header() };
                let rate = self.voice.sample_rate();
                encode_gently(encoder, &sound.pcm, rate, &mut bytes).await?;
                self.begun = true;
                if !bytes.is_empty() {
                    return Ok(Some(bytes));
                }
            }
        }
        let Some(encoder) = self.encoder.take().filter(|_| self.begun) else { return Ok(None) };
        let mut rest = Vec::new();
        encoder.finish(&mut rest)?;
        Ok((!rest.is_empty()).then_some(rest))
    }

    fn speak_next(&mut self, urgency: Urgency) {
        self.speaking = self.pieces.pop_front().map(|text| {
            let speech = Speech { reply: ReplyId(0), text: Private::new(text), urgency };
            Spoken::start(&*self.voice, speech, self.voice.sample_rate())
        });
    }
}

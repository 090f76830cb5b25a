//! Speech as a file: samples of a voice in, the bytes of a WAV, PCM or Ogg Opus file out.
//!
//! In: mono samples at a voice's rate. Out: bytes, as far as they are complete. Owned by whoever
//! sends the file. Encoding is work: callers hand over some 20 ms at a time and let others run
//! in between ([`SLICE_S`]).

use std::fmt;
use std::str::FromStr;

use crate::audio::WIRE_RATE;
use crate::audio::ogg::OggOpus;
use crate::audio::opus::OpusError;
use crate::audio::resample::Resampler;
use crate::audio::wav::{append_pcm16, wav_header};

/// The rate of WAV and PCM, as OpenAI's speech has it, Hz.
const PCM_RATE: u32 = 24_000;
/// So much sound takes well under a millisecond to encode, seconds.
pub const SLICE_S: f32 = 0.04;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A WAV file, 16 bits, 24 kHz, mono.
    Wav,
    /// The same samples without a header, little-endian.
    Pcm,
    /// Opus in Ogg, 48 kHz, mono, about 32 kb/s.
    Opus,
}

/// A name that is none of the formats.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not made here; choose wav, pcm or opus")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "wav" => Ok(Self::Wav),
            "pcm" => Ok(Self::Pcm),
            "opus" => Ok(Self::Opus),
            other => Err(UnknownFormat(other.chars().take(20).collect())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wav => "wav",
            Self::Pcm => "pcm",
            Self::Opus => "opus",
        })
    }
}

impl Format {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
            Self::Opus => "audio/ogg",
        }
    }

    /// The rate of its samples, Hz.
    pub fn rate(self) -> u32 {
        match self {
            Self::Wav | Self::Pcm => PCM_RATE,
            Self::Opus => WIRE_RATE,
        }
    }
}

/// One file in the making.
pub struct Encoder {
    format: Format,
    resampler: Resampler,
    ogg: Option<OggOpus>,
    resampled: Vec<f32>,
    /// Samples so far, at the format's rate.
    samples: usize,
}

impl Encoder {
    /// A file of sound that comes at `rate` Hz.
    ///
    /// # Errors
    /// libopus cannot be set up.
    pub fn new(format: Format, rate: u32) -> Result<Self, OpusError> {
        let ogg = match format {
            Format::Opus => Some(OggOpus::new(1)?),
            Format::Wav | Format::Pcm => None,
        };
        let resampler = Resampler::new(rate, format.rate())
            .expect("voices and clips have a rate that sound can have");
        Ok(Self { format, resampler, ogg, resampled: Vec::new(), samples: 0 })
    }

    /// What stands before the first sample of a file whose length is not known yet.
    pub fn header(&self) -> Vec<u8> {
        match self.format {
            Format::Wav => wav_header(PCM_RATE, None).to_vec(),
            Format::Pcm | Format::Opus => Vec::new(),
        }
    }

    /// Appends the bytes of this sound, as far as they are complete.
    ///
    /// # Errors
    /// libopus refuses the sound.
    pub fn push(&mut self, pcm: &[f32], bytes: &mut Vec<u8>) -> Result<(), OpusError> {
        self.resampler.push(pcm, &mut self.resampled);
        self.encode(bytes)
    }

    /// Appends the rest.
    ///
    /// # Errors
    /// libopus refuses the sound.
    pub fn finish(mut self, bytes: &mut Vec<u8>) -> Result<Finished, OpusError> {
        self.resampler.finish(&mut self.resampled);
        self.encode(bytes)?;
        if let Some(ogg) = self.ogg.take() {
            bytes.extend(ogg.finish()?);
        }
        Ok(Finished { format: self.format, samples: self.samples })
    }

    fn encode(&mut self, bytes: &mut Vec<u8>) -> Result<(), OpusError> {
        self.samples += self.resampled.len();
        match &mut self.ogg {
            Some(ogg) => bytes.extend(ogg.push(&self.resampled)?),
            None => append_pcm16(&self.resampled, bytes),
        }
        self.resampled.clear();
        Ok(())
    }
}

/// A file that is complete.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    format: Format,
    samples: usize,
}

impl Finished {
    /// What stands before the first sample, now that the length is known.
    pub fn header(self) -> Vec<u8> {
        match self.format {
            Format::Wav => wav_header(PCM_RATE, Some(self.samples)).to_vec(),
            Format::Pcm | Format::Opus => Vec::new(),
        }
    }

    /// How long it plays, milliseconds.
    pub fn duration_ms(self) -> u64 {
        self.samples as u64 * 1000 / u64::from(self.format.rate())
    }
}

/// Encodes a whole sound, letting others run in between.
///
/// # Errors
/// libopus refuses the sound.
pub async fn encode_whole(
    format: Format,
    pcm: &[f32],
    rate: u32,
) -> Result<(Vec<u8>, Finished), OpusError> {
    let mut encoder = Encoder::new(format, rate)?;
    let mut bytes = Vec::new();
    encode_gently(&mut encoder, pcm, rate, &mut bytes).await?;
    let finished = encoder.finish(&mut bytes)?;
    let mut file = finished.header();
    file.append(&mut bytes);
    Ok((file, finished))
}

/// Encodes sound in slices, letting others run in between.
///
/// # Errors
/// libopus refuses the sound.
pub async fn encode_gently(
    encoder: &mut Encoder,
    pcm: &[f32],
    rate: u32,
    bytes: &mut Vec<u8>,
) -> Result<(), OpusError> {
    let slice = ((SLICE_S * rate as f32) as usize).max(1);
    for (index, part) in pcm.chunks(slice).enumerate() {
        if index > 0 {
            tokio::task::yield_now().await;
        }
        encoder.push(part, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_and_written_back_and_others_refused() {
        for name in ["wav", "pcm", "opus"] {
            assert_eq!(name.parse::<Format>().expect(name).to_string(), name);
        }
        let error = "mp3".parse::<Format>().expect_err("not made here").to_string();
        assert!(error.contains("wav, pcm or opus"), "{error}");
    }

    #[test]
    fn a_whole_wav_has_its_length_and_plays_as_long_as_the_sound() {
        let sound = vec![0.1; 22_050];
        let file = futures::executor::block_on(encode_whole(Format::Wav, &sound, 22_050));
        let (file, finished) = file.expect("encoded");
        assert_eq!(finished.duration_ms(), 1_000);
        assert_eq!(file.len(), 44 + 48_000);
        assert_eq!(file[40..44], 48_000u32.to_le_bytes());
    }
}

//! Sound files of every usual kind in; 16 kHz mono out, portion by portion.
//!
//! In: the bytes of a WAV, MP3, FLAC, Ogg (Vorbis, Opus), M4A or WebM file. Out: samples for
//! listening, so that an hour of sound is never in memory at once. Wraps symphonia, which reads
//! containers and codecs, and libopus, which symphonia has no decoder for. Owned by whoever reads
//! the file; blocks for as long as decoding takes, and trusts nothing that the file says.

use std::io::Cursor;

use bytes::Bytes;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::HEARING_RATE;
use super::opus::Decoder;
use super::resample::Resampler;

/// Damaged packets one after the other, after which a file counts as broken.
const MOST_DAMAGED: u32 = 100;

/// Packets without sound one after the other, after which a file counts as broken. Some kinds of file
/// can name billions of them in a few bytes.
const MOST_EMPTY: u32 = 100_000;

/// Why a file cannot be listened to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is of no kind that is read here.
    #[error("the file is no sound that can be read here; send WAV, MP3, FLAC, Ogg, M4A or WebM")]
    Unknown,
    /// It holds nothing to listen to.
    #[error("the file holds no sound")]
    Silent,
    /// Its sound is encoded in a way that is not read here.
    #[error(
        "the sound in the file is encoded in a way that is not read here; send WAV, MP3 or FLAC"
    )]
    Codec,
    /// It is damaged.
    #[error("the file is damaged ({0}); send another copy")]
    Damaged(String),
}

enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Decoder),
}

/// A file that is being read.
pub struct FileReader {
    format: Box<dyn FormatReader>,
    track: u32,
    codec: Codec,
    /// From the rate of the newest packet.
    resampler: Option<(u32, Resampler)>,
    interleaved: Vec<f32>,
    damaged: u32,
    empty: u32,
    seen: bool,
}

impl FileReader {
    /// Opens a file.
    ///
    /// # Errors
    /// It is of no known kind, or has no sound track that can be decoded.
    pub fn open(file: Bytes) -> Result<Self, FileError> {
        if file.is_empty() {
            return Err(FileError::Silent);
        }
        let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
        let (format, meta) = (FormatOptions::default(), MetadataOptions::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, format, meta)
            .map_err(|_| FileError::Unknown)?;
        let track = format.default_track(TrackType::Audio).ok_or(FileError::Silent)?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or(FileError::Codec)?;
        let codec = if parameters.codec == CODEC_ID_OPUS {
            Codec::Opus(Decoder::for_listening().map_err(|_| FileError::Codec)?)
        } else {
            let options = AudioDecoderOptions::default();
            let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options);
            Codec::Symphonia(decoder.map_err(|_| FileError::Codec)?)
        };
        let track = track.id;
        let (interleaved, resampler) = (Vec::new(), None);
        Ok(Self { format, track, codec, resampler, interleaved, damaged: 0, empty: 0, seen: false })
    }

    /// Appends the next portion (some ms) to `out`; false at the end of the file.
    ///
    /// # Errors
    /// The file is damaged beyond what can be skipped, or had no sound at all.
    pub fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, FileError> {
        let before = out.len();
        let more = self.read_packet(out)?;
        self.empty = if out.len() > before { 0 } else { self.empty + 1 };
        if more && self.empty > MOST_EMPTY {
            return Err(FileError::Damaged("it has no sound for too long".to_owned()));
        }
        Ok(more)
    }

    fn read_packet(&mut self, out: &mut Vec<f32>) -> Result<bool, FileError> {
        let packet = match self.format.next_packet() {
            Ok(Some(packet)) => packet,
            // A file that was cut short ends here; so does the first of several chained ones.
            Ok(None) | Err(Error::ResetRequired | Error::IoError(_)) => return self.end(out),
            Err(error) if self.seen => {
                tracing::debug!(%error, "a sound file ends early");
                return self.end(out);
            }
            Err(error) => return Err(FileError::Damaged(error.to_string())),
        };
        if packet.track_id != self.track {
            return Ok(true);
        }
        let decoded = match &mut self.codec {
            Codec::Opus(decoder) => {
                decoder.decode(&packet.data, out).map(|_| ()).map_err(|e| e.to_string())
            }
            Codec::Symphonia(decoder) => match decoder.decode(&packet) {
                Ok(sound) => {
                    let (rate, channels) = (sound.spec().rate(), sound.spec().channels().count());
                    sound.copy_to_vec_interleaved(&mut self.interleaved);
                    self.mix(rate, channels, out)?;
                    Ok(())
                }
                Err(Error::ResetRequired) => {
                    decoder.reset();
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            },
        };
        match decoded {
            Ok(()) => (self.seen, self.damaged) = (true, 0),
            Err(reason) => {
                self.damaged += 1;
                if self.damaged > MOST_DAMAGED {
                    return Err(FileError::Damaged(reason));
                }
            }
        }
        Ok(true)
    }

    /// Mixes the packet down and brings it to 16 kHz.
    fn mix(&mut self, rate: u32, channels: usize, out: &mut Vec<f32>) -> Result<(), FileError> {
        if channels == 0 {
            return Err(FileError::Silent);
        }
        if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
            let resampler = Resampler::new(rate, HEARING_RATE)
                .map_err(|error| FileError::Damaged(error.to_string()))?;
            self.resampler = Some((rate, resampler));
        }
        let frames = self.interleaved.chunks_exact(channels);
        let mixed: Vec<f32> = frames
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .map(|sample| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 })
            .collect();
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.push(&mixed, out);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<f32>) -> Result<bool, FileError> {
        if let Some((_, mut resampler)) = self.resampler.take() {
            resampler.finish(out);
        }
        if self.seen { Ok(false) } else { Err(FileError::Silent) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ogg::OggOpus;
    use super::super::wav::{append_pcm16, wav_bytes, wav_header};
    use super::*;

    fn tone(rate: u32) -> Vec<f32> {
        (0..rate)
            .map(|i| 0.4 * (i as f32 * 300.0 * std::f32::consts::TAU / rate as f32).sin())
            .collect()
    }

    fn read(file: Vec<u8>) -> Result<Vec<f32>, FileError> {
        let mut reader = FileReader::open(file.into())?;
        let mut out = Vec::new();
        while reader.read(&mut out)? {}
        Ok(out)
    }

    #[test]
    fn a_second_of_wav_at_any_rate_is_a_second_at_16_khz() {
        for rate in [8_000, 16_000, 22_050, 44_100, 48_000] {
            let sound = read(wav_bytes(&tone(rate), rate)).unwrap();
            assert_eq!(sound.len(), 16_000, "{rate}");
            let rms = super::super::level::rms_dbfs(&sound[1_000..15_000]);
            assert!((-12.0..-10.0).contains(&rms), "{rate}: {rms}");
        }
    }

    #[test]
    fn a_wav_of_unknown_length_and_one_cut_short_are_read_to_their_end() {
        let mut file = wav_header(16_000, None).to_vec();
        append_pcm16(&tone(16_000), &mut file);
        assert_eq!(read(file).unwrap().len(), 16_000);
        let mut file = wav_bytes(&tone(16_000), 16_000);
        file.truncate(44 + 16_000);
        let short = read(file).unwrap().len();
        assert!((7_000..=8_000).contains(&short), "{short}");
    }

    #[test]
    fn ogg_opus_is_read_with_libopus() {
        let mut file = OggOpus::new(1).unwrap();
        let mut bytes = file.push(&tone(48_000)).unwrap();
        bytes.extend(file.finish().unwrap());
        let sound = read(bytes).unwrap();
        assert!((16_000..16_700).contains(&sound.len()), "{}", sound.len());
        assert!(super::super::level::rms_dbfs(&sound[2_000..15_000]) > -14.0);
    }

    #[test]
    fn what_is_no_sound_is_said_and_nothing_breaks() {
        assert_eq!(read(Vec::new()), Err(FileError::Silent));
        assert_eq!(
            read(b"this is not a sound at all, but a text".repeat(50)),
            Err(FileError::Unknown)
        );
        let whole = wav_bytes(&tone(16_000), 16_000);
        assert!(read(whole[..20].to_vec()).is_err());
        let mut state = 1u32;
        for at in 0..whole[..44].len() {
            let mut file = whole[..2_000].to_vec();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            file[at] = (state >> 24) as u8;
            let _ = read(file);
        }
    }
}

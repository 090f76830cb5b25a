//! WAV files.
//!
//! In: a file of any rate, width and channel count, or samples. Out: mono samples, or a 16-bit
//! file. Used by the headless caller and by tests; wraps hound.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::Path;

/// Why a WAV file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// It cannot be opened, made or written.
    #[error(
        "the WAV file {path} cannot be used ({source}); check that it exists and the disk has room"
    )]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is not a WAV file this program understands.
    #[error("{path} is not a usable WAV file ({reason}); give PCM of 8 to 32 bits or 32-bit float")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A sound read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Mono samples, -1..1; channels are averaged.
    pub samples: Vec<f32>,
    /// Its rate in Hz.
    pub sample_rate: u32,
}

/// Reads a WAV file.
pub fn read_wav(path: &Path) -> Result<Sound, WavError> {
    let file = File::open(path)
        .map_err(|source| WavError::File { path: path.display().to_string(), source })?;
    read(BufReader::new(file)).map_err(|e| from_hound(path, e))
}

fn read(source: impl Read) -> Result<Sound, hound::Error> {
    let mut reader = hound::WavReader::new(source)?;
    let spec = reader.spec();
    let interleaved: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>()?,
        hound::SampleFormat::Int => {
            let full = 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            reader.samples::<i32>().map(|s| s.map(|s| s as f32 / full)).collect::<Result<_, _>>()?
        }
    };
    if spec.channels == 0 || spec.sample_rate == 0 {
        return Err(hound::Error::FormatError("no channels or no rate"));
    }
    let channels = usize::from(spec.channels);
    let samples = interleaved
        .chunks_exact(channels)
        .map(|frame| frame.iter().sum::<f32>() / channels as f32)
        .collect();
    Ok(Sound { samples, sample_rate: spec.sample_rate })
}

fn from_hound(path: &Path, error: hound::Error) -> WavError {
    let path = path.display().to_string();
    match error {
        hound::Error::IoError(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            WavError::File { path, source }
        }
        other => WavError::Format { path, reason: other.to_string() },
    }
}

/// Writes a 16-bit WAV file piece by piece.
pub struct WavWriter {
    inner: hound::WavWriter<BufWriter<File>>,
    path: String,
}

impl WavWriter {
    /// Makes (or replaces) the file; 1 channel is mono, 2 stereo.
    pub fn create(path: &Path, sample_rate: u32, channels: u16) -> Result<Self, WavError> {
        let spec = hound::WavSpec {
            channels,
            sample_rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let inner = hound::WavWriter::create(path, spec).map_err(|e| from_hound(path, e))?;
        Ok(Self { inner, path: path.display().to_string() })
    }

    /// Appends samples (of a stereo file: left and right in turn).
    pub fn write(&mut self, samples: &[f32]) -> Result<(), WavError> {
        for s in samples {
            self.inner
                .write_sample(to_pcm(*s))
                .map_err(|e| from_hound(Path::new(&self.path), e))?;
        }
        Ok(())
    }

    /// Appends to both channels of a stereo file; the shorter one is filled up with silence.
    pub fn write_stereo(&mut self, left: &[f32], right: &[f32]) -> Result<(), WavError> {
        for i in 0..left.len().max(right.len()) {
            let at = |side: &[f32]| side.get(i).copied().unwrap_or(0.0);
            self.write(&[at(left), at(right)])?;
        }
        Ok(())
    }

    /// Completes the file.
    pub fn finish(self) -> Result<(), WavError> {
        let path = self.path;
        self.inner.finalize().map_err(|e| from_hound(Path::new(&path), e))
    }
}

/// A whole 16-bit mono WAV file in memory.
pub fn wav_bytes(samples: &[f32], sample_rate: u32) -> Vec<u8> {
    let mut bytes = wav_header(sample_rate, Some(samples.len())).to_vec();
    bytes.reserve(2 * samples.len());
    append_pcm16(samples, &mut bytes);
    bytes
}

/// The header of a 16-bit mono WAV file. Without a length both sizes are the largest there are,
/// which readers take for "until the end" (as ffmpeg writes into a pipe).
pub fn wav_header(sample_rate: u32, samples: Option<usize>) -> [u8; 44] {
    let data = samples.map_or(u32::MAX, |samples| 2 * samples as u32);
    let mut bytes = [0; 44];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(b"RIFF");
    put(&data.saturating_add(36).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16u32.to_le_bytes());
    for (field, length) in [(1, 2), (1, 2), (sample_rate, 4), (2 * sample_rate, 4), (2, 2), (16, 2)]
    {
        put(&u32::to_le_bytes(field)[..length]);
    }
    put(b"data");
    put(&data.to_le_bytes());
    bytes
}

/// Appends samples as 16-bit little-endian PCM.
pub fn append_pcm16(samples: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(samples.iter().flat_map(|sample| to_pcm(*sample).to_le_bytes()));
}

fn to_pcm(sample: f32) -> i16 {
    (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_memory_is_the_file_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let samples: Vec<f32> = (0..100).map(|i| (i as f32 * 0.3).sin()).collect();
        let mut wav = WavWriter::create(&path, 22_050, 1).unwrap();
        wav.write(&samples).unwrap();
        wav.finish().unwrap();
        assert_eq!(wav_bytes(&samples, 22_050), std::fs::read(&path).unwrap());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let mut writer = WavWriter::create(&path, 16_000, 1).unwrap();
        writer.write(&[0.0, 0.5, -0.5, 2.0]).unwrap();
        writer.finish().unwrap();
        let sound = read_wav(&path).unwrap();
        assert_eq!(sound.sample_rate, 16_000);
        let expected = [0.0, 0.5, -0.5, 1.0];
        assert!(sound.samples.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn stereo_is_mixed_down_and_short_channels_filled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.wav");
        let mut writer = WavWriter::create(&path, 48_000, 2).unwrap();
        writer.write_stereo(&[0.5, 0.5], &[-0.5]).unwrap();
        writer.finish().unwrap();
        let sound = read_wav(&path).unwrap();
        assert_eq!(sound.samples.len(), 2);
        assert!(sound.samples[0].abs() < 1e-4 && (sound.samples[1] - 0.25).abs() < 1e-4);
    }

    #[test]
    fn other_widths_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for (bits, format) in [
            (8, hound::SampleFormat::Int),
            (24, hound::SampleFormat::Int),
            (32, hound::SampleFormat::Int),
            (32, hound::SampleFormat::Float),
        ] {
            let path = folder.path().join(format!("{bits}{format:?}.wav"));
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: 8_000,
                bits_per_sample: bits,
                sample_format: format,
            };
            let mut writer = hound::WavWriter::create(&path, spec).unwrap();
            match format {
                hound::SampleFormat::Int => writer.write_sample(1i32 << (bits - 2)).unwrap(),
                hound::SampleFormat::Float => writer.write_sample(0.5f32).unwrap(),
            }
            writer.finalize().unwrap();
            let sound = read_wav(&path).unwrap();
            assert!((sound.samples[0] - 0.5).abs() < 1e-6, "{bits} {format:?}");
        }
    }

    #[test]
    fn a_missing_file_and_a_text_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_wav(&folder.path().join("no")), Err(WavError::File { .. })));
        let path = folder.path().join("text.wav");
        std::fs::write(&path, "not a sound").unwrap();
        assert!(matches!(read_wav(&path), Err(WavError::Format { .. })));
    }
}

//! Human speech for the tests: Debian's prompts, at 16 kHz.

use std::path::{Path, PathBuf};

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

/// Prompts whose words are known.
pub const PROMPTS: &[(&str, &str)] = &[
    ("vm-goodbye", "goodbye"),
    ("agent-incorrect", "login incorrect please enter your agent number followed by the pound key"),
    ("all-circuits-busy-now", "all circuits are busy now"),
    ("agent-loginok", "agent logged in"),
    ("agent-pass", "please enter your password followed by the pound key"),
    ("call-fwd-unconditional", "call forward unconditional"),
    ("conf-getpin", "please enter the conference pin number"),
    ("conf-onlyperson", "you are currently the only person in this conference"),
    ("invalid", "i am sorry that is not a valid extension please try again"),
    ("privacy-thankyou", "thank you"),
    ("vm-nobodyavail", "nobody is available to take your call at the moment"),
    ("pbx-transfer", "transfer"),
];

/// The path of a model that the tests need.
pub fn model(name: &str) -> PathBuf {
    let path = crate::models::default_dir().join(name);
    assert!(path.is_file(), "{} is missing; run `eva models pull`", path.display());
    path
}

/// A prompt at 16 kHz.
pub fn prompt(name: &str) -> Vec<f32> {
    let path = Path::new("/usr/share/asterisk/sounds/en_US_f_Allison").join(format!("{name}.wav"));
    let mut wav = hound::WavReader::open(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; install asterisk-core-sounds-en-wav", path.display())
    });
    assert_eq!((wav.spec().sample_rate, wav.spec().channels), (8000, 1));
    let samples: Vec<f32> =
        wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect();
    resample(&samples)
}

/// From 8 to 16 kHz, without the resampler's delay.
fn resample(samples: &[f32]) -> Vec<f32> {
    let mut resampler = Fft::<f32>::new(8000, 16_000, 480, 1, FixedSync::Both).unwrap();
    let input = InterleavedSlice::new(samples, 1, samples.len()).unwrap();
    resampler.process_all(&input, samples.len(), None).unwrap().take_data()
}

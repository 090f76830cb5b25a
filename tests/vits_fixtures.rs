//! Small random voices (scripts/vits_fixture.py) against the sound PyTorch makes of them: both
//! kinds of file, one and several speakers, both kinds of duration predictor.

// Tests may read files and the clock (clippy.toml).
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use candle_core::Device;
use eva_voice::speaking::vits::{Config, LoadError, Scales, Style, Symbols, Vits};
use serde::Deserialize;

/// Every fixture, with its number of speakers.
const VOICES: [(&str, usize); 6] = [
    ("single-stochastic", 1),
    ("single-plain", 1),
    ("multi-stochastic", 3),
    ("multi-plain", 3),
    ("piper-stochastic", 3),
    ("piper-plain", 3),
];

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    speaker: u32,
    frames: Vec<usize>,
    sound: Vec<f32>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vits")
}

fn path(name: &str) -> PathBuf {
    let folder = root().join(name);
    if name.starts_with("piper") { folder.join("voice.onnx") } else { folder }
}

fn voice(name: &str) -> (Vits, Config, Expected) {
    let (vits, config) = Vits::load(&path(name), &Device::Cpu).expect(name);
    let json = std::fs::read(root().join(name).join("expected.json")).expect("the fixture's sound");
    (vits, config, serde_json::from_slice(&json).expect("the fixture's format"))
}

fn quiet(config: &Config, speaker: u32) -> Style {
    Style { scales: Scales { noise: 0.0, duration_noise: 0.0, ..config.scales }, speaker }
}

/// Sound in pieces of `size` frames.
fn speak(vits: &Vits, ids: &[u32], style: Style, size: usize) -> Vec<f32> {
    let mut sentence = vits.begin(ids, style, 7).expect("the CPU does not fail");
    let mut pcm = Vec::new();
    while !sentence.finished() {
        sentence.next(vits, size, &mut pcm).expect("the CPU does not fail");
    }
    assert_eq!(pcm.len(), sentence.samples());
    pcm
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_sound_equals_pytorch_s() {
    for (name, speakers) in VOICES {
        let (vits, config, expected) = voice(name);
        assert_eq!(vits.speakers(), speakers, "{name}");
        let style = quiet(&config, expected.speaker);
        let sentence = vits.begin(&expected.ids, style, 0).expect("the CPU does not fail");
        assert_eq!(sentence.frames(), expected.frames, "{name}");
        let sound = speak(&vits, &expected.ids, style, usize::MAX);
        let apart = apart(&sound, &expected.sound);
        println!("{name}: greatest difference {apart:e}");
        assert!(apart <= 1e-4, "{name}: {apart}");
    }
}

#[test]
fn speakers_differ_and_numbers_beyond_are_the_last() {
    for (name, speakers) in VOICES {
        let (vits, config, expected) = voice(name);
        let sound = |speaker| speak(&vits, &expected.ids, quiet(&config, speaker), 8);
        let last = sound(speakers as u32 - 1);
        assert_eq!(last, sound(1000), "{name}");
        if speakers > 1 {
            assert_ne!(last, sound(0), "{name}");
        }
    }
}

#[test]
fn sound_in_pieces_equals_sound_at_once() {
    for (name, _) in VOICES {
        let (vits, config, expected) = voice(name);
        let style = Style { scales: config.scales, speaker: expected.speaker };
        let whole = speak(&vits, &expected.ids, style, usize::MAX);
        for size in 1..=64 {
            let pieces = speak(&vits, &expected.ids, style, size);
            let apart = apart(&whole, &pieces);
            assert!(apart <= 1e-4, "{name} in pieces of {size}: {apart}");
        }
    }
}

#[test]
fn configurations_say_what_the_voice_reads_and_who_speaks() {
    let (_, config, _) = voice("multi-plain");
    assert_eq!(config.sample_rate, 16_000);
    assert_eq!(config.scales, Scales { noise: 0.667, length: 0.8, duration_noise: 0.8 });
    assert!(config.speakers.is_empty());
    let Symbols::Characters(alphabet) = &config.symbols else { panic!("it reads characters") };
    assert_eq!((alphabet.ids[&'a'], alphabet.ids[&'-'], alphabet.blank), (0, 12, Some(0)));
    assert!(alphabet.lower_case && !alphabet.romanised && alphabet.ends.is_none());
    assert_eq!(alphabet.language, "eng");

    let (_, config, _) = voice("piper-plain");
    assert_eq!(config.speakers, ["first", "second", "third"]);
    let Symbols::Espeak { voice, ids } = &config.symbols else { panic!("it reads phonemes") };
    assert_eq!((voice.as_str(), &ids[&'^'][..]), ("en-us", &[1][..]));
}

#[test]
fn piper_s_text_voices_read_characters() {
    let json =
        br#"{"audio":{"sample_rate":22050},"phoneme_type":"text","language":{"code":"uk_UA"},
        "phoneme_id_map":{"_":[0],"^":[1],"$":[2]," ":[3],"a":[4]},"num_speakers":1}"#;
    let config = Config::parse(json).expect("a Piper voice");
    let Symbols::Characters(alphabet) = config.symbols else { panic!("it reads characters") };
    assert_eq!((alphabet.blank, alphabet.ends), (Some(0), Some((1, 2))));
    assert_eq!(alphabet.ids, std::collections::HashMap::from([(' ', 3), ('a', 4)]));
    assert_eq!(alphabet.language, "uk_UA");
}

/// A fixture's folder with one file changed, in a place of its own.
struct Changed(PathBuf);

impl Changed {
    fn new(name: &str, file: &str, bytes: &[u8]) -> Self {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("eva-vits-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        for entry in std::fs::read_dir(root().join(name)).expect("the fixture") {
            let entry = entry.expect("the fixture's files");
            std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
        }
        std::fs::write(folder.join(file), bytes).expect("the changed file");
        Self(folder)
    }

    /// Loads it and, if that works, speaks.
    fn load(&self, name: &str) -> Result<(), LoadError> {
        let path =
            if name.starts_with("piper") { self.0.join("voice.onnx") } else { self.0.clone() };
        let (vits, config) = Vits::load(&path, &Device::Cpu)?;
        let style = Style { scales: config.scales, speaker: 2 };
        let mut sentence = vits.begin(&[0, 3, 1, 2], style, 1).expect("the CPU does not fail");
        let mut pcm = Vec::new();
        sentence.next(&vits, 4, &mut pcm).expect("the CPU does not fail");
        Ok(())
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn cut_or_altered_weights_never_panic() {
    for (name, file) in [
        ("multi-stochastic", "model.safetensors"),
        ("multi-plain", "model.safetensors"),
        ("piper-stochastic", "voice.onnx"),
    ] {
        let whole = std::fs::read(root().join(name).join(file)).expect("the fixture");
        for share in 0..24 {
            let cut = &whole[..whole.len() * share / 24];
            let error = Changed::new(name, file, cut).load(name).expect_err("it is cut");
            assert!(error.to_string().contains("is not usable"), "{error}");
        }
        // Altered bytes: in safetensors all of the first third is names, types and shapes.
        let mut state = 1u32;
        for _ in 0..200 {
            let mut altered = whole.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % (altered.len() / 3);
                altered[at] = (state >> 3) as u8;
            }
            // Either it is refused or it speaks (rubbish).
            let _ = Changed::new(name, file, &altered).load(name);
        }
    }
}

#[test]
fn absurd_configurations_are_refused_with_a_sentence() {
    let name = "multi-stochastic";
    let json = std::fs::read(root().join(name).join("config.json")).expect("the fixture");
    let whole: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    for (key, value) in [
        ("model_type", serde_json::json!("bert")),
        ("hidden_act", serde_json::json!("gelu")),
        ("layer_norm_eps", serde_json::json!(0.1)),
        ("leaky_relu_slope", serde_json::json!(0.3)),
        ("num_hidden_layers", serde_json::json!(0)),
        ("num_hidden_layers", serde_json::json!(3)),
        ("num_hidden_layers", serde_json::json!(4_000_000_000u64)),
        ("num_attention_heads", serde_json::json!(0)),
        ("num_attention_heads", serde_json::json!(u64::MAX)),
        ("num_speakers", serde_json::json!(7)),
        ("upsample_rates", serde_json::json!([0, 3])),
        ("upsample_rates", serde_json::json!([1_000_000_000_000u64, 3])),
        ("upsample_rates", serde_json::json!([4])),
        ("upsample_rates", serde_json::json!([])),
        ("upsample_rates", serde_json::json!([-4, 3])),
        ("resblock_kernel_sizes", serde_json::json!([3])),
        ("resblock_dilation_sizes", serde_json::json!([[1, 0], [1, 2]])),
        ("resblock_dilation_sizes", serde_json::json!([[1, u64::MAX], [1, 2]])),
        ("resblock_dilation_sizes", serde_json::json!([[1], [1, 2]])),
        ("wavenet_dilation_rate", serde_json::json!(u64::MAX)),
        ("wavenet_dilation_rate", serde_json::json!(0)),
        ("prior_encoder_num_flows", serde_json::json!(1)),
        ("prior_encoder_num_flows", serde_json::json!(3)),
        ("duration_predictor_flow_bins", serde_json::json!(8)),
        ("duration_predictor_num_flows", serde_json::json!(5)),
        ("use_stochastic_duration_prediction", serde_json::json!(false)),
        ("speaking_rate", serde_json::json!(0.0)),
        ("speaking_rate", serde_json::json!(-1.0)),
        ("sampling_rate", serde_json::json!(0)),
        ("sampling_rate", serde_json::json!(4_000_000_000u32)),
    ] {
        let mut changed = whole.clone();
        changed[key] = value.clone();
        let changed = Changed::new(name, "config.json", changed.to_string().as_bytes());
        let error = changed.load(name).expect_err(&format!("{key} = {value} is refused"));
        assert!(matches!(error, LoadError::Content { .. }), "{key} = {value}: {error}");
    }
    for file in ["config.json", "vocab.json", "tokenizer_config.json"] {
        let error = Changed::new(name, file, b"[1, 2").load(name).expect_err("no JSON");
        assert!(error.to_string().contains(file), "{error}");
    }
}

//! The voice against rten running the same `.onnx`: with all noise off, both give the same sound.

// Tests may read the clock (clippy.toml).
#![allow(clippy::disallowed_methods)]

use candle_core::Device;
use eva_voice::models;
use eva_voice::speaking::vits::{Config, Scales, Style, Symbols, Vits};
use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};

const QUIET: Style =
    Style { scales: Scales { noise: 0.0, length: 1.0, duration_noise: 0.0 }, speaker: 0 };

/// Phonemes as Piper would write them, without the marks at both ends.
const SENTENCES: [&str; 20] = [
    "həlˈoʊ!",
    "jˈɛs.",
    "nˈoʊ?",
    "hˌaʊ ɑːɹ juː tədˈeɪ?",
    "ðə kˈæpɪɾəl ʌv fɹˈæns ɪz pˈæɹɪs, ænd ɪt ɪz ˈoʊld.",
    "aɪ wˈɑːnt fˈɪfti tˈuː ˈæpəlz, ˈɛɪt pˈɛɹz, ænd ɐ bˈɑːks ʌv tˈiː fɔːɹ maɪ mˈʌðɚ.",
    "wˌʌn tˈuː θɹˈiː fˈoːɹ fˈaɪv sˈɪks sˈɛvən ˈeɪt nˈaɪn tˈɛn.",
    "ɡˈʊd mˈɔːɹnɪŋ.",
    "plˈiːz hˈoʊld ðə lˈaɪn.",
    "aɪm sˈɑːɹi, aɪ dˈɪdnt kˈætʃ ðˈæt.",
    "wˈʌt tˈaɪm ɪz ɪt?",
    "ɪts hˈæf pˈæst θɹˈiː.",
    "ðə mˈiːɾɪŋ ɪz ɑːn wˈɛnzdeɪ æt nˈoʊn.",
    "kæn juː spˈɛl jʊɹ nˈeɪm fɔːɹ mˌiː?",
    "ˈɔːl ɹˈaɪt, aɪl sˈɛnd juː ɐn ˈiːmeɪl.",
    "ʃˈʊɹ; wˈʌn mˈoʊmənt...",
    "hɜː bɹˈʌðɚ lˈɪvz ɪn nˈuː jˈɔːɹk sˈɪɾi, ɑːn ðə sˈɛvənθ flˈoːɹ.",
    "ə",
    "ðæt wˌɪl biː twˈɛnti fˈaɪv dˈɑːlɚz ænd nˈaɪnti sˈɛnts, ænd juː kæn pˈeɪ baɪ kˈɑːɹd.",
    "θˈæŋk juː fɔːɹ kˈɔːlɪŋ, ɡʊdbˈaɪ!",
];

#[test]
fn the_sound_equals_the_reference_with_noise_off() {
    let path = models::default_dir().join(models::VOICE_JOE);
    let (vits, config) =
        Vits::load(&path, &Device::Cpu).expect("the test needs the voice: `eva models pull`");
    let reference = Model::load_file(&path).expect("rten reads the same file");
    for text in SENTENCES {
        let ids = ids(&config, text);

        let began = std::time::Instant::now();
        let mut sentence = vits.begin(&ids, QUIET, 0).expect("the CPU does not fail");
        let encoded = began.elapsed();
        let mut ours = Vec::new();
        sentence.next(&vits, usize::MAX, &mut ours).expect("the CPU does not fail");
        let whole = began.elapsed();
        assert!(sentence.finished());
        assert_eq!(ours.len(), sentence.samples());

        let began = std::time::Instant::now();
        let theirs = run_reference(&reference, &ids);
        println!(
            "{} ids, {:.2} s: encoder and durations {:.1} ms, whole {:.1} ms, rten {:.1} ms",
            ids.len(),
            ours.len() as f32 / config.sample_rate as f32,
            encoded.as_secs_f64() * 1e3,
            whole.as_secs_f64() * 1e3,
            began.elapsed().as_secs_f64() * 1e3,
        );
        assert_eq!(ours.len(), theirs.len(), "{text}");
        let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        println!("greatest difference {apart:e}");
        assert!(apart <= 1e-3, "{text}: {apart}");
    }
}

#[test]
fn sound_in_pieces_equals_sound_at_once() {
    let path = models::default_dir().join(models::VOICE_JOE);
    let (vits, config) =
        Vits::load(&path, &Device::Cpu).expect("the test needs the voice: `eva models pull`");
    let ids = ids(&config, SENTENCES[1]);
    let style = Style { scales: config.scales, speaker: 0 };
    let speak = |size: usize| {
        let mut pcm = Vec::new();
        let mut sentence = vits.begin(&ids, style, 5).expect("the CPU does not fail");
        while !sentence.finished() {
            sentence.next(&vits, size, &mut pcm).expect("the CPU does not fail");
        }
        pcm
    };
    let whole = speak(usize::MAX);
    for size in 4..=64 {
        let pieces = speak(size);
        assert_eq!(whole.len(), pieces.len());
        let apart = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        assert!(apart <= 1e-4, "in pieces of {size}: {apart}");
    }
}

#[test]
fn candle_on_any_device_equals_our_own_kernels() {
    let path = models::default_dir().join(models::VOICE_JOE);
    let (vits, config) =
        Vits::load(&path, &Device::Cpu).expect("the test needs the voice: `eva models pull`");
    let (graph, _) = Vits::load_graph(&path, &Device::Cpu).expect("the same voice");
    let ids = ids(&config, SENTENCES[0]);
    let speak = |vits: &Vits, size: usize| {
        let mut pcm = Vec::new();
        let mut sentence =
            vits.begin(&ids, Style { scales: config.scales, speaker: 0 }, 3).expect("it begins");
        while !sentence.finished() {
            sentence.next(vits, size, &mut pcm).expect("it goes on");
        }
        pcm
    };
    let ours = speak(&vits, usize::MAX);
    for size in [16, usize::MAX] {
        let theirs = speak(&graph, size);
        assert_eq!(ours.len(), theirs.len());
        let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        println!("greatest difference {apart:e}");
        assert!(apart <= 1e-3, "{apart}");
    }
}

/// Piper's ids for phonemes.
fn ids(config: &Config, text: &str) -> Vec<u32> {
    let Symbols::Espeak { ids, .. } = &config.symbols else { panic!("not of phonemes") };
    let phoneme = |c: char| ids.get(&c).map_or(&[][..], |ids| &ids[..]);
    let mut ids = [phoneme('^'), phoneme('_')].concat();
    for c in text.chars() {
        ids.extend([phoneme(c), phoneme('_')].concat());
    }
    ids.extend(phoneme('$'));
    ids
}

/// The sound as the ONNX graph makes it, on one thread.
fn run_reference(model: &Model, ids: &[u32]) -> Vec<f32> {
    let input =
        NdTensor::from_data([1, ids.len()], ids.iter().map(|&id| id as i32).collect::<Vec<_>>());
    let lengths = NdTensor::from_data([1], vec![ids.len() as i32]);
    let scales = NdTensor::from_data([3], vec![0.0f32, 1.0, 0.0]);
    let node = |name| model.node_id(name).expect("a Piper graph");
    let options =
        RunOptions::default().with_thread_pool(Some(ThreadPool::with_num_threads(1).into()));
    let [output] = model
        .run_n(
            vec![
                (node("input"), input.view().into()),
                (node("input_lengths"), lengths.view().into()),
                (node("scales"), scales.view().into()),
            ],
            [node("output")],
            Some(options),
        )
        .expect("rten runs a Piper graph");
    let output: Tensor<f32> = output.try_into().expect("sound is f32");
    output.to_vec()
}

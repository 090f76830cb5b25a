//! Several sentences as one batch, as GPUs run them: on candle's CPU device, with the real voice.
//! Every sentence sounds as it does alone, and as our own kernels make it.

use std::path::Path;
use std::sync::OnceLock;

use candle_core::Device;
use eva_voice::models;
use eva_voice::speaking::vits::{Precision, Request, Scales, Sentence, Style, Vits};

const STYLE: Style =
    Style { scales: Scales { noise: 0.667, length: 1.0, duration_noise: 0.8 }, speaker: 0 };

fn model() -> std::path::PathBuf {
    models::default_dir().join(models::VOICE_JOE)
}

fn graph(precision: Precision) -> Vits {
    let vits = Vits::load_graph_at(&model(), &Device::Cpu, precision);
    vits.expect("the test needs the voice: `eva models pull`").0
}

fn batches() -> &'static Vits {
    static VITS: OnceLock<Vits> = OnceLock::new();
    VITS.get_or_init(|| graph(Precision::F32))
}

/// Ids of a sentence of about `count` phonemes, different for each `salt`.
fn ids(count: usize, salt: usize) -> Vec<u32> {
    let phoneme = |n: usize| 14 + ((n * 7 + salt * 11 + n * n / 3) % 25) as u32;
    let mut ids = vec![1, 0];
    ids.extend((0..count).flat_map(|n| [phoneme(n), 0]));
    ids.push(2);
    ids
}

/// All sound of one sentence, in pieces of `size` frames.
fn alone(vits: &Vits, request: Request, size: usize) -> Vec<f32> {
    let mut pcm = Vec::new();
    let begun = vits.begin(request.ids, request.style, request.seed);
    let mut sentence = begun.expect("the CPU does not fail");
    while !sentence.finished() {
        sentence.next(vits, size, &mut pcm).expect("the CPU does not fail");
    }
    pcm
}

fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn candle_in_pieces_equals_our_own_kernels() {
    let (kernels, _) = Vits::load(&model(), &Device::Cpu).expect("the same voice");
    for (count, seed) in [(1, 5), (14, 6)] {
        let ids = ids(count, 1);
        let request = Request { ids: &ids, style: STYLE, seed };
        let ours = alone(&kernels, request, usize::MAX);
        for size in [8, 17, usize::MAX] {
            let apart = apart(&alone(batches(), request, size), &ours);
            println!("{count} phonemes, pieces of {size}: {apart:e}");
            assert!(apart <= 1e-4, "{count} phonemes, pieces of {size}: {apart}");
        }
    }
}

#[test]
fn a_sentence_sounds_the_same_in_any_company() {
    let vits = batches();
    // One fills its shape exactly, one is a single phoneme, one has none at all.
    let texts = [ids(8, 1), ids(22, 2), ids(1, 3), Vec::new(), ids(14, 4)];
    let slow = Scales { length: 1.3, noise: 0.3, duration_noise: 0.0 };
    let styles = [STYLE, Style { scales: slow, speaker: 3 }, STYLE, STYLE, STYLE];
    let requests: Vec<Request> = (7..)
        .zip(texts.iter().zip(styles))
        .map(|(seed, (ids, style))| Request { ids, style, seed })
        .collect();
    let expected: Vec<Vec<f32>> =
        requests.iter().map(|&request| alone(vits, request, 24)).collect();
    let mut sentences = vits.begin_all(&requests).expect("the CPU does not fail");
    let mut sound = vec![Vec::new(); sentences.len()];
    // The long one is ahead of the others, so that beginnings meet middles, and ends too.
    sentences[1].next(vits, 24, &mut sound[1]).expect("the CPU does not fail");
    for size in [8, 24, 48, 5].into_iter().cycle() {
        let mut left: Vec<(usize, &mut Sentence)> =
            sentences.iter_mut().enumerate().filter(|(_, one)| !one.finished()).collect();
        if left.is_empty() {
            break;
        }
        let mut beside: Vec<&mut Sentence> = left.iter_mut().map(|(_, one)| &mut **one).collect();
        let made = vits.next_all(&mut beside, size).expect("the CPU does not fail");
        for ((n, _), made) in left.iter().zip(made) {
            assert!(!made.is_empty(), "every step brings sound");
            sound[*n].extend(made);
        }
    }
    for (n, (together, alone)) in sound.iter().zip(&expected).enumerate() {
        let apart = apart(together, alone);
        println!("sentence {n}, {} samples: {apart:e}", alone.len());
        assert!(apart <= 1e-4, "sentence {n}: {apart}");
        let loudest = alone.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        assert!(alone.is_empty() == texts[n].is_empty() && (alone.is_empty() || loudest > 0.01));
    }
}

#[test]
fn every_kind_of_voice_and_speaker_equals_our_own_kernels() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vits");
    let voices = ["single-stochastic", "single-plain", "multi-stochastic", "multi-plain"];
    for voice in voices.into_iter().chain(["piper-stochastic", "piper-plain"]) {
        let folder = root.join(voice);
        let path = if voice.starts_with("piper") { folder.join("voice.onnx") } else { folder };
        let (kernels, config) = Vits::load(&path, &Device::Cpu).expect(voice);
        let (graph, _) = Vits::load_graph(&path, &Device::Cpu).expect(voice);
        assert_eq!(graph.speakers(), kernels.speakers());
        // Three speakers side by side, and one beyond the last.
        let texts = [10, 3, 6, 1].map(|count| (0..count).map(|n| n * 5 % 12).collect::<Vec<_>>());
        let requests: Vec<Request> = (0..)
            .zip(&texts)
            .map(|(n, ids)| {
                let style = Style { scales: config.scales, speaker: 3 * n % 4 };
                Request { ids, style, seed: u64::from(n) + 1 }
            })
            .collect();
        let mut sentences = graph.begin_all(&requests).expect("the CPU does not fail");
        let mut beside: Vec<&mut Sentence> = sentences.iter_mut().collect();
        let together = graph.next_all(&mut beside, 1000).expect("the CPU does not fail");
        for (request, sound) in requests.iter().zip(&together) {
            let apart = apart(sound, &alone(&kernels, *request, usize::MAX));
            println!("{voice}, speaker {}: {apart:e}", request.style.speaker);
            assert!(apart <= 1e-4, "{voice}: {apart}");
        }
    }
}

#[test]
fn half_precision_stays_close_and_keeps_every_length() {
    let ids = ids(12, 5);
    let request = Request { ids: &ids, style: STYLE, seed: 3 };
    let exact = alone(batches(), request, 48);
    // Decibels of sound over error.
    for (precision, least) in [(Precision::F16, 38.0), (Precision::Bf16, 17.0)] {
        let half = alone(&graph(precision), request, 48);
        assert_eq!(half.len(), exact.len(), "lengths are computed in full precision");
        let power = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
        let error = power(&mut half.iter().zip(&exact).map(|(a, b)| a - b));
        let decibels = 10.0 * (power(&mut exact.iter().copied()) / error).log10();
        println!("{precision:?}: {decibels:.1} dB");
        assert!(decibels >= least, "{precision:?}: {decibels} dB");
    }
}

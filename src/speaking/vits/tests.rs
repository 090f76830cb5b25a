//! The network with given noise against PyTorch (scripts/vits_fixture.py).

use std::path::Path;

use candle_core::Device;
use serde::Deserialize;

use super::conv::{Conv, Mat, Sink};
use super::kernels::Simd;
use super::sentence::Normal;
use super::{Scales, Sentence, Style, Vits};

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    speaker: u32,
    noise_scale: f32,
    duration_noise_scale: f32,
    noise: Vec<f32>,
    noisy_frames: Vec<usize>,
    noisy_sound: Vec<f32>,
}

#[test]
fn the_sound_of_given_noise_equals_pytorch_s() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vits");
    for name in ["single-stochastic", "multi-stochastic", "single-plain", "piper-stochastic"] {
        let folder = root.join(name);
        let json = std::fs::read(folder.join("expected.json")).expect("the fixture");
        let expected: Expected = serde_json::from_slice(&json).expect("the fixture's format");
        let path = if name.starts_with("piper") { folder.join("voice.onnx") } else { folder };
        let (vits, config) = Vits::load(&path, &Device::Cpu).expect("the fixture loads");
        let (graph, _) = Vits::load_graph(&path, &Device::Cpu).expect("the fixture loads");
        // The plain predictor draws nothing in PyTorch.
        let unused = if name.ends_with("plain") { 2 * expected.ids.len() } else { 0 };
        let noise = [vec![0.0; unused], expected.noise].concat();
        let scales = Scales {
            noise: expected.noise_scale,
            duration_noise: expected.duration_noise_scale,
            ..config.scales
        };
        let style = Style { scales, speaker: expected.speaker };
        for (way, vits) in [("kernels", &vits), ("candle", &graph)] {
            let normal = Normal::given(noise.clone());
            let mut sentence =
                Sentence::begin(vits, &expected.ids, style, normal).expect("the CPU does not fail");
            assert_eq!(sentence.frames(), expected.noisy_frames, "{name}, {way}");
            let mut pcm = Vec::new();
            while !sentence.finished() {
                sentence.next(vits, 5, &mut pcm).expect("the CPU does not fail");
            }
            assert_eq!(pcm.len(), expected.noisy_sound.len());
            let differences = pcm.iter().zip(&expected.noisy_sound).map(|(a, b)| (a - b).abs());
            let apart = differences.fold(0.0f32, f32::max);
            assert!(apart <= 1e-4, "{name}, {way}: {apart}");
        }
    }
}

/// Milliseconds this thread has computed.
fn computed() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "the thread's clock is there");
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// GFLOP/s that `work`, of so many floating-point operations, reaches on this thread.
fn rate(flops: f64, mut work: impl FnMut()) -> f64 {
    let runs = (4e8 / flops).ceil() as usize;
    let time = |work: &mut dyn FnMut()| {
        let began = computed();
        (0..runs).for_each(|_| work());
        computed() - began
    };
    let best = (0..5).map(|_| time(&mut work)).fold(f64::INFINITY, f64::min);
    flops * runs as f64 / best / 1e6
}

/// Run with `--ignored --nocapture`: what each kind of convolution reaches beside a plain product
/// of matrices.
#[test]
#[ignore = "prints figures"]
fn how_fast_convolutions_are() {
    let shapes: [(&str, [usize; 5]); 11] = [
        ("encoder's attention", [192, 192, 1, 1, 96]),
        ("encoder, wide", [768, 192, 3, 1, 96]),
        ("encoder, narrow", [192, 768, 3, 1, 96]),
        ("encoder, short sentence", [192, 768, 3, 1, 43]),
        ("flow's gates", [384, 192, 5, 1, 48]),
        ("flow's residuals", [192, 192, 1, 1, 48]),
        ("decoder, 256 to 128", [1024, 256, 2, 1, 48]),
        ("decoder, 128", [128, 128, 7, 3, 192]),
        ("decoder, 64", [64, 64, 5, 6, 384]),
        ("decoder, 32", [32, 32, 3, 1, 768]),
        ("decoder, 32, dilated", [32, 32, 7, 12, 768]),
    ];
    for (name, [outputs, inputs, taps, dilation, samples]) in shapes {
        let conv = Conv::pack((outputs, inputs, taps), dilation, None, |o, i, t| {
            (o * 7 + i * 3 + t) as f32 * 1e-4
        });
        let x = Mat::new(inputs, samples, conv.span());
        let mut y = Mat::new(outputs, samples, 0);
        let rates = Simd::available().map(|simd| {
            let rate = rate(conv.flops() * samples as f64, || {
                let mut sink = Sink { raw: Some(y.view_mut(0)), ..Sink::default() };
                conv.run(simd, x.view(0, conv.reach()), samples, &mut sink);
            });
            format!("{simd:?} {rate:.0}")
        });
        let rates = rates.collect::<Vec<_>>().join(", ");
        println!("{name}, {outputs} x {inputs} x {taps} of {samples}: GFLOP/s {rates}");
    }
    println!("product of matrices (gemm): GFLOP/s {:.0}", super::limit::gemm_flops() / 1e9);
}

#[test]
fn a_voice_s_work_counts_every_weight_of_its_convolutions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vits/single-plain");
    let (vits, config) = Vits::load(&folder, &Device::Cpu).expect("the fixture loads");
    let work = vits.work();
    // By hand from its config.json. Two layers: 4 products of 8 x 8 and 2 x 3 taps of 8 x 12;
    // 16 x 8 for the prior; durations 3 taps of 10 x 8 and of 10 x 10, and 10.
    let per_id = 2 * (4 * 64 + 2 * 3 * 96) + 128 + 3 * 80 + 3 * 100 + 10;
    assert_eq!(work.per_id, 2.0 * per_id as f64);
    assert_eq!(work.per_pair, 2.0 * 2.0 * 2.0 * 8.0);
    // Two couplings: 8 x 4, two layers (3 taps of 16 x 8, 16 x 8, the last 8 x 8), 4 x 8.
    let flow = 2 * (32 + 2 * 3 * 128 + 128 + 64 + 32);
    // 7 taps of 12 x 8; by 4 to 6 channels, by 3 to 3 (7 taps go as 9); two blocks of two pairs of
    // 3 or 5 taps; 7 taps of 3.
    let first = 4 * 6 * 12 * 2 + 4 * (4 * 36 * (3 + 5));
    let second = 4 * (3 * 3 * 6 * 3) + 12 * (4 * 9 * (3 + 5));
    let frame = flow + 7 * 96 + first + second + 12 * 21;
    assert_eq!(work.per_frame, 2.0 * frame as f64);
    assert_eq!(vits.flops_per_second_of_sound(config.sample_rate), work.per_frame * 16000.0 / 12.0);
    assert_eq!(work.of(3, 2), 3.0 * work.per_id + 9.0 * work.per_pair + 2.0 * work.per_frame);
}

//! EVA's own echo through rooms and codecs, and the real VAD on what the guard leaves of it.

#![allow(clippy::disallowed_methods)]

mod echo_support;

use std::path::Path;
use std::time::Duration;

use echo_support::{FRAME, ROOMS, echo_of, heard, place, speech_rms};
use eva_voice::audio::echo::EchoGuard;
use eva_voice::audio::resample::resample;
use eva_voice::audio::wav::read_wav;
use eva_voice::audio::{SLOT_SAMPLES, WIRE_RATE};
use eva_voice::listening::silero::VadEngine;
use eva_voice::listening::speech_marks::{MarksConfig, SpeechMark, SpeechMarks};

/// What EVA says in these tests, at -20 dBFS, with half a second of silence before it.
const FAR: &[&str] = &["conf-onlyperson", "call-fwd-unconditional", "vm-nobodyavail"];
/// What the person says over it.
const NEAR: &str = "agent-incorrect";

fn prompt(name: &str) -> Vec<f32> {
    let path = Path::new("/usr/share/asterisk/sounds/en_US_f_Allison").join(format!("{name}.wav"));
    let sound = read_wav(&path).expect("a prompt: install asterisk-core-sounds-en-wav");
    resample(&sound.samples, sound.sample_rate, WIRE_RATE).expect("usual rates")
}

fn far() -> Vec<f32> {
    let mut sound = vec![0.0; 24_000];
    for name in FAR.iter().chain(FAR) {
        sound.extend(prompt(name));
    }
    sound.truncate(sound.len() / SLOT_SAMPLES * SLOT_SAMPLES);
    let gain = 0.1 / speech_rms(&sound);
    sound.iter_mut().for_each(|s| *s *= gain);
    sound
}

/// The moments at which speech was marked, in ms, and how many frames were touched.
async fn marks(
    vad: &VadEngine,
    sent: &[f32],
    frames: &[[f32; FRAME]],
    guarded: bool,
) -> (Vec<u64>, usize) {
    let (mut guard, mut stream) = (EchoGuard::new(), vad.stream());
    let mut speech = SpeechMarks::new(MarksConfig::default());
    let (mut seen, mut touched) = (Vec::new(), 0);
    for (i, (slot, raw)) in sent.chunks_exact(SLOT_SAMPLES).zip(frames).enumerate() {
        let (mut frame, mut echo) = (*raw, false);
        if guarded {
            guard.sent(Duration::from_millis(20 * i as u64), slot);
            echo = guard.hear(&mut frame).residual_is_echo;
            touched += usize::from(frame != *raw);
        }
        stream.push(&frame);
        while stream.busy() {
            speech.handle(stream.next().await);
            while let Some(mark) = speech.poll_mark() {
                if matches!(mark, SpeechMark::Started { .. }) && !echo {
                    seen.push(20 * i as u64);
                }
            }
        }
    }
    (seen, touched)
}

fn vad() -> VadEngine {
    let path = eva_voice::models::default_dir().join(eva_voice::models::SILERO_VAD);
    VadEngine::start(&path).expect("the model is there: run `eva models pull`")
}

#[tokio::test]
async fn an_echo_is_hardly_ever_taken_for_speech() {
    let (vad, sent) = (vad(), far());
    let silence = vec![0.0; sent.len()];
    let (mut without, mut with) = (0, Vec::new());
    for (seed, room) in ROOMS.iter().enumerate() {
        let frames = heard(&echo_of(&sent, room, seed as u64 + 1), &silence, seed as u64);
        without += marks(&vad, &sent, &frames, false).await.0.len();
        for at in marks(&vad, &sent, &frames, true).await.0 {
            with.push((room.name, at));
        }
    }
    assert!(without >= 3 * ROOMS.len(), "{without} marks without the guard");
    assert!(with.len() * 20 <= without, "of {without} marks these are left: {with:?}");
}

#[tokio::test]
async fn the_person_is_marked_over_the_echo() {
    let (vad, sent) = (vad(), far());
    let mut late = Vec::new();
    for (seed, room) in ROOMS.iter().enumerate() {
        let level = (speech_rms(&sent) * 10f32.powf((room.gain_db + 5.0) / 20.0)).max(0.012);
        let mut near = vec![0.0; sent.len()];
        place(&mut near, &prompt(NEAR), 4_000.0, level);
        let silence = vec![0.0; sent.len()];
        let alone = heard(&silence, &near, seed as u64);
        let mixed = heard(&echo_of(&sent, room, seed as u64 + 1), &near, seed as u64);
        let usual = marks(&vad, &silence, &alone, false).await.0[0];
        let (seen, _) = marks(&vad, &sent, &mixed, true).await;
        if !seen.iter().any(|at| (usual.saturating_sub(200)..=usual + 100).contains(at)) {
            late.push((room.name, usual, seen));
        }
    }
    assert!(late.len() <= 1, "{late:?}");
}

#[tokio::test]
async fn a_line_without_echo_is_left_alone() {
    let (vad, sent) = (vad(), far());
    let mut near = vec![0.0; sent.len()];
    for at in [300.0, 6_000.0, 11_000.0] {
        place(&mut near, &prompt(NEAR), at, 0.05);
    }
    let frames = heard(&vec![0.0; sent.len()], &near, 5);
    let (with, touched) = marks(&vad, &sent, &frames, true).await;
    assert_eq!(touched, 0);
    assert_eq!(with, marks(&vad, &sent, &frames, false).await.0);
}

//! The echo guard on made sounds, in given time.

use std::time::Duration;

use super::SLOT_SAMPLES;
use super::echo::{EchoGuard, EchoReport};
use super::sound_in::FRAME_SAMPLES;

/// A voice of sorts: pulses and hiss that rise and fall; another seed is another voice.
fn voice(slots: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let (mut pulse, mut ring) = (0.0f32, [0.0f32; 2]);
    (0..slots * SLOT_SAMPLES)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = (state >> 8) as f32 / 8_388_608.0 - 1.0;
            let t = i as f32 / 48_000.0;
            let pitch = 110.0 + 7.0 * (seed % 9) as f32 + 20.0 * (t * 2.1 + seed as f32).sin();
            pulse += pitch / 48_000.0;
            let strike = if pulse >= 1.0 { 1.0 } else { 0.0 };
            pulse -= strike;
            let loud = (0.5 + 0.5 * (t * 17.0 + seed as f32).sin()).powi(2);
            let next = 1.9 * ring[0] - 0.93 * ring[1] + strike + 0.05 * hiss;
            ring = [next, ring[0]];
            0.03 * loud * next + 0.004 * loud * hiss
        })
        .collect()
}

/// Every third sample, so many ms later.
fn heard(sent: &[f32], late_ms: usize, gain: f32) -> Vec<f32> {
    let late = late_ms * 16;
    let low: Vec<f32> = sent.chunks_exact(3).map(|c| gain * c.iter().sum::<f32>() / 3.0).collect();
    (0..low.len()).map(|i| if i < late { 0.0 } else { low[i - late] }).collect()
}

fn through(
    guard: &mut EchoGuard,
    sent: &[f32],
    heard: &[f32],
) -> Vec<([f32; FRAME_SAMPLES], EchoReport)> {
    let slots = sent.chunks_exact(SLOT_SAMPLES).zip(heard.chunks_exact(FRAME_SAMPLES));
    slots
        .enumerate()
        .map(|(i, (slot, frame))| {
            guard.sent(Duration::from_millis(20 * i as u64), slot);
            let mut frame: [f32; FRAME_SAMPLES] = frame.try_into().unwrap();
            let report = guard.hear(&mut frame);
            (frame, report)
        })
        .collect()
}

fn power(sound: &[f32]) -> f32 {
    sound.iter().map(|s| s * s).sum()
}

#[test]
fn an_echo_falls_silent_within_a_quarter_of_a_second_whatever_its_delay() {
    for late_ms in [25, 150, 400, 700] {
        let sent = voice(150, 3);
        let echo = heard(&sent, late_ms, 0.3);
        let out = through(&mut EchoGuard::new(), &sent, &echo);
        let after = (late_ms + 250) / 20;
        let left: f32 = out[after..].iter().map(|(frame, _)| power(frame)).sum();
        assert!(left < 0.01 * power(&echo[after * 320..]), "{late_ms} ms");
        assert!(
            out[after..].iter().all(|(_, report)| report.residual_is_echo || report.echo == 0.0)
        );
    }
}

#[test]
fn another_voice_is_not_touched() {
    let (sent, other) = (voice(400, 3), voice(400, 8));
    let near = heard(&other, 0, 1.0);
    for (i, (frame, report)) in through(&mut EchoGuard::new(), &sent, &near).iter().enumerate() {
        assert_eq!(frame[..], near[i * 320..(i + 1) * 320], "frame {i}");
        assert!(!report.residual_is_echo);
    }
}

#[test]
fn the_person_comes_through_the_echo() {
    let (sent, other) = (voice(200, 3), voice(200, 8));
    let mut mixed = heard(&sent, 200, 0.3);
    let near = heard(&other, 0, 0.8);
    let from = 100 * 320;
    mixed[from..].iter_mut().zip(&near[from..]).for_each(|(m, n)| *m += n);
    let out = through(&mut EchoGuard::new(), &sent, &mixed);
    let first = out[100..].iter().position(|(_, report)| !report.residual_is_echo).unwrap();
    assert!(first <= 5, "{first} frames");
    let through: f32 = out[110..].iter().map(|(frame, _)| power(frame)).sum();
    assert!(through > 0.5 * power(&near[110 * 320..]));
}

#[test]
fn nothing_is_done_while_nothing_was_sent() {
    let near = heard(&voice(100, 5), 0, 1.0);
    let out = through(&mut EchoGuard::new(), &vec![0.0; 100 * SLOT_SAMPLES], &near);
    assert!(out.iter().enumerate().all(|(i, (f, r))| {
        f[..] == near[i * 320..(i + 1) * 320] && *r == EchoReport::default()
    }));
}

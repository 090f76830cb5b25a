//! The ruler, on timelines whose figures are known.

use super::super::reply::{Said as Sentence, Word};
use super::*;
use crate::audio::level::gain;

/// A reply of tones: a level for each slot of 20 ms; what the voice made.
fn reference_of(levels: &[f32]) -> Reference {
    let slot = |level: &f32| {
        let amplitude = gain(*level) * std::f32::consts::SQRT_2;
        (0..960).map(move |i| amplitude * (i as f32 * std::f32::consts::TAU / 48.0).sin())
    };
    Reference::of(7, levels.iter().flat_map(slot).collect())
}

/// Packets of these levels, one each 20 ms; `None` is not sent.
fn packets(began: Instant, levels: &[Option<f32>]) -> Vec<Packet> {
    let packet = |(n, dbfs): (usize, &Option<f32>)| {
        dbfs.map(|dbfs| Packet {
            timestamp: 7 + 960 * n as u32,
            arrived: began + SLOT * n as u32,
            dbfs,
            at: 960 * n,
        })
    };
    levels.iter().enumerate().filter_map(packet).collect()
}

fn reply(began: Instant, levels: &[Option<f32>], sentences: &[i64]) -> Reply {
    let sentence = |start: &i64| Sentence {
        text: String::new(),
        words: vec![Word { text: String::new(), start: *start, end: start + 1 }],
    };
    Reply {
        id: 1,
        rtp_start: 7,
        sentences: sentences.iter().map(sentence).collect(),
        cut: None,
        packets: packets(began, levels),
    }
}

/// A voice's levels: syllables with soft and silent slots between them.
fn speech(slots: usize) -> Vec<f32> {
    (0..slots)
        .map(|n| match n % 10 {
            0..4 => -20.0 - (n * 7 % 5) as f32,
            4..7 => -28.0 - (n * 3 % 4) as f32,
            7 => -45.0,
            _ => -70.0,
        })
        .collect()
}

/// The same levels, lowered by 18 dB from this slot on.
fn lowered_from(voice: &[f32], slot: usize) -> Vec<Option<f32>> {
    let lowered = |(n, dbfs): (usize, &f32)| Some(dbfs - if n >= slot { 18.0 } else { 0.0 });
    voice.iter().enumerate().map(lowered).collect()
}

fn said(began: Instant, levels: &[f32]) -> Vec<Said> {
    let frame = |(n, dbfs): (usize, &f32)| Said { sent: began + SLOT * n as u32, dbfs: *dbfs };
    levels.iter().enumerate().map(frame).collect()
}

#[test]
fn onset_and_end_are_the_voiced_frames() {
    let began = Instant::now();
    let frames = said(began, &[-20.0, -100.0, -50.0, -30.0, -20.0, -60.0, -20.0]);
    assert_eq!(onset(&frames, began + SLOT), Some(began + SLOT * 3));
    assert_eq!(last_voiced(&frames, began, began + SLOT * 6), Some(began + SLOT * 4));
    assert_eq!(onset(&frames, began + SLOT * 7), None);
}

#[test]
fn the_stop_is_the_end_of_the_last_audible_packet() {
    let began = Instant::now();
    let packets =
        packets(began, &[Some(-20.0), Some(-30.0), Some(-60.0), Some(-40.0), Some(-90.0)]);
    assert_eq!(silent_from(&packets, began), began + SLOT * 4);
    assert_eq!(silent_from(&packets, began + SLOT * 9), began + SLOT * 9, "silent before");
    assert_eq!(silent_from(&[], began), began);
}

#[test]
fn ducking_is_told_from_the_voices_own_soft_sounds() {
    let began = Instant::now();
    let voice = speech(60);
    let as_it_is: Vec<_> = voice.iter().map(|level| Some(*level)).collect();
    let reference = reference_of(&voice);
    assert_eq!(ducked(&packets(began, &as_it_is), &reference, began), Ducked::Never);
    // Lowered by 18 dB from slot 31 on.
    let lowered = lowered_from(&voice, 31);
    let at = ducked(&packets(began, &lowered), &reference, began + SLOT * 20);
    assert_eq!(at, Ducked::At(began + SLOT * 31));
    // By 10 dB only: no duck.
    let little: Vec<_> = voice.iter().map(|level| Some(level - 10.0)).collect();
    assert_eq!(ducked(&packets(began, &little), &reference, began), Ducked::Never);
    // Lowered within a short silence: told at the first telling sound.
    let in_pause = lowered_from(&voice, 28);
    assert_eq!(
        ducked(&packets(began, &in_pause), &reference, began + SLOT * 26),
        Ducked::At(began + SLOT * 30)
    );
    // Lowered within a long pause: nobody can tell when.
    let mut pausing = voice.clone();
    pausing[24..34].fill(-80.0);
    let hidden = packets(began, &lowered_from(&pausing, 28));
    let at = ducked(&hidden, &reference_of(&pausing), began + SLOT * 26);
    assert_eq!(at, Ducked::Unknown);
    // Cut at once: silence counts as ducked; nothing sent tells nothing.
    let cut: Vec<_> = voice
        .iter()
        .enumerate()
        .map(|(n, dbfs)| if n < 21 { Some(*dbfs) } else { (n < 26).then_some(-100.0) })
        .collect();
    let at = ducked(&packets(began, &cut), &reference, began + SLOT * 18);
    assert_eq!(at, Ducked::At(began + SLOT * 21));
    assert_eq!(ducked(&[], &reference, began), Ducked::Unknown);
    let off = misfit_db(&packets(began, &lowered), &reference, began + SLOT * 30);
    assert!(off.is_some_and(|off| off < 0.2), "{off:?}");
}

#[test]
fn a_reply_without_a_fault_has_no_gap() {
    let began = Instant::now();
    let mut voice = speech(100);
    // Its own pause of 400 ms between two sentences.
    voice[48..68].fill(-80.0);
    let heard: Vec<_> = voice.iter().map(|level| (*level > -75.0).then_some(*level)).collect();
    let reply = reply(began, &heard, &[0, 70 * 960]);
    assert_eq!(gaps(&reply, &reference_of(&voice)), []);
}

#[test]
fn a_ducked_reply_has_no_gap_though_its_soft_sounds_are_not_audible() {
    let began = Instant::now();
    let mut voice = speech(100);
    voice[40..60].fill(-38.0);
    let heard = lowered_from(&voice, 20);
    assert_eq!(gaps(&reply(began, &heard, &[0]), &reference_of(&voice)), []);
}

#[test]
fn a_suspension_is_a_gap_and_what_follows_it_is_not() {
    let began = Instant::now();
    let mut voice = speech(120);
    // A pause of its own after the suspension: 300 ms.
    voice[78..93].fill(-80.0);
    let reference = reference_of(&voice);
    for suspended in [10, 17, 60] {
        // Suspended after slot 42, in mid-word, and resumed where it was.
        let mut heard: Vec<_> = voice[..43].iter().map(|level| Some(*level)).collect();
        heard.resize(43 + suspended, None);
        heard.extend(voice[43..].iter().map(|level| Some(*level)));
        let gaps = gaps(&reply(began, &heard, &[0]), &reference);
        assert_eq!(gaps, [Gap { place: 43 * 960, ms: 20.0 * suspended as f64 }]);
    }
}

#[test]
fn a_suspension_in_a_pause_counts_what_is_more_than_the_pause() {
    let began = Instant::now();
    let mut voice = speech(120);
    voice[38..50].fill(-80.0);
    let mut heard: Vec<_> = voice[..45].iter().map(|level| Some(*level)).collect();
    heard.resize(45 + 20, None);
    heard.extend(voice[45..].iter().map(|level| Some(*level)));
    let gaps = gaps(&reply(began, &heard, &[0]), &reference_of(&voice));
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!((gaps[0].ms - 400.0).abs() <= 40.0, "{gaps:?}");
}

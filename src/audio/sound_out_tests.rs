//! What goes out: starts, ends, cuts, silence, timestamps; heard through a decoder where clicks
//! matter.

use super::SLOT_SAMPLES;
use super::level::{peak, rms_dbfs};
use super::opus::{Decoder, EncoderConfig};
use super::sound_out::{CAPACITY, Packet, SoundOut};

fn new() -> SoundOut {
    SoundOut::new(EncoderConfig::default(), 1_000).unwrap()
}

/// 200 Hz at half of full scale: its own steps between samples are at most 0.0131.
fn tone(samples: usize) -> Vec<f32> {
    // Begins at the crest, so that an unfaded start would jump by 0.5.
    (0..samples)
        .map(|i| 0.5 * (i as f32 * 200.0 / 48_000.0 * std::f32::consts::TAU).cos())
        .collect()
}

fn slots(out: &mut SoundOut, n: usize) -> Vec<Option<Packet>> {
    (0..n).map(|_| out.next_packet()).collect()
}

/// What the other side hears of slots, silence where nothing was sent.
fn heard(packets: &[Option<Packet>]) -> Vec<f32> {
    let mut decoder = Decoder::full_band().unwrap();
    let mut sound = Vec::new();
    for packet in packets {
        match packet {
            Some(p) => drop(decoder.decode(&p.payload, &mut sound).unwrap()),
            None => sound.resize(sound.len() + SLOT_SAMPLES, 0.0),
        }
    }
    sound
}

/// The largest step between neighbouring samples.
fn step(sound: &[f32]) -> f32 {
    sound.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn silence_sends_a_sign_of_life_every_400_ms() {
    let mut out = new();
    let packets = slots(&mut out, 101);
    let sent: Vec<usize> = (0..101).filter(|i| packets[*i].is_some()).collect();
    assert_eq!(sent, [0, 20, 40, 60, 80, 100]);
    assert!(packets.iter().flatten().all(|p| !p.marker && p.samples_from_queue == 0));
    assert_eq!(packets[40].as_ref().unwrap().timestamp48, 1_000 + 40 * 960);
}

#[test]
fn the_first_packet_after_silence_and_no_other_has_the_marker() {
    let mut out = new();
    slots(&mut out, 7);
    out.push(&tone(9_600));
    out.end_of_speech();
    let first = slots(&mut out, 12);
    assert!(first[0].as_ref().unwrap().marker);
    assert_eq!(first[0].as_ref().unwrap().timestamp48, 1_000 + 7 * 960);
    assert!(first.iter().skip(1).all(|p| !p.as_ref().unwrap().marker));
    // Speech within the comfort silence: packets never ceased, so no marker.
    out.push(&tone(9_600));
    out.end_of_speech();
    assert!(slots(&mut out, 10).iter().all(|p| !p.as_ref().unwrap().marker));
    // After the comfort silence: a marker again.
    let after = slots(&mut out, 8);
    assert_eq!(after.iter().flatten().count(), 5);
    out.push(&tone(9_600));
    assert!(out.next_packet().unwrap().marker);
}

#[test]
fn timestamps_advance_with_every_slot_and_wrap() {
    let mut out = SoundOut::new(EncoderConfig::default(), u32::MAX - 900).unwrap();
    out.push(&tone(5 * 960));
    out.end_of_speech();
    let packets: Vec<_> = slots(&mut out, 40).into_iter().flatten().collect();
    assert_eq!(packets[1].timestamp48, 59);
    assert_eq!(out.next_timestamp48(), (u32::MAX - 900).wrapping_add(40 * 960));
    out.skip_slots(2);
    assert_eq!(out.next_timestamp48(), (u32::MAX - 900).wrapping_add(42 * 960));
}

#[test]
fn speech_starts_and_ends_without_a_click() {
    let mut out = new();
    let mut packets = slots(&mut out, 5);
    out.push(&tone(10_000));
    out.end_of_speech();
    packets.extend(slots(&mut out, 30));
    let sound = heard(&packets);
    assert!(peak(&sound) > 0.4);
    assert!(step(&sound) < 0.04, "{}", step(&sound));
    assert!(rms_dbfs(&sound[sound.len() - 9_600..]) < -70.0);
}

#[test]
fn a_cut_fades_within_a_slot_and_tells_what_was_heard() {
    let mut out = new();
    out.push(&tone(48_000));
    let mut packets = slots(&mut out, 10);
    assert_eq!(out.sent_samples(), 9_600);
    let until = out.cut();
    assert_eq!(until, 9_600 + 720);
    assert_eq!(out.cut(), until, "a second cut changes nothing");
    let last = out.next_packet().unwrap();
    assert_eq!(last.samples_from_queue, 720);
    packets.push(Some(last));
    packets.extend(slots(&mut out, 10));
    assert_eq!(out.sent_samples(), until);
    assert_eq!(out.queued_end(), until);
    let sound = heard(&packets);
    assert!(step(&sound) < 0.04, "{}", step(&sound));
    // 6.5 ms is the codec's own delay.
    assert!(rms_dbfs(&sound[10 * 960 + 720 + 480..][..2_000]) < -40.0);
    assert_eq!(out.stats().underruns, 0);
}

#[test]
fn a_cut_before_the_first_sample_is_silent() {
    let mut out = new();
    out.push(&tone(48_000));
    assert_eq!(out.cut(), 0);
    assert_eq!(out.queued(), 0);
    slots(&mut out, 1);
    assert!(slots(&mut out, 10).iter().all(Option::is_none));
}

#[test]
fn new_speech_right_after_a_cut_follows_without_a_click() {
    let mut out = new();
    out.push(&tone(48_000));
    let mut packets = slots(&mut out, 10);
    out.cut();
    let begins = out.queued_end();
    out.push(&tone(9_600));
    out.end_of_speech();
    assert_eq!(begins, 9_600 + 720);
    packets.extend(slots(&mut out, 20));
    assert_eq!(out.sent_samples(), begins + 9_600);
    let sound = heard(&packets);
    assert!(step(&sound) < 0.04, "{}", step(&sound));
}

#[test]
fn running_dry_is_counted_faded_and_resumed_with_a_fade() {
    let mut out = new();
    out.push(&tone(4_800));
    let mut packets = slots(&mut out, 8);
    assert_eq!(out.stats().underruns, 1);
    assert_eq!(out.sent_samples(), 4_800);
    // Too little to go on with, then enough.
    out.push(&tone(1_000));
    packets.extend(slots(&mut out, 1));
    assert_eq!(out.sent_samples(), 4_800);
    out.push(&tone(9_000)[1_000..]);
    out.end_of_speech();
    packets.extend(slots(&mut out, 15));
    assert_eq!(out.sent_samples(), 4_800 + 9_000);
    assert_eq!(out.stats().underruns, 1);
    let sound = heard(&packets);
    assert!(step(&sound) < 0.06, "{}", step(&sound));
}

#[test]
fn chunks_in_time_run_on_without_a_seam() {
    let mut out = new();
    let whole = tone(48_000);
    let mut packets = Vec::new();
    for chunk in whole.chunks(2_000) {
        out.push(chunk);
        while out.queued() > 2_000 {
            packets.push(out.next_packet());
        }
    }
    out.end_of_speech();
    packets.extend(slots(&mut out, 10));
    assert_eq!(out.stats().underruns, 0);
    assert_eq!(out.sent_samples(), 48_000);
    assert!(packets[5..40].iter().flatten().all(|p| (p.rms_dbfs + 9.03).abs() < 0.2));
}

#[test]
fn ducking_is_smooth_and_comes_back() {
    let mut out = new();
    out.push(&tone(96_000));
    let level = |p: Option<Packet>| p.unwrap().rms_dbfs;
    let mut packets = slots(&mut out, 10);
    let full = packets[9].as_ref().unwrap().rms_dbfs;
    out.duck(-12.0);
    packets.extend(slots(&mut out, 4));
    let low = level(packets[13].clone());
    assert!((low - full + 12.0).abs() < 0.3, "{low} {full}");
    out.unduck();
    packets.extend(slots(&mut out, 10));
    assert!((level(packets[23].clone()) - full).abs() < 0.3);
    let sound = heard(&packets);
    assert!(step(&sound) < 0.04, "{}", step(&sound));
    // A cut while ducked stays low, and what comes next is at full level.
    out.duck(-12.0);
    slots(&mut out, 4);
    out.cut();
    assert!(level(out.next_packet()) < full - 12.0);
    out.push(&tone(9_600));
    assert!((level(slots(&mut out, 3).pop().unwrap()) - full).abs() < 0.3);
}

#[test]
fn the_queue_is_bounded() {
    let mut out = new();
    let second = tone(48_000);
    let taken: usize = (0..70).map(|_| out.push(&second)).sum();
    assert_eq!(taken, CAPACITY);
    assert_eq!(out.push(&second), 0);
}

#[test]
fn held_speech_fades_at_once_and_goes_on_where_it_was() {
    let mut out = new();
    out.push(&tone(48_000));
    out.end_of_speech();
    let mut packets = slots(&mut out, 10);
    out.hold();
    out.hold();
    packets.extend(slots(&mut out, 30));
    let fading = out.sent_samples() - 10 * SLOT_SAMPLES as u64;
    assert!(fading < SLOT_SAMPLES as u64, "{fading} samples after the hold");
    assert!(packets[11..].iter().flatten().all(|p| p.rms_dbfs < -60.0), "it is silent");
    assert_eq!(out.queued(), 48_000 - 9_600 - fading as usize, "nothing is lost");
    out.resume();
    packets.extend(slots(&mut out, 45));
    assert_eq!(out.sent_samples(), 48_000);
    let sound = heard(&packets);
    assert!(step(&sound) < 0.03, "a step of {}", step(&sound));
}

#[test]
fn speech_that_is_resumed_before_its_fade_was_sent_does_not_click() {
    let mut out = new();
    out.push(&tone(9_600));
    out.end_of_speech();
    let mut packets = slots(&mut out, 3);
    out.hold();
    out.resume();
    packets.extend(slots(&mut out, 10));
    assert_eq!(out.sent_samples(), 9_600);
    assert!(step(&heard(&packets)) < 0.03);
}

#[test]
fn held_speech_can_be_cut_and_new_speech_is_not_held() {
    let mut out = new();
    out.push(&tone(48_000));
    slots(&mut out, 5);
    out.hold();
    slots(&mut out, 5);
    out.cut();
    assert!(!out.is_held());
    assert_eq!(out.queued(), 0);
    out.hold();
    out.cut();
    out.push(&tone(9_600));
    out.end_of_speech();
    assert!(slots(&mut out, 1)[0].as_ref().unwrap().rms_dbfs > -20.0);
}

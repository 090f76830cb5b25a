//! The jitter buffer on lines of every kind; packets are minimal ones that only tell their length.

use std::time::Duration;

use bytes::Bytes;

use super::jitter::{JitterBuffer, JitterConfig, Slot};

/// A CELT-only packet of 20 ms, no FEC, that carries its number.
fn packet(n: u16) -> Bytes {
    Bytes::from(vec![0xb8, (n >> 8) as u8, n as u8, 0])
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn drain(buffer: &mut JitterBuffer, now: Duration) -> Vec<Slot> {
    std::iter::from_fn(|| buffer.poll(now)).collect()
}

/// What came out, for reading: packet numbers, and the others by name and milliseconds.
fn names(slots: &[Slot]) -> Vec<String> {
    slots
        .iter()
        .map(|slot| match slot {
            Slot::Packet { payload, .. } if payload.len() >= 3 => {
                u16::from_be_bytes([payload[1], payload[2]]).to_string()
            }
            Slot::Packet { .. } => "dtx".into(),
            Slot::Recover { samples48, .. } => format!("recover {}", samples48 / 48),
            Slot::Conceal { samples48 } => format!("conceal {}", samples48 / 48),
            Slot::Silence { samples48 } => format!("silence {}", samples48 / 48),
        })
        .collect()
}

/// A buffer that took packets 0..n in order, 20 ms apart, the first at 100 ms; packet n is next,
/// due at 100 + 20 n.
fn running(n: u16) -> JitterBuffer {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    for i in 0..n {
        push(&mut buffer, 100 + 20 * u64::from(i), i);
        assert_eq!(drain(&mut buffer, ms(100 + 20 * u64::from(i))).len(), 1);
    }
    buffer
}

fn push(buffer: &mut JitterBuffer, at: u64, n: u16) {
    buffer.push(ms(at), n, u32::from(n) * 960, packet(n));
}

/// Polls as a driver does, at every timeout up to `until`.
fn run_until(buffer: &mut JitterBuffer, until: u64) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    while let Some(at) = buffer.poll_timeout().filter(|at| *at <= ms(until)) {
        let slots = drain(buffer, at);
        assert!(!slots.is_empty(), "a timeout at {at:?} has something to do");
        out.extend(names(&slots).into_iter().map(|name| (at.as_millis() as u64, name)));
    }
    out
}

#[test]
fn on_a_clean_line_packets_leave_at_once() {
    let buffer = running(500);
    assert_eq!(buffer.stats().lost, 0);
    assert_eq!(buffer.stats().jitter_ms, 0.0);
    assert_eq!(buffer.lead48(ms(100 + 20 * 499)), 0);
}

#[test]
fn reordered_packets_leave_in_order_and_nothing_is_lost() {
    let mut buffer = running(10);
    push(&mut buffer, 300, 11);
    assert!(drain(&mut buffer, ms(300)).is_empty());
    push(&mut buffer, 308, 10);
    assert_eq!(names(&drain(&mut buffer, ms(308))), ["10", "11"]);
    assert_eq!(buffer.stats().lost, 0);
}

#[test]
fn a_lost_packet_is_concealed_after_a_short_wait() {
    let mut buffer = running(10);
    push(&mut buffer, 320, 11);
    let wait = buffer.poll_timeout().unwrap() - ms(320);
    assert!(wait <= ms(20), "{wait:?}");
    let out = run_until(&mut buffer, 340);
    let out: Vec<_> = out.into_iter().map(|(_, name)| name).collect();
    assert_eq!(out, ["conceal 20", "11"]);
    assert_eq!(buffer.stats().lost, 1);
}

#[test]
fn the_copy_in_the_next_packet_is_used() {
    let mut buffer = running(10);
    // SILK, 20 ms, LBRR bit set.
    let with_copy = Bytes::from_static(&[0x48, 0x40, 0, 0]);
    buffer.push(ms(340), 12, 12 * 960, with_copy.clone());
    let out: Vec<_> = std::iter::from_fn(|| buffer.poll(ms(400))).collect();
    assert_eq!(out[0], Slot::Conceal { samples48: 960 });
    assert_eq!(out[1], Slot::Recover { next: with_copy, samples48: 960 });
    assert!(matches!(out[2], Slot::Packet { .. }));
    assert_eq!((buffer.stats().lost, buffer.stats().recovered), (2, 1));
}

#[test]
fn late_packets_are_dropped_and_make_the_next_wait_longer() {
    let mut buffer = running(10);
    push(&mut buffer, 320, 11);
    run_until(&mut buffer, 360);
    let before = buffer.stats().wait_ms;
    push(&mut buffer, 365, 10);
    assert!(drain(&mut buffer, ms(365)).is_empty());
    let stats = buffer.stats();
    assert_eq!((stats.late, stats.duplicates), (1, 0));
    assert!(stats.wait_ms > before.max(45.0), "{stats:?}");

    // A quiet line makes it short again.
    for i in 12..4_000u16 {
        push(&mut buffer, 100 + 20 * u64::from(i), i);
        drain(&mut buffer, ms(100 + 20 * u64::from(i)));
    }
    assert!(buffer.stats().wait_ms <= 10.5, "{:?}", buffer.stats());
}

#[test]
fn the_wait_for_a_gap_is_bounded() {
    let mut buffer = running(10);
    push(&mut buffer, 320, 11);
    run_until(&mut buffer, 400);
    push(&mut buffer, 900, 10);
    assert_eq!(buffer.stats().wait_ms, 80.0);
}

#[test]
fn duplicates_are_dropped() {
    let mut buffer = running(10);
    push(&mut buffer, 301, 9);
    push(&mut buffer, 302, 11);
    push(&mut buffer, 303, 11);
    assert!(drain(&mut buffer, ms(303)).is_empty());
    assert_eq!(buffer.stats().duplicates, 2);
}

#[test]
fn sequence_and_timestamp_wrap() {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let first = u32::MAX - 3 * 960;
    for i in 0..20u16 {
        let at = ms(100 + 20 * u64::from(i));
        let sequence = (u16::MAX - 7).wrapping_add(i);
        buffer.push(at, sequence, first.wrapping_add(u32::from(i) * 960), packet(i));
        assert_eq!(names(&drain(&mut buffer, at)), [i.to_string()]);
    }
    assert_eq!(buffer.stats().restarts, 0);
}

#[test]
fn a_restarted_sender_is_followed_after_two_packets() {
    let mut buffer = running(10);
    buffer.push(ms(300), 40_000, 77, packet(1));
    assert!(drain(&mut buffer, ms(300)).is_empty());
    buffer.push(ms(320), 40_001, 77 + 960, packet(2));
    assert_eq!(names(&drain(&mut buffer, ms(320))), ["1", "2"]);
    assert_eq!(buffer.stats().restarts, 1);
    assert_eq!(buffer.lead48(ms(320)), 0);
}

#[test]
fn one_stray_packet_changes_nothing() {
    let mut buffer = running(10);
    buffer.push(ms(299), 40_000, 77, packet(1));
    push(&mut buffer, 300, 10);
    assert_eq!(names(&drain(&mut buffer, ms(300))), ["10"]);
    assert_eq!(buffer.stats().restarts, 0);
}

#[test]
fn a_timestamp_jump_in_an_unbroken_sequence_adds_no_silence() {
    let mut buffer = running(10);
    buffer.push(ms(300), 10, 3_000_000_000, packet(10));
    let out = names(&drain(&mut buffer, ms(300)));
    assert_eq!(out.last().unwrap(), "10");
    assert!(buffer.lead48(ms(300)) <= 60 * 48);
    buffer.push(ms(320), 11, 3_000_000_960, packet(11));
    assert_eq!(names(&drain(&mut buffer, ms(320))), ["11"]);
}

#[test]
fn a_dtx_pause_becomes_silence_of_the_right_length_as_time_passes() {
    let mut buffer = running(10);
    buffer.push(ms(300), 10, 9_600, Bytes::from_static(&[0xb8]));
    assert_eq!(names(&drain(&mut buffer, ms(300))), ["dtx"]);
    // The next packet comes 400 ms later, with a timestamp to match.
    let mut out = run_until(&mut buffer, 699);
    assert!(out.iter().all(|(_, name)| name == "silence 20"));
    // Handed out as time passes, not in the end.
    assert!(out.windows(2).all(|w| w[1].0 - w[0].0 == 20), "{out:?}");
    buffer.push(ms(700), 11, 9_600 + 400 * 48, packet(11));
    out.extend(names(&drain(&mut buffer, ms(700))).into_iter().map(|n| (700, n)));
    let silence = out.iter().filter(|(_, n)| n.starts_with("silence")).count() * 20;
    assert_eq!(silence, 380);
    assert_eq!(out.last().unwrap().1, "11");
    assert_eq!(buffer.lead48(ms(700)), 0);
}

#[test]
fn when_nothing_arrives_time_still_passes_at_its_own_pace() {
    let mut buffer = running(10);
    let out = run_until(&mut buffer, 10_000);
    let filled = out.len() as u64 * 20;
    assert!((9_660..=9_720).contains(&filled), "{filled}");
    assert_eq!(out[0].1, "conceal 20");
    assert_eq!(out[5].1, "silence 20");
    assert!(buffer.lead48(ms(10_000)).abs() <= 40 * 48);
}

#[test]
fn a_burst_after_a_stall_is_handed_out_in_order() {
    let mut buffer = running(10);
    run_until(&mut buffer, 800);
    let mut out = Vec::new();
    for i in 10..36 {
        push(&mut buffer, 800, i);
        out.extend(names(&drain(&mut buffer, ms(800))));
    }
    let expected: Vec<_> = (10..36).map(|n: u16| n.to_string()).collect();
    assert_eq!(out, expected);
    assert_eq!(buffer.stats().dropped, 0);
    // Ahead by what was filled, so that the next stall of this kind fills nothing.
    let lead = buffer.lead48(ms(800));
    assert!((20_000..26_000).contains(&lead), "{lead}");
    push(&mut buffer, 820, 36);
    assert_eq!(names(&drain(&mut buffer, ms(820))), ["36"]);
    assert!(run_until(&mut buffer, 1_200).is_empty());
}

#[test]
fn of_a_very_long_stall_only_a_second_is_handed_out() {
    let mut buffer = running(10);
    run_until(&mut buffer, 5_300);
    for i in 10..260 {
        push(&mut buffer, 5_300, i);
    }
    let out = names(&drain(&mut buffer, ms(5_300)));
    assert!((49..=52).contains(&out.len()), "{}", out.len());
    assert_eq!(out[0], "10");
    assert!(buffer.lead48(ms(5_300)) <= 48_000);
    // And it goes on from there.
    push(&mut buffer, 5_320, 260);
    assert_eq!(names(&drain(&mut buffer, ms(5_320))), ["260"]);
}

#[test]
fn a_second_of_lost_packets_is_not_filled_twice() {
    let mut buffer = running(10);
    let before = run_until(&mut buffer, 1_299);
    push(&mut buffer, 1_300, 60);
    let after = run_until(&mut buffer, 1_400);
    let at = after.iter().position(|(_, name)| name == "60").unwrap();
    let milliseconds = (before.len() + at) * 20;
    assert!((960..=1_040).contains(&milliseconds), "{milliseconds}");
    assert_eq!(buffer.stats().lost, 50);
}

#[test]
fn packets_of_other_lengths_keep_time() {
    // Three frames of 20 ms a packet.
    let long = Bytes::from_static(&[0xbb, 0x03, 1, 2, 3, 4, 5, 6]);
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    for i in 0..50u16 {
        let at = ms(100 + 60 * u64::from(i));
        buffer.push(at, i, u32::from(i) * 2_880, long.clone());
        assert_eq!(drain(&mut buffer, at).len(), 1);
    }
    assert_eq!(buffer.stats().lost, 0);
    // One is lost.
    buffer.push(ms(100 + 60 * 51), 51, 51 * 2_880, long);
    let out: Vec<_> = run_until(&mut buffer, 3_260).into_iter().map(|(_, name)| name).collect();
    assert_eq!(out[0], "conceal 60");
}

#[test]
fn empty_payloads_count_in_the_sequence_only() {
    let mut buffer = running(10);
    buffer.push(ms(300), 10, 9_600, Bytes::new());
    assert!(drain(&mut buffer, ms(300)).is_empty());
    buffer.push(ms(300), 11, 9_600, packet(11));
    assert_eq!(names(&drain(&mut buffer, ms(300))), ["11"]);
}

#[test]
fn before_the_first_packet_there_is_nothing_to_wait_for() {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    assert_eq!(buffer.poll_timeout(), None);
    assert_eq!(buffer.poll(ms(5_000)), None);
}

proptest::proptest! {
    #[test]
    fn any_packets_at_any_time_never_panic_and_stay_bounded(
        packets in proptest::collection::vec(
            (0u64..400, proptest::prelude::any::<u16>(), proptest::prelude::any::<u32>(),
             proptest::collection::vec(proptest::prelude::any::<u8>(), 0..12), 0u8..4),
            1..200,
        )
    ) {
        let mut buffer = JitterBuffer::new(JitterConfig::default());
        let (mut now, mut sequence, mut timestamp) = (Duration::ZERO, 0u16, 0u32);
        for (pass, any_sequence, any_timestamp, payload, kind) in packets {
            now += ms(pass);
            sequence = match kind { 0 => any_sequence, k => sequence.wrapping_add(k.into()) };
            timestamp = match kind { 0 | 3 => any_timestamp, _ => timestamp.wrapping_add(960) };
            buffer.push(now, sequence, timestamp, Bytes::from(payload));
            let out = drain(&mut buffer, now);
            proptest::prop_assert!(out.len() < 2_000);
        }
        now += Duration::from_secs(3_600);
        let out = drain(&mut buffer, now);
        proptest::prop_assert!(out.len() < 200_000);
        proptest::prop_assert!(buffer.poll_timeout().is_none_or(|at| at > now));
    }
}

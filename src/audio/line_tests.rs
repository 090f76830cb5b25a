//! Speech through the encoder, a bad line and [`SoundIn`], on given time.

use std::time::Duration;

use bytes::Bytes;

use super::SLOT_SAMPLES;
use super::jitter::JitterConfig;
use super::level::rms_dbfs;
use super::opus::{Decoder, Encoder, EncoderConfig, carries_fec};
use super::sound_in::{FRAME_SAMPLES, Frame, RtpFields, SoundIn};

/// A small generator (splitmix64), so that every run is the same.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Syllables: a voiced sound of 12 harmonics in bursts of 180 ms with 70 ms between.
fn speech(slot: usize) -> [f32; SLOT_SAMPLES] {
    std::array::from_fn(|i| {
        let n = slot * SLOT_SAMPLES + i;
        let t = n as f32 / 48_000.0;
        let syllable = (t % 0.25 / 0.18).min(1.0);
        let loud = (syllable * std::f32::consts::PI).sin();
        let pitch = 130.0 + 20.0 * (t * 2.0).sin();
        let voice: f32 =
            (1..12).map(|h| (t * pitch * h as f32 * std::f32::consts::TAU).sin() / h as f32).sum();
        0.2 * loud * voice
    })
}

struct Sent {
    at: Duration,
    rtp: RtpFields,
}

fn encode(slots: usize, loss: u8, sound: impl Fn(usize) -> [f32; SLOT_SAMPLES]) -> Vec<Sent> {
    let mut encoder =
        Encoder::new(EncoderConfig { expected_loss: loss, ..EncoderConfig::default() }).unwrap();
    (0..slots)
        .map(|i| Sent {
            at: Duration::from_millis(20 * (i as u64 + 1)),
            rtp: RtpFields {
                ssrc: 7,
                sequence: (65_500 + i) as u16,
                timestamp: (u32::MAX - 48_000).wrapping_add((i * SLOT_SAMPLES) as u32),
                payload: encoder.encode(&sound(i)).unwrap(),
            },
        })
        .collect()
}

fn lose(packets: Vec<Sent>, arrives: &[bool]) -> Vec<Sent> {
    packets.into_iter().zip(arrives).filter(|(_, arrives)| **arrives).map(|(p, _)| p).collect()
}

/// How many lost packets have a copy in the next one (Opus copies only what has a voice in it).
fn recoverable(packets: &[Sent], arrives: &[bool]) -> u64 {
    (1..packets.len())
        .filter(|i| !arrives[i - 1] && arrives[*i] && carries_fec(&packets[*i].rtp.payload))
        .count() as u64
}

/// Delivers packets in order of arrival to `SoundIn` as a driver does: at arrivals and timeouts.
fn deliver(mut packets: Vec<Sent>, until: Duration) -> (Vec<(Duration, Frame)>, SoundIn) {
    packets.sort_by_key(|p| p.at);
    let mut sound_in = SoundIn::new(JitterConfig::default()).unwrap();
    let mut frames = Vec::new();
    let mut packets = packets.into_iter().peekable();
    loop {
        let arrival = packets.peek().map(|p| p.at);
        let timeout = sound_in.poll_timeout();
        let now = [arrival, timeout].into_iter().flatten().min().unwrap_or(until);
        if now > until || (arrival.is_none() && timeout.is_none()) {
            break;
        }
        if arrival.is_some_and(|at| at <= now) {
            sound_in.push(now, packets.next().unwrap().rtp);
        }
        while let Some(frame) = sound_in.poll_frame(now) {
            frames.push((now, frame));
        }
    }
    (frames, sound_in)
}

fn assert_continuous(frames: &[(Duration, Frame)]) {
    for pair in frames.windows(2) {
        assert_eq!(pair[1].1.start_sample, pair[0].1.start_sample + FRAME_SAMPLES as u64);
    }
}

fn ms(samples: u64) -> f64 {
    samples as f64 / 16.0
}

fn end_ms(frames: &[(Duration, Frame)]) -> f64 {
    ms(frames.last().unwrap().1.start_sample + FRAME_SAMPLES as u64)
}

fn samples(frames: &[(Duration, Frame)]) -> Vec<f32> {
    frames.iter().flat_map(|(_, f)| f.samples).collect()
}

#[test]
fn a_clean_line_adds_nothing() {
    let packets = encode(500, 0, speech);
    let (frames, sound_in) = deliver(packets, Duration::from_secs(10));
    assert_eq!(frames.len(), 500);
    assert_continuous(&frames);
    for (now, frame) in &frames {
        assert_eq!(*now, frame.arrived);
        assert_eq!(now.as_millis() as u64 * 16, frame.start_sample + 320);
        assert!(!frame.concealed);
    }
    let stats = sound_in.stats();
    assert_eq!((stats.shortened, stats.stretched, stats.damaged), (0, 0, 0));
}

#[test]
fn a_fifth_lost_and_40_ms_of_jitter_stay_continuous_and_on_time() {
    let mut dice = Dice(1);
    let all = encode(1_500, 20, speech);
    let sent = all.len();
    let arrives: Vec<bool> = all.iter().map(|_| dice.below(5) > 0).collect();
    let recoverable = recoverable(&all, &arrives);
    let mut lossy = lose(all, &arrives);
    for p in &mut lossy {
        p.at += Duration::from_micros(dice.below(40_000));
    }
    let lost = sent - lossy.len();
    let until = Duration::from_millis(30_100);
    let (frames, sound_in) = deliver(lossy, until);
    assert_continuous(&frames);
    let length = frames.len() as f64 * 20.0;
    assert!((length - 30_000.0).abs() <= 60.0, "{length} ms");
    assert!((end_ms(&frames) - 30_000.0).abs() <= 60.0, "{} ms", end_ms(&frames));

    let stats = sound_in.stats();
    assert!(stats.jitter.late <= 15, "{stats:?}");
    assert!((stats.jitter.lost as i64 - lost as i64).abs() <= 15, "{lost} {stats:?}");
    assert!(stats.jitter.recovered + 10 >= recoverable, "{recoverable} {stats:?}");
    assert!(recoverable as usize * 2 > lost);
    assert!((8.0..25.0).contains(&stats.jitter.jitter_ms), "{stats:?}");
    assert!(stats.jitter.wait_ms <= 80.0);
    assert_eq!(stats.damaged, 0);

    // No frame came much later than its packet could have.
    let worst = frames
        .iter()
        .map(|(now, f)| now.as_secs_f64() * 1e3 - ms(f.start_sample))
        .fold(0.0, f64::max);
    assert!(worst < 200.0, "{worst} ms");
}

#[test]
fn recovered_sound_is_close_to_the_sound_lost() {
    let packets = encode(400, 20, speech);
    let mut whole = Decoder::for_listening().unwrap();
    let mut original = Vec::new();
    for p in &packets {
        whole.decode(&p.rtp.payload, &mut original).unwrap();
    }
    let arrives: Vec<bool> = (0..packets.len()).map(|i| i % 7 != 6).collect();
    let recoverable = recoverable(&packets, &arrives);
    let (frames, sound_in) = deliver(lose(packets, &arrives), Duration::from_secs(8));
    let stats = sound_in.stats().jitter;
    assert_eq!(stats.recovered, recoverable);
    assert!(stats.recovered * 4 > stats.lost * 3, "{stats:?}");
    let got = samples(&frames);
    let n = got.len().min(original.len());
    let error: Vec<f32> = (0..n).map(|i| got[i] - original[i]).collect();
    let gain = rms_dbfs(&original[..n]) - rms_dbfs(&error);
    assert!(gain > 8.0, "{gain} dB");
}

#[test]
fn a_stall_and_its_burst_lose_no_words_and_come_back_to_real_time() {
    let voice = |slot: usize| {
        // Speech for 4 s, then the noise of a quiet room.
        if slot < 200 { speech(slot) } else { speech(slot).map(|s| s * 0.002) }
    };
    let mut packets = encode(700, 0, voice);
    for p in &mut packets[100..130] {
        p.at = Duration::from_millis(20 * 131);
    }
    let (frames, sound_in) = deliver(packets, Duration::from_secs(14));
    assert_continuous(&frames);
    assert_eq!(sound_in.stats().jitter.dropped, 0);
    let ahead = frames.iter().map(|(now, f)| ms(f.start_sample + 320) - now.as_secs_f64() * 1e3);
    let most = ahead.fold(0.0, f64::max);
    assert!((300.0..700.0).contains(&most), "{most} ms");
    assert!((end_ms(&frames) - 14_000.0).abs() <= 100.0, "{} ms", end_ms(&frames));
    assert!(sound_in.stats().shortened > 10);
}

#[test]
fn a_sender_with_a_slow_or_fast_clock_does_not_drift_away() {
    for skew_ppm in [-600i64, 600] {
        let pause =
            |slot: usize| if slot % 250 < 200 { speech(slot % 250) } else { [0.0; SLOT_SAMPLES] };
        let pieces = encode(250, 0, pause);
        // Ten minutes: the same five seconds again and again.
        let packets: Vec<Sent> = (0..30_000usize)
            .map(|i| {
                let nominal = 20_000 * (i as i64 + 1);
                Sent {
                    at: Duration::from_micros((nominal + nominal * skew_ppm / 1_000_000) as u64),
                    rtp: RtpFields {
                        ssrc: 7,
                        sequence: i as u16,
                        timestamp: (i * SLOT_SAMPLES) as u32,
                        payload: pieces[i % 250].rtp.payload.clone(),
                    },
                }
            })
            .collect();
        let until = packets.last().unwrap().at;
        let (frames, _) = deliver(packets, until);
        assert_continuous(&frames);
        let off = end_ms(&frames) - until.as_secs_f64() * 1e3;
        assert!(off.abs() < 100.0, "{skew_ppm} ppm: {off} ms");
    }
}

#[test]
fn discontinuous_transmission_keeps_time() {
    let mut encoder =
        Encoder::new(EncoderConfig { dtx: true, ..EncoderConfig::default() }).unwrap();
    // One second of speech, three of silence, again and again.
    let packets: Vec<Sent> = (0..800usize)
        .filter_map(|i| {
            let pcm = if i % 200 < 50 { speech(i) } else { [0.0; SLOT_SAMPLES] };
            let payload = encoder.encode(&pcm).unwrap();
            (payload.len() > 2 || i % 20 == 0).then_some((i, payload))
        })
        .enumerate()
        .map(|(sequence, (i, payload))| Sent {
            at: Duration::from_millis(20 * (i as u64 + 1)),
            rtp: RtpFields {
                ssrc: 7,
                sequence: sequence as u16,
                timestamp: (i * SLOT_SAMPLES) as u32,
                payload,
            },
        })
        .collect();
    assert!(packets.len() < 500, "the encoder's DTX left packets out: {}", packets.len());
    let (frames, sound_in) = deliver(packets, Duration::from_secs(16));
    assert_continuous(&frames);
    assert_eq!(sound_in.stats().jitter.lost, 0);
    assert!((end_ms(&frames) - 16_000.0).abs() <= 60.0, "{}", end_ms(&frames));
    // Speech stays where it was: the second burst begins at 4 s.
    let second = frames.iter().find(|(_, f)| f.start_sample > 3 * 16_000 && f.rms_dbfs > -35.0);
    let begins = ms(second.unwrap().1.start_sample);
    assert!((begins - 4_000.0).abs() <= 60.0, "{begins} ms");
    // And nobody hears of it late.
    let worst = frames
        .iter()
        .map(|(now, f)| now.as_secs_f64() * 1e3 - ms(f.start_sample + 320))
        .fold(0.0, f64::max);
    assert!(worst <= 160.0, "{worst} ms");
}

#[test]
fn a_new_source_goes_on_where_the_old_one_ended() {
    let mut packets = encode(200, 0, speech);
    for p in &mut packets[100..] {
        p.rtp.ssrc = 8;
        p.rtp.sequence = p.rtp.sequence.wrapping_sub(20);
        p.rtp.timestamp = p.rtp.timestamp.wrapping_mul(3);
    }
    let mut t = 5u32;
    for p in &mut packets[100..] {
        p.rtp.timestamp = t;
        t += 960;
    }
    let (frames, sound_in) = deliver(packets, Duration::from_secs(4));
    assert_continuous(&frames);
    assert_eq!(frames.len(), 200);
    assert_eq!(sound_in.stats().jitter.restarts, 1);
}

#[test]
fn damaged_packets_are_concealed_in_place() {
    let mut packets = encode(200, 0, speech);
    for i in (20..200).step_by(10) {
        // Code 3 with no frame count: not a packet.
        packets[i].rtp.payload = Bytes::from_static(&[0xff]);
    }
    let (frames, sound_in) = deliver(packets, Duration::from_secs(4));
    assert_eq!(frames.len(), 200);
    assert_eq!(sound_in.stats().damaged, 18);
}

#[test]
fn the_seam_of_a_stall_does_not_click() {
    let hum = |slot: usize| -> [f32; SLOT_SAMPLES] {
        std::array::from_fn(|i| {
            0.4 * ((slot * SLOT_SAMPLES + i) as f32 * 150.0 / 48_000.0 * std::f32::consts::TAU)
                .cos()
        })
    };
    let mut packets = encode(150, 0, hum);
    for p in &mut packets[75..] {
        p.at += Duration::from_millis(300);
    }
    let (frames, _) = deliver(packets, Duration::from_millis(3_300));
    // The hum's own steps are 0.024 at 16 kHz.
    let got = samples(&frames[2..]);
    let step = got.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    assert!(step < 0.08, "{step}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn any_payload_never_panics(
        packets in proptest::collection::vec(
            (0u64..100, 0u16..4, 0u32..4_000,
             proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)),
            1..100,
        )
    ) {
        let mut sound_in = SoundIn::new(JitterConfig::default()).unwrap();
        let (mut now, mut sequence, mut timestamp) = (Duration::ZERO, 0u16, 0u32);
        let mut next_start = None;
        for (pass, step, ticks, payload) in packets {
            now += Duration::from_millis(pass);
            sequence = sequence.wrapping_add(step);
            timestamp = timestamp.wrapping_add(ticks);
            let payload = Bytes::from(payload);
            sound_in.push(now, RtpFields { ssrc: 1, sequence, timestamp, payload });
            while let Some(frame) = sound_in.poll_frame(now) {
                proptest::prop_assert!(frame.samples.iter().all(|s| s.abs() <= 1.0));
                if let Some(expected) = next_start {
                    proptest::prop_assert_eq!(frame.start_sample, expected);
                }
                next_start = Some(frame.start_sample + FRAME_SAMPLES as u64);
            }
            proptest::prop_assert!(sound_in.poll_timeout().is_none_or(|at| at > now));
        }
    }
}

/// This thread's CPU time in microseconds, which a busy machine does not stretch as it does the
/// clock's.
fn thread_cpu_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to fill in.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Prints the CPU time of each step; run with `--ignored --nocapture`.
#[test]
#[ignore = "prints timings"]
fn timings() {
    let time = |name: &str, n: u32, mut work: Box<dyn FnMut(usize)>| {
        for i in 0..50 {
            work(i);
        }
        let start = thread_cpu_us();
        for i in 0..n as usize {
            work(i);
        }
        println!("{name}: {:.1} us per 20 ms", (thread_cpu_us() - start) / f64::from(n));
    };
    let pcm: Vec<_> = (0..250).map(speech).collect();
    for complexity in [0, 3, 5, 8, 10] {
        let config = EncoderConfig { complexity, ..EncoderConfig::default() };
        let mut encoder = Encoder::new(config).unwrap();
        let bytes: usize = pcm.iter().map(|p| encoder.encode(p).unwrap().len()).sum();
        let pcm = pcm.clone();
        let name = format!("encode, complexity {complexity}, {} kb/s", bytes * 8 / 5_000);
        time(&name, 2_000, Box::new(move |i| drop(encoder.encode(&pcm[i % 250]))));
    }
    for loss in [0, 2, 5, 10, 20] {
        let packets = encode(250, loss, speech);
        let copies = packets.iter().filter(|p| carries_fec(&p.rtp.payload)).count();
        let bytes: usize = packets.iter().map(|p| p.rtp.payload.len()).sum();
        println!("loss {loss} %: {copies} of 250 carry FEC, {} kb/s", bytes * 8 / 5_000);
    }
    let packets: Vec<_> = encode(250, 20, speech).into_iter().map(|p| p.rtp.payload).collect();
    for (name, decoder) in [("16 kHz", Decoder::for_listening()), ("48 kHz", Decoder::full_band())]
    {
        let (mut decoder, packets, mut out) = (decoder.unwrap(), packets.clone(), Vec::new());
        time(
            &format!("decode to {name}"),
            2_000,
            Box::new(move |i| {
                out.clear();
                decoder.decode(&packets[i % 250], &mut out).unwrap();
            }),
        );
    }
    let (mut decoder, mut out) = (Decoder::for_listening().unwrap(), Vec::new());
    time(
        "recover by FEC (16 kHz)",
        2_000,
        Box::new(move |i| {
            out.clear();
            decoder.decode_fec(&packets[i % 250], 320, &mut out);
        }),
    );
    for (from, to) in [(22_050, 48_000), (16_000, 48_000), (48_000, 16_000)] {
        let mut resampler = super::resample::Resampler::new(from, to).unwrap();
        let (chunk, mut out) = (vec![0.1; from as usize / 50], Vec::new());
        time(
            &format!("resample {from} to {to}"),
            5_000,
            Box::new(move |_| {
                out.clear();
                resampler.push(&chunk, &mut out);
            }),
        );
    }
}

//! A little fuzzing with every test run: all seeds, and what a simple mutator makes of them.
//!
//! `EVA_FUZZ_SECONDS` (a target, 2 by default) makes it longer and `EVA_FUZZ_SEED` different. An input
//! that breaks something is written to a file, whose name the test prints; it belongs into
//! `fuzz/seeds/` once it is mended.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::TARGETS;

/// The longest input.
const LONGEST: usize = 16 << 10;
/// One input may take so long, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).expect("a seed"))).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A stretch of a text.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        let most = (length - from).min(1 << self.below(10));
        from..from + self.below(most + 1)
    }

    /// A line of a text, with its end.
    fn line<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        if lines.is_empty() { text } else { lines[self.below(lines.len())] }
    }
}

const NUMBERS: &[&[u8]] = &[
    &[0],
    &[0xff],
    &[0x7f],
    &[0x80],
    &[0, 0],
    &[0xff, 0xff],
    &[0xff, 0x7f],
    &[0, 0, 0, 0],
    &[0xff; 4],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0, 0, 0],
    &[0xff; 8],
    b"0",
    b"-1",
    b"4294967296",
    b"1e308",
    b"null",
    b"[]",
    b"{}",
    b"\r",
    b"\r\n",
    b" ",
    b"\0",
    "\u{e9}\u{1f600}".as_bytes(),
    "\u{85}\u{2028}".as_bytes(),
];

fn mutate(random: &mut Random, seeds: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let of_seed = |random: &mut Random| seeds[random.below(seeds.len())].1.clone();
    if random.below(20) == 0 {
        let length = random.below(400);
        return (0..length).map(|_| random.next() as u8).collect();
    }
    let mut input = of_seed(random);
    for _ in 0..=random.below(6) {
        let other = of_seed(random);
        change(random, &mut input, &other);
        input.truncate(LONGEST);
    }
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len());
    match random.below(9) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = random.next() as u8,
        2 => drop(input.drain(random.part(input.len()))),
        3 => input.truncate(at),
        4 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let over = if random.below(2) == 0 { number.len() } else { 0 };
            let end = (at + over).min(input.len());
            input.splice(at..end, number.iter().copied());
        }
        5 => {
            let part = input[random.part(input.len())].repeat(1 + random.below(8));
            input.splice(at..at, part);
        }
        6 => {
            let part = other[random.part(other.len())].to_vec();
            input.splice(at..at, part);
        }
        7 => {
            let line = random.line(other).to_vec();
            let start = input[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            input.splice(start..start, line);
        }
        _ => {
            let from = random.below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

/// The text of a panic.
fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

fn give_up(target: &str, input: &[u8], reason: &str) -> ! {
    let path = std::env::temp_dir().join(format!("eva-fuzz-{target}-{}", std::process::id()));
    fs::write(&path, input).expect("the input can be written");
    panic!("{target}: {reason}\nthe input is in {}", path.display());
}

/// Feeds seeds and mutations of them for a while.
fn smoke(target: &'static str) {
    let run = TARGETS.iter().find(|(name, _)| *name == target).expect("a target").1;
    let seed = number("EVA_FUZZ_SEED", 1);
    let time = Duration::from_secs(number("EVA_FUZZ_SECONDS", 2));
    let current = Arc::new(Mutex::new((0u64, Vec::new())));
    let (done, ended) = sync_channel(1);
    let shared = current.clone();
    std::thread::spawn(move || {
        let seeds = seeds(target);
        let mut random = Random(seed);
        let began = Instant::now();
        let mut next = seeds.iter().map(|(_, seed)| seed.clone()).collect::<Vec<_>>();
        let outcome = loop {
            let input = match next.pop() {
                Some(seed) => seed,
                None if began.elapsed() < time => mutate(&mut random, &seeds),
                None => break Ok(()),
            };
            let mut current = shared.lock().expect("nobody panics with it");
            *current = (current.0 + 1, input.clone());
            drop(current);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input))) {
                break Err(reason(&*panic));
            }
        };
        let _ = done.send(outcome);
    });
    let mut before = 0;
    loop {
        let outcome = ended.recv_timeout(PATIENCE);
        let (count, input) = current.lock().expect("nobody panics with it").clone();
        match outcome {
            Ok(Ok(())) => return println!("{target}: {count} inputs, seed {seed}"),
            Ok(Err(reason)) => give_up(target, &input, &format!("{reason}, seed {seed}")),
            Err(RecvTimeoutError::Timeout) if count == before => {
                give_up(target, &input, &format!("no end after {PATIENCE:?}"));
            }
            Err(RecvTimeoutError::Timeout) => before = count,
            Err(RecvTimeoutError::Disconnected) => give_up(target, &input, "the thread is gone"),
        }
    }
}

#[test]
fn any_offer_is_answered_or_refused() {
    smoke("sdp");
}

#[test]
fn any_packets_become_continuous_sound() {
    smoke("rtp");
}

#[test]
fn any_events_of_a_client_are_answered_in_order() {
    smoke("realtime");
}

#[test]
fn any_whip_fragment_is_read_or_refused() {
    smoke("whip_fragment");
}

#[test]
fn any_upload_is_read_or_refused_within_bounds() {
    smoke("upload");
}

#[test]
fn any_datagram_is_looked_at_within_bounds() {
    smoke("stun");
}

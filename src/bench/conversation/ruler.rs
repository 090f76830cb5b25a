//! The measuring: onsets, ducking, stops and gaps, from timelines.
//!
//! In: frames said, packets heard, the reference of a reply. Out: instants and milliseconds. It plays
//! nothing and asks nobody; its tests give it timelines whose figures are known.

use std::time::{Duration, Instant};

use super::reference::Reference;
use super::reply::Reply;
use crate::audio::SLOT_SAMPLES;
use crate::headless::{CALLER_VOICED_DBFS, Packet, REPLY_AUDIBLE_DBFS, Said};

/// EVA counts as ducked when she is this much softer than she would be.
const DUCKED_DB: f32 = -12.0;
/// Softer sounds tell nothing about ducking: below this the codec's own noise counts, dBFS.
const TELLING_DBFS: f32 = -38.0;
/// How long a packet sounds.
const SLOT: Duration = Duration::from_millis(20);
const SLOT_48: i64 = SLOT_SAMPLES as i64;

/// When the caller's voice begins: the first voiced frame sent at `from` or later.
pub(super) fn onset(said: &[Said], from: Instant) -> Option<Instant> {
    let voiced = |frame: &&Said| frame.sent >= from && frame.dbfs > CALLER_VOICED_DBFS;
    said.iter().find(voiced).map(|frame| frame.sent)
}

/// When the caller's voice ends: the last voiced frame sent in `from..until`.
pub(super) fn last_voiced(said: &[Said], from: Instant, until: Instant) -> Option<Instant> {
    let voiced =
        |frame: &&Said| (from..until).contains(&frame.sent) && frame.dbfs > CALLER_VOICED_DBFS;
    said.iter().rev().find(voiced).map(|frame| frame.sent)
}

/// When these packets fall silent for good, at `from` at the earliest: the end of the last audible one.
pub(super) fn silent_from(packets: &[Packet], from: Instant) -> Instant {
    let last = packets.iter().rev().find(|packet| packet.dbfs > REPLY_AUDIBLE_DBFS);
    last.map_or(from, |packet| packet.arrived + SLOT).max(from)
}

/// Whether EVA is ducked, and since when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ducked {
    /// From this packet on.
    At(Instant),
    /// She goes on as loud as ever.
    Never,
    /// No sound of hers is loud enough to tell, or to tell when.
    Unknown,
}

/// Between two telling packets further apart than this it is not known when she was ducked.
const TELLING_WITHIN: Duration = Duration::from_millis(85);

/// When EVA's voice is lowered after `from`: the first of two telling packets that are both softer than
/// the reference by 12 dB or more (one, where no other follows).
pub(super) fn ducked(packets: &[Packet], reference: &Reference, from: Instant) -> Ducked {
    let telling: Vec<(Instant, bool)> = packets
        .iter()
        .filter_map(|packet| {
            let expected = reference.dbfs(packet.timestamp, 0);
            let softer = packet.dbfs - expected <= DUCKED_DB;
            (expected > TELLING_DBFS).then_some((packet.arrived, softer))
        })
        .collect();
    let first = telling.partition_point(|(arrived, _)| *arrived < from);
    let steady = |at: &usize| telling[*at].1 && telling.get(*at + 1).is_none_or(|next| next.1);
    match (first..telling.len()).find(steady) {
        Some(at) => {
            let before = at.checked_sub(1).map(|before| telling[before].0);
            let seen = before.is_some_and(|before| telling[at].0 - before <= TELLING_WITHIN);
            if seen { Ducked::At(telling[at].0) } else { Ducked::Unknown }
        }
        None if telling.len() == first => Ducked::Unknown,
        None => Ducked::Never,
    }
}

/// The median difference between what came and what was expected, before anything happened, dB: how
/// well the reference fits.
pub(super) fn misfit_db(packets: &[Packet], reference: &Reference, until: Instant) -> Option<f64> {
    let mut off: Vec<f64> = packets
        .iter()
        .filter(|packet| packet.arrived < until)
        .map(|packet| (packet.dbfs, reference.dbfs(packet.timestamp, 0)))
        .filter(|(_, expected)| *expected > TELLING_DBFS)
        .map(|(got, expected)| f64::from((got - expected).abs()))
        .collect();
    off.sort_by(f64::total_cmp);
    off.get(off.len() / 2).copied()
}

/// A stretch in which a reply should sound and does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gap {
    /// Samples from the reply's start.
    pub place: i64,
    /// How much longer than the reply's own pause there, milliseconds.
    pub ms: f64,
}

/// The level of a sound that is just audible, dBFS.
const SOFT_DBFS: f32 = REPLY_AUDIBLE_DBFS + 0.5;
/// Shorter silences are sounds such as "t".
const SHORTEST_GAP: usize = 4;
/// How exactly a pause of the reference lies where it should, in slots.
const LEEWAY: i64 = 2;
/// What is compared after a gap to find out how far the reply was held up, in slots.
const COMPARED: i64 = 30;

/// Ducking lowers soft sounds below what is audible: softer than the reference by no more than this
/// they are there all the same, dB.
const DEEPEST_DUCK_DB: f32 = 26.0;

/// Whether a packet carries the reply's sound: an audible one, or what ducking left of one.
pub(super) fn sounds(packet: &Packet, reference: &Reference) -> bool {
    let expected = reference.dbfs(packet.timestamp, 0);
    let ducked = expected > REPLY_AUDIBLE_DBFS && expected - packet.dbfs <= DEEPEST_DUCK_DB;
    packet.dbfs > REPLY_AUDIBLE_DBFS || ducked
}

/// The gaps of a reply between its first and its last audible packet. After a gap the reply goes on
/// where it was: what follows is compared with the reference held up by as much, until the next
/// sentence, whose time the gateway tells.
pub(super) fn gaps(reply: &Reply, reference: &Reference) -> Vec<Gap> {
    let mut levels: Vec<f32> = Vec::new();
    for packet in &reply.packets {
        let Ok(slot) = usize::try_from(reply.place(packet.timestamp) / SLOT_48) else { continue };
        levels.resize(levels.len().max(slot + 1), f32::NEG_INFINITY);
        let soft = packet.dbfs.max(SOFT_DBFS);
        levels[slot] = if sounds(packet, reference) { soft } else { packet.dbfs };
    }
    let audible = |level: &f32| *level > REPLY_AUDIBLE_DBFS;
    let Some(last) = levels.iter().rposition(audible) else { return Vec::new() };
    let begins = |sentence: &super::reply::Said| sentence.words.first().map(|word| word.start);
    let sentences: Vec<i64> = reply.sentences.iter().filter_map(begins).collect();
    let (mut gaps, mut late, mut late_since) = (Vec::new(), 0, 0);
    for run in silences(&levels[..last]) {
        let (start, length) = (run.start as i64, run.len() as i64);
        if sentences.iter().any(|at| (late_since..=start * SLOT_48).contains(at)) {
            late = 0;
        }
        let own = own_pause(reference, start - late);
        let more = length - own;
        if own == 0 && more >= SHORTEST_GAP as i64 || more > 2 * LEEWAY {
            gaps.push(Gap { place: start * SLOT_48, ms: (more * 20) as f64 });
            late = held_up(&levels, reference, run.end as i64, late..=late + length + 25);
            late_since = start * SLOT_48 + 1;
        }
    }
    gaps
}

/// Runs of inaudible slots that are long enough to matter.
fn silences(levels: &[f32]) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let mut begun = None;
    for (slot, level) in levels.iter().chain([&0.0]).enumerate() {
        if *level <= REPLY_AUDIBLE_DBFS {
            begun.get_or_insert(slot);
        } else if let Some(start) = begun.take() {
            runs.push(start..slot);
        }
    }
    runs.retain(|run: &std::ops::Range<usize>| run.len() >= SHORTEST_GAP && run.start > 0);
    runs
}

/// How many slots the reference itself is silent around this slot.
fn own_pause(reference: &Reference, slot: i64) -> i64 {
    let silent = |slot: i64| reference.at(slot * SLOT_48) <= REPLY_AUDIBLE_DBFS;
    let Some(inside) = (slot - LEEWAY..=slot + LEEWAY).find(|slot| silent(*slot)) else { return 0 };
    let before = (1..500).take_while(|n| silent(inside - n)).count();
    let after = (1..500).take_while(|n| silent(inside + n)).count();
    1 + (before + after) as i64
}

/// How many slots late the reply goes on from slot `from`: where the reference fits best.
fn held_up(
    levels: &[f32],
    reference: &Reference,
    from: i64,
    candidates: std::ops::RangeInclusive<i64>,
) -> i64 {
    let floor = |dbfs: f32| dbfs.max(-60.0);
    let off = |late: &i64| -> f32 {
        let slots = from..(from + COMPARED).min(levels.len() as i64);
        slots
            .map(|slot| {
                let expected = reference.at((slot - late) * SLOT_48);
                (floor(levels[slot as usize]) - floor(expected)).abs()
            })
            .sum()
    };
    let best = candidates.clone().min_by(|a, b| off(a).total_cmp(&off(b)));
    best.unwrap_or(*candidates.start())
}

/// Milliseconds from one instant to a later one; 0 where it is not later.
pub(super) fn ms(from: Instant, to: Instant) -> f64 {
    let ms = to.saturating_duration_since(from).as_secs_f64() * 1e3;
    (ms * 10.0).round() / 10.0
}

#[cfg(test)]
#[path = "ruler_tests.rs"]
mod tests;

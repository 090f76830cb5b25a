//! How soon EVA yields to a real interruption, and whether she answers it.
//!
//! In: the interruptions that were played. Out: onset to ducked, onset to stopped, answers. Onset is
//! the caller's first voiced frame as sent; ducked is the arrival of the first packet 12 dB below the
//! voice's own sound of that reply; stopped is the end of the reply's last audible packet.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::align::share_heard;
use super::cuts::{Interruption, Played};
use super::reference::Dub;
use super::reply::{Reply, replies};
use super::report::Line;
use super::ruler::{Ducked, ducked, misfit_db, ms, onset, silent_from};
use crate::bench::Spread;
use crate::headless::Timeline;

/// The share of an interruption's words that its transcript must have to count as understood.
const UNDERSTOOD: f64 = 0.5;

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Interruptions {
    /// Interruptions.
    pub n: usize,
    /// Those that stopped the reply for good.
    pub stopped: usize,
    /// Onset to the end of the last audible packet.
    pub stop_ms: Spread,
    /// Onset to EVA 12 dB softer.
    pub duck_ms: Spread,
    /// The VAD's mark (`eva.turn` "hearing") to EVA 12 dB softer.
    pub duck_after_mark_ms: Spread,
    /// Interruptions in which EVA's sound was loud enough to see the ducking.
    pub ducks_seen: usize,
    /// Interruptions whose words were understood and answered.
    pub answered: usize,
    /// How well the reference fits before the interruption, median dB.
    pub reference_misfit_db: f64,
    /// The three that took longest to stop the reply.
    pub slowest: Vec<String>,
    /// What went wrong, one line each.
    pub faults: Vec<String>,
}

/// One interruption, measured.
#[derive(Default)]
struct One {
    text: String,
    stop_ms: Option<f64>,
    duck_ms: Option<f64>,
    after_mark_ms: Option<f64>,
    misfit_db: Option<f64>,
    answered: bool,
    fault: Option<String>,
}

/// Measures what was played.
pub(super) fn measure(played: &[Played], dub: &Dub) -> Interruptions {
    let mut all = Vec::new();
    for call in played {
        let replies = replies(&call.timeline);
        for interruption in &call.interruptions {
            all.push(one(&call.timeline, &replies, interruption, dub));
        }
    }
    let spread = |of: fn(&One) -> Option<f64>| Spread::of(all.iter().filter_map(of));
    Interruptions {
        n: all.len(),
        stopped: all.iter().filter(|one| one.stop_ms.is_some()).count(),
        stop_ms: spread(|one| one.stop_ms),
        duck_ms: spread(|one| one.duck_ms),
        duck_after_mark_ms: spread(|one| one.after_mark_ms),
        ducks_seen: all.iter().filter(|one| one.duck_ms.is_some()).count(),
        answered: all.iter().filter(|one| one.answered).count(),
        reference_misfit_db: spread(|one| one.misfit_db).p50,
        slowest: slowest(&all),
        faults: all.iter().filter_map(|one| one.fault.clone()).collect(),
    }
}

/// The slowest stops: what was said, and when EVA was softer and silent.
fn slowest(all: &[One]) -> Vec<String> {
    let mut stops: Vec<(f64, &One)> =
        all.iter().filter_map(|one| one.stop_ms.map(|ms| (ms, one))).collect();
    stops.sort_by(|a, b| b.0.total_cmp(&a.0));
    let line = |(stop, one): &(f64, &One)| {
        let ducked = one.duck_ms.map_or("?".to_owned(), |ms| format!("{ms:.0}"));
        format!("{stop:.0} ms, ducked after {ducked}: {}", one.text)
    };
    stops.iter().take(3).map(line).collect()
}

fn one(timeline: &Timeline, replies: &[Reply], of: &Interruption, dub: &Dub) -> One {
    let fault = |why: &str| One { fault: Some(format!("{}: {why}", of.text)), ..One::default() };
    let Some(onset) = onset(&timeline.said, of.began) else { return fault("was not said") };
    let Some(reply) = replies.iter().find(|reply| reply.id == of.reply) else {
        return fault("the reply's words were not told");
    };
    let mut one = One { text: of.text.clone(), ..One::default() };
    // What comes after is another reply's, or the end of the part.
    let until = onset + Duration::from_secs(8);
    let packets: Vec<_> =
        reply.packets.iter().filter(|packet| packet.arrived < until).copied().collect();
    match &reply.cut {
        Some(cut) if cut.arrived >= of.began => {
            one.stop_ms = Some(ms(onset, silent_from(&packets, onset)));
        }
        Some(_) => one.fault = Some(format!("{}: the reply was cut before it", of.text)),
        None => one.fault = Some(format!("{}: the reply went on", of.text)),
    }
    if let Some(reference) = dub.reference(reply) {
        one.misfit_db = misfit_db(&packets, &reference, onset);
        match ducked(&packets, &reference, onset) {
            Ducked::At(at) => {
                one.duck_ms = Some(ms(onset, at));
                one.after_mark_ms = marked(timeline, onset).map(|mark| ms(mark, at));
            }
            Ducked::Never => {
                one.fault.get_or_insert(format!("{}: never ducked", of.text));
            }
            Ducked::Unknown => {}
        }
    }
    let heard = finals(timeline, onset);
    let understood = share_heard(&of.text, &heard) >= UNDERSTOOD;
    one.answered = of.next.is_some() && understood;
    if !one.answered && one.fault.is_none() {
        one.fault = Some(format!("{}: understood as {heard:?}, next reply {:?}", of.text, of.next));
    }
    one
}

/// When the gateway told that it hears the caller.
fn marked(timeline: &Timeline, onset: Instant) -> Option<Instant> {
    let told = timeline.told.iter().filter(|told| told.arrived >= onset && told.is("eva.turn"));
    told.into_iter().find(|told| told.text("state") == "hearing").map(|told| told.arrived)
}

/// The words of the turns committed until the next reply was cut, or all that followed.
fn finals(timeline: &Timeline, onset: Instant) -> String {
    let until = onset + Duration::from_secs(8);
    let told = timeline.told.iter().filter(|told| (onset..until).contains(&told.arrived));
    let words = told.filter(|told| told.is("eva.final")).map(|told| told.text("text"));
    words.collect::<Vec<_>>().join(" ")
}

impl Interruptions {
    pub(super) fn lines(&self) -> Vec<Line> {
        let n = self.n;
        let mut lines = vec![
            Line::count("stopped the reply", "all", self.stopped, n, self.stopped == n),
            Line::at_most("onset to stopped, p50", 650.0, self.stop_ms.p50, " ms")
                .unless_empty(self.stopped),
            Line::at_most("onset to stopped, p95", 1_000.0, self.stop_ms.p95, " ms")
                .unless_empty(self.stopped),
            Line::plain("onset to ducked by 12 dB, p50", format!("{:.0} ms", self.duck_ms.p50)),
            Line::at_most("onset to ducked by 12 dB, max", 220.0, self.duck_ms.max, " ms")
                .unless_empty(self.ducks_seen),
            Line::at_most("VAD's mark to ducked, max", 60.0, self.duck_after_mark_ms.max, " ms")
                .unless_empty(self.ducks_seen),
            Line::plain("ducking could be seen in", format!("{} of {n}", self.ducks_seen)),
            Line::count("understood and answered", "all", self.answered, n, self.answered == n),
            Line::plain("reference off by", format!("{:.1} dB", self.reference_misfit_db)),
        ];
        lines.extend(self.slowest.iter().map(|slow| Line::plain("slow", slow)));
        lines.extend(self.faults.iter().map(|fault| Line::plain("fault", fault)));
        lines
    }
}

//! EVA's own echo, found in what is heard and taken out.
//!
//! In: each slot as it goes out (48 kHz) and each frame as it is heard (16 kHz). Out: the frame, with
//! the echo taken out of it, and an [`EchoReport`]. Owned by the call, told the time. Where nothing
//! comes back, frames stay as they came, bit for bit; nothing is ever delayed.
//!
//! `lag` finds how long ago what is heard was sent, within some 150 ms of the first echo and up to a
//! second back; `cancel` learns the way through the room and subtracts; `judge` says whether what is
//! left is the person. Frames that hold echo alone come out silent, so neither the VAD nor the
//! recogniser hears any; frames with the person in them come out less the echo.
//!
//! Our own, and not the port of WebRTC's AEC3 (`sonora-aec3` 0.2): over the rooms of `tests/echo.rs`
//! that heard the person about as well, but took four times the time, and changes and delays every
//! frame whether there is an echo or not.

mod cancel;
mod judge;
mod lag;
mod sent;
mod spectrum;

use std::time::Duration;

use cancel::{BLOCK, Canceller, PARTS};
use judge::{Bands, Judge, Verdict, bands};
use lag::{LagFinder, STEP};
use sent::Sent;
use spectrum::{Spectrum, WINDOW};

use super::sound_in::FRAME_SAMPLES;

/// Without a lag, what is heard belongs to what goes out 100 ms later: so much may the other side's
/// way get shorter.
const MARGIN: i64 = 1_600;
/// Beyond this much of a change, look anew: 300 ms.
const ADRIFT: i64 = 4_800;
/// After this much silence of ours nothing can come back: 1.3 s.
const OVER: u64 = 20_800;
/// The filter begins this long before the lag: 20 ms.
const HEAD: i64 = 320;

/// A lag that fits this well is the echo's. Over 4 minutes of people talking across EVA without an
/// echo, none came above 0.13.
const LOCK: f32 = 0.24;
/// Where one fits this well, marks wait.
const SUSPECT: f32 = 0.17;
/// Another lag must fit this much better, in two frames running, to take over.
const BETTER: f32 = 0.1;

/// How fast the filter's fit is followed.
const FIT_STEP: f32 = 0.45;
/// Below this fit the filter is wrong: the way has changed.
const MISFIT: f32 = 0.45;
/// Above what the echo brings by this much, in dB, it is the person even where the filter is wrong.
const LOUD_DB: f32 = 4.0;
/// Below this above what the echo brings, in dB, nobody else can be there.
const FAINT_DB: f32 = 0.5;
/// Evidence (dB, frame by frame) at which the person is let through, and kept for longer.
const ENOUGH: f32 = 3.0;
const PLENTY: f32 = 12.0;
/// Frames for which the person is kept after the last sign: on one sign, two, plenty.
const HOLD: [u32; 3] = [1, 3, 9];
/// Steps with what was sent at this share of what is usual: it is echo, whatever the judge says.
const IN_STEP: f32 = 0.8;
/// A seam is 5 ms.
const SEAM: f32 = 80.0;

/// What is heard in place of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Give {
    /// As it came.
    Raw,
    /// Less the echo.
    Clean,
    /// Nothing.
    Mute,
}

/// What a frame was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EchoReport {
    /// The share of the frame that our own sound explains, 0-1.
    pub echo: f32,
    /// What is left is more likely echo than a person.
    pub residual_is_echo: bool,
}

/// Takes EVA's echo out of one call's incoming sound.
pub struct EchoGuard {
    sent: Sent,
    finder: LagFinder,
    spectrum: Spectrum,
    canceller: Canceller,
    judge: Judge,
    /// The sample after the last one heard.
    heard_end: i64,
    /// What to add to get to what was sent, without a lag.
    base: Option<i64>,
    raw: [f32; WINDOW],
    left: [f32; WINDOW],
    line: Line,
    given: Give,
    person: Person,
    /// How well the lag fits while there is echo alone.
    usual: f32,
}

/// The echo's way.
#[derive(Default)]
struct Line {
    lag: Option<usize>,
    /// Frames in which another lag fitted better.
    moved: u32,
    /// The filter has seen the frame before this one.
    running: bool,
}

/// Whether the person speaks over the echo, weighed frame by frame.
#[derive(Default)]
struct Person {
    /// Frames for which they are still taken to speak.
    hold: u32,
    /// Signs of them in a row.
    run: u32,
    /// In dB.
    evidence: f32,
    /// The filter's echo in what is heard, and in itself.
    fit: (f32, f32),
}

impl Default for EchoGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl EchoGuard {
    /// Knows of no echo yet.
    pub fn new() -> Self {
        Self {
            sent: Sent::new(),
            finder: LagFinder::new(),
            spectrum: Spectrum::new(),
            canceller: Canceller::new(),
            judge: Judge::new(),
            heard_end: 0,
            base: None,
            raw: [0.0; WINDOW],
            left: [0.0; WINDOW],
            line: Line::default(),
            given: Give::Raw,
            person: Person::default(),
            usual: 0.3,
        }
    }

    /// A slot of 20 ms goes out at `at` since the call began: 48 kHz mono as it will sound, ducked and
    /// faded; silence too (slots left out count as silence).
    pub fn sent(&mut self, at: Duration, pcm48: &[f32]) {
        self.sent.push(at, pcm48);
        while (self.finder.steps() + 1) * STEP as u64 <= self.sent.end() {
            if self.sent.silent_for() > (WINDOW + 2 * STEP) as u64 {
                self.finder.sent(None);
                continue;
            }
            let end = (self.finder.steps() + 1) * STEP as u64;
            let mut window = [0.0; WINDOW];
            self.sent.copy(end as i64 - WINDOW as i64, &mut window);
            let bins = self.spectrum.of(&window);
            self.finder.sent(Some(bins));
        }
    }

    /// A frame was heard, in the stream's order; takes the echo out of it. Call it when the frame comes,
    /// after [`Self::sent`] for the slots that went out before.
    pub fn hear(&mut self, frame: &mut [f32; FRAME_SAMPLES]) -> EchoReport {
        self.heard_end += FRAME_SAMPLES as i64;
        shift(&mut self.raw, frame);
        if self.sent.silent_for() > OVER {
            self.line.running = false;
            self.given = Give::Raw;
            return EchoReport::default();
        }
        let base = self.align();
        let bins = self.spectrum.of(&self.raw);
        self.finder.heard(bins, (self.heard_end + base) / STEP as i64 - 1);
        let heard = bands(bins);
        self.judge.listen(&heard);
        let best = self.finder.best();
        self.follow(best);
        let Some(lag) = self.line.lag else {
            return EchoReport { echo: best.score, residual_is_echo: best.score > SUSPECT };
        };
        let start = self.heard_end + base - FRAME_SAMPLES as i64 - (lag * STEP) as i64;
        let clean = self.cancel(start, frame);
        shift(&mut self.left, &clean);
        let left = bands(self.spectrum.of(&self.left));
        let verdict = self.judge.judge(&heard, &left);
        let fits = self.person.fits(frame, &clean);
        let near = self.person.weigh(&verdict, fits);
        self.learn(lag, &verdict, &heard, &left);
        let (left, heard) = (left.iter().sum::<f32>(), heard.iter().sum::<f32>());
        let give = match verdict.expected {
            false => Give::Raw,
            true if !near => Give::Mute,
            // A filter that adds is wrong.
            true if left > heard => Give::Raw,
            true => Give::Clean,
        };
        self.give(give, frame, &clean);
        let echo = match give {
            Give::Mute => 1.0,
            Give::Clean => (1.0 - left / heard.max(1e-9)).clamp(0.0, 1.0),
            Give::Raw => 0.0,
        };
        EchoReport { echo, residual_is_echo: give == Give::Mute }
    }

    /// Takes in what the frame says of the echo alone.
    fn learn(&mut self, lag: usize, verdict: &Verdict, heard: &Bands, left: &Bands) {
        if !verdict.expected {
            return;
        }
        let score = self.finder.score(lag);
        let alone = self.person.hold == 0;
        if alone {
            let step = if score > self.usual { 0.06 } else { 0.01 };
            self.usual += step * (score - self.usual);
        }
        let weight = if alone && (verdict.left_db < 3.0 || self.judge.fresh()) {
            1.0
        } else if score > IN_STEP * self.usual {
            0.5
        } else {
            0.0
        };
        self.judge.learn(heard, left, verdict, weight);
    }

    fn align(&mut self) -> i64 {
        let ahead = self.sent.end() as i64 - self.heard_end;
        let fresh = (ahead + MARGIN) / STEP as i64 * STEP as i64;
        match self.base {
            Some(base) if (base - fresh).abs() <= ADRIFT => base,
            _ => {
                self.base = Some(fresh);
                self.finder.forget();
                self.line.lag = None;
                fresh
            }
        }
    }

    fn follow(&mut self, best: lag::Fit) {
        match self.line.lag {
            None if best.score > LOCK => self.lock(best.lag),
            None => {}
            Some(lag) => {
                let here = (lag.saturating_sub(1)..(lag + 2).min(lag::LAGS))
                    .map(|l| self.finder.score(l))
                    .fold(0.0, f32::max);
                let elsewhere =
                    best.lag.abs_diff(lag) > 1 && best.score > LOCK && best.score > here + BETTER;
                self.line.moved = if elsewhere { self.line.moved + 1 } else { 0 };
                if self.line.moved >= 2 {
                    self.lock(best.lag);
                }
            }
        }
    }

    fn lock(&mut self, lag: usize) {
        self.line.lag = Some(lag);
        self.line.moved = 0;
        self.canceller.forget();
        self.person.fit = (0.0, 0.0);
        self.judge.refilter();
        self.line.running = false;
    }

    fn cancel(&mut self, start: i64, frame: &[f32; FRAME_SAMPLES]) -> [f32; FRAME_SAMPLES] {
        let mut clean = *frame;
        let mut window = [0.0; 2 * BLOCK];
        let back = if self.line.running { 0 } else { PARTS as i64 - 1 };
        let frames = if self.line.running { 0 } else { judge::AROUND as i64 - 1 };
        self.line.running = true;
        for f in -frames..1 {
            let mut spectrum = |frame: i64| {
                let mut window = [0.0; WINDOW];
                let end = start + frame * FRAME_SAMPLES as i64;
                self.sent.copy(end - WINDOW as i64, &mut window);
                bands(self.spectrum.of(&window))
            };
            let (now, ahead) = (spectrum(f + 1), spectrum(f + 1 + judge::AHEAD));
            self.judge.sent(now, ahead);
        }
        for b in -back..0 {
            self.sent.copy(start + HEAD + (b - 1) * BLOCK as i64, &mut window);
            self.canceller.remember(&window);
        }
        for (b, block) in clean.chunks_exact_mut(BLOCK).enumerate() {
            self.sent.copy(start + HEAD + (b as i64 - 1) * BLOCK as i64, &mut window);
            self.canceller.remember(&window);
            self.canceller.cancel(block);
        }
        clean
    }

    fn give(&mut self, give: Give, frame: &mut [f32; FRAME_SAMPLES], clean: &[f32; FRAME_SAMPLES]) {
        let before = std::mem::replace(&mut self.given, give);
        if before == give && give == Give::Raw {
            return;
        }
        for (i, (sample, clean)) in frame.iter_mut().zip(clean).enumerate() {
            let of = |g| match g {
                Give::Raw => *sample,
                Give::Clean => *clean,
                Give::Mute => 0.0,
            };
            let w = ((i as f32 + 0.5) / SEAM).min(1.0);
            *sample = if before == give { of(give) } else { of(give) * w + of(before) * (1.0 - w) };
        }
    }
}

impl Person {
    /// How far the filter's echo is in what is heard: 1 when it is right, 0 when it is not.
    fn fits(&mut self, raw: &[f32; FRAME_SAMPLES], clean: &[f32; FRAME_SAMPLES]) -> f32 {
        let (mut with, mut own) = (0.0, 0.0);
        let mut before = (raw[0], raw[0] - clean[0]);
        for (raw, clean) in raw.iter().zip(clean) {
            let echo = raw - clean;
            let (x, y) = (raw - 0.9 * before.0, echo - 0.9 * before.1);
            before = (*raw, echo);
            with += x * y;
            own += y * y;
        }
        self.fit.0 += FIT_STEP * (with - self.fit.0);
        self.fit.1 += FIT_STEP * (own - self.fit.1);
        (self.fit.0 / (self.fit.1 + 1e-7)).clamp(-2.0, 3.0)
    }

    /// Whether they speak.
    fn weigh(&mut self, verdict: &Verdict, fits: f32) -> bool {
        let wrong = fits < MISFIT;
        let doubt = 10.0 * (0.9 - fits).clamp(0.0, 0.4);
        let mut excess = verdict.left_db - verdict.limit_db - doubt;
        if wrong {
            excess = excess.min(verdict.around_db - LOUD_DB);
        }
        if verdict.heard_db < FAINT_DB {
            excess = excess.min(-1.0);
        }
        self.evidence = (self.evidence + excess.clamp(-4.0, 6.0)).clamp(0.0, 20.0);
        if verdict.expected && excess > 0.0 && self.evidence >= ENOUGH {
            self.run += 1;
            let sure = if self.evidence >= PLENTY { 2 } else { usize::from(self.run >= 2) };
            self.hold = HOLD[sure];
            return true;
        }
        self.run = 0;
        let fast = wrong || verdict.heard_db < -1.0;
        self.hold = self.hold.saturating_sub(if fast { 3 } else { 1 });
        self.hold > 0
    }
}

fn shift(window: &mut [f32; WINDOW], frame: &[f32; FRAME_SAMPLES]) {
    window.copy_within(FRAME_SAMPLES.., 0);
    window[WINDOW - FRAME_SAMPLES..].copy_from_slice(frame);
}

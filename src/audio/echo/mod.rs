//! EVA's own echo, found and taken out of what is heard.

mod cancel;
mod judge;
mod lag;
mod sent;
mod spectrum;

use std::time::Duration;

use cancel::{BLOCK, Canceller, PARTS};
use judge::{Bands, Judge, bands};
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

const LOCK: f32 = 0.24;
const SUSPECT: f32 = 0.17;

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
    heard_end: i64,
    base: Option<i64>,
    raw: [f32; WINDOW],
    left: [f32; WINDOW],
    lag: Option<usize>,
    moved: u32,
    running: bool,
    given: Give,
    near_hold: u32,
    near_run: u32,
    evidence: f32,
    usual: f32,
    fit: (f32, f32),
    pub trace: bool,
}

impl Default for EchoGuard {
    fn default() -> Self { Self::new() }
}

impl EchoGuard {
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
            lag: None,
            moved: 0,
            running: false,
            given: Give::Raw,
            near_hold: 0,
            near_run: 0,
            evidence: 0.0,
            usual: 0.3,
            fit: (0.0, 0.0),
            trace: std::env::var("TRACE").is_ok(),
        }
    }

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

    pub fn hear(&mut self, _at: Duration, frame: &mut [f32; FRAME_SAMPLES]) -> EchoReport {
        self.heard_end += FRAME_SAMPLES as i64;
        shift(&mut self.raw, frame);
        if self.sent.silent_for() > OVER {
            self.running = false;
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
        let Some(lag) = self.lag else {
            if self.trace { println!("T best {:3} {:.2}", best.lag, best.score); }
            return EchoReport { echo: best.score, residual_is_echo: best.score > SUSPECT };
        };
        let start = self.heard_end + base - FRAME_SAMPLES as i64 - (lag * STEP) as i64;
        let clean = self.cancel(start, frame);
        shift(&mut self.left, &clean);
        let left = bands(self.spectrum.of(&self.left));
        let v = self.judge.judge(&heard, &left);
        let score = self.finder.score(lag);
        let fits = self.fits(frame, &clean);
        let near = self.weigh(v, fits);
        if v.expected {
            let step = if score > self.usual { 0.06 } else { 0.01 };
            if !near && self.near_hold == 0 {
                self.usual += step * (score - self.usual);
            }
            let quiet = !near && self.near_hold == 0 && (v.left_db < 3.0 || self.judge.fresh());
            let weight = if quiet { 1.0 } else if score > 0.75 * self.usual { 0.5 } else { 0.0 };
            self.judge.learn(&heard, &left, &v, weight);
        }
        let worse = left.iter().sum::<f32>() > heard.iter().sum::<f32>();
        let give = if !v.expected || (worse && (near || self.near_hold > 0)) { Give::Raw } else if near || self.near_hold > 0 { Give::Clean } else { Give::Mute };
        if self.trace { println!("T lag {lag:3} score {score:.2} best {:3} {:.2} left {:5.1} heard {:5.1} around {:5.1} fits {fits:5.2} limit {:.1} ev {:4.1} hold {} exp {} raw {:.1} clean {:.1} {give:?}", best.lag, best.score, v.left_db, v.heard_db, v.around_db, v.limit_db, self.evidence, self.near_hold, v.expected as u8, 10.0 * (heard.iter().sum::<f32>()+1e-9).log10(), 10.0 * (left.iter().sum::<f32>()+1e-9).log10()); }
        self.give(give, frame, &clean);
        let (e, h): (f32, f32) = (left.iter().sum(), heard.iter().sum());
        EchoReport { echo: if give == Give::Mute { 1.0 } else { (1.0 - e / h.max(1e-9)).clamp(0.0, 1.0) }, residual_is_echo: give == Give::Mute }
    }

    /// How far the filter's echo is in what is heard: 1 when it is right, 0 when it is not.
    fn fits(&mut self, raw: &[f32; FRAME_SAMPLES], clean: &[f32; FRAME_SAMPLES]) -> f32 {
        let (mut with, mut own) = (0.0, 0.0);
        let mut before = (raw[0], raw[0] - clean[0]);
        for (r, c) in raw.iter().zip(clean) {
            let echo = r - c;
            let (x, y) = (r - 0.9 * before.0, echo - 0.9 * before.1);
            before = (*r, echo);
            with += x * y;
            own += y * y;
        }
        self.fit.0 += 0.45 * (with - self.fit.0);
        self.fit.1 += 0.45 * (own - self.fit.1);
        (self.fit.0 / (self.fit.1 + 1e-7)).clamp(-2.0, 3.0)
    }

    /// Whether the person speaks.
    fn weigh(&mut self, v: judge::Verdict, fits: f32) -> bool {
        let wrong = fits < 0.45;
        let doubt = 10.0 * (0.9 - fits).clamp(0.0, 0.4);
        let mut excess = v.left_db - v.limit_db - doubt;
        if wrong {
            excess = excess.min(v.around_db - 4.0);
        }
        if v.heard_db < 0.5 {
            excess = excess.min(-1.0);
        }
        self.evidence = (self.evidence + excess.clamp(-4.0, 6.0)).clamp(0.0, 20.0);
        let near = v.expected && excess > 0.0 && self.evidence >= 3.0;
        if near {
            self.near_run += 1;
            self.near_hold = if self.evidence >= 12.0 { 9 } else if self.near_run >= 2 { 3 } else { 1 };
        } else {
            self.near_run = 0;
            self.near_hold = self.near_hold.saturating_sub(if wrong || v.heard_db < -1.0 { 3 } else { 1 });
        }
        near
    }

    fn align(&mut self) -> i64 {
        let ahead = self.sent.end() as i64 - self.heard_end;
        let fresh = (ahead + MARGIN) / STEP as i64 * STEP as i64;
        match self.base {
            Some(base) if (base - fresh).abs() <= ADRIFT => base,
            _ => {
                self.base = Some(fresh);
                self.finder.forget();
                self.lag = None;
                fresh
            }
        }
    }

    fn follow(&mut self, best: lag::Fit) {
        match self.lag {
            None if best.score > LOCK => self.lock(best.lag),
            None => {}
            Some(lag) => {
                let here = (lag.saturating_sub(1)..(lag + 2).min(lag::LAGS)).map(|l| self.finder.score(l)).fold(0.0, f32::max);
                let elsewhere = best.lag.abs_diff(lag) > 1 && best.score > LOCK && best.score > here + 0.1;
                self.moved = if elsewhere { self.moved + 1 } else { 0 };
                if self.moved >= 2 { self.lock(best.lag); }
            }
        }
    }

    fn lock(&mut self, lag: usize) {
        if self.trace { println!("LOCK {lag}"); }
        self.lag = Some(lag);
        self.moved = 0;
        self.canceller.forget();
        self.fit = (0.0, 0.0);
        self.judge.refilter();
        self.running = false;
    }

    fn cancel(&mut self, start: i64, frame: &[f32; FRAME_SAMPLES]) -> [f32; FRAME_SAMPLES] {
        let mut clean = *frame;
        let mut window = [0.0; 2 * BLOCK];
        let back = if self.running { 0 } else { PARTS as i64 - 1 };
        let frames = if self.running { 0 } else { judge::AROUND as i64 - 1 };
        self.running = true;
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
        if before == give && give == Give::Raw { return; }
        for (i, (sample, clean)) in frame.iter_mut().zip(clean).enumerate() {
            let of = |g| match g { Give::Raw => *sample, Give::Clean => *clean, Give::Mute => 0.0 };
            let w = ((i as f32 + 0.5) / 80.0).min(1.0);
            *sample = if before == give { of(give) } else { of(give) * w + of(before) * (1.0 - w) };
        }
    }
}

fn shift(window: &mut [f32; WINDOW], frame: &[f32; FRAME_SAMPLES]) {
    window.copy_within(FRAME_SAMPLES.., 0);
    window[WINDOW - FRAME_SAMPLES..].copy_from_slice(frame);
}

//! How long ago what is heard was sent, if it was.
//!
//! In: spectra of what was sent (a new one every 10 ms) and of what is heard (every 20 ms). Out: for
//! each of a hundred lags how well the phases of the two go together, and the lag that does best. Two
//! people's voices do not keep step in phase, a voice and its echo do, through a room and two codecs.
//! Owned by [`super::EchoGuard`].

use realfft::num_complex::Complex32;

/// From one spectrum of what was sent to the next: 10 ms at 16 kHz. Lags are in such steps.
pub(super) const STEP: usize = 160;

/// Lags looked at: one second.
pub(super) const LAGS: usize = 100;

/// The bins that count: 280 to 3500 Hz, where voices and telephones are.
const FIRST_BIN: usize = 9;
const BINS: usize = 104;

/// Spectra of what was sent that are kept; more than the lags and the steps of one bunch of frames.
const KEPT: usize = 192;

/// Bins this far (in power) below the loudest of late say nothing: 35 dB.
const QUIET: f32 = 3e-4;
/// The loudest of late is forgotten at 40 dB a second.
const FADE_STEP: f32 = 0.91;
/// Below this power in the loudest bin there is silence.
const SILENCE: f32 = 1e-5;

/// What one frame weighs against those before it; they count for some 160 ms.
const FRESH: f32 = 0.12;

/// Phases alone: each bin's is a unit vector, or nothing where the bin is quiet.
#[derive(Clone)]
struct Phases {
    re: [f32; BINS],
    im: [f32; BINS],
    on: [f32; BINS],
    any: bool,
}

impl Phases {
    const NONE: Self = Self { re: [0.0; BINS], im: [0.0; BINS], on: [0.0; BINS], any: false };

    fn set(&mut self, bins: &[Complex32], loudest: &mut f32, fade: f32) {
        let bins = &bins[FIRST_BIN..FIRST_BIN + BINS];
        let peak = bins.iter().map(|b| b.norm_sqr()).fold(0.0, f32::max);
        *loudest = peak.max(*loudest * fade);
        let floor = (*loudest * QUIET).max(SILENCE);
        self.any = peak > floor;
        for (i, bin) in bins.iter().enumerate() {
            let power = bin.norm_sqr();
            let on = power > floor;
            let scale = if on { power.sqrt().recip() } else { 0.0 };
            self.re[i] = bin.re * scale;
            self.im[i] = bin.im * scale;
            self.on[i] = f32::from(u8::from(on));
        }
    }
}

/// The memory of one lag.
#[derive(Clone)]
struct Lag {
    re: [f32; BINS],
    im: [f32; BINS],
    on: [f32; BINS],
    /// What chance alone would have made of it.
    chance: f32,
}

/// Looks for the echo among the lags.
pub(super) struct LagFinder {
    sent: Vec<Phases>,
    /// How many spectra of what was sent there were.
    steps: u64,
    heard: Phases,
    lags: Vec<Lag>,
    loudest_sent: f32,
    loudest_heard: f32,
}

/// A lag and how well it fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// In steps of 10 ms.
    pub(super) lag: usize,
    /// 0 by chance, 1 for a copy.
    pub(super) score: f32,
}

impl LagFinder {
    pub(super) fn new() -> Self {
        let lag = Lag { re: [0.0; BINS], im: [0.0; BINS], on: [0.0; BINS], chance: 0.0 };
        Self {
            sent: vec![Phases::NONE; KEPT],
            steps: 0,
            heard: Phases::NONE,
            lags: vec![lag; LAGS],
            loudest_sent: 0.0,
            loudest_heard: 0.0,
        }
    }

    /// Forgets what was found, not what was sent.
    pub(super) fn forget(&mut self) {
        for lag in &mut self.lags {
            (lag.re, lag.im, lag.on) = ([0.0; BINS], [0.0; BINS], [0.0; BINS]);
            lag.chance = 0.0;
        }
    }

    /// Steps taken so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// The next 10 ms were sent; `None` is silence.
    pub(super) fn sent(&mut self, bins: Option<&[Complex32]>) {
        let slot = (self.steps % KEPT as u64) as usize;
        self.steps += 1;
        match bins {
            Some(bins) => self.sent[slot].set(bins, &mut self.loudest_sent, FADE_STEP),
            None => self.sent[slot].any = false,
        }
    }

    /// A frame was heard whose end belongs, without a lag, to the end of step `step`.
    pub(super) fn heard(&mut self, bins: &[Complex32], step: i64) {
        self.heard.set(bins, &mut self.loudest_heard, FADE_STEP * FADE_STEP);
        if !self.heard.any {
            return;
        }
        for (back, lag) in self.lags.iter_mut().enumerate() {
            let step = step - back as i64;
            let there =
                step >= 0 && (step as u64) < self.steps && step as u64 + KEPT as u64 > self.steps;
            if !there {
                continue;
            }
            let sent = &self.sent[(step as u64 % KEPT as u64) as usize];
            if sent.any {
                lag.add(sent, &self.heard);
            }
        }
    }

    /// How well one lag fits.
    pub(super) fn score(&self, lag: usize) -> f32 {
        self.lags[lag].score()
    }

    /// The lag that fits best.
    pub(super) fn best(&self) -> Fit {
        let fits = self.lags.iter().enumerate().map(|(lag, m)| Fit { lag, score: m.score() });
        fits.fold(Fit { lag: 0, score: 0.0 }, |a, b| if b.score > a.score { b } else { a })
    }
}

impl Lag {
    fn add(&mut self, sent: &Phases, heard: &Phases) {
        let mut both = 0.0;
        for i in 0..BINS {
            let re = heard.re[i] * sent.re[i] + heard.im[i] * sent.im[i];
            let im = heard.im[i] * sent.re[i] - heard.re[i] * sent.im[i];
            let on = heard.on[i] * sent.on[i];
            both += on;
            self.re[i] += FRESH * (re - self.re[i]);
            self.im[i] += FRESH * (im - self.im[i]);
            self.on[i] += FRESH * (on - self.on[i]);
        }
        let old = (1.0 - FRESH) * (1.0 - FRESH);
        self.chance = old * self.chance + FRESH * FRESH * both;
    }

    fn score(&self) -> f32 {
        let (mut together, mut whole) = (0.0, 0.0);
        for i in 0..BINS {
            together += self.re[i] * self.re[i] + self.im[i] * self.im[i];
            whole += self.on[i] * self.on[i];
        }
        // The last term keeps a few frames from saying much.
        ((together - self.chance) / (whole - self.chance + 4.0)).clamp(0.0, 1.0)
    }
}

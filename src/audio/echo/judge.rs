//! Whether what is left after cancelling is the person, or echo.
//!
//! In: the power in ten bands of what was sent (at the echo's lag), heard, and left. Out: yes or no a
//! frame. It learns, band by band, how much of what is sent comes back and how much of that is left,
//! and takes for a person what is plainly more. Owned by [`super::EchoGuard`].

use realfft::num_complex::Complex32;

/// The bands' first bins, 31.25 Hz each; the last is where the last band ends.
const EDGES: [usize; BANDS + 1] = [6, 10, 14, 19, 25, 32, 42, 56, 74, 96, 120];
pub(super) const BANDS: usize = 10;

/// Frames of what was sent that are looked at, and how many of them lie ahead of the lag: 60 ms
/// either way.
pub(super) const AROUND: usize = 4;
pub(super) const AHEAD: i64 = 3;

/// Power in each band.
pub(super) type Bands = [f32; BANDS];

/// Rooms ring: what was sent is expected to sound on, 3 dB down each 20 ms.
const RING: f32 = 0.5;

/// Frames after which what was learned changes slowly.
const LEARNED: f32 = 10.0;

/// A band's excess counts within these, in dB.
const LEAST: f32 = -6.0;
const MOST: f32 = 15.0;

/// The line's noise is taken for no less.
const QUIETEST: f32 = 1e-5;

/// The power in each band of a spectrum.
pub(super) fn bands(bins: &[Complex32]) -> Bands {
    std::array::from_fn(|b| {
        bins[EDGES[b]..EDGES[b + 1]].iter().map(|bin| bin.norm_sqr()).sum::<f32>()
    })
}

/// What the judge says of one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// Echo enough to be heard was to be expected.
    pub(super) expected: bool,
    /// What is left above what echo leaves, mean dB over the bands.
    pub(super) left_db: f32,
    /// What was heard above what the echo brings, mean dB over the bands.
    pub(super) heard_db: f32,
    /// The same, if the lag were off by some 60 ms.
    pub(super) around_db: f32,
    /// What `left_db` must be above to be more than chance.
    pub(super) limit_db: f32,
}

/// What one call's echo is like.
pub(super) struct Judge {
    /// Dealt with in dB: what comes back of what was sent, and what is left of what was sent.
    back: Bands,
    left: Bands,
    frames: f32,
    spread: f32,
    sent: Bands,
    noise: Bands,
    /// What was sent around the lag, a frame each.
    around: [(Bands, Bands); AROUND],
    newest: usize,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self {
            back: [0.0; BANDS],
            left: [0.0; BANDS],
            frames: 0.0,
            spread: 2.0,
            sent: [0.0; BANDS],
            noise: [1.0; BANDS],
            around: [([0.0; BANDS], [0.0; BANDS]); AROUND],
            newest: 0,
        }
    }

    /// The filter starts over: what is left is as much as comes back.
    pub(super) fn refilter(&mut self) {
        self.left = self.back;
        self.frames = self.frames.min(3.0);
    }

    /// What was sent at the lag, and [`AHEAD`] frames later.
    pub(super) fn sent(&mut self, now: Bands, ahead: Bands) {
        self.newest = (self.newest + AROUND - 1) % AROUND;
        self.around[self.newest] = (now, ahead);
    }

    /// Little was learned so far.
    pub(super) fn fresh(&self) -> bool {
        self.frames < 6.0
    }

    /// Follows the line's noise; call it on every frame heard.
    pub(super) fn listen(&mut self, heard: &Bands) {
        for (noise, heard) in self.noise.iter_mut().zip(heard) {
            // Down at once, up 2.5 dB a second.
            *noise = heard.min(*noise * 1.012).max(QUIETEST);
        }
    }

    /// Judges a frame.
    pub(super) fn judge(&mut self, heard: &Bands, left: &Bands) -> Verdict {
        let sent = self.around[self.newest].0;
        for (expected, sent) in self.sent.iter_mut().zip(&sent) {
            *expected = sent.max(*expected * RING);
        }
        let mut audible = 0;
        let (mut left_db, mut heard_db, mut around_db) = (0.0, 0.0, 0.0);
        for b in 0..BANDS {
            let noise = 3.0 * self.noise[b];
            let back = self.sent[b] * 10f32.powf(self.back[b] / 10.0);
            let remains = self.sent[b] * 10f32.powf(self.left[b] / 10.0);
            audible += usize::from(if self.frames < 1.0 {
                self.sent[b] > 1e-3
            } else {
                back > 2.0 * self.noise[b]
            });
            let most = self
                .around
                .iter()
                .map(|(now, ahead)| now[b].max(ahead[b]))
                .fold(self.sent[b], f32::max);
            let most = most * 10f32.powf(self.back[b] / 10.0);
            around_db += db(heard[b] / (most + noise)).clamp(LEAST, MOST);
            left_db += db(left[b] / (remains + noise)).clamp(LEAST, MOST);
            heard_db += db(heard[b] / (back + noise)).clamp(LEAST, MOST);
        }
        Verdict {
            expected: audible >= 2,
            left_db: left_db / BANDS as f32,
            heard_db: heard_db / BANDS as f32,
            around_db: around_db / BANDS as f32,
            limit_db: (1.0 + 2.5 * self.spread.sqrt()).clamp(4.0, 8.0),
        }
    }

    /// Learns from a frame that was echo and nothing else.
    pub(super) fn learn(&mut self, heard: &Bands, left: &Bands, verdict: &Verdict, weight: f32) {
        if weight == 0.0 {
            return;
        }
        self.spread += 0.04 * weight * (verdict.left_db.max(0.0).powi(2) - self.spread);
        let fresh = weight / (self.frames + 1.0);
        self.frames = (self.frames + 1.0).min(LEARNED);
        for b in 0..BANDS {
            if self.sent[b] < 1e-4 || heard[b] < 2.0 * self.noise[b] {
                continue;
            }
            self.back[b] += fresh * (db(heard[b] / self.sent[b]) - self.back[b]);
            self.left[b] += fresh * (db(left[b] / self.sent[b]) - self.left[b]);
        }
    }
}

fn db(ratio: f32) -> f32 {
    10.0 * (ratio + 1e-12).log10()
}

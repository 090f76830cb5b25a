//! The mel filter bank that a Whisper ggml file carries.

/// Samples of one Fourier transform.
const FFT: usize = 400;
/// Samples per second.
const RATE: f64 = 16_000.0;
/// Frequencies of one transform.
pub(super) const BINS: usize = FFT / 2 + 1;

/// `bands` triangular filters over 201 frequencies from 0 to 8 kHz, row by row, equal in area.
///
/// Slaney's scale (Auditory Toolbox, 1998; librosa's default): linear below 1 kHz, logarithmic
/// above, 27 steps for each factor of 6.4.
pub(super) fn filters(bands: usize) -> Vec<f32> {
    let step = mel(RATE / 2.0) / (bands + 1) as f64;
    let mut edges: Vec<f64> = (0..bands + 2).map(|edge| hertz(edge as f64 * step)).collect();
    edges[bands + 1] = hertz(mel(RATE / 2.0));
    let mut filters = Vec::with_capacity(bands * BINS);
    for band in 0..bands {
        let (low, mid, high) = (edges[band], edges[band + 1], edges[band + 2]);
        let area = 2.0 / (high - low);
        for bin in 0..BINS {
            let frequency = bin as f64 * RATE / FFT as f64;
            // The order of operations is that of the published filters: they match bit by bit,
            // down to the sign of the first zero and a rounding before the scaling.
            let rising = -((low - frequency) / (mid - low));
            let falling = (high - frequency) / (high - mid);
            let weight = if rising < falling { rising } else { falling };
            let weight = if weight < 0.0 { 0.0 } else { weight as f32 };
            filters.push((f64::from(weight) * area) as f32);
        }
    }
    filters
}

const LINEAR: f64 = 200.0 / 3.0;
const BREAK_HERTZ: f64 = 1_000.0;
const BREAK_MEL: f64 = BREAK_HERTZ / LINEAR;

fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

/// The mel of a frequency of 1 kHz or more.
fn mel(hertz: f64) -> f64 {
    BREAK_MEL + (hertz / BREAK_HERTZ).ln() / log_step()
}

fn hertz(mel: f64) -> f64 {
    if mel >= BREAK_MEL {
        BREAK_HERTZ * (log_step() * (mel - BREAK_MEL)).exp()
    } else {
        LINEAR * mel
    }
}

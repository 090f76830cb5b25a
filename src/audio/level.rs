//! Loudness, fades and a level meter.
//!
//! In: samples. Out: decibels relative to full scale (dBFS), or the samples faded. No state but
//! the meter's.

/// What counts as nothing at all, in dBFS.
pub const SILENCE_DBFS: f32 = -100.0;

/// The root mean square in dBFS: a full-scale square wave is 0, a full-scale sine -3.01; never
/// below [`SILENCE_DBFS`], which is also what no samples give.
pub fn rms_dbfs(samples: &[f32]) -> f32 {
    if samples.is_empty() {
        return SILENCE_DBFS;
    }
    let power =
        samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>() / samples.len() as f64;
    (10.0 * power.max(1e-12).log10()).max(f64::from(SILENCE_DBFS)) as f32
}

/// The largest magnitude, 0..1 for sound within full scale.
pub fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |most, s| most.max(s.abs()))
}

/// Decibels to a factor: -6.02 dB is 0.5.
pub fn gain(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

/// The raised cosine: 0 at `x` = 0, 1 at `x` = 1, level at both ends (so that a fade has no kink).
pub fn raised_cosine(x: f32) -> f32 {
    0.5 - 0.5 * (x.clamp(0.0, 1.0) * std::f32::consts::PI).cos()
}

/// Fades the samples in over their whole length.
pub fn fade_in(samples: &mut [f32]) {
    let n = samples.len() as f32;
    for (i, s) in samples.iter_mut().enumerate() {
        *s *= raised_cosine((i as f32 + 0.5) / n);
    }
}

/// Fades the samples out over their whole length.
pub fn fade_out(samples: &mut [f32]) {
    let n = samples.len() as f32;
    for (i, s) in samples.iter_mut().enumerate() {
        *s *= raised_cosine(1.0 - (i as f32 + 0.5) / n);
    }
}

/// A level that people can watch: rises at once, falls at a steady pace.
#[derive(Clone, Debug)]
pub struct LevelMeter {
    dbfs: f32,
    fall_per_s: f32,
    sample_rate: f32,
}

impl LevelMeter {
    /// A meter for sound at `sample_rate` that falls by `fall_per_s` decibels a second.
    pub fn new(sample_rate: u32, fall_per_s: f32) -> Self {
        Self { dbfs: SILENCE_DBFS, fall_per_s, sample_rate: sample_rate.max(1) as f32 }
    }

    /// Takes the next samples in; returns the level to show in dBFS.
    pub fn update(&mut self, samples: &[f32]) -> f32 {
        let fallen = self.dbfs - self.fall_per_s * samples.len() as f32 / self.sample_rate;
        self.dbfs = rms_dbfs(samples).max(fallen).max(SILENCE_DBFS);
        self.dbfs
    }

    /// The level to show in dBFS.
    pub fn dbfs(&self) -> f32 {
        self.dbfs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sounds_have_known_levels() {
        let sine: Vec<f32> = (0..4_800).map(|i| (i as f32 * 0.1).sin()).collect();
        assert!((rms_dbfs(&sine) + 3.01).abs() < 0.05);
        assert!((rms_dbfs(&[0.5; 10]) + 6.02).abs() < 0.01);
        assert_eq!(rms_dbfs(&[]), SILENCE_DBFS);
        assert_eq!(rms_dbfs(&[0.0; 10]), SILENCE_DBFS);
        assert_eq!(peak(&[0.1, -0.7, 0.3]), 0.7);
        assert!((gain(-6.02) - 0.5).abs() < 0.001);
    }

    #[test]
    fn fades_start_and_end_at_nothing() {
        let mut up = [1.0; 240];
        fade_in(&mut up);
        assert!(up[0] < 1e-4 && up[239] > 0.999);
        assert!(up.windows(2).all(|w| w[1] >= w[0]));
        let mut down = [1.0; 240];
        fade_out(&mut down);
        up.reverse();
        assert!(up.iter().zip(&down).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn the_meter_rises_at_once_and_falls_slowly() {
        let mut meter = LevelMeter::new(16_000, 40.0);
        assert!((meter.update(&[0.5; 320]) + 6.02).abs() < 0.01);
        let after = meter.update(&[0.0; 320]);
        assert!((after + 6.02 + 0.8).abs() < 0.01, "{after}");
        for _ in 0..200 {
            meter.update(&[0.0; 320]);
        }
        assert_eq!(meter.dbfs(), SILENCE_DBFS);
    }
}

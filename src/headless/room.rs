//! A loudspeaker and a microphone in one room: the caller's microphone hears EVA.
//!
//! In: what the caller hears. Out: what of it comes back into the microphone. A delay, a few decaying
//! reflections, a loudspeaker that bends loud sound softly. It keeps no sound itself.

use crate::audio::SLOT_SAMPLES;
use crate::audio::level::gain;

/// How a room sends EVA's voice back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Room {
    /// From the loudspeaker's sound to the microphone's, milliseconds; at least 20.
    pub delay_ms: f32,
    /// Level of the echo relative to what was received, dB.
    pub level_db: f32,
    /// How hard the loudspeaker is driven: 1 is nearly straight, 3 bends audibly.
    pub drive: f32,
    /// Reflections after the direct sound: delay in milliseconds and factor.
    pub reflections: Vec<(f32, f32)>,
}

impl Room {
    /// The echo's next frame. `heard` is what was received so far, continuous in time; `now` is the
    /// place in it that is played when the frame ends.
    pub(super) fn frame(&self, heard: &[f32], now: i64) -> [f32; SLOT_SAMPLES] {
        let samples = |ms: f32| (f64::from(ms.max(0.0)) * 48.0) as i64;
        let start = now - SLOT_SAMPLES as i64 - samples(self.delay_ms.max(20.0));
        let power = 1.0 + self.reflections.iter().map(|(_, factor)| factor * factor).sum::<f32>();
        let (level, even) = (gain(self.level_db), power.sqrt().recip());
        let at = |place: i64| {
            usize::try_from(place).ok().and_then(|place| heard.get(place)).copied().unwrap_or(0.0)
        };
        let bent = |sample: f32| (self.drive * sample).tanh() / self.drive;
        std::array::from_fn(|i| {
            let place = start + i as i64;
            let reflected: f32 = self
                .reflections
                .iter()
                .map(|(ms, factor)| factor * bent(at(place - samples(*ms))))
                .sum();
            level * even * (bent(at(place)) + reflected)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level::rms_dbfs;

    #[test]
    fn the_echo_comes_late_soft_and_without_a_seam() {
        let heard: Vec<f32> = (0..48_000).map(|i| 0.1 * (i as f32 * 0.05).sin()).collect();
        let room = Room { delay_ms: 100.0, level_db: -20.0, drive: 1.0, reflections: Vec::new() };
        let frames: Vec<f32> = (1..=30).flat_map(|frame| room.frame(&heard, frame * 960)).collect();
        assert_eq!(rms_dbfs(&frames[..4_800]), -100.0, "nothing within the delay");
        let echo = rms_dbfs(&frames[4_800..]);
        assert!((echo - rms_dbfs(&heard) + 20.0).abs() < 0.2, "{echo}");
        let seam = |pair: &[f32]| (pair[1] - pair[0]).abs() > 0.001;
        assert!(!frames.windows(2).any(seam), "frames join");
    }
}

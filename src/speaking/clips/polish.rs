//! A clip's last touch: silence off both ends, as loud as the voice speaks, ends without a click.
//!
//! In: samples. Out: samples, and the loudness of speech. Pure.

/// Sound this far below the loudest moment is silence, dB.
const SILENCE_DB: f32 = -40.0;
/// What is left of the silence at both ends, seconds.
const MARGIN_S: f32 = 0.012;
/// Fades at both ends, seconds: shorter than the margin, so that no voiced sample is touched.
const FADE_S: f32 = 0.008;
/// Blocks in which loudness is measured, seconds; they overlap by three quarters, as in ITU-R
/// BS.1770-5 (which weights frequencies as well: with one voice against itself that cancels out).
const BLOCK_S: f32 = 0.1;
/// Blocks below this are pauses, dBFS.
const ABSOLUTE_GATE_DB: f32 = -60.0;
/// Blocks this far below the mean of the others are pauses too, dB.
const RELATIVE_GATE_DB: f32 = -10.0;
/// A clip is made louder or softer by no more, dB: beyond that it is a whisper, not too soft.
const MOST_GAIN_DB: f32 = 12.0;
/// No sample of a clip is larger.
const PEAK: f32 = 0.95;

/// How loud speech is, dBFS: the mean power of what is not a pause. `None` for silence.
pub fn loudness(samples: &[f32], sample_rate: u32) -> Option<f32> {
    let block = seconds(BLOCK_S, sample_rate).clamp(1, samples.len().max(1));
    let step = (block / 4).max(1);
    let starts = (0..=samples.len().saturating_sub(block)).step_by(step);
    let powers: Vec<f32> = starts
        .filter_map(|start| samples.get(start..start + block))
        .map(|block| block.iter().map(|s| s * s).sum::<f32>() / block.len() as f32)
        .filter(|power| *power > from_db(ABSOLUTE_GATE_DB))
        .collect();
    let mean = |powers: &[f32]| powers.iter().sum::<f32>() / powers.len() as f32;
    if powers.is_empty() {
        return None;
    }
    let gate = mean(&powers) * from_db(RELATIVE_GATE_DB);
    let voiced: Vec<f32> = powers.into_iter().filter(|power| *power >= gate).collect();
    Some(10.0 * mean(&voiced).log10())
}

/// Cuts the silence off both ends, but for a short margin; silence becomes nothing.
pub fn trim(samples: &[f32], sample_rate: u32) -> &[f32] {
    let loudest = samples.iter().fold(0.0f32, |most, s| most.max(s.abs()));
    let threshold = loudest * 10f32.powf(SILENCE_DB / 20.0);
    let heard = |s: &f32| s.abs() > threshold;
    let (Some(first), Some(last)) =
        (samples.iter().position(heard), samples.iter().rposition(heard))
    else {
        return &[];
    };
    let margin = seconds(MARGIN_S, sample_rate);
    &samples[first.saturating_sub(margin)..(last + 1 + margin).min(samples.len())]
}

/// Brings a trimmed clip to a loudness (dBFS) and fades both ends.
pub fn finish(samples: &mut [f32], sample_rate: u32, target_dbfs: f32) {
    if let Some(found) = loudness(samples, sample_rate) {
        let change = (target_dbfs - found).clamp(-MOST_GAIN_DB, MOST_GAIN_DB);
        let loudest = samples.iter().fold(0.0f32, |most, s| most.max(s.abs()));
        let gain = 10f32.powf(change / 20.0).min(PEAK / loudest);
        samples.iter_mut().for_each(|s| *s *= gain);
    }
    let fade = seconds(FADE_S, sample_rate).min(samples.len() / 2);
    let end = samples.len();
    for i in 0..fade {
        let x = (i as f32 + 0.5) / fade as f32;
        let factor = 0.5 - 0.5 * (x * std::f32::consts::PI).cos();
        samples[i] *= factor;
        samples[end - 1 - i] *= factor;
    }
}

fn seconds(seconds: f32, sample_rate: u32) -> usize {
    (seconds * sample_rate as f32) as usize
}

/// Decibels to a ratio of powers.
fn from_db(db: f32) -> f32 {
    10f32.powf(db / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    fn tone(seconds: f32, amplitude: f32) -> Vec<f32> {
        (0..(seconds * RATE as f32) as usize).map(|i| amplitude * (i as f32 * 0.3).sin()).collect()
    }

    fn silence(seconds: f32) -> Vec<f32> {
        vec![0.0; (seconds * RATE as f32) as usize]
    }

    #[test]
    fn pauses_do_not_count_for_loudness() {
        let alone = loudness(&tone(1.0, 0.5), RATE).unwrap();
        assert!((alone + 9.03).abs() < 0.1, "{alone}");
        let paused = [tone(0.5, 0.5), silence(2.0), tone(0.5, 0.5)].concat();
        let paused = loudness(&paused, RATE).unwrap();
        assert!((paused - alone).abs() < 0.6, "{paused} against {alone}");
        assert_eq!(loudness(&silence(1.0), RATE), None);
        assert_eq!(loudness(&[], RATE), None);
        assert!(loudness(&tone(0.02, 0.5), RATE).is_some(), "shorter than a block");
    }

    #[test]
    fn silence_is_cut_off_both_ends_and_a_pause_inside_stays() {
        let sound = [silence(0.3), tone(0.2, 0.4), silence(0.2), tone(0.2, 0.4), silence(0.5)];
        let sound = sound.concat();
        let kept = trim(&sound, RATE).len() as f32 / RATE as f32;
        assert!((kept - 0.6 - 2.0 * MARGIN_S).abs() < 0.003, "{kept}");
        assert!(trim(&silence(1.0), RATE).is_empty() && trim(&[], RATE).is_empty());
        let bare = tone(0.2, 0.4);
        assert!(trim(&bare, RATE).len() >= bare.len() - 3);
    }

    #[test]
    fn clips_of_any_loudness_come_out_alike_and_without_clicks() {
        for amplitude in [0.1, 0.2, 0.5] {
            let mut clip = tone(0.5, amplitude);
            finish(&mut clip, RATE, -20.0);
            let found = loudness(&clip, RATE).unwrap();
            assert!((found + 20.0).abs() < 0.3, "{amplitude}: {found}");
            assert!(clip[0].abs() < 0.001 && clip[clip.len() - 1].abs() < 0.001);
        }
        let mut loud = tone(0.5, 0.9);
        finish(&mut loud, RATE, 0.0);
        assert!(loud.iter().all(|s| s.abs() <= PEAK + 1e-6), "nothing is clipped");
        let mut faint = tone(0.5, 0.01);
        finish(&mut faint, RATE, -9.0);
        assert!(loudness(&faint, RATE).unwrap() < -30.0, "a whisper stays one");
        finish(&mut [], RATE, -20.0);
    }
}

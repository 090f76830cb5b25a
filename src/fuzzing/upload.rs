//! Sound files as people upload them.

use bytes::Bytes;

use crate::audio::HEARING_RATE;
use crate::audio::file::FileReader;

/// Sound after which the fuzzer stops listening; transcription stops, too, only later.
const ENOUGH: usize = 120 * HEARING_RATE as usize;
/// The most sound of one portion: the longest block of FLAC at the lowest rate that is read.
const MOST_AT_ONCE: usize = 66 * HEARING_RATE as usize;
/// Portions without sound, one after the other, after which a file must have been given up.
const MOST_EMPTY: usize = 100_002;
/// The filter that changes the rate may swing this far over full scale.
const LOUDEST: f32 = 4.0;

/// Any bytes as a sound file: it is read to its end or refused, in portions that are bounded, and
/// what comes out are samples.
pub fn upload(file: &[u8]) {
    let Ok(mut reader) = FileReader::open(Bytes::copy_from_slice(file)) else { return };
    let (mut portion, mut heard, mut empty) = (Vec::new(), 0, 0);
    loop {
        let more = reader.read(&mut portion);
        assert!(portion.len() <= MOST_AT_ONCE, "{} samples at once", portion.len());
        let wrong = portion.iter().find(|sample| !sample.is_finite() || sample.abs() > LOUDEST);
        assert!(wrong.is_none(), "a sample of {wrong:?}");
        heard += portion.len();
        empty = if portion.is_empty() { empty + 1 } else { 0 };
        assert!(empty <= MOST_EMPTY, "{heard} samples, then nothing, and no end");
        portion.clear();
        if heard > ENOUGH || !matches!(more, Ok(true)) {
            return;
        }
    }
}

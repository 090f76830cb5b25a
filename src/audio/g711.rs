//! G.711: µ-law and A-law, 8 kHz (ITU-T G.711, 1988).
//!
//! In: samples of -1..1, or bytes. Out: the other. Each byte is one sample; nothing is kept between.

/// µ-law's bias and largest magnitude, in 14-bit samples times 4.
const BIAS: i32 = 0x84;
const CLIP: i32 = 32_635;

/// A µ-law byte as a sample.
pub fn from_mu_law(byte: u8) -> f32 {
    let byte = !byte;
    let exponent = (byte >> 4) & 7;
    let magnitude = ((i32::from(byte & 0x0f) << 3) + BIAS) << exponent;
    signed(byte & 0x80 == 0, magnitude - BIAS)
}

/// A sample as a µ-law byte.
pub fn to_mu_law(sample: f32) -> u8 {
    let value = whole(sample);
    let sign = if value < 0 { 0x80 } else { 0 };
    let magnitude = value.abs().min(CLIP) + BIAS;
    // The highest bit set is one of 7 to 14.
    let exponent = (magnitude >> 7).ilog2().min(7) as u8;
    let mantissa = ((magnitude >> (exponent + 3)) & 0x0f) as u8;
    !(sign | (exponent << 4) | mantissa)
}

/// An A-law byte as a sample.
pub fn from_a_law(byte: u8) -> f32 {
    let byte = byte ^ 0x55;
    let exponent = (byte >> 4) & 7;
    let mantissa = i32::from(byte & 0x0f) << 4;
    let magnitude = match exponent {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (exponent - 1),
    };
    signed(byte & 0x80 != 0, magnitude)
}

/// A sample as an A-law byte.
pub fn to_a_law(sample: f32) -> u8 {
    let value = whole(sample);
    let sign = if value < 0 { 0 } else { 0x80 };
    let magnitude = value.abs().min(32_767);
    let byte = if magnitude < 256 {
        (magnitude >> 4) as u8
    } else {
        let exponent = magnitude.ilog2() as u8 - 7;
        (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f) as u8
    };
    (sign | byte) ^ 0x55
}

fn whole(sample: f32) -> i32 {
    (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i32
}

fn signed(positive: bool, magnitude: i32) -> f32 {
    let magnitude = magnitude as f32 / 32_768.0;
    if positive { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for byte in 0..=255u8 {
            // µ-law has two zeros.
            if byte != 0x7f {
                assert_eq!(to_mu_law(from_mu_law(byte)), byte);
            }
            assert_eq!(to_a_law(from_a_law(byte)), byte);
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(to_mu_law(0.0), 0xff);
        assert_eq!(to_mu_law(1.0), 0x80);
        assert_eq!(to_mu_law(-1.0), 0x00);
        assert_eq!(to_a_law(0.0), 0xd5);
        assert_eq!(to_a_law(1.0), 0xaa);
        assert_eq!(to_a_law(-1.0), 0x2a);
    }

    #[test]
    fn a_tone_keeps_38_db() {
        let there_and_back: [fn(f32) -> f32; 2] =
            [|sample| from_mu_law(to_mu_law(sample)), |sample| from_a_law(to_a_law(sample))];
        for law in there_and_back {
            let (mut signal, mut noise) = (0.0f32, 0.0f32);
            for n in 0..8000 {
                let sample = 0.5 * (n as f32 * 0.37).sin();
                signal += sample * sample;
                noise += (law(sample) - sample).powi(2);
            }
            assert!(10.0 * (signal / noise).log10() > 36.0);
        }
    }
}

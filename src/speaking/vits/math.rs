//! The few functions the network applies value by value, written so that the compiler makes
//! vector code of a loop over them ([`super::loops`]). Each is within a few 1e-7 of the exact one.
//!
//! `FMA` says whether products and sums are fused: only where the processor does that in one
//! instruction, because elsewhere each would be a call.

/// a · b + c.
#[inline(always)]
pub fn fused<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e^x; saturates at the ends of `f32`.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest integer
    let x = x.clamp(-87.0, 88.0);
    let rounded = fused::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    // ln 2 in two parts, so that the rest keeps its low bits.
    let r = fused::<FMA>(n, -0.693_359_4, x);
    let r = fused::<FMA>(n, 2.121_944_4e-4, r);
    let p = fused::<FMA>(r, 1.987_569_1e-4, 1.398_199_9e-3);
    let p = fused::<FMA>(r, p, 8.333_452e-3);
    let p = fused::<FMA>(r, p, 4.166_579_6e-2);
    let p = fused::<FMA>(r, p, 0.166_666_66);
    let p = fused::<FMA>(r, p, 0.5);
    let p = fused::<FMA>(r * r, p, r) + 1.0;
    // Times 2^n through the exponent's bits: n, in -126..=127, is in the low bits of `rounded`.
    p * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f32) -> f32 {
    1.0 - 2.0 / (exp::<FMA>(2.0 * x) + 1.0)
}

/// tanh(a) / (1 + e^-b): WaveNet's gate, with one division.
#[inline(always)]
pub fn gate<const FMA: bool>(a: f32, b: f32) -> f32 {
    // Beyond ±20 both are at their ends; so bounded, the products below stay finite.
    let a = exp::<FMA>(2.0 * a.clamp(-20.0, 20.0));
    let b = exp::<FMA>(-b.clamp(-20.0, 20.0));
    (a - 1.0) / ((a + 1.0) * (1.0 + b))
}

/// Gaussian error linear unit, the exact (erf) form; erf after Abramowitz & Stegun 7.1.26.
#[inline(always)]
pub fn gelu<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / fused::<FMA>(z, 0.327_591_1, 1.0);
    let p = fused::<FMA>(t, 1.061_405_4, -1.453_152);
    let p = fused::<FMA>(t, p, 1.421_413_7);
    let p = fused::<FMA>(t, p, -0.284_496_74);
    let p = fused::<FMA>(t, p, 0.254_829_6);
    let erf = (1.0 - p * t * exp::<FMA>(-z * z)).copysign(x);
    0.5 * x * (1.0 + erf)
}

#[cfg(test)]
mod tests {
    fn agree<const FMA: bool>() {
        for step in -4000..4000 {
            let x = step as f32 * 0.01;
            assert!((super::tanh::<FMA>(x) - x.tanh()).abs() < 5e-7, "tanh {x}");
            for y in [-50.0, -3.0, -0.1, 0.0, 2.0, 30.0] {
                let exact = x.tanh() / (1.0 + f32::exp(-y));
                assert!((super::gate::<FMA>(x, y) - exact).abs() < 5e-7, "gate {x} {y}");
            }
            let exact = f64::from(x).exp();
            assert!((f64::from(super::exp::<FMA>(x)) - exact).abs() <= 4e-7 * exact, "exp {x}");
        }
        for (x, expected) in [(0.0, 0.0), (1.0, 0.841_344_7), (-1.0, -0.158_655_3), (3.0, 2.995_95)]
        {
            assert!((super::gelu::<FMA>(x) - expected).abs() < 1e-6, "gelu {x}");
        }
    }

    #[test]
    fn functions_agree_with_the_library_ones() {
        agree::<true>();
        agree::<false>();
    }
}

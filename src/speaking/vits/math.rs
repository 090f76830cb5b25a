//! The few functions the network applies value by value, written so that the compiler makes
//! vector code of a loop over them. Each is within a few 1e-7 of the exact one.

/// e^x; saturates at the ends of `f32`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest integer
    let x = x.clamp(-87.0, 88.0);
    let n = x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    // ln 2 in two parts, so that the rest keeps its low bits.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = r.mul_add(1.987_569_1e-4, 1.398_199_9e-3);
    let p = r.mul_add(p, 8.333_452e-3);
    let p = r.mul_add(p, 4.166_579_6e-2);
    let p = r.mul_add(p, 0.166_666_66);
    let p = r.mul_add(p, 0.5);
    let p = (r * r).mul_add(p, r) + 1.0;
    // Times 2^n through the exponent's bits; n lies in -126..=127.
    p * f32::from_bits((((n as i32) + 127) as u32) << 23)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Gaussian error linear unit, the exact (erf) form; erf after Abramowitz & Stegun 7.1.26.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.327_591_1, 1.0);
    let p = t.mul_add(1.061_405_4, -1.453_152);
    let p = t.mul_add(p, 1.421_413_7);
    let p = t.mul_add(p, -0.284_496_74);
    let p = t.mul_add(p, 0.254_829_6);
    let erf = (1.0 - p * t * exp(-z * z)).copysign(x);
    0.5 * x * (1.0 + erf)
}

#[cfg(test)]
mod tests {
    #[test]
    fn functions_agree_with_the_library_ones() {
        for step in -4000..4000 {
            let x = step as f32 * 0.01;
            assert!((super::tanh(x) - x.tanh()).abs() < 5e-7, "tanh {x}");
            assert!((super::sigmoid(x) - 1.0 / (1.0 + (-x).exp())).abs() < 5e-7, "sigmoid {x}");
            let exact = f64::from(x).exp();
            assert!((f64::from(super::exp(x)) - exact).abs() <= 4e-7 * exact, "exp {x}");
        }
        for (x, expected) in [(0.0, 0.0), (1.0, 0.841_344_7), (-1.0, -0.158_655_3), (3.0, 2.995_95)]
        {
            assert!((super::gelu(x) - expected).abs() < 1e-6, "gelu {x}");
        }
    }
}

//! Loops over rows of values, compiled for each instruction set: same arguments, same results to
//! rounding. All slices of a call are equally long (what is longer is ignored).

use super::kernels::Simd;
use super::math;

/// Whether the program's own instruction set fuses products and sums.
pub const FUSES: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// Declares loops as methods of [`Simd`], each in a version per instruction set.
macro_rules! loops {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),*) $body:block)*) => {
        mod bodies {
            use super::math::{self, fused};
            $(#[inline(always)]
            pub fn $name<const FMA: bool>($($arg: $kind),*) {
                $body
            })*
        }

        impl Simd {
            $($(#[$doc])*
            pub fn $name(self, $($arg: $kind),*) {
                match self {
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx512 => {
                        #[target_feature(enable = "avx512f,avx2,fma")]
                        fn run($($arg: $kind),*) {
                            bodies::$name::<true>($($arg),*)
                        }
                        // SAFETY: `Avx512` exists only where the processor has it.
                        unsafe { run($($arg),*) }
                    }
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx2 => {
                        #[target_feature(enable = "avx2,fma")]
                        fn run($($arg: $kind),*) {
                            bodies::$name::<true>($($arg),*)
                        }
                        // SAFETY: `Avx2` exists only where the processor has it.
                        unsafe { run($($arg),*) }
                    }
                    Self::Compiled => bodies::$name::<FUSES>($($arg),*),
                }
            })*
        }
    };
}

loops! {
    /// `sum += values`.
    fn add(sum: &mut [f32], values: &[f32]) {
        for (sum, &value) in sum.iter_mut().zip(values) {
            *sum += value;
        }
    }

    /// `sum += factor · values`.
    fn add_scaled(sum: &mut [f32], factor: f32, values: &[f32]) {
        for (sum, &value) in sum.iter_mut().zip(values) {
            *sum = fused::<FMA>(factor, value, *sum);
        }
    }

    /// `sum += factor · (values - mean)²`.
    fn add_squares(sum: &mut [f32], factor: f32, values: &[f32], mean: &[f32]) {
        for ((sum, &value), &mean) in sum.iter_mut().zip(values).zip(mean) {
            let apart = value - mean;
            *sum = fused::<FMA>(apart * factor, apart, *sum);
        }
    }

    /// `1 / √(values + epsilon)`.
    fn inverse_roots(values: &mut [f32], epsilon: f32) {
        for value in values {
            *value = 1.0 / (*value + epsilon).sqrt();
        }
    }

    /// `(values - mean) · inverse · gamma + beta`, with `affine` = [gamma, beta].
    fn normalise(values: &mut [f32], mean: &[f32], inverse: &[f32], affine: [f32; 2]) {
        for ((value, &mean), &inverse) in values.iter_mut().zip(mean).zip(inverse) {
            *value = fused::<FMA>((*value - mean) * inverse, affine[0], affine[1]);
        }
    }

    /// The same, then the Gaussian error linear unit.
    fn normalise_gelu(values: &mut [f32], mean: &[f32], inverse: &[f32], affine: [f32; 2]) {
        for ((value, &mean), &inverse) in values.iter_mut().zip(mean).zip(inverse) {
            let normal = fused::<FMA>((*value - mean) * inverse, affine[0], affine[1]);
            *value = math::gelu::<FMA>(normal);
        }
    }

    /// WaveNet's gate: `out = tanh(a) · sigmoid(b)`.
    fn gate(out: &mut [f32], a: &[f32], b: &[f32]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = math::gate::<FMA>(a, b);
        }
    }

    /// `greatest = max(greatest, values)`.
    fn raise(greatest: &mut [f32], values: &[f32]) {
        for (greatest, &value) in greatest.iter_mut().zip(values) {
            *greatest = if value > *greatest { value } else { *greatest };
        }
    }

    /// `values = e^(values - greatest)`, added to `sum`.
    fn exp_and_add(values: &mut [f32], greatest: &[f32], sum: &mut [f32]) {
        for ((value, &greatest), sum) in values.iter_mut().zip(greatest).zip(sum) {
            *value = math::exp::<FMA>(*value - greatest);
            *sum += *value;
        }
    }

    /// `values · factors`.
    fn multiply(values: &mut [f32], factors: &[f32]) {
        for (value, &factor) in values.iter_mut().zip(factors) {
            *value *= factor;
        }
    }

    /// `factor · e^values`.
    fn scaled_exp(values: &mut [f32], factor: f32) {
        for value in values {
            *value = math::exp::<FMA>(*value) * factor;
        }
    }

    /// `tanh(values)`.
    fn tanh(values: &mut [f32]) {
        for value in values {
            *value = math::tanh::<FMA>(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Simd;

    #[test]
    fn every_instruction_set_gives_the_same() {
        let values: Vec<f32> = (0..150).map(|n| (n as f32 * 0.7).sin() * 4.0).collect();
        let other: Vec<f32> = (0..150).map(|n| (n as f32 * 1.3).cos() * 3.0).collect();
        let inverse = vec![0.5; 150];
        let run = |simd: Simd| {
            let mut all = Vec::new();
            let mut with = |work: &dyn Fn(&mut [f32])| {
                let mut out = values.clone();
                work(&mut out);
                all.extend(out);
            };
            with(&|x| simd.add(x, &other));
            with(&|x| simd.add_scaled(x, 0.3, &other));
            with(&|x| simd.add_squares(x, 0.3, &other, &values));
            with(&|x| simd.normalise(x, &other, &inverse, [1.5, 0.2]));
            with(&|x| simd.normalise_gelu(x, &other, &inverse, [1.5, 0.2]));
            with(&|x| simd.gate(x, &other, &values));
            with(&|x| simd.raise(x, &other));
            with(&|x| simd.exp_and_add(x, &other, &mut inverse.clone()));
            with(&|x| simd.multiply(x, &other));
            with(&|x| simd.scaled_exp(x, 0.3));
            with(&|x| simd.tanh(x));
            all
        };
        let expected = run(Simd::Compiled);
        for simd in Simd::available() {
            for (a, b) in run(simd).iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{simd:?}: {a} {b}");
            }
        }
    }
}

//! Sixteen numbers side by side, in the widest registers the processor has.
//!
//! Loops are written once over [`Lanes`] and compiled for each instruction set; the functions that
//! call them enable it.

use super::kernels::LANES;

/// Sixteen f32.
pub(super) trait Lanes: Copy {
    /// All the same.
    ///
    /// # Safety
    /// The processor has the instructions; so for all methods.
    unsafe fn splat(x: f32) -> Self;
    /// From memory.
    ///
    /// # Safety
    /// `from` points to sixteen numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// To memory.
    ///
    /// # Safety
    /// `to` points to room for sixteen numbers.
    unsafe fn store(self, to: *mut f32);
    /// `self · by + plus`, each.
    ///
    /// # Safety
    /// As above.
    unsafe fn times_plus(self, by: Self, plus: Self) -> Self;
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; LANES]);

impl Lanes for Plain {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: sixteen numbers, by the caller's promise.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: room for sixteen, by the caller's promise.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) };
    }
    #[inline(always)]
    unsafe fn times_plus(self, by: Self, plus: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(by.0[i], plus.0[i])))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Narrow, Wide};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// One 512-bit register.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Wide(__m512);

    impl Lanes for Wide {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's promise.
            unsafe { _mm512_storeu_ps(to, self.0) };
        }
        #[inline(always)]
        unsafe fn times_plus(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
        }
    }

    /// Two 256-bit registers.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Narrow(__m256, __m256);

    impl Lanes for Narrow {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller's promise.
            let x = unsafe { _mm256_set1_ps(x) };
            Self(x, x)
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's promise.
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's promise.
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn times_plus(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller's promise.
            unsafe {
                Self(_mm256_fmadd_ps(self.0, by.0, plus.0), _mm256_fmadd_ps(self.1, by.1, plus.1))
            }
        }
    }
}

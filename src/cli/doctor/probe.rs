//! How fast one core is: a matrix product and a walk through memory, half a second in all.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// What one core does.
pub(super) struct Speed {
    /// Billions of floating-point operations a second, f32 matrix product.
    pub gflops: f64,
    /// Billions of bytes read from memory a second.
    pub gb_per_s: f64,
}

/// Each measurement repeats for so long and counts its best round: other work disturbs only some.
const FOR: Duration = Duration::from_millis(250);
/// Width of the square matrices: three of them stay in a second-level cache of 1 MB.
const WIDTH: usize = 256;
/// Well beyond the caches of common machines.
const MEMORY: usize = 128 << 20;

/// Measures on the calling thread.
pub(super) fn measure() -> Speed {
    let (left, right) = (vec![0.5f32; WIDTH * WIDTH], vec![0.25f32; WIDTH * WIDTH]);
    let mut product = vec![0f32; WIDTH * WIDTH];
    let seconds = best(|| {
        multiply(&mut product, &left, &right);
        black_box(&product);
    });
    let gflops = 2.0 * (WIDTH as f64).powi(3) / seconds / 1e9;

    let memory = vec![1u64; MEMORY / 8];
    let seconds = best(|| {
        // Several sums at once, so that the additions do not wait for each other.
        let mut sums = [0u64; 16];
        for words in memory.chunks_exact(16) {
            sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
        }
        black_box(sums);
    });
    Speed { gflops, gb_per_s: MEMORY as f64 / seconds / 1e9 }
}

/// The shortest of several runs, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < FOR {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn multiply(product: &mut [f32], left: &[f32], right: &[f32]) {
    let step = WIDTH as isize;
    assert!([product.len(), left.len(), right.len()] == [WIDTH * WIDTH; 3]);
    // SAFETY: all three are square matrices of WIDTH rows, stored row by row, as asserted above,
    // and the product overlaps neither factor.
    unsafe {
        gemm::gemm(
            WIDTH,
            WIDTH,
            WIDTH,
            product.as_mut_ptr(),
            1,
            step,
            false,
            left.as_ptr(),
            1,
            step,
            right.as_ptr(),
            1,
            step,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

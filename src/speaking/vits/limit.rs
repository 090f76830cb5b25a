//! What bounds a voice on the CPU: how fast one thread multiplies matrices.
//!
//! In: nothing. Out: operations a second, measured. Runs on the calling thread.

use std::time::Instant;

/// Rows, columns and depth of the product: a convolution of a Piper voice's flow in the large.
const SIZE: [usize; 3] = [384, 480, 576];

/// Floating-point operations a second of the `gemm` crate's matrix product on this thread: the best
/// of several runs, some 50 ms in all.
pub fn gemm_flops() -> f64 {
    let [m, n, k] = SIZE;
    let (a, b, mut c) = (vec![0.5f32; m * k], vec![0.25f32; k * n], vec![0f32; m * n]);
    let flops = 2.0 * (m * n * k) as f64;
    let time = |c: &mut [f32]| {
        let began = Instant::now();
        product(SIZE, (&a, &b), c);
        began.elapsed().as_secs_f64()
    };
    flops / (0..24).map(|_| time(&mut c)).fold(f64::INFINITY, f64::min)
}

/// `c = a · b`, each matrix column by column.
fn product([m, n, k]: [usize; 3], (a, b): (&[f32], &[f32]), c: &mut [f32]) {
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n, "the sizes fit");
    let (columns, rows) = (m as isize, k as isize);
    // SAFETY: the three matrices are as large as their sizes say.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            columns,
            1,
            false,
            a.as_ptr(),
            columns,
            1,
            b.as_ptr(),
            rows,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

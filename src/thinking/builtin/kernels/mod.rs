//! Integer dot products of quantised weights with quantised activations.
//!
//! In: tiles of 16 weight rows and a few token rows. Out: their products, f32. The fastest kernel
//! the processor has is picked when the program runs: AMX, AVX-512 VNNI, AVX2, or plain Rust. Pure
//! arithmetic on borrowed memory; layouts are `packed`'s.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// Weight rows that are computed side by side, one per lane; and token rows of one tile.
pub(super) const LANES: usize = 16;
/// Columns that share one scale.
pub(super) const BLOCK: usize = 32;

/// What the processor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    /// The next one, and byte tiles for many token rows at once.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// 512-bit vectors with byte dot products.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust.
    Portable,
}

impl Isa {
    /// The best of this processor.
    pub(super) fn detect() -> Self {
        Self::available()[0]
    }

    /// Everything this processor can run, the best first.
    pub(super) fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                if amx::available() {
                    found.push(Self::Amx);
                }
                found.push(Self::Avx512Vnni);
            }
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Portable);
        found
    }

    /// The name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "AMX and AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        }
    }
}

/// How the weights of a tile are stored; see `packed` for the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One byte a weight, 128 added.
    Bytes,
    /// Five bits a weight, 16 added.
    Five,
}

impl Format {
    /// Bytes of one block of 16 rows × 32 columns, without its scales.
    pub(super) const fn block_bytes(self) -> usize {
        match self {
            Self::Bytes => LANES * BLOCK,
            Self::Five => LANES * BLOCK / 2 + LANES * BLOCK / 8,
        }
    }
}

/// Sixteen weight rows: `blocks` blocks of payload, and 16 f16 scales a block.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) payload: *const u8,
    pub(super) scales: *const u16,
    pub(super) format: Format,
}

/// Quantised token rows from row `first` on, 16 rows side by side: values `[rows / 16][block][16][32]`,
/// scales and sums `[rows / 16][block][16]`. A sum is that of a block's values times −16 (it takes the
/// weights' offset out again). Memory goes up to a multiple of 16 rows.
#[derive(Clone, Copy)]
pub(super) struct Tokens {
    pub(super) values: *const i8,
    pub(super) scales: *const f32,
    pub(super) sums: *const i32,
    pub(super) blocks: usize,
    pub(super) first: usize,
    pub(super) rows: usize,
}

/// Where the scale and sum of a row's block lie; its values lie at 32 times that.
pub(super) fn block_index(row: usize, block: usize, blocks: usize) -> usize {
    (row / LANES * blocks + block) * LANES + row % LANES
}

impl Tokens {
    /// The same without the first `rows` rows.
    fn skip(self, rows: usize) -> Self {
        Self { first: self.first + rows, rows: self.rows - rows, ..self }
    }

    /// The first row's values, scales and sums. Up to a multiple of 16 rows, those of the next row
    /// follow at 32, 1 and 1, those of the next block at 512, 16 and 16.
    ///
    /// # Safety
    /// The pointers reach as far as the shapes say.
    unsafe fn begin(self) -> (*const i8, *const f32, *const i32) {
        let index = block_index(self.first, 0, self.blocks);
        // SAFETY: within the rows.
        unsafe { (self.values.add(index * BLOCK), self.scales.add(index), self.sums.add(index)) }
    }
}

/// Products of 16 weight rows with all token rows: row `t` goes to `out[t · stride ..][.. 16]`.
///
/// # Safety
/// `isa` is available; the pointers reach as far as the shapes say; `out` is written by nobody else.
pub(super) unsafe fn multiply(
    isa: Isa,
    weights: Weights,
    mut tokens: Tokens,
    mut out: *mut f32,
    stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx && tokens.rows >= amx::WORTH {
        // SAFETY: the caller's promise.
        return unsafe { amx::rows(weights, tokens, out, stride) };
    }
    while tokens.rows > 0 {
        // SAFETY: the caller's promise; each tile takes at most the rows that are left.
        let done = unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Amx | Isa::Avx512Vnni => avx512::tile(weights, tokens, out, stride),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2::tile(weights, tokens, out, stride),
                Isa::Portable => portable::tile(weights, tokens, out),
            }
        };
        tokens = tokens.skip(done);
        // SAFETY: `done` rows of results lie behind us.
        out = unsafe { out.add(done * stride) };
    }
}

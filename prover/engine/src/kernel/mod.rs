//! The inner products, once for each instruction set, and the choice between them.
//!
//! # Layout
//! A matrix is stored in *panels* of [`LANES`] rows: `[k / 2][row in panel][k mod 2]`, zero rows at the end. One multiply-
//! add of 16-bit pairs then works on [`LANES`] output channels at once, activations are broadcast two at a time, and no
//! sum crosses lanes. A *tile* is one panel against up to [`TILE`] activation rows; twelve 256-bit accumulators, two
//! weights and one broadcast fill the sixteen registers of AVX2. Decoding uses the same tiles with one row.
//!
//! # Exactness
//! Tiles add in wrapping 32-bit arithmetic, so their result is right whenever the true sum fits i32, whatever happens in
//! between; who calls a tile says why it does.
//!
//! # Where it was tested
//! All kernels that the processor has are tested against the portable one by the unit tests. NEON has also passed those
//! comparisons in an emulator. AVX-512 is compiled everywhere, but was not run on the machine it was written on.
//!
//! # What was measured
//! AVX2 on a Zen 3 core at 2.4 GHz, weights of 134.5 MB: one row 7.8 ms (17 GB/s: memory is the limit), tiles of 4, 5
//! and 6 rows 64, 67 and 68 G multiply-adds a second. Packing the activations of a tile next to each other gave 72, but
//! costs the packing; widening a panel to 16 bits first gave 45.

use crate::error::EngineError;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
pub(crate) mod packed;
mod scalar;
#[cfg(test)]
mod tests;

/// Rows of a panel.
pub(crate) const LANES: usize = 16;
/// Most activation rows of a tile.
pub(crate) const TILE: usize = 6;
/// How many bytes early tiles of one or two activation rows fetch weights (they wait for memory, while larger ones reuse
/// what they have), and all tiles keys and values. Of 512, 1024, 2048 and 4096, this was the fastest on one and on two threads; see [`crate::arena`].
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 1024;
/// Sums of a tile, `[activation row][panel row]`.
pub(crate) type Sums = [[i32; LANES]; TILE];

/// An instruction set with kernels of its own. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Portable code: the twin that the others are tested against.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 BW.
    Avx512,
    /// x86-64 with AVX-512 BW and VNNI.
    Avx512Vnni,
    /// 64-bit ARM.
    Neon,
}

impl Kernel {
    /// All kernels, slowest first.
    pub const ALL: [Self; 5] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Neon];

    /// Whether this processor runs it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avx512bw"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Those that this processor runs.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|k| k.is_available())
    }

    /// The fastest that this processor runs.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().unwrap_or(Self::Scalar)
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Neon => "neon",
        })
    }
}

/// A kernel that this processor is known to run: the licence to call its functions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Isa(Kernel);

impl Isa {
    /// Checks the processor once; everything after it relies on the type.
    pub(crate) fn check(kernel: Kernel) -> Result<Self, EngineError> {
        if kernel.is_available() { Ok(Self(kernel)) } else { Err(EngineError::KernelUnavailable(kernel)) }
    }

    /// The kernel.
    pub(crate) fn kernel(self) -> Kernel {
        self.0
    }

    /// Whether element-wise code may be compiled for AVX2.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn avx2(self) -> bool {
        matches!(self.0, Kernel::Avx2 | Kernel::Avx512 | Kernel::Avx512Vnni)
    }

    /// Tells the processor that the beginning of `values` is about to be read.
    #[inline]
    pub(crate) fn fetch(self, values: &[i16]) {
        #[cfg(target_arch = "x86_64")]
        for line in values[..values.len().min(AHEAD / 2)].chunks(32) {
            // SAFETY: fetching reads nothing; every x86-64 has the instruction.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast())
            };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = values;
    }

    /// Sums of one panel of int8 weights (`[k / 2][LANES][2]`) with `cols` rows of `x`, `stride` apart.
    ///
    /// # Panics
    /// If the panel is not made of whole pairs, `cols` is not in `1..=TILE`, or `x` is too short.
    #[inline]
    pub(crate) fn tile_i8(self, panel: &[i8], x: &[i16], stride: usize, cols: usize, out: &mut Sums) {
        let pairs = check(panel.len(), x.len(), stride, cols);
        // SAFETY: `check` proves that every read is inside the slices; `self` proves the instruction set.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx2 => avx2::tile_i8(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out),
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx512 => avx512::tile_i8(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out),
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx512Vnni => {
                    avx512::vnni::tile_i8(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out)
                }
                #[cfg(target_arch = "aarch64")]
                Kernel::Neon => neon::tile_i8(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out),
                _ => scalar::tile(panel, x, stride, cols, out),
            }
        }
    }

    /// The same with 16-bit panels: keys and values.
    ///
    /// # Panics
    /// As [`Self::tile_i8`].
    #[inline]
    pub(crate) fn tile_i16(self, panel: &[i16], x: &[i16], stride: usize, cols: usize, out: &mut Sums) {
        let pairs = check(panel.len(), x.len(), stride, cols);
        // SAFETY: as in `tile_i8`.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx2 => avx2::tile_i16(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out),
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx512 => avx512::tile_i16(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out),
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx512Vnni => {
                    avx512::vnni::tile_i16(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out);
                }
                #[cfg(target_arch = "aarch64")]
                Kernel::Neon => neon::tile_i16(panel.as_ptr(), x.as_ptr(), stride, cols, pairs, out),
                _ => scalar::tile(panel, x, stride, cols, out),
            }
        }
    }
}

/// Number of pairs in a panel, after checking that a tile stays inside its slices.
#[inline]
fn check(panel: usize, x: usize, stride: usize, cols: usize) -> usize {
    let pairs = panel / (2 * LANES);
    assert!(panel == pairs * 2 * LANES, "a panel has whole pairs");
    assert!((1..=TILE).contains(&cols), "a tile has 1 to {TILE} activation rows");
    assert!((cols - 1) * stride + 2 * pairs <= x, "the activation rows are too short for the panel");
    pairs
}

//! Every kernel against the portable one.

use monai_model::artefact::{Int8s, Linear};
use monai_model::reference::linear_raw;
use proptest::prelude::*;

use super::packed::{Packed, Place, Raw};
use super::{Isa, Kernel, LANES, Sums, TILE};
use crate::arena::Arena;
use crate::testing::integers;

fn isas() -> Vec<Isa> {
    Kernel::available().map(|k| Isa::check(k).unwrap()).collect()
}

fn narrow<T: TryFrom<i64>>(v: Vec<i64>) -> Vec<T>
where
    T::Error: std::fmt::Debug,
{
    v.into_iter().map(|v| v.try_into().unwrap()).collect()
}

#[test]
fn the_portable_kernel_is_always_there_and_the_best_is_available() {
    assert!(Kernel::available().any(|k| k == Kernel::Scalar));
    assert!(Kernel::best().is_available());
    println!("kernels: {:?}", Kernel::available().collect::<Vec<_>>());
}

proptest! {
    /// Tiles of every width, for both weight types, with the extreme values of both factors; sums may wrap, alike.
    #[test]
    fn tiles_agree_with_the_portable_twin(
        pairs in 1usize..200, cols in 1usize..=TILE, gap in 0usize..5, extreme in any::<bool>(), seed in any::<u64>()
    ) {
        let stride = 2 * pairs + gap;
        let pick = |seed: u64, len: usize, bound: i64| {
            if extreme {
                integers(seed, len, 1).into_iter().map(|s| if s < 0 { -bound } else { bound }).collect()
            } else {
                integers(seed, len, bound)
            }
        };
        let x: Vec<i16> = pick(seed, cols * stride, 32768).into_iter().map(|v| v.min(32767) as i16).collect();
        let w8: Vec<i8> = narrow(pick(seed ^ 1, pairs * 2 * LANES, 127));
        let w16: Vec<i16> =
            pick(seed ^ 2, pairs * 2 * LANES, 32768).into_iter().map(|v| v.min(32767) as i16).collect();
        let scalar = Isa::check(Kernel::Scalar).unwrap();
        let (mut a, mut b): (Sums, Sums) = ([[0; LANES]; TILE], [[0; LANES]; TILE]);
        scalar.tile_i8(&w8, &x, stride, cols, &mut a);
        // The portable twin itself, against plain arithmetic.
        for c in 0..cols {
            for l in 0..LANES {
                let exact: i64 = (0..2 * pairs)
                    .map(|k| i64::from(w8[k / 2 * 2 * LANES + l * 2 + k % 2]) * i64::from(x[c * stride + k]))
                    .sum();
                prop_assert_eq!(a[c][l], exact as i32);
            }
        }
        scalar.tile_i16(&w16, &x, stride, cols, &mut b);
        for isa in isas() {
            let mut out: Sums = [[-1; LANES]; TILE];
            isa.tile_i8(&w8, &x, stride, cols, &mut out);
            prop_assert_eq!(&out[..cols], &a[..cols]);
            isa.tile_i16(&w16, &x, stride, cols, &mut out);
            // The one sum of two products that 32 bits do not hold is 2 * (-2^15)^2; it wraps alike everywhere.
            prop_assert_eq!(&out[..cols], &b[..cols]);
        }
    }

    /// Packed matrices of any height against the reference, with sums in 32 and in 64 bits.
    #[test]
    fn raw_accumulators_are_those_of_the_reference(
        rows in 1usize..70, quads in 1usize..300, cols in 1usize..=TILE, bias in any::<bool>(), extreme in any::<bool>(),
        seed in any::<u64>()
    ) {
        let k = 4 * quads;
        let weight: Vec<i8> = if extreme { vec![127; rows * k] } else { narrow(integers(seed, rows * k, 127)) };
        let x: Vec<i16> = if extreme {
            vec![-32768; cols * k]
        } else {
            narrow(integers(seed ^ 1, cols * k, 32767))
        };
        // 127 * 2^15 * k fits i32 up to k = 516.
        let acc32 = k <= 516 && seed % 2 == 0;
        let m = Linear {
            rows,
            cols: k,
            weight: Int8s::owned(weight),
            multiplier: narrow(integers(seed ^ 2, rows, 1 << 30).into_iter().map(|v| v.abs() + 1).collect()),
            bias: if bias { integers(seed ^ 3, rows, 1 << 40) } else { Vec::new() },
            acc32,
        };
        let expected: Vec<Vec<i64>> = x
            .chunks_exact(k)
            .map(|x| linear_raw(&m, &x.iter().map(|&v| i64::from(v)).collect::<Vec<_>>()))
            .collect();
        let mut arena = Arena::new(Arena::rounded(Packed::bytes(&m))).unwrap();
        for mut place in [Place::Host(&mut arena), Place::Device(&candle_core::Device::Cpu)] {
            let packed = Packed::new(&m, &mut place).unwrap();
            let product = packed.apply(&x, cols).unwrap();
            for isa in isas() {
                for panel in 0..packed.panels {
                    let mut out: Raw = [[0; LANES]; TILE];
                    product.raw(isa, panel, 0, cols, &mut out);
                    let channels = panel * LANES..rows.min((panel + 1) * LANES);
                    for c in 0..cols {
                        prop_assert_eq!(&out[c][..channels.len()], &expected[c][channels.clone()], "row {}", c);
                    }
                }
            }
        }
    }
}

#[test]
fn malformed_matrices_are_refused() {
    let m = |rows: usize, cols: usize, len: usize, multipliers: usize, bias: usize| Linear {
        rows,
        cols,
        weight: Int8s::owned(vec![1; len]),
        multiplier: vec![1; multipliers],
        bias: vec![0; bias],
        acc32: true,
    };
    let mut arena = Arena::new(4096).unwrap();
    let place = &mut Place::Host(&mut arena);
    assert!(Packed::new(&m(2, 8, 16, 2, 0), place).is_ok());
    for bad in [m(2, 6, 12, 2, 0), m(2, 8, 15, 2, 0), m(2, 8, 16, 1, 0), m(2, 8, 16, 2, 1), m(2, 0, 0, 2, 0)]
    {
        assert!(Packed::new(&bad, place).is_err());
    }
}

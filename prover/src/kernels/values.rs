//! Integers as they are kept: slices of one type, and int8 weights with a multiplier for every row.

/// An integer of the witness or of the model.
pub trait Small: Copy + Send + Sync {
    /// `v + BIAS` is not negative and below `2^40` for every value; `None` where there is no such number.
    const BIAS: Option<i64>;

    /// Its value.
    fn wide(self) -> i64;
}

impl Small for i32 {
    const BIAS: Option<i64> = Some(1 << 31);

    #[inline(always)]
    fn wide(self) -> i64 {
        self.into()
    }
}

impl Small for i64 {
    const BIAS: Option<i64> = None;

    #[inline(always)]
    fn wide(self) -> i64 {
        self
    }
}

impl Small for u16 {
    const BIAS: Option<i64> = Some(0);

    #[inline(always)]
    fn wide(self) -> i64 {
        self.into()
    }
}

/// A list of integers.
pub trait Values: Copy + Send + Sync {
    /// As [`Small::BIAS`].
    const BIAS: Option<i64>;

    /// Their number.
    fn count(self) -> usize;

    /// Value `i`.
    fn at(self, i: usize) -> i64;

    /// Values `i` to `i + 7`.
    #[inline(always)]
    fn eight(self, i: usize) -> [i64; 8] {
        std::array::from_fn(|k| self.at(i + k))
    }

    /// `len` values from `start`, or as many as there are.
    #[must_use]
    fn part(self, start: usize, len: usize) -> Self;
}

impl<T: Small> Values for &[T] {
    const BIAS: Option<i64> = T::BIAS;

    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn at(self, i: usize) -> i64 {
        self[i].wide()
    }

    #[inline(always)]
    fn eight(self, i: usize) -> [i64; 8] {
        let some = &self[i..i + 8];
        std::array::from_fn(|k| some[k].wide())
    }

    #[inline(always)]
    fn part(self, start: usize, len: usize) -> Self {
        let rest = self.get(start..).unwrap_or_default();
        &rest[..len.min(rest.len())]
    }
}

/// Int8 weights, `2^row_bits` of them a row, with a multiplier for every row: value `i` is
/// `weights[i] * multipliers[i >> row_bits]`, counted from `first`.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a> {
    weights: &'a [i8],
    multipliers: &'a [i32],
    row_bits: u32,
    first: usize,
    len: usize,
}

impl<'a> Scaled<'a> {
    /// All values; there is one multiplier for every row.
    #[must_use]
    pub fn new(weights: &'a [i8], multipliers: &'a [i32], row_bits: u32) -> Self {
        debug_assert!(weights.len() == multipliers.len() << row_bits);
        Self { weights, multipliers, row_bits, first: 0, len: weights.len() }
    }
}

impl Values for Scaled<'_> {
    /// `|w m| <= 2^7 2^31`.
    const BIAS: Option<i64> = Some(1 << 38);

    #[inline(always)]
    fn count(self) -> usize {
        self.len
    }

    #[inline(always)]
    fn at(self, i: usize) -> i64 {
        let i = self.first + i;
        i64::from(self.weights[i]) * i64::from(self.multipliers[i >> self.row_bits])
    }

    #[inline(always)]
    fn eight(self, i: usize) -> [i64; 8] {
        let i = self.first + i;
        let row = i >> self.row_bits;
        if row != (i + 7) >> self.row_bits {
            return std::array::from_fn(|k| self.at(i - self.first + k));
        }
        let (some, multiplier) = (&self.weights[i..i + 8], i64::from(self.multipliers[row]));
        std::array::from_fn(|k| i64::from(some[k]) * multiplier)
    }

    #[inline(always)]
    fn part(self, start: usize, len: usize) -> Self {
        let start = start.min(self.len);
        Self { first: self.first + start, len: len.min(self.len - start), ..self }
    }
}

//! Whole matrices: gains and channel factors folded in, rows quantised in parallel (each row in a fixed order).

use rayon::prelude::*;

use super::row::{self, Row};
use crate::artefact::{Int8s, Linear};
use crate::error::ModelError;
use crate::source::Part;

/// A matrix in floating point with what is folded into its columns.
pub(crate) struct Source<'a> {
    pub(crate) part: Part,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) values: &'a [f32],
    /// Factor of each input channel; empty for none.
    pub(crate) columns: &'a [f64],
}

impl Source<'_> {
    /// One row with the column factors folded in.
    pub(crate) fn row(&self, n: usize) -> Vec<f64> {
        let row = &self.values[n * self.cols..(n + 1) * self.cols];
        if self.columns.is_empty() {
            row.iter().map(|&v| f64::from(v)).collect()
        } else {
            row.iter().zip(self.columns).map(|(&v, &f)| f64::from(v) * f).collect()
        }
    }

    /// L2 norm of every row.
    pub(crate) fn norms(&self) -> Vec<f64> {
        (0..self.rows)
            .into_par_iter()
            .map(|n| libm::sqrt(self.row(n).iter().fold(0.0, |s, v| s + v * v)))
            .collect()
    }

    /// Quantises every row by `rule`, which gets the row's number and values.
    ///
    /// Returns the matrix (without bias) and the stretch of every row.
    pub(crate) fn quantise(
        &self,
        rule: impl Fn(usize, &[f64]) -> Option<Row> + Sync,
    ) -> Result<(Linear, Vec<f64>), ModelError> {
        let rows: Vec<Option<Row>> = (0..self.rows).into_par_iter().map(|n| rule(n, &self.row(n))).collect();
        let mut weight = Vec::with_capacity(self.rows * self.cols);
        let (mut multiplier, mut stretch) = (Vec::with_capacity(self.rows), Vec::with_capacity(self.rows));
        for (n, row) in rows.into_iter().enumerate() {
            let row = row.ok_or_else(|| ModelError::Tensor {
                tensor: self.part.to_string(),
                reason: format!("row {n} needs a multiplier of more than 31 bits"),
            })?;
            weight.extend_from_slice(&row.weight);
            multiplier.push(row.multiplier);
            stretch.push(row.stretch);
        }
        let linear = Linear {
            rows: self.rows,
            cols: self.cols,
            weight: Int8s::owned(weight),
            multiplier,
            bias: Vec::new(),
            acc32: false,
        };
        Ok((linear, stretch))
    }

    /// [`row::snapped`] for every row, at one unit.
    pub(crate) fn snap(&self, unit: f64) -> Result<Linear, ModelError> {
        Ok(self.quantise(|_, w| row::snapped(w, unit))?.0)
    }
}

/// Integer biases at the real value `unit` of one raw accumulator, each times its channel's `stretch`.
pub(crate) fn biases(part: Part, bias: &[f32], stretch: &[f64], unit: f64) -> Result<Vec<i64>, ModelError> {
    bias.iter()
        .zip(stretch)
        .map(|(&b, &s)| {
            let v = row::round(f64::from(b) * s / unit);
            // Far beyond any bound, far below the limit of exact integers in f64.
            if libm::fabs(v) < (1u64 << 52) as f64 {
                Ok(v as i64)
            } else {
                Err(ModelError::Tensor { tensor: part.to_string(), reason: format!("{b} is too large") })
            }
        })
        .collect()
}

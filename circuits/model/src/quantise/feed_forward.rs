//! gate, up and down.

use super::matrix::Source;
use super::row::{snapped, stretched};
use super::{Constants, MARGIN, Progress, TRIES, vector};
use crate::artefact::Linear;
use crate::bounds::{PRODUCT_LIMIT, RAW16_LIMIT, normed_raw};
use crate::error::ModelError;
use crate::semantics::{LOGIT_BITS, NORM_MAX};
use crate::source::{FloatModel, Part};

/// The gates of all layers, and the real step that they share: one SiLU table serves the whole model.
pub(super) fn gates(
    source: &dyn FloatModel,
    c: &Constants,
    progress: &dyn Progress,
) -> Result<(Vec<Linear>, f64), ModelError> {
    let f = source.arch();
    let (rows, cols) = Part::Gate(0).shape(f);
    let mut bound = f64::MIN_POSITIVE;
    let with = |l: usize, run: &mut dyn FnMut(&Source<'_>) -> Result<(), ModelError>| {
        let gain = vector(source, Part::FfnNorm(l))?;
        let values = source.checked(Part::Gate(l))?;
        run(&Source { part: Part::Gate(l), rows, cols, values: &values, columns: &gain })
    };
    for l in 0..f.layers {
        with(l, &mut |m| {
            bound = m.norms().into_iter().fold(bound, |b, norm| b.max(norm * c.reach));
            Ok(())
        })?;
    }
    let mut step = MARGIN * bound / NORM_MAX as f64;
    for attempt in 0..TRIES {
        let mut gates = Vec::with_capacity(f.layers);
        let mut worst = 0;
        for l in 0..f.layers {
            with(l, &mut |m| {
                let gate = m.quantise(|_, w| snapped(w, libm::scalbn(step, -16) / c.s_norm))?.0;
                worst = normed_raw(&gate).into_iter().fold(worst, u128::max);
                gates.push(gate);
                Ok(())
            })?;
            if attempt == 0 {
                progress.step(&format!("gate of layer {l}"));
            }
        }
        if worst <= RAW16_LIMIT {
            return Ok((gates, step));
        }
        step *= (worst as f64 / RAW16_LIMIT as f64) * 1.0005;
    }
    Err(ModelError::Tensor { tensor: "gate".into(), reason: "no step satisfies its bound".into() })
}

/// up and down of one layer, for a finished gate and the model's SiLU table.
///
/// up's rows are stretched to whole multipliers and down's columns take that back, so snapping costs up nothing.
pub(super) fn quantise(
    source: &dyn FloatModel,
    silu: &[i32],
    gate: &Linear,
    l: usize,
    c: &Constants,
) -> Result<(Linear, Linear), ModelError> {
    let f = source.arch();
    let gain = vector(source, Part::FfnNorm(l))?;
    let values = source.checked(Part::Up(l))?;
    let (rows, cols) = Part::Up(l).shape(f);
    let matrix = Source { part: Part::Up(l), rows, cols, values: &values, columns: &gain };
    let reach = silu_reach(silu, gate);
    // What each product can be, in units of up's real value times 2^-12.
    let products: Vec<f64> =
        matrix.norms().iter().zip(&reach).map(|(n, &s)| n * c.reach * s as f64).collect();
    let largest = products.iter().fold(f64::MIN_POSITIVE, |m, &p| m.max(p));
    let mut unit = MARGIN * largest / PRODUCT_LIMIT as f64;
    for _ in 0..TRIES {
        let most = |n: usize| (PRODUCT_LIMIT as f64 * unit / (MARGIN * products[n])).min(2.0);
        let (up, stretch) = matrix.quantise(|n, w| stretched(w, unit / c.s_norm, most(n)))?;
        let worst =
            normed_raw(&up).into_iter().zip(&reach).map(|(u, &s)| u * u128::from(s)).max().unwrap_or(0);
        if worst <= PRODUCT_LIMIT {
            return Ok((up, down(source, l, unit, &stretch, c)?));
        }
        unit *= (worst as f64 / PRODUCT_LIMIT as f64) * 1.0005;
    }
    Err(ModelError::Tensor { tensor: Part::Up(l).to_string(), reason: "no step satisfies its bound".into() })
}

/// Largest SiLU entry that each gate channel can reach.
fn silu_reach(silu: &[i32], gate: &Linear) -> Vec<u64> {
    let centre = silu.len() / 2;
    let mut maxima = vec![0u64; centre];
    let mut max = 0;
    for (b, m) in maxima.iter_mut().enumerate() {
        max = max
            .max(u64::from(silu[centre + b].unsigned_abs()))
            .max(u64::from(silu[centre - b].unsigned_abs()));
        *m = max;
    }
    let reach = |raw: u128| maxima[(((raw + (1 << 15)) >> 16) as usize).min(centre - 1)];
    normed_raw(gate).into_iter().map(reach).collect()
}

/// down: its input at row exponent `x` has the real step `unit * 2^(5 + x)`.
fn down(
    source: &dyn FloatModel,
    l: usize,
    unit: f64,
    stretch: &[f64],
    c: &Constants,
) -> Result<Linear, ModelError> {
    let (rows, cols) = Part::Down(l).shape(source.arch());
    let values = source.checked(Part::Down(l))?;
    let input = libm::scalbn(unit, 17 - LOGIT_BITS as i32);
    let columns: Vec<f64> = stretch.iter().map(|s| input / s).collect();
    let unit = libm::scalbn(1.0, -32) / c.residual;
    Source { part: Part::Down(l), rows, cols, values: &values, columns: &columns }.snap(unit)
}

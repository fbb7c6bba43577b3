//! Parallel sections over the panels of a matrix.

use super::{ROW_GROUP, panel_width, row_group};
use crate::error::EngineError;
use crate::kernel::packed::{Packed, Raw};
use crate::kernel::{Isa, LANES, TILE};
use crate::pool::{MAX_ITEMS, Pool};

/// Items a thread that a section is cut into: enough to even out threads of different speed, few enough that taking
/// them costs nothing.
const ITEMS_A_THREAD: usize = 8;

/// Panels an item, and items, of a section over `panels` panels and `groups` groups of rows.
fn cut(pool: &Pool, panels: usize, groups: usize) -> (usize, usize) {
    let wanted = (ITEMS_A_THREAD * pool.threads()).div_ceil(groups).max(1);
    let mut each = panels.div_ceil(wanted).max(1);
    while panels.div_ceil(each) * groups > MAX_ITEMS {
        each *= 2;
    }
    (each, panels.div_ceil(each))
}

/// `done(row, first channel, raw accumulators)` for every row of `x` (`[rows, w.cols]`) and panel of `w`.
///
/// # Errors
/// If the device of the matrix fails.
pub(super) fn panels(
    isa: Isa,
    pool: &mut Pool,
    w: &Packed,
    x: &[i16],
    rows: usize,
    done: &(dyn Fn(usize, usize, &[i64]) + Sync),
) -> Result<(), EngineError> {
    if rows == 0 {
        return Ok(());
    }
    let product = w.apply(x, rows)?;
    let groups = rows.div_ceil(ROW_GROUP);
    let (each, items) = cut(pool, w.panels, groups);
    pool.run(items * groups, &|_, item| {
        let (first, count) = row_group(item / items, rows);
        let start = item % items * each;
        let mut raw: Raw = [[0; LANES]; TILE];
        for panel in start..(start + each).min(w.panels) {
            let width = panel_width(w.rows, panel);
            for row in (first..first + count).step_by(TILE) {
                let cols = TILE.min(first + count - row);
                product.raw(isa, panel, row, cols, &mut raw);
                for (c, raw) in raw.iter().enumerate().take(cols) {
                    done(row + c, panel * LANES, &raw[..width]);
                }
            }
        }
    });
    Ok(())
}

/// What receives gate and up: `(row, first channel, channels, gate, up)`.
type PairSink<'a> = dyn Fn(usize, usize, usize, &[i64; LANES], &[i64; LANES]) + Sync + 'a;

/// The same for two matrices of one shape at once.
///
/// # Errors
/// As [`panels`].
pub(super) fn panel_pairs(
    isa: Isa,
    pool: &mut Pool,
    a: &Packed,
    b: &Packed,
    x: &[i16],
    rows: usize,
    done: &PairSink<'_>,
) -> Result<(), EngineError> {
    let (product_a, product_b) = (a.apply(x, rows)?, b.apply(x, rows)?);
    let groups = rows.div_ceil(ROW_GROUP);
    let (each, items) = cut(pool, a.panels, groups);
    pool.run(items * groups, &|_, item| {
        let (first, count) = row_group(item / items, rows);
        let start = item % items * each;
        let (mut raw_a, mut raw_b): (Raw, Raw) = ([[0; LANES]; TILE], [[0; LANES]; TILE]);
        for panel in start..(start + each).min(a.panels) {
            let width = panel_width(a.rows, panel);
            for row in (first..first + count).step_by(TILE) {
                let cols = TILE.min(first + count - row);
                product_a.raw(isa, panel, row, cols, &mut raw_a);
                product_b.raw(isa, panel, row, cols, &mut raw_b);
                for c in 0..cols {
                    done(row + c, panel * LANES, width, &raw_a[c], &raw_b[c]);
                }
            }
        }
    });
    Ok(())
}

//! Queries, keys and values: projection, head norm and RoPE (rule 4), head by head.

use monai_model::artefact::HeadNorm;
use monai_model::semantics as s;

use super::{ROW_GROUP, Row, row_group};
use crate::elementwise as ew;
use crate::error::EngineError;
use crate::kernel::packed::{Product, Raw};
use crate::kernel::{LANES, TILE};
use crate::kv::Table;
use crate::pool::{Pool, Shards};
use crate::program::{MAX_HEAD_DIM, Program};
use crate::trace::LayerSink;

/// What a head of the projection is for.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Key,
    Value,
}

/// Writes the queries of all rows to `q` (`[rows, heads * head_dim]`), keys and values to the tables.
///
/// # Errors
/// If the device of a matrix fails.
#[allow(clippy::too_many_arguments)]
pub(super) fn project(
    program: &Program,
    pool: &mut Pool,
    layer: usize,
    rows: &[Row],
    y: &[i16],
    q: &Shards<i16>,
    tables: &[Table],
    sink: Option<&LayerSink<'_>>,
) -> Result<(), EngineError> {
    let a = &program.model.arch;
    let (packed, source) = (&program.layers[layer], &program.model.layers[layer]);
    let [queries, keys, values] =
        [packed.q.apply(y, rows.len())?, packed.k.apply(y, rows.len())?, packed.v.apply(y, rows.len())?];
    let heads = a.heads + 2 * a.kv_heads;
    let groups = rows.len().div_ceil(ROW_GROUP);
    pool.run(heads * groups, &|_, item| {
        let (first, count) = row_group(item / heads, rows.len());
        // The longer list first: what is left for the end of a section is small.
        let (part, head) = match item % heads {
            i if i < a.heads => (Part::Query, i),
            i if i < a.heads + a.kv_heads => (Part::Key, i - a.heads),
            i => (Part::Value, i - a.heads - a.kv_heads),
        };
        let (w, norm) = match part {
            Part::Query => (&queries, source.q_norm.as_ref()),
            Part::Key => (&keys, source.k_norm.as_ref()),
            Part::Value => (&values, None),
        };
        let mut raw = [[0i64; MAX_HEAD_DIM]; TILE];
        let mut out = [0i16; MAX_HEAD_DIM];
        let out = &mut out[..a.head_dim];
        for row in (first..first + count).step_by(TILE) {
            let cols = TILE.min(first + count - row);
            head_raw(program, w, head, row, cols, &mut raw);
            for (c, raw) in raw.iter_mut().enumerate().take(cols) {
                let Row { position, sequence, .. } = rows[row + c];
                let raw = &mut raw[..a.head_dim];
                match part {
                    Part::Value => ew::to_16(program.isa, raw, out),
                    Part::Query | Part::Key => rotate(program, norm, position, raw, out),
                }
                // SAFETY: this item alone handles this head of these rows, and no row comes twice.
                unsafe {
                    match part {
                        Part::Query => {
                            q.part((row + c) * a.heads * a.head_dim + head * a.head_dim, a.head_dim)
                                .copy_from_slice(out);
                        }
                        Part::Key => tables[sequence].write_key(layer, head, position, out),
                        Part::Value => tables[sequence].write_value(layer, head, position, out),
                    }
                }
                match (sink, part) {
                    (Some(s), Part::Key) => s.key(position, head, out),
                    (Some(s), Part::Value) => s.value(position, head, out),
                    _ => {}
                }
            }
        }
    });
    Ok(())
}

/// Raw accumulators of one head for `cols` rows from `row` on.
fn head_raw(
    program: &Program,
    w: &Product<'_>,
    head: usize,
    row: usize,
    cols: usize,
    raw: &mut [[i64; MAX_HEAD_DIM]; TILE],
) {
    let panels = program.kv.head_dim / LANES;
    let mut tile: Raw = [[0; LANES]; TILE];
    for panel in 0..panels {
        w.raw(program.isa, head * panels + panel, row, cols, &mut tile);
        for (raw, tile) in raw.iter_mut().zip(&tile).take(cols) {
            raw[panel * LANES..(panel + 1) * LANES].copy_from_slice(tile);
        }
    }
}

/// Head norm, where there is one, and RoPE.
fn rotate(program: &Program, norm: Option<&HeadNorm>, position: usize, raw: &mut [i64], out: &mut [i16]) {
    let a = &program.model.arch;
    if let Some(norm) = norm {
        for v in raw.iter_mut() {
            *v = s::r16(*v);
        }
        ew::normalise(program.isa, raw, norm.eps, out);
        for ((v, &y), &g) in raw.iter_mut().zip(out.iter()).zip(&norm.gain) {
            *v = i64::from(g) * i64::from(y);
        }
    }
    let half = a.head_dim / 2;
    let angles = position * half..(position + 1) * half;
    let (cos, sin) = (&program.model.tables.cos[angles.clone()], &program.model.tables.sin[angles]);
    for (i, (&cos, &sin)) in cos.iter().zip(sin).enumerate() {
        let (p, q) = a.pair_order.channels(i, a.head_dim);
        let (x, y) = s::rope_pair(raw[p], raw[q], cos, sin);
        (out[p], out[q]) = (x as i16, y as i16);
    }
}

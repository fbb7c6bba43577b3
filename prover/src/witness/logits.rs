//! The last norm's gain, the logits at output positions, and the integers that show each selection.

use monai_inference::leaf::Remainder;
use monai_inference::shape::Shape;
use monai_inference::statement::SelectionRow;
use monai_inference::tensor::Tensor;
use monai_model::artefact::Model;
use monai_model::semantics as s;
use monai_protocol::{Request, SelectionParams};

use super::store::Witness;
use super::trace::{Blocks, Rows, raw};
use crate::error::ProveError;

pub(super) fn trace(
    model: &Model,
    shape: &Shape,
    request: &Request,
    output: &[u32],
    y: &Rows,
    w: &mut Witness,
) -> Result<(), ProveError> {
    let blocks = Blocks { positions: shape.positions(), width: 64 };
    let mut z: Rows = Vec::with_capacity(y.len());
    for (p, y) in y.iter().enumerate() {
        let mut row = Vec::with_capacity(y.len());
        for (c, (y, g)) in y.iter().zip(&model.final_gain).enumerate() {
            let product = y * i64::from(*g);
            let value = s::r16(product);
            let at = blocks.at(0, p, c);
            w.put16(Tensor::FinalZ, at, value)?;
            w.remainder(Remainder::Final, at, i128::from(product + (1 << 15) - (value << 16)), 16)?;
            row.push(value);
        }
        z.push(row);
    }
    let rows = 1usize << shape.output_bits;
    let first = request.prompt.len() - 1;
    let zero = vec![0i64; z[0].len()];
    let inputs: Rows =
        (0..rows).map(|t| if t < output.len() { z[first + t].clone() } else { zero.clone() }).collect();
    let blocks = Blocks { positions: rows, width: 64 };
    for (t, accumulators) in raw(model.head(), &inputs).iter().enumerate() {
        let row = select(model, &request.params, accumulators, output.get(t).copied());
        let max = i64::from(row.max);
        for v in 0..shape.vocab_blocks * 64 {
            // Padding has zero weights, so its accumulator is 0.
            let a = accumulators.get(v).copied().unwrap_or(0);
            let l = s::logit(request.params.tau, a);
            let at = blocks.at(0, t, v);
            let d = max - l;
            let (lo, hi) = (d & 0xffff, d >> 16);
            if !(-(1 << 16)..1 << 16).contains(&hi) {
                return Err(ProveError::Range { what: "a logit's distance", got: d.into() });
            }
            let far = v >= shape.vocab || hi != 0;
            let delta = i64::from(row.delta);
            w.put(Tensor::LogitLo, at, lo);
            w.put(Tensor::LogitHi, at, hi);
            w.put(Tensor::LogitFar, at, i64::from(far));
            let weight = if far { 0 } else { i64::from(model.tables.weight[lo as usize]) };
            w.put(Tensor::LogitWeight, at, weight);
            w.put(Tensor::Keep, at, i64::from(!far && lo <= delta));
            w.put(Tensor::Below, at, i64::from(!far && lo < delta));
            let rest = i128::from(request.params.tau) * i128::from(a) + (1 << 31) - (i128::from(l) << 32);
            let hi = w.remainder(Remainder::Logit, at, rest, 32)?;
            w.put(Tensor::LogitRemHi, at, hi);
        }
        if t < output.len() {
            w.rows.push(row);
        }
    }
    Ok(())
}

/// The integers of one selection. Rows beyond the answer have none and get zeros.
fn select(
    model: &Model,
    params: &SelectionParams,
    accumulators: &[i64],
    chosen: Option<u32>,
) -> SelectionRow {
    let Some(chosen) = chosen else { return SelectionRow::default() };
    let logits: Vec<i64> = accumulators.iter().map(|a| s::logit(params.tau, *a)).collect();
    let (argmax, max) = logits
        .iter()
        .enumerate()
        .fold((0, i64::MIN), |best, (v, l)| if *l > best.1 { (v, *l) } else { best });
    let weight = |l: i64| -> u64 {
        usize::try_from(max - l).ok().and_then(|d| model.tables.weight.get(d)).map_or(0, |w| u64::from(*w))
    };
    let near = |l: i64| max - l < s::TABLE_LEN as i64;
    let all_weight: u64 = logits.iter().map(|l| weight(*l)).sum();
    let delta = threshold(&logits, max, params, &weight, all_weight);
    let (mut kept, mut below) = (0, 0);
    let (mut kept_weight, mut below_weight, mut prefix_weight, mut chosen_weight) = (0, 0, 0, 0);
    for (v, l) in logits.iter().enumerate().filter(|(_, l)| near(**l)) {
        let (d, w) = (max - l, weight(*l));
        if d <= i64::from(delta) {
            kept += 1;
            kept_weight += w;
            match v.cmp(&(chosen as usize)) {
                std::cmp::Ordering::Less => prefix_weight += w,
                std::cmp::Ordering::Equal => chosen_weight = w,
                std::cmp::Ordering::Greater => {}
            }
        }
        if d < i64::from(delta) {
            below += 1;
            below_weight += w;
        }
    }
    SelectionRow {
        max: max as i32,
        argmax: argmax as u32,
        delta,
        kept,
        below,
        all_weight,
        kept_weight,
        below_weight,
        prefix_weight,
        chosen_weight,
    }
}

/// The largest distance that the three limits allow, by binary search: each limit fails monotonically.
fn threshold(
    logits: &[i64],
    max: i64,
    params: &SelectionParams,
    weight: &impl Fn(i64) -> u64,
    all: u64,
) -> u16 {
    let allowed = |delta: u16| {
        let (mut below, mut mass) = (0u64, 0u64);
        for l in logits.iter().filter(|l| max - **l < i64::from(delta)) {
            below += 1;
            mass += weight(*l);
        }
        u32::from(delta) <= params.delta_min_p
            && (params.top_k == 0 || below < u64::from(params.top_k))
            && u128::from(mass) << 16 < u128::from(params.top_p) * u128::from(all)
    };
    let (mut low, mut high) = (0u32, 1u32 << 16);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if allowed(middle as u16) { low = middle } else { high = middle }
    }
    low as u16
}

//! Selection.

use ark_ff::Zero;
use monai_inference::VerifyError;
use monai_inference::multilinear::eq_range;
use monai_inference::relations::Select;
use monai_inference::shape::BLOCK;
use monai_inference::tensor::Tensor;
use monai_protocol::Fr;

use super::{Sources, lift};

pub(crate) fn select(c: Sources<'_>, sum: &Select) -> Result<Vec<Vec<Fr>>, VerifyError> {
    let shape = &c.s.shape;
    let rows = 1usize << shape.output_bits;
    let len = shape.vocab_blocks * rows * BLOCK;
    let [_, _, g2, g3, _, g5, g6, g7] = sum.powers;
    let mut public = vec![vec![Fr::zero(); len]; 3];
    for (t, eq) in eq_range(&sum.row, 0, c.s.n_out()).into_iter().enumerate() {
        let (chosen, top) = c.s.chosen_and_top(t)?;
        let (linear, kept, before) = (eq * g2, eq * g3, eq * (g3 + g5));
        for block in 0..shape.vocab_blocks {
            for low in 0..BLOCK {
                let (v, at) = (block * BLOCK + low, (block * rows + t) * BLOCK + low);
                public[0][at] = eq;
                public[1][at] = if v == top { linear + eq * g7 } else { linear };
                public[2][at] = match v.cmp(&chosen) {
                    std::cmp::Ordering::Less => before,
                    std::cmp::Ordering::Equal => kept + eq * g6,
                    std::cmp::Ordering::Greater => kept,
                };
            }
        }
    }
    let [e, linear, kept]: [Vec<Fr>; 3] = public.try_into().map_err(|_| VerifyError::Internal("factors"))?;
    let lifted = |t| lift(c.w.slice(t));
    Ok(vec![lifted(Tensor::LogitWeight), lifted(Tensor::Keep), lifted(Tensor::Below), e, linear, kept])
}

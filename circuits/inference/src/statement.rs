//! What is claimed, and all checks of it that need no polynomial: preimages, stop rule, selection inequalities.

use ark_ff::Zero;
use monai_protocol::field::Fr;
use monai_protocol::{Finish, OutputCommitment, Request, RequestCommitment, output_commitment};

use crate::error::{ShapeError, VerifyError};
use crate::field::signed;
use crate::leaf::LeafLayout;
use crate::multilinear::eq_range;
use crate::shape::{MAX_WITNESS_VALUES, ModelHeader, Shape, limited};
use crate::tensor::{Layout, Owner};

/// `WEIGHT[0]`, which no other entry of the registered table has.
pub const TOP_WEIGHT: u64 = (1 << 31) - 1;

/// The public inputs of a proof, besides the model's commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Public {
    /// R.
    pub request: RequestCommitment,
    /// O.
    pub output: OutputCommitment,
    /// Ids of the prompt.
    pub n_in: u32,
    /// Ids of the answer.
    pub n_out: u32,
    /// How it ended.
    pub finish: Finish,
}

/// What R and O commit to. The unwrapped proof shows it to the verifier: it is **not** zero-knowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preimage {
    /// The request.
    pub request: Request,
    /// The ids of the answer.
    pub output: Vec<u32>,
}

/// What a proof shows of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What R and O commit to.
    pub preimage: Preimage,
    /// How each output id was selected.
    pub rows: Vec<SelectionRow>,
}

/// The integers that show how one output id was selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectionRow {
    /// The largest logit.
    pub max: i32,
    /// An id that has it.
    pub argmax: u32,
    /// The threshold.
    pub delta: u16,
    /// `#{d <= delta}`.
    pub kept: u64,
    /// `#{d < delta}`.
    pub below: u64,
    /// Sum of all weights.
    pub all_weight: u64,
    /// `Z`: sum of the weights with `d <= delta`.
    pub kept_weight: u64,
    /// Sum of the weights with `d < delta`.
    pub below_weight: u64,
    /// Sum of the kept weights of all ids before the chosen one.
    pub prefix_weight: u64,
    /// The kept weight of the chosen id.
    pub chosen_weight: u64,
}

impl SelectionRow {
    /// All integers as field elements, in the order in which the transcript absorbs them.
    #[must_use]
    pub fn elements(&self) -> [Fr; 10] {
        [
            signed(self.max.into()),
            Fr::from(self.argmax),
            Fr::from(self.delta),
            Fr::from(self.kept),
            Fr::from(self.below),
            Fr::from(self.all_weight),
            Fr::from(self.kept_weight),
            Fr::from(self.below_weight),
            Fr::from(self.prefix_weight),
            Fr::from(self.chosen_weight),
        ]
    }
}

/// A checked statement in the form that the relations use.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Sizes.
    pub shape: Shape,
    /// The request.
    pub request: Request,
    /// Ids of the answer.
    pub output: Vec<u32>,
    /// Public inputs.
    pub public: Public,
    /// One row an output.
    pub rows: Vec<SelectionRow>,
    /// Places of leaves and table entries.
    pub leaves: LeafLayout,
    /// Places of witness tensors.
    pub witness: Layout,
    /// Places of model tensors.
    pub model: Layout,
}

impl Statement {
    /// Checks all that needs no polynomial, and lays out the rest.
    ///
    /// # Errors
    /// What is outside the shape, does not follow from its preimage, or breaks the stop or the selection rule.
    pub fn new(
        header: &ModelHeader,
        public: &Public,
        preimage: &Preimage,
        rows: &[SelectionRow],
    ) -> Result<Self, VerifyError> {
        let request = &preimage.request;
        let output = &preimage.output;
        request.validate()?;
        if request.model != header.id {
            return Err(VerifyError::Public("model"));
        }
        if request.commitment() != public.request {
            return Err(VerifyError::Public("R"));
        }
        if output_commitment(request.blinding, public.finish, output) != public.output {
            return Err(VerifyError::Public("O"));
        }
        if usize::try_from(public.n_in).ok() != Some(request.prompt.len()) {
            return Err(VerifyError::Public("n_in"));
        }
        if usize::try_from(public.n_out).ok() != Some(output.len()) {
            return Err(VerifyError::Public("n_out"));
        }
        if request.params.tau > header.arch.tau_max {
            return Err(range("tau", request.params.tau.into(), 1, header.arch.tau_max.into()).into());
        }
        let shape = Shape::new(header, request.prompt.len(), output.len())?;
        let most = u64::try_from(shape.vocab).unwrap_or(u64::MAX).saturating_sub(1);
        if let Some(id) = request.prompt.iter().chain(output).find(|id| u64::from(**id) > most) {
            return Err(range("token id", u64::from(*id), 0, most).into());
        }
        stop_rule(header, public.finish, request, output)?;
        if rows.len() != output.len() {
            return Err(VerifyError::Count {
                what: "selection rows",
                got: rows.len(),
                expected: output.len(),
            });
        }
        for (t, row) in rows.iter().enumerate() {
            selection_rule(request, t, row, most)?;
        }
        let witness = Layout::new(Owner::Witness, &shape);
        // Before anything is allocated for this answer.
        limited("values of the answer's tensors", witness.len(), MAX_WITNESS_VALUES)?;
        Ok(Self {
            request: request.clone(),
            output: output.clone(),
            public: *public,
            rows: rows.to_vec(),
            leaves: LeafLayout::new(&shape),
            witness,
            model: Layout::new(Owner::Model, &shape),
            shape,
        })
    }

    /// Ids of the answer.
    #[must_use]
    pub fn n_out(&self) -> usize {
        self.output.len()
    }

    /// The ids that run through the model, position by position: all but the last of the answer.
    pub fn inputs(&self) -> impl Iterator<Item = usize> + '_ {
        let fed = self.output.split_last().map_or(&[][..], |(_, fed)| fed);
        self.request.prompt.iter().chain(fed).map(|id| usize::try_from(*id).unwrap_or(usize::MAX))
    }

    /// The position after which output `t` is chosen.
    #[must_use]
    pub fn position_before(&self, t: usize) -> usize {
        self.request.prompt.len().saturating_sub(1).saturating_add(t)
    }

    /// The id of output `t` and the id shown to have the largest logit.
    ///
    /// # Errors
    /// Where there is no such output.
    pub fn chosen_and_top(&self, t: usize) -> Result<(usize, usize), VerifyError> {
        let internal = VerifyError::Internal("output");
        let (Some(id), Some(row)) = (self.output.get(t), self.rows.get(t)) else { return Err(internal) };
        match (usize::try_from(*id), usize::try_from(row.argmax)) {
            (Ok(id), Ok(top)) => Ok((id, top)),
            _ => Err(internal),
        }
    }

    /// The extension of the thresholds at a row; 0 beyond the last output.
    #[must_use]
    pub fn delta_at(&self, row: &[Fr]) -> Fr {
        self.at_row(row, |r| Fr::from(r.delta))
    }

    /// The extension of the largest logits at a row; 0 beyond the last output.
    #[must_use]
    pub fn max_at(&self, row: &[Fr]) -> Fr {
        self.at_row(row, |r| signed(r.max.into()))
    }

    fn at_row(&self, row: &[Fr], value: impl Fn(&SelectionRow) -> Fr) -> Fr {
        eq_range(row, 0, self.rows.len())
            .iter()
            .zip(&self.rows)
            .fold(Fr::zero(), |acc, (w, r)| acc + value(r) * w)
    }
}

fn range(what: &'static str, got: u64, least: u64, most: u64) -> ShapeError {
    ShapeError::Range { what, got, least, most }
}

/// The answer ends with the first end or stop id, or is as long as the request allows, or was cancelled before either.
///
/// That the requester signed a cancellation is checked by whoever holds the response, not here.
fn stop_rule(
    header: &ModelHeader,
    finish: Finish,
    request: &Request,
    output: &[u32],
) -> Result<(), VerifyError> {
    let ends = |id: &u32| header.eos_ids.contains(id) || request.params.stop_ids.contains(id);
    let Some((last, before)) = output.split_last() else { return Err(VerifyError::Stop("no output")) };
    let most = usize::try_from(request.params.max_tokens).unwrap_or(usize::MAX);
    if output.len() > most {
        return Err(VerifyError::Stop("longer than max_tokens"));
    }
    if before.iter().any(ends) {
        return Err(VerifyError::Stop("goes on after an end id"));
    }
    match finish {
        Finish::Stop if ends(last) => Ok(()),
        Finish::Stop => Err(VerifyError::Stop("stop without an end id")),
        Finish::Length if ends(last) => Err(VerifyError::Stop("length with an end id")),
        Finish::Length if output.len() == most => Ok(()),
        Finish::Length => Err(VerifyError::Stop("shorter than max_tokens")),
        Finish::Cancelled if ends(last) || output.len() == most => {
            Err(VerifyError::Stop("cancelled after its end"))
        }
        Finish::Cancelled => Ok(()),
        Finish::Refused | Finish::Missed | Finish::Busy => Err(VerifyError::Stop("no answer to prove")),
    }
}

/// Rule 8 of the integer model, as inequalities between the shown integers. The sums themselves are proved by
/// [`crate::relations::Select`].
fn selection_rule(request: &Request, t: usize, row: &SelectionRow, most: u64) -> Result<(), VerifyError> {
    let p = &request.params;
    let require = |rule: &'static str, holds: bool| {
        if holds { Ok(()) } else { Err(VerifyError::Selection { row: t, rule }) }
    };
    let rank_allows = |count: u64| p.top_k == 0 || count < u64::from(p.top_k);
    let mass_allows = |mass: u64| {
        u128::from(mass).saturating_mul(1 << 16)
            < u128::from(p.top_p).saturating_mul(u128::from(row.all_weight))
    };
    require("argmax is an id", u64::from(row.argmax) <= most)?;
    require("delta <= delta_min_p", u32::from(row.delta) <= p.delta_min_p)?;
    require("#{d < delta} < top_k", rank_allows(row.below))?;
    require("2^16 w{d < delta} < top_p w{all}", mass_allows(row.below_weight))?;
    let last = u32::from(row.delta) == p.delta_min_p || row.delta == u16::MAX;
    require("delta is the largest", last || !rank_allows(row.kept) || !mass_allows(row.kept_weight))?;
    let position = u64::try_from(request.prompt.len().saturating_add(t)).unwrap_or(u64::MAX);
    let word = u128::from(p.word(position));
    let target = word.saturating_mul(u128::from(row.kept_weight)) >> 64;
    let prefix = u128::from(row.prefix_weight);
    require("no earlier id exceeds the target", prefix <= target)?;
    require("the id exceeds the target", prefix.saturating_add(u128::from(row.chosen_weight)) > target)
}

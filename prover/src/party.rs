//! The proving party: computes each value that the verifier reads.

use std::collections::BTreeMap;

use ark_ff::Zero;
use monai_inference::VerifyError;
use monai_inference::leaf::Remainder;
use monai_inference::multilinear::eq_table;
use monai_inference::party::{Claim, Fingerprint, Party, Query, SumClaim, Tree, TreeClaim};
use monai_inference::relations::{Sum, Summand};
use monai_inference::statement::Statement;
use monai_inference::tensor::Owner;
use monai_inference::transcript::Label;
use monai_protocol::Fr;

use crate::channel::Channel;
use crate::error::ProveError;
use crate::factors::{self, Sources};
use crate::kernels::{Values, fold_low};
use crate::leaves;
use crate::model::{ModelTensors, stored};
use crate::progress::{Progress, Stage, StageTime, Stopwatch, check};
use crate::sumcheck;
use crate::tree::{self, Bottom};
use crate::witness::Witness;

/// The prover's side of every interaction.
pub(crate) struct Prover<'a> {
    /// Which answer of the proof its relations are run for.
    answer: usize,
    pub(crate) sources: Sources<'a>,
    pub(crate) channel: Channel,
    pub(crate) claims: Vec<Claim>,
    /// Values of the last sum's factors at its point.
    ends: Vec<Fr>,
    /// Time spent by kind of interaction.
    pub(crate) spent: BTreeMap<&'static str, StageTime>,
    progress: &'a dyn Progress,
    /// Sums and trees begun, for the progress, and about how many there are.
    begun: usize,
    steps: usize,
}

/// Sums and trees of one answer with every feature; a few more or less are no harm.
const STEPS: usize = 23;

impl<'a> Prover<'a> {
    pub(crate) fn new(
        s: &'a Statement,
        w: &'a Witness,
        m: &'a ModelTensors,
        channel: Channel,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            answer: 0,
            sources: Sources { s, w, m },
            channel,
            claims: Vec::new(),
            ends: Vec::new(),
            spent: BTreeMap::new(),
            progress,
            begun: 0,
            steps: STEPS,
        }
    }

    /// Goes on with the relations of another answer, of `of`.
    pub(crate) fn turn_to(&mut self, answer: usize, of: usize, s: &'a Statement, w: &'a Witness) {
        self.answer = answer;
        self.steps = STEPS * of;
        self.sources = Sources { s, w, m: self.sources.m };
    }

    /// Announces a sum or tree, unless the proof is no longer wanted.
    fn begin(&mut self, name: &'static str) -> Result<Stopwatch, ProveError> {
        check(self.progress)?;
        self.progress.step(Stage::Relations, name, self.begun, self.steps.max(self.begun + 1));
        self.begun += 1;
        Ok(Stopwatch::start())
    }

    fn spend(&mut self, name: &'static str, watch: Stopwatch) {
        let more = watch.read(name);
        let time = self.spent.entry(name).or_insert(StageTime { name, ..StageTime::default() });
        time.wall += more.wall;
        time.cpu += more.cpu;
    }

    fn run<S: Summand + Sync>(&mut self, summand: &S, factors: Vec<Vec<Fr>>, claim: Fr) -> SumClaim {
        let variables = summand.variables(self.sources.s);
        let (end, ends) = sumcheck::prove(summand, factors, variables, claim, &mut self.channel);
        self.ends = ends;
        end
    }
}

/// `sum_u weights[u] T_{start+u}(low)`.
fn evaluate<V: Values>(values: V, low: &[Fr], start: usize, weights: &[Fr]) -> Fr {
    let eq = eq_table(low);
    let units = fold_low(values.part(start << low.len(), weights.len() << low.len()), &eq);
    units.iter().zip(weights).map(|(v, w)| *v * w).sum()
}

impl Party for Prover<'_> {
    type Error = ProveError;

    fn challenge(&mut self, label: Label) -> Fr {
        self.channel.challenge(label)
    }

    fn open(&mut self, query: Query) -> Result<Fr, ProveError> {
        let clock = Stopwatch::start();
        let (low, start, weights) = (&query.low, query.start, &query.weights);
        let value = match query.tensor.owner() {
            Owner::Witness => evaluate(self.sources.w.slice(query.tensor), low, start, weights),
            Owner::Model => {
                stored!(self.sources.m.get(query.tensor), v => evaluate(v, low, start, weights))
            }
        };
        self.channel.send(Label::Opened, value);
        self.claims.push(Claim { answer: self.answer, query, value });
        self.spend("values of committed tensors", clock);
        Ok(value)
    }

    fn remainder(&mut self, r: Remainder, low: &[Fr], weights: &[Fr]) -> Result<Fr, ProveError> {
        let start = Stopwatch::start();
        let values = self.sources.w.remainders.get(&r).map_or(&[][..], Vec::as_slice);
        let value = evaluate(values, low, 0, weights);
        self.channel.send(Label::Remainder, value);
        self.spend("values of remainders", start);
        Ok(value)
    }

    fn sum(&mut self, sum: &Sum, claim: Fr) -> Result<SumClaim, ProveError> {
        let c = self.sources;
        let start = self.begin(sum.name())?;
        let end = match sum {
            Sum::Linear(x) => {
                let (f, head) = factors::linear(c, x);
                let end = self.run(x, f, claim);
                // The head's input at the point, over its own units.
                let place = x
                    .parts
                    .iter()
                    .find(|p| p.matrix == monai_inference::shape::Matrix::Head)
                    .map(|p| p.place);
                let mut value = Fr::zero();
                if let Some(place) = place {
                    let (low, high) = end.point.split_at(place.low);
                    let units =
                        monai_inference::multilinear::eq_range(high, place.start >> place.low, place.units);
                    let eq = eq_table(low);
                    for (unit, w) in head.chunks(eq.len()).zip(units) {
                        value += w * unit.iter().zip(&eq).map(|(a, b)| *a * b).sum::<Fr>();
                    }
                }
                self.ends.push(value);
                end
            }
            Sum::Embed(x) => self.run(x, factors::embed(c, x), claim),
            Sum::Rope(x) => self.run(x, factors::rope(c, x)?, claim),
            Sum::HeadGain(x) => self.run(x, factors::head_gain(c, x), claim),
            Sum::Gated(x) => self.run(x, factors::gated(c, x), claim),
            Sum::FfnRows(x) => self.run(x, factors::ffn_rows(c, x), claim),
            Sum::Down(x) => self.run(x, factors::down(c, x), claim),
            Sum::NormApply(x) => self.run(x, factors::norm_apply(c, x), claim),
            Sum::NormRows(x) => self.run(x, factors::norm_rows(c, x), claim),
            Sum::Squares(x) => self.run(x, factors::squares(c, x), claim),
            Sum::AttnOut(x) => self.run(x, factors::attn_out(c, x), claim),
            Sum::Mix(x) => self.run(x, factors::mix(c, x), claim),
            Sum::SoftRows(x) => self.run(x, factors::soft_rows(c, x), claim),
            Sum::Pointer(x) => self.run(x, factors::pointer(c, x), claim),
            Sum::Score(x) => self.run(x, factors::score(c, x), claim),
            Sum::Gain(x) => self.run(x, factors::gain(c, x), claim),
            Sum::Shift(x) => self.run(x, factors::shift(c, x), claim),
            Sum::Select(x) => self.run(x, factors::select(c, x)?, claim),
        };
        self.spend(sum.name(), start);
        Ok(end)
    }

    fn factor(&mut self, index: usize) -> Result<Fr, ProveError> {
        let value = self.ends.get(index).copied().ok_or(VerifyError::Internal("factor"))?;
        self.channel.send(Label::Factor, value);
        Ok(value)
    }

    fn tree(&mut self, tree: Tree, f: &Fingerprint, variables: usize) -> Result<TreeClaim, ProveError> {
        let name = match tree {
            Tree::Leaves => "fraction tree of the leaves",
            Tree::Tables => "fraction tree of the tables",
        };
        let start = self.begin(name)?;
        let Sources { s, w, m } = self.sources;
        let bottom = match tree {
            Tree::Leaves => Bottom::Units(leaves::leaves(s, w, m, f)?),
            Tree::Tables => Bottom::General(leaves::tables(s, w, m, f)),
        };
        let claim = tree::prove(bottom, variables, &mut self.channel, self.progress)?;
        self.spend(name, start);
        Ok(claim)
    }
}

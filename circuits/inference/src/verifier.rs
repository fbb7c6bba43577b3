//! The verifying party: reads each message from the proof, and absorbs it as it reads.

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use crate::error::VerifyError;
use crate::leaf::Remainder;
use crate::multilinear::less_than;
use crate::party::{Claim, Fingerprint, Party, Query, SumClaim, Tree, TreeClaim};
use crate::relations::Sum;
use crate::statement::Statement;
use crate::sumcheck::{Stripped, round_at};
use crate::transcript::{Label, Transcript};

/// The verifier's side of every interaction. It has messages and a transcript, and never a witness.
#[derive(Debug)]
pub struct Verifier<'a> {
    answer: usize,
    statement: &'a Statement,
    transcript: &'a mut Transcript,
    messages: std::slice::Iter<'a, Fr>,
    claims: Vec<Claim>,
}

impl<'a> Verifier<'a> {
    /// Starts on the messages of a proof, after statements and commitments were absorbed; the first answer comes first.
    #[must_use]
    pub fn new(first: &'a Statement, transcript: &'a mut Transcript, messages: &'a [Fr]) -> Self {
        Self { answer: 0, statement: first, transcript, messages: messages.iter(), claims: Vec::new() }
    }

    /// Goes on with the relations of another answer.
    pub fn turn_to(&mut self, answer: usize, statement: &'a Statement) {
        self.answer = answer;
        self.statement = statement;
    }

    /// The next message, absorbed. There is no other way to a message.
    ///
    /// # Errors
    /// [`VerifyError::Truncated`] at the end.
    pub fn read(&mut self, label: Label) -> Result<Fr, VerifyError> {
        let x = self.messages.next().ok_or(VerifyError::Truncated)?;
        self.transcript.absorb(label, x);
        Ok(*x)
    }

    /// The claims so far, in order.
    pub fn take_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.claims)
    }

    /// Accepts the end of the messages and nothing else.
    ///
    /// # Errors
    /// [`VerifyError::Count`] where messages are left.
    pub fn finish(self) -> Result<(), VerifyError> {
        match self.messages.len() {
            0 => Ok(()),
            got => Err(VerifyError::Count { what: "messages left over", got, expected: 0 }),
        }
    }

    /// One general sumcheck of `variables` rounds.
    ///
    /// # Errors
    /// [`VerifyError::Truncated`].
    pub fn rounds(
        &mut self,
        variables: usize,
        degree: usize,
        mut claim: Fr,
    ) -> Result<SumClaim, VerifyError> {
        let mut point = Vec::with_capacity(variables);
        for _ in 0..variables {
            let mut sent = Vec::with_capacity(degree);
            for _ in 0..degree {
                sent.push(self.read(Label::Round)?);
            }
            let x = self.transcript.challenge(Label::Round);
            claim = round_at(claim, &sent, x)?;
            point.push(x);
        }
        Ok(SumClaim { point, value: claim })
    }
}

impl Party for Verifier<'_> {
    type Error = VerifyError;

    fn challenge(&mut self, label: Label) -> Fr {
        self.transcript.challenge(label)
    }

    fn open(&mut self, query: Query) -> Result<Fr, VerifyError> {
        let value = self.read(Label::Opened)?;
        self.claims.push(Claim { answer: self.answer, query, value });
        Ok(value)
    }

    fn remainder(&mut self, _: Remainder, _: &[Fr], _: &[Fr]) -> Result<Fr, VerifyError> {
        self.read(Label::Remainder)
    }

    fn sum(&mut self, sum: &Sum, claim: Fr) -> Result<SumClaim, VerifyError> {
        self.rounds(sum.variables(self.statement), sum.degree(), claim)
    }

    fn factor(&mut self, _: usize) -> Result<Fr, VerifyError> {
        self.read(Label::Factor)
    }

    fn tree(&mut self, tree: Tree, _: &Fingerprint, variables: usize) -> Result<TreeClaim, VerifyError> {
        let root_numerator = self.read(Label::Root)?;
        let root_denominator = self.read(Label::Root)?;
        let (mut numerator, mut denominator) = (root_numerator, root_denominator);
        let mut point: Vec<Fr> = Vec::with_capacity(variables);
        for layer in 0..variables {
            let merge = self.transcript.challenge(Label::Tree);
            let mut state = Stripped { claim: numerator + merge * denominator, bound: Fr::one() };
            let mut inner = Vec::with_capacity(variables);
            for r in &point {
                let t0 = self.read(Label::Tree)?;
                let leading = self.read(Label::Tree)?;
                let x = self.transcript.challenge(Label::Tree);
                state = state.round(*r, t0, leading, x)?;
                inner.push(x);
            }
            // The children of a node are adjacent: even index first. Numerators of leaves are public and not sent: 1 where
            // there is a leaf, else 0; pairs are whole, as every unit has an even number of values.
            let leaves = tree == Tree::Leaves && layer.saturating_add(1) == variables;
            let (p0, p1) = if leaves {
                let present = less_than(&inner, self.statement.leaves.leaf_len >> 1);
                (present, present)
            } else {
                (self.read(Label::TreeEnd)?, self.read(Label::TreeEnd)?)
            };
            let (q0, q1) = (self.read(Label::TreeEnd)?, self.read(Label::TreeEnd)?);
            if state.claim != state.bound * (p0 * q1 + p1 * q0 + merge * q0 * q1) {
                return Err(VerifyError::Check("a layer of the fraction tree"));
            }
            let x = self.transcript.challenge(Label::Tree);
            numerator = p0 + x * (p1 - p0);
            denominator = q0 + x * (q1 - q0);
            point = std::iter::once(x).chain(inner).collect();
        }
        if variables == 0 && root_denominator.is_zero() {
            return Err(VerifyError::Check("an empty tree"));
        }
        Ok(TreeClaim { root_numerator, root_denominator, point, numerator, denominator })
    }
}

//! The Fiat–Shamir transcript: a duplex sponge over the protocol's Poseidon permutation.
//!
//! Every message of the prover passes through [`Transcript::absorb`] before the first challenge that may depend on it:
//! the verifier can't even read a message without absorbing it (see `verifier.rs`). Labels are not hashed, because the
//! schedule is a function of the public shape, which is absorbed first; they exist so that a test can pin the schedule.

use ark_ff::Zero;
use monai_protocol::field::Fr;
use monai_protocol::hash::{Tag, hash};
use monai_protocol::poseidon::permute;

use crate::commitment::OpeningTranscript;

/// What passes through the transcript; the inventory test pins their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Label {
    /// Version, model, R, O, lengths, finish, shape.
    Statement,
    /// Integers a selection row reveals.
    SelectionRow,
    /// A witness chunk's commitment.
    Chunk,
    /// Challenges of the lookup fingerprint.
    Fingerprint,
    /// Roots of a fraction tree.
    Root,
    /// One round of a fraction tree's sumcheck, or its layer challenges.
    Tree,
    /// Values at the end of a tree layer.
    TreeEnd,
    /// The value of a virtual remainder.
    Remainder,
    /// The claimed value of a committed tensor.
    Opened,
    /// One round of a relation's sumcheck.
    Round,
    /// The final value of a virtual factor, which another relation proves.
    Factor,
    /// A random combination or a random row.
    Batch,
    /// Values of all chunks at the common point.
    ChunkValue,
    /// The opening proof.
    Opening,
}

/// One step of the transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message was absorbed.
    Absorb(Label),
    /// A challenge was drawn.
    Challenge(Label),
}

/// A duplex sponge, rate 2, capacity 1; one permutation for two absorbed elements and a challenge.
///
/// # Soundness
/// The capacity starts as the digest of a tag that no other use of the permutation shares. Drawing a challenge adds the number of
/// elements absorbed since the last permutation, plus one, to the capacity, so different schedules of absorptions lead
/// to different states. The challenge is one rate element; it has no bias, being a field element of a random function.
#[derive(Clone, Debug)]
pub struct Transcript {
    capacity: Fr,
    rate: [Fr; 2],
    filled: u8,
    log: Option<Vec<Step>>,
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

impl Transcript {
    /// An empty transcript.
    #[must_use]
    pub fn new() -> Self {
        // A digest as the initial capacity: no hash of the protocol starts from one.
        Self { capacity: hash(Tag::Transcript, &[]), rate: [Fr::zero(); 2], filled: 0, log: None }
    }

    /// Records every step from here on.
    pub fn record(&mut self) {
        self.log = Some(Vec::new());
    }

    /// The recorded steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.log.as_deref().unwrap_or_default()
    }

    /// Absorbs one element.
    pub fn absorb(&mut self, label: Label, x: &Fr) {
        if let Some(log) = &mut self.log {
            log.push(Step::Absorb(label));
        }
        if self.filled == 2 {
            self.permute();
        }
        let [first, second] = &mut self.rate;
        if self.filled == 0 {
            *first += x;
            self.filled = 1;
        } else {
            *second += x;
            self.filled = 2;
        }
    }

    /// Draws a challenge that depends on all that was absorbed.
    pub fn challenge(&mut self, label: Label) -> Fr {
        if let Some(log) = &mut self.log {
            log.push(Step::Challenge(label));
        }
        self.capacity += Fr::from(u64::from(self.filled).saturating_add(1));
        self.permute();
        let [first, _] = self.rate;
        first
    }

    fn permute(&mut self) {
        let [first, second] = self.rate;
        let [capacity, first, second] = permute([self.capacity, first, second]);
        self.capacity = capacity;
        self.rate = [first, second];
        self.filled = 0;
    }
}

impl OpeningTranscript for Transcript {
    fn absorb_scalar(&mut self, x: &Fr) {
        self.absorb(Label::Opening, x);
    }

    fn challenge(&mut self) -> Fr {
        Self::challenge(self, Label::Opening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_absorbed_element_and_each_draw_changes_the_challenge() {
        let run = |xs: &[u64], draws: usize| {
            let mut t = Transcript::new();
            for x in xs {
                t.absorb(Label::Batch, &Fr::from(*x));
            }
            // Each draw must happen: `next_back` would skip all but one.
            let mut drawn = Fr::zero();
            for _ in 0..draws {
                drawn = t.challenge(Label::Batch);
            }
            drawn
        };
        let all = [run(&[], 1), run(&[0], 1), run(&[0, 0], 1), run(&[0, 0, 0], 1), run(&[1], 1), run(&[], 2)];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }
}

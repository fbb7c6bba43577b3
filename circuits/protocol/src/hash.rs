//! The general hash: a Poseidon sponge whose capacity names the purpose and the length.

use crate::field::Fr;
use crate::poseidon::permute;
use ark_ff::Zero;

/// What a hash is for. The number enters the capacity, so no two purposes share a preimage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Tag {
    /// R.
    Request = 1,
    /// O.
    Output = 2,
    /// Packed token ids.
    Ids = 3,
    /// The sampling word of a position.
    Seed = 4,
    /// The seed of a request that names none.
    DefaultSeed = 5,
    /// The draw of a node.
    Draw = 6,
    /// One step down the sequencer's hash chain.
    Chain = 7,
    /// The salt of O.
    BlindingSalt = 8,
    /// The transcript of an inference proof.
    Transcript = 9,
    /// The digest of an allocation table.
    Table = 10,
    /// The inputs of a draw, as attested by the sequencer.
    DrawContext = 11,
    /// The running hash that a node signs while it streams.
    Running = 12,
    /// The beacon of a devnet epoch. Not random: anyone can compute it at any time.
    InsecureDevnetBeacon = 13,
    /// The speed totals of a batch.
    Speed = 14,
    /// The link of a devnet's or sequencer's chain, from its secret.
    ChainSecret = 15,
    /// Lanes, links and speed totals of a batch.
    Links = 16,
    /// The rollup's state.
    State = 17,
}

/// Hashes `inputs` under `tag`.
///
/// The capacity starts as `tag · 2^64 + len`, never 0, so it can't collide with [`crate::poseidon2`].
/// Pairs of inputs, zero-padded, are added to the rate; a permutation follows each pair and at least
/// one is applied. The length in the capacity makes the padding unambiguous.
#[must_use]
pub fn hash(tag: Tag, inputs: &[Fr]) -> Fr {
    let capacity = (u128::from(tag as u64) << 64) | inputs.len() as u128;
    let mut state = [Fr::from(capacity), Fr::zero(), Fr::zero()];
    if inputs.is_empty() {
        return permute(state)[0];
    }
    for pair in inputs.chunks(2) {
        state[1] += pair[0];
        if let Some(second) = pair.get(1) {
            state[2] += second;
        }
        state = permute(state);
    }
    state[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_and_length_separate() {
        let one = Fr::from(1u64);
        assert_ne!(hash(Tag::Ids, &[one]), hash(Tag::Output, &[one]));
        assert_ne!(hash(Tag::Ids, &[one]), hash(Tag::Ids, &[one, Fr::zero()]));
        assert_ne!(hash(Tag::Ids, &[]), hash(Tag::Ids, &[Fr::zero()]));
    }

    #[test]
    fn two_inputs_are_one_permutation() {
        let cap = Fr::from((3u128 << 64) | 2);
        let (a, b) = (Fr::from(5u64), Fr::from(7u64));
        assert_eq!(hash(Tag::Ids, &[a, b]), permute([cap, a, b])[0]);
    }
}

//! The binary Poseidon tree over a batch's leaves.

use crate::leaf::zero_leaf_hash;
use crate::poseidon::poseidon2;
use crate::types::Digest;
use serde::{Deserialize, Serialize};

/// Deepest tree: 2^24 leaves.
pub const MAX_DEPTH: usize = 24;

/// A tree, padded with zero leaves to a power of two (at least one leaf).
#[derive(Clone, Debug)]
pub struct MerkleTree {
    /// Layers from the leaves up; the last holds the root.
    layers: Vec<Vec<Digest>>,
}

/// The path from a leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// The leaf's index; bit k says on which side the path is at height k.
    pub index: u32,
    /// The sibling at each height, from the leaf up.
    pub siblings: Vec<Digest>,
}

impl MerkleTree {
    /// Builds the tree over leaf hashes.
    #[must_use]
    pub fn new(leaves: &[Digest]) -> Self {
        let mut layer = leaves.to_vec();
        layer.resize(leaves.len().max(1).next_power_of_two(), zero_leaf_hash());
        let mut layers = vec![layer];
        while let Some(last) = layers.last().filter(|l| l.len() > 1) {
            let next = last.chunks_exact(2).map(|p| Digest(poseidon2(p[0].0, p[1].0))).collect();
            layers.push(next);
        }
        Self { layers }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.layers.last().and_then(|l| l.first()).copied().unwrap_or_else(zero_leaf_hash)
    }

    /// The proof of the leaf at `index`; `None` beyond the padded width.
    #[must_use]
    pub fn prove(&self, index: u32) -> Option<InclusionProof> {
        let mut at = index as usize;
        let mut siblings = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            layer.get(at)?;
            if layer.len() > 1 {
                siblings.push(layer[at ^ 1]);
            }
            at /= 2;
        }
        Some(InclusionProof { index, siblings })
    }
}

impl InclusionProof {
    /// The root that this path gives for `leaf`; `None` if the index does not fit the depth or the
    /// path is too deep, so a path has one index only.
    #[must_use]
    pub fn root(&self, leaf: Digest) -> Option<Digest> {
        let depth = self.siblings.len();
        if depth > MAX_DEPTH || u64::from(self.index) >> depth != 0 {
            return None;
        }
        Some(self.siblings.iter().enumerate().fold(leaf, |node, (height, sibling)| {
            if (self.index >> height) & 1 == 0 {
                Digest(poseidon2(node.0, sibling.0))
            } else {
                Digest(poseidon2(sibling.0, node.0))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Fr;

    #[test]
    fn every_leaf_opens_and_no_other_does() {
        for n in [1usize, 2, 3, 5, 8] {
            let leaves: Vec<_> = (0..n).map(|i| Digest(Fr::from(i as u64 + 10))).collect();
            let tree = MerkleTree::new(&leaves);
            for (i, leaf) in leaves.iter().enumerate() {
                let proof = tree.prove(i as u32).unwrap();
                assert_eq!(proof.root(*leaf), Some(tree.root()));
                assert_ne!(proof.root(Digest(Fr::from(1u64))), Some(tree.root()));
                let moved = InclusionProof { index: proof.index ^ 1, ..proof.clone() };
                assert_ne!(moved.root(*leaf), Some(tree.root()));
                let far = InclusionProof { index: proof.index + (1 << proof.siblings.len()), ..proof };
                assert_eq!(far.root(*leaf), None);
            }
            assert!(tree.prove(n.next_power_of_two() as u32).is_none());
        }
    }

    #[test]
    fn padding_is_the_zero_leaf() {
        let a = Digest(Fr::from(3u64));
        let tree = MerkleTree::new(&[a, a, a]);
        assert_eq!(tree.root(), MerkleTree::new(&[a, a, a, zero_leaf_hash()]).root());
    }
}

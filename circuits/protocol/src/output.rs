//! An answer's commitment O, and the running hash that a node signs while it streams.

use crate::field::Fr;
use crate::hash::{Tag, hash};
use crate::ids::{hash_ids, pack_ids};
use crate::types::{Blinding, Digest, Finish, OutputCommitment, RequestCommitment};

/// Output ids between two signed running hashes.
pub const PROGRESS_IDS: usize = 64;

/// O = hash(Output, [salt, n_out, finish, H(ids)]), with salt = hash(BlindingSalt, [blinding]).
///
/// Unsalted, a short answer could be guessed from O. The salt is a hash so that a party may be shown
/// it without the blinding itself.
#[must_use]
pub fn output_commitment(blinding: Blinding, finish: Finish, ids: &[u32]) -> OutputCommitment {
    OutputCommitment(hash(
        Tag::Output,
        &[
            output_salt(blinding),
            Fr::from(ids.len() as u64),
            Fr::from(u64::from(finish.code())),
            hash_ids(ids).0,
        ],
    ))
}

/// The salt of O.
#[must_use]
pub fn output_salt(blinding: Blinding) -> Fr {
    hash(Tag::BlindingSalt, &[Fr::from(blinding.0)])
}

/// The running hash over output ids in whole blocks of [`PROGRESS_IDS`].
///
/// h_0 = hash(Running, [R, salt]), h_{k+1} = hash(Running, [h_k, ids up to the block's end, packed
/// ids of the block]). It starts from R and the salt, so it neither leaks nor transfers.
#[derive(Clone, Debug)]
pub struct RunningHash {
    state: Fr,
    absorbed: u32,
    block: Vec<u32>,
}

impl RunningHash {
    /// Starts for the answer to R.
    #[must_use]
    pub fn new(request: RequestCommitment, blinding: Blinding) -> Self {
        Self {
            state: hash(Tag::Running, &[request.0, output_salt(blinding)]),
            absorbed: 0,
            block: Vec::with_capacity(PROGRESS_IDS),
        }
    }

    /// Adds one id. At the end of a block returns (ids so far, running hash), which the node signs.
    pub fn push(&mut self, id: u32) -> Option<(u32, Digest)> {
        self.block.push(id);
        if self.block.len() < PROGRESS_IDS {
            return None;
        }
        self.absorbed = self.absorbed.saturating_add(PROGRESS_IDS as u32);
        let mut inputs = vec![self.state, Fr::from(self.absorbed)];
        inputs.extend(pack_ids(&self.block));
        self.state = hash(Tag::Running, &inputs);
        self.block.clear();
        Some((self.absorbed, Digest(self.state)))
    }
}

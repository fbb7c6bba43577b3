//! Block headers as L1 hashes them: the proof of a beacon.

use alloy_primitives::{Bytes, keccak256};
use alloy_provider::{Provider as _, RootProvider};
use alloy_rpc_types_eth::BlockId;

use crate::l1::PostError;

/// A block's header.
pub(super) struct Header {
    pub(super) number: u64,
    /// Seconds.
    pub(super) time: u64,
    /// RLP, whose hash is the block's.
    pub(super) rlp: Bytes,
}

/// The canonical header of a number.
pub(super) async fn at(provider: &RootProvider, number: u64) -> Result<Header, PostError> {
    let block = provider
        .get_block(BlockId::number(number))
        .await?
        .ok_or_else(|| PostError::Later(format!("L1 has no block {number} now")))?;
    let rlp = alloy_rlp::encode(&block.header.inner);
    if keccak256(&rlp) != block.header.hash {
        return Err(PostError::Later(format!(
            "the header of block {number} has fields that this version does not know"
        )));
    }
    Ok(Header { number, time: block.header.timestamp, rlp: rlp.into() })
}

/// The first block whose time is not before `time`, and its parent. `None` while there is none, or if that is the first
/// block of the chain.
pub(super) async fn first_not_before(
    provider: &RootProvider,
    time: u64,
    newest: u64,
) -> Result<Option<(Header, Header)>, PostError> {
    let (mut low, mut high) = (0, newest);
    if at(provider, newest).await?.time < time {
        return Ok(None);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if at(provider, middle).await?.time < time {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    match low.checked_sub(1) {
        Some(parent) => Ok(Some((at(provider, low).await?, at(provider, parent).await?))),
        None => Ok(None),
    }
}

//! Keys and values: paged, limited, and shared between sequences that begin with the same ids.

mod cache;
pub(crate) use cache::{BlockId, KvCache, PrefixKey};

use crate::pool::Shards;

/// Positions of a block.
pub(crate) const BLOCK: usize = 64;
/// Positions of a key panel.
const PANEL: usize = crate::kernel::LANES;

/// How keys and values lie in a block, for all layers and heads.
///
/// Both are panels of the tiles in [`crate::kernel`], so that attention runs on the same kernels as the matrices. The
/// keys of a head are panels of 16 positions, `[position / 16][channel / 2][position mod 16][channel mod 2]`; the values
/// are panels of 16 channels, `[channel / 16][position / 2][channel mod 16][position mod 2]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl KvShape {
    /// 16-bit values in a block.
    pub(crate) fn block_len(self) -> usize {
        self.layers * self.kv_heads * 2 * self.part_len()
    }

    /// 16-bit values of the keys (or values) of one head in a block.
    pub(crate) fn part_len(self) -> usize {
        BLOCK * self.head_dim
    }

    fn key_start(self, layer: usize, head: usize) -> usize {
        (layer * self.kv_heads + head) * 2 * self.part_len()
    }

    fn value_start(self, layer: usize, head: usize) -> usize {
        self.key_start(layer, head) + self.part_len()
    }
}

/// The blocks of one sequence during a forward pass.
pub(crate) struct Table {
    shape: KvShape,
    blocks: Vec<Shards<i16>>,
}

impl Table {
    pub(crate) fn new(shape: KvShape, blocks: Vec<Shards<i16>>) -> Self {
        Self { shape, blocks }
    }

    /// Writes the key of one position and head.
    ///
    /// # Safety
    /// Nobody else touches this position, layer and head at the same time.
    pub(crate) unsafe fn write_key(&self, layer: usize, head: usize, position: usize, key: &[i16]) {
        let (block, inner) = (&self.blocks[position / BLOCK], position % BLOCK);
        let start = self.shape.key_start(layer, head) + inner / PANEL * PANEL * self.shape.head_dim;
        for (i, pair) in key.chunks_exact(2).enumerate() {
            // SAFETY: pairs of different positions are disjoint.
            let place = unsafe { block.part(start + (i * PANEL + inner % PANEL) * 2, 2) };
            place.copy_from_slice(pair);
        }
    }

    /// Writes the value of one position and head.
    ///
    /// # Safety
    /// As [`Self::write_key`].
    pub(crate) unsafe fn write_value(&self, layer: usize, head: usize, position: usize, value: &[i16]) {
        let (block, inner) = (&self.blocks[position / BLOCK], position % BLOCK);
        let start = self.shape.value_start(layer, head);
        for (panel, channels) in value.chunks_exact(PANEL).enumerate() {
            for (lane, &v) in channels.iter().enumerate() {
                let at = start + panel * PANEL * BLOCK + (inner / 2 * PANEL + lane) * 2 + inner % 2;
                // SAFETY: entries of different positions are disjoint.
                unsafe { block.part(at, 1)[0] = v };
            }
        }
    }

    /// Keys of one head in one block.
    ///
    /// # Safety
    /// Nobody writes this layer at the same time.
    pub(crate) unsafe fn keys(&self, layer: usize, head: usize, block: usize) -> &[i16] {
        // SAFETY: passed on.
        unsafe { self.blocks[block].read(self.shape.key_start(layer, head), self.shape.part_len()) }
    }

    /// Values of one head in one block.
    ///
    /// # Safety
    /// As [`Self::keys`].
    pub(crate) unsafe fn values(&self, layer: usize, head: usize, block: usize) -> &[i16] {
        // SAFETY: passed on.
        unsafe { self.blocks[block].read(self.shape.value_start(layer, head), self.shape.part_len()) }
    }
}

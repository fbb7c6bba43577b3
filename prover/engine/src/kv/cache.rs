//! The pool of blocks: counted references, contents found by hash, least recently used ones given up first.

use std::collections::{BTreeMap, HashMap};

use super::{BLOCK, KvShape, Table};
use crate::arena::{Arena, Region};
use crate::error::EngineError;

/// A block of the pool.
pub(crate) type BlockId = usize;

/// Names the ids of a block and of all blocks before it, within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PrefixKey([u8; 32]);

impl PrefixKey {
    /// The empty prefix of a scope.
    pub(crate) fn root(scope: u64) -> Self {
        Self(*blake3::hash(&scope.to_le_bytes()).as_bytes())
    }

    /// The prefix that is one block longer.
    pub(crate) fn extend(self, ids: &[u32]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        ids.iter().for_each(|id| {
            hasher.update(&id.to_le_bytes());
        });
        Self(*hasher.finalize().as_bytes())
    }
}

#[derive(Debug)]
struct Block {
    data: Region,
    /// Sequences that hold it.
    references: usize,
    /// What it holds, where it is full and can be found.
    key: Option<PrefixKey>,
    /// Its place in `idle`, where nobody holds it.
    idle_since: u64,
}

/// All blocks of an engine. Memory is taken from the system when first needed and never beyond the limit.
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: KvShape,
    arena: Arena,
    limit: usize,
    reuse: bool,
    blocks: Vec<Block>,
    /// Blocks without contents worth keeping.
    free: Vec<BlockId>,
    /// Blocks that nobody holds but that may be found again, least recently used first.
    idle: BTreeMap<u64, BlockId>,
    found: HashMap<PrefixKey, BlockId>,
    clock: u64,
}

impl KvCache {
    /// A pool of at most `bytes` bytes. Without `reuse` no prefix is ever found.
    ///
    /// # Errors
    /// If the system does not give the addresses for so much memory.
    pub(crate) fn new(shape: KvShape, bytes: usize, reuse: bool) -> Result<Self, EngineError> {
        let block = Arena::rounded(shape.block_len() * 2);
        let limit = bytes / block;
        Ok(Self {
            shape,
            arena: Arena::new(limit * block)?,
            limit,
            reuse,
            blocks: Vec::new(),
            free: Vec::new(),
            idle: BTreeMap::new(),
            found: HashMap::new(),
            clock: 0,
        })
    }

    /// Blocks that a sequence of `positions` takes.
    pub(crate) fn blocks_for(positions: usize) -> usize {
        positions.div_ceil(BLOCK)
    }

    /// Blocks within the limit.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Blocks that sequences hold.
    pub(crate) fn held(&self) -> usize {
        self.blocks.len() - self.free.len() - self.idle.len()
    }

    /// Bytes of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        self.shape.block_len() * 2
    }

    /// Bytes taken from the system.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len() * self.block_bytes()
    }

    /// Blocks that [`Self::allocate`] could still give.
    pub(crate) fn available(&self) -> usize {
        self.limit - self.held()
    }

    /// The blocks of the longest cached prefix of `ids` with at most `most` positions, now held by the caller.
    pub(crate) fn find(&mut self, scope: u64, ids: &[u32], most: usize) -> Vec<(BlockId, PrefixKey)> {
        let mut key = PrefixKey::root(scope);
        let mut held = Vec::new();
        for ids in ids.chunks_exact(BLOCK).take(most / BLOCK) {
            key = key.extend(ids);
            let Some(&id) = self.found.get(&key) else { break };
            let block = &mut self.blocks[id];
            if block.references == 0 {
                self.idle.remove(&block.idle_since);
            }
            block.references += 1;
            held.push((id, key));
        }
        held
    }

    /// A block with undefined contents, held by the caller; `None` where all are held.
    pub(crate) fn allocate(&mut self) -> Option<BlockId> {
        let id = if let Some(id) = self.free.pop() {
            id
        } else if self.blocks.len() < self.limit {
            let data = self.arena.take(self.shape.block_len() * 2);
            self.blocks.push(Block { data, references: 0, key: None, idle_since: 0 });
            self.blocks.len() - 1
        } else {
            let (_, id) = self.idle.pop_first()?;
            if let Some(key) = self.blocks[id].key.take() {
                self.found.remove(&key);
            }
            id
        };
        self.blocks[id].references = 1;
        Some(id)
    }

    /// Makes a full block findable. The caller promises that its contents are those of `key`.
    pub(crate) fn seal(&mut self, id: BlockId, key: PrefixKey) {
        // Two sequences may compute the same block at the same time; the second stays private.
        if self.reuse && self.blocks[id].key.is_none() && !self.found.contains_key(&key) {
            self.blocks[id].key = Some(key);
            self.found.insert(key, id);
        }
    }

    /// Gives up the blocks of a sequence, in the sequence's order.
    pub(crate) fn release(&mut self, blocks: &[BlockId]) {
        // From the last to the first, so that the tail of a prefix is forgotten before its beginning.
        for &id in blocks.iter().rev() {
            let block = &mut self.blocks[id];
            block.references -= 1;
            if block.references > 0 {
                continue;
            }
            if block.key.is_some() {
                self.clock += 1;
                block.idle_since = self.clock;
                self.idle.insert(self.clock, id);
            } else {
                self.free.push(id);
            }
        }
    }

    /// The blocks of a sequence for a forward pass. The passes of one cache must not overlap, and may write only
    /// positions in blocks that one sequence holds alone.
    pub(crate) fn table(&mut self, blocks: &[BlockId]) -> Table {
        Table::new(self.shape, blocks.iter().map(|&id| self.blocks[id].data.shards()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape { layers: 1, kv_heads: 1, head_dim: 16 };

    fn cache(blocks: usize) -> KvCache {
        KvCache::new(SHAPE, blocks * SHAPE.block_len() * 2, true).unwrap()
    }

    /// Allocates and seals the blocks of `ids`.
    fn fill(cache: &mut KvCache, scope: u64, ids: &[u32]) -> Vec<BlockId> {
        let mut key = PrefixKey::root(scope);
        ids.chunks_exact(BLOCK)
            .map(|ids| {
                key = key.extend(ids);
                let id = cache.allocate().unwrap();
                cache.seal(id, key);
                id
            })
            .collect()
    }

    #[test]
    fn a_prefix_is_found_in_its_scope_only() {
        let mut c = cache(8);
        let ids: Vec<u32> = (0..200).collect();
        let held = fill(&mut c, 7, &ids);
        assert_eq!(held.len(), 3);
        c.release(&held);
        let blocks =
            |found: Vec<(BlockId, PrefixKey)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert!(c.find(8, &ids, 200).is_empty(), "another scope");
        assert_eq!(blocks(c.find(7, &ids, 127)), held[..1], "at most `most` positions");
        let mut other = ids.clone();
        other[64] = 9;
        assert_eq!(blocks(c.find(7, &other, 200)), held[..1], "the second block differs");
        assert_eq!(blocks(c.find(7, &ids, 200)), held);
        assert_eq!(c.held(), 3);
    }

    #[test]
    fn the_limit_holds_and_the_tail_of_the_oldest_prefix_goes_first() {
        let mut c = cache(4);
        let (old, new): (Vec<u32>, Vec<u32>) = ((0..128).collect(), (1000..1128).collect());
        let held = fill(&mut c, 0, &old);
        c.release(&held);
        let held = fill(&mut c, 0, &new);
        c.release(&held);
        assert_eq!(c.available(), 4);
        let fresh = c.allocate().unwrap();
        assert_eq!(c.find(0, &old, 128).len(), 1, "its tail went");
        assert_eq!(c.find(0, &new, 128).len(), 2);
        assert!(c.allocate().is_none(), "one fresh block, three found ones: all four are held");
        assert_eq!(c.available(), 0);
        c.release(&[fresh]);
        assert_eq!(c.allocate(), Some(fresh));
    }

    #[test]
    fn a_block_held_twice_stays_until_both_let_go() {
        let mut c = cache(1);
        let ids: Vec<u32> = (0..64).collect();
        let held = fill(&mut c, 0, &ids);
        let again = c.find(0, &ids, 64);
        c.release(&held);
        assert!(c.allocate().is_none());
        c.release(&[again[0].0]);
        assert!(c.allocate().is_some());
    }

    #[test]
    fn without_reuse_nothing_is_found() {
        let mut c = KvCache::new(SHAPE, 4 * SHAPE.block_len() * 2, false).unwrap();
        let ids: Vec<u32> = (0..64).collect();
        let held = fill(&mut c, 0, &ids);
        c.release(&held);
        assert!(c.find(0, &ids, 64).is_empty());
    }
}

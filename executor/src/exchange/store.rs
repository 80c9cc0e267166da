//! The sealed blocks that an executor holds, by identity, and their share of its memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use faisca_planner::ids::{BlockId, QueryId};

use super::SealedBlock;

/// Fraction of the memory pool that sealed blocks may hold; the rest is for running operators.
const BLOCK_SHARE: f64 = 0.4;

/// The memory that sealed blocks share. Once it is exhausted, further blocks are sealed to disk.
#[derive(Debug)]
pub struct BlockMemory {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl BlockMemory {
    /// Creates the share of a pool of `pool_bytes`; `None` is a pool without limit.
    #[must_use]
    pub fn new(pool_bytes: Option<u64>) -> Self {
        let bytes_max =
            pool_bytes.map_or(usize::MAX, |bytes| (bytes as f64 * BLOCK_SHARE) as usize);
        Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
        }
    }

    /// Takes `bytes` until the returned share is dropped; `None` if they are not available.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<BlockShare> {
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let used = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        used.is_ok().then(|| BlockShare {
            memory: Arc::clone(self),
            bytes,
        })
    }
}

/// Bytes taken from [`BlockMemory`]. Dropping it returns them.
#[derive(Debug)]
pub(super) struct BlockShare {
    memory: Arc<BlockMemory>,
    bytes: usize,
}

impl Drop for BlockShare {
    fn drop(&mut self) {
        self.memory.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The sealed blocks of running queries.
#[derive(Debug, Default)]
pub struct BlockStore {
    /// Guards only the map: no I/O, decoding or await happens under the lock.
    blocks: parking_lot::Mutex<HashMap<BlockId, Arc<SealedBlock>>>,
}

impl BlockStore {
    /// Adds a block, which stays until it is removed or its query is released.
    pub fn put(&self, id: BlockId, block: SealedBlock) {
        self.with_blocks(|blocks| blocks.insert(id, Arc::new(block)));
    }

    /// Returns a block; `None` if this executor does not hold it.
    #[must_use]
    pub fn get(&self, id: BlockId) -> Option<Arc<SealedBlock>> {
        self.with_blocks(|blocks| blocks.get(&id).cloned())
    }

    /// Removes a block. Readers that have it already can finish.
    pub fn remove(&self, id: BlockId) {
        self.with_blocks(|blocks| blocks.remove(&id));
    }

    /// Removes the blocks of a query.
    pub fn release(&self, query: QueryId) {
        self.with_blocks(|blocks| blocks.retain(|id, _| id.task.query != query));
    }

    /// Returns the number of blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with_blocks(|blocks| blocks.len())
    }

    /// Whether the store has no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with_blocks<T>(&self, f: impl FnOnce(&mut HashMap<BlockId, Arc<SealedBlock>>) -> T) -> T {
        let mut blocks = self.blocks.lock();
        f(&mut blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_take_their_share_of_the_pool_and_return_it() {
        let memory = Arc::new(BlockMemory::new(Some(1000)));
        let share = memory.take(300);
        assert!(share.is_some());
        assert!(memory.take(101).is_none(), "more than 40 % of the pool");
        drop(share);
        assert!(memory.take(400).is_some());
        assert!(Arc::new(BlockMemory::new(None)).take(1 << 40).is_some());
    }
}

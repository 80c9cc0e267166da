//! The blocks that this executor holds, by identity.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use faisca_planner::ids::{BlockId, QueryId};

use super::SealedBlock;

/// Part of a memory pool that sealed blocks may keep; the rest is for operators at work.
const BLOCK_SHARE: f64 = 0.4;

/// What sealed blocks may hold in memory. Once that is taken, further blocks go to disk when sealed.
#[derive(Debug)]
pub struct BlockMemory {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl BlockMemory {
    /// For a pool of that size; `None` is without limit.
    #[must_use]
    pub fn new(pool_bytes: Option<u64>) -> Self {
        let bytes_max =
            pool_bytes.map_or(usize::MAX, |bytes| (bytes as f64 * BLOCK_SHARE) as usize);
        Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
        }
    }

    /// Takes so many bytes until the share is dropped; `None` if they are not there.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<BlockShare> {
        let add = |taken: usize| {
            taken
                .checked_add(bytes)
                .filter(|sum| *sum <= self.bytes_max)
        };
        let taken = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.is_ok().then(|| BlockShare {
            memory: Arc::clone(self),
            bytes,
        })
    }
}

/// Gives its bytes back when dropped.
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

/// Sealed blocks of running statements. Cheap to share.
#[derive(Debug, Default)]
pub struct BlockStore {
    /// Guards only the map: nothing is awaited, read or decoded under it.
    blocks: std::sync::Mutex<HashMap<BlockId, Arc<SealedBlock>>>,
}

impl BlockStore {
    /// Keeps a block until its statement is released.
    pub fn put(&self, id: BlockId, block: SealedBlock) {
        self.with(|blocks| blocks.insert(id, Arc::new(block)));
    }

    /// A block, if this executor holds it.
    #[must_use]
    pub fn get(&self, id: BlockId) -> Option<Arc<SealedBlock>> {
        self.with(|blocks| blocks.get(&id).cloned())
    }

    /// Forgets one block. Readers that have it keep it.
    pub fn remove(&self, id: BlockId) {
        self.with(|blocks| blocks.remove(&id));
    }

    /// Forgets a statement's blocks.
    pub fn release(&self, query: QueryId) {
        self.with(|blocks| blocks.retain(|id, _| id.task.query != query));
    }

    /// Number of blocks held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|blocks| blocks.len())
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<BlockId, Arc<SealedBlock>>) -> T) -> T {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut blocks)
    }
}

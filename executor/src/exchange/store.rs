//! The blocks that this executor holds, by identity.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use faisca_planner::ids::{BlockId, QueryId};

use super::SealedBlock;

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

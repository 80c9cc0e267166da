//! Moves blocks away from executors that drain, so that nothing finished is recomputed.
//!
//! ```text
//!   Event::Draining ──► Action::HandOver to the object store, or else to executors in turns
//!                            │
//!   Event::HandedOver ◄──────┘  one for each block
//!     to: Some ──► the block has a new home; running consumers may still read the old one
//!     to: None ──► the block is lost: its task runs again, while the executor still serves others
//! ```
//!
//! An executor is dismissed once nothing runs on it, no transfer is outstanding and no attempt
//! reads from it.

use faisca_planner::ids::{BlockId, ExecutorId, TaskId};

use super::{Action, BlockHome, Scheduler};

/// Where draining executors copy their blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandoverTarget {
    /// To the memory and disks of other executors.
    #[default]
    Executors,
    /// To an object store.
    ObjectStore,
}

impl Scheduler {
    /// Starts the transfer of all blocks on draining executors that are needed and not in transfer
    /// yet.
    pub(super) fn hand_over_all(&mut self) {
        for id in self.executors.draining() {
            self.hand_over(id);
        }
    }

    pub(super) fn hand_over(&mut self, from: ExecutorId) {
        let Some(state) = self.executors.get(from) else {
            return;
        };
        let home = BlockHome::Executor(from);
        let needed = |task: &TaskId| self.queries.get(&task.query)?.needed_block(*task, home);
        let blocks = state.held.iter().filter_map(needed);
        let blocks = blocks.filter(|block| !state.in_transfer.contains(block));
        let (durable, blocks): (Vec<BlockId>, Vec<BlockId>) = blocks.partition(|block| {
            let query = self.queries.get(&block.task.query);
            query.is_some_and(|query| query.has_durable_copy(*block, home))
        });
        for block in durable {
            self.end_hand_over(block, from, Some(BlockHome::ObjectStore));
        }
        if blocks.is_empty() {
            return;
        }
        self.handovers += 1;
        let heir = match self.handover_target {
            HandoverTarget::ObjectStore => Some(BlockHome::ObjectStore),
            HandoverTarget::Executors => {
                let heir = self.executors.heir(from, self.handovers);
                heir.map(BlockHome::Executor)
            }
        };
        // Without an heir the blocks stay until an executor comes up or the draining one is lost.
        let Some(to) = heir else { return };
        self.executors.begin_transfer(from, &blocks);
        self.actions.push(Action::HandOver {
            from,
            to,
            address: self.executors.address(to),
            blocks,
        });
    }

    pub(super) fn end_hand_over(
        &mut self,
        block: BlockId,
        from: ExecutorId,
        to: Option<BlockHome>,
    ) {
        self.executors.end_transfer(from, block);
        let Some(query) = self.queries.get_mut(&block.task.query) else {
            return;
        };
        let home = BlockHome::Executor(from);
        let is_alive = |to: &BlockHome| match *to {
            BlockHome::Executor(id) => self.executors.contains(id),
            BlockHome::ObjectStore => true,
        };
        match to.filter(is_alive) {
            Some(to) if query.relocate(block, home, to) => {
                let consumers = query.consumers(block.task.stage);
                self.executors.remove_block(home, block.task);
                self.executors.add_block(to, block.task);
                self.executors
                    .keep_for_readers(from, &consumers, block.task.query);
            }
            // The result was withdrawn or relocated meanwhile.
            Some(_) => {}
            None => self.block_lost(block, home),
        }
        self.advance(block.task.query);
    }
}

//! Where the committed output of a query is stored, and what a task reads of it.

use std::ops::Range;
use std::sync::Arc;

use faisca_executor::protocol::{BlockLocation, StageBlocks};
use faisca_planner::ids::{Attempt, BlockId, ExecutorId, StageId, TaskId};
use faisca_planner::stages::PartitionSplit;

use super::{QueryPhase, QueryState, count};
use crate::scheduler::executors::Executors;
use crate::scheduler::stage::StageState;
use crate::scheduler::task::{CommittedBlock, TaskState};
use crate::scheduler::{BlockHome, InputReads, OutputKind, StageInput};

impl QueryState {
    /// Returns the blocks that a task reads, for each input of its stage.
    pub(super) fn task_inputs(
        &mut self,
        stage: StageId,
        range: &Range<u32>,
        split: Option<PartitionSplit>,
        executors: &Executors,
    ) -> Vec<StageBlocks> {
        let inputs = self.stages[stage.index()].info.inputs.clone();
        let mut read = |input: StageInput| {
            let blocks = self.blocks(input.stage, executors);
            let producer = &self.stages[input.stage.index()];
            let split = split.filter(|split| split.input == input.stage);
            stage_blocks(producer, input, blocks, range, split)
        };
        inputs.into_iter().map(&mut read).collect()
    }

    /// Returns the locations of a stage's output, ordered by partition.
    pub(super) fn blocks(
        &mut self,
        stage: StageId,
        executors: &Executors,
    ) -> Arc<Vec<BlockLocation>> {
        let state = &self.stages[stage.index()];
        if let Some(known) = &state.blocks {
            return Arc::clone(known);
        }
        let has_own_partitions = state.info.output == OutputKind::Partitions;
        let mut located = vec![];
        for (index, task) in (0..).zip(&state.tasks) {
            let Some(committed) = task
                .committed()
                .filter(|c| c.block != CommittedBlock::Empty)
            else {
                continue;
            };
            let block = BlockId {
                task: self.task_id(stage, index),
                attempt: committed.attempt,
            };
            let location = BlockLocation {
                block,
                home: committed.home,
                address: executors.address(committed.home),
                partitions: if has_own_partitions {
                    task.range().collect()
                } else {
                    vec![]
                },
            };
            located.push((task.first, location));
        }
        // The second half of a split task is the last of the tasks, but not of the partitions.
        located.sort_by_key(|(first, _)| *first);
        let blocks = Arc::new(located.into_iter().map(|(_, location)| location).collect());
        self.stages[stage.index()].blocks = Some(Arc::clone(&blocks));
        blocks
    }

    /// Returns the committed block of a task, if it is stored there and still needed.
    pub(in crate::scheduler) fn needed_block(
        &self,
        id: TaskId,
        home: BlockHome,
    ) -> Option<BlockId> {
        let committed = self.task(id)?.committed().filter(|c| c.home == home)?;
        let is_needed = self.phase != QueryPhase::Ended
            && committed.block != CommittedBlock::Empty
            && self.is_output_needed(id.stage);
        is_needed.then_some(BlockId {
            task: id,
            attempt: committed.attempt,
        })
    }

    /// Returns the needed blocks of a stage that are stored there.
    pub(in crate::scheduler) fn needed_blocks(
        &self,
        stage: StageId,
        home: BlockHome,
    ) -> Vec<BlockId> {
        let tasks = self.stage(stage).map_or(0, |s| count(s.tasks.len()));
        (0..tasks)
            .filter_map(|index| self.needed_block(self.task_id(stage, index), home))
            .collect()
    }

    /// Returns whether a stage's output will be read: by the reader of the result, or by a consumer
    /// that is not complete.
    pub(super) fn is_output_needed(&self, stage: StageId) -> bool {
        let is_last = stage.index() + 1 == self.stages.len();
        let mut consumers = self.consumers(stage).into_iter();
        is_last || consumers.any(|consumer| !self.stages[consumer.index()].is_complete())
    }

    /// Records that a block has a copy in the object store.
    pub(in crate::scheduler) fn set_durable(&mut self, block: BlockId, executor: ExecutorId) {
        let task = self.task_mut(block.task);
        if let Some(committed) = task.and_then(TaskState::committed_mut)
            && committed.is_at(block.attempt, BlockHome::Executor(executor))
            && committed.block == CommittedBlock::Single
        {
            committed.block = CommittedBlock::Durable;
        }
    }

    /// Returns whether a committed block of that executor has a copy in the object store.
    pub(in crate::scheduler) fn has_durable_copy(&self, block: BlockId, home: BlockHome) -> bool {
        let committed = self.task(block.task).and_then(TaskState::committed);
        home != BlockHome::ObjectStore
            && committed
                .is_some_and(|c| c.block == CommittedBlock::Durable && c.is_at(block.attempt, home))
    }

    /// Records a relocated block. Returns whether it is the committed block of its task.
    pub(in crate::scheduler) fn relocate(
        &mut self,
        block: BlockId,
        from: BlockHome,
        to: BlockHome,
    ) -> bool {
        let Some(stage) = self.stages.get_mut(block.task.stage.index()) else {
            return false;
        };
        let task = stage.tasks.get_mut(block.task.index as usize);
        let committed = task.and_then(TaskState::committed_mut);
        let Some(committed) = committed.filter(|c| c.is_at(block.attempt, from)) else {
            return false;
        };
        committed.home = to;
        stage.blocks = None;
        true
    }

    /// Records that an executor was lost that may have left objects in the object store.
    pub(in crate::scheduler) fn note_lost_executor(&mut self) {
        self.has_lost_executor = true;
    }

    /// Returns the blocks of all attempts if a lost executor may have left some in the object
    /// store.
    pub(in crate::scheduler) fn blocks_to_sweep(&self) -> Option<Vec<BlockId>> {
        let stages = self.stage_ids().zip(&self.stages);
        let with_blocks = stages.filter(|(_, stage)| stage.info.sink().is_none());
        let tasks =
            with_blocks.flat_map(|(id, stage)| (0..).zip(&stage.tasks).map(move |t| (id, t)));
        let blocks = tasks.flat_map(|(stage, (index, task))| {
            let task_id = self.task_id(stage, index);
            (1..=task.attempts).map(move |attempt| BlockId {
                task: task_id,
                attempt: Attempt(attempt),
            })
        });
        self.has_lost_executor.then(|| blocks.collect())
    }
}

/// The blocks that a task reads of one producer: all of them, or its part of a divided input.
fn stage_blocks(
    producer: &StageState,
    input: StageInput,
    blocks: Arc<Vec<BlockLocation>>,
    range: &Range<u32>,
    split: Option<PartitionSplit>,
) -> StageBlocks {
    let sizes = &producer.partition_bytes;
    let partition_bytes_max = match input.reads {
        InputReads::OwnPartition => {
            let own = range.clone().filter_map(|p| sizes.get(p as usize));
            own.max().copied().unwrap_or_default()
        }
        InputReads::AllPartitions => sizes.iter().sum(),
    };
    let Some(split) = split else {
        return StageBlocks {
            stage: input.stage,
            blocks,
            partition_bytes_max,
        };
    };
    let is_own = |location: &&BlockLocation| {
        let task = &producer.tasks[location.block.task.index as usize];
        task.origin % split.count == split.index
    };
    StageBlocks {
        stage: input.stage,
        blocks: Arc::new(blocks.iter().filter(is_own).cloned().collect()),
        partition_bytes_max: partition_bytes_max / u64::from(split.count),
    }
}

//! Cuts stages whose inputs have become complete into tasks.
//!
//! ```text
//!   partition bytes   1  1  1  40  200          2 slots
//!   tasks            [0  1  2] [3] [4] [4] [4]
//!                     merged        divided: each task reads the output of a part of the producers
//! ```

use faisca_planner::ids::StageId;
use faisca_planner::stages::{PartitionSplit, slice_by_bytes, slice_singly, split_count};

use super::{QueryPhase, QueryState, count};
use crate::scheduler::stage::{StagePhase, StageState};
use crate::scheduler::task::{TaskPhase, TaskState};
use crate::scheduler::{InputReads, StageInfo, StageInput, TaskGrouping};

/// The work of one task.
struct Slice {
    /// Adjacent partitions.
    partitions: Vec<u32>,
    /// The part of a divided input that the task reads, if several tasks share its only partition.
    split: Option<PartitionSplit>,
}

/// Bytes that the partitions of a stage read.
struct InputBytes {
    of_partition: Vec<u64>,
    total: u64,
}

impl QueryState {
    /// Cuts stages whose inputs have become complete into tasks. Returns the number of tasks of
    /// each.
    pub(in crate::scheduler) fn slice_ready_stages(&mut self) -> Vec<(StageId, u32)> {
        if self.phase != QueryPhase::Running || self.revision.is_requested() {
            return vec![];
        }
        let mut sliced = vec![];
        for id in self.stage_ids() {
            let stage = &self.stages[id.index()];
            let is_live = stage.phase != StagePhase::Dropped;
            if is_live && stage.tasks.is_empty() && self.inputs_complete(id) {
                let slices = self.slices(&stage.info);
                let stage = &mut self.stages[id.index()];
                stage.tasks = (0..).zip(slices).map(queued_task).collect();
                stage.parked = (0..count(stage.tasks.len())).collect();
                sliced.push((id, count(stage.tasks.len())));
            }
        }
        sliced
    }

    fn slices(&self, stage: &StageInfo) -> Vec<Slice> {
        let partitions = stage.partitions as usize;
        let slots = self.slots_expected as usize;
        let bytes = self.input_bytes(stage);
        let slices = match stage.grouping {
            TaskGrouping::Whole => {
                return vec![Slice {
                    partitions: (0..stage.partitions).collect(),
                    split: None,
                }];
            }
            TaskGrouping::Merged if partitions > 1 => slice_by_bytes(&bytes.of_partition, slots),
            TaskGrouping::Merged | TaskGrouping::Single => slice_singly(partitions),
        };
        let divide = |slice| self.divide_if_skewed(stage, &bytes, slice);
        slices.into_iter().flat_map(divide).collect()
    }

    fn input_bytes(&self, stage: &StageInfo) -> InputBytes {
        let mut of_partition = vec![0u64; stage.partitions as usize];
        let is_shuffled = |input: &&StageInput| input.reads == InputReads::OwnPartition;
        for input in stage.inputs.iter().filter(is_shuffled) {
            let sizes = &self.stages[input.stage.index()].partition_bytes;
            for (sum, size) in of_partition.iter_mut().zip(sizes) {
                *sum += size;
            }
        }
        let total = of_partition.iter().sum();
        InputBytes {
            of_partition,
            total,
        }
    }

    /// Returns the slice as it is, or several slices with a part each if it is a single skewed
    /// partition with an input that can be divided by producers.
    fn divide_if_skewed(
        &self,
        stage: &StageInfo,
        bytes: &InputBytes,
        partitions: Vec<u32>,
    ) -> Vec<Slice> {
        let bytes_read = |input: &StageId, partition: u32| {
            let producer: &StageState = &self.stages[input.index()];
            let size = producer.partition_bytes.get(partition as usize);
            size.copied().unwrap_or_default()
        };
        let largest = match partitions.as_slice() {
            [only] => stage
                .divisible
                .iter()
                .map(|input| (*input, bytes_read(input, *only), *only))
                .max_by_key(|(_, size, _)| *size),
            _ => None,
        };
        let Some((input, divided, partition)) = largest else {
            return vec![Slice {
                partitions,
                split: None,
            }];
        };
        let split_count = split_count(
            divided,
            bytes.of_partition[partition as usize] - divided,
            bytes.total,
            self.slots_expected as usize,
            self.stages[input.index()].tasks.len(),
        );
        let slice = |index| Slice {
            partitions: partitions.clone(),
            split: (split_count > 1).then_some(PartitionSplit {
                input,
                index,
                count: split_count,
            }),
        };
        (0..split_count).map(slice).collect()
    }
}

fn queued_task((index, slice): (u32, Slice)) -> TaskState {
    TaskState {
        phase: TaskPhase::Queued,
        origin: index,
        first: slice.partitions.first().copied().unwrap_or_default(),
        partitions: count(slice.partitions.len()),
        split: slice.split,
        ..TaskState::default()
    }
}

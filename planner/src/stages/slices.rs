//! Decides how many tasks a stage runs as, once the exact sizes of its inputs are known.
//!
//! Exchanges have more partitions than there are slots, so that skew and slow executors even out.
//! Adjacent small partitions share a task, which gives fewer tasks and fewer, larger files. A
//! partition that is much larger than others is divided among several tasks.

use crate::cost::{SKEW_FACTOR, STAGE_INPUT_BYTES_MIN, TASK_INPUT_BYTES_MIN};
use crate::ids::StageId;

/// The part of an input that one of several tasks of a partition reads: the output of every
/// `count`-th producer task, starting with producer `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSplit {
    /// The input that is divided.
    pub input: StageId,
    /// The index of this part, from 0.
    pub index: u32,
    /// Number of tasks that the partition is divided among.
    pub count: u32,
}

/// Returns the number of tasks to divide a partition among; 1 if it is not skewed.
///
/// Each task reads a part of one input and all of the others. `divisible` is the partition's bytes
/// of that input, `undivided` its bytes of the others, and `total` the bytes of all partitions.
/// There are at most as many parts as `producers`, and no part is smaller than `undivided`.
#[must_use]
pub fn split_count(
    divisible: u64,
    undivided: u64,
    total: u64,
    slots: usize,
    producers: usize,
) -> u32 {
    // Two tasks per slot, so that slots even out.
    let fair_share = total / (2 * slots as u64).max(1);
    let target = fair_share.max(TASK_INPUT_BYTES_MIN);
    if divisible <= target * SKEW_FACTOR {
        return 1;
    }
    let parts_max = (divisible / undivided.max(1)).min(producers as u64).max(1);
    u32::try_from(divisible.div_ceil(target).min(parts_max)).unwrap_or(u32::MAX)
}

/// Groups the partitions `0..bytes.len()` into slices of adjacent partitions, in order, each for
/// one task.
///
/// `bytes[p]` is what partition *p* reads. A stage with little input becomes one slice. Otherwise
/// there are at least `slots` slices, or one per partition if there are fewer partitions.
#[must_use]
pub fn slice_by_bytes(bytes: &[u64], slots: usize) -> Vec<Vec<u32>> {
    let total: u64 = bytes.iter().sum();
    let partitions = bytes.len().max(1);
    let tasks_wanted = if total < STAGE_INPUT_BYTES_MIN {
        1
    } else {
        usize::try_from(total / TASK_INPUT_BYTES_MIN)
            .unwrap_or(usize::MAX)
            .max(slots)
    };
    let tasks = tasks_wanted.clamp(1, partitions);
    let target = total / tasks as u64 + 1;
    let mut slices: Vec<Vec<u32>> = vec![];
    let mut filled_bytes = u64::MAX;
    for (partition, size) in bytes.iter().enumerate() {
        let partitions_left = partitions - partition;
        let slices_left = tasks - slices.len();
        // At the end, each partition gets its own slice, so that no slice stays empty.
        if filled_bytes >= target || partitions_left <= slices_left {
            if slices.len() < tasks {
                slices.push(vec![]);
            }
            filled_bytes = 0;
        }
        if let Some(slice) = slices.last_mut() {
            slice.push(u32::try_from(partition).unwrap_or(u32::MAX));
        }
        filled_bytes = filled_bytes.saturating_add(*size);
    }
    slices
}

/// Returns one slice per partition.
#[must_use]
pub fn slice_singly(partitions: usize) -> Vec<Vec<u32>> {
    (0..u32::try_from(partitions).unwrap_or(u32::MAX))
        .map(|p| vec![p])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_tiny_stage_is_one_task() {
        assert_eq!(slice_by_bytes(&[10, 0, 20, 5], 8), vec![vec![0, 1, 2, 3]]);
    }

    #[test]
    fn a_stage_of_medium_size_keeps_every_slot_busy() {
        assert_eq!(slice_by_bytes(&[2 * MIB; 8], 4).len(), 4);
    }

    #[test]
    fn a_large_stage_runs_one_task_per_partition() {
        assert_eq!(slice_by_bytes(&[64 * MIB; 8], 2).len(), 8);
    }

    #[test]
    fn a_skewed_partition_is_divided_as_far_as_that_gains() {
        // Not skewed, or small.
        assert_eq!(split_count(100 * MIB, 10 * MIB, 400 * MIB, 4, 16), 1);
        assert_eq!(split_count(40 * MIB, 0, 41 * MIB, 4, 16), 1);
        // Nine tenths of the rows, over four slots: each task should read an eighth.
        assert_eq!(split_count(900 * MIB, 0, 1000 * MIB, 4, 16), 8);
        // No more parts than producers, and no part smaller than what it is joined with.
        assert_eq!(split_count(900 * MIB, 0, 1000 * MIB, 4, 3), 3);
        assert_eq!(split_count(900 * MIB, 400 * MIB, 1000 * MIB, 4, 16), 2);
    }

    #[test]
    fn every_partition_is_in_exactly_one_slice_whatever_the_skew() {
        for sizes in [
            vec![0; 7],
            vec![900 * MIB, 0, 0, 0, 0],
            vec![0, 0, 0, 0, 900 * MIB],
            vec![1, 40 * MIB, 3, 4 * MIB, 50 * MIB, 6, 7],
        ] {
            for slots in [1, 2, 3, 16] {
                let slices = slice_by_bytes(&sizes, slots);
                let flat: Vec<u32> = slices.iter().flatten().copied().collect();
                assert_eq!(
                    flat,
                    (0..sizes.len() as u32).collect::<Vec<_>>(),
                    "{sizes:?} over {slots}"
                );
                assert!(slices.iter().all(|s| !s.is_empty()));
            }
        }
    }
}

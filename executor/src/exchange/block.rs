//! A sealed block: the output of one attempt of one task, for the next stage.
//!
//! ```text
//! SealedBlock  partition 0: [memory: batches]
//!              partition 1: [disk: offset, bytes, crc] [disk: …] [memory: batches]
//!              partition 4: [disk: …]                      └─► one spill file for the block
//! ```
//!
//! A partition has disk segments only if the attempt spilled; the last rows may be in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::disk::{DiskSegment, SpillFile, encode};
use super::store::BlockShare;
use crate::protocol::PartitionSize;

/// Maximum bytes of a segment on disk or on the wire, unless a single batch is larger. A reader
/// decodes a segment at once.
const SEGMENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Part of a partition, in memory or on disk.
#[derive(Debug)]
pub(super) enum Segment {
    /// Batches, covered by the block's reservation.
    Memory(Vec<RecordBatch>),
    /// A range of the block's spill file.
    Disk(DiskSegment),
}

/// The output of one attempt. Immutable; its memory and its file are released when it is dropped.
#[derive(Debug)]
pub struct SealedBlock {
    pub(super) partitions: BTreeMap<u32, Vec<Segment>>,
    pub(super) sizes: Vec<PartitionSize>,
    pub(super) file: Option<Arc<SpillFile>>,
    /// Reserves the bytes of the memory segments while the block exists; `None` if all is on disk.
    pub(super) _memory: Option<(MemoryReservation, BlockShare)>,
}

impl SealedBlock {
    /// Returns the exact sizes of the non-empty partitions, ascending.
    #[must_use]
    pub fn sizes(&self) -> &[PartitionSize] {
        &self.sizes
    }

    /// Returns the segments of one partition, or of all partitions in ascending order.
    pub(crate) fn segments(&self, partition: Option<u32>) -> Vec<SegmentId> {
        let range = match partition {
            Some(partition) => self.partitions.range(partition..=partition),
            None => self.partitions.range(..),
        };
        range
            .flat_map(|(partition, segments)| {
                (0..segments.len()).map(|index| SegmentId {
                    partition: *partition,
                    index,
                })
            })
            .collect()
    }

    /// Returns the rows of one segment.
    ///
    /// # Errors
    /// If a disk segment cannot be read, or its checksum differs.
    pub(crate) fn batches(&self, id: SegmentId) -> Result<Vec<RecordBatch>> {
        match self.segment(id) {
            Some(Segment::Memory(batches)) => Ok(batches.clone()),
            Some(Segment::Disk(segment)) => segment.read(self.file.as_deref()),
            None => Ok(vec![]),
        }
    }

    /// Returns one segment as Arrow IPC streams; a large memory segment becomes several.
    ///
    /// # Errors
    /// As [`Self::batches`].
    pub(crate) fn encode_segment(&self, id: SegmentId) -> Result<Vec<Vec<u8>>> {
        match self.segment(id) {
            Some(Segment::Memory(batches)) => chunks(batches)
                .into_iter()
                .map(|chunk| encode(&chunk[0].schema(), chunk))
                .collect(),
            Some(Segment::Disk(segment)) => Ok(vec![segment.read_encoded(self.file.as_deref())?]),
            None => Ok(vec![]),
        }
    }

    fn segment(&self, id: SegmentId) -> Option<&Segment> {
        self.partitions.get(&id.partition)?.get(id.index)
    }
}

/// Identity of a segment within its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentId {
    /// The partition of the exchange.
    pub(crate) partition: u32,
    index: usize,
}

/// Splits batches into runs of at most [`SEGMENT_BYTES_MAX`]; a larger batch is a run of its own.
pub(super) fn chunks(batches: &[RecordBatch]) -> Vec<&[RecordBatch]> {
    let mut chunks = vec![];
    let (mut start, mut bytes) = (0, 0);
    for (index, batch) in batches.iter().enumerate() {
        let size = batch.get_array_memory_size();
        if index > start && bytes + size > SEGMENT_BYTES_MAX {
            chunks.push(&batches[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < batches.len() {
        chunks.push(&batches[start..]);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn batches_are_grouped_into_runs_up_to_the_size_of_a_segment() {
        let (small, large) = (batch(1), batch(2 * 1024 * 1024));
        let batches = [small.clone(), small.clone(), large, small];
        let lengths: Vec<_> = chunks(&batches).iter().map(|chunk| chunk.len()).collect();
        assert_eq!(lengths, [2, 1, 1]);
        assert!(chunks(&[]).is_empty());
    }

    #[test]
    fn a_block_lists_the_segments_of_one_partition_or_of_all() {
        let memory = || Segment::Memory(vec![batch(3)]);
        let block = SealedBlock {
            partitions: BTreeMap::from([(1, vec![memory(), memory()]), (4, vec![memory()])]),
            sizes: vec![],
            file: None,
            _memory: None,
        };
        let segments = |partition| {
            let ids = block.segments(partition);
            ids.iter()
                .map(|id| (id.partition, id.index))
                .collect::<Vec<_>>()
        };
        assert_eq!(segments(None), [(1, 0), (1, 1), (4, 0)]);
        assert_eq!(segments(Some(1)), [(1, 0), (1, 1)]);
        assert_eq!(segments(Some(2)), []);
        let rows: usize = block
            .segments(None)
            .into_iter()
            .map(|id| block.batches(id).unwrap()[0].num_rows())
            .sum();
        assert_eq!(rows, 9);
    }
}

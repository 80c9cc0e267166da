//! A sealed block: what one attempt of one task left for the next stage.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::disk::{DiskSegment, SpillFile, encode};
use super::store::BlockShare;
use crate::wire::BucketSize;

/// A segment on disk or on the wire is about this large: what a reader decodes at once.
const SEGMENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Part of a bucket, in one tier.
#[derive(Debug)]
pub(super) enum Segment {
    /// Batches, covered by the block's reservation.
    Memory(Vec<RecordBatch>),
    /// A range of the block's spill file.
    Disk(DiskSegment),
}

/// Immutable; dropped as a whole, with its memory and its file.
#[derive(Debug)]
pub struct SealedBlock {
    pub(super) buckets: BTreeMap<u32, Vec<Segment>>,
    pub(super) sizes: Vec<BucketSize>,
    pub(super) file: Option<Arc<SpillFile>>,
    /// Holds the memory segments' bytes for as long as the block lives; none where all is on disk.
    pub(super) _memory: Option<(MemoryReservation, BlockShare)>,
}

impl SealedBlock {
    /// Exact sizes of its non-empty buckets.
    #[must_use]
    pub fn sizes(&self) -> &[BucketSize] {
        &self.sizes
    }

    /// Places of the segments of one bucket, or of all in ascending order.
    #[must_use]
    pub fn segments(&self, bucket: Option<u32>) -> Vec<SegmentPlace> {
        let range = match bucket {
            Some(bucket) => self.buckets.range(bucket..=bucket),
            None => self.buckets.range(..),
        };
        range
            .flat_map(|(bucket, segments)| {
                (0..segments.len()).map(|index| SegmentPlace {
                    bucket: *bucket,
                    index,
                })
            })
            .collect()
    }

    /// The rows of one segment.
    ///
    /// # Errors
    /// A disk segment that cannot be read, or whose checksum differs.
    pub fn batches(&self, place: SegmentPlace) -> Result<Vec<RecordBatch>> {
        match self.segment(place) {
            Some(Segment::Memory(batches)) => Ok(batches.clone()),
            Some(Segment::Disk(segment)) => segment.read(self.file.as_deref()),
            None => Ok(vec![]),
        }
    }

    /// One segment as Arrow IPC streams.
    ///
    /// # Errors
    /// As [`Self::batches`].
    pub(crate) fn encoded(&self, place: SegmentPlace) -> Result<Vec<Vec<u8>>> {
        match self.segment(place) {
            Some(Segment::Memory(batches)) => chunks(batches)
                .into_iter()
                .map(|chunk| encode(&chunk[0].schema(), chunk))
                .collect(),
            Some(Segment::Disk(segment)) => Ok(vec![segment.read_encoded(self.file.as_deref())?]),
            None => Ok(vec![]),
        }
    }

    fn segment(&self, place: SegmentPlace) -> Option<&Segment> {
        self.buckets.get(&place.bucket)?.get(place.index)
    }
}

/// Where in a block a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentPlace {
    /// Its bucket.
    pub bucket: u32,
    index: usize,
}

/// Runs of batches of at most [`SEGMENT_BYTES_MAX`], unless a single one is larger. None is empty.
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

//! A sealed block: what one attempt of one task left for the next stage.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::disk::{DiskSegment, SpillFile};
use crate::wire::BucketSize;

/// Part of a bucket, in one tier.
#[derive(Debug)]
pub enum Segment {
    /// Batches, covered by the block's reservation.
    Memory(Vec<RecordBatch>),
    /// A range of the block's spill file.
    Disk(DiskSegment),
}

impl Segment {
    /// The rows of it.
    ///
    /// # Errors
    /// A disk segment that cannot be read, or whose checksum differs.
    pub fn batches(&self, file: Option<&SpillFile>) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Memory(batches) => Ok(batches.clone()),
            Self::Disk(segment) => segment.read(file),
        }
    }
}

/// Immutable; dropped as a whole, with its memory and its file.
#[derive(Debug)]
pub struct SealedBlock {
    pub(super) buckets: BTreeMap<u32, Vec<Segment>>,
    pub(super) sizes: Vec<BucketSize>,
    pub(super) file: Option<Arc<SpillFile>>,
    /// Holds the memory segments' bytes for as long as the block lives.
    pub(super) _reservation: MemoryReservation,
}

impl SealedBlock {
    /// Exact sizes of its non-empty buckets.
    #[must_use]
    pub fn sizes(&self) -> &[BucketSize] {
        &self.sizes
    }

    /// Segments of one bucket, or of all in ascending order.
    pub fn segments(&self, bucket: Option<u32>) -> impl Iterator<Item = &Segment> {
        let range = match bucket {
            Some(bucket) => self.buckets.range(bucket..=bucket),
            None => self.buckets.range(..),
        };
        range.flat_map(|(_, segments)| segments)
    }

    /// The file that disk segments lie in.
    #[must_use]
    pub fn file(&self) -> Option<&SpillFile> {
        self.file.as_deref()
    }
}

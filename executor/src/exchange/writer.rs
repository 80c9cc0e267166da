//! The writing side: rows into buckets, in memory while the pool allows, on disk after that.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;

use super::block::{SealedBlock, Segment, chunks};
use super::disk::{SpillWriter, encode};
use super::store::{BlockMemory, BlockShare};
use crate::wire::BucketSize;

/// How rows find their bucket.
pub enum Spread {
    /// By DataFusion's own partitioner, with its fixed public seed: same build, same buckets.
    By(Box<BatchPartitioner>),
    /// All of a partition into the bucket of that number.
    AsIs,
}

impl Spread {
    /// For `partition` of `partitions`; `None` keeps partitions as they are.
    ///
    /// # Errors
    /// If DataFusion has no partitioner for it.
    pub fn new(
        partitioning: Option<&Partitioning>,
        partition: usize,
        partitions: usize,
    ) -> Result<Self> {
        match partitioning {
            Some(p) => Ok(Self::By(Box::new(BatchPartitioner::try_new(
                p.clone(),
                Time::new(),
                partition,
                partitions,
            )?))),
            None => Ok(Self::AsIs),
        }
    }
}

/// Collects one attempt's output. Dropping it unsealed forgets everything.
pub struct ExchangeWriter {
    schema: SchemaRef,
    batch_rows: usize,
    buckets: BTreeMap<u32, Bucket>,
    /// Covers `Bucket::full` and what the coalescers hold.
    reservation: MemoryReservation,
    runtime: Arc<RuntimeEnv>,
    blocks: Arc<BlockMemory>,
    spill: Option<SpillWriter>,
}

struct Bucket {
    coalescer: BatchCoalescer,
    full: Vec<RecordBatch>,
    segments: Vec<Segment>,
    rows: u64,
    bytes: u64,
}

impl ExchangeWriter {
    /// `batch_rows` is the number of rows that small batches are gathered to; `blocks` is what sealed
    /// blocks share.
    #[must_use]
    pub fn new(
        schema: SchemaRef,
        batch_rows: usize,
        runtime: Arc<RuntimeEnv>,
        blocks: Arc<BlockMemory>,
    ) -> Self {
        let reservation = MemoryConsumer::new("exchange")
            .with_can_spill(true)
            .register(&runtime.memory_pool);
        Self {
            schema,
            batch_rows,
            buckets: BTreeMap::new(),
            reservation,
            runtime,
            blocks,
            spill: None,
        }
    }

    /// Takes a batch of `partition`.
    ///
    /// # Errors
    /// If keys cannot be evaluated, or if both memory and disk are full.
    pub fn write(&mut self, spread: &mut Spread, partition: u32, batch: RecordBatch) -> Result<()> {
        match spread {
            Spread::AsIs => self.push(partition, batch),
            Spread::By(partitioner) => {
                let mut parts = Vec::new();
                partitioner.partition(batch, |bucket, part| {
                    parts.push((bucket, part));
                    Ok(())
                })?;
                parts.into_iter().try_for_each(|(bucket, part)| {
                    self.push(u32::try_from(bucket).unwrap_or(u32::MAX), part)
                })
            }
        }
    }

    fn push(&mut self, number: u32, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (schema, rows) = (&self.schema, self.batch_rows);
        let bucket = self
            .buckets
            .entry(number)
            .or_insert_with(|| Bucket::new(Arc::clone(schema), rows));
        bucket.rows += batch.num_rows() as u64;
        bucket.coalescer.push_batch(batch)?;
        let grown = bucket.drain()?;
        self.reserve(grown)
    }

    fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes == 0 || self.reservation.try_grow(bytes).is_ok() {
            return Ok(());
        }
        self.spill_all()
    }

    fn spill_all(&mut self) -> Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(SpillWriter::new(&self.runtime)?),
        };
        for bucket in self.buckets.values_mut() {
            let full = std::mem::take(&mut bucket.full);
            for chunk in chunks(&full) {
                bucket
                    .segments
                    .push(Segment::Disk(spill.append(&encode(&self.schema, chunk)?)?));
            }
        }
        self.reservation.free();
        Ok(())
    }

    /// Moves what the sealed block holds from this writer, which could spill, to the block, which
    /// cannot. A pool divides itself among those that can, so blocks must not be of them.
    fn keep_in_memory(&mut self) -> Result<Option<(MemoryReservation, BlockShare)>> {
        let bytes = self.reservation.size();
        if let Some(share) = self.blocks.take(bytes) {
            self.reservation.free();
            let kept = MemoryConsumer::new("block").register(&self.runtime.memory_pool);
            if kept.try_grow(bytes).is_ok() {
                return Ok(Some((kept, share)));
            }
        }
        self.spill_all()?;
        Ok(None)
    }

    /// Closes the block.
    ///
    /// # Errors
    /// If the rest neither fits into memory nor onto the disk.
    pub fn seal(mut self) -> Result<Sealed> {
        let mut grown = 0;
        for bucket in self.buckets.values_mut() {
            bucket.coalescer.finish_buffered_batch()?;
            grown += bucket.drain()?;
        }
        self.reserve(grown)?;
        let memory = self.keep_in_memory()?;
        let spilled_bytes = self.spill.as_ref().map_or(0, SpillWriter::bytes);
        let mut sealed = BTreeMap::new();
        let mut sizes = Vec::with_capacity(self.buckets.len());
        for (number, mut bucket) in self.buckets {
            sizes.push(BucketSize {
                bucket: number,
                rows: bucket.rows,
                bytes: bucket.bytes,
            });
            if !bucket.full.is_empty() {
                bucket.segments.push(Segment::Memory(bucket.full));
            }
            sealed.insert(number, bucket.segments);
        }
        let file = self
            .spill
            .map(SpillWriter::finish)
            .transpose()?
            .map(Arc::new);
        let block = SealedBlock {
            buckets: sealed,
            sizes,
            file,
            _memory: memory,
        };
        Ok(Sealed {
            block,
            spilled_bytes,
        })
    }
}

/// A closed block and what it cost.
pub struct Sealed {
    /// The block.
    pub block: SealedBlock,
    /// Bytes of it on disk.
    pub spilled_bytes: u64,
}

impl Bucket {
    fn new(schema: SchemaRef, batch_rows: usize) -> Self {
        // Large batches pass as they are: copying them would gain nothing.
        let coalescer = BatchCoalescer::new(schema, batch_rows)
            .with_biggest_coalesce_batch_size(Some(batch_rows / 2));
        Self {
            coalescer,
            full: vec![],
            segments: vec![],
            rows: 0,
            bytes: 0,
        }
    }

    /// Moves completed batches over; answers their bytes.
    fn drain(&mut self) -> Result<usize> {
        let mut bytes = 0;
        while let Some(batch) = self.coalescer.next_completed_batch() {
            let batch = shrink(batch)?;
            bytes += batch.get_array_memory_size();
            self.bytes += data_bytes(&batch);
            self.full.push(batch);
        }
        Ok(bytes)
    }
}

/// Gives back what the coalescer allocated for a full batch and a last, short one does not need.
fn shrink(batch: RecordBatch) -> Result<RecordBatch> {
    let (schema, mut columns, rows) = batch.into_parts();
    for column in &mut columns {
        if let Some(column) = Arc::get_mut(column) {
            column.shrink_to_fit();
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

/// Bytes of the values themselves, however large their buffers are.
fn data_bytes(batch: &RecordBatch) -> u64 {
    let column = |array: &ArrayRef| {
        array
            .to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| array.get_array_memory_size())
    };
    batch
        .columns()
        .iter()
        .map(|array| column(array) as u64)
        .sum()
}

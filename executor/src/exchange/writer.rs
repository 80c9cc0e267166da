//! The writing side of the exchange: rows into partitions, in memory while the pool allows, on disk
//! after that.

use std::collections::BTreeMap;
use std::fmt;
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
use crate::protocol::PartitionSize;

/// Which output partition a row goes to.
pub enum RowPartitioner {
    /// Rows are repartitioned by DataFusion's partitioner. Its seed is fixed, so that all executors
    /// of one build agree.
    Repartition(Box<BatchPartitioner>),
    /// Rows keep the partition of the plan.
    Keep,
}

impl fmt::Debug for RowPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repartition(_) => "Repartition",
            Self::Keep => "Keep",
        })
    }
}

impl RowPartitioner {
    /// Creates the partitioner for input partition `partition` of `partitions`. Without a
    /// `partitioning`, rows keep their partition.
    ///
    /// # Errors
    /// If DataFusion has no partitioner for it.
    pub fn new(
        partitioning: Option<&Partitioning>,
        partition: usize,
        partitions: usize,
    ) -> Result<Self> {
        match partitioning {
            Some(p) => Ok(Self::Repartition(Box::new(BatchPartitioner::try_new(
                p.clone(),
                Time::new(),
                partition,
                partitions,
            )?))),
            None => Ok(Self::Keep),
        }
    }
}

/// Collects the output of one attempt. Dropping it unsealed discards everything.
#[derive(Debug)]
pub struct ExchangeWriter {
    schema: SchemaRef,
    batch_rows: usize,
    partitions: BTreeMap<u32, PartitionBuffer>,
    /// Reserves the bytes of [`PartitionBuffer::batches`].
    reservation: MemoryReservation,
    runtime: Arc<RuntimeEnv>,
    blocks: Arc<BlockMemory>,
    spill: Option<SpillWriter>,
}

#[derive(Debug)]
struct PartitionBuffer {
    /// Gathers small batches.
    coalescer: BatchCoalescer,
    /// Completed batches, in memory.
    batches: Vec<RecordBatch>,
    /// What was spilled before.
    segments: Vec<Segment>,
    rows: u64,
    bytes: u64,
}

impl ExchangeWriter {
    /// Creates a writer. Small batches are gathered to `batch_rows` rows; `blocks` is the memory
    /// that sealed blocks share.
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
            partitions: BTreeMap::new(),
            reservation,
            runtime,
            blocks,
            spill: None,
        }
    }

    /// Adds a batch of the plan's partition `partition`.
    ///
    /// # Errors
    /// If keys cannot be evaluated, or if both memory and disk are full.
    pub fn write(
        &mut self,
        rows: &mut RowPartitioner,
        partition: u32,
        batch: RecordBatch,
    ) -> Result<()> {
        match rows {
            RowPartitioner::Keep => self.push(partition, batch),
            RowPartitioner::Repartition(partitioner) => {
                let mut parts = Vec::new();
                partitioner.partition(batch, |target, part| {
                    parts.push((target, part));
                    Ok(())
                })?;
                parts.into_iter().try_for_each(|(target, part)| {
                    self.push(u32::try_from(target).unwrap_or(u32::MAX), part)
                })
            }
        }
    }

    fn push(&mut self, partition: u32, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (schema, rows) = (&self.schema, self.batch_rows);
        let buffer = self
            .partitions
            .entry(partition)
            .or_insert_with(|| PartitionBuffer::new(Arc::clone(schema), rows));
        buffer.rows += batch.num_rows() as u64;
        buffer.coalescer.push_batch(batch)?;
        let grown = buffer.drain()?;
        self.reserve(grown)
    }

    /// Reserves `bytes` more, or spills everything if the pool refuses.
    fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes == 0 || self.reservation.try_grow(bytes).is_ok() {
            return Ok(());
        }
        self.spill_all()
    }

    fn spill_all(&mut self) -> Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            unopened => unopened.insert(SpillWriter::new(&self.runtime)?),
        };
        for buffer in self.partitions.values_mut() {
            let batches = std::mem::take(&mut buffer.batches);
            for chunk in chunks(&batches) {
                let segment = spill.append(&encode(&self.schema, chunk)?)?;
                buffer.segments.push(Segment::Disk(segment));
            }
        }
        self.reservation.free();
        Ok(())
    }

    /// Moves the reservation from this writer, a consumer that can spill, to the block, a consumer
    /// that cannot; `None` if everything was spilled instead.
    ///
    /// The pool divides its memory among the consumers that can spill. A block among them would
    /// only reduce the others' parts.
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

    /// Seals the block.
    ///
    /// # Errors
    /// If the remaining rows fit neither into memory nor onto the disk.
    pub fn seal(mut self) -> Result<Sealed> {
        let mut grown = 0;
        for buffer in self.partitions.values_mut() {
            buffer.coalescer.finish_buffered_batch()?;
            grown += buffer.drain()?;
        }
        self.reserve(grown)?;
        let memory = self.keep_in_memory()?;
        let spilled_bytes = self.spill.as_ref().map_or(0, SpillWriter::bytes);
        let mut partitions = BTreeMap::new();
        let mut sizes = Vec::with_capacity(self.partitions.len());
        for (partition, mut buffer) in self.partitions {
            sizes.push(PartitionSize {
                partition,
                rows: buffer.rows,
                bytes: buffer.bytes,
            });
            if !buffer.batches.is_empty() {
                buffer.segments.push(Segment::Memory(buffer.batches));
            }
            partitions.insert(partition, buffer.segments);
        }
        let file = self
            .spill
            .map(SpillWriter::finish)
            .transpose()?
            .map(Arc::new);
        let block = SealedBlock {
            partitions,
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

/// A sealed block and its cost.
#[derive(Debug)]
pub struct Sealed {
    /// The sealed block.
    pub block: SealedBlock,
    /// Bytes of the block on disk.
    pub spilled_bytes: u64,
}

impl PartitionBuffer {
    fn new(schema: SchemaRef, batch_rows: usize) -> Self {
        // Large batches pass unchanged: copying them would gain nothing.
        let coalescer = BatchCoalescer::new(schema, batch_rows)
            .with_biggest_coalesce_batch_size(Some(batch_rows / 2));
        Self {
            coalescer,
            batches: vec![],
            segments: vec![],
            rows: 0,
            bytes: 0,
        }
    }

    /// Moves completed batches from the coalescer. Returns their bytes in memory.
    fn drain(&mut self) -> Result<usize> {
        let mut bytes = 0;
        while let Some(batch) = self.coalescer.next_completed_batch() {
            let batch = shrink(batch)?;
            bytes += batch.get_array_memory_size();
            self.bytes += data_bytes(&batch);
            self.batches.push(batch);
        }
        Ok(bytes)
    }
}

/// Returns unused capacity: the coalescer allocates for a full batch, the last batch is shorter.
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

/// Bytes of the values themselves, without the unused capacity of their buffers.
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

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_expr::expressions::col;

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    fn writer(memory_bytes: usize) -> ExchangeWriter {
        let pool = Arc::new(GreedyMemoryPool::new(memory_bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool);
        ExchangeWriter::new(
            batch(0).schema(),
            8192,
            runtime.build_arc().unwrap(),
            Arc::new(BlockMemory::new(None)),
        )
    }

    fn rows(block: &SealedBlock, partition: Option<u32>) -> usize {
        let segments = block.segments(partition).into_iter();
        segments
            .flat_map(|segment| block.batches(segment).unwrap())
            .map(|batch| batch.num_rows())
            .sum()
    }

    #[test]
    fn rows_keep_their_partition_where_none_is_asked_for() {
        let mut writer = writer(1 << 20);
        writer
            .write(&mut RowPartitioner::Keep, 3, batch(10))
            .unwrap();
        let sealed = writer.seal().unwrap();
        assert_eq!(rows(&sealed.block, Some(3)), 10);
        assert_eq!(sealed.spilled_bytes, 0);
        let size = PartitionSize {
            partition: 3,
            rows: 10,
            bytes: 80,
        };
        assert_eq!(sealed.block.sizes(), [size]);
    }

    #[test]
    fn a_block_that_does_not_fit_into_memory_has_all_its_rows_on_disk() {
        let keys = vec![col("n", &batch(0).schema()).unwrap()];
        let partitioning = Partitioning::Hash(keys, 4);
        let mut partitioner = RowPartitioner::new(Some(&partitioning), 0, 1).unwrap();
        let mut writer = writer(1024);
        for _ in 0..3 {
            writer.write(&mut partitioner, 0, batch(20_000)).unwrap();
        }
        let sealed = writer.seal().unwrap();
        assert!(sealed.spilled_bytes > 0);
        assert_eq!(rows(&sealed.block, None), 60_000);
        let counted: u64 = sealed.block.sizes().iter().map(|size| size.rows).sum();
        assert_eq!(counted, 60_000);
    }
}

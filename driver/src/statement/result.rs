//! Reads the result of a finished query, even if executors that hold parts of it are lost.
//!
//! The reader buffers each block until it is complete, as far as memory allows. A block that is
//! lost during the read is recomputed and read again from its start; the consumer does not notice.
//! A block that is too large for the buffer is passed on while it is read. If such a block is lost,
//! the query fails, because the recomputed rows may arrive in a different order.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use faisca_executor::error::FetchError;
use faisca_executor::exchange::{BlockStore, DurableTier, ExchangeReader, PeerClients};
use faisca_executor::protocol::{BlockLocation, StageBlocks};
use faisca_planner::ids::{StageId, TaskId};
use faisca_planner::{ExchangeReadExec, ExchangeSource, InputMode};
use futures::StreamExt;
use tracing::info;

use super::cluster::Cluster;
use super::running::RunningQuery;
use crate::engine::Message;
use crate::error::external;
use crate::fleet::DRIVER;
use crate::scheduler::QueryOutput;

/// Maximum size of a block that is buffered until it is complete.
const BUFFERED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Reads the blocks of a result one after another, and recovers those that are lost.
pub(crate) struct ResultReader {
    running: RunningQuery,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    durable: Option<Arc<DurableTier>>,
    leaf: ExchangeReadExec,
    context: Arc<TaskContext>,
    /// Memory of the batches in `ready`.
    buffered: MemoryReservation,
    /// Tasks whose blocks are read, or are in `ready` or `open`.
    read_tasks: HashSet<TaskId>,
    /// Blocks that are not read yet.
    unread: VecDeque<BlockLocation>,
    /// Buffered batches, which are returned next.
    ready: VecDeque<RecordBatch>,
    /// The unread part of a block that is too large for the buffer.
    open: Option<(BlockLocation, SendableRecordBatchStream)>,
}

/// Identifies the result among the inputs of the reader. It is the only input, so any id will do.
const RESULT_INPUT: StageId = StageId(0);

impl ResultReader {
    pub(crate) fn new(
        cluster: &Cluster,
        running: RunningQuery,
        output: &QueryOutput,
        eq_properties: EquivalenceProperties,
        context: &Arc<TaskContext>,
    ) -> Self {
        Self {
            running,
            store: Arc::clone(&cluster.store),
            peers: Arc::clone(&cluster.peers),
            durable: cluster.durable.as_ref().map(|(tier, _)| Arc::clone(tier)),
            leaf: ExchangeReadExec::new(
                RESULT_INPUT,
                InputMode::Merge,
                eq_properties,
                Partitioning::UnknownPartitioning(1),
            ),
            context: Arc::clone(context),
            buffered: MemoryConsumer::new("result").register(context.memory_pool()),
            read_tasks: HashSet::new(),
            unread: output.blocks.iter().cloned().collect(),
            ready: VecDeque::new(),
            open: None,
        }
    }

    /// Returns the result as a stream of batches.
    pub(crate) fn stream(self) -> SendableRecordBatchStream {
        let schema: SchemaRef = datafusion::physical_plan::ExecutionPlan::schema(&self.leaf);
        let batches = futures::stream::try_unfold(self, |mut reader| async move {
            Ok(reader.next().await?.map(|batch| (batch, reader)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }

    /// Returns the next batch, or `None` at the end of the result.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.buffered
                    .shrink(self.buffered.size().min(batch.get_array_memory_size()));
                return Ok(Some(batch));
            }
            if let Some((block, rest)) = &mut self.open {
                match rest.next().await {
                    Some(Ok(batch)) => return Ok(Some(batch)),
                    Some(Err(error)) if lost_block(&error).is_some() => {
                        let rows_text = "whose first rows were already returned";
                        return Err(exec_datafusion_err!(
                            "an executor was lost with block {} of the result, {rows_text}: {error}",
                            block.block
                        ));
                    }
                    Some(Err(error)) => return Err(error),
                    None => self.open = None,
                }
                continue;
            }
            let Some(block) = self.unread.pop_front() else {
                return Ok(None);
            };
            match self.buffer_block(&block).await {
                Ok(rest) => {
                    self.read_tasks.insert(block.block.task);
                    self.open = rest.map(|rest| (block, rest));
                }
                Err(error) => self.await_recomputed(error).await?,
            }
        }
    }

    /// Reads a block into the buffer. If it does not fit, returns the rest of it as a stream.
    async fn buffer_block(
        &mut self,
        location: &BlockLocation,
    ) -> Result<Option<SendableRecordBatchStream>> {
        let inputs = vec![StageBlocks {
            stage: RESULT_INPUT,
            blocks: Arc::new(vec![location.clone()]),
            partition_bytes_max: 0,
        }];
        let reader = ExchangeReader::new(
            inputs,
            DRIVER,
            Arc::clone(&self.store),
            Arc::clone(&self.peers),
        );
        let reader = reader.with_durable(self.durable.clone());
        let mut stream = reader.open(&self.leaf, 0, &self.context)?;
        while let Some(batch) = stream.next().await {
            // A partly buffered block is discarded: it will be read again from its start.
            let batch = batch.inspect_err(|_| {
                self.ready.clear();
                self.buffered.free();
            })?;
            let bytes = batch.get_array_memory_size();
            let is_buffered = self.buffered.size() + bytes <= BUFFERED_BYTES_MAX
                && self.buffered.try_grow(bytes).is_ok();
            self.ready.push_back(batch);
            if !is_buffered {
                return Ok(Some(stream));
            }
        }
        Ok(None)
    }

    /// Reports a lost block to the engine, waits until it is recomputed, and uses the new locations
    /// of all blocks that are not read yet. Returns any other error unchanged.
    async fn await_recomputed(&mut self, error: DataFusionError) -> Result<()> {
        let Some((block, home)) = lost_block(&error) else {
            return Err(error);
        };
        info!(%block, "part of the result is lost and recomputed: {error}");
        self.running
            .engine
            .send(Message::OutputLost(block, home))
            .await
            .map_err(external)?;
        let output = self.running.outcome().await?;
        self.unread = output
            .blocks
            .iter()
            .filter(|b| !self.read_tasks.contains(&b.block.task))
            .cloned()
            .collect();
        Ok(())
    }
}

/// Returns the block and its home if the error means that the block is lost.
fn lost_block(
    error: &DataFusionError,
) -> Option<(faisca_planner::ids::BlockId, faisca_planner::ids::BlockHome)> {
    let DataFusionError::External(inner) = error else {
        return None;
    };
    match inner.downcast_ref()? {
        FetchError::Lost { block, home }
        | FetchError::Damaged { block, home, .. }
        | FetchError::Peer { block, home, .. } => Some((*block, *home)),
    }
}

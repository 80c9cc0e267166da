//! Reads a finished statement's result, even if executors that hold it die meanwhile.
//!
//! A block is held back until it is whole, as far as memory allows: one that gets lost on the way is
//! recomputed and read from its start, unseen by the reader. Only a block too large to hold back is
//! handed on as it comes; if that one is lost half-way, the statement fails, since its rows may come
//! in another order the second time.

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

/// A block of the result is held back until it is whole, up to this size.
const HELD_BACK_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The way through a result: which blocks are read, and which are still to come.
pub(crate) struct ResultReader {
    running: RunningQuery,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    durable: Option<Arc<DurableTier>>,
    leaf: ExchangeReadExec,
    context: Arc<TaskContext>,
    held_back: MemoryReservation,
    done: HashSet<TaskId>,
    left: VecDeque<BlockLocation>,
    ready: VecDeque<RecordBatch>,
    /// The rest of a block too large to hold back.
    open: Option<(BlockLocation, SendableRecordBatchStream)>,
}

const ROOT: StageId = StageId::RESULT;

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
                ROOT,
                InputMode::Merge,
                eq_properties,
                Partitioning::UnknownPartitioning(1),
            ),
            context: Arc::clone(context),
            held_back: MemoryConsumer::new("result").register(context.memory_pool()),
            done: HashSet::new(),
            left: output.blocks.iter().cloned().collect(),
            ready: VecDeque::new(),
            open: None,
        }
    }

    pub(crate) fn stream(self) -> SendableRecordBatchStream {
        let schema: SchemaRef = datafusion::physical_plan::ExecutionPlan::schema(&self.leaf);
        let batches = futures::stream::try_unfold(self, |mut reader| async move {
            Ok(reader.next().await?.map(|batch| (batch, reader)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.held_back
                    .shrink(self.held_back.size().min(batch.get_array_memory_size()));
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
            let Some(block) = self.left.pop_front() else {
                return Ok(None);
            };
            match self.hold_back(&block).await {
                Ok(rest) => {
                    self.done.insert(block.block.task);
                    self.open = rest.map(|rest| (block, rest));
                }
                Err(error) => self.await_recomputed(error).await?,
            }
        }
    }

    /// Reads a block to its end, or as far as memory allows; then returns the rest of the stream.
    async fn hold_back(
        &mut self,
        location: &BlockLocation,
    ) -> Result<Option<SendableRecordBatchStream>> {
        let inputs = vec![StageBlocks {
            stage: ROOT,
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
            let batch = batch.inspect_err(|_| {
                self.ready.clear();
                self.held_back.free();
            })?;
            let bytes = batch.get_array_memory_size();
            let fits = self.held_back.size() + bytes <= HELD_BACK_BYTES_MAX
                && self.held_back.try_grow(bytes).is_ok();
            self.ready.push_back(batch);
            if !fits {
                return Ok(Some(stream));
            }
        }
        Ok(None)
    }

    /// Reports a lost block, waits until it is recomputed, and takes the new locations.
    async fn await_recomputed(&mut self, error: DataFusionError) -> Result<()> {
        let Some((block, executor)) = lost_block(&error) else {
            return Err(error);
        };
        info!(%block, "part of the result is lost and recomputed: {error}");
        self.running
            .engine
            .send(Message::OutputLost(block, executor))
            .await
            .map_err(external)?;
        let output = self.running.outcome().await?;
        self.left = output
            .blocks
            .iter()
            .filter(|b| !self.done.contains(&b.block.task))
            .cloned()
            .collect();
        Ok(())
    }
}

/// Returns the block and the executor if the error says that a block is lost.
fn lost_block(
    error: &DataFusionError,
) -> Option<(
    faisca_planner::ids::BlockId,
    faisca_planner::ids::ExecutorId,
)> {
    let DataFusionError::External(inner) = error else {
        return None;
    };
    match inner.downcast_ref()? {
        FetchError::Lost { block, executor }
        | FetchError::Peer {
            block, executor, ..
        } => Some((*block, *executor)),
    }
}

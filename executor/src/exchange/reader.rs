//! The reading side of the exchange: from the same process, a peer, or the durable copy.
//!
//! Blocks of one executor are requested together, in one `DoGet`. Each stream from a peer holds a
//! bounded number of batches, so a reader's memory does not grow with its number of producers.
//!
//! What one task reads, by input mode (producers A and B, partitions 0 and 1):
//!
//! ```text
//! Shuffle    task 0 ◄── A:0, B:0           its own partition of every block, in any order
//!            task 1 ◄── A:1, B:1
//! Broadcast  every task ◄── A:0 1, B:0 1   every block, in any order
//! Forward    task 0 ◄── A:0                the partition of the same number, in order
//!            task 1 ◄── B:1
//! Merge      the only task ◄── A:0 1, B:0 1   every block, in the order of the partitions
//! ```
//!
//! Where a block is read:
//!
//! ```text
//! this executor holds it ──► no copy, no encoding
//! a peer holds it ─────────► DoGet ──┬─► rows
//!                                    └─ fails ─► durable copy, if all blocks have one
//! no executor holds it ────► durable copy
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use faisca_planner::ids::{BlockHome, ExecutorId, StageId};
use faisca_planner::{ExchangeReadExec, ExchangeSource, InputMode};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::peers::Peer;
use super::{BlockStore, DurableTier, PeerClients, SealedBlock};
use crate::error::FetchError;
use crate::protocol::flight::is_loopback;
use crate::protocol::{BlockLocation, FetchRequest, StageBlocks};

/// Requests that an ordered read keeps open ahead of the one being read.
const PREFETCH_REQUESTS: usize = 2;

/// Opens the inputs of one attempt.
#[derive(Debug)]
pub struct ExchangeReader {
    inputs: HashMap<StageId, Arc<Vec<BlockLocation>>>,
    partition_bytes: HashMap<StageId, u64>,
    local: ExecutorId,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    durable: Option<Arc<DurableTier>>,
    fetched_bytes: Arc<AtomicU64>,
}

/// Blocks of one executor, requested together.
struct BlockGroup {
    peer: Peer,
    request: FetchRequest,
}

impl ExchangeReader {
    /// Creates a reader of one attempt's inputs, on executor `local`.
    #[must_use]
    pub fn new(
        inputs: Vec<StageBlocks>,
        local: ExecutorId,
        store: Arc<BlockStore>,
        peers: Arc<PeerClients>,
    ) -> Self {
        let partition_bytes = inputs
            .iter()
            .map(|stage| (stage.stage, stage.partition_bytes_max))
            .collect();
        let inputs = inputs
            .into_iter()
            .map(|stage| (stage.stage, stage.blocks))
            .collect();
        Self {
            inputs,
            partition_bytes,
            local,
            store,
            peers,
            durable: None,
            fetched_bytes: Arc::default(),
        }
    }

    /// Adds the durable tier, for blocks whose executors cannot be reached.
    #[must_use]
    pub fn with_durable(self, durable: Option<Arc<DurableTier>>) -> Self {
        Self { durable, ..self }
    }

    /// Returns the exact bytes of the largest partition that the attempt reads of each stage.
    #[must_use]
    pub fn partition_bytes(&self) -> &HashMap<StageId, u64> {
        &self.partition_bytes
    }

    /// Returns the bytes received from other executors so far.
    #[must_use]
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    fn read_group(
        &self,
        group: BlockGroup,
        schema: SchemaRef,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        if group.peer.home == BlockHome::Executor(self.local) {
            return local_batches(Arc::clone(&self.store), self.local, group.request);
        }
        let durable = self.durable.clone();
        let (peers, fetched_bytes) = (Arc::clone(&self.peers), Arc::clone(&self.fetched_bytes));
        let streams = async move {
            let BlockGroup { peer, request } = group;
            match durable {
                Some(tier) if peer.home == BlockHome::ObjectStore => Ok(tier.read(request, schema)),
                durable => {
                    let fetched = peers
                        .fetch(peer, &request, Arc::clone(&schema), fetched_bytes)
                        .await;
                    match (fetched, durable) {
                        (Ok(stream), _) => Ok(stream),
                        (Err(_), Some(tier)) if tier.has_all(request.blocks.clone()).await => {
                            Ok(tier.read(request, schema))
                        }
                        (Err(error), _) => Err(error),
                    }
                }
            }
        };
        futures::stream::once(streams).try_flatten().boxed()
    }
}

impl ExchangeSource for ExchangeReader {
    fn open(
        &self,
        read: &ExchangeReadExec,
        partition: usize,
        _context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let blocks = self.inputs.get(&read.stage()).ok_or_else(|| {
            internal_datafusion_err!("the task has no blocks of {}", read.stage())
        })?;
        let partition = read
            .mode()
            .is_by_partition()
            .then(|| u32::try_from(partition).unwrap_or(u32::MAX));
        let schema = read.schema();
        let streams: Vec<_> = match read.mode() {
            // Rows must arrive in the order of the partitions, which is the order of the tasks.
            InputMode::Forward | InputMode::Merge => group_adjacent(blocks, partition),
            InputMode::Shuffle | InputMode::Broadcast => group_by_executor(blocks, partition),
        }
        .into_iter()
        .map(|group| self.read_group(group, Arc::clone(&schema)))
        .collect();
        let merged = match read.mode() {
            InputMode::Forward | InputMode::Merge => {
                let streams =
                    futures::stream::iter(streams.into_iter().map(futures::future::ready));
                streams.buffered(PREFETCH_REQUESTS).flatten().boxed()
            }
            InputMode::Shuffle | InputMode::Broadcast => {
                futures::stream::select_all(streams).boxed()
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, merged)))
    }
}

/// The blocks that may hold rows of a partition; of any partition if `None`.
fn blocks_with(
    blocks: &[BlockLocation],
    partition: Option<u32>,
) -> impl Iterator<Item = &BlockLocation> {
    blocks.iter().filter(move |location| {
        location.partitions.is_empty()
            || partition.is_none_or(|partition| location.partitions.contains(&partition))
    })
}

/// Groups neighbours of one executor, which keeps the order of the blocks.
fn group_adjacent(blocks: &[BlockLocation], partition: Option<u32>) -> Vec<BlockGroup> {
    let mut groups: Vec<BlockGroup> = vec![];
    for location in blocks_with(blocks, partition) {
        match groups.last_mut() {
            Some(group) if group.peer.home == location.home => {
                group.request.blocks.push(location.block);
            }
            _ => groups.push(BlockGroup::new(location, partition)),
        }
    }
    groups
}

/// Groups all blocks of one executor, in any order.
fn group_by_executor(blocks: &[BlockLocation], partition: Option<u32>) -> Vec<BlockGroup> {
    let mut groups: Vec<BlockGroup> = vec![];
    for location in blocks_with(blocks, partition) {
        match groups
            .iter_mut()
            .find(|group| group.peer.home == location.home)
        {
            Some(group) => group.request.blocks.push(location.block),
            None => groups.push(BlockGroup::new(location, partition)),
        }
    }
    groups
}

impl BlockGroup {
    fn new(location: &BlockLocation, partition: Option<u32>) -> Self {
        let request = FetchRequest {
            blocks: vec![location.block],
            partition,
            is_compressed: !location.address.as_deref().is_some_and(is_loopback),
        };
        Self {
            peer: Peer {
                home: location.home,
                address: location.address.clone(),
            },
            request,
        }
    }
}

/// Returns the batches of blocks in this process. Those in memory are shared without a copy, those
/// on disk are read one segment at a time.
pub(super) fn local_batches(
    store: Arc<BlockStore>,
    local: ExecutorId,
    request: FetchRequest,
) -> BoxStream<'static, Result<RecordBatch>> {
    let partition = request.partition;
    let per_block = request
        .blocks
        .into_iter()
        .map(move |id| match store.get(id) {
            Some(block) => {
                // The block itself is wrong, whatever the error: rows in memory cannot fail.
                let damaged = move |source| {
                    let damaged = FetchError::Damaged {
                        block: id,
                        home: BlockHome::Executor(local),
                        source: Box::new(source),
                    };
                    tracing::warn!("{damaged}");
                    DataFusionError::External(Box::new(damaged))
                };
                let batches = block_batches(block, partition);
                futures::stream::iter(batches.map(move |batch| batch.map_err(damaged))).boxed()
            }
            None => {
                let missing_block = FetchError::Lost {
                    block: id,
                    home: BlockHome::Executor(local),
                };
                let error = DataFusionError::External(Box::new(missing_block));
                futures::stream::iter([Err(error)]).boxed()
            }
        });
    futures::stream::iter(per_block).flatten().boxed()
}

fn block_batches(
    block: Arc<SealedBlock>,
    partition: Option<u32>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    block
        .segments(partition)
        .into_iter()
        .flat_map(move |segment| match block.batches(segment) {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
}

#[cfg(test)]
mod tests {
    use faisca_planner::ids::{Attempt, BlockId, QueryId, TaskId};

    use super::*;

    fn location(task: u32, executor: u32, partitions: &[u32]) -> BlockLocation {
        let task = TaskId {
            query: QueryId(1),
            stage: StageId(0),
            index: task,
        };
        BlockLocation {
            block: BlockId {
                task,
                attempt: Attempt(1),
            },
            home: BlockHome::Executor(ExecutorId(executor)),
            address: None,
            partitions: partitions.to_vec(),
        }
    }

    fn tasks(groups: &[BlockGroup]) -> Vec<(u32, Vec<u32>)> {
        let entry = |group: &BlockGroup| {
            let BlockHome::Executor(ExecutorId(executor)) = group.peer.home else {
                panic!("no executor")
            };
            let tasks = group.request.blocks.iter().map(|b| b.task.index);
            (executor, tasks.collect())
        };
        groups.iter().map(entry).collect()
    }

    #[test]
    fn a_shuffle_requests_all_blocks_of_an_executor_at_once() {
        let blocks = [
            location(0, 1, &[]),
            location(1, 2, &[]),
            location(2, 1, &[]),
        ];
        let groups = group_by_executor(&blocks, Some(5));
        assert_eq!(tasks(&groups), [(1, vec![0, 2]), (2, vec![1])]);
        assert!(
            groups
                .iter()
                .all(|group| group.request.partition == Some(5))
        );
    }

    #[test]
    fn a_merge_requests_neighbours_together_and_keeps_their_order() {
        let blocks = [
            location(0, 1, &[0]),
            location(1, 1, &[1]),
            location(2, 2, &[2]),
            location(3, 1, &[3]),
        ];
        let groups = group_adjacent(&blocks, None);
        assert_eq!(
            tasks(&groups),
            [(1, vec![0, 1]), (2, vec![2]), (1, vec![3])]
        );
    }

    #[test]
    fn a_forward_reads_only_the_block_that_has_its_partition() {
        let blocks = [location(0, 1, &[0, 1]), location(1, 2, &[2])];
        assert_eq!(tasks(&group_adjacent(&blocks, Some(2))), [(2, vec![1])]);
    }
}

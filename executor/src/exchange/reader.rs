//! The reading side: same process first, then the peer that made the block, then its durable copy.
//!
//! Blocks of one executor are asked for together, in one `DoGet`. Each stream to a peer holds a
//! bounded number of batches, so a reader's memory does not grow with its number of producers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, Ticket};
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use faisca_planner::ids::{BlockId, ExecutorId, StageId};
use faisca_planner::{ExchangeReadExec, ExchangeSource, InputMode};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

use super::{BlockStore, DurableTier, SealedBlock};
use crate::error::FetchError;
use crate::flight::{MESSAGE_BYTES_MAX, bearer, connect, is_loopback};
use crate::wire::{BlockLocation, FetchRequest, StageBlocks};

/// Requests that an ordered read keeps open ahead of the one being read.
const PREFETCH_REQUESTS: usize = 2;

/// Connections to other executors' Flight services, one each, made when first needed.
#[derive(Debug)]
pub struct PeerClients {
    token: String,
    /// Guards only the map; connecting happens outside it.
    channels: std::sync::Mutex<HashMap<String, Channel>>,
}

impl PeerClients {
    /// `token` authorizes every request.
    #[must_use]
    pub fn new(token: String) -> Self {
        Self {
            token,
            channels: std::sync::Mutex::default(),
        }
    }

    async fn client(&self, address: &str) -> Result<FlightServiceClient<Channel>, tonic::Status> {
        let cached = self.lock().get(address).cloned();
        let channel = match cached {
            Some(channel) => channel,
            None => {
                let channel = connect(address)
                    .await
                    .map_err(|e| tonic::Status::unavailable(format!("{e:?}")))?;
                self.lock().insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    async fn fetch(
        &self,
        address: &str,
        request: &FetchRequest,
    ) -> Result<tonic::Streaming<FlightData>, tonic::Status> {
        let ticket =
            postcard::to_stdvec(request).map_err(|e| tonic::Status::internal(e.to_string()))?;
        let mut request = tonic::Request::new(Ticket {
            ticket: ticket.into(),
        });
        bearer(&mut request, &self.token)?;
        Ok(self
            .client(address)
            .await?
            .do_get(request)
            .await?
            .into_inner())
    }

    /// Sends a block, frame by frame, and waits until the other side has all of it.
    pub(crate) async fn put(
        &self,
        address: &str,
        frames: mpsc::Receiver<FlightData>,
    ) -> Result<(), tonic::Status> {
        let mut request = tonic::Request::new(ReceiverStream::new(frames));
        bearer(&mut request, &self.token)?;
        let mut stored = self
            .client(address)
            .await?
            .do_put(request)
            .await?
            .into_inner();
        match stored.message().await? {
            Some(_) => Ok(()),
            None => Err(tonic::Status::aborted("the peer did not confirm the block")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        self.channels
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Opens the inputs of one attempt.
pub struct ExchangeReader {
    inputs: HashMap<StageId, Arc<Vec<BlockLocation>>>,
    partition_bytes: HashMap<StageId, u64>,
    me: ExecutorId,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    durable: Option<Arc<DurableTier>>,
    fetched_bytes: Arc<AtomicU64>,
}

/// Adjacent blocks of one executor, asked for together.
struct Group {
    executor: ExecutorId,
    address: String,
    request: FetchRequest,
}

impl ExchangeReader {
    /// For one attempt's inputs, as seen from executor `me`.
    #[must_use]
    pub fn new(
        inputs: Vec<StageBlocks>,
        me: ExecutorId,
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
            me,
            store,
            peers,
            durable: None,
            fetched_bytes: Arc::default(),
        }
    }

    /// Looks there for blocks whose executors are gone.
    #[must_use]
    pub fn with_durable(self, durable: Option<Arc<DurableTier>>) -> Self {
        Self { durable, ..self }
    }

    /// Exact bytes of the largest partition that the attempt reads of each stage.
    #[must_use]
    pub fn partition_bytes(&self) -> &HashMap<StageId, u64> {
        &self.partition_bytes
    }

    /// Bytes that came from other executors so far.
    #[must_use]
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    fn stream(&self, group: Group, schema: SchemaRef) -> BoxStream<'static, Result<RecordBatch>> {
        if group.executor == self.me {
            return local(Arc::clone(&self.store), self.me, group.request);
        }
        let durable = self.durable.clone();
        let (peers, fetched) = (Arc::clone(&self.peers), Arc::clone(&self.fetched_bytes));
        let opened = async move {
            match (durable, group.executor) {
                (Some(tier), ExecutorId::STORE) => Ok(tier.read(group.request, schema)),
                (durable, _) => {
                    let request = group.request.clone();
                    match (
                        remote(peers, group, Arc::clone(&schema), fetched).await,
                        durable,
                    ) {
                        (Ok(stream), _) => Ok(stream),
                        (Err(_), Some(tier)) if tier.has(request.blocks.clone()).await => {
                            Ok(tier.read(request, schema))
                        }
                        (Err(error), _) => Err(error),
                    }
                }
            }
        };
        futures::stream::once(opened).try_flatten().boxed()
    }
}

impl ExchangeSource for ExchangeReader {
    fn open(
        &self,
        read: &ExchangeReadExec,
        partition: usize,
        _context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let blocks = self
            .inputs
            .get(&read.stage())
            .ok_or_else(|| internal_datafusion_err!("task has no blocks of {}", read.stage()))?;
        let bucket = read
            .mode()
            .is_by_partition()
            .then(|| u32::try_from(partition).unwrap_or(u32::MAX));
        let schema = read.schema();
        let streams: Vec<_> = match read.mode() {
            // The order of partitions is the order of tasks: keep it.
            InputMode::Forward | InputMode::Merge => group_adjacent(blocks, bucket),
            InputMode::Shuffle | InputMode::Broadcast => group_by_executor(blocks, bucket),
        }
        .into_iter()
        .map(|group| self.stream(group, Arc::clone(&schema)))
        .collect();
        let merged = match read.mode() {
            InputMode::Forward | InputMode::Merge => {
                let opened = futures::stream::iter(streams.into_iter().map(futures::future::ready));
                opened.buffered(PREFETCH_REQUESTS).flatten().boxed()
            }
            InputMode::Shuffle | InputMode::Broadcast => {
                futures::stream::select_all(streams).boxed()
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, merged)))
    }
}

fn wanted(blocks: &[BlockLocation], bucket: Option<u32>) -> impl Iterator<Item = &BlockLocation> {
    blocks.iter().filter(move |b| {
        b.partitions.is_empty() || bucket.is_none_or(|bucket| b.partitions.contains(&bucket))
    })
}

fn group_adjacent(blocks: &[BlockLocation], bucket: Option<u32>) -> Vec<Group> {
    let mut groups: Vec<Group> = vec![];
    for location in wanted(blocks, bucket) {
        match groups.last_mut() {
            Some(group) if group.executor == location.executor => {
                group.request.blocks.push(location.block)
            }
            _ => groups.push(Group::of(location, bucket)),
        }
    }
    groups
}

fn group_by_executor(blocks: &[BlockLocation], bucket: Option<u32>) -> Vec<Group> {
    let mut groups: Vec<Group> = vec![];
    for location in wanted(blocks, bucket) {
        match groups
            .iter_mut()
            .find(|group| group.executor == location.executor)
        {
            Some(group) => group.request.blocks.push(location.block),
            None => groups.push(Group::of(location, bucket)),
        }
    }
    groups
}

impl Group {
    fn of(location: &BlockLocation, bucket: Option<u32>) -> Self {
        let request = FetchRequest {
            blocks: vec![location.block],
            bucket,
            compressed: !is_loopback(&location.address),
        };
        Self {
            executor: location.executor,
            address: location.address.clone(),
            request,
        }
    }
}

/// Batches of blocks in this process: handed on as they are, those on disk a segment at a time.
pub(crate) fn local(
    store: Arc<BlockStore>,
    me: ExecutorId,
    request: FetchRequest,
) -> BoxStream<'static, Result<RecordBatch>> {
    let bucket = request.bucket;
    let per_block = request
        .blocks
        .into_iter()
        .map(move |id| match store.get(id) {
            Some(block) => futures::stream::iter(block_batches(block, bucket)).boxed(),
            None => futures::stream::iter([Err(DataFusionError::External(Box::new(
                FetchError::Lost {
                    block: id,
                    executor: me,
                },
            )))])
            .boxed(),
        });
    futures::stream::iter(per_block).flatten().boxed()
}

fn block_batches(
    block: Arc<SealedBlock>,
    bucket: Option<u32>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    block
        .segments(bucket)
        .into_iter()
        .flat_map(move |place| match block.batches(place) {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
}

async fn remote(
    peers: Arc<PeerClients>,
    group: Group,
    schema: SchemaRef,
    fetched: Arc<AtomicU64>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let first = *group
        .request
        .blocks
        .first()
        .ok_or_else(|| internal_datafusion_err!("an empty fetch"))?;
    let (address, executor) = (group.address.clone(), group.executor);
    let failed = move |status: &tonic::Status| peer_error(first, executor, &address, status);
    let stream = peers
        .fetch(&group.address, &group.request)
        .await
        .map_err(|status| failed(&status))?;
    let counted = stream.map_err(FlightError::from).inspect_ok(move |data| {
        fetched.fetch_add(data.data_body.len() as u64, Ordering::Relaxed);
    });
    let batches = FlightRecordBatchStream::new_from_flight_data(counted);
    let batches = batches.map(move |item| {
        let batch = item.map_err(|error| match &error {
            FlightError::Tonic(status) => failed(status),
            other => failed(&tonic::Status::internal(other.to_string())),
        })?;
        Ok(batch.with_schema(Arc::clone(&schema))?)
    });
    Ok(batches.boxed())
}

/// `NOT_FOUND` carries the lost block in its details.
fn peer_error(
    first: BlockId,
    executor: ExecutorId,
    address: &str,
    status: &tonic::Status,
) -> DataFusionError {
    let error = match status.code() {
        Code::NotFound => FetchError::Lost {
            block: postcard::from_bytes(status.details()).unwrap_or(first),
            executor,
        },
        _ => FetchError::Peer {
            block: first,
            executor,
            address: address.to_owned(),
            reason: status.message().to_owned(),
        },
    };
    DataFusionError::External(Box::new(error))
}

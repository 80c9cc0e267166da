//! The durable tier: copies of blocks in an object store, which outlive their executors.
//!
//! Each attempt has one object, and its key follows from the identity of the block. So nothing is
//! listed, and a reader that cannot reach the executor of a block computes where the copy is.
//! When a query ends, its objects are removed by the executor that wrote them, or by the driver if
//! that executor is dead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::runtime_env::RuntimeEnv;
use faisca_planner::ids::{BlockHome, BlockId, QueryId};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use url::Url;

use super::object::{ObjectIndex, Tail, batches};
use super::{BlockStore, SealedBlock};
use crate::error::FetchError;
use crate::protocol::{DurableExchange, FetchRequest};
use crate::storage::{ObjectStores, Store, UploadWriter};

/// Largest block that is written by a single request; larger ones are multipart uploads.
const PUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Concurrent uploads of one executor.
const UPLOADS_MAX: usize = 2;
/// Memory reserved for one upload: a segment, the parts in flight and the part being filled.
const UPLOAD_BYTES: usize = 40 * 1024 * 1024;
/// Bytes that the first request reads from the end of an object. Most indexes are shorter.
const TAIL_BYTES: u64 = 64 * 1024;
/// Maximum bytes of adjacent segments that one request reads.
const REQUEST_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Blocks that one reader opens ahead of the one being read.
const PREFETCH_BLOCKS: usize = 4;

/// Writes, reads and removes the durable copies of one job.
pub struct DurableTier {
    store: Store,
    prefix: Path,
    run: String,
    runtime: Arc<RuntimeEnv>,
    uploads: Arc<Semaphore>,
    written: Mutex<Written>,
    /// Indexes of blocks that were read, so that each is fetched once.
    indexes: Mutex<HashMap<BlockId, Arc<ObjectIndex>>>,
}

/// The objects that this process has written or is writing.
#[derive(Default)]
struct Written {
    /// Each mutex is locked until the upload of its block has ended.
    blocks: BTreeMap<BlockId, Arc<tokio::sync::Mutex<()>>>,
    /// Queries that have ended: no upload is started for them.
    released: BTreeSet<QueryId>,
}

impl std::fmt::Debug for DurableTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableTier")
            .field("store", &self.store)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl DurableTier {
    /// Opens the tier; sends no request yet.
    ///
    /// # Errors
    /// If the URL is malformed, or its store has no multipart uploads.
    pub fn open(
        settings: &DurableExchange,
        stores: &ObjectStores,
        runtime: &Arc<RuntimeEnv>,
    ) -> Result<Self> {
        let setting = "faisca.exchange.store";
        let url = Url::parse(&settings.folder)
            .map_err(|e| exec_datafusion_err!("{setting}: `{}`: {e}", settings.folder))?;
        let store = stores.get(&url)?;
        if store.uploads.is_none() {
            return Err(exec_datafusion_err!(
                "{setting}: `{}` is not in an object store that can be written",
                settings.folder
            ));
        }
        let prefix =
            Path::from_url_path(url.path()).map_err(|e| exec_datafusion_err!("{setting}: {e}"))?;
        Ok(Self {
            store,
            prefix,
            run: settings.run.clone(),
            runtime: Arc::clone(runtime),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            written: Mutex::default(),
            indexes: Mutex::default(),
        })
    }

    /// Returns the key of a block. It begins with a hash, because stores spread load by prefix.
    fn key(&self, id: BlockId) -> Path {
        let BlockId { task, attempt } = id;
        let name = format!(
            "{}-{}-{}-{}.block",
            task.query, task.stage, task.index, attempt.0
        );
        let hash = format!("{:02x}", crc32fast::hash(name.as_bytes()) & 0xff);
        [hash, self.run.clone(), name]
            .into_iter()
            .fold(self.prefix.clone(), Path::join)
    }

    /// Copies a block of `store`. Returns whether it has a copy now.
    ///
    /// A failure is logged only: the query continues with the block itself. A block without rows
    /// gets no copy.
    pub(crate) async fn keep(self: &Arc<Self>, store: &BlockStore, id: BlockId) -> bool {
        let Some(block) = store.get(id).filter(|block| !block.sizes().is_empty()) else {
            return false;
        };
        let written = self.write(id, block).await;
        if let Err(error) = &written {
            let reason = error.strip_backtrace();
            tracing::warn!(block = %id, "the block has no durable copy: {reason}");
        }
        written.is_ok()
    }

    /// Writes the copy of a block.
    ///
    /// Dropping the future does not stop the upload: a request that was sent cannot be recalled,
    /// and [`Self::release`] must know the final state of every object to remove it.
    ///
    /// # Errors
    /// If the store fails, memory is exhausted, or the query has ended.
    pub(crate) async fn write(
        self: &Arc<Self>,
        id: BlockId,
        block: Arc<SealedBlock>,
    ) -> Result<()> {
        let permit = Arc::clone(&self.uploads)
            .acquire_owned()
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        let ended = Arc::new(tokio::sync::Mutex::new(()));
        let running = Arc::clone(&ended).lock_owned().await;
        {
            let mut written = self.written.lock();
            if written.released.contains(&id.task.query) {
                return Err(no_longer_needed(id));
            }
            written.blocks.insert(id, ended);
        }
        let tier = Arc::clone(self);
        let upload = tokio::task::spawn(async move {
            let uploaded = tier.upload(id, block).await;
            drop((running, permit));
            uploaded
        });
        upload
            .await
            .map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?
    }

    async fn upload(&self, id: BlockId, block: Arc<SealedBlock>) -> Result<()> {
        let reservation =
            MemoryConsumer::new("durable exchange").register(&self.runtime.memory_pool);
        reservation.try_grow(UPLOAD_BYTES)?;
        let key = self.key(id);
        let (mut index, mut head, mut upload) = (ObjectIndex::default(), Vec::new(), None);
        for segment_id in block.segments(None) {
            // The attempt may be cancelled meanwhile.
            if !self.written.lock().blocks.contains_key(&id) {
                return Err(no_longer_needed(id));
            }
            let block = Arc::clone(&block);
            let encoded =
                tokio::task::spawn_blocking(move || block.encode_segment(segment_id)).await;
            for segment in encoded.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?? {
                index.push(segment_id.partition, &segment);
                self.append(&key, &mut head, &mut upload, &segment).await?;
            }
        }
        self.append(&key, &mut head, &mut upload, &index.encode()?)
            .await?;
        let Some((mut writer, result)) = upload else {
            self.store.objects.put(&key, PutPayload::from(head)).await?;
            return Ok(());
        };
        writer.shutdown().await?;
        let (pending, _) = result.sealed_upload()?;
        let parts = pending
            .parts
            .into_iter()
            .map(|content_id| object_store::multipart::PartId { content_id })
            .collect();
        let uploads = self
            .store
            .uploads
            .as_ref()
            .ok_or_else(|| exec_datafusion_err!("no multipart uploads"))?;
        uploads.complete_multipart(&key, &pending.id, parts).await?;
        Ok(())
    }

    /// Appends to the single request's body, or to the upload once the body gets too large for one.
    async fn append(
        &self,
        key: &Path,
        head: &mut Vec<u8>,
        upload: &mut Option<Upload>,
        data: &[u8],
    ) -> Result<()> {
        if upload.is_none() && head.len() + data.len() > PUT_BYTES_MAX {
            let uploads = self
                .store
                .uploads
                .as_ref()
                .ok_or_else(|| exec_datafusion_err!("no multipart uploads"))?;
            let (mut writer, result) =
                UploadWriter::start(Arc::clone(uploads), key.clone()).await?;
            writer.write_all(&std::mem::take(head)).await?;
            *upload = Some((writer, result));
        }
        match upload {
            Some((writer, _)) => writer.write_all(data).await?,
            None => head.extend_from_slice(data),
        }
        Ok(())
    }

    /// Returns the index of a block's object; `None` if there is no such object.
    async fn index(&self, id: BlockId) -> Result<Option<Arc<ObjectIndex>>> {
        if let Some(index) = self.indexes.lock().get(&id) {
            return Ok(Some(Arc::clone(index)));
        }
        let key = self.key(id);
        let mut tail_bytes = TAIL_BYTES;
        loop {
            let options = GetOptions {
                range: Some(GetRange::Suffix(tail_bytes)),
                ..GetOptions::default()
            };
            let tail = match self.store.objects.get_opts(&key, options).await {
                Ok(response) => response.bytes().await?,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            match ObjectIndex::decode(&tail).map_err(|e| damaged_block(id, e))? {
                // Without these conditions, a damaged index could request the same bytes forever.
                Tail::TooShort(bytes) if bytes > tail_bytes && tail.len() as u64 == tail_bytes => {
                    tail_bytes = bytes;
                }
                Tail::TooShort(_) => {
                    let short = exec_datafusion_err!("a block in the object store is cut short");
                    return Err(damaged_block(id, short));
                }
                Tail::Index(index) => {
                    let index = Arc::new(index);
                    self.indexes.lock().insert(id, Arc::clone(&index));
                    return Ok(Some(index));
                }
            }
        }
    }

    /// Whether all of these blocks have a readable copy.
    pub(crate) async fn has_all(self: &Arc<Self>, blocks: Vec<BlockId>) -> bool {
        let index = |id| {
            let tier = Arc::clone(self);
            async move { matches!(tier.index(id).await, Ok(Some(_))) }.boxed()
        };
        let lookups: Vec<_> = blocks.into_iter().map(index).collect();
        futures::stream::iter(lookups)
            .buffered(PREFETCH_BLOCKS)
            .all(futures::future::ready)
            .await
    }

    /// Reads the rows of blocks, one block after another.
    pub(crate) fn read(
        self: Arc<Self>,
        request: FetchRequest,
        schema: SchemaRef,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let partition = request.partition;
        let streams = futures::stream::iter(request.blocks)
            .map(move |id| Arc::clone(&self).open_block(id, partition));
        let batches = streams.buffered(PREFETCH_BLOCKS).try_flatten();
        batches
            .map(move |batch| Ok(batch?.with_schema(Arc::clone(&schema))?))
            .boxed()
    }

    async fn open_block(
        self: Arc<Self>,
        id: BlockId,
        partition: Option<u32>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let missing_block = move || {
            DataFusionError::External(Box::new(FetchError::Lost {
                block: id,
                home: BlockHome::ObjectStore,
            }))
        };
        let index = self.index(id).await?.ok_or_else(missing_block)?;
        let key = self.key(id);
        let requests = futures::stream::iter(index.requests(partition, REQUEST_BYTES_MAX)).then(
            move |(range, segments)| {
                let (objects, key) = (Arc::clone(&self.store.objects), key.clone());
                async move {
                    match objects.get_range(&key, range).await {
                        Ok(bytes) => {
                            let rows =
                                batches(&bytes, &segments).map_err(|e| damaged_block(id, e))?;
                            Ok(futures::stream::iter(rows).map(Ok))
                        }
                        Err(object_store::Error::NotFound { .. }) => Err(missing_block()),
                        Err(error) => Err(error.into()),
                    }
                }
            },
        );
        Ok(requests.try_flatten().boxed())
    }

    /// Removes the copy of one attempt, if this process wrote it. Waits for its upload to end.
    pub(crate) async fn forget(&self, id: BlockId) {
        let ended = self.written.lock().blocks.remove(&id);
        if let Some(ended) = ended {
            drop(ended.lock().await);
            self.remove(vec![id]).await;
        }
    }

    /// Removes every copy that this process wrote for a query. Waits for their uploads to end.
    pub(crate) async fn release(&self, query: QueryId) {
        self.indexes.lock().retain(|id, _| id.task.query != query);
        let written_here: Vec<_> = {
            let mut written = self.written.lock();
            written.released.insert(query);
            let written_here: Vec<BlockId> = written
                .blocks
                .keys()
                .filter(|id| id.task.query == query)
                .copied()
                .collect();
            written_here
                .into_iter()
                .filter_map(|id| written.blocks.remove(&id).map(|ended| (id, ended)))
                .collect()
        };
        for (_, ended) in &written_here {
            drop(ended.lock().await);
        }
        self.remove(written_here.into_iter().map(|(id, _)| id).collect())
            .await;
    }

    /// Removes the copies of blocks, no matter which process wrote them. Missing ones are ignored.
    /// Those that cannot be removed are logged and left to the bucket's lifecycle rule.
    pub async fn remove(&self, blocks: Vec<BlockId>) {
        let keys: Vec<Path> = blocks.into_iter().map(|id| self.key(id)).collect();
        let mut removed = self
            .store
            .objects
            .delete_stream(futures::stream::iter(keys).map(Ok).boxed());
        while let Some(outcome) = removed.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(
                    "a block in the object store is left to the bucket's lifecycle rule: {error}"
                ),
            }
        }
    }
}

fn damaged_block(id: BlockId, source: DataFusionError) -> DataFusionError {
    let damaged = FetchError::Damaged {
        block: id,
        home: BlockHome::ObjectStore,
        source: Box::new(source),
    };
    tracing::warn!("{damaged}");
    DataFusionError::External(Box::new(damaged))
}

fn no_longer_needed(id: BlockId) -> DataFusionError {
    exec_datafusion_err!("block {id} is no longer needed")
}

type Upload = (UploadWriter, crate::storage::UploadResult);

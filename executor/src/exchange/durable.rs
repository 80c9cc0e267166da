//! The durable tier: blocks in an object store, which outlive their executor.
//!
//! One object for each attempt, at a name that follows from its identity: nothing is listed, and a
//! reader that finds no executor with a block knows where else to look. Objects go when their
//! statement ends: by the executor that wrote them, or by the driver for executors that are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::runtime_env::RuntimeEnv;
use faisca_planner::ids::{BlockId, ExecutorId, QueryId};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use url::Url;

use super::object::{ObjectIndex, Tail, batches};
use super::{BlockStore, SealedBlock};
use crate::error::FetchError;
use crate::stores::{Store, Stores, UploadWriter};
use crate::wire::FetchRequest;

/// A block up to this size is one request; larger ones travel in parts.
const PUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Uploads of one executor at once.
const UPLOADS_MAX: usize = 2;
/// Memory of one upload: a segment, the parts under way and the one being filled.
const UPLOAD_BYTES: usize = 40 * 1024 * 1024;
/// Bytes of an object's end that are read first.
const TAIL_BYTES: u64 = 64 * 1024;
/// Adjacent segments that are read in one request.
const REQUEST_BYTES: u64 = 8 * 1024 * 1024;
/// Blocks that one reader opens ahead.
const PREFETCH_BLOCKS: usize = 4;

/// Where blocks are kept, and when. Travels to executors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableExchange {
    /// URL of a folder in an object store.
    pub folder: String,
    /// Part of every key, so that jobs never meet.
    pub run: String,
}

/// See the module.
pub struct DurableTier {
    store: Store,
    prefix: Path,
    run: String,
    runtime: Arc<RuntimeEnv>,
    uploads: Arc<Semaphore>,
    written: Mutex<Written>,
    /// Indexes of blocks that were read.
    indexes: Mutex<HashMap<BlockId, Arc<ObjectIndex>>>,
}

/// What this process wrote, or began to write.
#[derive(Default)]
struct Written {
    /// Each is locked until its upload has come to an end.
    blocks: BTreeMap<BlockId, Arc<tokio::sync::Mutex<()>>>,
    /// Statements that have ended: nothing more is begun for them.
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
    /// Opens the tier; nothing is sent yet.
    ///
    /// # Errors
    /// If the URL is not that of a store with multipart uploads.
    pub fn open(
        settings: &DurableExchange,
        stores: &Stores,
        runtime: &Arc<RuntimeEnv>,
    ) -> Result<Self> {
        let name = "faisca.exchange.store";
        let url = Url::parse(&settings.folder)
            .map_err(|e| exec_datafusion_err!("{name}: `{}`: {e}", settings.folder))?;
        let store = stores.get(&url)?;
        if store.uploads.is_none() {
            return Err(exec_datafusion_err!(
                "{name}: `{}` is not in an object store that can be written",
                settings.folder
            ));
        }
        let prefix =
            Path::from_url_path(url.path()).map_err(|e| exec_datafusion_err!("{name}: {e}"))?;
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

    /// Keys begin with a hash, since stores spread their load by prefix.
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

    /// Gives a block its copy; answers whether it has one. The block itself stays, so that a
    /// statement can go on without. One without rows needs none.
    pub(crate) async fn keep(self: &Arc<Self>, store: &BlockStore, id: BlockId) -> bool {
        let Some(block) = store.get(id).filter(|block| !block.sizes().is_empty()) else {
            return false;
        };
        let written = self.write(id, block).await;
        written.inspect_err(|error| tracing::warn!(block = %id, "has no durable copy: {}", error.strip_backtrace())).is_ok()
    }

    /// Writes a block. An upload that nobody waits for any more still comes to its end, since a
    /// request that was sent cannot be taken back: only so does [`Self::release`] know what to remove.
    ///
    /// # Errors
    /// Of the store, or if memory is short.
    pub(crate) async fn write(
        self: &Arc<Self>,
        id: BlockId,
        block: Arc<SealedBlock>,
    ) -> Result<()> {
        let turn = Arc::clone(&self.uploads)
            .acquire_owned()
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        let ended = Arc::new(tokio::sync::Mutex::new(()));
        let under_way = Arc::clone(&ended).lock_owned().await;
        {
            let mut written = lock(&self.written);
            if written.released.contains(&id.task.query) {
                return Err(over(id));
            }
            written.blocks.insert(id, ended);
        }
        let tier = Arc::clone(self);
        let upload = tokio::task::spawn(async move {
            let uploaded = tier.upload(id, block).await;
            drop((under_way, turn));
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
        for place in block.segments(None) {
            if !lock(&self.written).blocks.contains_key(&id) {
                return Err(over(id));
            }
            let block = Arc::clone(&block);
            let encoded = tokio::task::spawn_blocking(move || block.encoded(place)).await;
            for segment in encoded.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?? {
                index.push(place.bucket, &segment);
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
        let (pending, _) = result.sealed()?;
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
                UploadWriter::begin(Arc::clone(uploads), key.clone()).await?;
            writer.write_all(&std::mem::take(head)).await?;
            *upload = Some((writer, result));
        }
        match upload {
            Some((writer, _)) => writer.write_all(data).await?,
            None => head.extend_from_slice(data),
        }
        Ok(())
    }

    async fn index(&self, id: BlockId) -> object_store::Result<Result<Arc<ObjectIndex>>> {
        if let Some(known) = lock(&self.indexes).get(&id) {
            return Ok(Ok(Arc::clone(known)));
        }
        let key = self.key(id);
        let mut wanted = TAIL_BYTES;
        loop {
            let options = GetOptions {
                range: Some(GetRange::Suffix(wanted)),
                ..GetOptions::default()
            };
            let tail = self
                .store
                .objects
                .get_opts(&key, options)
                .await?
                .bytes()
                .await?;
            match ObjectIndex::decode(&tail) {
                Ok(Tail::Longer(bytes)) => wanted = bytes,
                Ok(Tail::Index(index)) => {
                    let index = Arc::new(index);
                    lock(&self.indexes).insert(id, Arc::clone(&index));
                    return Ok(Ok(index));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Whether all of these are here.
    pub(crate) async fn has(self: &Arc<Self>, blocks: Vec<BlockId>) -> bool {
        let index = |id| {
            let tier = Arc::clone(self);
            async move { matches!(tier.index(id).await, Ok(Ok(_))) }.boxed()
        };
        let found: Vec<_> = blocks.into_iter().map(index).collect();
        futures::stream::iter(found)
            .buffered(PREFETCH_BLOCKS)
            .all(futures::future::ready)
            .await
    }

    /// Rows of blocks, one block after another.
    pub(crate) fn read(
        self: Arc<Self>,
        request: FetchRequest,
        schema: SchemaRef,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let bucket = request.bucket;
        let opened = futures::stream::iter(request.blocks)
            .map(move |id| Arc::clone(&self).open_block(id, bucket));
        let batches = opened.buffered(PREFETCH_BLOCKS).try_flatten();
        batches
            .map(move |batch| Ok(batch?.with_schema(Arc::clone(&schema))?))
            .boxed()
    }

    async fn open_block(
        self: Arc<Self>,
        id: BlockId,
        bucket: Option<u32>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let lost = move || {
            DataFusionError::External(Box::new(FetchError::Lost {
                block: id,
                executor: ExecutorId::STORE,
            }))
        };
        let index = match self.index(id).await {
            Ok(index) => index?,
            Err(object_store::Error::NotFound { .. }) => return Err(lost()),
            Err(error) => return Err(error.into()),
        };
        let key = self.key(id);
        let requests = futures::stream::iter(index.requests(bucket, REQUEST_BYTES)).then(
            move |(range, segments)| {
                let (objects, key) = (Arc::clone(&self.store.objects), key.clone());
                async move {
                    match objects.get_range(&key, range).await {
                        Ok(bytes) => Ok(futures::stream::iter(batches(&bytes, &segments)?).map(Ok)),
                        Err(object_store::Error::NotFound { .. }) => Err(lost()),
                        Err(error) => Err(error.into()),
                    }
                }
            },
        );
        Ok(requests.try_flatten().boxed())
    }

    /// Removes one attempt's object, if this process wrote it.
    pub(crate) async fn forget(&self, id: BlockId) {
        let ended = lock(&self.written).blocks.remove(&id);
        if let Some(ended) = ended {
            drop(ended.lock().await);
            self.remove(vec![id]).await;
        }
    }

    /// Removes what this process wrote for a statement, and forgets what it knows of it.
    pub(crate) async fn release(&self, query: QueryId) {
        lock(&self.indexes).retain(|id, _| id.task.query != query);
        let own: Vec<_> = {
            let mut written = lock(&self.written);
            written.released.insert(query);
            let own: Vec<BlockId> = written
                .blocks
                .keys()
                .filter(|id| id.task.query == query)
                .copied()
                .collect();
            own.into_iter()
                .filter_map(|id| written.blocks.remove(&id).map(|ended| (id, ended)))
                .collect()
        };
        for (_, ended) in &own {
            drop(ended.lock().await);
        }
        self.remove(own.into_iter().map(|(id, _)| id).collect())
            .await;
    }

    /// Removes objects, whoever wrote them; those that are not there are fine. What cannot be
    /// removed is left to the bucket's lifecycle rule.
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
                    "a block in the object store is left to its lifecycle rule: {error}"
                ),
            }
        }
    }
}

fn over(id: BlockId) -> DataFusionError {
    exec_datafusion_err!("nobody wants block {id} any more")
}

type Upload = (UploadWriter, crate::stores::UploadResult);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

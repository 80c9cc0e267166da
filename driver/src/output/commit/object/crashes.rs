//! The commit on object stores as a model: a writer dies, or another one comes, at each request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use faisca_executor::protocol::{PendingFile, PendingUpload};
use faisca_executor::storage::{StaleUpload, Uploads};
use faisca_planner::manifest::{PartitionOverwrite, SaveMode};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartId,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result as StoreResult,
};
use parking_lot::Mutex;

use super::super::clean::{CleanMode, clean_folder};
use super::{Begun, Folder, ObjectWrite};
use crate::catalog::{Catalogs, GlueSettings};
use crate::error::{Error, Result};
use crate::output::commit::write_kinds::{APPEND, RESTARTED_KINDS, WRITE_KINDS, WriteKind};
use crate::visibility::is_visible;
use crate::write_identity::{RunId, WriteId};

const TARGET: &str = "gold/out";

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Live,
    /// The process dies before the store has handled the request, and sends no other.
    DieBefore,
    /// The process dies after the store has handled it.
    DieAfter,
}

type Decide = Arc<dyn Fn(usize) -> BoxFuture<'static, Fate> + Send + Sync>;

/// What survives every process.
#[derive(Clone, Default)]
struct Bucket {
    objects: Arc<InMemory>,
    open: Arc<Mutex<Vec<(Path, MultipartId)>>>,
}

/// A process's connection to the bucket.
#[derive(Clone)]
struct Client {
    bucket: Bucket,
    requests: Arc<AtomicUsize>,
    decide: Decide,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    fn new(bucket: &Bucket, decide: Decide) -> Self {
        Self {
            bucket: bucket.clone(),
            requests: Arc::default(),
            decide,
        }
    }

    /// Returns a client whose process dies at the request with this number, in the way of `fate`.
    fn dying(bucket: &Bucket, death: usize, fate: Fate) -> Self {
        let decide: Decide = Arc::new(move |number| {
            let fate = match number.cmp(&death) {
                std::cmp::Ordering::Less => Fate::Live,
                std::cmp::Ordering::Equal => fate,
                std::cmp::Ordering::Greater => Fate::DieBefore,
            };
            futures::future::ready(fate).boxed()
        });
        Self::new(bucket, decide)
    }

    fn immortal(bucket: &Bucket) -> Self {
        Self::new(
            bucket,
            Arc::new(|_| futures::future::ready(Fate::Live).boxed()),
        )
    }

    async fn request<T>(&self, handled: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let dead = || StoreError::Generic {
            store: "test",
            source: "the process is dead".into(),
        };
        match (self.decide)(number).await {
            Fate::Live => handled.await,
            Fate::DieBefore => Err(dead()),
            Fate::DieAfter => {
                let _ = handled.await;
                Err(dead())
            }
        }
    }
}

#[async_trait]
impl ObjectStore for Client {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        let put = self.bucket.objects.put_opts(location, payload, options);
        self.request(put).await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        Err(StoreError::NotImplemented {
            operation: "put_multipart".to_owned(),
            implementer: "test".to_owned(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.request(self.bucket.objects.get_opts(location, options))
            .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        let client = self.clone();
        let deleted = locations.then(move |path| {
            let client = client.clone();
            async move {
                let path = path?;
                client.request(client.bucket.objects.delete(&path)).await?;
                Ok(path)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (client, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let objects = client
                .bucket
                .objects
                .list(prefix.as_ref())
                .try_collect::<Vec<_>>();
            let objects = client.request(objects).await?;
            Ok::<_, StoreError>(futures::stream::iter(objects).map(Ok))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.bucket.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.bucket.objects.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Client {
    async fn create_multipart(&self, path: &Path) -> StoreResult<MultipartId> {
        let created = async {
            let id = self.bucket.objects.create_multipart(path).await?;
            self.bucket.open.lock().push((path.clone(), id.clone()));
            Ok(id)
        };
        self.request(created).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> StoreResult<PartId> {
        self.request(self.bucket.objects.put_part(path, id, part_idx, data))
            .await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> StoreResult<PutResult> {
        let completed = async {
            let result = self
                .bucket
                .objects
                .complete_multipart(path, id, parts)
                .await?;
            self.bucket.open.lock().retain(|(_, open)| open != id);
            Ok(result)
        };
        self.request(completed).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> StoreResult<()> {
        let aborted = async {
            self.bucket.objects.abort_multipart(path, id).await?;
            self.bucket.open.lock().retain(|(_, open)| open != id);
            Ok(())
        };
        self.request(aborted).await
    }
}

#[async_trait]
impl Uploads for Client {
    async fn list_unfinished(&self, folder: &Path) -> StoreResult<Vec<StaleUpload>> {
        let listed = async {
            let open = self.bucket.open.lock().clone();
            let in_folder = open
                .into_iter()
                .filter(|(path, _)| path.prefix_match(folder).is_some());
            let stale = in_folder.map(|(path, id)| StaleUpload {
                path,
                id,
                started: None,
            });
            Ok(stale.collect())
        };
        self.request(listed).await
    }
}

const OLD: &str = "old000000000";
const NEW: &str = "new000000000";
const OTHER: &str = "other0000000";

fn folder(client: &Client) -> Folder {
    let client = Arc::new(client.clone());
    let (objects, uploads) = (Arc::clone(&client) as _, client as _);
    let catalogs = Arc::new(Catalogs::new("warehouse", GlueSettings::default()));
    Folder::of_test(objects, uploads, TARGET, catalogs)
}

fn file_path(partition: &str, tag: &str) -> String {
    format!("{partition}/part-00000-{tag}-a1-000.parquet")
}

/// Writes a file to each of the partitions `a=1` and `a=3`, as the tasks and the driver of a job
/// do.
async fn write(client: &Client, kind: WriteKind, tag: &str) -> Result<()> {
    write_as(client, kind, tag, None).await
}

async fn write_as(
    client: &Client,
    kind: WriteKind,
    tag: &str,
    identity: Option<WriteId>,
) -> Result<()> {
    let write = kind.write_to("s3://lake/gold/out");
    let folder = folder(client);
    let begun = ObjectWrite::begin(folder.clone(), &write, tag.to_owned(), identity, None).await?;
    let Begun::Write(mut begun) = begun else {
        return Ok(());
    };
    let mut files = vec![];
    for partition in ["a=1", "a=3"] {
        let path = file_path(partition, tag);
        let key = Path::parse(format!("{TARGET}/{path}")).unwrap();
        let payload = PutPayload::from(tag.as_bytes().to_vec());
        let bytes = payload.content_length() as u64;
        let uploaded = async {
            let id = client.create_multipart(&key).await?;
            let part = client.put_part(&key, &id, 0, payload).await?;
            Ok::<_, StoreError>(PendingUpload {
                id,
                parts: vec![part.content_id],
            })
        };
        let uploaded = uploaded.await;
        let upload = Some(uploaded.map_err(|e| folder.store_error("write to", e))?);
        files.push(PendingFile {
            path,
            rows: 1,
            bytes,
            upload,
        });
    }
    let committed = begun.commit(&files).await;
    begun.abort().await;
    committed
}

/// Returns the files that readers see, with their contents.
async fn visible(bucket: &Bucket) -> BTreeMap<String, Bytes> {
    let target = Path::from(TARGET);
    let objects: Vec<ObjectMeta> = bucket
        .objects
        .list(Some(&target))
        .try_collect()
        .await
        .unwrap();
    let mut files = BTreeMap::new();
    for meta in objects
        .iter()
        .filter(|meta| is_visible(&target, &meta.location))
    {
        let bytes = bucket
            .objects
            .get(&meta.location)
            .await
            .unwrap()
            .bytes()
            .await;
        let name = meta.location.as_ref().strip_prefix("gold/out/").unwrap();
        files.insert(name.to_owned(), bytes.unwrap());
    }
    files
}

fn files_of(partitions: &[&str], tag: &str) -> BTreeMap<String, Bytes> {
    let file = |partition: &&str| (file_path(partition, tag), Bytes::from(tag.to_owned()));
    partitions.iter().map(file).collect()
}

/// A bucket with a file of each of two partitions, and the file and the upload of a sibling.
async fn old_bucket() -> Bucket {
    let bucket = Bucket::default();
    for (name, bytes) in files_of(&["a=1", "a=2"], OLD) {
        let key = Path::parse(format!("{TARGET}/{name}")).unwrap();
        bucket.objects.put(&key, bytes.into()).await.unwrap();
    }
    let sibling = Path::from("gold/out2/x");
    bucket
        .objects
        .put(&sibling, Bytes::from("sibling").into())
        .await
        .unwrap();
    Client::immortal(&bucket)
        .create_multipart(&Path::from("gold/out2/y"))
        .await
        .unwrap();
    bucket
}

/// The output after a write of `tag` that came after `old`.
fn after(old: &BTreeMap<String, Bytes>, kind: WriteKind, tag: &str) -> BTreeMap<String, Bytes> {
    let is_kept = |name: &String| match (kind.mode, kind.partitions) {
        (SaveMode::Append, _) => true,
        (_, PartitionOverwrite::Dynamic) => name.starts_with("a=2/"),
        (_, PartitionOverwrite::Static) => false,
    };
    let kept = old.iter().filter(|(name, _)| is_kept(name));
    let mut files: BTreeMap<_, _> = kept.map(|(n, b)| (n.clone(), b.clone())).collect();
    files.extend(files_of(&["a=1", "a=3"], tag));
    files
}

fn contains(all: &BTreeMap<String, Bytes>, part: &BTreeMap<String, Bytes>) -> bool {
    part.iter()
        .all(|(name, bytes)| all.get(name) == Some(bytes))
}

/// Cleans the folder, and checks that nothing of any writer is left but the sibling's.
async fn check_no_litter(bucket: &Bucket, case: &str) {
    let client = Client::immortal(bucket);
    clean_folder(&folder(&client), Duration::ZERO, CleanMode::Remove)
        .await
        .unwrap();
    let open: Vec<String> = bucket
        .open
        .lock()
        .iter()
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(open, ["gold/out2/y"], "{case}");
    assert!(
        bucket
            .objects
            .head(&Path::from("gold/out2/x"))
            .await
            .is_ok(),
        "{case}"
    );
}

#[tokio::test]
async fn a_writer_that_dies_at_any_request_leaves_the_old_or_the_new_output_whole() {
    for kind in WRITE_KINDS {
        for fate in [Fate::DieBefore, Fate::DieAfter] {
            for death in 0.. {
                let bucket = old_bucket().await;
                let old = visible(&bucket).await;
                let new = after(&old, kind, NEW);
                let client = Client::dying(&bucket, death, fate);
                let written = write(&client, kind, NEW).await;
                let case = format!("{kind:?}, request {death}, done {}", fate == Fate::DieAfter);
                let left = visible(&bucket).await;
                assert!(
                    contains(&left, &old) || contains(&left, &new),
                    "{case}: {left:?}"
                );
                assert!(written.is_err() || left == new, "{case}: {left:?}");

                // The next job finishes the commit if there is a record, and sees nothing of it if
                // not.
                write(&Client::immortal(&bucket), APPEND, OTHER)
                    .await
                    .unwrap();
                let whole = visible(&bucket).await;
                let is_whole = |output| whole == after(output, APPEND, OTHER);
                assert!(is_whole(&old) || is_whole(&new), "{case}: {whole:?}");
                assert!(written.is_err() || is_whole(&new), "{case}");
                check_no_litter(&bucket, &case).await;
                assert_eq!(visible(&bucket).await, whole, "{case}");
                if client.requests.load(Ordering::SeqCst) <= death {
                    assert!(written.is_ok(), "{case}");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn two_writers_that_meet_at_any_request_leave_the_output_of_one_or_both_appends() {
    for kind in WRITE_KINDS {
        for meeting in 0.. {
            let bucket = old_bucket().await;
            let old = visible(&bucket).await;
            let (other, outcome) = (Client::immortal(&bucket), Arc::new(Mutex::new(None)));
            let reported = Arc::clone(&outcome);
            let decide: Decide = Arc::new(move |number| {
                let (other, reported) = (other.clone(), Arc::clone(&reported));
                let meet = async move {
                    if number == meeting {
                        let written = write(&other, kind, OTHER).await;
                        *reported.lock() = Some(written);
                    }
                    Fate::Live
                };
                meet.boxed()
            });
            let written = write(&Client::new(&bucket, decide), kind, NEW).await;
            let met = outcome.lock().take();
            let left = visible(&bucket).await;
            let case = format!("{kind:?}, request {meeting}: {written:?} {met:?} {left:?}");
            let (of_new, of_other) = (after(&old, kind, NEW), after(&old, kind, OTHER));
            match (&written, &met) {
                (Ok(()), Some(Ok(()))) if kind.mode == SaveMode::Append => {
                    assert_eq!(left, after(&of_new, kind, OTHER), "{case}");
                }
                (Ok(()), Some(Ok(()))) => {
                    assert!(left == of_other || left == of_new, "{case}");
                }
                (Ok(()), None) => assert_eq!(left, of_new, "{case}"),
                (Err(Error::Conflict(_)), Some(Ok(()))) => assert_eq!(left, of_other, "{case}"),
                _ => panic!("{case}"),
            }
            check_no_litter(&bucket, &case).await;
            if met.is_none() {
                break;
            }
        }
    }
}

/// Writes as a driver does that is started again: unless an earlier attempt has committed.
async fn write_again(client: &Client, kind: WriteKind, tag: &str, id: &WriteId) -> Result<()> {
    match folder(client).find_committed(id, None).await? {
        Some(_) => Ok(()),
        None => write_as(client, kind, tag, Some(id.clone())).await,
    }
}

/// A bucket for a write of this kind: `errorIfExists` needs a folder without files.
async fn bucket_for(kind: WriteKind) -> Bucket {
    let bucket = old_bucket().await;
    if kind.mode == SaveMode::ErrorIfExists {
        for name in visible(&bucket).await.keys() {
            let key = Path::parse(format!("{TARGET}/{name}")).unwrap();
            bucket.objects.delete(&key).await.unwrap();
        }
    }
    bucket
}

fn identity() -> WriteId {
    RunId::new("run").write("job", "step", "SELECT 1")
}

#[tokio::test]
async fn a_writer_that_dies_at_any_request_and_is_started_again_writes_once() {
    for kind in RESTARTED_KINDS {
        for fate in [Fate::DieBefore, Fate::DieAfter] {
            for death in 0.. {
                let bucket = bucket_for(kind).await;
                let old = visible(&bucket).await;
                let client = Client::dying(&bucket, death, fate);
                let written = write_again(&client, kind, NEW, &identity()).await;
                let case = format!("{kind:?}, request {death}, done {}", fate == Fate::DieAfter);
                let next = Client::immortal(&bucket);
                write_again(&next, kind, OTHER, &identity()).await.unwrap();
                let whole = visible(&bucket).await;
                let (by_first, by_second) = (after(&old, kind, NEW), after(&old, kind, OTHER));
                assert!(whole == by_first || whole == by_second, "{case}: {whole:?}");
                assert!(written.is_err() || whole == by_first, "{case}: {whole:?}");
                // A third attempt finds the write behind those of others.
                write(&next, APPEND, "third0000000").await.unwrap();
                let after = visible(&bucket).await;
                write_again(&next, kind, "fourth000000", &identity())
                    .await
                    .unwrap();
                assert_eq!(visible(&bucket).await, after, "{case}");
                check_no_litter(&bucket, &case).await;
                if client.requests.load(Ordering::SeqCst) <= death {
                    assert!(written.is_ok(), "{case}");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn of_two_attempts_of_a_write_that_meet_at_any_request_one_commits() {
    for kind in RESTARTED_KINDS {
        for meeting in 0.. {
            let bucket = bucket_for(kind).await;
            let old = visible(&bucket).await;
            let (other, outcome) = (Client::immortal(&bucket), Arc::new(Mutex::new(None)));
            let reported = Arc::clone(&outcome);
            let decide: Decide = Arc::new(move |number| {
                let (other, reported) = (other.clone(), Arc::clone(&reported));
                let meet = async move {
                    if number == meeting {
                        let written = write_again(&other, kind, OTHER, &identity()).await;
                        *reported.lock() = Some(written);
                    }
                    Fate::Live
                };
                meet.boxed()
            });
            let client = Client::new(&bucket, decide);
            let written = write_again(&client, kind, NEW, &identity()).await;
            let met = outcome.lock().take();
            let left = visible(&bucket).await;
            let case = format!("{kind:?}, request {meeting}: {written:?} {met:?} {left:?}");
            assert!(written.is_ok() && !matches!(met, Some(Err(_))), "{case}");
            let (by_one, by_other) = (after(&old, kind, NEW), after(&old, kind, OTHER));
            assert!(left == by_one || left == by_other, "{case}");
            check_no_litter(&bucket, &case).await;
            if met.is_none() {
                break;
            }
        }
    }
}

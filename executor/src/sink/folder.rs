//! The folder that a task writes into, in an object store or on this machine.
//!
//! Objects are uploaded to their final keys, and the uploads are not completed. A local folder is
//! never created here: a cancelled task may write a moment longer than its job lives, and must not
//! create a staging folder again that the job has removed.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::datasource::listing::ListingTableUrl;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use tokio::io::AsyncWrite;

use crate::protocol::{PendingFile, PendingUpload};
use crate::storage::{ObjectStores, UploadResult, UploadWriter, Uploads};

/// Bytes buffered before a write to a local file.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Files of a task that are synchronised at once. File systems combine their waits for the disk.
const SYNCS_MAX: usize = 32;

/// A file being written.
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// How to look up a file after its [`Output`] was shut down.
pub(super) enum Finished {
    Local(PathBuf),
    Upload(UploadResult),
}

/// The folder that a task writes into.
#[derive(Clone)]
pub(super) enum OutputFolder {
    Local(PathBuf),
    Store {
        uploads: Arc<dyn Uploads>,
        base: Path,
    },
}

impl OutputFolder {
    pub(super) fn new(folder: &str, stores: &ObjectStores) -> Result<Self> {
        let url = ListingTableUrl::parse(folder)?;
        if url.scheme() == "file" {
            let folder = url
                .get_url()
                .to_file_path()
                .map_err(|()| exec_datafusion_err!("{folder} is not a local folder"))?;
            return Ok(Self::Local(folder));
        }
        let uploads = stores.get(url.get_url())?.uploads;
        let uploads = uploads.ok_or_else(|| {
            exec_datafusion_err!(
                "{folder}: `{}://` can be read, but not written",
                url.scheme()
            )
        })?;
        Ok(Self::Store {
            uploads,
            base: url.prefix().clone(),
        })
    }

    /// Opens a new file at `path`, relative to the folder.
    pub(super) async fn create(&self, path: &str) -> Result<(Output, Finished)> {
        match self {
            Self::Local(folder) => {
                let mut target = folder.clone();
                let mut parts: Vec<&str> = path.split('/').collect();
                let name = parts.pop().unwrap_or_default();
                for part in parts {
                    target.push(part);
                    match tokio::fs::create_dir(&target).await {
                        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                            return Err(writing_error(&target, &error));
                        }
                        _ => {}
                    }
                }
                target.push(name);
                let file = tokio::fs::File::create(&target).await;
                let file = file.map_err(|e| writing_error(&target, &e))?;
                Ok((
                    Box::new(tokio::io::BufWriter::with_capacity(BUFFER_BYTES, file)),
                    Finished::Local(target),
                ))
            }
            Self::Store { uploads, base } => {
                let (writer, result) =
                    UploadWriter::start(Arc::clone(uploads), child(base, path)?).await?;
                Ok((Box::new(writer), Finished::Upload(result)))
            }
        }
    }
}

impl OutputFolder {
    /// Waits until the rows in files of this machine are on the disk: the commit replaces the old
    /// files, and a power cut must not leave empty ones.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) async fn sync(&self, files: &[PendingFile]) -> Result<()> {
        let Self::Local(folder) = self else {
            return Ok(());
        };
        let syncs = files.iter().map(|file| {
            let path = folder.join(&file.path);
            async move {
                let file = tokio::fs::File::open(&path).await;
                let synced = match file {
                    Ok(file) => file.sync_data().await,
                    Err(error) => Err(error),
                };
                synced.map_err(|e| writing_error(&path, &e))
            }
        });
        let syncs: Vec<_> = syncs.collect();
        futures::stream::iter(syncs)
            .buffer_unordered(SYNCS_MAX)
            .try_collect()
            .await
    }
}

/// Adds the path to an error of the file system, and keeps its kind.
fn writing_error(path: &std::path::Path, error: &std::io::Error) -> DataFusionError {
    let text = format!("writing {}: {error}", path.display());
    DataFusionError::IoError(std::io::Error::new(error.kind(), text))
}

impl Finished {
    /// Returns the size of the file, and the upload that the commit completes, if any.
    pub(super) async fn into_parts(self) -> Result<(u64, Option<PendingUpload>)> {
        match self {
            Self::Local(path) => Ok((tokio::fs::metadata(path).await?.len(), None)),
            Self::Upload(result) => {
                let (upload, bytes) = result.sealed_upload()?;
                Ok((bytes, Some(upload)))
            }
        }
    }
}

/// Joins a prefix, which is empty for a bucket's root, and a relative path.
fn child(base: &Path, path: &str) -> Result<Path> {
    let key = if base.as_ref().is_empty() {
        path.to_owned()
    } else {
        format!("{base}/{path}")
    };
    Ok(Path::parse(key)?)
}

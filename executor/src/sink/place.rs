//! Where a task's files go: below a folder of an object store, or of this machine.
//!
//! Objects are uploaded to where they will be, and left uncompleted. A local folder is written by
//! its own path, and never made anew: a cancelled task may write a moment longer than its job
//! lives, and must not bring back a staging folder that is gone.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::datasource::listing::ListingTableUrl;
use object_store::path::Path;
use tokio::io::AsyncWrite;

use crate::stores::{Stores, UploadResult, UploadWriter, Uploads};
use crate::wire::PendingUpload;

/// Bytes gathered before a local file is written to.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A file being written.
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// What tells of a file once its [`Output`] was shut down.
pub(super) enum Finished {
    Local(PathBuf),
    Upload(UploadResult),
}

/// The folder that a task writes below.
#[derive(Clone)]
pub(super) enum Place {
    Local(PathBuf),
    Store {
        uploads: Arc<dyn Uploads>,
        base: Path,
    },
}

impl Place {
    pub(super) fn new(folder: &str, stores: &Stores) -> Result<Self> {
        let url = ListingTableUrl::parse(folder)?;
        if url.scheme() == "file" {
            let folder = url
                .get_url()
                .to_file_path()
                .map_err(|()| exec_datafusion_err!("{folder} is no local folder"))?;
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

    /// Opens a new file at `path` below the folder.
    pub(super) async fn create(&self, path: &str) -> Result<(Output, Finished)> {
        match self {
            Self::Local(folder) => {
                let mut at = folder.clone();
                let mut parts: Vec<&str> = path.split('/').collect();
                let name = parts.pop().unwrap_or_default();
                for part in parts {
                    at.push(part);
                    match tokio::fs::create_dir(&at).await {
                        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                            return Err(error.into());
                        }
                        _ => {}
                    }
                }
                at.push(name);
                let file = tokio::fs::File::create(&at).await?;
                Ok((
                    Box::new(tokio::io::BufWriter::with_capacity(BUFFER_BYTES, file)),
                    Finished::Local(at),
                ))
            }
            Self::Store { uploads, base } => {
                let (writer, result) =
                    UploadWriter::begin(Arc::clone(uploads), child(base, path)?).await?;
                Ok((Box::new(writer), Finished::Upload(result)))
            }
        }
    }
}

impl Finished {
    /// The file's bytes, and its upload if somebody must complete it.
    pub(super) async fn into_parts(self) -> Result<(u64, Option<PendingUpload>)> {
        match self {
            Self::Local(path) => Ok((tokio::fs::metadata(path).await?.len(), None)),
            Self::Upload(result) => {
                let (upload, bytes) = result.sealed()?;
                Ok((bytes, Some(upload)))
            }
        }
    }
}

/// A key below a prefix, which is empty for a bucket's root.
fn child(base: &Path, path: &str) -> Result<Path> {
    let key = if base.as_ref().is_empty() {
        path.to_owned()
    } else {
        format!("{base}/{path}")
    };
    Ok(Path::parse(key)?)
}

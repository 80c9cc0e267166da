//! Where a task's files go: below a folder of an object store, or of this machine.
//!
//! A local folder is written by its own path, and never made anew: a cancelled task may write a
//! moment longer than its job lives, and must not bring back a staging folder that is gone.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::TaskContext;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWrite;

/// Bytes gathered before a local file is written to.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A file being written.
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// A staging folder.
#[derive(Clone)]
pub(super) enum Place {
    Local(PathBuf),
    Store { store: Arc<dyn ObjectStore>, base: Path },
}

impl Place {
    pub(super) fn new(staging: &str, context: &TaskContext) -> Result<Self> {
        let url = ListingTableUrl::parse(staging)?;
        if url.scheme() == "file" {
            let folder = url.get_url().to_file_path().map_err(|()| exec_datafusion_err!("{staging} is no local folder"))?;
            return Ok(Self::Local(folder));
        }
        Ok(Self::Store { store: context.runtime_env().object_store(&url)?, base: url.prefix().clone() })
    }

    /// Opens a new file at `path` below the folder.
    pub(super) async fn create(&self, path: &str) -> Result<Output> {
        match self {
            Self::Local(folder) => {
                let mut at = folder.clone();
                let mut parts: Vec<&str> = path.split('/').collect();
                let name = parts.pop().unwrap_or_default();
                for part in parts {
                    at.push(part);
                    match tokio::fs::create_dir(&at).await {
                        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
                        _ => {}
                    }
                }
                let file = tokio::fs::File::create(at.join(name)).await?;
                Ok(Box::new(tokio::io::BufWriter::with_capacity(BUFFER_BYTES, file)))
            }
            Self::Store { store, base } => {
                let location = Path::parse(format!("{base}/{path}"))?;
                Ok(Box::new(BufWriter::new(Arc::clone(store), location)))
            }
        }
    }

    /// Bytes of a finished file.
    pub(super) async fn size(&self, path: &str) -> Result<u64> {
        match self {
            Self::Local(folder) => Ok(tokio::fs::metadata(folder.join(path)).await?.len()),
            Self::Store { store, base } => Ok(store.head(&Path::parse(format!("{base}/{path}"))?).await?.size),
        }
    }
}

//! Uploads that one process begins and another completes: the ground of the commit on object stores.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, PutPayload, PutResult, Result};

/// A multipart upload that was neither completed nor aborted. Nobody sees it, but its parts are paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleUpload {
    /// Of which object.
    pub path: Path,
    /// Its id.
    pub id: MultipartId,
    /// When it was begun.
    pub begun: Option<SystemTime>,
}

/// Multipart uploads, and a look at those that are open.
#[async_trait]
pub trait Uploads: MultipartStore {
    /// Open uploads below a prefix. Empty for stores that do not tell: they forget them by themselves.
    ///
    /// # Errors
    /// Of the store.
    async fn unfinished(&self, prefix: &Path) -> Result<Vec<StaleUpload>>;
}

/// A store that does not tell which uploads are open.
pub(super) struct Plain<T>(pub(super) Arc<T>);

#[async_trait]
impl<T: MultipartStore> MultipartStore for Plain<T> {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.0.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.0.put_part(path, id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.0.complete_multipart(path, id, parts).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.0.abort_multipart(path, id).await
    }
}

#[async_trait]
impl<T: MultipartStore> Uploads for Plain<T> {
    async fn unfinished(&self, _: &Path) -> Result<Vec<StaleUpload>> {
        Ok(vec![])
    }
}

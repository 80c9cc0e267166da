//! Multipart uploads that one process starts and another completes. The commit on object stores
//! depends on them.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, PutPayload, PutResult, Result};

/// A multipart upload that was neither completed nor aborted. No reader sees it, but its parts use
/// storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleUpload {
    /// Path of the object.
    pub path: Path,
    /// Identity of the upload.
    pub id: MultipartId,
    /// When it was started, if the store reports it.
    pub started: Option<SystemTime>,
}

/// A store with multipart uploads, which can list the open ones.
#[async_trait]
pub trait Uploads: MultipartStore {
    /// Lists the open uploads in a folder, not those of siblings whose names begin alike. The list
    /// is empty for stores that cannot list uploads; such stores remove abandoned ones by
    /// themselves.
    ///
    /// # Errors
    /// If the store fails.
    async fn list_unfinished(&self, prefix: &Path) -> Result<Vec<StaleUpload>>;
}

/// A store that cannot list open uploads.
pub(super) struct UnlistedUploads<T>(pub(super) Arc<T>);

#[async_trait]
impl<T: MultipartStore> MultipartStore for UnlistedUploads<T> {
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
impl<T: MultipartStore> Uploads for UnlistedUploads<T> {
    async fn list_unfinished(&self, _: &Path) -> Result<Vec<StaleUpload>> {
        Ok(vec![])
    }
}

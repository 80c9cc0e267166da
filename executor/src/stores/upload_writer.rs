//! A file that travels in parts and stays invisible: its completion is somebody's to order.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use datafusion::common::{Result, exec_datafusion_err};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutPayload};
use tokio::io::AsyncWrite;

use super::uploads::Uploads;
use crate::wire::PendingUpload;

/// Bytes of a part. S3 takes 10,000 parts of 5 MiB at least.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts of one file under way at once.
const PARTS_MAX: usize = 3;

type Part = BoxFuture<'static, object_store::Result<PartId>>;

/// Writes one object.
pub(crate) struct UploadWriter {
    uploads: Arc<dyn Uploads>,
    path: Path,
    id: MultipartId,
    buffer: Vec<u8>,
    sent: usize,
    /// In the order of their numbers.
    under_way: VecDeque<Part>,
    result: UploadResult,
}

/// What became of an [`UploadWriter`], for whoever has given it away.
#[derive(Clone, Default)]
pub(crate) struct UploadResult(Arc<Mutex<Progress>>);

#[derive(Default)]
struct Progress {
    id: MultipartId,
    parts: Vec<String>,
    bytes: u64,
    sealed: bool,
}

impl UploadResult {
    /// The upload, to be completed by the driver, and the object's bytes.
    pub(crate) fn sealed(&self) -> Result<(PendingUpload, u64)> {
        let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !progress.sealed {
            return Err(exec_datafusion_err!("an upload was not brought to its end"));
        }
        Ok((
            PendingUpload {
                id: progress.id.clone(),
                parts: progress.parts.clone(),
            },
            progress.bytes,
        ))
    }
}

impl UploadWriter {
    /// Begins an upload.
    pub(crate) async fn begin(
        uploads: Arc<dyn Uploads>,
        path: Path,
    ) -> object_store::Result<(Self, UploadResult)> {
        let id = uploads.create_multipart(&path).await?;
        let result = UploadResult::default();
        result
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .id
            .clone_from(&id);
        let writer = Self {
            uploads,
            path,
            id,
            buffer: vec![],
            sent: 0,
            under_way: VecDeque::new(),
            result: result.clone(),
        };
        Ok((writer, result))
    }

    fn send(&mut self) {
        let data = PutPayload::from(std::mem::take(&mut self.buffer));
        let (uploads, path, id, index) = (
            Arc::clone(&self.uploads),
            self.path.clone(),
            self.id.clone(),
            self.sent,
        );
        self.sent += 1;
        // A task of its own: a part goes on while the file's next rows are computed.
        let part =
            tokio::task::spawn(async move { uploads.put_part(&path, &id, index, data).await });
        self.under_way.push_back(
            part.map(|joined| joined.unwrap_or_else(|e| Err(e.into())))
                .boxed(),
        );
    }

    /// Waits until at most `left` parts are under way.
    fn poll_parts(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        while self.under_way.len() > left {
            let Some(first) = self.under_way.front_mut() else {
                break;
            };
            let part = ready!(first.poll_unpin(cx)).map_err(io::Error::other)?;
            self.under_way.pop_front();
            self.result
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .parts
                .push(part.content_id);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UploadWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len() >= PART_BYTES {
            ready!(self.poll_parts(cx, PARTS_MAX - 1))?;
            self.send();
        }
        let taken = data.len().min(PART_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&data[..taken]);
        self.result
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes += taken as u64;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Parts have a least size: what is buffered goes with the end.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() || self.sent == 0 {
            self.send();
        }
        ready!(self.poll_parts(cx, 0))?;
        self.result
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sealed = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for UploadWriter {
    fn drop(&mut self) {
        let sealed = self
            .result
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sealed;
        if let (false, Ok(runtime)) = (sealed, tokio::runtime::Handle::try_current()) {
            let (uploads, path, id) = (
                Arc::clone(&self.uploads),
                self.path.clone(),
                self.id.clone(),
            );
            // What does not succeed here is found by the driver's sweep, or by `faisca clean`.
            runtime.spawn(async move { uploads.abort_multipart(&path, &id).await });
        }
    }
}

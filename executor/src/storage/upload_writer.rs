//! Writes an object as a multipart upload and does not complete it; the commit does.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use datafusion::common::{Result, exec_datafusion_err};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutPayload};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use super::uploads::Uploads;
use crate::protocol::PendingUpload;

/// Bytes of a part. S3 accepts at most 10,000 parts, of at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts of one file in flight.
const PARTS_MAX: usize = 3;

type PartUpload = BoxFuture<'static, object_store::Result<PartId>>;

/// Writes one object. Dropping it before shutdown aborts the upload.
pub(crate) struct UploadWriter {
    uploads: Arc<dyn Uploads>,
    path: Path,
    id: MultipartId,
    buffer: Vec<u8>,
    sent: usize,
    /// Parts in flight, in the order of their numbers.
    in_flight: VecDeque<PartUpload>,
    result: UploadResult,
}

/// The outcome of an [`UploadWriter`] that was moved into an encoder.
#[derive(Clone, Default)]
pub(crate) struct UploadResult(Arc<Mutex<UploadProgress>>);

#[derive(Default)]
struct UploadProgress {
    id: MultipartId,
    parts: Vec<String>,
    bytes: u64,
    is_sealed: bool,
}

impl UploadResult {
    /// Returns the upload, for the driver to complete, and the bytes of the object.
    ///
    /// # Errors
    /// If the writer was not shut down.
    pub(crate) fn sealed_upload(&self) -> Result<(PendingUpload, u64)> {
        let progress = self.0.lock();
        if !progress.is_sealed {
            return Err(exec_datafusion_err!("an upload was not finished"));
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
    /// Starts an upload.
    pub(crate) async fn start(
        uploads: Arc<dyn Uploads>,
        path: Path,
    ) -> object_store::Result<(Self, UploadResult)> {
        let id = uploads.create_multipart(&path).await?;
        let result = UploadResult::default();
        result.0.lock().id.clone_from(&id);
        let writer = Self {
            uploads,
            path,
            id,
            buffer: vec![],
            sent: 0,
            in_flight: VecDeque::new(),
            result: result.clone(),
        };
        Ok((writer, result))
    }

    /// Sends the buffer as the next part.
    fn send(&mut self) {
        let data = PutPayload::from(std::mem::take(&mut self.buffer));
        let (uploads, path, id, index) = (
            Arc::clone(&self.uploads),
            self.path.clone(),
            self.id.clone(),
            self.sent,
        );
        self.sent += 1;
        // In a task of its own, so that a part is sent while the next rows are computed.
        let part =
            tokio::task::spawn(async move { uploads.put_part(&path, &id, index, data).await });
        self.in_flight.push_back(
            part.map(|joined| joined.unwrap_or_else(|e| Err(e.into())))
                .boxed(),
        );
    }

    /// Waits until at most `left` parts are in flight.
    fn poll_parts(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        while self.in_flight.len() > left {
            let Some(first) = self.in_flight.front_mut() else {
                break;
            };
            let part = ready!(first.poll_unpin(cx)).map_err(io::Error::other)?;
            self.in_flight.pop_front();
            self.result.0.lock().parts.push(part.content_id);
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
        self.result.0.lock().bytes += taken as u64;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Parts have a minimum size, so the buffer is sent at shutdown.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() || self.sent == 0 {
            self.send();
        }
        ready!(self.poll_parts(cx, 0))?;
        self.result.0.lock().is_sealed = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for UploadWriter {
    fn drop(&mut self) {
        let is_sealed = self.result.0.lock().is_sealed;
        if let (false, Ok(runtime)) = (is_sealed, tokio::runtime::Handle::try_current()) {
            let (uploads, path, id) = (
                Arc::clone(&self.uploads),
                self.path.clone(),
                self.id.clone(),
            );
            // If this fails, the next commit of the folder or `faisca clean` aborts the upload.
            runtime.spawn(async move { uploads.abort_multipart(&path, &id).await });
        }
    }
}

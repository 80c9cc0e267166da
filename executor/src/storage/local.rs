//! Files of this machine, which may change while they are read.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Bytes read at once.
const CHUNK_BYTES: u64 = 256 * 1024;

/// The local file system, with an error where a file gets shorter while it is read.
///
/// The streams of [`LocalFileSystem`] wait for the missing bytes forever.
#[derive(Debug, Default)]
pub(crate) struct LocalFiles(LocalFileSystem);

impl Display for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

struct ChunkReader {
    file: File,
    location: Path,
    rest: Range<u64>,
}

impl ChunkReader {
    fn error(&self, source: &std::io::Error) -> object_store::Error {
        object_store::Error::Generic {
            store: "local",
            source: Box::new(std::io::Error::new(
                source.kind(),
                format!("/{}: {source}", self.location),
            )),
        }
    }

    fn next(&mut self) -> Result<Bytes> {
        let bytes_requested = (self.rest.end - self.rest.start).min(CHUNK_BYTES);
        let mut buffer = Vec::with_capacity(usize::try_from(bytes_requested).unwrap_or_default());
        let read = (&mut self.file)
            .take(bytes_requested)
            .read_to_end(&mut buffer);
        let read = read.map_err(|e| self.error(&e))? as u64;
        if read < bytes_requested {
            let problem =
                "the file got shorter while it was read; run the job again once it is complete";
            let shorter = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, problem);
            return Err(self.error(&shorter));
        }
        self.rest.start += read;
        Ok(buffer.into())
    }
}

fn stream(file: File, location: Path, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    let reading = ChunkReader {
        file,
        location,
        rest: range,
    };
    futures::stream::try_unfold(
        (reading, false),
        |(mut reading, is_positioned)| async move {
            if reading.rest.is_empty() {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || {
                if !is_positioned {
                    let start = SeekFrom::Start(reading.rest.start);
                    reading.file.seek(start).map_err(|e| reading.error(&e))?;
                }
                Ok((reading.next()?, (reading, true)))
            });
            read.await?.map(Some)
        },
    )
    .boxed()
}

#[async_trait]
impl ObjectStore for LocalFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let mut result = self.0.get_opts(location, options).await?;
        result.payload = match result.payload {
            GetResultPayload::File(file, _) if !head => {
                let range = result.range.clone();
                GetResultPayload::Stream(stream(file, location.clone(), range))
            }
            other => other,
        };
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn a_file_that_gets_shorter_is_an_error_and_not_a_wait() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'x'; 1_000_000]).unwrap();
        let location = Path::from_filesystem_path(file.path()).unwrap();
        let mut stream = LocalFiles::default()
            .get(&location)
            .await
            .unwrap()
            .into_stream();
        assert_eq!(stream.next().await.unwrap().unwrap().len(), 256 * 1024);
        file.as_file().set_len(300_000).unwrap();
        let error = stream.next().await.unwrap().unwrap_err().to_string();
        assert!(error.contains("got shorter"), "{error}");
        assert!(error.contains(location.as_ref()), "{error}");
        let all = LocalFiles::default().get(&location).await.unwrap();
        assert_eq!(all.bytes().await.unwrap().len(), 300_000);
    }
}

//! Bytes of text files: complete files and byte ranges, compressed and not.

use std::io;
use std::sync::Arc;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion_datasource::boundary_stream::AlignedBoundaryStream;
use faisca_planner::manifest::TextCompression;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio_util::io::{ReaderStream, StreamReader};

pub(super) type Chunks = BoxStream<'static, Result<Bytes>>;

/// Size of a decompressed chunk, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Returns DataFusion's name of a compression.
pub(super) fn compression_type(compression: TextCompression) -> FileCompressionType {
    match compression {
        TextCompression::None => FileCompressionType::UNCOMPRESSED,
        TextCompression::Gzip => FileCompressionType::GZIP,
        TextCompression::Bzip2 => FileCompressionType::BZIP2,
        TextCompression::Xz => FileCompressionType::XZ,
        TextCompression::Zstd => FileCompressionType::ZSTD,
    }
}

/// Streams the uncompressed bytes of a file, or the complete lines of a byte range.
pub(super) async fn read_bytes(
    compression: TextCompression,
    store: &Arc<dyn ObjectStore>,
    file: &PartitionedFile,
) -> Result<Chunks> {
    let meta = &file.object_meta;
    let Some(range) = &file.range else {
        return read_file(compression, store, &meta.location).await;
    };
    let (start, end) = (
        u64::try_from(range.start).unwrap_or(0),
        u64::try_from(range.end).unwrap_or(u64::MAX),
    );
    let lines = AlignedBoundaryStream::new(
        Arc::clone(store),
        meta.location.clone(),
        start,
        end,
        meta.size,
        b'\n',
    )
    .await?;
    Ok(lines.map_err(DataFusionError::from).boxed())
}

/// Streams the uncompressed bytes of a file.
pub(super) async fn read_file(
    compression: TextCompression,
    store: &Arc<dyn ObjectStore>,
    path: &Path,
) -> Result<Chunks> {
    let stream = store.get(path).await?.into_stream();
    Ok(decompress(
        compression,
        stream.map_err(DataFusionError::from).boxed(),
    ))
}

/// Streams the first bytes of a file that is not compressed, without a request for all of it.
pub(super) async fn read_beginning(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    bytes_max: u64,
) -> Result<Bytes> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(0..bytes_max)),
        ..Default::default()
    };
    Ok(store.get_opts(path, options).await?.bytes().await?)
}

/// Reads every stream of a file: Hadoop, pbzip2 and pzstd write one after another.
fn decompress(compression: TextCompression, chunks: Chunks) -> Chunks {
    macro_rules! decoded {
        ($decoder:ident) => {{
            let mut decoder = $decoder::new(StreamReader::new(chunks));
            decoder.multiple_members(true);
            ReaderStream::with_capacity(decoder, CHUNK_BYTES)
                .map_err(|error| DataFusionError::from(as_damage(error)))
                .boxed()
        }};
    }
    match compression {
        TextCompression::None => chunks,
        TextCompression::Gzip => decoded!(GzipDecoder),
        TextCompression::Bzip2 => decoded!(BzDecoder),
        TextCompression::Xz => decoded!(XzDecoder),
        TextCompression::Zstd => decoded!(ZstdDecoder),
    }
}

/// Makes an error of a decoder one about the data: those of bzip2 and zstd have no kind. Errors of
/// the storage below stay as they are.
fn as_damage(error: io::Error) -> io::Error {
    let is_of_storage = error
        .get_ref()
        .is_some_and(|cause| cause.is::<DataFusionError>());
    match error.kind() {
        io::ErrorKind::Other if !is_of_storage => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => error,
    }
}

/// Counts the lines before the first line of a byte range. Only needed after an error.
pub(super) async fn lines_before(
    compression: TextCompression,
    store: &Arc<dyn ObjectStore>,
    file: &PartitionedFile,
    start: u64,
) -> u64 {
    if start == 0 || compression != TextCompression::None {
        return 0;
    }
    // A range begins with the first line that starts in it: the newline at `start - 1` counts.
    let options = GetOptions {
        range: Some(GetRange::Bounded(0..start)),
        ..Default::default()
    };
    let Ok(result) = store.get_opts(&file.object_meta.location, options).await else {
        return 0;
    };
    let mut stream = result.into_stream();
    let mut lines = 0;
    let mut last = b'\n';
    while let Some(Ok(chunk)) = stream.next().await {
        lines += chunk.iter().filter(|b| **b == b'\n').count() as u64;
        last = chunk.last().copied().unwrap_or(last);
    }
    if last == b'\n' { lines } else { lines + 1 }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::error::classify;
    use crate::protocol::FailureKind;

    #[tokio::test]
    async fn damaged_compressed_data_is_a_mistake_of_the_user() {
        for compression in [
            TextCompression::Gzip,
            TextCompression::Bzip2,
            TextCompression::Xz,
            TextCompression::Zstd,
        ] {
            let bytes = Bytes::from_static(b"neither a header nor anything else");
            let chunks = decompress(compression, stream::iter([Ok(bytes)]).boxed());
            let error = chunks.try_collect::<Vec<_>>().await.unwrap_err();
            assert_eq!(classify(&error).kind, FailureKind::User, "{compression:?}");
        }
    }

    #[tokio::test]
    async fn a_failure_below_the_decoder_keeps_its_kind() {
        let exhausted = DataFusionError::ResourcesExhausted("memory".to_owned());
        let chunks = stream::iter([Err(exhausted)]).boxed();
        let chunks = decompress(TextCompression::Bzip2, chunks);
        let error = chunks.try_collect::<Vec<_>>().await.unwrap_err();
        assert_ne!(classify(&error).kind, FailureKind::User);
    }
}

//! Opens a CSV file, or a byte range of one, as a stream of batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::decode::{DecodeError, RowDecoder};
use super::header::FileColumns;
use super::infer::read_header;
use super::locate::locate;
use super::records::Start;
use crate::formats::source::{ScannedColumns, first_byte};
use crate::formats::text::{Chunks, read_bytes};
use crate::protocol::CsvReadOptions;

/// Text that is pushed before records are read: chunks of local files are of 8 KiB, fewer records
/// than are efficiently decoded together.
const PUSHED_BYTES_MIN: usize = 64 * 1024;

/// Opens a file or a byte range. A range has the lines that begin in it, as in DataFusion.
pub(in crate::formats) async fn open(
    options: CsvReadOptions,
    scanned: &ScannedColumns,
    store: Arc<dyn ObjectStore>,
    file: PartitionedFile,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let first_byte = first_byte(&file);
    let start = match first_byte {
        0 => Start::File,
        _ => Start::Line,
    };
    let columns = find_columns(&options, &scanned.file_schema, &store, &file).await?;
    let decoder = RowDecoder::new(
        &options,
        &scanned.file_schema,
        &columns,
        start,
        &scanned.projected,
        scanned.batch_rows,
    )?;
    let bytes = read_bytes(options.compression, &store, &file).await?;
    let encoding = options.clone();
    let text = bytes.map_ok(move |chunk| encoding.to_utf8(chunk)).boxed();
    let located = decode(text, decoder).or_else(move |error| {
        let (store, file, options) = (Arc::clone(&store), file.clone(), options.clone());
        async move { Err(locate(error, &options, &store, &file, first_byte).await) }
    });
    Ok(located.boxed())
}

/// Where the columns of the table are in a file. A range that does not begin the file has no header
/// of its own, but its columns are in the order of the file's header.
async fn find_columns(
    options: &CsvReadOptions,
    file_schema: &SchemaRef,
    store: &Arc<dyn ObjectStore>,
    file: &PartitionedFile,
) -> Result<FileColumns> {
    let fields = file_schema.fields();
    let meta = &file.object_meta;
    let header = match options.header {
        true => read_header(options, store, meta).await,
        false => Ok(None),
    };
    let columns: Vec<String> = fields.iter().map(|f| f.name().clone()).collect();
    let names = match header {
        Ok(Some(header)) => FileColumns::find(&columns, options.first_header.as_deref(), &header),
        Ok(None) => Ok(FileColumns::in_order(columns.len())),
        Err(error) => Err(error),
    };
    names.map_err(|e| e.context(format!("/{}", meta.location)))
}

/// Decodes text batch by batch.
fn decode(
    text: Chunks,
    decoder: RowDecoder,
) -> BoxStream<'static, Result<RecordBatch, DecodeError>> {
    let state = (text, decoder, false);
    futures::stream::try_unfold(state, async |(mut text, mut decoder, mut is_over)| {
        loop {
            if let Some(batch) = decoder.decode()? {
                return Ok(Some((batch, (text, decoder, is_over))));
            }
            if is_over {
                let rest = decoder.flush()?;
                return Ok(rest.map(|batch| (batch, (text, decoder, is_over))));
            }
            let mut pushed = 0;
            while pushed < PUSHED_BYTES_MIN && !is_over {
                match text.next().await {
                    Some(chunk) => {
                        let chunk = chunk?;
                        pushed += chunk.len();
                        decoder.push(&chunk)?;
                    }
                    None => {
                        decoder.end()?;
                        is_over = true;
                    }
                }
            }
        }
    })
    .boxed()
}

//! Decodes text: Arrow's decoder for plain files, the lenient decoder for the rest.

use arrow::array::RecordBatch;
use arrow::csv::reader::Decoder as ArrowDecoder;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion_datasource::decoder::Decoder;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::lenient::LenientDecoder;
use super::options::CsvReadOptions;

/// The UTF-8 byte order mark.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The decoder of a file, chosen by its options.
#[derive(Debug)]
pub(super) enum RowDecoder {
    Plain(Box<ArrowDecoder>),
    Lenient(Box<LenientDecoder>),
}

impl RowDecoder {
    pub(super) fn new(
        options: &CsvReadOptions,
        schema: SchemaRef,
        header: bool,
        columns: Vec<usize>,
        batch_rows: usize,
    ) -> Self {
        if options.needs_lenient() {
            return Self::Lenient(Box::new(LenientDecoder::new(
                options, &schema, header, columns, batch_rows,
            )));
        }
        let builder = options
            .builder(schema, header)
            .with_batch_size(batch_rows)
            .with_projection(columns);
        Self::Plain(Box::new(builder.build_decoder()))
    }
}

impl Decoder for RowDecoder {
    fn decode(&mut self, buf: &[u8]) -> Result<usize, ArrowError> {
        match self {
            Self::Plain(decoder) => decoder.decode(buf),
            Self::Lenient(decoder) => decoder.decode(buf),
        }
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        match self {
            Self::Plain(decoder) => decoder.flush(),
            Self::Lenient(decoder) => decoder.flush(),
        }
    }

    fn can_flush_early(&self) -> bool {
        match self {
            Self::Plain(decoder) => decoder.capacity() == 0,
            Self::Lenient(decoder) => decoder.is_full(),
        }
    }
}

/// Drops a UTF-8 byte order mark from the first chunk.
pub(super) fn without_byte_order_mark(
    chunks: BoxStream<'static, Result<Bytes>>,
) -> BoxStream<'static, Result<Bytes>> {
    let strip = |(index, chunk): (usize, Result<Bytes>)| {
        chunk.map(|chunk| {
            if index == 0 && chunk.starts_with(BYTE_ORDER_MARK) {
                chunk.slice(BYTE_ORDER_MARK.len()..)
            } else {
                chunk
            }
        })
    };
    chunks.enumerate().map(strip).boxed()
}

//! Encodes batches as one Parquet, CSV or JSON file.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use datafusion::common::{Result, not_impl_err};
use faisca_planner::manifest::{Compression, FileFormat};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{AsyncArrowWriter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tokio::io::AsyncWriteExt;

use super::folder::{Finished, Output, OutputFolder};
use crate::formats::csv::CsvWriter;
use crate::formats::json::to_json;
use crate::protocol::{PendingFile, SinkSpec};

/// A row group is closed once it has about this many bytes.
const ROW_GROUP_BYTES: usize = 128 * 1024 * 1024;

/// One file being written.
pub(super) struct FileEncoder {
    path: String,
    rows: u64,
    finished: Finished,
    kind: Kind,
}

enum Kind {
    Parquet(Box<AsyncArrowWriter<Output>>),
    Text {
        output: Output,
        format: TextFormat,
        bytes: u64,
    },
}

enum TextFormat {
    Csv(CsvWriter),
    Ndjson,
}

/// Returns the extension of a file name, as Spark writes it.
pub(super) fn extension(format: FileFormat, compression: Compression) -> String {
    let codec = match compression {
        Compression::None => "",
        Compression::Snappy => "snappy",
        Compression::Gzip => "gz",
        Compression::Zstd => "zst",
        Compression::Lz4 => "lz4",
    };
    match (format, codec) {
        (FileFormat::Parquet, "") => "parquet".to_owned(),
        (FileFormat::Parquet, codec) => format!("{codec}.parquet"),
        (FileFormat::Csv, "") => "csv".to_owned(),
        (FileFormat::Csv, codec) => format!("csv.{codec}"),
        (FileFormat::Ndjson, "") => "json".to_owned(),
        (FileFormat::Ndjson, codec) => format!("json.{codec}"),
    }
}

impl FileEncoder {
    pub(super) async fn new(
        spec: &SinkSpec,
        folder: &OutputFolder,
        path: String,
        schema: SchemaRef,
    ) -> Result<Self> {
        let (output, finished) = folder.create(&path).await?;
        let kind = match spec.format {
            FileFormat::Parquet => {
                let mut properties = WriterProperties::builder()
                    .set_compression(parquet_codec(spec.compression)?)
                    .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
                    .set_created_by(concat!("faisca ", env!("CARGO_PKG_VERSION")).to_owned())
                    .build();
                add_encoded_arrow_schema_to_metadata(&without_views(&schema), &mut properties);
                let options = ArrowWriterOptions::new()
                    .with_properties(properties)
                    .with_skip_arrow_metadata(true);
                Kind::Parquet(Box::new(AsyncArrowWriter::try_new_with_options(
                    output, schema, options,
                )?))
            }
            FileFormat::Csv => {
                let writer = CsvWriter::new(spec.csv.as_ref().clone());
                let header = writer.header(&schema)?;
                let mut output = compress(output, spec.compression)?;
                output.write_all(&header).await?;
                Kind::Text {
                    output,
                    format: TextFormat::Csv(writer),
                    bytes: header.len() as u64,
                }
            }
            FileFormat::Ndjson => Kind::Text {
                output: compress(output, spec.compression)?,
                format: TextFormat::Ndjson,
                bytes: 0,
            },
        };
        Ok(Self {
            path,
            rows: 0,
            finished,
            kind,
        })
    }

    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        match &mut self.kind {
            Kind::Parquet(writer) => Ok(writer.write(batch).await?),
            Kind::Text {
                output,
                format,
                bytes,
            } => {
                let text = match format {
                    TextFormat::Csv(writer) => writer.rows(batch)?,
                    TextFormat::Ndjson => to_json(batch)?,
                };
                *bytes += text.len() as u64;
                Ok(output.write_all(&text).await?)
            }
        }
    }

    /// Returns the approximate number of bytes written.
    pub(super) fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::Parquet(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
            Kind::Text { bytes, .. } => *bytes,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.kind {
            Kind::Parquet(writer) => writer.memory_size(),
            Kind::Text { .. } => 0,
        }
    }

    pub(super) async fn finish(self) -> Result<PendingFile> {
        match self.kind {
            Kind::Parquet(writer) => {
                writer.close().await?;
            }
            Kind::Text { mut output, .. } => output.shutdown().await?,
        }
        let (bytes, upload) = self.finished.into_parts().await?;
        Ok(PendingFile {
            path: self.path,
            rows: self.rows,
            bytes,
            upload,
        })
    }
}

/// Returns the schema that the file declares. Some plans have views of text where others have text,
/// but all files of a table must declare the same types.
fn without_views(schema: &SchemaRef) -> Schema {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Utf8View => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        DataType::BinaryView => Arc::new(field.as_ref().clone().with_data_type(DataType::Binary)),
        _ => Arc::clone(field),
    };
    Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>())
}

fn parquet_codec(compression: Compression) -> Result<ParquetCompression> {
    Ok(match compression {
        Compression::None => ParquetCompression::UNCOMPRESSED,
        Compression::Snappy => ParquetCompression::SNAPPY,
        Compression::Gzip => ParquetCompression::GZIP(Default::default()),
        Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::try_new(3)?),
        Compression::Lz4 => ParquetCompression::LZ4_RAW,
    })
}

fn compress(output: Output, compression: Compression) -> Result<Output> {
    match compression {
        Compression::None => Ok(output),
        Compression::Gzip => Ok(Box::new(GzipEncoder::new(output))),
        Compression::Zstd => Ok(Box::new(ZstdEncoder::new(output))),
        Compression::Snappy | Compression::Lz4 => {
            not_impl_err!("{compression:?} for text files: use gzip, zstd or none")
        }
    }
}

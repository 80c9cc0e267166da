//! Decodes records to batches of the projected columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use faisca_planner::manifest::{Decimal, OnMalformedRow};
use faisca_spark::text::Zone;

use super::error::CsvError;
use super::header::FileColumns;
use super::records::{Record, Records, Start};
use super::values::{
    TextColumn, convert, decimal_mark, exchange_decimal_marks, is_null, is_text, type_name,
};
use crate::protocol::CsvReadOptions;

/// A batch ends early once its text has this many bytes.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Rows whose texts are copied to their columns together. Their text fits in a core's cache, and a
/// column's memory is visited once for all of them.
const BLOCK_ROWS: usize = 32;

/// Decodes text. Each value is text first, and is then cast to its type.
#[derive(Debug)]
pub(super) struct RowDecoder {
    records: Records,
    options: CsvReadOptions,
    zone: Zone,
    schema: SchemaRef,
    /// Number of fields that a record must have.
    width: usize,
    columns: Vec<Column>,
    /// The columns of the result, as positions in `columns`.
    projection: Vec<usize>,
    batch_rows: usize,
    skip_header: bool,
    /// Line of each row of the batch.
    lines: Vec<u64>,
    /// The last rows of the batch, whose texts are not yet in `columns`.
    block: Vec<Record>,
}

#[derive(Debug)]
struct Column {
    /// Position of the value in a record.
    position: usize,
    is_text: bool,
    text: TextColumn,
}

impl RowDecoder {
    /// Decodes the columns `projected` of `file_schema` from text that begins at `start`.
    ///
    /// # Errors
    /// If the options name no time zone.
    pub(super) fn new(
        options: &CsvReadOptions,
        file_schema: &SchemaRef,
        file: &FileColumns,
        start: Start,
        projected: &[usize],
        batch_rows: usize,
    ) -> Result<Self> {
        let zone = Zone::parse(&options.time_zone)?;
        // Which rows are dropped must not depend on the columns that a query reads.
        let decoded: Vec<usize> = match options.on_malformed_row {
            OnMalformedRow::Drop => (0..file_schema.fields().len()).collect(),
            OnMalformedRow::Fail | OnMalformedRow::Nulls => projected.to_vec(),
        };
        let fields: Vec<_> = decoded
            .iter()
            .filter_map(|c| file_schema.fields().get(*c).cloned())
            .collect();
        let columns = decoded.iter().zip(&fields).map(|(column, field)| Column {
            position: file.position(*column),
            is_text: is_text(field.data_type()),
            text: TextColumn::new(),
        });
        let projection = match options.on_malformed_row {
            OnMalformedRow::Drop => projected.to_vec(),
            OnMalformedRow::Fail | OnMalformedRow::Nulls => (0..projected.len()).collect(),
        };
        Ok(Self {
            records: Records::new(options, start, Some(file.width())),
            options: options.clone(),
            zone,
            columns: columns.collect(),
            schema: Arc::new(Schema::new(fields)),
            width: file.width(),
            projection,
            batch_rows,
            skip_header: options.header && start == Start::File,
            lines: vec![],
            block: vec![],
        })
    }

    /// Adds text, after [`Self::decode`] has returned `None`.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        Ok(self.records.push(chunk)?)
    }

    /// Notes that no more text follows.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        Ok(self.records.end()?)
    }

    /// Returns the next full batch; `None` if it needs more text.
    pub(super) fn decode(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        while self.records.advance()? {
            self.take_record()?;
            if self.lines.len() >= self.batch_rows || self.block.len() >= BLOCK_ROWS {
                self.copy_block();
                if self.is_full() {
                    return self.flush();
                }
            }
        }
        // The next text would move the fields of the block.
        self.copy_block();
        if self.is_full() {
            return self.flush();
        }
        Ok(None)
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= self.batch_rows || self.byte_count() >= BATCH_BYTES_MAX
    }

    fn byte_count(&self) -> usize {
        self.columns.iter().map(|c| c.text.byte_count()).sum()
    }

    fn take_record(&mut self) -> Result<(), CsvError> {
        let line = self.records.line();
        if std::mem::take(&mut self.skip_header) {
            return Ok(());
        }
        let width = self.records.len();
        let is_unclosed = self.records.is_unclosed();
        if width != self.width || is_unclosed {
            match self.options.on_malformed_row {
                OnMalformedRow::Drop => return Ok(()),
                OnMalformedRow::Nulls => {}
                OnMalformedRow::Fail if is_unclosed => {
                    return Err(CsvError::unclosed(line, self.options.multi_line));
                }
                OnMalformedRow::Fail => return Err(CsvError::width(line, self.width, width)),
            }
        }
        self.lines.push(line);
        let mut record = self.records.record();
        if is_unclosed {
            // The end of the last value is unknown, so is the value.
            record.width = record.width.saturating_sub(1);
        }
        self.block.push(record);
        Ok(())
    }

    /// Copies the texts of the block to their columns.
    fn copy_block(&mut self) {
        for column in &mut self.columns {
            for record in &self.block {
                let field = self
                    .records
                    .field_of_record(*record, column.position)
                    .filter(|field| !is_null(&self.options, field, column.is_text));
                column
                    .text
                    .push(field.as_ref().map(|field| field.bytes.as_ref()));
            }
        }
        self.block.clear();
    }

    /// Returns the rows that are not yet in a batch; `None` if there are none.
    pub(super) fn flush(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        if self.lines.is_empty() {
            return Ok(None);
        }
        let lines = std::mem::take(&mut self.lines);
        let mut fits = vec![true; lines.len()];
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let decimal = decimal_mark(&self.options, field.data_type());
            let text = column.text.finish(decimal)?;
            let array = convert(&text, field.data_type(), self.zone)?;
            if array.logical_null_count() != text.null_count() {
                let refused =
                    (0..text.len()).filter(|row| array.is_null(*row) && text.is_valid(*row));
                for row in refused {
                    if self.options.on_malformed_row == OnMalformedRow::Fail {
                        return Err(wrong_type(text.value(row), field, decimal, lines[row]));
                    }
                    fits[row] = false;
                }
            }
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        let batch = match self.options.on_malformed_row {
            OnMalformedRow::Drop => filter_record_batch(&batch, &BooleanArray::from(fits))?,
            OnMalformedRow::Nulls | OnMalformedRow::Fail => batch,
        };
        Ok(Some(batch.project(&self.projection)?))
    }
}

/// The error of a text that is not a value of its column. `decimal` is the mark that the file has.
fn wrong_type(text: &str, field: &Field, decimal: Decimal, line: u64) -> DecodeError {
    let mut value = text.as_bytes().to_vec();
    if decimal == Decimal::Comma {
        exchange_decimal_marks(&mut value);
    }
    let problem = format!(
        "the value '{}' of column {} is not {}",
        String::from_utf8_lossy(&value),
        field.name(),
        type_name(field.data_type())
    );
    CsvError::new(line, problem).into()
}

/// Why a text cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// The text is wrong.
    #[error(transparent)]
    Text(#[from] CsvError),
    /// Arrow cannot build the batch.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The text cannot be read.
    #[error(transparent)]
    Read(#[from] DataFusionError),
}

//! Decodes field by field: for decimal commas, null texts, and rows that do not match the schema.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use csv_core::ReadRecordResult;
use faisca_planner::manifest::OnMalformedRow;

use super::options::CsvReadOptions;

/// Longest record that is decoded.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Decodes the projected columns. Each value is text first, and then cast to its type.
#[derive(Debug)]
pub(super) struct LenientDecoder {
    records: Records,
    decimal_comma: bool,
    null_value: Option<String>,
    on_malformed: OnMalformedRow,
    columns: Vec<usize>,
    columns_in_file: usize,
    schema: SchemaRef,
    batch_rows: usize,
    skip_header: bool,
    values: Vec<StringBuilder>,
    lines: Vec<u64>,
}

impl LenientDecoder {
    pub(super) fn new(
        options: &CsvReadOptions,
        file_schema: &SchemaRef,
        header: bool,
        columns: Vec<usize>,
        batch_rows: usize,
    ) -> Self {
        let fields = columns
            .iter()
            .filter_map(|c| file_schema.fields().get(*c).cloned())
            .collect::<Vec<_>>();
        Self {
            records: Records::new(options),
            decimal_comma: options.decimal_comma,
            null_value: options.null_value.clone(),
            on_malformed: options.on_malformed_row,
            values: columns.iter().map(|_| StringBuilder::new()).collect(),
            columns,
            columns_in_file: file_schema.fields().len(),
            schema: Arc::new(Schema::new(fields)),
            batch_rows,
            skip_header: header,
            lines: vec![],
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= self.batch_rows
    }

    /// Consumes text and returns the number of bytes. An empty buffer means the end of the file.
    pub(super) fn decode(&mut self, buf: &[u8]) -> Result<usize, ArrowError> {
        let mut taken = 0;
        while !self.is_full() {
            let (read, complete) = self.records.advance(&buf[taken..])?;
            taken += read;
            if !complete {
                break;
            }
            self.take_record()?;
        }
        Ok(taken)
    }

    fn take_record(&mut self) -> Result<(), ArrowError> {
        if std::mem::take(&mut self.skip_header) {
            return Ok(());
        }
        let fields = self.records.len();
        if fields != self.columns_in_file {
            match self.on_malformed {
                OnMalformedRow::Drop => return Ok(()),
                OnMalformedRow::Nulls => {}
                OnMalformedRow::Fail => {
                    let (line, expected) = (self.records.line, self.columns_in_file);
                    return Err(ArrowError::CsvError(format!(
                        "incorrect number of fields for line {line}, expected {expected} got {fields}"
                    )));
                }
            }
        }
        self.lines.push(self.records.line);
        for (builder, column) in self.values.iter_mut().zip(&self.columns) {
            let field = self.records.field(*column).map(String::from_utf8_lossy);
            match field {
                Some(text)
                    if !text.is_empty() && self.null_value.as_deref() != Some(text.as_ref()) =>
                {
                    builder.append_value(text)
                }
                _ => builder.append_null(),
            }
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.lines.is_empty() {
            return Ok(None);
        }
        let lines = std::mem::take(&mut self.lines);
        let mut matches_schema = vec![true; lines.len()];
        let mut arrays = Vec::with_capacity(self.values.len());
        for (builder, field) in self.values.iter_mut().zip(self.schema.fields()) {
            let text = builder.finish();
            let array = convert(&text, field.data_type(), self.decimal_comma)?;
            for row in (0..text.len()).filter(|row| array.is_null(*row) && text.is_valid(*row)) {
                if self.on_malformed == OnMalformedRow::Fail {
                    let (value, name, kind, line) =
                        (text.value(row), field.name(), field.data_type(), lines[row]);
                    return Err(ArrowError::ParseError(format!(
                        "value '{value}' of column {name} is no {kind} at line {line}"
                    )));
                }
                matches_schema[row] = false;
            }
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        match self.on_malformed {
            OnMalformedRow::Drop => {
                filter_record_batch(&batch, &BooleanArray::from(matches_schema)).map(Some)
            }
            OnMalformedRow::Nulls | OnMalformedRow::Fail => Ok(Some(batch)),
        }
    }
}

/// Casts text to a type. A value that cannot be cast becomes null.
fn convert(text: &StringArray, to: &DataType, decimal_comma: bool) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: true,
        ..Default::default()
    };
    if decimal_comma
        && (to.is_floating() || matches!(to, DataType::Decimal128(..) | DataType::Decimal256(..)))
    {
        let points: StringArray = text
            .iter()
            .map(|v| v.map(|v| v.replace(',', ".")))
            .collect();
        return cast_with_options(&points, to, &options);
    }
    cast_with_options(text, to, &options)
}

/// Replaces the comma of a number: `1234,5` becomes `1234.5`. Other text is unchanged.
pub(super) fn decimal_point(field: &[u8]) -> Cow<'_, [u8]> {
    let number = field.iter().filter(|b| **b == b',').count() == 1
        && field
            .iter()
            .all(|b| b.is_ascii_digit() || b",+-".contains(b));
    if number {
        Cow::Owned(
            field
                .iter()
                .map(|b| if *b == b',' { b'.' } else { *b })
                .collect(),
        )
    } else {
        Cow::Borrowed(field)
    }
}

/// Calls `f` with the fields of each complete record.
pub(super) fn for_each_record(options: &CsvReadOptions, text: &[u8], mut f: impl FnMut(&[&[u8]])) {
    let mut records = Records::new(options);
    let mut rest = text;
    while let Ok((read, complete)) = records.advance(rest) {
        rest = &rest[read..];
        if !complete {
            if rest.is_empty() && read == 0 {
                break;
            }
            continue;
        }
        let fields: Vec<&[u8]> = (0..records.len())
            .filter_map(|i| records.field(i))
            .collect();
        f(&fields);
    }
}

/// Reads one record at a time from chunks of text, with `csv_core`.
#[derive(Debug)]
struct Records {
    core: Box<csv_core::Reader>,
    output: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    ended: usize,
    /// Whether `output` and `ends` hold a complete record, which the next overwrites.
    finished: bool,
    /// Line on which the current record ends; the first is 1.
    line: u64,
}

impl Records {
    fn new(options: &CsvReadOptions) -> Self {
        Self {
            core: Box::new(options.core_reader()),
            output: vec![0; 4096],
            ends: vec![0; 256],
            written: 0,
            ended: 0,
            finished: false,
            line: 0,
        }
    }

    fn len(&self) -> usize {
        self.ended
    }

    fn field(&self, index: usize) -> Option<&[u8]> {
        if index >= self.ended {
            return None;
        }
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.output.get(start..self.ends[index])
    }

    /// Reads on. Returns the bytes consumed, and whether a record is complete.
    fn advance(&mut self, text: &[u8]) -> Result<(usize, bool), ArrowError> {
        if std::mem::take(&mut self.finished) {
            (self.written, self.ended) = (0, 0);
        }
        let mut taken = 0;
        loop {
            let (result, read, written, ended) = self.core.read_record(
                &text[taken..],
                &mut self.output[self.written..],
                &mut self.ends[self.ended..],
            );
            taken += read;
            self.written += written;
            self.ended += ended;
            match result {
                ReadRecordResult::InputEmpty if text.is_empty() || taken < text.len() => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok((taken, false)),
                ReadRecordResult::OutputFull if self.output.len() >= RECORD_BYTES_MAX => {
                    return Err(ArrowError::CsvError(format!(
                        "a record of over {RECORD_BYTES_MAX} bytes before line {}",
                        self.core.line()
                    )));
                }
                ReadRecordResult::OutputFull => self.output.resize(self.output.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.finished = true;
                    self.line = self.core.line().saturating_sub(1).max(1);
                    return Ok((taken, true));
                }
            }
        }
    }
}

//! Infers columns from the first records of a file, and detects a wrong delimiter there.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err, plan_err};
use faisca_planner::manifest::{OnMalformedRow, TextCompression};
use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStore};

use super::error::CsvError;
use super::header::FileColumns;
use super::kind::Kinds;
use super::records::{Records, Start};
use super::values::is_null;
use crate::formats::text::{read_beginning, read_file};
use crate::protocol::CsvReadOptions;

/// Bytes read at most to infer the columns of one file, unless all rows are.
const SAMPLE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of the first request for a header, which are enough for most.
const HEADER_BYTES: u64 = 64 * 1024;

/// The columns of a file, or of several.
#[derive(Debug)]
pub(super) struct InferredColumns {
    pub(super) names: Vec<String>,
    kinds: Vec<Kinds>,
    /// Rows that were read.
    pub(super) rows: usize,
}

impl InferredColumns {
    pub(super) fn schema(&self) -> Schema {
        let fields = self.names.iter().zip(&self.kinds);
        Schema::new(
            fields
                .map(|(name, kinds)| Field::new(name, kinds.data_type(), true))
                .collect::<Vec<_>>(),
        )
    }

    /// Adds the columns of another file, which must have the same names in any order.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        let file = FileColumns::find(&self.names, Some(&self.names), &other.names)?;
        for (column, kinds) in self.kinds.iter_mut().enumerate() {
            kinds.unite(
                other
                    .kinds
                    .get(file.position(column))
                    .copied()
                    .unwrap_or_default(),
            );
        }
        Ok(())
    }
}

/// Infers the columns from the first `rows_max` rows of a file; `None` if it is empty.
pub(super) async fn infer(
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
    rows_max: usize,
) -> Result<Option<InferredColumns>> {
    let mut chunks = read_file(options.compression, store, &object.location).await?;
    let mut sample = Sample::new(options, rows_max);
    let mut bytes = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = options.to_utf8(chunk?);
        bytes += chunk.len();
        sample.records.push(&chunk).map_err(invalid)?;
        // Who asks for all rows gets all rows.
        let is_enough = bytes > SAMPLE_BYTES_MAX && rows_max < usize::MAX;
        if sample.take()? || is_enough {
            return Ok(sample.columns);
        }
    }
    sample.records.end().map_err(invalid)?;
    sample.take()?;
    Ok(sample.columns)
}

/// Reads the names in the first line of a file; `None` if it is empty.
pub(super) async fn read_header(
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
) -> Result<Option<Vec<String>>> {
    if options.compression == TextCompression::None {
        let mut records = Records::new(options, Start::File, None);
        let beginning = read_beginning(store, &object.location, HEADER_BYTES).await?;
        let is_all = beginning.len() as u64 >= object.size;
        records.push(&options.to_utf8(beginning)).map_err(invalid)?;
        if is_all {
            records.end().map_err(invalid)?;
        }
        if records.advance().map_err(invalid)? {
            return Ok(Some(header_names(&records)));
        }
        if is_all {
            return Ok(None);
        }
    }
    let mut records = Records::new(options, Start::File, None);
    let mut chunks = read_file(options.compression, store, &object.location).await?;
    while let Some(chunk) = chunks.next().await {
        records.push(&options.to_utf8(chunk?)).map_err(invalid)?;
        if records.advance().map_err(invalid)? {
            return Ok(Some(header_names(&records)));
        }
    }
    records.end().map_err(invalid)?;
    Ok(records
        .advance()
        .map_err(invalid)?
        .then(|| header_names(&records)))
}

#[expect(clippy::needless_pass_by_value, reason = "maps errors by its name")]
fn invalid(error: CsvError) -> DataFusionError {
    plan_datafusion_err!("{error}. {}", error.advice)
}

/// Returns the name of a column that the file does not name, counted from 0: `_c0`, as in Spark.
fn unnamed_column(index: usize) -> String {
    format!("_c{index}")
}

fn header_names(records: &Records) -> Vec<String> {
    let texts = records.texts().into_iter().enumerate();
    texts
        .map(|(index, name)| match name.trim() {
            "" => unnamed_column(index),
            _ => name,
        })
        .collect()
}

struct Sample<'a> {
    options: &'a CsvReadOptions,
    records: Records,
    rows_max: usize,
    columns: Option<InferredColumns>,
    /// The first two records as the file has them, to detect another delimiter.
    first: Vec<Vec<String>>,
}

impl<'a> Sample<'a> {
    fn new(options: &'a CsvReadOptions, rows_max: usize) -> Self {
        Self {
            options,
            records: Records::new(options, Start::File, None),
            rows_max,
            columns: None,
            first: vec![],
        }
    }

    /// Reads the records that are complete; true if no more rows are needed.
    fn take(&mut self) -> Result<bool> {
        while self.records.advance().map_err(invalid)? {
            if self.first.len() < 2 {
                self.first.push(self.records.texts());
                check_delimiter(self.options, &self.first)?;
            }
            match &mut self.columns {
                None => self.begin()?,
                Some(_) => self.take_row()?,
            }
            if self
                .columns
                .as_ref()
                .is_some_and(|c| c.rows >= self.rows_max)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin(&mut self) -> Result<()> {
        if self.records.is_unclosed() {
            return Err(invalid(CsvError::unclosed(
                self.records.line(),
                self.options.multi_line,
            )));
        }
        let width = self.records.len();
        let names = if self.options.header {
            header_names(&self.records)
        } else {
            (0..width).map(unnamed_column).collect()
        };
        check_duplicates(&names)?;
        self.records.set_columns(width);
        self.columns = Some(InferredColumns {
            names,
            kinds: vec![Kinds::default(); width],
            rows: 0,
        });
        if self.options.header {
            return Ok(());
        }
        self.take_row()
    }

    fn take_row(&mut self) -> Result<()> {
        let Some(columns) = &mut self.columns else {
            return Ok(());
        };
        columns.rows += 1;
        let (actual, expected) = (self.records.len(), columns.names.len());
        let is_unclosed = self.records.is_unclosed();
        if actual != expected || is_unclosed {
            let line = self.records.line();
            match self.options.on_malformed_row {
                OnMalformedRow::Drop => return Ok(()),
                OnMalformedRow::Nulls => {}
                OnMalformedRow::Fail if is_unclosed => {
                    return Err(invalid(CsvError::unclosed(line, self.options.multi_line)));
                }
                OnMalformedRow::Fail => {
                    return Err(invalid(CsvError::width(line, expected, actual)));
                }
            }
        }
        for (index, kinds) in columns.kinds.iter_mut().enumerate() {
            if let Some(field) = self.records.field(index)
                && !is_null(self.options, &field, false)
            {
                kinds.add(&String::from_utf8_lossy(&field.bytes), self.options.decimal);
            }
        }
        Ok(())
    }
}

fn check_duplicates(names: &[String]) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
    for (index, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(name, index) {
            return plan_err!(
                "the columns {} and {} are both named `{name}`; rename one in the header, or set header to false and give a schema",
                first + 1,
                index + 1
            );
        }
    }
    Ok(())
}

/// Refuses a header without delimiters that another delimiter would split, as it would the next
/// line.
fn check_delimiter(options: &CsvReadOptions, first: &[Vec<String>]) -> Result<()> {
    let [first, second] = first else {
        return Ok(());
    };
    let [first] = first.as_slice() else {
        return Ok(());
    };
    let delimiter = char::from(options.delimiter);
    let second = second.join(&delimiter.to_string());
    let count = |text: &str, delimiter: char| text.matches(delimiter).count();
    let probable = [';', ',', '|', '\t']
        .into_iter()
        .find(|d| count(first, *d) > 0 && count(first, *d) == count(&second, *d));
    match probable {
        Some(probable) => plan_err!(
            "the delimiter is `{}`, but the lines have none of it; they look as if it were `{}`. Set the delimiter",
            delimiter,
            probable.escape_default()
        ),
        None => Ok(()),
    }
}

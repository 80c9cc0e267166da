//! Infers the schema from the first rows, and detects a wrong delimiter there.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::common::{DataFusionError, Result, plan_err};
use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::options::CsvReadOptions;

/// Bytes read at most to infer a schema from one file.
const SAMPLE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Infers the schema from the first `rows_max` rows of a file. Returns it and the number of rows read.
pub(super) async fn infer(
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
    rows_max: usize,
) -> Result<(Schema, usize)> {
    let sample = sample(options, store, object, rows_max).await?;
    if sample.is_empty() {
        return Ok((Schema::empty(), 0));
    }
    check_delimiter(options, &sample)?;
    let text = if options.decimal_comma {
        with_decimal_points(options, &sample)
    } else {
        sample
    };
    let format = if options.decimal_comma {
        options.format().with_delimiter(UNIT_SEPARATOR)
    } else {
        options.format()
    };
    let (schema, rows) = format.infer_schema(Cursor::new(text), Some(rows_max))?;
    Ok((schema, rows))
}

/// Reads the first complete lines of a file, as UTF-8.
async fn sample(
    options: &CsvReadOptions,
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
    rows_max: usize,
) -> Result<Vec<u8>> {
    let stream = store
        .get(&object.location)
        .await?
        .into_stream()
        .map(|r| r.map_err(DataFusionError::from))
        .boxed();
    let mut stream = options.compression_type().convert_stream(stream)?;
    let mut text = vec![];
    let mut lines = 0;
    let mut is_complete = true;
    while let Some(chunk) = stream.next().await {
        let chunk = options.to_utf8(chunk?);
        lines += chunk.iter().filter(|b| **b == b'\n').count();
        text.extend_from_slice(&chunk);
        if lines > rows_max || text.len() > SAMPLE_BYTES_MAX {
            is_complete = false;
            break;
        }
    }
    if !is_complete && let Some(end) = text.iter().rposition(|b| *b == b'\n') {
        text.truncate(end + 1);
    }
    if text.starts_with(super::decode::BYTE_ORDER_MARK) {
        text.drain(..super::decode::BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// Fails if the delimiter does not occur in the first line, but another one occurs equally often in
/// the first two lines.
fn check_delimiter(options: &CsvReadOptions, sample: &[u8]) -> Result<()> {
    let mut lines = sample.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return Ok(());
    };
    let count = |line: &[u8], byte: u8| line.iter().filter(|b| **b == byte).count();
    if count(first, options.delimiter) > 0 {
        return Ok(());
    }
    let likely = [b';', b',', b'|', b'\t']
        .into_iter()
        .find(|d| count(first, *d) > 0 && count(first, *d) == count(second, *d));
    match likely {
        Some(likely) => plan_err!(
            "the delimiter is `{}`, but the lines have none of it; they look as if it were `{}`. Set the delimiter",
            char::from(options.delimiter),
            char::from(likely).escape_default()
        ),
        None => Ok(()),
    }
}

/// Delimiter of the sample after the replacement; it does not occur in text.
const UNIT_SEPARATOR: u8 = 0x1f;

/// Replaces decimal commas in a sample, so that Arrow's inference recognizes numbers.
fn with_decimal_points(options: &CsvReadOptions, sample: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sample.len());
    super::lenient::for_each_record(options, sample, |fields| {
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.push(UNIT_SEPARATOR);
            }
            out.extend_from_slice(&super::lenient::decimal_point(field));
        }
        out.push(b'\n');
    });
    out
}

/// Merges the schemas of two files of a folder: the same columns, with types that can hold both.
///
/// # Errors
/// If names or order of the columns differ.
pub(super) fn merge(first: &Schema, second: &Schema, object: &ObjectMeta) -> Result<Schema> {
    if second.fields().is_empty() {
        return Ok(first.clone());
    }
    if first.fields().is_empty() {
        return Ok(second.clone());
    }
    let names = |schema: &Schema| {
        schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect::<Vec<_>>()
    };
    if names(first) != names(second) {
        let (a, b) = (names(first), names(second));
        let at = a
            .iter()
            .zip(&b)
            .position(|(x, y)| x != y)
            .unwrap_or(a.len().min(b.len()));
        let name = |v: &[String]| v.get(at).map_or("nothing".to_owned(), |n| format!("`{n}`"));
        return plan_err!(
            "{}: its columns differ from those of the files before it: column {} is {}, expected {}",
            object.location,
            at + 1,
            name(&b),
            name(&a)
        );
    }
    let fields = first.fields().iter().zip(second.fields()).map(|(a, b)| {
        let both = match (a.data_type(), b.data_type()) {
            (x, y) if x == y => x.clone(),
            (DataType::Null, x) | (x, DataType::Null) => x.clone(),
            (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
                DataType::Float64
            }
            _ => DataType::Utf8,
        };
        Field::new(a.name(), both, true)
    });
    Ok(Schema::new(fields.collect::<Fields>()))
}

/// Gives columns without any value the type text, as Spark does.
pub(super) fn without_nulls(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Null => Field::new(field.name(), DataType::Utf8, true),
        other => Field::new(field.name(), other.clone(), true),
    });
    Schema::new(fields.collect::<Fields>())
}

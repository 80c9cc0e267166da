//! Infers the schema of files from their first lines.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::error::ArrowError;
use arrow::json::reader::infer_json_schema_from_iterator;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::big_numbers::BigNumbers;
use super::lines::{LineError, Lines};
use super::options::JsonReadOptions;
use crate::formats::text::read_file;

/// Bytes of text that are read at most to infer a schema, unless all rows are.
const SAMPLE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A line of a sample.
struct Line {
    file: usize,
    number: u64,
    text: String,
}

/// Infers the schema that holds the first rows of all files: what is a number in one line and a
/// text in another is a text.
pub(in crate::formats) async fn infer_schema(
    options: &JsonReadOptions,
    store: &Arc<dyn ObjectStore>,
    objects: &[ObjectMeta],
) -> Result<Schema> {
    let mut sample = vec![];
    let mut bytes = 0;
    let (rows_max, bytes_max) = match options.infer_rows {
        0 => (usize::MAX, usize::MAX),
        rows => (rows, SAMPLE_BYTES_MAX),
    };
    for (file, object) in objects.iter().enumerate() {
        let path = &object.location;
        let mut chunks = read_file(options.compression, store, path).await?;
        let mut lines = Lines::default();
        let mut is_over = false;
        while !is_over && sample.len() < rows_max && bytes < bytes_max {
            match chunks.next().await {
                Some(chunk) => {
                    let chunk = chunk?;
                    bytes += chunk.len();
                    lines.push(&chunk).map_err(|e| e.with_location(path, 0))?;
                }
                None => {
                    lines.end();
                    is_over = true;
                }
            }
            while let Some((text, number)) = lines.next().map_err(|e| e.with_location(path, 0))? {
                sample.push(Line {
                    file,
                    number,
                    text: text.to_owned(),
                });
            }
        }
    }
    if sample.is_empty() && bytes >= bytes_max {
        let path = objects.first().map(|o| o.location.to_string());
        return Err(exec_datafusion_err!(
            "/{} line 1: a line is longer than {} MiB, so the columns cannot be inferred; give a schema",
            path.unwrap_or_default(),
            SAMPLE_BYTES_MAX >> 20
        ));
    }
    sample.truncate(rows_max);
    infer_from(&sample, objects)
}

fn infer_from(sample: &[Line], objects: &[ObjectMeta]) -> Result<Schema> {
    let path = |line: &Line| {
        objects
            .get(line.file)
            .map_or_else(Path::default, |object| object.location.clone())
    };
    let mut last = None;
    let mut big_numbers = BigNumbers::default();
    let values = sample.iter().map(|line| {
        last = Some(line);
        big_numbers.parse(&line.text).map_err(|error| {
            let error = syntax_error(line.number, &error).with_location(&path(line), 0);
            ArrowError::ExternalError(Box::new(error))
        })
    });
    let inferred = infer_json_schema_from_iterator(values);
    let schema = inferred.map_err(|error| match (error, last) {
        (ArrowError::ExternalError(inner), _) => match inner.downcast::<DataFusionError>() {
            Ok(known) => *known,
            Err(other) => DataFusionError::External(other),
        },
        (other, Some(line)) => {
            let problem = format!("{other}; give a schema");
            LineError {
                line: line.number,
                problem,
            }
            .with_location(&path(line), 0)
        }
        (other, None) => other.into(),
    })?;
    let fields = big_numbers.widen(schema.fields());
    Ok(Schema::new(without_nulls(&fields)))
}

/// A syntax error without the line of the text that it is in, which is always its first.
pub(super) fn syntax_error(line: u64, error: &serde_json::Error) -> LineError {
    let text = error.to_string();
    let problem = text.split(" at line ").next().unwrap_or_default();
    LineError {
        line,
        problem: format!("not valid JSON at column {}: {problem}", error.column()),
    }
}

/// Columns without any value are text, as in Spark.
fn without_nulls(fields: &Fields) -> Fields {
    fields.iter().map(without_null).collect()
}

fn without_null(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(without_null(item)),
        DataType::Struct(fields) => DataType::Struct(without_nulls(fields)),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), data_type, true))
}

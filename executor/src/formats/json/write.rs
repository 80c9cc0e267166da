//! Batches to lines with one object each.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use datafusion::common::{Result, exec_err};

/// Returns the lines of a batch. Nulls are written, so that a column without values is not lost.
///
/// # Errors
/// For numbers that JSON does not have.
pub(crate) fn to_json(batch: &RecordBatch) -> Result<Vec<u8>> {
    for (column, field) in batch.columns().iter().zip(batch.schema().fields()) {
        if !is_finite(column) {
            return exec_err!(
                "column {}: JSON has neither NaN nor infinity; replace it, say with nanvl({}, 0), or write Parquet",
                field.name(),
                field.name()
            );
        }
    }
    let mut buffer = Vec::new();
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(&mut buffer);
    writer.write(batch)?;
    writer.finish()?;
    Ok(buffer)
}

/// Whether all numbers of a column, nested ones too, are finite.
fn is_finite(column: &ArrayRef) -> bool {
    match column.data_type() {
        DataType::Float16 => {
            let values = column.as_primitive::<Float16Type>();
            values.iter().flatten().all(|value| value.is_finite())
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            values.iter().flatten().all(f32::is_finite)
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            values.iter().flatten().all(f64::is_finite)
        }
        DataType::List(_) => is_finite(column.as_list::<i32>().values()),
        DataType::LargeList(_) => is_finite(column.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => is_finite(column.as_fixed_size_list().values()),
        DataType::Struct(_) => column.as_struct().columns().iter().all(is_finite),
        DataType::Map(..) => column.as_map().entries().columns().iter().all(is_finite),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array};

    use super::*;

    #[test]
    fn nulls_are_written_and_numbers_that_json_lacks_are_refused() {
        let batch = |n: Option<i32>, d: f64| {
            let columns: [(&str, ArrayRef); 2] = [
                ("n", Arc::new(Int32Array::from(vec![n]))),
                ("d", Arc::new(Float64Array::from(vec![d]))),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        assert_eq!(
            to_json(&batch(None, 1.5)).unwrap(),
            b"{\"n\":null,\"d\":1.5}\n"
        );
        let error = to_json(&batch(Some(1), f64::NAN)).unwrap_err().to_string();
        assert!(
            error.contains("column d") && error.contains("NaN"),
            "{error}"
        );
    }
}

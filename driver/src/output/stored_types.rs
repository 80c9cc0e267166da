//! Types that file formats can store, and those that they lack.
//!
//! A column that a format cannot store is refused before the query runs: written as another type,
//! it would be read back as that type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use faisca_planner::manifest::FileFormat;

/// A type that a file format lacks.
#[derive(Debug, thiserror::Error)]
#[error("{format} has no {description}: {help}")]
pub(super) struct MissingType {
    format: &'static str,
    description: String,
    help: &'static str,
}

/// Returns the type to which a column is cast before it is written; most types stay.
///
/// Parquet has no timestamps in seconds, and Spark and Athena do not read nanoseconds: all become
/// microseconds.
///
/// # Errors
/// Returns an error if the format lacks the type. The text says what to do; callers put the name of
/// the column in front of it.
pub(super) fn stored_type(
    format: FileFormat,
    data_type: &DataType,
) -> Result<DataType, MissingType> {
    let nested = |field: &FieldRef| stored_field(format, field);
    Ok(match data_type {
        DataType::Interval(_) | DataType::Duration(_) => {
            return Err(lacking(
                format,
                data_type,
                "cast it to STRING, or to a number",
            ));
        }
        DataType::Union(..) | DataType::RunEndEncoded(..) => {
            return Err(lacking(format, data_type, "cast it to another type"));
        }
        DataType::Timestamp(_, zone) if format == FileFormat::Parquet => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Time32(TimeUnit::Second) if format == FileFormat::Parquet => {
            DataType::Time32(TimeUnit::Millisecond)
        }
        // Formats would store the milliseconds, which would be read back as numbers.
        DataType::Date64 => DataType::Date32,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
            if format != FileFormat::Parquet =>
        {
            let help = "write it as text, say with encode(…, 'hex'), or write Parquet";
            return Err(lacking(format, data_type, help));
        }
        nested if nested.is_nested() && format == FileFormat::Csv => {
            let help = "select its parts, or write ndjson or Parquet";
            return Err(lacking(format, data_type, help));
        }
        DataType::List(item) => DataType::List(nested(item)?),
        DataType::LargeList(item) => DataType::LargeList(nested(item)?),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(nested(item)?, *length),
        DataType::Struct(fields) => DataType::Struct(stored_fields(format, fields)?),
        DataType::Map(entries, is_sorted) => {
            if format == FileFormat::Ndjson && !has_text_keys(entries) {
                let help = "cast the keys to STRING, or write Parquet";
                return Err(lacking(format, data_type, help));
            }
            DataType::Map(nested(entries)?, *is_sorted)
        }
        other => other.clone(),
    })
}

fn stored_fields(format: FileFormat, fields: &Fields) -> Result<Fields, MissingType> {
    fields
        .iter()
        .map(|field| stored_field(format, field))
        .collect()
}

fn stored_field(format: FileFormat, field: &FieldRef) -> Result<FieldRef, MissingType> {
    let stored = stored_type(format, field.data_type())?;
    Ok(match stored == *field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(Field::new(field.name(), stored, field.is_nullable())),
    })
}

fn has_text_keys(entries: &FieldRef) -> bool {
    let DataType::Struct(pair) = entries.data_type() else {
        return false;
    };
    pair.first().is_some_and(|key| key.data_type().is_string())
}

fn lacking(format: FileFormat, data_type: &DataType, help: &'static str) -> MissingType {
    let format = match format {
        FileFormat::Parquet => "Parquet",
        FileFormat::Csv => "CSV",
        FileFormat::Ndjson => "JSON",
    };
    let description = match data_type {
        DataType::Interval(_) | DataType::Duration(_) => "intervals of time".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary values".to_owned(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            "lists".to_owned()
        }
        DataType::Struct(_) => "structs".to_owned(),
        DataType::Map(..) if format == "JSON" => "maps whose keys are not text".to_owned(),
        DataType::Map(..) => "maps".to_owned(),
        other => format!("type {other}"),
    };
    MissingType {
        format,
        description,
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_microseconds_in_parquet_even_in_nested_types() {
        let timestamp = |unit| DataType::Timestamp(unit, Some("UTC".into()));
        let within = |unit| {
            let list = DataType::List(Arc::new(Field::new("item", timestamp(unit), true)));
            DataType::Struct(vec![Field::new("a", list, false)].into())
        };
        for unit in [
            TimeUnit::Second,
            TimeUnit::Millisecond,
            TimeUnit::Nanosecond,
        ] {
            let stored = stored_type(FileFormat::Parquet, &within(unit)).unwrap();
            assert_eq!(stored, within(TimeUnit::Microsecond));
            assert_eq!(
                stored_type(FileFormat::Csv, &timestamp(unit)).unwrap(),
                timestamp(unit)
            );
        }
    }

    #[test]
    fn a_type_that_a_format_lacks_is_refused_with_what_to_do() {
        let refused = |format, data_type| {
            let error = stored_type(format, &data_type).unwrap_err();
            error.to_string()
        };
        let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
        assert!(refused(FileFormat::Parquet, interval).starts_with("Parquet has no intervals"));
        assert!(refused(FileFormat::Ndjson, DataType::Binary).contains("encode(…, 'hex')"));
        let list = DataType::new_list(DataType::Int32, true);
        assert!(refused(FileFormat::Csv, list).contains("CSV has no lists"));
    }
}

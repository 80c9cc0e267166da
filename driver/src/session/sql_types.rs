//! SQL names of Arrow types.

use arrow::datatypes::{DataType, TimeUnit};
use faisca_spark::columns::quote_name;

/// Returns the SQL name of a type, which `Source::schema` accepts; `None` if it has none.
pub(super) fn sql_type(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "STRING".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Time64(_) => "TIME".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => "(0)",
                TimeUnit::Millisecond => "(3)",
                TimeUnit::Microsecond => "",
                TimeUnit::Nanosecond => "(9)",
            };
            let name = zone.as_ref().map_or("TIMESTAMP_NTZ", |_| "TIMESTAMP");
            format!("{name}{digits}")
        }
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "BYTEA".to_owned(),
        _ => return None,
    })
}

/// Returns the SQL name of a type, also of arrays, maps and structs.
pub(super) fn whole_sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => {
            format!("ARRAY<{}>", whole_sql_type(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let name = quote_name(field.name());
                format!("{name}: {}", whole_sql_type(field.data_type()))
            });
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => {
                let types = entry.iter().map(|part| whole_sql_type(part.data_type()));
                format!("MAP<{}>", types.collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        },
        other => sql_type(other).unwrap_or_else(|| other.to_string()),
    }
}

/// Returns the SQL definition of a column; [`sql_type`] returns the name of its type. Column names
/// are quoted with backticks, which every dialect of the parser accepts.
pub(super) fn column_definition(name: &str, sql_type: &str) -> String {
    format!("{} {sql_type}", quote_name(name))
}

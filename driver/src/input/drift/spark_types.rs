//! The types in which Spark reads those that it does not have: unsigned numbers, half floats, values
//! of a fixed size, and instants with a zone of their own.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use faisca_planner::nested_types::convert_nested_field;

/// Returns a schema whose columns, at every depth, have types of Spark that hold the same values.
pub(super) fn with_spark_types(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields
        .map(|field| convert_nested_field(field, &spark_type).unwrap_or_else(|| Arc::clone(field)));
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

/// Returns the type of Spark for a type that it does not have; `None` for any other.
fn spark_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        // The largest value has 20 digits.
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::FixedSizeList(item, _) => DataType::List(Arc::clone(item)),
        // Arrow would calculate in the zone of the column, Spark in that of the session.
        DataType::Timestamp(unit, Some(zone)) if zone.as_ref() != "UTC" => {
            DataType::Timestamp(*unit, Some("UTC".into()))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, TimeUnit};
    use faisca_planner::nested_types::convert_nested;

    #[test]
    fn types_that_spark_lacks_are_read_as_its_own_at_every_depth() {
        let nested = |item: DataType| {
            let list = DataType::List(Arc::new(Field::new_list_field(item, true)));
            DataType::Struct(vec![Field::new("items", list, true)].into())
        };
        for (before, after) in [
            (DataType::UInt8, DataType::Int16),
            (DataType::UInt64, DataType::Decimal128(20, 0)),
            (DataType::Float16, DataType::Float32),
            (DataType::FixedSizeBinary(4), DataType::Binary),
            (nested(DataType::UInt32), nested(DataType::Int64)),
            (
                nested(DataType::Timestamp(
                    TimeUnit::Nanosecond,
                    Some("Asia/Tokyo".into()),
                )),
                nested(DataType::Timestamp(
                    TimeUnit::Nanosecond,
                    Some("UTC".into()),
                )),
            ),
        ] {
            assert_eq!(convert_nested(&before, &spark_type), Some(after));
        }
        assert_eq!(convert_nested(&DataType::Utf8, &spark_type), None);
    }
}

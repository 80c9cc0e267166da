//! The types in which Spark reads those that it does not have: unsigned numbers, half floats and
//! values of a fixed size.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

/// Returns a schema whose columns, at every depth, have types of Spark that hold the same values.
pub(super) fn with_spark_types(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(convert_field).collect();
    let is_same = fields.iter().zip(schema.fields()).all(|(a, b)| a == b);
    match is_same {
        true => Arc::clone(schema),
        false => Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
    }
}

fn convert_field(field: &FieldRef) -> FieldRef {
    let converted = convert(field.data_type());
    match &converted == field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(field.as_ref().clone().with_data_type(converted)),
    }
}

fn convert(data_type: &DataType) -> DataType {
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        // The largest value has 20 digits.
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::FixedSizeList(item, _) | DataType::List(item) => {
            DataType::List(convert_field(item))
        }
        DataType::LargeList(item) => DataType::LargeList(convert_field(item)),
        DataType::Map(entries, is_sorted) => DataType::Map(convert_field(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(convert_field).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

    #[test]
    fn numbers_without_a_sign_are_read_as_wider_ones_at_every_depth() {
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
            (DataType::Utf8, DataType::Utf8),
        ] {
            assert_eq!(convert(&before), after);
        }
    }
}

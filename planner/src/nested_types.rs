//! Converts types at every depth: within lists, maps and structs.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};

/// Returns a type in which `convert` has replaced all types that it returns another one for; `None`
/// if there are none. A replacement is converted, too.
pub fn convert_nested(
    data_type: &DataType,
    convert: &impl Fn(&DataType) -> Option<DataType>,
) -> Option<DataType> {
    if let Some(converted) = convert(data_type) {
        return Some(convert_nested(&converted, convert).unwrap_or(converted));
    }
    let item = |field: &FieldRef| convert_nested_field(field, convert);
    match data_type {
        DataType::List(field) => item(field).map(DataType::List),
        DataType::LargeList(field) => item(field).map(DataType::LargeList),
        DataType::ListView(field) => item(field).map(DataType::ListView),
        DataType::FixedSizeList(field, length) => {
            item(field).map(|field| DataType::FixedSizeList(field, *length))
        }
        DataType::Map(entries, is_sorted) => {
            item(entries).map(|entries| DataType::Map(entries, *is_sorted))
        }
        DataType::Struct(fields) => {
            let converted: Vec<_> = fields.iter().map(item).collect();
            if converted.iter().all(Option::is_none) {
                return None;
            }
            let fields = converted
                .into_iter()
                .zip(fields)
                .map(|(converted, field)| converted.unwrap_or_else(|| Arc::clone(field)));
            Some(DataType::Struct(fields.collect()))
        }
        _ => None,
    }
}

/// Returns a field with a type that [`convert_nested`] has changed; `None` if it is the same.
pub fn convert_nested_field(
    field: &FieldRef,
    convert: &impl Fn(&DataType) -> Option<DataType>,
) -> Option<FieldRef> {
    let converted = convert_nested(field.data_type(), convert)?;
    Some(Arc::new(Field::clone(field).with_data_type(converted)))
}

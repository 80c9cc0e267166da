//! Floating-point numbers: NaN, infinities and zeros.

pub(super) mod canonical;
pub(super) mod equality;
pub(super) mod min_max;
pub(super) mod not_a_number;
pub(super) mod top_groups;

use arrow::datatypes::DataType;

/// Whether values of a type are floating-point numbers, or hold some.
fn holds_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => holds_floats(values),
        DataType::RunEndEncoded(_, values) => holds_floats(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => holds_floats(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_floats(field.data_type())),
        other => other.is_floating(),
    }
}

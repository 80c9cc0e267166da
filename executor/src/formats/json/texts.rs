//! Values that are decoded as texts first: whole numbers and decimals, which lose no digit, and
//! timestamps, which may be in the session's time zone.
//!
//! Arrow's decoder cuts digits off: 2.5 in a column of BIGINT is 2, and 1.005 in one of
//! DECIMAL(5, 2) is 1.00. A text that may have such numbers is decoded with these columns as texts,
//! which the rules of CSV convert: surplus digits of decimals are rounded, and a fraction is not a
//! whole number.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use faisca_spark::text::Zone;

use crate::formats::csv::{convert, type_name, without_exponent};
use crate::formats::instants::depends_on_zone;

/// Returns the schema with whole numbers, decimals and timestamps as texts; `None` if it has none of
/// them.
pub(super) fn with_texts(schema: &Schema, zone: Zone) -> Option<SchemaRef> {
    let fields = text_fields(schema.fields(), zone);
    (fields != *schema.fields()).then(|| Arc::new(Schema::new(fields)))
}

fn text_fields(fields: &Fields, zone: Zone) -> Fields {
    fields.iter().map(|field| text_field(field, zone)).collect()
}

fn text_field(field: &FieldRef, zone: Zone) -> FieldRef {
    let text_field = |field| text_field(field, zone);
    let data_type = match field.data_type() {
        number if number.is_integer() || number.is_decimal() => DataType::Utf8,
        time if depends_on_zone(time, zone) => DataType::Utf8,
        DataType::List(item) => DataType::List(text_field(item)),
        DataType::LargeList(item) => DataType::LargeList(text_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(text_field(item), *length),
        DataType::Map(entries, is_sorted) => DataType::Map(text_field(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(text_fields(fields, zone)),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// Returns true if a column, or a part of one, has timestamps in a zone other than UTC.
pub(super) fn has_zoned_timestamps(fields: &Fields, zone: Zone) -> bool {
    fields.iter().any(|field| match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_zoned_timestamps(&[Arc::clone(item)].into(), zone),
        DataType::Struct(fields) => has_zoned_timestamps(fields, zone),
        scalar => depends_on_zone(scalar, zone),
    })
}

/// Returns true if a text may have numbers with a fraction or an exponent.
pub(super) fn may_have_fractions(text: &str) -> bool {
    let pairs = text.as_bytes().windows(2);
    pairs
        .into_iter()
        .any(|pair| matches!(pair, [b'0'..=b'9', b'.' | b'e' | b'E']))
}

/// Converts the texts of a batch to the values of `schema`.
///
/// # Errors
/// If a text is no value of its column's type; the error names both.
pub(super) fn to_values(
    batch: &RecordBatch,
    schema: &SchemaRef,
    zone: Zone,
) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| convert_array(column, field, field.name(), zone));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn convert_array(
    array: &ArrayRef,
    field: &Field,
    column: &str,
    zone: Zone,
) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == field.data_type() {
        return Ok(Arc::clone(array));
    }
    let nulls = array.nulls().cloned();
    Ok(match field.data_type() {
        DataType::List(item) => {
            let list: &ListArray = array.as_list();
            let values = convert_array(list.values(), item, column, zone)?;
            let offsets = list.offsets().clone();
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets,
                values,
                nulls,
            )?)
        }
        DataType::LargeList(item) => {
            let list: &LargeListArray = array.as_list();
            let values = convert_array(list.values(), item, column, zone)?;
            let offsets = list.offsets().clone();
            Arc::new(LargeListArray::try_new(
                Arc::clone(item),
                offsets,
                values,
                nulls,
            )?)
        }
        DataType::FixedSizeList(item, length) => {
            let values = convert_array(array.as_fixed_size_list().values(), item, column, zone)?;
            let item = Arc::clone(item);
            Arc::new(FixedSizeListArray::try_new(item, *length, values, nulls)?)
        }
        DataType::Map(entries, is_sorted) => {
            let map = array.as_map();
            let pairs: ArrayRef = Arc::new(map.entries().clone());
            let pairs = convert_array(&pairs, entries, column, zone)?
                .as_struct()
                .clone();
            let (entries, offsets) = (Arc::clone(entries), map.offsets().clone());
            Arc::new(MapArray::try_new(
                entries, offsets, pairs, nulls, *is_sorted,
            )?)
        }
        DataType::Struct(fields) => {
            let parts = array.as_struct().columns().iter().zip(fields);
            let parts = parts.map(|(part, field)| {
                let name = format!("{column}.{}", field.name());
                convert_array(part, field, &name, zone)
            });
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            Arc::new(StructArray::try_new(fields.clone(), parts, nulls)?)
        }
        value_type => values(array.as_string(), value_type, column, zone)?,
    })
}

fn values(
    texts: &StringArray,
    to: &DataType,
    column: &str,
    zone: Zone,
) -> Result<ArrayRef, ArrowError> {
    let values = match to.is_integer() && may_have_fractions_in(texts) {
        true => {
            let whole = texts.iter().map(|text| text.map(whole_number));
            convert(&whole.collect(), to, zone)?
        }
        false => convert(texts, to, zone)?,
    };
    let refused = (0..texts.len()).find(|row| values.is_null(*row) && texts.is_valid(*row));
    match refused {
        None => Ok(values),
        Some(row) => Err(ArrowError::JsonError(format!(
            "the value '{}' of column {column} is not {}; give a schema with another type, or set \
             inferRows to 0",
            texts.value(row),
            type_name(to)
        ))),
    }
}

fn may_have_fractions_in(texts: &StringArray) -> bool {
    let mut bytes = texts.value_data().iter();
    bytes.any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// Returns `1e3` as `1000` and `2.0` as `2`; fractions, and what is not a number, stay as they are.
fn whole_number(text: &str) -> String {
    let plain = without_exponent(text);
    match plain.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        _ => plain.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_fraction_in_any_spelling() {
        let texts = StringArray::from(vec!["1e3", "2.0", "-7", "12.50e1"]);
        let whole = values(&texts, &DataType::Int64, "a", Zone::UTC).unwrap();
        let expected = arrow::array::Int64Array::from(vec![1000, 2, -7, 125]);
        assert_eq!(whole.as_ref(), &expected as &dyn Array);
        for fraction in ["2.5", "1e-1", "x", "3000000000000000000000"] {
            let texts = StringArray::from(vec![fraction]);
            let error = values(&texts, &DataType::Int64, "a", Zone::UTC).unwrap_err();
            let expected = format!("the value '{fraction}' of column a is not a BIGINT");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
}

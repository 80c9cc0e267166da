//! `from_json` and `schema_of_json`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err, plan_err};

use super::value::Json;
use crate::functions::convert::{self, Zone};
use crate::functions::datetime::pattern::Pattern;
use crate::functions::maps::assemble;
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};
use crate::functions::types;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "from_json",
            &[Param::Text, Param::Text, Param::Map],
            Returns::Computed(schema),
            from_json,
        )
        .optional(1),
        Function::new(
            "schema_of_json",
            &[Param::Text, Param::Map],
            Returns::Type(DataType::Utf8),
            |call| {
                let texts = call.text(0);
                let is_text = option(call, "primitivesAsString")?
                    .is_some_and(|value| value.eq_ignore_ascii_case("true"));
                call.texts(|row| match Json::parse(texts.value(row)) {
                    Some(value) if is_text => Ok(Some(ddl(&with_texts(infer_type(&value))))),
                    Some(value) => Ok(Some(ddl(&infer_type(&value)))),
                    None => call.fail("the text is not JSON"),
                })
            },
        )
        .optional(1),
    ]
}

/// Returns the type that a call names by its second argument.
pub(crate) fn schema(site: &CallSite) -> Result<DataType> {
    match site.literal_text(1) {
        Some(text) => types::parse(text),
        None => plan_err!(
            "{}: the schema must be a literal such as 'a INT, b STRING'",
            site.name
        ),
    }
}

/// What the options of a call say.
pub(super) struct Options {
    zone: Zone,
    timestamp: Option<Pattern>,
    date: Option<Pattern>,
    is_failfast: bool,
}

impl Options {
    pub(super) fn of_call(call: &Call) -> Result<Self> {
        let pattern = |name: &str| {
            option(call, name)?
                .map(|text| Pattern::compile_for_reading(&text))
                .transpose()
        };
        let mode = option(call, "mode")?.unwrap_or_default();
        let zone = match option(call, "timeZone")? {
            Some(name) => Zone::parse(&name)?,
            None => call.zone,
        };
        Ok(Self {
            zone,
            timestamp: pattern("timestampFormat")?,
            date: pattern("dateFormat")?,
            is_failfast: mode.eq_ignore_ascii_case("FAILFAST"),
        })
    }
}

/// Returns an option of the map that is the third argument, ignoring case.
pub(crate) fn option(call: &Call, name: &str) -> Result<Option<String>> {
    let Some(map) = call.arrays.last().and_then(|array| array.as_map_opt()) else {
        return Ok(None);
    };
    if map.is_empty() || map.is_null(0) {
        return Ok(None);
    }
    let entries = map.value(0);
    let keys = convert::to_text(entries.column(0), &call.zone)?;
    let values = convert::to_text(entries.column(1), &call.zone)?;
    let (keys, values): (&StringArray, &StringArray) = (keys.as_string(), values.as_string());
    let hit = keys
        .iter()
        .position(|key| key.is_some_and(|key| key.eq_ignore_ascii_case(name)));
    Ok(hit.map(|index| values.value(index).to_owned()))
}

fn from_json(call: &Call) -> Result<ArrayRef> {
    let options = Options::of_call(call)?;
    let texts = call.text(0);
    let parsed: Vec<Option<Json>> = texts
        .iter()
        .map(|text| text.and_then(Json::parse))
        .collect();
    if options.is_failfast
        && let Some(row) = (0..call.rows).find(|row| texts.is_valid(*row) && parsed[*row].is_none())
    {
        return exec_err!(
            "[MALFORMED_RECORD_IN_PARSING] '{}' is not JSON",
            texts.value(row)
        );
    }
    let empty = Json::Object(Vec::new());
    let is_struct = matches!(call.return_type, DataType::Struct(_));
    // A text that is no JSON gives a struct of nulls; a null text gives null.
    let values: Vec<Option<&Json>> = parsed
        .iter()
        .enumerate()
        .map(|(row, value)| match value {
            Some(Json::Array(items)) if is_struct => items.first(),
            Some(value) => Some(value),
            None if texts.is_valid(row) && is_struct => Some(&empty),
            None => None,
        })
        .collect();
    build(&call.return_type, &values, &options)
}

/// Builds a column of a type; values of another kind are null.
pub(super) fn build(
    data_type: &DataType,
    values: &[Option<&Json>],
    options: &Options,
) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Struct(fields) => build_struct(fields, values, options)?,
        DataType::List(item) => build_list(item, values, options)?,
        DataType::Map(entries, _) => build_map(entries, values, options)?,
        DataType::Boolean => {
            let booleans = values.iter().map(|value| match value {
                Some(Json::Boolean(value)) => Some(*value),
                _ => None,
            });
            Arc::new(BooleanArray::from_iter(booleans))
        }
        DataType::Utf8 => {
            let texts = values.iter().map(|value| match value {
                None | Some(Json::Null) => None,
                Some(value) => Some(value.to_text()),
            });
            Arc::new(StringArray::from_iter(texts))
        }
        data_type if data_type.is_numeric() => build_numbers(data_type, values)?,
        data_type if data_type.is_temporal() => build_times(data_type, values, options)?,
        DataType::Binary => {
            let bytes = values.iter().map(|value| match value {
                Some(Json::Text(text)) => crate::functions::strings::decode_base64(text),
                _ => None,
            });
            Arc::new(datafusion::arrow::array::BinaryArray::from_iter(bytes))
        }
        other => new_null_array(other, values.len()),
    })
}

/// An array with an item of another kind is null as a whole.
fn build_list(item: &Arc<Field>, values: &[Option<&Json>], options: &Options) -> Result<ArrayRef> {
    let mut items: Vec<Option<&Json>> = Vec::new();
    let (mut lengths, mut validity) = (Vec::new(), Vec::new());
    for value in values {
        let before = items.len();
        match value {
            Some(Json::Array(list)) => items.extend(list.iter().map(Some)),
            // One object is an array of it.
            Some(object @ Json::Object(_)) if item.data_type().is_nested() => {
                items.push(Some(*object));
            }
            _ => {}
        }
        let is_list = matches!(value, Some(Json::Array(_))) || items.len() > before;
        validity.push(is_list);
        lengths.push(items.len() - before);
    }
    let built = build(item.data_type(), &items, options)?;
    let mut start = 0;
    for (length, is_valid) in lengths.iter().zip(&mut validity) {
        let mut range = start..start + length;
        start += length;
        *is_valid &= range.all(|at| built.is_valid(at) || items[at] == Some(&Json::Null));
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = Some(NullBuffer::from(validity));
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        offsets,
        built,
        nulls,
    )?))
}

fn build_struct(fields: &Fields, values: &[Option<&Json>], options: &Options) -> Result<ArrayRef> {
    let mut columns = Vec::with_capacity(fields.len());
    let objects: Vec<Option<&Json>> = values
        .iter()
        .map(|value| value.filter(|value| matches!(value, Json::Object(_))))
        .collect();
    // What from_json returns may always be null.
    let fields: Fields = fields
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    for field in &fields {
        let column: Vec<_> = objects
            .iter()
            .map(|value| value.and_then(|value| value.get(field.name())))
            .collect();
        columns.push(build(field.data_type(), &column, options)?);
    }
    let nulls = NullBuffer::from_iter(objects.iter().map(Option::is_some));
    Ok(Arc::new(StructArray::try_new_with_length(
        fields,
        columns,
        Some(nulls),
        values.len(),
    )?))
}

fn build_map(
    entries: &Arc<Field>,
    values: &[Option<&Json>],
    options: &Options,
) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return exec_err!("a map has no entries");
    };
    let (mut keys, mut items) = (Vec::new(), Vec::new());
    let (mut lengths, mut validity) = (Vec::new(), Vec::new());
    for value in values {
        let map = match value {
            Some(Json::Object(map)) => Some(map),
            _ => None,
        };
        validity.push(map.is_some());
        lengths.push(map.map_or(0, Vec::len));
        for (key, item) in map.into_iter().flatten() {
            keys.push(Json::Text(key.clone()));
            items.push(Some(item));
        }
    }
    let keys: Vec<Option<&Json>> = keys.iter().map(Some).collect();
    let keys = build(fields[0].data_type(), &keys, options)?;
    let items = build(fields[1].data_type(), &items, options)?;
    let nulls = Some(NullBuffer::from(validity));
    assemble(entries, lengths, vec![keys, items], nulls)
}

fn build_numbers(data_type: &DataType, values: &[Option<&Json>]) -> Result<ArrayRef> {
    let is_whole = data_type.is_integer();
    let digits = values.iter().map(|value| match value {
        Some(Json::Number(digits)) if !is_whole || !digits.contains(['.', 'e', 'E']) => {
            Some(digits.as_str())
        }
        // Words for what JSON cannot write.
        Some(Json::Text(text))
            if !is_whole && convert::parse_double(text).is_some_and(|value| !value.is_finite()) =>
        {
            Some(text.as_str())
        }
        _ => None,
    });
    let digits: ArrayRef = Arc::new(StringArray::from_iter(digits));
    // A number that does not fit is null.
    Ok(cast(&digits, data_type)?)
}

fn build_times(
    data_type: &DataType,
    values: &[Option<&Json>],
    options: &Options,
) -> Result<ArrayRef> {
    let is_date = data_type == &DataType::Date32;
    let pattern = if is_date {
        &options.date
    } else {
        &options.timestamp
    };
    let micros = values.iter().map(|value| match value {
        Some(Json::Text(text)) => match pattern {
            Some(pattern) => pattern
                .parse(text)
                .map(|(wall, zone)| zone.unwrap_or(options.zone).instant_of(wall)),
            None => convert::parse_timestamp(text, &options.zone),
        },
        _ => None,
    });
    let instants: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"));
    match data_type {
        DataType::Date32 => convert::convert(&instants, Param::Date, &options.zone),
        DataType::Timestamp(_, None) => convert::convert(&instants, Param::Wall, &options.zone),
        _ => {
            let plain = convert::convert(&instants, Param::Instant, &options.zone)?;
            convert::with_type(plain, data_type)
        }
    }
}

/// Returns the type that fits a value.
fn infer_type(value: &Json) -> DataType {
    match value {
        Json::Null => DataType::Null,
        Json::Boolean(_) => DataType::Boolean,
        Json::Number(digits) if digits.parse::<i64>().is_ok() => DataType::Int64,
        Json::Number(_) => DataType::Float64,
        Json::Text(_) => DataType::Utf8,
        Json::Array(items) => {
            let item = items
                .iter()
                .map(infer_type)
                .reduce(merge_types)
                .unwrap_or(DataType::Null);
            crate::functions::arrays::list_of(item)
        }
        Json::Object(entries) => {
            let fields = entries
                .iter()
                .map(|(name, value)| Field::new(name, infer_type(value), true));
            DataType::Struct(fields.collect())
        }
    }
}

/// Returns a type with text for all numbers and booleans.
fn with_texts(data_type: DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => {
            let as_texts = |field: &Arc<Field>| {
                let data_type = with_texts(field.data_type().clone());
                field.as_ref().clone().with_data_type(data_type)
            };
            DataType::Struct(fields.iter().map(as_texts).collect())
        }
        DataType::List(item) => {
            crate::functions::arrays::list_of(with_texts(item.data_type().clone()))
        }
        DataType::Null => DataType::Null,
        _ => DataType::Utf8,
    }
}

/// Returns a type for values of both types.
fn merge_types(a: DataType, b: DataType) -> DataType {
    match (a, b) {
        (DataType::Null, other) | (other, DataType::Null) => other,
        (a, b) if a == b => a,
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            DataType::Float64
        }
        (DataType::List(a), DataType::List(b)) => crate::functions::arrays::list_of(merge_types(
            a.data_type().clone(),
            b.data_type().clone(),
        )),
        (DataType::Struct(a), DataType::Struct(b)) => {
            let mut fields: Vec<Field> = a.iter().map(|field| field.as_ref().clone()).collect();
            for field in &b {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    Some(known) => {
                        let both =
                            merge_types(known.data_type().clone(), field.data_type().clone());
                        *known = known.clone().with_data_type(both);
                    }
                    None => fields.push(field.as_ref().clone()),
                }
            }
            DataType::Struct(fields.into())
        }
        _ => DataType::Utf8,
    }
}

/// Writes a type as `CREATE TABLE` has it.
pub(crate) fn ddl(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| format!("{}: {}", field.name(), ddl(field.data_type())));
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::List(item) => format!("ARRAY<{}>", ddl(item.data_type())),
        // What is unknown is read as text.
        DataType::Null => "STRING".to_owned(),
        other => types::name_of(other).to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_values_are_inferred() {
        let inferred_ddl = |text: &str| ddl(&infer_type(&Json::parse(text).unwrap()));
        assert_eq!(
            inferred_ddl(r#"{"a":1,"b":[1.5,2]}"#),
            "STRUCT<a: BIGINT, b: ARRAY<DOUBLE>>"
        );
        assert_eq!(
            inferred_ddl(r#"[{"a":1},{"b":"x"}]"#),
            "ARRAY<STRUCT<a: BIGINT, b: STRING>>"
        );
        assert_eq!(inferred_ddl("[]"), "ARRAY<STRING>");
    }
}

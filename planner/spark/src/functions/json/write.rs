//! `to_json`.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};

use super::read::option;
use super::value::write_text;
use crate::functions::arrays::items;
use crate::functions::convert::{self, Zone};
use crate::functions::datetime::{self, pattern::Pattern, pattern::TIMESTAMP_PATTERN};
use crate::functions::maps::parts;
use crate::functions::render::Renderer;
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "to_json",
            &[Param::Any, Param::Map],
            Returns::Computed(text),
            to_json,
        )
        .optional(1),
    ]
}

fn text(site: &CallSite) -> Result<DataType> {
    if has_nested_key(&site.types[0]) {
        return plan_err!(
            "{}: a key of a MAP that is a STRUCT or an ARRAY has no JSON; cast it to STRING",
            site.name
        );
    }
    match site.types[0].is_nested() || site.types[0].is_null() {
        true => Ok(DataType::Utf8),
        false => plan_err!(
            "{}: expected a STRUCT, a MAP or an ARRAY, got {}",
            site.name,
            site.types[0]
        ),
    }
}

fn has_nested_key(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| has_nested_key(field.data_type())),
        DataType::Map(..) => {
            parts(data_type).is_some_and(|(key, value)| key.is_nested() || has_nested_key(&value))
        }
        other => crate::functions::arrays::item_of(other).is_some_and(has_nested_key),
    }
}

/// A column, and how its values are written.
enum Writer {
    Struct(ArrayRef, Vec<(String, Self)>),
    List(ArrayRef, Box<Self>),
    Map(ArrayRef, Renderer, Box<Self>),
    Boolean(BooleanArray),
    /// Numbers: written as they are.
    Plain(ArrayRef, Renderer),
    /// Written with quotes.
    Text(ArrayRef, Renderer),
    /// Instants with a pattern.
    Time(ArrayRef, Pattern, Zone),
    Binary(ArrayRef),
}

/// The patterns of dates and timestamps, and whether nulls are left out.
struct Options {
    timestamp: Pattern,
    date: Pattern,
    omits_nulls: bool,
}

fn to_json(call: &Call) -> Result<ArrayRef> {
    let pattern = |name, default: &str| -> Result<Pattern> {
        Pattern::compile(&option(call, name)?.unwrap_or_else(|| default.to_owned()))
    };
    // Without an option, a map as the only argument is the value and no options.
    let has_options = call.has_argument(1);
    let options = Options {
        timestamp: match has_options {
            true => pattern("timestampFormat", TIMESTAMP_PATTERN)?,
            false => Pattern::compile(TIMESTAMP_PATTERN)?,
        },
        date: match has_options {
            true => pattern("dateFormat", "yyyy-MM-dd")?,
            false => Pattern::compile("yyyy-MM-dd")?,
        },
        omits_nulls: !has_options
            || option(call, "ignoreNullFields")?.is_none_or(|value| value != "false"),
    };
    let writer = Writer::new(&call.arrays[0], &options, call.zone)?;
    call.strict::<datafusion::arrow::array::StringArray, String>(|row| {
        let mut text = String::new();
        writer.write(row, &options, &mut text);
        Ok(Some(text))
    })
}

impl Writer {
    fn new(array: &ArrayRef, options: &Options, zone: Zone) -> Result<Self> {
        let array = match array.data_type() {
            // An array of this type has no bits that say which values are null.
            DataType::Null => new_null_array(&DataType::Utf8, array.len()),
            _ => ArrayRef::clone(array),
        };
        Ok(match array.data_type() {
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let columns = columns
                    .map(|(field, column)| {
                        Ok((field.name().clone(), Self::new(column, options, zone)?))
                    })
                    .collect::<Result<_>>()?;
                Self::Struct(array, columns)
            }
            DataType::Map(..) => {
                let keys = Renderer::new(array.as_map().keys(), &zone)?;
                let values = Self::new(array.as_map().values(), options, zone)?;
                Self::Map(array, keys, Box::new(values))
            }
            data_type if crate::functions::arrays::item_of(data_type).is_some() => {
                let list = convert::convert(&array, Param::List, &zone)?;
                let values = Self::new(list.as_list::<i32>().values(), options, zone)?;
                Self::List(list, Box::new(values))
            }
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Timestamp(_, None) => {
                let instants = convert::convert(&array, Param::Instant, &Zone::UTC)?;
                Self::Time(
                    instants,
                    Pattern::compile("yyyy-MM-dd'T'HH:mm:ss.SSS")?,
                    Zone::UTC,
                )
            }
            DataType::Timestamp(..) => {
                let instants = convert::convert(&array, Param::Instant, &zone)?;
                Self::Time(instants, options.timestamp.clone(), zone)
            }
            DataType::Date32 => {
                let instants = convert::convert(&array, Param::Instant, &Zone::UTC)?;
                Self::Time(instants, options.date.clone(), Zone::UTC)
            }
            data_type if convert::is_binary(data_type) => {
                Self::Binary(convert::convert(&array, Param::Binary, &zone)?)
            }
            data_type if data_type.is_numeric() => {
                let renderer = Renderer::new(&array, &zone)?;
                Self::Plain(array, renderer)
            }
            _ => {
                let renderer = Renderer::new(&array, &zone)?;
                Self::Text(array, renderer)
            }
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(array) => array.is_null(row),
            Self::Struct(array, _)
            | Self::List(array, _)
            | Self::Map(array, ..)
            | Self::Plain(array, _)
            | Self::Text(array, _)
            | Self::Time(array, ..)
            | Self::Binary(array) => array.is_null(row),
        }
    }

    fn write(&self, row: usize, options: &Options, to: &mut String) {
        if self.is_null(row) {
            to.push_str("null");
            return;
        }
        match self {
            Self::Struct(_, fields) => {
                let is_written =
                    |field: &&(String, Self)| !options.omits_nulls || !field.1.is_null(row);
                to.push('{');
                for (index, (name, column)) in fields.iter().filter(is_written).enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    write_text(name, to);
                    to.push(':');
                    column.write(row, options, to);
                }
                to.push('}');
            }
            Self::List(array, values) => {
                to.push('[');
                for (index, item) in items(array.as_list::<i32>(), row).enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    values.write(item, options, to);
                }
                to.push(']');
            }
            Self::Map(array, keys, values) => {
                let offsets = array.as_map().value_offsets();
                let range =
                    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize;
                to.push('{');
                for (index, entry) in range.enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    write_text(&render_row(keys, entry), to);
                    to.push(':');
                    values.write(entry, options, to);
                }
                to.push('}');
            }
            Self::Boolean(array) => to.push_str(if array.value(row) { "true" } else { "false" }),
            Self::Plain(_, renderer) => match render_row(renderer, row).as_str() {
                // JSON has no such numbers.
                word @ ("NaN" | "Infinity" | "-Infinity") => write_text(word, to),
                digits => to.push_str(digits),
            },
            Self::Text(_, renderer) => write_text(&render_row(renderer, row), to),
            Self::Time(array, pattern, zone) => {
                let instants =
                    array.as_primitive::<datafusion::arrow::datatypes::TimestampMicrosecondType>();
                write_text(&datetime::format(pattern, instants.value(row), *zone), to);
            }
            Self::Binary(array) => {
                write_text(
                    &crate::functions::strings::encode_base64(array.as_binary::<i32>().value(row)),
                    to,
                );
            }
        }
    }
}

fn render_row(renderer: &Renderer, row: usize) -> String {
    let mut text = String::new();
    renderer.write(row, &mut text);
    text
}

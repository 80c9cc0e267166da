//! Formats values as text and as JSON.
//!
//! The text is that of the `spark-sql` shell: arrays are `[1,null]`, structs `{"a":1}`, maps
//! `{"key":1}` with their entries sorted, text inside of them is quoted, and timestamps show the
//! session's zone. Binary values are hexadecimal, except where people read them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, DurationMicrosecondType, Float32Type, Float64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use faisca_spark::text::{Zone, double, float, interval, write_date, write_time, write_wall};

const DAY_MICROS: u64 = 86_400_000_000;
const SECOND_MICROS: u64 = 1_000_000;

/// The values of a column of one batch.
pub(super) enum Cells {
    Scalars(StringArray, Scalar),
    Bytes(BinaryArray, BinaryText),
    List(ArrayRef, Box<Self>),
    Struct(ArrayRef, Vec<(String, Self)>),
    Map(ArrayRef, Box<Self>, Box<Self>),
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryText {
    /// Read as UTF-8, as the `spark-sql` shell shows them.
    Utf8,
    /// Two digits for each byte, which keeps every byte.
    Hexadecimal,
}

/// When a scalar is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Numbers and booleans: never quoted, except for NaN and infinity in JSON.
    Number,
    /// Dates and similar types: quoted in JSON, but not in arrays.
    Plain,
    /// Strings: quoted in arrays and in JSON.
    Text,
}

impl Cells {
    /// Converts the scalars of a column to text, at every level of nesting.
    ///
    /// # Errors
    /// Returns an error if Arrow cannot convert the values.
    pub(super) fn new(
        array: &ArrayRef,
        zone: Zone,
        binary: BinaryText,
    ) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::List(_) => {
                let items = Self::new(array.as_list::<i32>().values(), zone, binary)?;
                Self::List(Arc::clone(array), Box::new(items))
            }
            DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => Self::new(
                &cast(array, &DataType::List(Arc::clone(item)))?,
                zone,
                binary,
            )?,
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let members = fields.iter().zip(columns).map(|(field, column)| {
                    Ok((field.name().clone(), Self::new(column, zone, binary)?))
                });
                let members = members.collect::<Result<_, ArrowError>>()?;
                Self::Struct(Arc::clone(array), members)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let keys = Self::new(map.keys(), zone, binary)?;
                let values = Self::new(map.values(), zone, binary)?;
                Self::Map(Arc::clone(array), Box::new(keys), Box::new(values))
            }
            DataType::Dictionary(_, value) => Self::new(&cast(array, value)?, zone, binary)?,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                let values = cast(array, &DataType::Binary)?;
                Self::Bytes(values.as_binary::<i32>().clone(), binary)
            }
            _ => {
                let (texts, scalar) = scalars(array, zone)?;
                Self::Scalars(texts, scalar)
            }
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Scalars(texts, _) => texts.is_null(row),
            Self::Bytes(values, _) => values.is_null(row),
            Self::List(array, _) | Self::Struct(array, _) | Self::Map(array, ..) => {
                array.is_null(row)
            }
        }
    }

    /// Returns the text of a value; `None` for null.
    pub(super) fn text(&self, row: usize) -> Option<String> {
        let Self::Scalars(texts, _) = self else {
            return (!self.is_null(row)).then(|| {
                let mut text = String::new();
                self.write_nested(row, &mut text);
                text
            });
        };
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    }

    /// Writes a value in the form that it has inside an array.
    fn write_nested(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            out.push_str("null");
            return;
        }
        match self {
            Self::Scalars(texts, Scalar::Text) => {
                let _ = write!(out, "\"{}\"", texts.value(row));
            }
            Self::Scalars(texts, _) => out.push_str(texts.value(row)),
            Self::Bytes(values, BinaryText::Utf8) => {
                out.push_str(&String::from_utf8_lossy(values.value(row)));
            }
            Self::Bytes(values, BinaryText::Hexadecimal) => {
                out.push_str(&hexadecimal(values.value(row)));
            }
            Self::List(array, items) => {
                let texts = list_range(array, row).map(|item| items.nested_text(item));
                let _ = write!(out, "[{}]", texts.collect::<Vec<_>>().join(","));
            }
            Self::Struct(_, members) => {
                let texts = members
                    .iter()
                    .map(|(name, cells)| format!("\"{name}\":{}", cells.nested_text(row)));
                let _ = write!(out, "{{{}}}", texts.collect::<Vec<_>>().join(","));
            }
            Self::Map(array, keys, values) => {
                let entries = map_range(array, row).map(|entry| {
                    format!("{}:{}", keys.nested_text(entry), values.nested_text(entry))
                });
                let mut entries: Vec<String> = entries.collect();
                entries.sort();
                let _ = write!(out, "{{{}}}", entries.join(","));
            }
        }
    }

    fn nested_text(&self, row: usize) -> String {
        let mut text = String::new();
        self.write_nested(row, &mut text);
        text
    }

    /// Writes a value as JSON.
    pub(super) fn write_json(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            out.push_str("null");
            return;
        }
        match self {
            Self::Scalars(texts, Scalar::Number) if is_json(texts.value(row)) => {
                out.push_str(texts.value(row));
            }
            Self::Scalars(texts, _) => write_json_text(texts.value(row), out),
            Self::Bytes(values, _) => write_json_text(&hexadecimal(values.value(row)), out),
            Self::List(array, items) => {
                out.push('[');
                for (index, item) in list_range(array, row).enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    items.write_json(item, out);
                }
                out.push(']');
            }
            Self::Struct(_, members) => {
                out.push('{');
                for (index, (name, cells)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    write_json_text(name, out);
                    out.push(':');
                    cells.write_json(row, out);
                }
                out.push('}');
            }
            Self::Map(array, keys, values) => {
                out.push('{');
                for (index, entry) in map_range(array, row).enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    // A map's key is never null.
                    write_json_text(&keys.text(entry).unwrap_or_default(), out);
                    out.push(':');
                    values.write_json(entry, out);
                }
                out.push('}');
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a text as JSON.
pub(super) fn write_json_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Returns true if the text of a number or boolean is valid JSON: not NaN or infinity.
fn is_json(text: &str) -> bool {
    !text.trim_start_matches('-').starts_with(['N', 'I'])
}

fn list_range(array: &ArrayRef, row: usize) -> std::ops::Range<usize> {
    range(array.as_list::<i32>().value_offsets(), row)
}

fn map_range(array: &ArrayRef, row: usize) -> std::ops::Range<usize> {
    range(array.as_map().value_offsets(), row)
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize
}

fn scalars(array: &ArrayRef, zone: Zone) -> Result<(StringArray, Scalar), ArrowError> {
    let data_type = array.data_type();
    if data_type.is_integer() || matches!(data_type, DataType::Boolean) || data_type.is_decimal() {
        return Ok((utf8(array)?, Scalar::Number));
    }
    Ok(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            (utf8(array)?, Scalar::Text)
        }
        DataType::Float64 => {
            let texts = texts::<Float64Type>(array, |value, out| out.push_str(&double(value)));
            (texts, Scalar::Number)
        }
        DataType::Float32 | DataType::Float16 => {
            let array = cast(array, &DataType::Float32)?;
            let texts = texts::<Float32Type>(&array, |value, out| out.push_str(&float(value)));
            (texts, Scalar::Number)
        }
        _ => (plain_texts(array, zone)?, Scalar::Plain),
    })
}

fn plain_texts(array: &ArrayRef, zone: Zone) -> Result<StringArray, ArrowError> {
    Ok(match array.data_type() {
        DataType::Date32 | DataType::Date64 => {
            let array = cast(array, &DataType::Date32)?;
            texts::<Date32Type>(&array, |days, out| write_date(days.into(), out))
        }
        DataType::Timestamp(_, column_zone) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, column_zone.clone());
            let has_zone = column_zone.is_some();
            texts::<TimestampMicrosecondType>(&cast(array, &micros)?, |micros, out| {
                write_wall(
                    if has_zone {
                        zone.wall_of(micros)
                    } else {
                        micros
                    },
                    out,
                );
            })
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let array = cast(array, &DataType::Time64(TimeUnit::Microsecond))?;
            texts::<Time64MicrosecondType>(&array, write_time)
        }
        DataType::Duration(_) => {
            let array = cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
            texts::<DurationMicrosecondType>(&array, write_days_and_time)
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            texts::<IntervalYearMonthType>(array, write_years_and_months)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            texts::<IntervalDayTimeType>(array, |value, out| {
                let millis = i64::from(value.days) * 86_400_000 + i64::from(value.milliseconds);
                write_days_and_time(millis.saturating_mul(1000), out);
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            texts::<IntervalMonthDayNanoType>(array, |value, out| {
                out.push_str(&interval(
                    value.months,
                    value.days,
                    value.nanoseconds / 1000,
                ));
            })
        }
        _ => arrow_texts(array)?,
    })
}

fn utf8(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn texts<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    write: impl Fn(T::Native, &mut String),
) -> StringArray {
    let mut builder = StringBuilder::new();
    let mut text = String::new();
    for value in array.as_primitive::<T>() {
        match value {
            None => builder.append_null(),
            Some(value) => {
                text.clear();
                write(value, &mut text);
                builder.append_value(&text);
            }
        }
    }
    builder.finish()
}

/// Formats values of types that Spark lacks, as Arrow does.
fn arrow_texts(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let texts = (0..array.len()).map(|row| {
        array
            .is_valid(row)
            .then(|| formatter.value(row).to_string())
    });
    Ok(texts.collect::<Vec<_>>().into())
}

/// Writes an interval of days to seconds: `1 02:03:04.500000000`.
fn write_days_and_time(micros: i64, out: &mut String) {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let seconds = micros % DAY_MICROS / SECOND_MICROS;
    let _ = write!(
        out,
        "{sign}{} {:02}:{:02}:{:02}.{:06}000",
        micros / DAY_MICROS,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % SECOND_MICROS
    );
}

/// Writes an interval of years and months: `1-2`.
fn write_years_and_months(months: i32, out: &mut String) {
    let sign = if months < 0 { "-" } else { "" };
    let months = months.unsigned_abs();
    let _ = write!(out, "{sign}{}-{}", months / 12, months % 12);
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, Float64Array, Int32Array, ListArray, MapBuilder, NullArray, StructArray,
        TimestampMicrosecondArray,
    };
    use arrow::array::{Int32Builder, StringBuilder};
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn text_and_json(array: impl Array + 'static) -> Vec<(Option<String>, String)> {
        let array: ArrayRef = Arc::new(array);
        let cells = Cells::new(&array, Zone::UTC, BinaryText::Hexadecimal).unwrap();
        let json = |row| {
            let mut text = String::new();
            cells.write_json(row, &mut text);
            text
        };
        (0..array.len())
            .map(|row| (cells.text(row), json(row)))
            .collect()
    }

    fn text(text: &str, json: &str) -> (Option<String>, String) {
        (Some(text.to_owned()), json.to_owned())
    }

    #[test]
    fn scalars_are_written_as_spark_writes_them() {
        let null = (None, "null".to_owned());
        assert_eq!(
            text_and_json(Float64Array::from(vec![
                Some(1.0),
                Some(1e10),
                Some(f64::NAN),
                None
            ])),
            [
                text("1.0", "1.0"),
                text("1.0E10", "1.0E10"),
                text("NaN", "\"NaN\""),
                null.clone()
            ]
        );
        assert_eq!(
            text_and_json(BinaryArray::from(vec![&[1, 255][..]])),
            [text("01ff", "\"01ff\"")]
        );
        assert_eq!(text_and_json(NullArray::new(1)), [null]);
        let instants = TimestampMicrosecondArray::from(vec![1_577_836_800_123_000]);
        let shown = "2020-01-01 00:00:00.123";
        assert_eq!(
            text_and_json(instants),
            [text(shown, &format!("\"{shown}\""))]
        );
    }

    #[test]
    fn people_read_binary_values_as_text() {
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[74, 255][..]]));
        let cells = Cells::new(&bytes, Zone::UTC, BinaryText::Utf8).unwrap();
        assert_eq!(cells.text(0).unwrap(), "J\u{fffd}");
    }

    #[test]
    fn timestamps_show_the_zone_of_the_session() {
        let instants = TimestampMicrosecondArray::from(vec![1_577_836_800_000_000]);
        let array: ArrayRef = Arc::new(instants.with_timezone("UTC"));
        let zone = Zone::parse("America/Sao_Paulo").unwrap();
        let cells = Cells::new(&array, zone, BinaryText::Hexadecimal).unwrap();
        assert_eq!(cells.text(0).unwrap(), "2019-12-31 21:00:00");
    }

    #[test]
    fn nested_values_quote_their_texts_and_sort_the_entries_of_maps() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(text_and_json(lists), [text("[1,null]", "[1,null]")]);
        let members: Vec<(_, ArrayRef)> = vec![
            (
                Arc::new(Field::new("a", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![1])),
            ),
            (
                Arc::new(Field::new("b", DataType::Utf8, true)),
                Arc::new(StringArray::from(vec!["x"])),
            ),
        ];
        let expected = "{\"a\":1,\"b\":\"x\"}";
        assert_eq!(
            text_and_json(StructArray::from(members)),
            [text(expected, expected)]
        );
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        maps.keys().append_value("b");
        maps.values().append_value(2);
        maps.keys().append_value("a");
        maps.values().append_null();
        maps.append(true).unwrap();
        let (shown, json) = ("{\"a\":null,\"b\":2}", "{\"b\":2,\"a\":null}");
        assert_eq!(text_and_json(maps.finish()), [text(shown, json)]);
    }

    #[test]
    fn intervals_are_written_as_their_literals() {
        let mut text = String::new();
        write_days_and_time(-93_784_500_000, &mut text);
        text.push('|');
        write_years_and_months(14, &mut text);
        assert_eq!(text, "-1 02:03:04.500000000|1-2");
    }
}

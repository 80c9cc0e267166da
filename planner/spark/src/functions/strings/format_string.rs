//! `format_string` and `printf`: Java's `Formatter`.
//!
//! As in Spark, a date is the number of its day, and a timestamp that of its microsecond.

mod digits;
mod pattern;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimeUnit};
use datafusion::common::{Result, plan_err};

use crate::functions::convert;
use crate::functions::render;
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};
use crate::functions::types::name_of;
use digits::Digits;
use pattern::{Conversion, Kind, Piece, Which};

/// Digits behind the point of a number without a precision.
const PLACES: usize = 6;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let params = &[Param::Text, Param::Any];
    let format = Function::new(
        "format_string",
        params,
        Returns::Computed(result_type),
        format_rows,
    );
    vec![format.aliases(&["printf"]).variadic()]
}

fn result_type(site: &CallSite) -> Result<DataType> {
    let arguments = site.types.get(1..).unwrap_or_default();
    let is_refused = |data_type: &&DataType| data_type.is_nested() || convert::is_binary(data_type);
    match arguments.iter().find(is_refused) {
        Some(data_type) => plan_err!(
            "{}: a value of type {} has no format; cast it to STRING",
            site.name,
            name_of(data_type)
        ),
        None => Ok(DataType::Utf8),
    }
}

fn format_rows(call: &Call) -> Result<ArrayRef> {
    let formats = call.text(0);
    let columns = call.arrays[1..].iter();
    let columns = columns
        .map(|array| Column::new(array, call))
        .collect::<Result<Vec<_>>>()?;
    // The format is mostly the same in all rows.
    let mut compiled: Option<(String, Vec<Piece>)> = None;
    call.lenient::<StringArray, String>(|row| {
        if formats.is_null(row) {
            return Ok(None);
        }
        let format = formats.value(row);
        let pieces = match compiled.take() {
            Some((text, pieces)) if text == format => pieces,
            _ => pattern::parse(format).or_else(|problem| fail(call, &problem))?,
        };
        let text = format_row(&pieces, &columns, row).or_else(|problem| fail(call, &problem))?;
        compiled = Some((format.to_owned(), pieces));
        Ok(Some(text))
    })
}

fn fail<T>(call: &Call, problem: &str) -> Result<T> {
    call.fail(format!("[INVALID_PARAMETER_VALUE.PATTERN] {problem}"))
}

fn format_row(pieces: &[Piece], columns: &[Column], row: usize) -> Result<String, String> {
    let mut text = String::new();
    let (mut next, mut previous) = (0, None);
    for piece in pieces {
        let conversion = match piece {
            Piece::Text(plain) => {
                text.push_str(plain);
                continue;
            }
            Piece::Conversion(conversion) => conversion,
        };
        let argument = match conversion.argument {
            Which::At(position) => Some(position),
            Which::Previous => previous,
            Which::Next => {
                next += 1;
                Some(next - 1)
            }
        };
        let Some(column) = argument.and_then(|argument| columns.get(argument)) else {
            return Err(format!("'{}' has no argument", conversion.text));
        };
        previous = argument;
        text.push_str(&format_value(conversion, &column.value(row))?);
    }
    Ok(text)
}

/// An argument of a call.
enum Column {
    Null,
    Boolean(BooleanArray),
    Integer { values: Int64Array, bits: u32 },
    Float(Float32Array),
    Double(Float64Array),
    Decimal(StringArray),
    Text(StringArray),
}

impl Column {
    fn new(array: &ArrayRef, call: &Call) -> Result<Self> {
        let integer = |array: &ArrayRef, bits| -> Result<Self> {
            let longs = cast(array, &DataType::Int64)?;
            let values = longs.as_primitive::<Int64Type>().clone();
            Ok(Self::Integer { values, bits })
        };
        let text = || -> Result<StringArray> {
            Ok(convert::to_text(array, &call.zone)?
                .as_string::<i32>()
                .clone())
        };
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 => integer(array, 8)?,
            DataType::Int16 | DataType::UInt8 => integer(array, 16)?,
            DataType::Int32 | DataType::UInt16 => integer(array, 32)?,
            DataType::Int64 | DataType::UInt32 => integer(array, 64)?,
            DataType::Date32 => integer(&cast(array, &DataType::Int32)?, 32)?,
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                integer(&cast(array, &micros)?, 64)?
            }
            DataType::Float32 => Self::Float(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Double(array.as_primitive::<Float64Type>().clone()),
            data_type if data_type.is_decimal() => Self::Decimal(text()?),
            _ => Self::Text(text()?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(values) => values.is_null(row),
            Self::Integer { values, .. } => values.is_null(row),
            Self::Float(values) => values.is_null(row),
            Self::Double(values) => values.is_null(row),
            Self::Decimal(values) | Self::Text(values) => values.is_null(row),
        }
    }

    fn value(&self, row: usize) -> Value<'_> {
        if self.is_null(row) {
            return Value::Null;
        }
        match self {
            Self::Null => Value::Null,
            Self::Boolean(values) => Value::Boolean(values.value(row)),
            Self::Integer { values, bits } => Value::Integer(values.value(row), *bits),
            Self::Float(values) => Value::Float(values.value(row)),
            Self::Double(values) => Value::Double(values.value(row)),
            Self::Decimal(values) => Value::Decimal(values.value(row)),
            Self::Text(values) => Value::Text(values.value(row)),
        }
    }
}

/// An argument in one row.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Null,
    Boolean(bool),
    /// A whole number, and the bits of its type.
    Integer(i64, u32),
    Float(f32),
    Double(f64),
    Decimal(&'a str),
    Text(&'a str),
}

impl Value<'_> {
    fn text(self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value, _) => value.to_string(),
            Self::Float(value) => render::float(value),
            Self::Double(value) => render::double(value),
            Self::Decimal(value) | Self::Text(value) => value.to_owned(),
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean(_) => "a BOOLEAN",
            Self::Integer(..) => "a whole number",
            Self::Float(_) | Self::Double(_) => "a DOUBLE",
            Self::Decimal(_) => "a DECIMAL",
            Self::Text(_) => "a STRING",
        }
    }
}

fn format_value(conversion: &Conversion, value: &Value) -> Result<String, String> {
    let text = match (conversion.kind, *value) {
        (Kind::Boolean, Value::Null) => cut(conversion, "false"),
        (Kind::Boolean, Value::Boolean(value)) => cut(conversion, &value.to_string()),
        (Kind::Boolean, _) => cut(conversion, "true"),
        (Kind::Text, value) => cut(conversion, &value.text()),
        (_, Value::Null) => cut(conversion, "null"),
        (Kind::Decimal, Value::Integer(value, _)) => {
            let magnitude = value.unsigned_abs().to_string();
            with_sign(conversion, value < 0, &magnitude)
        }
        (Kind::Hexadecimal | Kind::Octal, Value::Integer(value, bits)) => {
            format_bits(conversion, value, bits)
        }
        (Kind::Character, Value::Integer(value, _)) => {
            let code = u32::try_from(value).ok().and_then(char::from_u32);
            code.map(String::from)
                .ok_or_else(|| format!("{value} is the code of no character"))?
        }
        (Kind::Fixed | Kind::General | Kind::Scientific, Value::Float(value)) => {
            format_double(conversion, f64::from(value))
        }
        (Kind::Fixed | Kind::General | Kind::Scientific, Value::Double(value)) => {
            format_double(conversion, value)
        }
        (Kind::Fixed | Kind::General | Kind::Scientific, Value::Decimal(value)) => {
            let magnitude = format_digits(conversion, &Digits::of_decimal(value));
            with_sign(conversion, value.starts_with('-'), &magnitude)
        }
        (_, value) => {
            return Err(format!(
                "'{}' does not format {}; cast it to another type",
                conversion.text,
                value.type_name()
            ));
        }
    };
    let text = match conversion.is_upper {
        true => text.to_uppercase(),
        false => text,
    };
    Ok(conversion.pad(&text))
}

/// Cuts a text to the precision.
fn cut(conversion: &Conversion, text: &str) -> String {
    let length = conversion.precision.unwrap_or(usize::MAX);
    text.chars().take(length).collect()
}

fn format_double(conversion: &Conversion, value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let is_negative = value.is_sign_negative();
    if value.is_infinite() {
        return enclose(conversion, is_negative, "Infinity", 0);
    }
    let magnitude = format_digits(conversion, &Digits::of_double(value));
    with_sign(conversion, is_negative, &magnitude)
}

fn format_digits(conversion: &Conversion, digits: &Digits) -> String {
    let precision = conversion.precision.unwrap_or(PLACES);
    let mut text = match conversion.kind {
        Kind::Scientific => digits.scientific(precision),
        Kind::General => digits.general(precision),
        _ => digits.fixed(precision),
    };
    // The point stays without digits behind it.
    if conversion.has_flag('#') && !text.contains('.') {
        let end = text.find('e').unwrap_or(text.len());
        text.insert(end, '.');
    }
    text
}

/// Writes a number with its sign, commas and zeros before it.
fn with_sign(conversion: &Conversion, is_negative: bool, magnitude: &str) -> String {
    let grouped = match conversion.has_flag(',') {
        true => group(magnitude),
        false => magnitude.to_owned(),
    };
    let width = match conversion.has_flag('0') {
        true => conversion.width,
        false => 0,
    };
    enclose(conversion, is_negative, &grouped, width)
}

fn enclose(conversion: &Conversion, is_negative: bool, number: &str, width: usize) -> String {
    let (before, after) = match is_negative {
        true if conversion.has_flag('(') => ("(", ")"),
        true => ("-", ""),
        false if conversion.has_flag('+') => ("+", ""),
        false if conversion.has_flag(' ') => (" ", ""),
        false => ("", ""),
    };
    let width = width.saturating_sub(before.len() + after.len());
    format!("{before}{number:0>width$}{after}")
}

/// Adds commas between thousands.
fn group(number: &str) -> String {
    let end = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    let (whole, rest) = number.split_at(end);
    let mut text = String::with_capacity(number.len() * 4 / 3 + 1);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// Writes the bits of a number, a negative one as its two's complement.
fn format_bits(conversion: &Conversion, value: i64, bits: u32) -> String {
    let value = value.cast_unsigned() & (u64::MAX >> (u64::BITS - bits));
    let (digits, prefix) = match conversion.kind {
        Kind::Octal => (format!("{value:o}"), "0"),
        _ => (format!("{value:x}"), "0x"),
    };
    let prefix = if conversion.has_flag('#') { prefix } else { "" };
    let width = match conversion.has_flag('0') {
        true => conversion.width.saturating_sub(prefix.len()),
        false => 0,
    };
    format!("{prefix}{digits:0>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(format: &str, value: Value) -> String {
        let pieces = pattern::parse(format).unwrap();
        let texts = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Conversion(conversion) => format_value(conversion, &value).unwrap(),
        });
        texts.collect()
    }

    #[test]
    fn values_are_written_as_java_writes_them() {
        for (format, value, expected) in [
            ("[%s]", Value::Double(1.0), "[1.0]"),
            ("%5s|%-5s|%.2s|%S", Value::Text("abc"), "  abc|abc  |ab|ABC"),
            (
                "%d %,d %+d %(d %08d",
                Value::Integer(-1234, 32),
                "-1234 -1,234 -1234 (1234) -0001234",
            ),
            (
                "%+d|% d|%5d|%-5d|",
                Value::Integer(7, 32),
                "+7| 7|    7|7    |",
            ),
            ("%x %X %#x %o", Value::Integer(255, 32), "ff FF 0xff 377"),
            ("%x", Value::Integer(-1, 8), "ff"),
            ("%x", Value::Integer(-1, 64), "ffffffffffffffff"),
            (
                "%f %.0f %10.2f %,.2f",
                Value::Double(1234.565),
                "1234.565000 1235    1234.57 1,234.57",
            ),
            (
                "%e %.1E %g",
                Value::Double(1234.565),
                "1.234565e+03 1.2E+03 1234.57",
            ),
            (
                "%.2f %s %010.1f",
                Value::Decimal("-12.345"),
                "-12.35 -12.345 -0000012.3",
            ),
            ("%f %05f", Value::Double(f64::INFINITY), "Infinity Infinity"),
            ("%(.1f", Value::Double(-2.25), "(2.3)"),
            ("%c", Value::Integer(8364, 32), "€"),
            ("%b %B", Value::Boolean(true), "true TRUE"),
            ("%s %d %b %5.2f", Value::Null, "null null false    nu"),
            ("100%% %n", Value::Null, "100% \n"),
        ] {
            assert_eq!(formatted(format, value), expected, "{format}");
        }
    }

    #[test]
    fn formats_that_java_refuses_are_refused() {
        for format in [
            "%",
            "%q",
            "%-d",
            "%.2d",
            "%+ d",
            "%#s",
            "%0$s",
            "%tY",
            "%.f",
            "%999999999d",
        ] {
            assert!(pattern::parse(format).is_err(), "{format}");
        }
        let conversion = |format| match pattern::parse(format).unwrap().swap_remove(1) {
            Piece::Conversion(conversion) => conversion,
            Piece::Text(text) => panic!("{text} is no conversion"),
        };
        assert!(format_value(&conversion("%d"), &Value::Decimal("5")).is_err());
        assert!(format_value(&conversion("%d"), &Value::Text("5")).is_err());
        assert!(format_value(&conversion("%f"), &Value::Integer(5, 32)).is_err());
    }
}

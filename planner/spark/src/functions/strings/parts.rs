//! Functions that return a part of a text (`substring`, `left`, `split_part`) or fill it up to a
//! length (`lpad`).

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, lit};

use crate::functions::convert::{self, is_binary, is_text};
use crate::functions::scalar::{Call, CallSite, Function, Param, Returns};
use crate::functions::strings::edit::TEXT_BYTES_MAX;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let bytes_and_number = &[Param::Bytes, Param::Int];
    let fill = &[Param::Bytes, Param::Int, Param::Bytes];
    vec![
        substring(),
        Function::new(
            "left",
            bytes_and_number,
            Returns::Computed(kind_of_first),
            |call| slice(call, |row| (1, call.int(1).value(row))),
        ),
        Function::new(
            "right",
            bytes_and_number,
            Returns::Computed(kind_of_first),
            |call| {
                // A count of zero or less gives an empty text.
                slice(call, |row| match call.int(1).value(row) {
                    count if count <= 0 => (1, 0),
                    count => (-count, count),
                })
            },
        ),
        Function::new("lpad", fill, Returns::Computed(common_kind), |call| {
            pad(call, Side::Left)
        })
        .optional(1),
        Function::new("rpad", fill, Returns::Computed(common_kind), |call| {
            pad(call, Side::Right)
        })
        .optional(1),
        Function::new(
            "overlay",
            &[Param::Bytes, Param::Bytes, Param::Int, Param::Int],
            Returns::Computed(common_kind),
            overlay,
        )
        .optional(1),
        Function::new(
            "split_part",
            &[Param::Text, Param::Text, Param::Int],
            Returns::Type(DataType::Utf8),
            split_part,
        ),
        Function::new(
            "elt",
            &[Param::Int, Param::Any],
            Returns::Type(DataType::Utf8),
            elt,
        )
        .variadic(),
    ]
}

/// Returns the definition of `substring`, which `SUBSTRING(x FROM a FOR b)` calls as well.
pub(crate) fn substring() -> Function {
    let params = &[Param::Bytes, Param::Int, Param::Int];
    Function::new(
        "substring",
        params,
        Returns::Computed(substring_type),
        |call| {
            slice(call, |row| {
                let length = if call.has_argument(2) {
                    call.int(2).value(row)
                } else {
                    i32::MAX
                };
                (call.int(1).value(row), length)
            })
        },
    )
    .optional(1)
    .aliases(&["substr"])
    .simplify(simplify_substring)
}

/// Uses DataFusion's `substr`, which copies no text, where it means the same: a start above zero.
fn simplify_substring(args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
    let literal = |argument: &Expr, least: i64| match argument {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(number))) if number >= least => Some(lit(number)),
            _ => None,
        },
        _ => None,
    };
    let numbers: Option<Vec<Expr>> = match &args[1..] {
        [start] => literal(start, 1).map(|start| vec![start]),
        [start, length] => [literal(start, 1), literal(length, 0)]
            .into_iter()
            .collect(),
        _ => None,
    };
    match numbers {
        Some(numbers) if is_text(&context.get_data_type(&args[0])?) => {
            let call = std::iter::once(args[0].clone()).chain(numbers).collect();
            let function = datafusion::functions::unicode::substr();
            let call = Expr::ScalarFunction(ScalarFunction::new_udf(function, call));
            Ok(ExprSimplifyResult::Simplified(call))
        }
        _ => Ok(ExprSimplifyResult::Original(args)),
    }
}

/// Returns the type of the text itself, so that a part of it can be a view of it; `STRING` for
/// numbers.
fn substring_type(site: &CallSite) -> Result<DataType> {
    match site.types.first() {
        Some(data_type) if is_text(data_type) => Ok(data_type.clone()),
        _ => kind_of_first(site),
    }
}

/// Returns `STRING` if any argument is text, else [`kind_of_first`].
fn common_kind(site: &CallSite) -> Result<DataType> {
    let has_text = site.types.iter().any(is_text);
    match has_text {
        true => Ok(DataType::Utf8),
        false => kind_of_first(site),
    }
}

/// Returns `BINARY` if the first argument is, else `STRING`.
fn kind_of_first(site: &CallSite) -> Result<DataType> {
    let is_bytes = site.types.first().is_some_and(is_binary);
    Ok(if is_bytes {
        DataType::Binary
    } else {
        DataType::Utf8
    })
}

/// Returns the range of a start from 1, or from the end if it is negative, and a length.
fn to_range(start: i32, length: i32, size: usize) -> std::ops::Range<usize> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let start = match i64::from(start) {
        0 => 0,
        start if start > 0 => start - 1,
        start => size + start,
    };
    let end = start + i64::from(length.max(0));
    let clamp = |position: i64| usize::try_from(position.clamp(0, size)).unwrap_or(0);
    clamp(start)..clamp(end).max(clamp(start))
}

/// Returns characters of a text by their numbers.
fn characters(text: &str, range: std::ops::Range<usize>) -> &str {
    if text.is_ascii() {
        return &text[range];
    }
    let offset = |number: usize| {
        text.char_indices()
            .map(|(offset, _)| offset)
            .nth(number)
            .unwrap_or(text.len())
    };
    let start = offset(range.start);
    &text[start..offset(range.end).max(start)]
}

/// Cuts `(start, length)` out of each text.
fn slice(call: &Call, bounds: impl Fn(usize) -> (i32, i32)) -> Result<ArrayRef> {
    if let Some(bytes) = call.arrays[0].as_binary_opt::<i32>() {
        return call.strict::<BinaryArray, Vec<u8>>(|row| {
            let (start, length) = bounds(row);
            let value = bytes.value(row);
            Ok(Some(value[to_range(start, length, value.len())].to_vec()))
        });
    }
    let texts = call.text(0);
    call.texts(|row| {
        let (start, length) = bounds(row);
        let text = texts.value(row);
        let size = if text.is_ascii() {
            text.len()
        } else {
            text.chars().count()
        };
        Ok(Some(
            characters(text, to_range(start, length, size)).to_owned(),
        ))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Fills a sequence up to a length, or cuts it.
fn pad_to_length<T: Clone>(value: Vec<T>, length: i32, fill: &[T], side: Side) -> Vec<T> {
    let length = usize::try_from(length).unwrap_or(0);
    if value.len() >= length || fill.is_empty() {
        return value.into_iter().take(length).collect();
    }
    let missing = fill.iter().cycle().take(length - value.len()).cloned();
    match side {
        Side::Left => missing.chain(value).collect(),
        Side::Right => value.into_iter().chain(missing).collect(),
    }
}

/// Fails if a text becomes too long while its letters have four bytes each.
fn check_length(call: &Call, length: i32) -> Result<()> {
    let bytes = usize::try_from(length).unwrap_or(0) * size_of::<char>();
    match bytes <= TEXT_BYTES_MAX {
        true => Ok(()),
        false => call.fail(format!("{length} letters exceed the limit of one text")),
    }
}

fn pad(call: &Call, side: Side) -> Result<ArrayRef> {
    let lengths = call.int(1);
    if let Some(bytes) = call.arrays[0].as_binary_opt::<i32>()
        && call.return_type == DataType::Binary
    {
        let fills = call
            .has_argument(2)
            .then(|| convert::bytes_of(&call.arrays[2]));
        return call.strict::<BinaryArray, Vec<u8>>(|row| {
            check_length(call, lengths.value(row))?;
            let fill = fills.as_ref().map_or(&[0][..], |fills| fills.value(row));
            Ok(Some(pad_to_length(
                bytes.value(row).to_vec(),
                lengths.value(row),
                fill,
                side,
            )))
        });
    }
    let texts = text_of(call, 0)?;
    let fills = match call.has_argument(2) {
        true => Some(text_of(call, 2)?),
        false => None,
    };
    call.texts(|row| {
        check_length(call, lengths.value(row))?;
        let fill = fills.as_ref().map_or(" ", |fills| fills.value(row));
        let fill: Vec<char> = fill.chars().collect();
        let value = pad_to_length(
            texts.value(row).chars().collect(),
            lengths.value(row),
            &fill,
            side,
        );
        Ok(Some(value.into_iter().collect()))
    })
}

/// Returns an argument that may be BINARY as text.
fn text_of(call: &Call, argument: usize) -> Result<StringArray> {
    let texts = convert::to_text(&call.arrays[argument], &call.zone)?;
    Ok(texts.as_string().clone())
}

/// `overlay(text, replacement, position[, length])`; the length is the replacement's by default.
fn overlay(call: &Call) -> Result<ArrayRef> {
    let positions = call.int(2);
    let length =
        |row: usize, default: usize| match call.has_argument(3).then(|| call.int(3).value(row)) {
            Some(length) if length >= 0 => length,
            _ => i32::try_from(default).unwrap_or(i32::MAX),
        };
    if let Some(bytes) = call.arrays[0].as_binary_opt::<i32>()
        && call.return_type == DataType::Binary
    {
        let parts = convert::bytes_of(&call.arrays[1]);
        return call.strict::<BinaryArray, Vec<u8>>(|row| {
            let (value, part) = (bytes.value(row), parts.value(row));
            let position = positions.value(row);
            let head = to_range(1, position.saturating_sub(1), value.len());
            let tail = position.saturating_add(length(row, part.len()));
            let tail = to_range(tail, i32::MAX, value.len());
            Ok(Some([&value[head], part, &value[tail]].concat()))
        });
    }
    let (texts, parts) = (text_of(call, 0)?, text_of(call, 1)?);
    call.texts(|row| {
        let (value, part) = (texts.value(row), parts.value(row));
        let size = value.chars().count();
        let position = positions.value(row);
        let head = characters(value, to_range(1, position.saturating_sub(1), size));
        let tail = position.saturating_add(length(row, part.chars().count()));
        let tail = characters(value, to_range(tail, i32::MAX, size));
        Ok(Some(format!("{head}{part}{tail}")))
    })
}

fn split_part(call: &Call) -> Result<ArrayRef> {
    let (texts, delimiters, numbers) = (call.text(0), call.text(1), call.int(2));
    call.texts(|row| {
        let (text, delimiter) = (texts.value(row), delimiters.value(row));
        let parts: Vec<&str> = match delimiter.is_empty() {
            true => vec![text],
            false => text.split(delimiter).collect(),
        };
        let index = match numbers.value(row) {
            0 => {
                return call
                    .fail("[INVALID_INDEX_OF_ZERO] parts count from 1, or from the end with -1");
            }
            number if number > 0 => Some(number.unsigned_abs() as usize - 1),
            number => parts.len().checked_sub(number.unsigned_abs() as usize),
        };
        let part = index
            .and_then(|index| parts.get(index))
            .copied()
            .unwrap_or("");
        Ok(Some(part.to_owned()))
    })
}

fn elt(call: &Call) -> Result<ArrayRef> {
    let numbers = call.int(0);
    let texts = call.arrays[1..]
        .iter()
        .map(|array| crate::functions::convert::to_text(array, &call.zone))
        .collect::<Result<Vec<_>>>()?;
    let value = |row: usize| -> Result<Option<String>> {
        if numbers.is_null(row) {
            return Ok(None);
        }
        let number = numbers.value(row);
        let Some(texts) = usize::try_from(number)
            .ok()
            .and_then(|n| texts.get(n.wrapping_sub(1)))
        else {
            return call.fail(format!(
                "[INVALID_ARRAY_INDEX] there is no value {number} among {}",
                texts.len()
            ));
        };
        let texts: &StringArray = texts.as_string();
        Ok((!texts.is_null(row)).then(|| texts.value(row).to_owned()))
    };
    let column = (0..call.rows).map(value).collect::<Result<StringArray>>()?;
    Ok(Arc::new(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_count_from_one_or_from_the_end() {
        for (start, length, expected) in [
            (2, 3, "ell"),
            (0, 2, "he"),
            (-3, 9, "llo"),
            (-9, 5, "h"),
            (4, -1, ""),
            (9, 1, ""),
        ] {
            assert_eq!(
                characters("hello", to_range(start, length, 5)),
                expected,
                "{start} {length}"
            );
        }
        assert_eq!(characters("ação", to_range(2, 2, 4)), "çã");
    }

    #[test]
    fn filling_repeats_the_filler_and_cuts_what_is_too_long() {
        let fill = |text: &str, length, side| {
            let value = pad_to_length(text.chars().collect(), length, &['a', 'b'], side);
            value.into_iter().collect::<String>()
        };
        assert_eq!(fill("x", 4, Side::Left), "abax");
        assert_eq!(fill("x", 4, Side::Right), "xaba");
        assert_eq!(fill("xyz", 2, Side::Left), "xy");
        assert_eq!(fill("xyz", -1, Side::Left), "");
    }
}

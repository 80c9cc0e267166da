//! Functions that find a text in another, or compare two.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};

use crate::functions::convert::{bytes_of, is_text};
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let two = &[Param::Bytes, Param::Bytes];
    let test = |name, body| Function::new(name, two, Returns::Type(DataType::Boolean), body);
    let number = Returns::Type(DataType::Int32);
    let texts = &[Param::Text, Param::Text];
    vec![
        test("startswith", |call| {
            compare(call, <[u8]>::starts_with, |text, part| {
                text.starts_with(part)
            })
        })
        .simplify(simplify_prefix),
        test("endswith", |call| {
            compare(call, <[u8]>::ends_with, |text, part| text.ends_with(part))
        }),
        test("contains", |call| {
            compare(call, contains, |text, part| text.contains(part))
        }),
        Function::new(
            "locate",
            &[Param::Text, Param::Text, Param::Int],
            number.clone(),
            locate,
        )
        .optional(1)
        .aliases(&["position"]),
        Function::new("instr", texts, number.clone(), |call| {
            let (texts, parts) = (call.text(0), call.text(1));
            call.primitive::<Int32Type>(|row| Ok(Some(find(texts.value(row), parts.value(row), 1))))
        }),
        Function::new(
            "levenshtein",
            &[Param::Text, Param::Text, Param::Int],
            number,
            levenshtein,
        )
        .optional(1),
    ]
}

/// Uses LIKE for a literal prefix, with which whole files are skipped.
fn simplify_prefix(args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
    let [text, Expr::Literal(prefix, _)] = args.as_slice() else {
        return Ok(ExprSimplifyResult::Original(args));
    };
    let data_type = context.get_data_type(text)?;
    let Some(Some(prefix)) = prefix.try_as_str().filter(|_| is_text(&data_type)) else {
        return Ok(ExprSimplifyResult::Original(args));
    };
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if "%_\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    let pattern = Expr::Literal(ScalarValue::from(pattern).cast_to(&data_type)?, None);
    Ok(ExprSimplifyResult::Simplified(text.clone().like(pattern)))
}

/// Compares texts as texts, and everything else byte by byte.
fn compare(
    call: &Call,
    is_match: impl Fn(&[u8], &[u8]) -> bool,
    is_text_match: impl Fn(&str, &str) -> bool,
) -> Result<ArrayRef> {
    if let (Some(texts), Some(parts)) = (
        call.arrays[0].as_string_opt::<i32>(),
        call.arrays[1].as_string_opt::<i32>(),
    ) {
        return call.booleans(|row| Ok(Some(is_text_match(texts.value(row), parts.value(row)))));
    }
    let (texts, parts) = (bytes_of(&call.arrays[0]), bytes_of(&call.arrays[1]));
    call.booleans(|row| Ok(Some(is_match(texts.value(row), parts.value(row)))))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// Returns the position of a part from a position on, both from 1; 0 if there is none.
fn find(text: &str, part: &str, start: i32) -> i32 {
    if start < 1 {
        return 0;
    }
    let skipped = start.unsigned_abs() as usize - 1;
    let Some(offset) = text
        .char_indices()
        .map(|(offset, _)| offset)
        .chain([text.len()])
        .nth(skipped)
    else {
        return 0;
    };
    match text[offset..].find(part) {
        None => 0,
        Some(at) => i32::try_from(text[..offset + at].chars().count() + 1).unwrap_or(i32::MAX),
    }
}

fn locate(call: &Call) -> Result<ArrayRef> {
    let (parts, texts) = (call.text(0), call.text(1));
    call.lenient::<datafusion::arrow::array::Int32Array, i32>(|row| {
        // Without a start there is no position, whatever the text: Spark returns 0.
        if call.has_argument(2) && call.int(2).is_null(row) {
            return Ok(Some(0));
        }
        if parts.is_null(row) || texts.is_null(row) {
            return Ok(None);
        }
        let start = if call.has_argument(2) {
            call.int(2).value(row)
        } else {
            1
        };
        Ok(Some(find(texts.value(row), parts.value(row), start)))
    })
}

fn levenshtein(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.text(0), call.text(1));
    call.primitive::<Int32Type>(|row| {
        let distance = distance(left.value(row), right.value(row));
        let is_over = call.has_argument(2) && distance > call.int(2).value(row);
        Ok(Some(if is_over { -1 } else { distance }))
    })
}

fn distance(left: &str, right: &str) -> i32 {
    let right: Vec<char> = right.chars().collect();
    let mut costs: Vec<i32> = (0..).take(right.len() + 1).collect();
    for (row, a) in (1..).zip(left.chars()) {
        let mut diagonal = costs[0];
        costs[0] = row;
        for (column, b) in right.iter().enumerate() {
            let replaced = diagonal + i32::from(a != *b);
            diagonal = costs[column + 1];
            costs[column + 1] = replaced.min(diagonal + 1).min(costs[column] + 1);
        }
    }
    costs.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        assert_eq!(find("áéíóú", "íó", 1), 3);
        assert_eq!(find("abcabc", "bc", 3), 5);
        assert_eq!(find("abc", "", 4), 4);
        assert_eq!(find("abc", "a", 9), 0);
        assert_eq!(distance("flaw", "lawn"), 2);
        assert_eq!(distance("", "ab"), 2);
    }
}

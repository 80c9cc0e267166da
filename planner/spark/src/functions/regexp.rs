//! Regular expressions. The syntax is that of Rust's `regex`, which has all of Java's but
//! look-around and back references.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use regex::{Captures, Regex};

use super::convert::is_text;
use super::scalar::{Call, Function, Param, Returns};

/// Returns the functions of regular expressions.
pub(super) fn functions() -> Vec<Function> {
    let two = &[Param::Text, Param::Text];
    let three = &[Param::Text, Param::Text, Param::Int];
    let text = Returns::Type(DataType::Utf8);
    let texts = Returns::Type(DataType::List(Arc::new(Field::new_list_field(
        DataType::Utf8,
        true,
    ))));
    let number = Returns::Type(DataType::Int32);
    vec![
        Function::new(
            "regexp_like",
            two,
            Returns::Type(DataType::Boolean),
            |call| {
                let mut matcher = Matcher::new(call);
                call.booleans(|row| Ok(Some(matcher.regex(row)?.is_match(call.text(0).value(row)))))
            },
        )
        .aliases(&["rlike", "regexp"])
        .simplify(simplify_match),
        Function::new("regexp_count", two, number.clone(), |call| {
            let mut matcher = Matcher::new(call);
            call.primitive::<Int32Type>(|row| {
                let count = all_captures(matcher.regex(row)?, call.text(0).value(row)).len();
                Ok(i32::try_from(count).ok())
            })
        }),
        Function::new("regexp_substr", two, text.clone(), |call| {
            let mut matcher = Matcher::new(call);
            call.texts(|row| {
                let hit = matcher.regex(row)?.find(call.text(0).value(row));
                Ok(hit.map(|hit| hit.as_str().to_owned()))
            })
        }),
        Function::new("regexp_instr", three, number, regexp_instr).optional(1),
        Function::new("regexp_extract", three, text.clone(), regexp_extract).optional(1),
        Function::new(
            "regexp_extract_all",
            three,
            texts.clone(),
            regexp_extract_all,
        )
        .optional(1),
        Function::new(
            "regexp_replace",
            &[Param::Text, Param::Text, Param::Text, Param::Int],
            text,
            regexp_replace,
        )
        .optional(1),
        Function::new("split", three, texts, split).optional(1),
    ]
}

/// Replaces a call by DataFusion's operator, which its rules turn into LIKE where they can.
fn simplify_match(args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
    let [text, Expr::Literal(expression, _)] = args.as_slice() else {
        return Ok(ExprSimplifyResult::Original(args));
    };
    let data_type = context.get_data_type(text)?;
    // An invalid expression stays, so that it fails with our error.
    let is_valid = matches!(expression.try_as_str(), Some(Some(text)) if Regex::new(text).is_ok());
    if !is_valid || !is_text(&data_type) {
        return Ok(ExprSimplifyResult::Original(args));
    }
    let expression = Expr::Literal(expression.cast_to(&data_type)?, None);
    let operands = (Box::new(text.clone()), Box::new(expression));
    let matched = BinaryExpr::new(operands.0, Operator::RegexMatch, operands.1);
    Ok(ExprSimplifyResult::Simplified(Expr::BinaryExpr(matched)))
}

/// Compiles the expressions of a call. Equal expressions in consecutive rows are compiled once.
struct Matcher<'a> {
    expressions: &'a StringArray,
    last: Option<(usize, Regex)>,
}

impl<'a> Matcher<'a> {
    fn new(call: &'a Call) -> Self {
        Self {
            expressions: call.text(1),
            last: None,
        }
    }

    fn regex(&mut self, row: usize) -> Result<&Regex> {
        let text = self.expressions.value(row);
        let compiled = match self.last.take() {
            Some((last, regex)) if self.expressions.value(last) == text => regex,
            _ => match Regex::new(text) {
                Ok(regex) => regex,
                Err(error) => {
                    return exec_err!(
                        "[INVALID_PARAMETER_VALUE.PATTERN] '{text}' is no regular expression that is supported: {error}"
                    );
                }
            },
        };
        Ok(&self.last.insert((row, compiled)).1)
    }
}

/// Returns the number of the requested group; the first group by default.
fn group(call: &Call, row: usize, regex: &Regex) -> Result<usize> {
    let number = if call.has_argument(2) {
        call.int(2).value(row)
    } else {
        1
    };
    match usize::try_from(number) {
        Ok(number) if number < regex.captures_len() => Ok(number),
        _ => call.fail(format!(
            "[INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX] there is no group {number}; the expression has {}",
            regex.captures_len() - 1
        )),
    }
}

fn group_text(captures: &Captures, group: usize) -> String {
    captures
        .get(group)
        .map_or_else(String::new, |hit| hit.as_str().to_owned())
}

fn regexp_extract(call: &Call) -> Result<ArrayRef> {
    let mut matcher = Matcher::new(call);
    call.texts(|row| {
        let regex = matcher.regex(row)?;
        let group = group(call, row, regex)?;
        // Without a match Spark returns the empty text.
        let captures = regex.captures(call.text(0).value(row));
        Ok(Some(captures.map_or_else(String::new, |captures| {
            group_text(&captures, group)
        })))
    })
}

fn regexp_extract_all(call: &Call) -> Result<ArrayRef> {
    let mut matcher = Matcher::new(call);
    lists(call, |row| {
        let regex = matcher.regex(row)?;
        let group = group(call, row, regex)?;
        let text = call.text(0).value(row);
        let matches = all_captures(regex, text);
        Ok(matches
            .iter()
            .map(|captures| group_text(captures, group))
            .collect())
    })
}

/// Builds a column of lists of texts; a row with a null argument is null.
fn lists(call: &Call, mut value: impl FnMut(usize) -> Result<Vec<String>>) -> Result<ArrayRef> {
    let nulls = call.validity();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            builder.append_null();
            continue;
        }
        for text in value(row)? {
            builder.values().append_value(text);
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn regexp_instr(call: &Call) -> Result<ArrayRef> {
    let mut matcher = Matcher::new(call);
    call.primitive::<Int32Type>(|row| {
        let text = call.text(0).value(row);
        let position = matcher
            .regex(row)?
            .find(text)
            .map_or(0, |hit| text[..hit.start()].chars().count() + 1);
        Ok(i32::try_from(position).ok())
    })
}

/// Replaces every match, from a position on that counts characters from 1.
fn regexp_replace(call: &Call) -> Result<ArrayRef> {
    let mut matcher = Matcher::new(call);
    let replacements = call.text(2);
    call.texts(|row| {
        let text = call.text(0).value(row);
        let position = if call.has_argument(3) {
            call.int(3).value(row)
        } else {
            1
        };
        let Ok(skipped @ 0..) = usize::try_from(position.saturating_sub(1)) else {
            return call.fail("[VALUE_OUT_OF_RANGE] the position must be 1 or more");
        };
        let offset = text
            .char_indices()
            .map(|(offset, _)| offset)
            .chain([text.len()])
            .nth(skipped);
        let Some(offset) = offset else {
            return Ok(Some(text.to_owned()));
        };
        let (head, tail) = text.split_at(offset);
        let replacement = replacements.value(row);
        let regex = matcher.regex(row)?;
        // An expression that can match the empty text may match again right after each of its
        // matches.
        if regex.is_match("") {
            let matches = all_captures(regex, tail);
            return Ok(Some(format!(
                "{head}{}",
                replace_matches(tail, replacement, &matches)
            )));
        }
        let replaced = match replacement.contains(['$', '\\']) {
            false => regex.replace_all(tail, regex::NoExpand(replacement)),
            true => regex.replace_all(tail, |captures: &Captures| expand(replacement, captures)),
        };
        Ok(Some(format!("{head}{replaced}")))
    })
}

/// Returns all matches as Java finds them, including an empty match right after another match.
fn all_captures<'t>(regex: &Regex, text: &'t str) -> Vec<Captures<'t>> {
    let mut matches = Vec::new();
    let mut start = 0;
    while let Some(captures) = (start <= text.len())
        .then(|| regex.captures_at(text, start))
        .flatten()
    {
        let Some(whole) = captures.get(0) else { break };
        start = match whole.is_empty() {
            false => whole.end(),
            true => {
                let next = text[whole.end()..].chars().next();
                whole.end() + next.map_or(1, char::len_utf8)
            }
        };
        matches.push(captures);
    }
    matches
}

fn replace_matches(text: &str, replacement: &str, matches: &[Captures]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut start = 0;
    for captures in matches {
        if let Some(whole) = captures.get(0) {
            result.push_str(&text[start..whole.start()]);
            result.push_str(&expand(replacement, captures));
            start = whole.end();
        }
    }
    result.push_str(&text[start..]);
    result
}

/// Expands `$1` and `${name}` as Java does: a number takes digits as long as there is a group of
/// that number.
fn expand(replacement: &str, captures: &Captures) -> String {
    let mut text = String::new();
    let mut rest = replacement.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => text.extend(rest.next()),
            '$' if rest.peek() == Some(&'{') => {
                let name: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                text.push_str(captures.name(&name).map_or("", |hit| hit.as_str()));
            }
            '$' => {
                let mut number = 0;
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let next = number * 10 + digit as usize;
                    if next >= captures.len() && number > 0 {
                        break;
                    }
                    number = next;
                    rest.next();
                }
                text.push_str(&group_text(captures, number));
            }
            c => text.push(c),
        }
    }
    text
}

/// Splits at each match of an expression. A positive limit bounds the number of parts.
fn split(call: &Call) -> Result<ArrayRef> {
    let mut matcher = Matcher::new(call);
    lists(call, |row| {
        let text = call.text(0).value(row);
        let limit = if call.has_argument(2) {
            call.int(2).value(row)
        } else {
            -1
        };
        let limit = usize::try_from(limit)
            .ok()
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        Ok(split_text(matcher.regex(row)?, text, limit))
    })
}

fn split_text(regex: &Regex, text: &str, limit: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut start = 0;
    for hit in regex.find_iter(text) {
        if parts.len() + 1 >= limit {
            break;
        }
        // An empty match at the start or at the end separates nothing.
        if hit.is_empty() && (hit.start() == 0 || hit.start() == text.len()) {
            continue;
        }
        parts.push(text[start..hit.start()].to_owned());
        start = hit.end();
    }
    parts.push(text[start..].to_owned());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_as_java_splits_them() {
        let split = |expression: &str, text, limit| {
            split_text(&Regex::new(expression).unwrap(), text, limit)
        };
        assert_eq!(split("[,;]", "a,b;c,", usize::MAX), ["a", "b", "c", ""]);
        assert_eq!(split("[,;]", "a,b;c", 2), ["a", "b;c"]);
        assert_eq!(split("", "abc", usize::MAX), ["a", "b", "c"]);
        assert_eq!(split(",", "", usize::MAX), [""]);
    }

    #[test]
    fn matches_of_nothing_follow_other_matches() {
        let regex = Regex::new("a*").unwrap();
        let matches = all_captures(&regex, "aab");
        assert_eq!(matches.len(), 3);
        assert_eq!(replace_matches("aab", "-", &matches), "--b-");
        assert_eq!(all_captures(&regex, "é").len(), 2);
    }

    #[test]
    fn groups_of_replacements_are_numbered() {
        let regex = Regex::new("(?P<word>[a-z]+)(\\d)").unwrap();
        let replace = |by: &str| {
            let replaced = regex.replace_all("ab1 cd2", |captures: &Captures| expand(by, captures));
            replaced.into_owned()
        };
        assert_eq!(replace("$2$1"), "1ab 2cd");
        assert_eq!(replace("${word}\\$"), "ab$ cd$");
        assert_eq!(replace("$10"), "ab0 cd0");
    }
}

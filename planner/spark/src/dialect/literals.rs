//! Spark's literals: escapes in strings, and numbers with a suffix for their type.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo, TypedString, Value};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use super::tokens::{space, word};
use crate::functions::convert::{Zone, parse_date, parse_timestamp};

/// Words that stand for a date or a timestamp in a literal.
const SPECIAL_DATES: [&str; 5] = ["epoch", "now", "today", "tomorrow", "yesterday"];

/// Checks the text of a literal such as `date'2024-03-01'`. Elsewhere, an invalid text may be null.
///
/// # Errors
/// If it is no date, or no timestamp.
pub(super) fn check_typed(literal: &TypedString) -> Result<()> {
    let Value::SingleQuotedString(text) = &literal.value.value else {
        return Ok(());
    };
    let first = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let is_valid = match &literal.data_type {
        _ if SPECIAL_DATES.contains(&first.as_str()) => true,
        SqlType::Date => parse_date(text).is_some(),
        SqlType::Timestamp(None, TimezoneInfo::None) | SqlType::TimestampNtz(None) => {
            parse_timestamp(text, &Zone::UTC).is_some()
        }
        _ => true,
    };
    match is_valid {
        true => Ok(()),
        false => plan_err!(
            "[INVALID_TYPED_LITERAL] '{text}' is no {}; write one such as DATE '2024-03-01' or TIMESTAMP '2024-03-01 10:30:00'",
            literal.data_type
        ),
    }
}

/// Returns the value of a quoted string, with its escapes resolved.
///
/// Spark's escapes are `\n`, `\t`, `\r`, `\b`, `\0`, `\Z`, three octal digits, `\u` with four and
/// `\U` with eight hexadecimal digits; `\%` and `\_` stay as they are, for LIKE; any other escaped
/// character stands for itself. A doubled quote is one quote.
pub(crate) fn unescape(text: &str, quote: char) -> String {
    unescape_with(text, quote, DoubledQuote::IsQuote)
}

/// What two quotes side by side are inside of a quoted string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoubledQuote {
    /// One quote.
    IsQuote,
    /// The end of a text and the start of another one, which are joined: the meaning before Spark
    /// 4.
    EndsText,
}

/// Returns what a quoted string says; see [`unescape`].
pub(super) fn unescape_with(text: &str, quote: char, doubled: DoubledQuote) -> String {
    if !text.contains(['\\', quote]) {
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            unescape_next(&mut chars, &mut result);
        } else {
            let is_doubled = c == quote && chars.next_if_eq(&quote).is_some();
            if !is_doubled || doubled == DoubledQuote::IsQuote {
                result.push(c);
            }
        }
    }
    result
}

fn unescape_next(chars: &mut Peekable<Chars<'_>>, result: &mut String) {
    if let Some((digits, code)) = code_point(chars.clone()) {
        for _ in 0..digits {
            chars.next();
        }
        result.push(code);
        return;
    }
    match chars.next() {
        Some('n') => result.push('\n'),
        Some('t') => result.push('\t'),
        Some('r') => result.push('\r'),
        Some('b') => result.push('\u{8}'),
        Some('0') => result.push('\0'),
        Some('Z') => result.push('\u{1A}'),
        Some(c @ ('%' | '_')) => result.extend(['\\', c]),
        Some(c) => result.push(c),
        None => result.push('\\'),
    }
}

/// Returns the length of a numeric escape, in characters after the backslash, and the character
/// that it stands for.
fn code_point(mut chars: Peekable<Chars<'_>>) -> Option<(usize, char)> {
    let (skipped, digits, radix) = match chars.peek()? {
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return None,
    };
    let text: String = chars.skip(skipped).take(digits).collect();
    let is_complete = text.len() == digits && text.chars().all(|c| c.is_digit(radix));
    let code = is_complete.then(|| u32::from_str_radix(&text, radix).ok())??;
    Some((skipped + digits, char::from_u32(code)?))
}

/// Writes `1L`, `1S`, `1Y`, `1D`, `1F` and `1BD` as typed strings (`BIGINT '1'`).
///
/// # Errors
/// If other letters follow a number, which the parser would take for an alias.
pub(super) fn type_numbers(
    tokens: Vec<TokenWithSpan>,
) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    let mut result = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let Token::Number(number, has_long_suffix) = &token.token else {
            result.push(token);
            continue;
        };
        let suffix = tokens.next_if(|next| {
            next.span.start == token.span.end && matches!(next.token, Token::Word(_))
        });
        let data_type = match suffix {
            _ if *has_long_suffix => "BIGINT",
            None => {
                result.push(token);
                continue;
            }
            Some(suffix) => suffix_type(number, &suffix.token.to_string().to_uppercase(), &token)?,
        };
        let span = token.span;
        let text = Token::SingleQuotedString(number.clone());
        result.extend([
            word(data_type, span),
            space(span),
            TokenWithSpan::new(text, span),
        ]);
    }
    Ok(result)
}

/// Returns the type that a number's suffix stands for.
fn suffix_type(
    number: &str,
    suffix: &str,
    token: &TokenWithSpan,
) -> Result<&'static str, TokenizerError> {
    Ok(match suffix {
        "L" => "BIGINT",
        "S" => "SMALLINT",
        "Y" => "TINYINT",
        "D" => "DOUBLE",
        "F" => "FLOAT",
        "BD" => "DECIMAL",
        _ => {
            return Err(TokenizerError {
                message: format!(
                    "{number}{suffix}: a number ends with L, S, Y, D, F or BD for its type, or with a space"
                ),
                location: token.span.start,
            });
        }
    })
}

/// Writes `X '1F'`, with a space, as `X'1F'`, and gives an odd number of digits a zero in front.
pub(super) fn join_hexadecimals(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for mut token in tokens {
        if let Token::SingleQuotedString(digits) = &token.token
            && digits.chars().all(|c| c.is_ascii_hexdigit())
            && let [.., mark, gap] = result.as_slice()
            && matches!(gap.token, Token::Whitespace(_))
            && matches!(&mark.token, Token::Word(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("x"))
        {
            let literal = Token::HexStringLiteral(digits.clone());
            let span = mark.span;
            result.truncate(result.len() - 2);
            token = TokenWithSpan::new(literal, span);
        }
        if let Token::HexStringLiteral(digits) = &mut token.token
            && !digits.len().is_multiple_of(2)
        {
            digits.insert(0, '0');
        }
        result.push(token);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unescaped_as_spark_does() {
        let cases = [
            (r"a\nb", "a\nb"),
            (r"\\d+", r"\d+"),
            (r"it\'s", "it's"),
            ("it''s", "it's"),
            (r"\u20AC", "€"),
            (r"\U0001F600", "😀"),
            (r"\101", "A"),
            (r"10\%", r"10\%"),
            (r"\q", "q"),
            (r"\0", "\0"),
            (r"\uZZ", "uZZ"),
        ];
        for (text, expected) in cases {
            assert_eq!(unescape(text, '\''), expected, "{text}");
        }
        let joined = unescape_with("a''b", '\'', DoubledQuote::EndsText);
        assert_eq!(joined, "ab");
        assert_eq!(unescape(r#"say ""x"""#, '"'), r#"say "x""#);
        assert_eq!(unescape(r#"say "x""#, '\''), r#"say "x""#);
    }
}

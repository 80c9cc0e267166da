//! Interval literals: `INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL 1 YEAR 2 MONTHS`,
//! `INTERVAL -'3' DAY`.
//!
//! DataFusion's planner reads a text with units, so every form is rewritten as months, days and
//! microseconds.

use datafusion::sql::sqlparser::ast::{DataType as SqlType, Expr, Interval, Value};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_MINUTE: i64 = 60;
const SECONDS_PER_HOUR: i64 = 3_600;
/// Digits of a fraction of a second; Spark cuts off what follows.
const FRACTION_DIGITS: usize = 6;

/// An interval in the three units that cannot be converted into each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Parts {
    months: i64,
    days: i64,
    micros: i64,
}

impl Parts {
    fn add(&mut self, other: Self) -> Option<()> {
        self.months = self.months.checked_add(other.months)?;
        self.days = self.days.checked_add(other.days)?;
        self.micros = self.micros.checked_add(other.micros)?;
        Some(())
    }

    fn negate(self) -> Option<Self> {
        Some(Self {
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }

    fn with_sign(self, is_negative: bool) -> Option<Self> {
        if is_negative {
            self.negate()
        } else {
            Some(self)
        }
    }

    fn into_expr(self) -> Expr {
        let Self {
            months,
            days,
            micros,
        } = self;
        let text = format!("{months} months {days} days {micros} microseconds");
        Expr::Interval(Interval {
            value: Box::new(Expr::value(Value::SingleQuotedString(text))),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        })
    }
}

/// Parses a literal if the next tokens are one. Consumes nothing otherwise.
pub(super) fn parse(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    if peek_keyword(parser, 0) != Keyword::INTERVAL {
        return None;
    }
    let is_signed = peek_sign(parser, 1).is_some();
    let value = &parser.peek_nth_token_ref(1 + usize::from(is_signed)).token;
    if !matches!(value, Token::SingleQuotedString(_) | Token::Number(..)) {
        return None;
    }
    parser.next_token();
    let parsed = parse_literal(parser);
    Some(parsed.and_then(|parts| {
        parts.map(Parts::into_expr).ok_or_else(|| {
            ParserError::ParserError(format!(
                "this is not an interval, before {}; write it as INTERVAL '1' DAY, INTERVAL 1 YEAR 2 MONTHS, or \
                 INTERVAL '1 02:03:04' DAY TO SECOND",
                parser.peek_token()
            ))
        })
    }))
}

/// Parses the literal after `INTERVAL`; `None` if it is not valid.
fn parse_literal(parser: &mut Parser) -> Result<Option<Parts>, ParserError> {
    let mut total = Parts::default();
    let mut is_first = true;
    loop {
        let sign = peek_sign(parser, 0);
        if sign.is_some() {
            parser.next_token();
        }
        let is_negative = sign == Some(Sign::Minus);
        let tokens_taken = 1 + usize::from(sign.is_some());
        let text = match parser.next_token().token {
            Token::SingleQuotedString(text) | Token::Number(text, _) => text,
            _ => {
                put_back(parser, tokens_taken);
                return Ok((!is_first).then_some(total));
            }
        };
        let unit = Unit::from_token(&parser.peek_token_ref().token);
        let parts = match unit {
            Some(unit) => {
                parser.next_token();
                match parser.parse_keyword(Keyword::TO) {
                    true => match Unit::from_token(&parser.next_token().token) {
                        Some(last) => parse_range(&text, unit, last),
                        None => None,
                    },
                    false => unit.times(&text),
                }
            }
            // `INTERVAL '1 year 2 days'`.
            None if is_first => {
                return Ok(parse_parts(&text).and_then(|parts| parts.with_sign(is_negative)));
            }
            None => {
                put_back(parser, tokens_taken);
                return Ok(Some(total));
            }
        };
        let Some(parts) = parts.and_then(|parts| parts.with_sign(is_negative)) else {
            return Ok(None);
        };
        if total.add(parts).is_none() {
            return Ok(None);
        }
        is_first = false;
    }
}

fn put_back(parser: &mut Parser, count: usize) {
    for _ in 0..count {
        parser.prev_token();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

fn peek_sign(parser: &Parser, position: usize) -> Option<Sign> {
    match parser.peek_nth_token_ref(position).token {
        Token::Minus => Some(Sign::Minus),
        Token::Plus => Some(Sign::Plus),
        _ => None,
    }
}

fn peek_keyword(parser: &Parser, position: usize) -> Keyword {
    match &parser.peek_nth_token_ref(position).token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
}

impl Unit {
    fn from_token(token: &Token) -> Option<Self> {
        match token {
            Token::Word(word) if word.quote_style.is_none() => Self::from_text(&word.value),
            _ => None,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        Some(match lower.strip_suffix('s').unwrap_or(&lower) {
            "year" => Self::Year,
            "month" => Self::Month,
            "week" => Self::Week,
            "day" => Self::Day,
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "second" => Self::Second,
            "millisecond" => Self::Millisecond,
            "microsecond" => Self::Microsecond,
            _ => return None,
        })
    }

    /// Returns the interval of this many units. Only seconds may have a fraction.
    fn times(self, text: &str) -> Option<Parts> {
        let text = text.trim();
        if self == Self::Second {
            return Some(Parts {
                micros: parse_seconds(text)?,
                ..Parts::default()
            });
        }
        let number: i64 = text.parse().ok()?;
        let mut parts = Parts::default();
        match self {
            Self::Year => parts.months = number.checked_mul(12)?,
            Self::Month => parts.months = number,
            Self::Week => parts.days = number.checked_mul(7)?,
            Self::Day => parts.days = number,
            Self::Hour => {
                parts.micros = number.checked_mul(SECONDS_PER_HOUR * MICROS_PER_SECOND)?
            }
            Self::Minute => {
                parts.micros = number.checked_mul(SECONDS_PER_MINUTE * MICROS_PER_SECOND)?;
            }
            Self::Millisecond => parts.micros = number.checked_mul(1_000)?,
            Self::Second | Self::Microsecond => parts.micros = number,
        }
        Some(parts)
    }

    /// Returns the largest value of a unit that follows a larger one, such as the hours of
    /// `DAY TO SECOND`.
    fn max_after_larger_unit(self) -> i64 {
        match self {
            Self::Month => 11,
            Self::Hour => 23,
            _ => 59,
        }
    }
}

/// Parses seconds with a fraction. Returns microseconds.
fn parse_seconds(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().take(FRACTION_DIGITS).collect();
    let micros: i64 = format!("{fraction:0<FRACTION_DIGITS$}").parse().ok()?;
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let total = whole.checked_mul(MICROS_PER_SECOND)?.checked_add(micros)?;
    Some(if is_negative { -total } else { total })
}

/// Parses `1 year -2 days 3.5 seconds`.
fn parse_parts(text: &str) -> Option<Parts> {
    let lower = text.to_lowercase();
    let text = lower.trim();
    let text = text.strip_prefix("interval").map_or(text, str::trim_start);
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    let mut total = Parts::default();
    while let Some(word) = words.next() {
        let number = match word {
            "-" | "+" => format!("{word}{}", words.next()?),
            _ => word.to_owned(),
        };
        let unit = Unit::from_text(words.next()?)?;
        total.add(unit.times(number.trim_start_matches('+'))?)?;
    }
    Some(total)
}

/// Parses `'1-2' YEAR TO MONTH`, `'1 02:03:04.5' DAY TO SECOND`, and ranges within these.
fn parse_range(text: &str, first: Unit, last: Unit) -> Option<Parts> {
    let text = text.trim();
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let units: &[Unit] = match first {
        Unit::Year => &[Unit::Year, Unit::Month],
        _ => &[Unit::Day, Unit::Hour, Unit::Minute, Unit::Second],
    };
    let start = units.iter().position(|unit| *unit == first)?;
    let end = units.iter().position(|unit| *unit == last)?;
    let units = units.get(start..=end).filter(|units| units.len() > 1)?;
    let numbers: Vec<&str> = text.split(['-', ' ', ':']).collect();
    if numbers.len() != units.len() {
        return None;
    }
    let mut total = Parts::default();
    for (n, (unit, number)) in units.iter().zip(numbers).enumerate() {
        let whole: i64 = number.split('.').next()?.parse().ok()?;
        if whole < 0 || n > 0 && whole > unit.max_after_larger_unit() {
            return None;
        }
        total.add(unit.times(number)?)?;
    }
    total.with_sign(is_negative)
}

/// Rewrites `-INTERVAL '1 month 2 days'` with each part negated; DataFusion's planner negates only
/// the first.
pub(super) fn negate(expr: &mut Expr) {
    use datafusion::sql::sqlparser::ast::UnaryOperator;
    if let Expr::UnaryOp {
        op: UnaryOperator::Minus,
        expr: operand,
    } = expr
        && let Expr::Interval(interval) = operand.as_ref()
        && let Expr::Value(value) = interval.value.as_ref()
        && let Value::SingleQuotedString(text) = &value.value
        && let Some(parts) = parse_parts(text).and_then(Parts::negate)
    {
        *expr = parts.into_expr();
    }
}

/// Rewrites `CAST('3 months 1 hour' AS INTERVAL)` as a literal: DataFusion's cast does not read the
/// word `interval`.
pub(super) fn read_cast(expr: &mut Expr) {
    if let Expr::Cast {
        expr: operand,
        data_type: SqlType::Interval { fields: None, .. },
        ..
    } = expr
        && let Expr::Value(value) = operand.as_ref()
        && let Value::SingleQuotedString(text) = &value.value
        && let Some(parts) = parse_parts(text)
    {
        *expr = parts.into_expr();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{SparkDialect, tokenize};

    fn read(sql: &str) -> Result<String, ParserError> {
        Parser::new(&SparkDialect)
            .with_tokens_with_locations(tokenize(sql)?)
            .parse_expr()
            .map(|expr| expr.to_string())
    }

    #[test]
    fn each_form_is_months_days_and_microseconds() {
        let cases = [
            ("INTERVAL '1-2' YEAR TO MONTH", (14, 0, 0)),
            ("interval -'1-2' year to month", (-14, 0, 0)),
            (
                "INTERVAL '1 02:03:04.5' DAY TO SECOND",
                (0, 1, 7_384_500_000),
            ),
            (
                "INTERVAL '-10:11' HOUR TO MINUTE",
                (0, 0, -36_660_000_000_i64),
            ),
            ("INTERVAL 1 YEAR 2 MONTHS -3 DAYS", (14, -3, 0)),
            ("INTERVAL '3' WEEK", (0, 21, 0)),
            ("INTERVAL 13.123456789 SECONDS", (0, 0, 13_123_456)),
            ("INTERVAL '1 year - 2 days'", (12, -2, 0)),
        ];
        for (sql, (months, days, micros)) in cases {
            let expected = format!("INTERVAL '{months} months {days} days {micros} microseconds'");
            assert_eq!(read(sql).unwrap(), expected, "{sql}");
        }
        for sql in [
            "INTERVAL '1-13' YEAR TO MONTH",
            "INTERVAL '1.5' DAY",
            "INTERVAL 'x'",
        ] {
            assert!(read(sql).is_err(), "{sql}");
        }
    }
}

//! Parses text as Spark's casts do: surrounding spaces are ignored, dates may be partial.

use std::borrow::Cow;

use crate::functions::datetime::civil::{Civil, days_of, is_valid_date};

use super::zone::{DAY_MICROS, Zone};

/// Removes the characters that Spark trims before a cast: spaces and control characters.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ' || c == '\u{7f}')
}

/// Reads a boolean: `t`, `true`, `y`, `yes`, `1` and their opposites.
pub(crate) fn parse_boolean(text: &str) -> Option<bool> {
    match trim(text).to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a whole number.
pub(crate) fn parse_long(text: &str) -> Option<i64> {
    trim(text).parse().ok()
}

/// Reads a floating-point number as Java does.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    let text = trim(text);
    let number = text
        .strip_suffix(['d', 'D', 'f', 'F'])
        .filter(|rest| rest.ends_with(|c: char| c.is_ascii_digit() || c == '.'))
        .unwrap_or(text);
    match number.to_ascii_lowercase().as_str() {
        "nan" | "+nan" | "-nan" => Some(f64::NAN),
        "inf" | "+inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        lower
            if lower
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.e".contains(&b)) =>
        {
            lower.parse().ok()
        }
        _ => None,
    }
}

/// Places by which an exponent may move the point: no decimal has more digits.
const EXPONENT_MAX: i64 = 100;

/// Returns a decimal number without spaces around it and without an exponent: `1e2` is `100`. A text
/// that is no such number stays as it is.
pub(crate) fn plain_number(text: &str) -> Cow<'_, str> {
    let trimmed = trim(text);
    let Some((mantissa, exponent)) = trimmed.split_once(['e', 'E']) else {
        return Cow::Borrowed(trimmed);
    };
    expand(mantissa, exponent).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Moves the point of a number; `None` if it is none, or far too large for a decimal.
fn expand(mantissa: &str, exponent: &str) -> Option<String> {
    let exponent: i64 = exponent.parse().ok()?;
    let (sign, digits) = match mantissa.strip_prefix(['-', '+']) {
        Some(digits) => (&mantissa[..1], digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    let length = i64::try_from(digits.len()).ok()?;
    let point = i64::try_from(whole.len()).ok()?.saturating_add(exponent);
    if is_zero || point < -EXPONENT_MAX {
        return Some("0".to_owned());
    }
    if point > length.saturating_add(EXPONENT_MAX) {
        return None;
    }
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
    let digits = [zeros(1 - point), digits, zeros(point - length)].concat();
    let (whole, fraction) = digits.split_at(usize::try_from(point.max(1)).ok()?);
    Some(format!("{sign}{whole}.{fraction}"))
}

/// Reads a date: `yyyy`, `yyyy-M`, `yyyy-M-d`, and anything after a `T` or a space. Returns days
/// since 1970.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let mut scanner = Scanner(trim(text));
    let (civil, is_complete) = scanner.date()?;
    let rest = scanner.0;
    let is_done = rest.is_empty() || (is_complete && rest.starts_with([' ', 'T']));
    is_done.then(|| days_of(civil))
}

/// Reads a timestamp: a date, then perhaps a time and a zone; without a date, a time of 1970-01-01
/// is refused. Returns the instant in microseconds.
pub(crate) fn parse_timestamp(text: &str, session: &Zone) -> Option<i64> {
    let (wall, zone) = parse_wall(text)?;
    let zone = match zone {
        Some(name) => Zone::parse(name).ok()?,
        None => *session,
    };
    Some(zone.instant_of(wall))
}

/// Reads the wall clock of a timestamp in microseconds, and its zone if it has one.
pub(crate) fn parse_wall(text: &str) -> Option<(i64, Option<&str>)> {
    let mut scanner = Scanner(trim(text));
    let (civil, is_complete) = scanner.date()?;
    let day = i64::from(days_of(civil)) * DAY_MICROS;
    if scanner.0.is_empty() {
        return Some((day, None));
    }
    if !is_complete || !(scanner.take(' ') || scanner.take('T')) {
        return None;
    }
    let time = scanner.time()?;
    let zone = trim(scanner.0);
    Some((day + time, (!zone.is_empty()).then_some(zone)))
}

/// Reads a time of day with optional seconds and fraction. Returns microseconds.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut scanner = Scanner(trim(text));
    let time = scanner.time()?;
    scanner.0.is_empty().then_some(time)
}

/// A scanner of dates and times: the rest of a text.
struct Scanner<'a>(&'a str);

impl Scanner<'_> {
    fn take(&mut self, target: char) -> bool {
        match self.0.strip_prefix(target) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a number of this many digits.
    fn number(&mut self, digits_min: usize, digits_max: usize) -> Option<u32> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        if digits < digits_min || digits > digits_max {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        number.parse().ok()
    }

    /// Takes a date; also returns whether it has a day.
    fn date(&mut self) -> Option<(Civil, bool)> {
        let is_negative = self.take('-');
        if !is_negative {
            self.take('+');
        }
        let year = i32::try_from(self.number(4, 7)?).ok()?;
        let mut civil = Civil {
            year: if is_negative { -year } else { year },
            month: 1,
            day: 1,
        };
        let mut is_complete = false;
        if self.take('-') {
            civil.month = self.number(1, 2)?;
            if self.take('-') {
                civil.day = self.number(1, 2)?;
                is_complete = true;
            }
        }
        is_valid_date(civil).then_some((civil, is_complete))
    }

    /// Takes `h`, `h:m`, `h:m:s` or `h:m:s.fraction`. Digits after the sixth of a fraction are cut.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(1, 2)?;
        let (mut minute, mut second, mut micros) = (0, 0, 0);
        if self.take(':') {
            minute = self.number(1, 2)?;
            if self.take(':') {
                second = self.number(1, 2)?;
                if self.take('.') {
                    let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
                    let fraction = &self.0[..digits.min(6)];
                    micros = format!("{fraction:0<6}").parse().ok()?;
                    self.0 = &self.0[digits..];
                }
            }
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(i64::from(hour * 3600 + minute * 60 + second) * 1_000_000 + micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_dates_are_their_first_day() {
        for (text, days) in [
            ("1970-01-02", Some(1)),
            (" 1970-1-2 ", Some(1)),
            ("1970-02", Some(31)),
            ("1971", Some(365)),
            ("1970-01-02T10:00", Some(1)),
            ("1970-01-02 rest", Some(1)),
            ("70-01-02", None),
            ("1970-02-30", None),
            ("1970/01/02", None),
            ("", None),
        ] {
            assert_eq!(parse_date(text), days, "{text}");
        }
    }

    #[test]
    fn timestamps_know_their_zone() {
        let second = 1_000_000;
        for (text, micros) in [
            ("1970-01-01 00:00:01", Some(second)),
            ("1970-01-01T00:00:01.5", Some(second * 3 / 2)),
            ("1970-01-01 01:00:01+01:00", Some(second)),
            ("1970-01-01 01:00:01 Europe/Paris", Some(second)),
            ("1970-01-01 00:00:01Z", Some(second)),
            ("1970-01-01", Some(0)),
            ("1970-01-01 25:00", None),
            ("1970-01-01 noon", None),
        ] {
            assert_eq!(parse_timestamp(text, &Zone::UTC), micros, "{text}");
        }
    }

    #[test]
    fn exponents_move_the_point() {
        for (text, expected) in [
            ("1e2", "100."),
            (" -1.25E1 ", "-12.5"),
            ("+.5e-2", "+0.005"),
            ("12e-2", "0.12"),
            ("123e-2", "1.23"),
            ("0e999999999999", "0"),
            ("1e-999999999999", "0"),
            (" 1.5 ", "1.5"),
            ("1e", "1e"),
            ("e5", "e5"),
            ("1e5.5", "1e5.5"),
            ("1e99999", "1e99999"),
            ("x1e5", "x1e5"),
        ] {
            assert_eq!(plain_number(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_trimmed_but_not_guessed() {
        assert_eq!(parse_long(" 12\n"), Some(12));
        assert_eq!(parse_long("1.5"), None);
        assert_eq!(parse_double(" 1e3 "), Some(1000.0));
        assert_eq!(parse_double("2.5D"), Some(2.5));
        assert_eq!(parse_double("1,5"), None);
        assert_eq!(parse_boolean(" Yes "), Some(true));
        assert_eq!(parse_boolean("on"), None);
    }
}

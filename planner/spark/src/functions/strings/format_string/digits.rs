//! The decimal digits of a number, rounded half up as Java's `Formatter` rounds.
//!
//! Java rounds the shortest digits that are read as the same double, not its exact binary value:
//! `0.125` has the digits 125, and 1.005 becomes 1.01.

use crate::functions::strings::number_format::increment;

/// A number from 0: `0.digits × 10^point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digits {
    /// Without zeros at the start; empty for zero.
    digits: String,
    point: i32,
}

impl Digits {
    /// Returns the digits of a finite number; the sign is dropped.
    pub(super) fn of_double(number: f64) -> Self {
        let text = format!("{:e}", number.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        Self::of_plain(mantissa, exponent)
    }

    /// Returns the digits of a decimal such as `-12.50`; the sign is dropped.
    pub(super) fn of_decimal(text: &str) -> Self {
        Self::of_plain(text.trim_start_matches('-'), 0)
    }

    fn of_plain(text: &str, exponent: i32) -> Self {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let zeros = all.len() - digits.len();
        Self {
            digits: digits.to_owned(),
            point: to_i32(whole.len()) - to_i32(zeros) + exponent,
        }
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Returns the first `count` digits as a whole number, rounded by the digit behind them.
    fn first(&self, count: i32) -> String {
        let Ok(count) = usize::try_from(count) else {
            return String::new();
        };
        let kept: String = self.digits.chars().take(count).collect();
        let kept = format!("{kept:0<count$}");
        match self.digits.as_bytes().get(count) {
            Some(b'5'..=b'9') => increment(&kept),
            _ => kept,
        }
    }

    /// Writes the number with this many digits behind the point.
    pub(super) fn fixed(&self, places: usize) -> String {
        let scaled = match self.is_zero() {
            true => String::new(),
            false => self.first(self.point.saturating_add(to_i32(places))),
        };
        let length = places + 1;
        let padded = format!("{scaled:0>length$}");
        let (whole, fraction) = padded.split_at(padded.len() - places);
        match places {
            0 => whole.to_owned(),
            _ => format!("{whole}.{fraction}"),
        }
    }

    /// Returns the mantissa with this many digits behind the point, and the exponent.
    fn mantissa(&self, places: usize) -> (String, i32) {
        if self.is_zero() {
            return (self.fixed(places), 0);
        }
        let mut digits = self.first(to_i32(places).saturating_add(1));
        let mut exponent = self.point - 1;
        // 9.99 may become 10.0.
        if digits.len() > places + 1 {
            digits.pop();
            exponent += 1;
        }
        let (whole, fraction) = digits.split_at(1);
        let mantissa = match places {
            0 => whole.to_owned(),
            _ => format!("{whole}.{fraction}"),
        };
        (mantissa, exponent)
    }

    /// Writes the number with an exponent of at least two digits.
    pub(super) fn scientific(&self, places: usize) -> String {
        let (mantissa, exponent) = self.mantissa(places);
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
    }

    /// Writes the number with this many digits in all, and an exponent if it is very small or has
    /// more digits before the point.
    pub(super) fn general(&self, digits: usize) -> String {
        let digits = digits.max(1);
        let (_, exponent) = self.mantissa(digits - 1);
        let places = to_i32(digits) - 1 - exponent;
        match usize::try_from(places) {
            Ok(places) if exponent >= -4 => self.fixed(places),
            _ => self.scientific(digits - 1),
        }
    }
}

/// The lengths of formatted numbers are far below the limit.
fn to_i32(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_rounded_half_up_by_their_shortest_digits() {
        for (number, places, expected) in [
            (0.125, 2, "0.13"),
            (1.005, 2, "1.01"),
            (0.5, 0, "1"),
            (0.4, 0, "0"),
            (9.995, 2, "10.00"),
            (0.0004, 3, "0.000"),
            (0.0005, 3, "0.001"),
            (-1234.5, 1, "1234.5"),
            (0.0, 2, "0.00"),
            (1e21, 1, "1000000000000000000000.0"),
        ] {
            assert_eq!(
                Digits::of_double(number).fixed(places),
                expected,
                "{number}"
            );
        }
        assert_eq!(Digits::of_decimal("-1.25").fixed(1), "1.3");
        assert_eq!(Digits::of_decimal("0.00").fixed(1), "0.0");
        assert_eq!(Digits::of_decimal("100").fixed(2), "100.00");
    }

    #[test]
    fn exponents_have_two_digits() {
        assert_eq!(Digits::of_double(12345.678).scientific(6), "1.234568e+04");
        assert_eq!(Digits::of_double(0.0).scientific(1), "0.0e+00");
        assert_eq!(Digits::of_double(9.99e-5).scientific(1), "1.0e-04");
        assert_eq!(Digits::of_double(1e300).scientific(0), "1e+300");
    }

    #[test]
    fn general_numbers_have_an_exponent_if_they_are_large_or_small() {
        assert_eq!(Digits::of_double(12345.678).general(6), "12345.7");
        assert_eq!(Digits::of_double(1_234_567.0).general(6), "1.23457e+06");
        assert_eq!(Digits::of_double(0.0001).general(6), "0.000100000");
        assert_eq!(Digits::of_double(0.00001).general(3), "1.00e-05");
        assert_eq!(Digits::of_double(0.0).general(6), "0.00000");
    }
}

//! Parses texts of instants. As in Spark, a text without an offset is a wall clock of the session's
//! time zone.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use arrow::error::ArrowError;
use faisca_spark::text::Zone;

/// Length of `2024-12-31`.
const DATE_LENGTH: usize = 10;
const NANOS_PER_MICRO: i64 = 1_000;

/// Whether texts of a type have to be parsed by [`parse_instants`]: in UTC, Arrow's cast is the
/// same.
pub(super) fn depends_on_zone(data_type: &DataType, zone: Zone) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_))) && zone != Zone::UTC
}

/// Parses texts to instants of a type. What is no timestamp becomes null.
///
/// # Errors
/// If texts cannot be cast to that type at all.
pub(super) fn parse_instants(
    texts: &StringArray,
    to: &DataType,
    zone: Zone,
) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: true,
        ..Default::default()
    };
    let in_zone = |row: usize, micros: i64| match has_offset(texts.value(row)) {
        true => micros,
        false => zone.instant_of(micros),
    };
    if let DataType::Timestamp(TimeUnit::Nanosecond, _) = to {
        let parsed = cast_with_options(texts, to, &options)?;
        let parsed = parsed.as_primitive::<TimestampNanosecondType>();
        let instants = parsed.iter().enumerate().map(|(row, nanos)| {
            let nanos = nanos?;
            let micros = nanos.div_euclid(NANOS_PER_MICRO);
            let instant = in_zone(row, micros).checked_mul(NANOS_PER_MICRO)?;
            instant.checked_add(nanos.rem_euclid(NANOS_PER_MICRO))
        });
        let instants = TimestampNanosecondArray::from_iter(instants);
        return Ok(Arc::new(instants.with_data_type(to.clone())));
    }
    let in_utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let parsed = cast_with_options(texts, &in_utc, &options)?;
    let parsed = parsed.as_primitive::<TimestampMicrosecondType>();
    let instants = parsed.iter().enumerate();
    let instants = instants.map(|(row, micros)| micros.map(|micros| in_zone(row, micros)));
    let instants = TimestampMicrosecondArray::from_iter(instants).with_data_type(in_utc);
    cast_with_options(&instants, to, &options)
}

/// Whether a timestamp ends with an offset or the name of a zone.
fn has_offset(text: &str) -> bool {
    let time = text.as_bytes().iter().skip(DATE_LENGTH);
    time.into_iter()
        .any(|byte| !matches!(byte, b'0'..=b'9' | b':' | b'.' | b' ' | b'T' | b't'))
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    /// The instants are those of Java's `ZonedDateTime`: clocks that are skipped move forward, and
    /// of two equal clocks the earlier one is meant.
    #[test]
    fn texts_without_an_offset_are_in_the_zone() {
        let zone = Zone::parse("America/New_York").unwrap();
        let texts = StringArray::from(vec![
            Some("2024-01-01 12:00:00"),
            Some("2024-07-01T12:00:00.5"),
            Some("2024-01-01 12:00:00Z"),
            Some("2024-01-01T12:00:00+02:00"),
            Some("2024-01-01"),
            Some("2024-03-10 02:30:00"),
            Some("2024-11-03 01:30:00"),
            Some("x"),
            None,
        ]);
        let to = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let instants = parse_instants(&texts, &to, zone).unwrap();
        let expected = StringArray::from(vec![
            Some("2024-01-01T17:00:00Z"),
            Some("2024-07-01T16:00:00.500Z"),
            Some("2024-01-01T12:00:00Z"),
            Some("2024-01-01T10:00:00Z"),
            Some("2024-01-01T05:00:00Z"),
            Some("2024-03-10T07:30:00Z"),
            Some("2024-11-03T05:30:00Z"),
            None,
            None,
        ]);
        let expected = cast_with_options(&expected, &to, &CastOptions::default()).unwrap();
        assert_eq!(&instants, &expected);
        assert_eq!(instants.null_count(), 2);
    }
}

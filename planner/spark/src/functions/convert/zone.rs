//! Time zones: conversions between instants and wall clocks.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset, Offset, TimeZone};
use chrono_tz::Tz;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, exec_err};

/// Microseconds of a day.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;
/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
const SECOND_MICROS: i64 = 1_000_000;
/// An instant of the northern winter, in seconds.
const JANUARY_2024: i64 = 1_704_067_200;
/// An instant of the southern winter, in seconds.
const JULY_2024: i64 = 1_719_792_000;

/// A time zone: a region or a fixed offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// A region with its rules for summer time.
    Region(Tz),
    /// An offset.
    Offset(FixedOffset),
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self::Region(Tz::UTC);

    /// Returns the session's zone.
    ///
    /// # Errors
    /// If the setting names no zone.
    pub fn of_session(config: &ConfigOptions) -> Result<Self> {
        match config.execution.time_zone.as_deref() {
            None => Ok(Self::UTC),
            Some(name) => Self::parse(name),
        }
    }

    /// Reads a zone as Spark does: a region, `Z`, or an offset such as `+8:00` or `GMT-3`.
    ///
    /// # Errors
    /// If there is no such zone.
    pub fn parse(name: &str) -> Result<Self> {
        let trimmed = name.trim();
        if trimmed == "Z" {
            return Ok(Self::UTC);
        }
        let offset = ["UTC", "GMT", "UT"]
            .iter()
            .find_map(|prefix| trimmed.strip_prefix(prefix))
            .unwrap_or(trimmed);
        if let Some(offset) = parse_offset(offset) {
            return Ok(Self::Offset(offset));
        }
        // Three-letter names from Java's first versions that are not names of regions.
        let region = match trimmed {
            "ACT" => "Australia/Darwin",
            "AET" => "Australia/Sydney",
            "AST" => "America/Anchorage",
            "BET" => "America/Sao_Paulo",
            "CNT" => "America/St_Johns",
            "CST" => "America/Chicago",
            "CTT" => "Asia/Shanghai",
            "ECT" => "Europe/Paris",
            "IST" => "Asia/Kolkata",
            "JST" => "Asia/Tokyo",
            "PST" => "America/Los_Angeles",
            other => other,
        };
        match Tz::from_str(region) {
            Ok(region) => Ok(Self::Region(region)),
            Err(_) => exec_err!(
                "[INVALID_TIMEZONE] '{name}' is no time zone; write a region such as Europe/Lisbon, or an offset such as +01:00"
            ),
        }
    }

    /// Returns the offset from UTC at an instant, in seconds.
    pub(crate) fn offset_seconds(self, instant_seconds: i64) -> i64 {
        match self {
            Self::Offset(offset) => i64::from(offset.local_minus_utc()),
            Self::Region(Tz::UTC) => 0,
            Self::Region(region) => DateTime::from_timestamp(instant_seconds, 0).map_or(0, |utc| {
                let offset = region.offset_from_utc_datetime(&utc.naive_utc()).fix();
                i64::from(offset.local_minus_utc())
            }),
        }
    }

    /// Returns the short name of the zone at an instant, such as `CET`.
    ///
    /// Times before there were zones have the name of today's standard time, as in Java.
    pub(crate) fn abbreviation(self, instant_seconds: i64) -> String {
        let name = self.abbreviation_at(instant_seconds);
        if name != "LMT" {
            return name;
        }
        let standard = [JANUARY_2024, JULY_2024]
            .into_iter()
            .min_by_key(|instant| self.offset_seconds(*instant));
        self.abbreviation_at(standard.unwrap_or(instant_seconds))
    }

    fn abbreviation_at(self, instant_seconds: i64) -> String {
        match self {
            Self::Offset(offset) => offset.to_string(),
            Self::Region(region) => {
                DateTime::from_timestamp(instant_seconds, 0).map_or_else(String::new, |utc| {
                    region
                        .offset_from_utc_datetime(&utc.naive_utc())
                        .to_string()
                })
            }
        }
    }

    /// Returns the name of the zone.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Offset(offset) => offset.to_string(),
            Self::Region(region) => region.name().to_owned(),
        }
    }

    /// Converts an instant to the wall clock of the zone; both in microseconds.
    pub fn wall_of(self, instant: i64) -> i64 {
        let offset = self.offset_seconds(instant.div_euclid(SECOND_MICROS));
        instant.saturating_add(offset * SECOND_MICROS)
    }

    /// Converts a wall clock of the zone to an instant; both in microseconds.
    ///
    /// A wall clock that occurs twice is the earlier instant. One that is skipped moves forward by
    /// the gap, as in Java.
    pub fn instant_of(self, wall: i64) -> i64 {
        let wall_seconds = wall.div_euclid(SECOND_MICROS);
        // No zone changes its offset twice within two days, so these are the two candidates.
        let before = self.offset_seconds(wall_seconds.saturating_sub(DAY_SECONDS));
        let after = self.offset_seconds(wall_seconds.saturating_add(DAY_SECONDS));
        let is_valid = |offset| self.offset_seconds(wall_seconds - offset) == offset;
        let offset = match is_valid(before) || !is_valid(after) {
            true => before,
            false => after,
        };
        wall.saturating_sub(offset * SECOND_MICROS)
    }
}

/// Reads `+h`, `+hh`, `+h:m`, `+hh:mm`, `+hhmm` and the same with seconds.
fn parse_offset(text: &str) -> Option<FixedOffset> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else if digits.is_ascii() && digits.len() > 2 {
        [digits.get(0..2), digits.get(2..4), digits.get(4..6)]
            .into_iter()
            .flatten()
            .collect()
    } else {
        vec![digits]
    };
    if parts.len() > 3 {
        return None;
    }
    let mut seconds = 0;
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        if part.is_empty() || part.len() > 2 {
            return None;
        }
        let number: i32 = part.parse().ok()?;
        if unit < 3600 && number > 59 {
            return None;
        }
        seconds += number * unit;
    }
    if seconds > 18 * 3600 {
        return None;
    }
    FixedOffset::east_opt(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_wall_clocks_move_forward_and_repeated_ones_are_the_earlier() {
        let zone = Zone::parse("America/Los_Angeles").unwrap();
        let wall = |text: &str| {
            let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
            time.and_utc().timestamp_micros()
        };
        // In the night of 10 March 2024 the clock went from 02:00 to 03:00.
        let skipped = zone.instant_of(wall("2024-03-10 02:30"));
        assert_eq!(zone.wall_of(skipped), wall("2024-03-10 03:30"));
        let repeated = zone.instant_of(wall("2024-11-03 01:30"));
        assert_eq!(repeated, wall("2024-11-03 08:30"));
    }

    #[test]
    fn offsets_are_read_in_all_of_sparks_spellings() {
        for (text, minutes) in [
            ("+8", 480),
            ("+08:00", 480),
            ("-7:30", -450),
            ("GMT+1", 60),
            ("UTC-0330", -210),
            ("UTC", 0),
            ("Z", 0),
        ] {
            let zone = Zone::parse(text).unwrap();
            assert_eq!(zone.offset_seconds(0), minutes * 60, "{text}");
        }
        assert!(Zone::parse("Mars/Olympus").is_err());
    }
}

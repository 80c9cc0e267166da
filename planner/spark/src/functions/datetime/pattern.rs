//! Java's patterns of dates and times, such as `yyyy-MM-dd HH:mm:ss`, and writing with them.

use std::fmt::Write;

use datafusion::common::{Result, exec_err};

use super::civil::{civil_of, day_of_year, weekday};
use crate::functions::convert::{DAY_MICROS, Zone};

/// The pattern of timestamps that `to_json` and `to_csv` write without an option.
pub(crate) const TIMESTAMP_PATTERN: &str = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX";

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
/// Letters that Java knows and Spark refuses, because they depend on the locale's weeks.
const WEEK_LETTERS: &str = "YWwuec";

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Literal(String),
    /// A letter, and how often it stands there.
    Field(char, usize),
    /// `[…]`: may be missing when a text is read.
    Optional(Vec<Self>),
}

impl Item {
    /// Is this the name of a zone in words, such as `Pacific Standard Time`?
    fn is_full_zone(&self) -> bool {
        match self {
            Self::Field('z', count) => *count == 4,
            Self::Field(..) | Self::Literal(_) => false,
            Self::Optional(items) => items.iter().any(Self::is_full_zone),
        }
    }

    /// Returns a letter that Spark accepts only for writing.
    fn unreadable_letter(&self) -> Option<char> {
        match self {
            Self::Literal(_) => None,
            Self::Field(letter, _) => "EFqQ".contains(*letter).then_some(*letter),
            Self::Optional(items) => items.iter().find_map(Self::unreadable_letter),
        }
    }
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(super) items: Vec<Item>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If it has a letter that Spark does not accept.
    pub(crate) fn compile(text: &str) -> Result<Self> {
        let pattern = Self::compile_letters(text)?;
        match pattern.items.iter().any(Item::is_full_zone) {
            true => bad_pattern(text, "the full name of a zone is not supported; write z"),
            false => Ok(pattern),
        }
    }

    fn compile_letters(text: &str) -> Result<Self> {
        let mut levels: Vec<Vec<Item>> = vec![Vec::new()];
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\'' => {
                    let literal = read_quoted(&mut rest, text)?;
                    push_literal(&mut levels, &literal);
                }
                '[' => levels.push(Vec::new()),
                ']' => match (levels.pop(), levels.last_mut()) {
                    (Some(items), Some(outer)) => outer.push(Item::Optional(items)),
                    _ => return bad_pattern(text, "']' has no '[' before it"),
                },
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while rest.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    check_field(text, c, count)?;
                    if let Some(items) = levels.last_mut() {
                        items.push(Item::Field(c, count));
                    }
                }
                '#' | '{' | '}' => return bad_pattern(text, "'#', '{' and '}' are reserved"),
                c => push_literal(&mut levels, &c.to_string()),
            }
        }
        match (levels.pop(), levels.is_empty()) {
            (Some(items), true) => Ok(Self { items }),
            _ => bad_pattern(text, "'[' has no ']'"),
        }
    }

    /// Compiles a pattern for reading.
    ///
    /// # Errors
    /// As [`Pattern::compile`], and for the letters with which Spark only writes.
    pub(crate) fn compile_for_reading(text: &str) -> Result<Self> {
        let pattern = Self::compile_letters(text)?;
        match pattern.items.iter().find_map(Item::unreadable_letter) {
            Some(letter) => bad_pattern(text, &format!("letter '{letter}' is only for writing")),
            None => Ok(pattern),
        }
    }

    /// Writes a wall clock of microseconds; `offset_seconds` and `zone` fill the zone's letters.
    pub(crate) fn format(&self, wall: i64, offset_seconds: i64, zone: Zone) -> String {
        let mut text = String::new();
        let moment = Moment {
            wall,
            offset_seconds,
            zone,
        };
        write_items(&self.items, &moment, &mut text);
        text
    }
}

fn bad_pattern<T>(pattern: &str, problem: &str) -> Result<T> {
    exec_err!(
        "[INVALID_DATETIME_PATTERN] '{pattern}' is no pattern of dates: {problem}; a pattern looks like yyyy-MM-dd HH:mm:ss"
    )
}

fn push_literal(levels: &mut [Vec<Item>], text: &str) {
    let Some(items) = levels.last_mut() else {
        return;
    };
    match items.last_mut() {
        Some(Item::Literal(literal)) => literal.push_str(text),
        _ => items.push(Item::Literal(text.to_owned())),
    }
}

/// Reads up to the closing quote; two quotes are a quote.
fn read_quoted(rest: &mut std::iter::Peekable<std::str::Chars>, pattern: &str) -> Result<String> {
    let mut literal = String::new();
    loop {
        match rest.next() {
            Some('\'') if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
            Some('\'') if literal.is_empty() => return Ok("'".to_owned()),
            Some('\'') => return Ok(literal),
            Some(c) => literal.push(c),
            None => return bad_pattern(pattern, "a quote is not closed"),
        }
    }
}

fn check_field(pattern: &str, letter: char, count: usize) -> Result<()> {
    if WEEK_LETTERS.contains(letter) {
        return bad_pattern(
            pattern,
            &format!("letter '{letter}' is not supported since Spark 3"),
        );
    }
    let most = match letter {
        'G' | 'M' | 'L' | 'E' | 'q' | 'Q' | 'z' => 4,
        'y' => 6,
        'D' => 3,
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'V' => 2,
        'a' | 'F' => 1,
        'S' => 9,
        'O' => 4,
        'X' | 'x' | 'Z' => 5,
        _ => return bad_pattern(pattern, &format!("letter '{letter}' has no meaning")),
    };
    match count > most {
        true => bad_pattern(
            pattern,
            &format!("letter '{letter}' may stand {most} times"),
        ),
        false => Ok(()),
    }
}

struct Moment {
    wall: i64,
    offset_seconds: i64,
    zone: Zone,
}

fn write_items(items: &[Item], moment: &Moment, to: &mut String) {
    for item in items {
        match item {
            Item::Literal(text) => to.push_str(text),
            Item::Optional(items) => write_items(items, moment, to),
            Item::Field(letter, count) => write_field(*letter, *count, moment, to),
        }
    }
}

fn write_field(letter: char, count: usize, moment: &Moment, to: &mut String) {
    let days = moment.wall.div_euclid(DAY_MICROS);
    let time = moment.wall.rem_euclid(DAY_MICROS);
    let (seconds, micros) = (time / 1_000_000, time % 1_000_000);
    let hour = seconds / 3600;
    let civil = civil_of(days);
    let quarter = (civil.month - 1) / 3 + 1;
    let number = match letter {
        'G' => {
            let era = match (civil.year > 0, count) {
                (true, 4) => "Anno Domini",
                (false, 4) => "Before Christ",
                (true, _) => "AD",
                (false, _) => "BC",
            };
            return to.push_str(era);
        }
        'y' => return write_year(civil.year, count, to),
        'M' | 'L' if count >= 3 => {
            return write_name(MONTHS[civil.month as usize - 1], count, to);
        }
        'M' | 'L' => civil.month.into(),
        'Q' | 'q' => return write_quarter(quarter, count, to),
        'D' => day_of_year(days),
        'd' => civil.day.into(),
        // Java's name for it is the aligned day of the week in a month: 1 on the 1st, the 8th and
        // so on.
        'F' => i64::from((civil.day - 1) % 7 + 1),
        'E' => {
            let name = WEEKDAYS[usize::try_from(weekday(days)).unwrap_or(0)];
            return write_name(name, count, to);
        }
        'a' => return to.push_str(if hour < 12 { "AM" } else { "PM" }),
        'H' => hour,
        'k' => (hour + 23) % 24 + 1,
        'K' => hour % 12,
        'h' => (hour + 11) % 12 + 1,
        'm' => seconds / 60 % 60,
        's' => seconds % 60,
        'S' => {
            let digits = format!("{micros:06}000");
            return to.push_str(&digits[..count]);
        }
        _ => return write_zone(letter, count, moment, to),
    };
    let _ = write!(to, "{number:0count$}");
}

fn write_year(year: i32, count: usize, to: &mut String) {
    // The year of the era: year 0 is 1 BC.
    let year_of_era = if year > 0 { year } else { 1 - year };
    if count == 2 {
        let _ = write!(to, "{:02}", year_of_era % 100);
        return;
    }
    if count >= 4 && year_of_era >= 10_i32.pow(4) && count == 4 {
        to.push('+');
    }
    let _ = write!(to, "{year_of_era:0count$}");
}

fn write_quarter(quarter: u32, count: usize, to: &mut String) {
    let _ = match count {
        1 | 2 => write!(to, "{quarter:0count$}"),
        3 => write!(to, "Q{quarter}"),
        _ => {
            let ordinal = ["1st", "2nd", "3rd", "4th"][quarter as usize - 1];
            write!(to, "{ordinal} quarter")
        }
    };
}

fn write_name(name: &str, count: usize, to: &mut String) {
    to.push_str(if count == 4 { name } else { &name[..3] });
}

fn write_zone(letter: char, count: usize, moment: &Moment, to: &mut String) {
    let instant = moment.wall.div_euclid(1_000_000) - moment.offset_seconds;
    match letter {
        'V' => to.push_str(&moment.zone.name()),
        'z' => to.push_str(&moment.zone.abbreviation(instant)),
        'O' => {
            to.push_str("GMT");
            if moment.offset_seconds != 0 {
                let form = if count == 4 {
                    OffsetForm::Colon
                } else {
                    OffsetForm::Short
                };
                write_offset(moment.offset_seconds, form, to);
                write_seconds(moment.offset_seconds, ":", to);
            }
        }
        'X' if moment.offset_seconds == 0 => to.push('Z'),
        'Z' if count == 4 => {
            to.push_str("GMT");
            if moment.offset_seconds != 0 {
                write_offset(moment.offset_seconds, OffsetForm::Colon, to);
                write_seconds(moment.offset_seconds, ":", to);
            }
        }
        'Z' if count == 5 && moment.offset_seconds == 0 => to.push('Z'),
        'Z' if count < 4 => write_offset(moment.offset_seconds, OffsetForm::Plain, to),
        _ => {
            let form = match count {
                1 => OffsetForm::Hours,
                2 | 4 => OffsetForm::Plain,
                _ => OffsetForm::Colon,
            };
            write_offset(moment.offset_seconds, form, to);
            match count {
                4 => write_seconds(moment.offset_seconds, "", to),
                5 => write_seconds(moment.offset_seconds, ":", to),
                _ => {}
            }
        }
    }
}

/// Writes the seconds of an offset if it has any, as those of local times before 1900 do.
fn write_seconds(offset_seconds: i64, separator: &str, to: &mut String) {
    let seconds = offset_seconds.abs() % 60;
    if seconds > 0 {
        let _ = write!(to, "{separator}{seconds:02}");
    }
}

/// How an offset is written: `+8`, `+08`, `+0800` or `+08:00`.
#[derive(Clone, Copy, PartialEq)]
enum OffsetForm {
    Short,
    Hours,
    Plain,
    Colon,
}

fn write_offset(seconds: i64, form: OffsetForm, to: &mut String) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let (hour, minute) = (minutes / 60, minutes % 60);
    let _ = match form {
        OffsetForm::Short if minute == 0 => write!(to, "{sign}{hour}"),
        OffsetForm::Short => write!(to, "{sign}{hour}:{minute:02}"),
        OffsetForm::Hours if minute == 0 => write!(to, "{sign}{hour:02}"),
        OffsetForm::Hours | OffsetForm::Plain => write!(to, "{sign}{hour:02}{minute:02}"),
        OffsetForm::Colon => write!(to, "{sign}{hour:02}:{minute:02}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::convert::parse_timestamp;

    #[test]
    fn letters_are_written_as_java_writes_them() {
        let zone = Zone::parse("Europe/Paris").unwrap();
        let instant = parse_timestamp("2024-07-04 17:05:09.0425", &zone).unwrap();
        let wall = zone.wall_of(instant);
        let offset = zone.offset_seconds(instant / 1_000_000);
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss", "2024-07-04 17:05:09"),
            ("yy/M/d h:m:s a", "24/7/4 5:5:9 PM"),
            ("EEEE, d MMMM y", "Thursday, 4 July 2024"),
            ("EEE MMM dd", "Thu Jul 04"),
            ("QQQ q D", "Q3 3 186"),
            ("SSS SSSSSS", "042 042500"),
            (
                "VV z XXX xx Z O",
                "Europe/Paris CEST +02:00 +0200 +0200 GMT+2",
            ),
            ("yyyy'T'HH ''", "2024T17 '"),
            ("yyyy[-MM]", "2024-07"),
        ] {
            let pattern = Pattern::compile(pattern).unwrap();
            assert_eq!(pattern.format(wall, offset, zone), text);
        }
    }

    #[test]
    fn offsets_of_local_times_have_seconds() {
        let zone = Zone::parse("America/Los_Angeles").unwrap();
        let instant = parse_timestamp("1582-05-31 19:40:35", &zone).unwrap();
        let (wall, offset) = (
            zone.wall_of(instant),
            zone.offset_seconds(instant / 1_000_000),
        );
        for (pattern, text) in [
            ("XXXX XXXXX xxx", "-075258 -07:52:58 -07:52"),
            ("Z ZZZZ ZZZZZ", "-0752 GMT-07:52:58 -07:52:58"),
            ("O OOOO", "GMT-7:52:58 GMT-07:52:58"),
            ("z", "PST"),
        ] {
            let pattern = Pattern::compile(pattern).unwrap();
            assert_eq!(pattern.format(wall, offset, zone), text);
        }
    }

    #[test]
    fn letters_without_meaning_are_refused() {
        for pattern in ["YYYY", "yyyy-ww", "ddd", "B", "'open", "[yyyy"] {
            assert!(Pattern::compile(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::compile("E[ Q]").is_ok());
        for pattern in ["E d", "yyyy[ Q]"] {
            assert!(Pattern::compile_for_reading(pattern).is_err(), "{pattern}");
        }
    }
}

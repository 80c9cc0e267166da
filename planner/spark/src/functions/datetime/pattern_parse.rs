//! Reading dates and times with a pattern of Java.

use super::civil::{Civil, civil_of, days_of, is_valid_date};
use super::pattern::{Item, MONTHS, Pattern};
use crate::functions::convert::{DAY_MICROS, Zone};

/// What a text says, field by field.
#[derive(Debug, Clone, Default)]
struct Fields {
    year: Option<i64>,
    is_before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    is_afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    micros: Option<i64>,
    zone: Option<Zone>,
}

impl Pattern {
    /// Reads a text; returns the wall clock in microseconds, and the zone if the text has one.
    ///
    /// What the pattern lacks is 1970-01-01 00:00:00. Returns `None` for a text that does not
    /// match, or that says a day that does not exist.
    pub(crate) fn parse(&self, text: &str) -> Option<(i64, Option<Zone>)> {
        let mut fields = Fields::default();
        let rest = read_items(&self.items, text, &mut fields)?;
        if !rest.is_empty() {
            return None;
        }
        let zone = fields.zone;
        Some((fields.wall()?, zone))
    }
}

impl Fields {
    fn wall(&self) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let year = if self.is_before_christ {
            1 - year
        } else {
            year
        };
        let year = i32::try_from(year).ok()?;
        let days = i64::from(self.date(year)?);
        let hour = match (self.hour, self.hour_of_half) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => {
                hour + if self.is_afternoon.unwrap_or(false) {
                    12
                } else {
                    0
                }
            }
            (None, None) if self.is_afternoon == Some(true) => 12,
            (None, None) => 0,
        };
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        let is_valid = hour < 24 && minute < 60 && second < 60;
        let seconds = hour * 3600 + minute * 60 + second;
        let micros = self.micros.unwrap_or(0);
        is_valid.then(|| days * DAY_MICROS + seconds * 1_000_000 + micros)
    }
}

impl Fields {
    /// Returns the days since 1970 of the date in a year; a day of the year must agree with a month
    /// and a day of it.
    fn date(&self, year: i32) -> Option<i32> {
        let civil = |month: i64, day: i64| {
            let civil = Civil {
                year,
                month: u32::try_from(month).ok()?,
                day: u32::try_from(day).ok()?,
            };
            is_valid_date(civil).then_some(civil)
        };
        let Some(day_of_year) = self.day_of_year else {
            return civil(self.month.unwrap_or(1), self.day.unwrap_or(1)).map(days_of);
        };
        let days = days_of(civil(1, 1)?) + i32::try_from(day_of_year).ok()? - 1;
        let counted = civil_of(days.into());
        let agrees = day_of_year > 0
            && counted.year == year
            && self
                .month
                .is_none_or(|month| month == i64::from(counted.month))
            && self.day.is_none_or(|day| day == i64::from(counted.day));
        agrees.then_some(days)
    }
}

/// Reads items one after the other; returns the rest of the text.
fn read_items<'a>(items: &[Item], text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    let mut rest = text;
    for (index, item) in items.iter().enumerate() {
        rest = match item {
            Item::Literal(literal) => strip_ignoring_case(rest, literal)?,
            Item::Optional(items) => {
                let mut attempt = fields.clone();
                match read_items(items, rest, &mut attempt) {
                    Some(after) => {
                        *fields = attempt;
                        after
                    }
                    None => rest,
                }
            }
            Item::Field(letter, count) => {
                // Numbers without anything between them have exactly as many digits as letters.
                let is_adjacent = items.get(index + 1).is_some_and(is_number);
                read_field(*letter, *count, is_adjacent, rest, fields)?
            }
        };
    }
    Some(rest)
}

fn is_number(item: &Item) -> bool {
    match item {
        Item::Field('M' | 'L', count) => *count < 3,
        Item::Field(letter, _) => "yDdhHkKmsS".contains(*letter),
        _ => false,
    }
}

fn strip_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

fn read_field<'a>(
    letter: char,
    count: usize,
    is_adjacent: bool,
    text: &'a str,
    fields: &mut Fields,
) -> Option<&'a str> {
    match letter {
        'G' => {
            let eras = ["Before Christ", "Anno Domini", "BC", "AD"];
            let (index, rest) = read_name(text, &eras)?;
            fields.is_before_christ = index % 2 == 0;
            return Some(rest);
        }
        'M' | 'L' if count >= 3 => {
            let (index, rest) = read_full_or_short(text, &MONTHS, count)?;
            agree(&mut fields.month, index + 1)?;
            return Some(rest);
        }
        'a' => {
            let (index, rest) = read_name(text, &["AM", "PM"])?;
            fields.is_afternoon = Some(index == 1);
            return Some(rest);
        }
        'S' => {
            let digits = text
                .bytes()
                .take(count)
                .take_while(u8::is_ascii_digit)
                .count();
            if digits == 0 {
                return None;
            }
            let micros = format!("{:0<6.6}", &text[..digits]).parse().ok()?;
            agree(&mut fields.micros, micros)?;
            return Some(&text[digits..]);
        }
        'V' | 'z' | 'O' | 'X' | 'x' | 'Z' => return read_zone(letter, text, fields),
        'y' => return read_year(count, is_adjacent, text, fields),
        _ => {}
    }
    let most = match (is_adjacent || count > 1, letter) {
        (true, _) => count,
        (false, 'D') => 3,
        (false, _) => 2,
    };
    let (number, rest) = read_number(text, count, most)?;
    store(letter, number, fields)?;
    Some(rest)
}

fn store(letter: char, number: i64, fields: &mut Fields) -> Option<()> {
    match letter {
        'M' | 'L' => agree(&mut fields.month, number),
        'D' => agree(&mut fields.day_of_year, number),
        'd' => agree(&mut fields.day, number),
        'H' => agree(&mut fields.hour, number),
        'k' if (1..=24).contains(&number) => agree(&mut fields.hour, number % 24),
        'K' if number < 12 => agree(&mut fields.hour_of_half, number),
        'h' if (1..=12).contains(&number) => agree(&mut fields.hour_of_half, number % 12),
        'm' => agree(&mut fields.minute, number),
        's' => agree(&mut fields.second, number),
        _ => None,
    }
}

/// Stores a field; `None` if the text has said another value of it before.
fn agree(field: &mut Option<i64>, number: i64) -> Option<()> {
    (*field.get_or_insert(number) == number).then_some(())
}

fn read_year<'a>(
    count: usize,
    is_adjacent: bool,
    text: &'a str,
    fields: &mut Fields,
) -> Option<&'a str> {
    if count == 2 {
        let (year, rest) = read_number(text, 2, 2)?;
        agree(&mut fields.year, 2000 + year)?;
        return Some(rest);
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let has_sign = digits.len() != text.len();
    // Only a year with a sign may be longer than its letters.
    let most = match (is_adjacent, count, has_sign) {
        (true, ..) | (false, 4, false) => count,
        _ => 9,
    };
    let (year, rest) = read_number(digits, count, most)?;
    agree(&mut fields.year, sign * year)?;
    Some(rest)
}

fn read_number(text: &str, digits_min: usize, digits_max: usize) -> Option<(i64, &str)> {
    let digits = text
        .bytes()
        .take(digits_max)
        .take_while(u8::is_ascii_digit)
        .count();
    if digits < digits_min {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn read_name<'a>(text: &'a str, names: &[&str]) -> Option<(i64, &'a str)> {
    names
        .iter()
        .zip(0..)
        .find_map(|(name, index)| strip_ignoring_case(text, name).map(|rest| (index, rest)))
}

fn read_full_or_short<'a>(text: &'a str, names: &[&str], count: usize) -> Option<(i64, &'a str)> {
    if count == 4 {
        return read_name(text, names);
    }
    let short: Vec<&str> = names.iter().map(|name| &name[..3]).collect();
    read_name(text, &short)
}

fn read_zone<'a>(letter: char, text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    let is_part = |c: char| match letter {
        'V' | 'z' => c.is_ascii_alphanumeric() || "/_+-:".contains(c),
        'O' => c.is_ascii_alphanumeric() || "+-:".contains(c),
        _ => c.is_ascii_digit() || "+-:Z".contains(c) || "GMT".contains(c),
    };
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    fields.zone = Some(Zone::parse(name).ok()?);
    (!name.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::render::write_wall;

    fn read(pattern: &str, text: &str) -> Option<String> {
        let (wall, zone) = Pattern::compile(pattern).unwrap().parse(text)?;
        let mut written = String::new();
        write_wall(
            zone.map_or(wall, |zone| zone.instant_of(wall)),
            &mut written,
        );
        Some(written)
    }

    #[test]
    fn texts_are_read_with_their_pattern() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd", "2016-12-31", "2016-12-31 00:00:00"),
            ("yyyyMMddHHmm", "201612310915", "2016-12-31 09:15:00"),
            ("d/M/yy h:mm a", "7/3/21 4:05 pm", "2021-03-07 16:05:00"),
            ("dd MMM yyyy", "01 FEB 2020", "2020-02-01 00:00:00"),
            ("MMMM d, yyyy", "May 9, 1999", "1999-05-09 00:00:00"),
            ("yyyy[-MM[-dd]]", "2020-05", "2020-05-01 00:00:00"),
            ("yyyy-DDD", "2020-060", "2020-02-29 00:00:00"),
            ("dd-DDD", "31-365", "1970-12-31 00:00:00"),
            ("HH:mm:ss.SSS", "10:11:12.5", "1970-01-01 10:11:12.5"),
            (
                "yyyy-MM-dd'T'HH:mm:ssXXX",
                "2020-01-01T00:00:00+02:00",
                "2019-12-31 22:00:00",
            ),
            (
                "yyyy-MM-dd VV",
                "2020-01-01 Asia/Tokyo",
                "2019-12-31 15:00:00",
            ),
        ] {
            assert_eq!(
                read(pattern, text).as_deref(),
                Some(expected),
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn texts_that_do_not_match_are_refused() {
        for (pattern, text) in [
            ("yyyy-MM-dd", "2016-13-01"),
            ("yyyy-MM-dd", "2016-02-30"),
            ("yyyy-MM-dd", "2016-1-1"),
            ("yyyy-MM-dd", "2016-01-01 10:00"),
            ("ss.SS", "12.345"),
            ("MM-DDD", "12-100"),
            ("yyyy-DDD", "2021-366"),
            ("hh:mm a", "13:00 PM"),
            ("SSS ss.SSS", "120 10.130"),
        ] {
            assert_eq!(read(pattern, text), None, "{pattern} {text}");
        }
    }
}

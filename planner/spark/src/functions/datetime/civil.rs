//! The calendar: days since 1970 to years, months and days, for any year.

use crate::functions::convert::DAY_MICROS;

/// A day of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i32,
    /// From 1 to 12.
    pub(crate) month: u32,
    /// From 1.
    pub(crate) day: u32,
}

/// Returns the number of days since 1970-01-01.
pub(crate) fn days_of(civil: Civil) -> i32 {
    // Years begin in March here, so that the leap day is the last day of a year.
    let year = i64::from(civil.year) - i64::from(civil.month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from((civil.month + 9) % 12);
    let day_of_year = (153 * month + 2) / 5 + i64::from(civil.day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX })
}

/// Returns the day that is this many days after 1970-01-01.
pub(crate) fn civil_of(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil {
        year: i32::try_from(year).unwrap_or(i32::MAX),
        month: u32::try_from(month).unwrap_or(1),
        day: u32::try_from(day).unwrap_or(1),
    }
}

/// Returns the number of days of a month.
pub(crate) fn days_of_month(year: i32, month: u32) -> u32 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap_year(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Returns whether the calendar has this day.
pub(crate) fn is_valid_date(civil: Civil) -> bool {
    (1..=12).contains(&civil.month)
        && (1..=days_of_month(civil.year, civil.month)).contains(&civil.day)
}

/// Returns the day of the week, from 0 for Monday to 6 for Sunday.
pub(crate) fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// Returns the day of the year, from 1.
pub(crate) fn day_of_year(days: i64) -> i64 {
    let first = Civil {
        month: 1,
        day: 1,
        ..civil_of(days)
    };
    days - i64::from(days_of(first)) + 1
}

/// Returns the year and the number of the ISO week of a day.
pub(crate) fn iso_week(days: i64) -> (i32, i64) {
    // A week belongs to the year of its Thursday.
    let thursday = days - weekday(days) + 3;
    (civil_of(thursday).year, (day_of_year(thursday) - 1) / 7 + 1)
}

/// Moves a day by months; a day that the month does not have becomes its last one.
pub(crate) fn add_months(days: i64, months: i64) -> i64 {
    let civil = civil_of(days);
    let total = i64::from(civil.year) * 12 + i64::from(civil.month) - 1 + months;
    let year = i32::try_from(total.div_euclid(12)).unwrap_or(i32::MAX);
    let month = u32::try_from(total.rem_euclid(12) + 1).unwrap_or(1);
    let day = civil.day.min(days_of_month(year, month));
    days_of(Civil { year, month, day }).into()
}

/// Moves a wall clock in microseconds by months.
pub(crate) fn add_months_to_wall(micros: i64, months: i64) -> i64 {
    let days = add_months(micros.div_euclid(DAY_MICROS), months);
    days.saturating_mul(DAY_MICROS)
        .saturating_add(micros.rem_euclid(DAY_MICROS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_six_centuries_is_itself_again() {
        for days in -109_500..109_500_i64 {
            let civil = civil_of(days);
            assert!(is_valid_date(civil));
            assert_eq!(i64::from(days_of(civil)), days);
        }
    }

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        let day = |year, month, day| i64::from(days_of(Civil { year, month, day }));
        assert_eq!(iso_week(day(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(day(2018, 12, 31)), (2019, 1));
        assert_eq!(weekday(day(2024, 2, 29)), 3);
        assert_eq!(day_of_year(day(2024, 12, 31)), 366);
        assert_eq!(add_months(day(2024, 1, 31), 1), day(2024, 2, 29));
        assert_eq!(add_months(day(2024, 1, 31), -11), day(2023, 2, 28));
    }
}

//! Numbers as a reader wants them: few digits, with a unit.

/// Formats a duration: `420 ms`, `4.21 s`, `12 min 4 s`, `3 h 12 min`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms as f64 / 1000.0;
    let (minutes, hours) = (ms / 60_000, ms / 3_600_000);
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=9_994 => format!("{seconds:.2} s"),
        9_995..=59_949 => format!("{seconds:.1} s"),
        59_950..=3_599_999 => format!("{minutes} min {} s", ms % 60_000 / 1000),
        _ => format!("{hours} h {} min", ms % 3_600_000 / 60_000),
    }
}

/// Formats bytes with a binary unit: `0 B`, `3.4 MiB`, `120 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let value = bytes as f64 / (1_u64 << shift) as f64;
    if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// Formats a count with separators: `1,234,567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

/// Formats a count with at most three digits and a unit: `950`, `12.3 k`, `1.23 M`.
pub(super) fn short_count(value: u64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let exact = value as f64;
    match units.into_iter().find(|(unit, _)| exact >= *unit) {
        None => value.to_string(),
        Some((unit, name)) => match exact / unit {
            v if v < 9.995 => format!("{v:.2} {name}"),
            v if v < 99.95 => format!("{v:.1} {name}"),
            v => format!("{v:.0} {name}"),
        },
    }
}

/// Formats a count and its noun, which gets an `s` unless the count is 1.
pub(super) fn count_of(value: u64, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(value))
}

/// Formats `part` in percent of `whole`; nothing is 0 % of nothing.
pub(super) fn share(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    match percent {
        p if p > 0.0 && p < 1.0 => "< 1 %".to_owned(),
        p => format!("{p:.0} %"),
    }
}

/// Returns at most `length_max` characters of a text, and states how many are left out.
pub(super) fn cut(text: &str, length_max: usize) -> String {
    match text.char_indices().nth(length_max) {
        None => text.to_owned(),
        Some((end, _)) => {
            let rest = text[end..].chars().count() as u64;
            format!("{} … ({} more)", &text[..end], count_of(rest, "character"))
        }
    }
}

/// Returns the quantile `fraction` of ascending values; 0 if there are none.
pub(super) fn quantile(ascending: &[u64], fraction: f64) -> u64 {
    let last = ascending.len().saturating_sub(1);
    let index = (fraction * last as f64).round() as usize;
    ascending.get(index.min(last)).copied().unwrap_or(0)
}

/// Formats a moment, in milliseconds since 1970, as `2026-11-27 20:04:48 UTC`.
pub(super) fn moment(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms)
        .ok()
        .and_then(chrono::DateTime::from_timestamp_millis);
    moment.map_or_else(
        || "unknown".to_owned(),
        |moment| moment.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits() {
        let texts = [
            0, 420, 1_234, 9_994, 9_995, 59_949, 59_950, 724_000, 11_520_000,
        ]
        .map(duration);
        let expected = [
            "0 ms",
            "420 ms",
            "1.23 s",
            "9.99 s",
            "10.0 s",
            "59.9 s",
            "0 min 59 s",
            "12 min 4 s",
            "3 h 12 min",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn bytes_have_a_binary_unit() {
        let texts = [0, 1023, 1024, 3_565_158, 120 << 30].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "3.4 MiB", "120 GiB"]);
    }

    #[test]
    fn counts_have_separators_and_plurals() {
        assert_eq!(
            [7, 1_234, 1_234_567].map(count),
            ["7", "1,234", "1,234,567"]
        );
        assert_eq!(
            [1, 1_000].map(|n| count_of(n, "task")),
            ["1 task", "1,000 tasks"]
        );
    }

    #[test]
    fn short_counts_have_three_digits() {
        let texts = [950, 1_000, 12_345, 999_000, 1_234_567].map(short_count);
        assert_eq!(texts, ["950", "1.00 k", "12.3 k", "999 k", "1.23 M"]);
    }

    #[test]
    fn a_quantile_of_nothing_is_zero() {
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!([0.0, 0.5, 1.0].map(|f| quantile(&[1, 2, 9], f)), [1, 2, 9]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("ação", 10), "ação");
        assert_eq!(cut("ação", 2), "aç … (2 characters more)");
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(1_795_809_888_000), "2026-11-27 20:04:48 UTC");
    }
}

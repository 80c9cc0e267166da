//! Settings of Spark that give statements another meaning: those that are obeyed, and those that
//! are refused.

use datafusion::common::config::{ConfigExtension, ConfigOptions};
use datafusion::common::extensions_options;

extensions_options! {
    /// Meanings of earlier versions of Spark that a session asks for.
    pub struct Legacy {
        /// `'a''b'` is `ab`, not `a'b`.
        pub consecutive_string_literals: bool, default = false
        /// `NULL IN (no rows)` is null, not false.
        pub null_in_empty_list: bool, default = false
        /// Patterns of dates are those of `SimpleDateFormat`.
        pub time_parser: bool, default = false
        /// `percentile_disc` cuts the position off.
        pub percentile_disc: bool, default = false
    }
}

impl ConfigExtension for Legacy {
    const PREFIX: &'static str = "faisca_legacy";
}

/// The settings that [`Legacy`] obeys.
pub const LEGACY: [&str; 4] = [
    "spark.sql.legacy.consecutiveStringLiterals.enabled",
    "spark.sql.legacy.nullInEmptyListBehavior",
    "spark.sql.legacy.percentileDiscCalculation",
    "spark.sql.legacy.timeParserPolicy",
];

/// What a session does with a setting of Spark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obedience {
    /// Sets this option of [`Legacy`] to this value.
    Sets(&'static str, bool),
    /// The setting asks for what the session does anyway.
    Holds,
    /// The setting asks for another meaning, which the session does not have; the text is the value
    /// that it has.
    Refuses(&'static str),
    /// The setting changes no rows here.
    Ignores,
}

/// Settings that change the meaning of statements, each with the value that holds here.
const MEANINGS: [(&str, &str); 17] = [
    ("spark.sql.ansi.doubleQuotedIdentifiers", "false"),
    ("spark.sql.ansi.relationPrecedence", "false"),
    ("spark.sql.binaryOutputStyle", "UTF-8"),
    ("spark.sql.caseSensitive", "false"),
    ("spark.sql.decimalOperations.allowPrecisionLoss", "true"),
    ("spark.sql.function.concatBinaryAsString", "false"),
    ("spark.sql.function.eltOutputAsString", "false"),
    ("spark.sql.groupByAliases", "true"),
    ("spark.sql.groupByOrdinal", "true"),
    ("spark.sql.legacy.ctePrecedencePolicy", "CORRECTED"),
    ("spark.sql.mapKeyDedupPolicy", "EXCEPTION"),
    ("spark.sql.orderByOrdinal", "true"),
    ("spark.sql.parser.escapedStringLiterals", "false"),
    ("spark.sql.parser.quotedRegexColumnNames", "false"),
    ("spark.sql.storeAssignmentPolicy", "ANSI"),
    ("spark.sql.timestampType", "TIMESTAMP_LTZ"),
    (
        "spark.sql.optimizer.decorrelateSubqueryLegacyIncorrectCountHandling.enabled",
        "false",
    ),
];

impl Legacy {
    /// Returns the meanings that a session asks for.
    #[must_use]
    pub fn of_session(options: &ConfigOptions) -> Self {
        options
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_default()
    }

    /// Returns what a session does with a setting.
    #[must_use]
    pub fn obedience(name: &str, value: &str) -> Obedience {
        let is_true = value.eq_ignore_ascii_case("true");
        let option = match name {
            "spark.sql.legacy.consecutiveStringLiterals.enabled" => "consecutive_string_literals",
            "spark.sql.legacy.nullInEmptyListBehavior" => "null_in_empty_list",
            "spark.sql.legacy.percentileDiscCalculation" => "percentile_disc",
            "spark.sql.legacy.timeParserPolicy" => {
                return Obedience::Sets("time_parser", value.eq_ignore_ascii_case("LEGACY"));
            }
            _ => "",
        };
        if !option.is_empty() {
            return Obedience::Sets(option, is_true);
        }
        let is_same = |held: &str| {
            let plain = |text: &str| text.replace('-', "").to_lowercase();
            plain(held) == plain(value)
        };
        let meaning = MEANINGS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match meaning {
            Some((_, held)) if is_same(held) => Obedience::Holds,
            Some((_, held)) => Obedience::Refuses(held),
            None if name.starts_with("spark.sql.legacy.") && is_true => Obedience::Refuses("false"),
            None => Obedience::Ignores,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_changes_rows_is_obeyed_or_refused() {
        for (name, value, expected) in [
            (
                "spark.sql.legacy.nullInEmptyListBehavior",
                "true",
                Obedience::Sets("null_in_empty_list", true),
            ),
            (
                "spark.sql.legacy.timeParserPolicy",
                "CORRECTED",
                Obedience::Sets("time_parser", false),
            ),
            (
                "spark.sql.caseSensitive",
                "true",
                Obedience::Refuses("false"),
            ),
            ("spark.sql.caseSensitive", "FALSE", Obedience::Holds),
            ("spark.sql.binaryOutputStyle", "UTF8", Obedience::Holds),
            ("spark.sql.legacy.x", "true", Obedience::Refuses("false")),
            ("spark.sql.legacy.x", "false", Obedience::Ignores),
            ("spark.sql.shuffle.partitions", "8", Obedience::Ignores),
        ] {
            assert_eq!(Legacy::obedience(name, value), expected, "{name}={value}");
        }
    }
}

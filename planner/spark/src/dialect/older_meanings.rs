//! Meanings of earlier versions of Spark that a session asks for by `spark.sql.legacy.…`.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};

use super::calls::{case, rename};
use crate::legacy::Legacy;

/// Functions with a pattern of dates as second argument.
const WITH_PATTERN: [&str; 12] = [
    "date_format",
    "from_unixtime",
    "to_char",
    "to_date",
    "to_timestamp",
    "to_timestamp_ltz",
    "to_timestamp_ntz",
    "to_unix_timestamp",
    "to_varchar",
    "try_to_date",
    "try_to_timestamp",
    "unix_timestamp",
];

/// Gives a call the meaning that the session asks for.
///
/// # Errors
/// If that meaning is not supported.
pub(super) fn rewrite_call(function: &mut Function, legacy: &Legacy) -> Result<()> {
    if !legacy.time_parser && !legacy.percentile_disc {
        return Ok(());
    }
    let name = function.name.to_string().to_lowercase();
    if legacy.percentile_disc && name == "percentile_disc" {
        rename(function, "percentile_disc_cut");
    }
    if legacy.time_parser
        && WITH_PATTERN.contains(&name.as_str())
        && let Some(pattern) = pattern_of(function)
        && has_older_meaning(pattern)
    {
        return plan_err!(
            "{name}: with spark.sql.legacy.timeParserPolicy = LEGACY the pattern '{pattern}' has the meaning of Java's \
             SimpleDateFormat for 'yy' or 'S', which is not supported; set the policy to CORRECTED"
        );
    }
    Ok(())
}

fn pattern_of(function: &Function) -> Option<&str> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match list.args.get(1)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Does a pattern have a letter to which `SimpleDateFormat` gives another meaning? There `yy` is a
/// year of the last 80, and `S` a number of milliseconds.
fn has_older_meaning(pattern: &str) -> bool {
    let mut is_quoted = false;
    let mut runs: Vec<(char, usize)> = Vec::new();
    for c in pattern.chars() {
        if c == '\'' {
            is_quoted = !is_quoted;
        }
        match runs.last_mut() {
            Some((letter, count)) if *letter == c && !is_quoted => *count += 1,
            _ if is_quoted => runs.push(('\'', 1)),
            _ => runs.push((c, 1)),
        }
    }
    runs.iter()
        .any(|run| matches!(run, ('y', 2)) || matches!(run, ('S', count) if *count != 3))
}

/// `x IN (query)` is null for a null `x`, whether the query has rows or none.
pub(super) fn null_in_empty_list(expr: &mut Expr) {
    if let Expr::InSubquery { expr: value, .. } = expr {
        let condition = Expr::IsNotNull(value.clone());
        *expr = case(condition, expr.clone(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_with_another_meaning_are_those_with_short_years_and_fractions() {
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", false),
            ("yy-MM-dd", true),
            ("HH:mm:ss.SSSSSS", true),
            ("yyyy 'S'", false),
        ] {
            assert_eq!(has_older_meaning(pattern), expected, "{pattern}");
        }
    }
}

//! Patterns of LIKE with another escape than the backslash.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{Expr, Value};

/// Rewrites `LIKE 'a#%' ESCAPE '#'` as `LIKE 'a\\%'`, since DataFusion knows only the backslash.
///
/// # Errors
/// If the escape stands before a character that needs none, or at the end.
pub(super) fn escape_by_backslash(expr: &mut Expr) -> Result<()> {
    let (Expr::Like {
        pattern,
        escape_char,
        ..
    }
    | Expr::ILike {
        pattern,
        escape_char,
        ..
    }) = expr
    else {
        return Ok(());
    };
    let escape = match escape_char.as_ref().map(|value| &value.value) {
        None => '\\',
        Some(Value::SingleQuotedString(text)) => {
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(escape), None) => escape,
                _ => return Ok(()),
            }
        }
        Some(_) => return Ok(()),
    };
    let Expr::Value(text) = pattern.as_mut() else {
        return Ok(());
    };
    let Value::SingleQuotedString(text) = &mut text.value else {
        return Ok(());
    };
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != escape {
            match c {
                '\\' => escaped.push_str("\\\\"),
                c => escaped.push(c),
            }
            continue;
        }
        match characters.next() {
            Some(next @ ('%' | '_')) => escaped.extend(['\\', next]),
            Some(next) if next == escape && next == '\\' => escaped.push_str("\\\\"),
            Some(next) if next == escape => escaped.push(next),
            Some(next) => {
                return plan_err!(
                    "[INVALID_FORMAT.ESC_IN_THE_MIDDLE] the pattern '{text}' has the escape {escape} before {next}; it may \
                     stand only before %, _ and itself"
                );
            }
            None => {
                return plan_err!(
                    "[INVALID_FORMAT.ESC_AT_THE_END] the pattern '{text}' ends with the escape {escape}; write it twice"
                );
            }
        }
    }
    *text = escaped;
    *escape_char = None;
    Ok(())
}

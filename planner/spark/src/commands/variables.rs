//! Reads statements about session variables: DECLARE, SET VAR and DROP TEMPORARY VARIABLE.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;

/// A statement about variables. Names are in lower case, and without `session`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableChange {
    /// `DECLARE [OR REPLACE] [VARIABLE] x [INT] [DEFAULT 1]`.
    Declare {
        /// Names of the variables.
        names: Vec<String>,
        /// Type in SQL; `None` for that of the default.
        data_type: Option<String>,
        /// Expression of the first value; `None` for null.
        default: Option<String>,
        /// Whether existing variables are replaced.
        or_replace: bool,
    },
    /// `SET VAR x = 1, y = DEFAULT`, with names and expressions.
    Assign(Vec<(String, String)>),
    /// `SET VAR (x, y) = (SELECT 1, 2)`.
    AssignRow {
        /// Names of the variables.
        names: Vec<String>,
        /// A query that returns at most one row.
        query: String,
    },
    /// `DROP TEMPORARY VARIABLE [IF EXISTS] x`.
    Drop {
        /// Name of the variable.
        name: String,
        /// Whether an unknown variable is an error.
        must_exist: bool,
    },
}

/// Reads a statement after its first words; `None` if it is no statement about variables.
///
/// # Errors
/// If a name or a value is missing.
pub(super) fn parse(cursor: &mut Cursor) -> Result<Option<VariableChange>> {
    if cursor.take_words(&["DECLARE"]) {
        return declare(cursor).map(Some);
    }
    if cursor.take_words(&["SET", "VAR"]) || cursor.take_words(&["SET", "VARIABLE"]) {
        return assign(cursor).map(Some);
    }
    let is_drop = cursor.take_words(&["DROP", "TEMPORARY", "VARIABLE"])
        || cursor.take_words(&["DROP", "TEMPORARY", "VAR"]);
    if !is_drop {
        return Ok(None);
    }
    let must_exist = !cursor.take_words(&["IF", "EXISTS"]);
    let name = name(cursor)?;
    cursor.expect_end("DROP TEMPORARY VARIABLE")?;
    Ok(Some(VariableChange::Drop { name, must_exist }))
}

fn declare(cursor: &mut Cursor) -> Result<VariableChange> {
    let or_replace = cursor.take_words(&["OR", "REPLACE"]);
    let _ = cursor.take_words(&["VARIABLE"]) || cursor.take_words(&["VAR"]);
    let mut names = vec![name(cursor)?];
    while cursor.take_token(&Token::Comma) {
        names.push(name(cursor)?);
    }
    let is_value = |token: &Token| {
        *token == Token::Eq
            || matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("DEFAULT"))
    };
    let data_type = cursor.take_until(is_value);
    let has_default = cursor.take_token(&Token::Eq) || cursor.take_words(&["DEFAULT"]);
    let default = has_default.then(|| cursor.rest());
    if data_type.is_empty() && default.is_none() {
        return plan_err!("DECLARE {} needs a type or a DEFAULT", names.join(", "));
    }
    Ok(VariableChange::Declare {
        names,
        data_type: (!data_type.is_empty()).then_some(data_type),
        default,
        or_replace,
    })
}

fn assign(cursor: &mut Cursor) -> Result<VariableChange> {
    if cursor.is_token(&Token::LParen) {
        let list = cursor.take_parenthesized()?.unwrap_or_default();
        let mut list = Cursor::new(&list)?;
        let mut names = vec![name(&mut list)?];
        while list.take_token(&Token::Comma) {
            names.push(name(&mut list)?);
        }
        if !cursor.take_token(&Token::Eq) {
            return plan_err!("SET VAR: expected =, not {}", cursor.next_shown());
        }
        return match cursor.take_parenthesized()? {
            Some(query) => Ok(VariableChange::AssignRow { names, query }),
            None => plan_err!(
                "SET VAR ({}) takes a query in parentheses, not {}",
                names.join(", "),
                cursor.next_shown()
            ),
        };
    }
    let mut assignments: Vec<(String, String)> = Vec::new();
    loop {
        let name = name(cursor)?;
        if !cursor.take_token(&Token::Eq) {
            return plan_err!("SET VAR {name}: expected =, not {}", cursor.next_shown());
        }
        let value = cursor.take_until(|token| *token == Token::Comma);
        if assignments.iter().any(|(other, _)| *other == name) {
            return plan_err!("[DUPLICATE_ASSIGNMENTS] SET VAR has the variable {name} twice");
        }
        assignments.push((name, value));
        if !cursor.take_token(&Token::Comma) {
            return Ok(VariableChange::Assign(assignments));
        }
    }
}

/// Reads `x`, `session.x` or `system.session.x`.
fn name(cursor: &mut Cursor) -> Result<String> {
    let parts: Vec<String> = cursor.name()?;
    let parts: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [name] | ["session", name] | ["system", "session", name] => Ok((*name).to_owned()),
        _ => plan_err!(
            "{} is no name of a variable; variables are in system.session",
            parts.join(".")
        ),
    }
}

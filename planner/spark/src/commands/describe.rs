//! Reads DESCRIBE, or DESC: of tables, columns, queries, functions and databases.

use datafusion::common::{Result, plan_err};

use super::alter::DATABASE_WORDS;
use super::cursor::Cursor;
use super::{Command, SessionCommand};

/// What a DESCRIBE shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Describe {
    /// `DESCRIBE [TABLE] [EXTENDED] t [column]`.
    Table {
        /// Parts of the table's name.
        table: Vec<String>,
        /// Name of a column; `None` for all.
        column: Option<String>,
        /// Whether the table's folder and properties are shown, too.
        is_extended: bool,
    },
    /// `DESCRIBE FUNCTION f`.
    Function(String),
    /// `DESCRIBE DATABASE d`.
    Database(Vec<String>),
}

/// Words that begin a query.
const QUERIES: [&str; 5] = ["SELECT", "WITH", "VALUES", "FROM", "MAP"];

/// Reads a statement after `DESCRIBE`.
///
/// # Errors
/// If a name is missing, or something follows it.
pub(super) fn parse(cursor: &mut Cursor) -> Result<Command> {
    if cursor.take_words(&["QUERY"]) || QUERIES.iter().any(|word| cursor.is_word(word)) {
        return Ok(Command::DescribeQuery(cursor.rest()));
    }
    parse_name(cursor).map(|describe| Command::Session(SessionCommand::Describe(describe)))
}

/// Reads what is not a query.
fn parse_name(cursor: &mut Cursor) -> Result<Describe> {
    let is_long = |cursor: &mut Cursor| cursor.take_one_of(&["EXTENDED", "FORMATTED"]);
    if cursor.take_words(&["FUNCTION"]) {
        is_long(cursor);
        let name = match cursor.text() {
            Some(name) => name,
            None => cursor.name()?.pop().unwrap_or_default(),
        };
        cursor.expect_end("DESCRIBE FUNCTION")?;
        return Ok(Describe::Function(name));
    }
    if cursor.take_one_of(&DATABASE_WORDS) {
        is_long(cursor);
        let name = cursor.name()?;
        cursor.expect_end("DESCRIBE DATABASE")?;
        return Ok(Describe::Database(name));
    }
    cursor.take_words(&["TABLE"]);
    let is_extended = is_long(cursor);
    let table = cursor.name()?;
    if cursor.is_word("PARTITION") {
        return plan_err!(
            "DESCRIBE TABLE {} PARTITION is not supported; SHOW PARTITIONS lists the partitions",
            table.join(".")
        );
    }
    let column = match cursor.is_at_end() {
        true => None,
        false => Some(cursor.name()?.join(".")),
    };
    cursor.expect_end("DESCRIBE TABLE")?;
    Ok(Describe::Table {
        table,
        column,
        is_extended,
    })
}

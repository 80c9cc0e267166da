//! Reads ALTER TABLE, TRUNCATE TABLE, and CREATE and DROP DATABASE.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::ColumnOption;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::show::property_name;
use super::table::properties;
use crate::dialect::SparkDialect;

/// Keys of partitions with their values; a key without a value has any.
pub type Partition = Vec<(String, Option<String>)>;

/// A change of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableChange {
    /// `ADD COLUMNS (a INT, b STRING)`, with the definitions as text.
    AddColumns(String),
    /// `ADD PARTITION (a = 1)`.
    AddPartitions(Vec<Partition>),
    /// `DROP [IF EXISTS] PARTITION (a = 1)`.
    DropPartitions {
        /// Partitions to drop.
        partitions: Vec<Partition>,
        /// Whether one that does not exist is an error.
        must_exist: bool,
    },
    /// `RENAME TO name`.
    Rename(Vec<String>),
    /// `SET TBLPROPERTIES ('a' = 'b')`.
    SetProperties(Vec<(String, String)>),
    /// `UNSET TBLPROPERTIES ('a')`.
    UnsetProperties(Vec<String>),
}

/// A statement about a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseChange {
    /// `CREATE DATABASE [IF NOT EXISTS] d`.
    Create {
        /// Parts of the name.
        name: Vec<String>,
        /// Whether an existing database is an error.
        must_be_new: bool,
    },
    /// `DROP DATABASE [IF EXISTS] d`.
    Drop {
        /// Parts of the name.
        name: Vec<String>,
        /// Whether an unknown database is an error.
        must_exist: bool,
    },
}

/// Words of a database, which mean the same.
pub(super) const DATABASE_WORDS: [&str; 3] = ["DATABASE", "SCHEMA", "NAMESPACE"];

/// Reads a statement after `ALTER TABLE`: the table's name and the change.
///
/// # Errors
/// If the change is unknown or not supported.
pub(super) fn parse(cursor: &mut Cursor) -> Result<(Vec<String>, TableChange)> {
    let table = cursor.name()?;
    let change = if cursor.take_words(&["ADD"]) {
        add(cursor)?
    } else if cursor.take_words(&["DROP"]) && drops_partition(cursor) {
        let must_exist = !cursor.take_words(&["IF", "EXISTS"]);
        let partitions = partitions(cursor)?;
        cursor.take_words(&["PURGE"]);
        TableChange::DropPartitions {
            partitions,
            must_exist,
        }
    } else if cursor.take_words(&["RENAME", "TO"]) {
        TableChange::Rename(cursor.name()?)
    } else if cursor.take_words(&["SET", "TBLPROPERTIES"]) {
        TableChange::SetProperties(properties(cursor, "TBLPROPERTIES")?)
    } else if cursor.take_words(&["UNSET", "TBLPROPERTIES"]) {
        cursor.take_words(&["IF", "EXISTS"]);
        TableChange::UnsetProperties(property_names(cursor)?)
    } else {
        return plan_err!(
            "ALTER TABLE {}: the supported changes are ADD COLUMNS, ADD PARTITION, DROP PARTITION, RENAME TO, SET and UNSET \
             TBLPROPERTIES; for any other, write a new table with CREATE TABLE … AS SELECT",
            table.join(".")
        );
    };
    cursor.expect_end("ALTER TABLE")?;
    Ok((table, change))
}

fn drops_partition(cursor: &mut Cursor) -> bool {
    cursor.is_word("PARTITION") || cursor.is_word("IF")
}

fn add(cursor: &mut Cursor) -> Result<TableChange> {
    if cursor.take_words(&["COLUMNS"]) || cursor.take_words(&["COLUMN"]) {
        let columns = match cursor.take_parenthesized()? {
            Some(columns) => columns,
            None => cursor.rest(),
        };
        return Ok(TableChange::AddColumns(columns));
    }
    cursor.take_words(&["IF", "NOT", "EXISTS"]);
    let mut partitions = Vec::new();
    while cursor.take_words(&["PARTITION"]) {
        partitions.push(partition(cursor)?);
        if cursor.take_words(&["LOCATION"]) {
            return plan_err!(
                "ADD PARTITION with LOCATION is not supported: partitions are the folders below the table's folder"
            );
        }
        cursor.take_token(&Token::Comma);
    }
    match partitions.is_empty() {
        true => plan_err!(
            "ALTER TABLE … ADD takes COLUMNS or PARTITION, not {}",
            cursor.next_shown()
        ),
        false => Ok(TableChange::AddPartitions(partitions)),
    }
}

fn partitions(cursor: &mut Cursor) -> Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    while cursor.take_words(&["PARTITION"]) {
        partitions.push(partition(cursor)?);
        cursor.take_token(&Token::Comma);
    }
    match partitions.is_empty() {
        true => plan_err!("expected PARTITION, not {}", cursor.next_shown()),
        false => Ok(partitions),
    }
}

/// Reads `(a = 1, b)`.
pub(super) fn partition(cursor: &mut Cursor) -> Result<Partition> {
    let mut partition = Partition::new();
    if !cursor.take_token(&Token::LParen) {
        return plan_err!("PARTITION needs a list in parentheses, such as (a = 1)");
    }
    while !cursor.take_token(&Token::RParen) {
        let key = cursor.name()?.join(".");
        let value = match cursor.take_token(&Token::Eq) {
            true => Some(partition_value(cursor)?),
            false => None,
        };
        partition.push((key, value));
        if !cursor.take_token(&Token::Comma) && !cursor.is_token(&Token::RParen) {
            return plan_err!(
                "PARTITION takes values such as (a = 1), not {}",
                cursor.next_shown()
            );
        }
    }
    match partition.is_empty() {
        true => plan_err!("PARTITION needs a key, such as (a = 1)"),
        false => Ok(partition),
    }
}

/// Reads a literal as the text that the name of its folder has.
fn partition_value(cursor: &mut Cursor) -> Result<String> {
    let sign = match cursor.take_token(&Token::Minus) {
        true => "-",
        false => "",
    };
    let value = cursor.value()?;
    if value.eq_ignore_ascii_case("date") || value.eq_ignore_ascii_case("timestamp") {
        return Ok(cursor.text().unwrap_or(value));
    }
    Ok(match value.eq_ignore_ascii_case("null") {
        true => "__HIVE_DEFAULT_PARTITION__".to_owned(),
        false => format!("{sign}{value}"),
    })
}

fn property_names(cursor: &mut Cursor) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if !cursor.take_token(&Token::LParen) {
        return plan_err!("TBLPROPERTIES needs a list in parentheses, such as ('a', 'b')");
    }
    while !cursor.take_token(&Token::RParen) {
        names.push(property_name(cursor)?);
        cursor.take_token(&Token::Comma);
        if cursor.is_at_end() {
            return plan_err!("the list of TBLPROPERTIES is not closed");
        }
    }
    Ok(names)
}

/// Reads a statement after its `CREATE`; `None` if it creates something else.
pub(super) fn create_database(cursor: &mut Cursor) -> Result<Option<DatabaseChange>> {
    if !cursor.take_one_of(&DATABASE_WORDS) {
        return Ok(None);
    }
    let must_be_new = !cursor.take_words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name()?;
    Ok(Some(DatabaseChange::Create { name, must_be_new }))
}

/// Reads a statement after its `DROP`; `None` if it drops something else.
pub(super) fn drop_database(cursor: &mut Cursor) -> Result<Option<DatabaseChange>> {
    if !cursor.take_one_of(&DATABASE_WORDS) {
        return Ok(None);
    }
    let must_exist = !cursor.take_words(&["IF", "EXISTS"]);
    let name = cursor.name()?;
    Ok(Some(DatabaseChange::Drop { name, must_exist }))
}

/// Returns the comments of column definitions such as `a INT COMMENT 'x', b STRING`, by the names of the columns.
#[must_use]
pub fn column_comments(definitions: &str) -> Vec<(String, String)> {
    let parsed = Parser::new(&SparkDialect)
        .try_with_sql(&format!("({definitions})"))
        .and_then(|mut parser| parser.parse_columns());
    let Ok((columns, _)) = parsed else {
        return Vec::new();
    };
    let comment = |options: Vec<_>| {
        options.into_iter().find_map(|option| match option {
            ColumnOption::Comment(comment) => Some(comment),
            _ => None,
        })
    };
    columns
        .into_iter()
        .filter_map(|column| {
            let options = column.options.into_iter().map(|option| option.option);
            comment(options.collect()).map(|comment| (column.name.value, comment))
        })
        .collect()
}

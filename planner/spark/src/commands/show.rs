//! Reads SHOW: of databases, tables, columns, partitions, functions and properties.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::alter::{Partition, partition};
use super::cursor::Cursor;

/// What a SHOW lists. In a pattern, `*` is any text and `|` separates alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// `SHOW DATABASES [LIKE 'pattern']`.
    Databases {
        /// Names to show.
        pattern: Option<String>,
    },
    /// `SHOW CATALOGS [LIKE 'pattern']`.
    Catalogs {
        /// Names to show.
        pattern: Option<String>,
    },
    /// `SHOW TABLES [IN default] [LIKE 'pattern']`.
    Tables {
        /// Parts of the database's name.
        database: Option<Vec<String>>,
        /// Names to show.
        pattern: Option<String>,
    },
    /// `SHOW VIEWS [IN default] [LIKE 'pattern']`.
    Views {
        /// Parts of the database's name.
        database: Option<Vec<String>>,
        /// Names to show.
        pattern: Option<String>,
    },
    /// `SHOW COLUMNS IN t`.
    Columns {
        /// Parts of the table's name.
        table: Vec<String>,
    },
    /// `SHOW PARTITIONS t [PARTITION (a = 1)]`.
    Partitions {
        /// Parts of the table's name.
        table: Vec<String>,
        /// Values that the partitions have.
        partition: Partition,
    },
    /// `SHOW CREATE TABLE t`.
    CreateTable {
        /// Parts of the table's name.
        table: Vec<String>,
    },
    /// `SHOW TBLPROPERTIES t [('key')]`.
    Properties {
        /// Parts of the table's name.
        table: Vec<String>,
        /// Name of a property; `None` for all.
        key: Option<String>,
    },
    /// `SHOW [SYSTEM|USER|ALL] FUNCTIONS [LIKE 'pattern']`.
    Functions {
        /// Whether those that the session defines are shown, those of Faísca, or both.
        kind: FunctionKind,
        /// Names to show.
        pattern: Option<String>,
    },
    /// `SHOW CURRENT DATABASE`.
    CurrentDatabase,
    /// `SET spark.sql.x`, which shows a setting, or `SET`, which shows those with an effect.
    Settings {
        /// Name of the setting.
        name: Option<String>,
    },
}

/// Where functions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// Anywhere.
    All,
    /// `SYSTEM`: Faísca has them.
    System,
    /// `USER`: the session has defined them.
    User,
}

/// Reads a statement after `SHOW`; `None` for what DataFusion shows.
///
/// # Errors
/// If a name is missing, or the statement is one of Spark's that is not supported.
pub(super) fn parse(cursor: &mut Cursor) -> Result<Option<Show>> {
    if cursor.take_one_of(&["DATABASES", "SCHEMAS", "NAMESPACES"]) {
        let pattern = pattern(cursor)?;
        return at_end(cursor, Show::Databases { pattern });
    }
    if cursor.take_words(&["CATALOGS"]) {
        let pattern = pattern(cursor)?;
        return at_end(cursor, Show::Catalogs { pattern });
    }
    if cursor.take_words(&["CURRENT", "DATABASE"])
        || cursor.take_words(&["CURRENT", "SCHEMA"])
        || cursor.take_words(&["CURRENT", "NAMESPACE"])
    {
        return at_end(cursor, Show::CurrentDatabase);
    }
    if cursor.take_words(&["TABLES"]) {
        let database = database(cursor)?;
        let pattern = pattern(cursor)?;
        return at_end(cursor, Show::Tables { database, pattern });
    }
    if cursor.take_words(&["VIEWS"]) {
        let database = database(cursor)?;
        let pattern = pattern(cursor)?;
        return at_end(cursor, Show::Views { database, pattern });
    }
    if cursor.take_words(&["TABLE", "EXTENDED"]) {
        return plan_err!(
            "SHOW TABLE EXTENDED is not supported; use SHOW TABLES and DESCRIBE TABLE EXTENDED"
        );
    }
    if cursor.take_words(&["COLUMNS"]) {
        return columns(cursor);
    }
    if cursor.take_words(&["PARTITIONS"]) {
        let table = cursor.name()?;
        let partition = match cursor.take_words(&["PARTITION"]) {
            true => partition(cursor)?,
            false => Partition::new(),
        };
        return at_end(cursor, Show::Partitions { table, partition });
    }
    if cursor.take_words(&["CREATE", "TABLE"]) {
        let table = cursor.name()?;
        cursor.take_words(&["AS", "SERDE"]);
        return at_end(cursor, Show::CreateTable { table });
    }
    if cursor.take_words(&["TBLPROPERTIES"]) {
        let table = cursor.name()?;
        let key = match cursor.take_token(&Token::LParen) {
            true => {
                let key = property_name(cursor)?;
                cursor.take_token(&Token::RParen);
                Some(key)
            }
            false => None,
        };
        return at_end(cursor, Show::Properties { table, key });
    }
    functions(cursor)
}

/// Reads the rest of `SHOW COLUMNS IN t [IN database]`.
fn columns(cursor: &mut Cursor) -> Result<Option<Show>> {
    if !take_in(cursor) {
        return Ok(None);
    }
    let mut table = cursor.name()?;
    if take_in(cursor) {
        let mut name = cursor.name()?;
        name.append(&mut table);
        table = name;
    }
    at_end(cursor, Show::Columns { table })
}

fn functions(cursor: &mut Cursor) -> Result<Option<Show>> {
    let kinds = [
        (&["FUNCTIONS"][..], FunctionKind::All),
        (&["ALL", "FUNCTIONS"], FunctionKind::All),
        (&["SYSTEM", "FUNCTIONS"], FunctionKind::System),
        (&["USER", "FUNCTIONS"], FunctionKind::User),
    ];
    let kind = kinds
        .into_iter()
        .find(|(words, _)| cursor.take_words(words))
        .map(|(_, kind)| kind);
    let Some(kind) = kind else {
        return Ok(None);
    };
    database(cursor)?;
    let pattern = match pattern(cursor)? {
        None if !cursor.is_at_end() => Some(cursor.name()?.join(".")),
        pattern => pattern,
    };
    at_end(cursor, Show::Functions { kind, pattern })
}

fn take_in(cursor: &mut Cursor) -> bool {
    cursor.take_one_of(&["IN", "FROM"])
}

fn database(cursor: &mut Cursor) -> Result<Option<Vec<String>>> {
    match take_in(cursor) {
        true => cursor.name().map(Some),
        false => Ok(None),
    }
}

/// Reads `[LIKE] 'pattern'`.
fn pattern(cursor: &mut Cursor) -> Result<Option<String>> {
    let is_needed = cursor.take_words(&["LIKE"]);
    match cursor.text() {
        None if is_needed => plan_err!("LIKE takes a text, such as 'a*|b'"),
        pattern => Ok(pattern),
    }
}

/// Reads the name of a property, as text or as `a.b`.
pub(super) fn property_name(cursor: &mut Cursor) -> Result<String> {
    let mut name = cursor.value()?;
    while cursor.take_token(&Token::Period) {
        name = format!("{name}.{}", cursor.value()?);
    }
    Ok(name)
}

fn at_end(cursor: &mut Cursor, show: Show) -> Result<Option<Show>> {
    cursor.expect_end("SHOW")?;
    Ok(Some(show))
}

//! `CREATE TABLE` as Spark writes it: clauses in any order after the columns.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::show::property_name;

/// Definition of a table of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// Parts of the name, such as a database and a table.
    pub name: Vec<String>,
    /// What happens if a table of this name exists.
    pub on_existing: OnExisting,
    /// The rows or the columns that the table begins with.
    pub source: TableSource,
    /// Format of the files; `None` for the default.
    pub format: Option<String>,
    /// Folder of the files; `None` for one in the warehouse, which belongs to the table.
    pub location: Option<String>,
    /// Options of the format, with names as written.
    pub options: Vec<(String, String)>,
    /// Columns whose values are in the names of folders.
    pub partition_by: Vec<String>,
    /// What the table is for.
    pub comment: Option<String>,
    /// Properties, which change nothing.
    pub properties: Vec<(String, String)>,
}

/// What a statement that creates a table does if one of this name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// It fails.
    Fail,
    /// `IF NOT EXISTS`: it keeps the table and does nothing.
    Keep,
    /// `OR REPLACE`: it replaces the table.
    Replace,
}

impl OnExisting {
    /// Returns the meaning of the two clauses of a statement. `OR REPLACE` wins.
    #[must_use]
    pub fn from_clauses(or_replace: bool, if_not_exists: bool) -> Self {
        match (or_replace, if_not_exists) {
            (true, _) => Self::Replace,
            (false, true) => Self::Keep,
            (false, false) => Self::Fail,
        }
    }
}

/// What a table begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableSource {
    /// These columns, as in `a INT, b STRING`, and no rows unless the folder has some.
    Columns(String),
    /// The rows of this query.
    Query(String),
    /// The files that the location has.
    Files,
}

/// Reads a statement after its `CREATE`; `None` if it creates something else, or a table that
/// DataFusion creates.
pub(super) fn parse(cursor: &mut Cursor) -> Result<Option<CreateTable>> {
    let or_replace = cursor.take_words(&["OR", "REPLACE"]);
    if !cursor.take_words(&["TABLE"]) {
        return Ok(None);
    }
    let if_not_exists = cursor.take_words(&["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        name: cursor.name()?,
        on_existing: OnExisting::from_clauses(or_replace, if_not_exists),
        source: TableSource::Files,
        format: None,
        location: None,
        options: Vec::new(),
        partition_by: Vec::new(),
        comment: None,
        properties: Vec::new(),
    };
    let mut columns = cursor.take_parenthesized()?;
    let mut has_clauses = false;
    while let Some(clause) = Clause::next(cursor) {
        has_clauses = true;
        clause.read(cursor, &mut table, &mut columns)?;
    }
    if cursor.take_words(&["AS"]) || !cursor.is_at_end() && columns.is_none() {
        if !has_clauses {
            return Ok(None);
        }
        table.source = TableSource::Query(cursor.rest());
    } else if let Some(columns) = columns {
        if !cursor.is_at_end() {
            return plan_err!(
                "CREATE TABLE {}: unexpected {}; the clauses are USING, OPTIONS, PARTITIONED BY, LOCATION, COMMENT, \
                 TBLPROPERTIES and AS",
                table.name.join("."),
                cursor.next_shown()
            );
        }
        table.source = TableSource::Columns(columns);
    }
    Ok(Some(table))
}

#[derive(Clone, Copy)]
enum Clause {
    Using,
    StoredAs,
    Options,
    PartitionedBy,
    Location,
    /// Says nothing about rows: `COMMENT`, `TBLPROPERTIES`, `CLUSTERED BY`.
    Comment,
    Properties,
    Buckets,
}

impl Clause {
    /// Skips the words that begin a clause.
    fn next(cursor: &mut Cursor) -> Option<Self> {
        let clauses: [(&[&str], Self); 8] = [
            (&["USING"], Self::Using),
            (&["STORED", "AS"], Self::StoredAs),
            (&["OPTIONS"], Self::Options),
            (&["PARTITIONED", "BY"], Self::PartitionedBy),
            (&["LOCATION"], Self::Location),
            (&["COMMENT"], Self::Comment),
            (&["TBLPROPERTIES"], Self::Properties),
            (&["CLUSTERED", "BY"], Self::Buckets),
        ];
        clauses
            .into_iter()
            .find(|(words, _)| cursor.take_words(words))
            .map(|(_, clause)| clause)
    }

    fn read(
        self,
        cursor: &mut Cursor,
        table: &mut CreateTable,
        columns: &mut Option<String>,
    ) -> Result<()> {
        match self {
            Self::Using => table.format = cursor.name()?.pop(),
            Self::StoredAs => table.format = Some(cursor.value()?),
            Self::Options => table.options = properties(cursor, "OPTIONS")?,
            Self::PartitionedBy => partitions(cursor, table, columns)?,
            Self::Location => table.location = Some(cursor.value()?),
            Self::Comment => table.comment = Some(cursor.value()?),
            Self::Properties => table.properties = properties(cursor, "TBLPROPERTIES")?,
            Self::Buckets => {
                cursor.take_parenthesized()?;
                if cursor.take_words(&["SORTED", "BY"]) {
                    cursor.take_parenthesized()?;
                }
                if cursor.take_words(&["INTO"]) {
                    cursor.value()?;
                    cursor.take_words(&["BUCKETS"]);
                }
            }
        }
        Ok(())
    }
}

/// Reads `(key 'value', a.b = 1)` after the words of a clause.
///
/// # Errors
/// If there is no such list.
pub(super) fn properties(cursor: &mut Cursor, clause: &str) -> Result<Vec<(String, String)>> {
    let mut properties = Vec::new();
    if !cursor.take_token(&Token::LParen) {
        return plan_err!("{clause} needs a list in parentheses, such as (header 'true')");
    }
    while !cursor.take_token(&Token::RParen) {
        let name = property_name(cursor)?;
        cursor.take_token(&Token::Eq);
        properties.push((name, cursor.value()?));
        cursor.take_token(&Token::Comma);
    }
    Ok(properties)
}

/// `(a, b)` names columns, and `(a INT)` adds them to the others, as in Hive.
fn partitions(
    cursor: &mut Cursor,
    table: &mut CreateTable,
    columns: &mut Option<String>,
) -> Result<()> {
    let Some(text) = cursor.take_parenthesized()? else {
        return plan_err!("PARTITIONED BY needs a list in parentheses");
    };
    let mut list = Cursor::new(&text)?;
    let mut has_types = false;
    while !list.is_at_end() {
        table.partition_by.push(list.name()?.join("."));
        if !list.take_token(&Token::Comma) && !list.is_at_end() {
            has_types = true;
            list.skip_to_comma();
        }
    }
    if has_types {
        *columns = Some(match columns.take() {
            Some(others) => format!("{others}, {text}"),
            None => text,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Command;

    fn read(sql: &str) -> Option<CreateTable> {
        match Command::parse(sql).unwrap() {
            Some(Command::CreateTable(table)) => Some(table),
            _ => None,
        }
    }

    #[test]
    fn clauses_follow_the_columns_in_any_order() {
        let table = read(
            "create table if not exists db.t (a int, m map<string, int>) partitioned by (a) \
             options (header 'true', sep = ';') using csv comment 'x' location '/data/t'",
        )
        .unwrap();
        assert_eq!(table.name, ["db", "t"]);
        assert_eq!(table.on_existing, OnExisting::Keep);
        assert_eq!(
            table.source,
            TableSource::Columns("a int, m map<string, int>".to_owned())
        );
        assert_eq!(table.format.as_deref(), Some("csv"));
        assert_eq!(table.location.as_deref(), Some("/data/t"));
        assert_eq!(table.partition_by, ["a"]);
        let options = [("header", "true"), ("sep", ";")];
        assert_eq!(table.options, options.map(|(k, v)| (k.into(), v.into())));
    }

    #[test]
    fn partitions_with_types_are_columns_too() {
        let table =
            read("CREATE TABLE t (a INT) PARTITIONED BY (d DATE, k DECIMAL(5, 2))").unwrap();
        assert_eq!(table.partition_by, ["d", "k"]);
        let columns = "a INT, d DATE, k DECIMAL(5, 2)";
        assert_eq!(table.source, TableSource::Columns(columns.to_owned()));
    }

    #[test]
    fn a_query_keeps_its_text() {
        let table = read("CREATE TABLE t USING parquet AS SELECT 'it\\'s' AS `a b`;").unwrap();
        let query = "SELECT 'it\\'s' AS `a b`";
        assert_eq!(table.source, TableSource::Query(query.to_owned()));
        assert_eq!(read("CREATE TABLE t AS SELECT 1"), None);
        assert_eq!(read("CREATE VIEW t AS SELECT 1"), None);
        let error = Command::parse("CREATE TABLE t (a INT) SKEWED BY (a)").unwrap_err();
        assert!(error.to_string().contains("PARTITIONED BY"), "{error}");
    }
}

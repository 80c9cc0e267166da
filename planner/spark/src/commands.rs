//! Parses statements that only Spark has: `CREATE TABLE … USING`, `SET`, `USE`, `SHOW`. The
//! driver's session runs them.

mod alter;
mod cursor;
mod describe;
mod inserts;
mod show;
mod table;
mod variables;

use datafusion::common::{Result, plan_err};

pub use alter::{DatabaseChange, Partition, TableChange, column_comments};
use cursor::Cursor;
pub use describe::Describe;
pub use inserts::{Insert, InsertColumns};
pub use show::{FunctionKind, Show};
pub use table::{CreateTable, OnExisting, TableSource};
pub use variables::VariableChange;

/// A statement that changes the session or its tables, or shows what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CREATE TABLE … USING format`, or `CREATE TABLE t (a INT)`.
    CreateTable(CreateTable),
    /// `CACHE TABLE t AS SELECT …`, which names a query.
    CacheQuery {
        /// Parts of the name.
        name: Vec<String>,
        /// The query.
        query: String,
    },
    /// `DESCRIBE [QUERY] SELECT …`, with the query.
    DescribeQuery(String),
    /// `FROM s INSERT INTO a SELECT x INSERT INTO b SELECT y`, as statements that run one after the other.
    Inserts(Vec<String>),
    /// `INSERT INTO t PARTITION (k = 1) SELECT …`, or `INSERT INTO t BY NAME SELECT …`.
    Insert(Insert),
    /// `DECLARE x INT`, `SET VAR x = 1`, or `DROP TEMPORARY VARIABLE x`.
    Variables(VariableChange),
    /// A statement that runs no query.
    Session(SessionCommand),
}

/// A statement about settings, names and hints for speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionCommand {
    /// `SET spark.… = value`.
    Set {
        /// Name of the setting, with its prefix.
        name: String,
        /// Text after the equals sign.
        value: String,
    },
    /// `RESET spark.…`, or `RESET` for all settings.
    Reset {
        /// Name of the setting, with its prefix.
        name: Option<String>,
    },
    /// `TRUNCATE TABLE t [PARTITION (a = 1)]`.
    Truncate {
        /// Parts of the table's name.
        name: Vec<String>,
        /// Values of the rows to delete; empty for all rows.
        partition: Partition,
    },
    /// `ALTER TABLE t …`.
    Alter {
        /// Parts of the table's name.
        table: Vec<String>,
        /// What changes.
        change: TableChange,
    },
    /// `CREATE DATABASE d`, or `DROP DATABASE d`.
    Database(DatabaseChange),
    /// `DESCRIBE …`.
    Describe(Describe),
    /// `SHOW …`.
    Show(Show),
    /// `USE default`.
    Use {
        /// Parts of the database's name.
        name: Vec<String>,
    },
    /// A statement for speed that changes no rows: `ANALYZE TABLE`, `CACHE TABLE t`, `REFRESH TABLE`.
    NoEffect {
        /// The words that it begins with.
        statement: &'static str,
        /// Parts of the name of the table that it needs.
        table: Option<Vec<String>>,
    },
}

impl Command {
    /// Reads a statement; `None` if DataFusion's parser reads it.
    ///
    /// # Errors
    /// If the statement begins like one of these and then has a clause that is unknown.
    pub fn parse(sql: &str) -> Result<Option<Self>> {
        let mut cursor = Cursor::new(sql)?;
        if let Some(statements) = inserts::split(cursor.tokens()) {
            return Ok(Some(Self::Inserts(statements)));
        }
        if let Some(insert) = inserts::parse(&mut cursor)? {
            return Ok(Some(Self::Insert(insert)));
        }
        if let Some(change) = variables::parse(&mut cursor)? {
            return Ok(Some(Self::Variables(change)));
        }
        if cursor.take_words(&["CREATE"]) {
            if let Some(change) = alter::create_database(&mut cursor)? {
                return Ok(Some(Self::Session(SessionCommand::Database(change))));
            }
            return Ok(table::parse(&mut cursor)?.map(Self::CreateTable));
        }
        if cursor.take_words(&["CACHE", "LAZY", "TABLE"]) || cursor.take_words(&["CACHE", "TABLE"])
        {
            return cache(&mut cursor).map(Some);
        }
        if cursor.take_words(&["DESCRIBE"]) || cursor.take_words(&["DESC"]) {
            return describe::parse(&mut cursor).map(Some);
        }
        Ok(session_command(&mut cursor)?.map(Self::Session))
    }
}

/// The rest of a statement after `CACHE TABLE`.
fn cache(cursor: &mut Cursor) -> Result<Command> {
    let name = cursor.name()?;
    if cursor.take_words(&["OPTIONS"]) {
        cursor.take_parenthesized()?;
    }
    let has_query = cursor.take_words(&["AS"]) || !cursor.is_at_end();
    if has_query {
        let query = cursor.rest();
        return Ok(Command::CacheQuery { name, query });
    }
    Ok(Command::Session(SessionCommand::NoEffect {
        statement: "CACHE TABLE",
        table: Some(name),
    }))
}

fn session_command(cursor: &mut Cursor) -> Result<Option<SessionCommand>> {
    if cursor.take_words(&["SET", "SPARK"]) {
        return Ok(Some(set(cursor)));
    }
    if cursor.take_words(&["SET"]) && cursor.is_at_end() {
        let settings = Show::Settings { name: None };
        return Ok(Some(SessionCommand::Show(settings)));
    }
    cursor.restart();
    if cursor.take_words(&["SET", "TIME", "ZONE"]) {
        // `LOCAL` and intervals are left to the parser, which refuses them.
        return Ok(cursor.text().map(|value| SessionCommand::Set {
            name: "spark.sql.session.timeZone".to_owned(),
            value,
        }));
    }
    if cursor.take_words(&["TRUNCATE", "TABLE"]) {
        let name = cursor.name()?;
        let partition = match cursor.take_words(&["PARTITION"]) {
            true => alter::partition(cursor)?,
            false => Partition::new(),
        };
        cursor.expect_end("TRUNCATE TABLE")?;
        return Ok(Some(SessionCommand::Truncate { name, partition }));
    }
    if cursor.take_words(&["ALTER", "TABLE"]) {
        let (table, change) = alter::parse(cursor)?;
        return Ok(Some(SessionCommand::Alter { table, change }));
    }
    if cursor.take_words(&["DROP"]) {
        return Ok(alter::drop_database(cursor)?.map(SessionCommand::Database));
    }
    if cursor.take_words(&["RESET"]) {
        let name = cursor.rest();
        let name = name.trim_matches('`');
        let is_own = !name.is_empty() && !name.to_lowercase().starts_with("spark.");
        return Ok((!is_own).then(|| SessionCommand::Reset {
            name: (!name.is_empty()).then(|| name.to_owned()),
        }));
    }
    if cursor.take_words(&["USE"]) {
        let _ = cursor.take_words(&["DATABASE"])
            || cursor.take_words(&["SCHEMA"])
            || cursor.take_words(&["NAMESPACE"]);
        let name = cursor.name()?;
        return Ok(Some(SessionCommand::Use { name }));
    }
    if cursor.take_words(&["SHOW"]) {
        return Ok(show::parse(cursor)?.map(SessionCommand::Show));
    }
    check_row_changes(cursor)?;
    no_effect(cursor)
}

/// Refuses statements that change single rows.
///
/// # Errors
/// If the statement is one.
fn check_row_changes(cursor: &mut Cursor) -> Result<()> {
    let statements: [(&[&str], &str); 3] = [
        (&["DELETE", "FROM"], "DELETE"),
        (&["UPDATE"], "UPDATE"),
        (&["MERGE"], "MERGE"),
    ];
    for (words, name) in statements {
        if cursor.take_words(words) {
            return plan_err!(
                "{name} is not supported: tables are folders of files, whose single rows cannot be changed. Write the rows \
                 that the table shall have with INSERT OVERWRITE … SELECT"
            );
        }
    }
    Ok(())
}

/// A statement that counts data or frees memory, which no table here needs.
fn no_effect(cursor: &mut Cursor) -> Result<Option<SessionCommand>> {
    let statements: [(&[&str], &'static str); 5] = [
        (&["ANALYZE", "TABLE"], "ANALYZE TABLE"),
        (&["MSCK", "REPAIR", "TABLE"], "MSCK REPAIR TABLE"),
        (&["REPAIR", "TABLE"], "REPAIR TABLE"),
        (&["REFRESH", "TABLE"], "REFRESH TABLE"),
        (&["UNCACHE", "TABLE"], "UNCACHE TABLE"),
    ];
    if cursor.take_words(&["CLEAR", "CACHE"]) {
        return Ok(Some(SessionCommand::NoEffect {
            statement: "CLEAR CACHE",
            table: None,
        }));
    }
    let begun = statements
        .into_iter()
        .find(|(words, _)| cursor.take_words(words));
    let Some((_, statement)) = begun else {
        return Ok(None);
    };
    let may_be_unknown = cursor.take_words(&["IF", "EXISTS"]);
    let name = cursor.name()?;
    Ok(Some(SessionCommand::NoEffect {
        statement,
        table: (!may_be_unknown).then_some(name),
    }))
}

/// The rest of `SET spark.a.b = value` after `spark`. Without a value, the setting is shown.
fn set(cursor: &mut Cursor) -> SessionCommand {
    let text = cursor.rest();
    let name_of = |rest: &str| format!("spark{}", rest.trim().trim_end_matches('`'));
    let Some((name, value)) = text.split_once('=') else {
        let name = Some(name_of(&text));
        return SessionCommand::Show(Show::Settings { name });
    };
    let value = value.trim().trim_matches(['\'', '"', '`']);
    SessionCommand::Set {
        name: name_of(name),
        value: value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(command: SessionCommand) -> Option<Command> {
        Some(Command::Session(command))
    }

    #[test]
    fn settings_of_spark_have_any_text_as_value() {
        let read = |sql: &str| Command::parse(sql).unwrap();
        let set = |name: &str, value: &str| {
            session(SessionCommand::Set {
                name: name.to_owned(),
                value: value.to_owned(),
            })
        };
        assert_eq!(
            read("SET spark.sql.ansi.enabled = false"),
            set("spark.sql.ansi.enabled", "false")
        );
        assert_eq!(
            read("set spark.sql.optimizer.excludedRules=org.a,org.b;"),
            set("spark.sql.optimizer.excludedRules", "org.a,org.b")
        );
        assert_eq!(read("SET faisca.join_order = false"), None);
    }

    #[test]
    fn statements_of_sessions_are_read_and_others_are_left_to_the_parser() {
        let read = |sql: &str| Command::parse(sql).unwrap();
        let name = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let no_effect = |statement, table: Option<&str>| {
            session(SessionCommand::NoEffect {
                statement,
                table: table.map(name),
            })
        };
        let cases = [
            (
                "USE DATABASE default",
                session(SessionCommand::Use {
                    name: name("default"),
                }),
            ),
            ("RESET", session(SessionCommand::Reset { name: None })),
            (
                "reset spark.sql.x;",
                session(SessionCommand::Reset {
                    name: Some("spark.sql.x".to_owned()),
                }),
            ),
            ("RESET datafusion.execution.batch_size", None),
            (
                "SHOW TABLES IN default LIKE 'a*|b'",
                session(SessionCommand::Show(Show::Tables {
                    database: Some(name("default")),
                    pattern: Some("a*|b".to_owned()),
                })),
            ),
            (
                "SHOW COLUMNS FROM t IN default",
                session(SessionCommand::Show(Show::Columns {
                    table: name("default.t"),
                })),
            ),
            ("SHOW ALL", None),
            (
                "ANALYZE TABLE a.t COMPUTE STATISTICS FOR ALL COLUMNS",
                no_effect("ANALYZE TABLE", Some("a.t")),
            ),
            (
                "UNCACHE TABLE IF EXISTS t",
                no_effect("UNCACHE TABLE", None),
            ),
            ("CACHE LAZY TABLE t", no_effect("CACHE TABLE", Some("t"))),
            (
                "CACHE TABLE t OPTIONS ('storageLevel' 'DISK_ONLY') AS SELECT 1",
                Some(Command::CacheQuery {
                    name: name("t"),
                    query: "SELECT 1".to_owned(),
                }),
            ),
            ("EXPLAIN ANALYZE SELECT 1", None),
            ("WITH s AS (SELECT 1) INSERT INTO t SELECT * FROM s", None),
            (
                "WITH s AS (SELECT 1 AS a) FROM s INSERT INTO t SELECT a INSERT INTO u SELECT a WHERE a > 0;",
                Some(Command::Inserts(vec![
                    "WITH s AS (SELECT 1 AS a)  INSERT INTO t  FROM s  SELECT a".to_owned(),
                    "WITH s AS (SELECT 1 AS a)  INSERT INTO u  FROM s  SELECT a WHERE a > 0"
                        .to_owned(),
                ])),
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(read(sql), expected, "{sql}");
        }
    }
}

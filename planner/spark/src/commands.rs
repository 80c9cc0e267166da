//! Statements of Spark that DataFusion's parser does not read: tables of files, and settings.

mod cursor;
mod table;

use datafusion::common::Result;

use cursor::Cursor;
pub use table::{CreateTable, TableSource};

/// A statement that changes the session or its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CREATE TABLE … USING format`, or `CREATE TABLE t (a INT)`.
    CreateTable(CreateTable),
    /// `SET spark.… = value`.
    Set {
        /// Name of the setting, with its prefix.
        name: String,
        /// Text after the equals sign.
        value: String,
    },
    /// `TRUNCATE TABLE t`.
    Truncate {
        /// Parts of the table's name.
        name: Vec<String>,
    },
}

impl Command {
    /// Reads a statement; `None` if DataFusion's parser reads it.
    ///
    /// # Errors
    /// If the statement begins like one of these and then has a clause that is unknown.
    pub fn parse(sql: &str) -> Result<Option<Self>> {
        let mut cursor = Cursor::new(sql)?;
        if cursor.take_words(&["CREATE"]) {
            return Ok(table::parse(&mut cursor)?.map(Self::CreateTable));
        }
        if cursor.take_words(&["SET", "SPARK"]) {
            return Ok(set(&mut cursor));
        }
        if cursor.take_words(&["SET", "TIME", "ZONE"]) {
            // `LOCAL` and intervals are left to the parser, which refuses them.
            return Ok(cursor.text().map(|value| Self::Set {
                name: "spark.sql.session.timeZone".to_owned(),
                value,
            }));
        }
        if cursor.take_words(&["TRUNCATE", "TABLE"]) {
            return Ok(Some(Self::Truncate {
                name: cursor.name()?,
            }));
        }
        Ok(None)
    }
}

/// The rest of `SET spark.a.b = value` after `spark`.
fn set(cursor: &mut Cursor) -> Option<Command> {
    let text = cursor.rest();
    let (name, value) = text.split_once('=')?;
    let value = value.trim().trim_matches(['\'', '"', '`']);
    Some(Command::Set {
        name: format!("spark{}", name.trim().trim_end_matches('`')),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_spark_have_any_text_as_value() {
        let read = |sql: &str| Command::parse(sql).unwrap();
        let set = |name: &str, value: &str| {
            Some(Command::Set {
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
}

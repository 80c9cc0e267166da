//! The user's settings of `faisca sql`: `$XDG_CONFIG_HOME/faisca/config.toml`.

use std::path::PathBuf;

use faisca::{Error, Result};
use serde::Deserialize;

use super::super::folders;
use super::rows::Format;

/// Default maximum of rows of a result that the interactive shell shows.
pub(super) const SHOWN_ROWS: u64 = 1_000;

/// Settings, each with a default.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Format of results.
    #[serde(default)]
    pub(super) format: Option<Format>,
    /// File of the history; an empty text turns it off.
    #[serde(default)]
    history: Option<String>,
    /// Maximum number of rows of a result that the interactive shell shows; 0 for all.
    #[serde(default)]
    pub(super) rows: Option<u64>,
    /// Whether the interactive shell shows how long statements take.
    #[serde(default)]
    pub(super) timing: Option<bool>,
    /// Settings of the session.
    #[serde(default)]
    conf: toml::Table,
}

impl Config {
    /// Reads the file. It may be missing.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or parsed; it names the line of a mistake.
    pub(super) fn load() -> Result<Self> {
        let Some(path) = folders::config().map(|folder| folder.join("config.toml")) else {
            return Ok(Self::default());
        };
        let file = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text)
                .map_err(|(line, message)| Error::input(format!("{file}:{line}"))(message)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::input(file)(error)),
        }
    }

    /// Parses the text of the file.
    ///
    /// # Errors
    /// Returns the line and what is wrong there.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or(text).matches('\n').count() + 1;
            (
                line,
                error.message().replacen("unknown field", "unknown key", 1),
            )
        })?;
        Ok(config)
    }

    /// Returns the settings of the session, by their full names: `a.b = 1` and `"a.b" = 1` are the
    /// same.
    ///
    /// # Errors
    /// Returns an error for a value that is not a string, a number or a boolean.
    pub(super) fn settings(&self) -> Result<Vec<(String, String)>> {
        let mut settings = vec![];
        flatten("", &self.conf, &mut settings)?;
        Ok(settings)
    }

    /// Returns the file of the history; `None` if none is kept.
    pub(super) fn history(&self) -> Option<PathBuf> {
        match self.history.as_deref() {
            Some("") => None,
            Some(path) => Some(match (path.strip_prefix("~/"), folders::home()) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => PathBuf::from(path),
            }),
            None => Some(folders::state()?.join("history")),
        }
    }
}

/// Adds the entries of a TOML table and its subtables, by their full names.
fn flatten(prefix: &str, table: &toml::Table, settings: &mut Vec<(String, String)>) -> Result<()> {
    for (key, value) in table {
        let key = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        let text = match value {
            toml::Value::Table(table) => {
                flatten(&key, table, settings)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(value) => value.to_string(),
            toml::Value::Array(_) | toml::Value::Datetime(_) => {
                return Err(Error::setting(key)(
                    "expected a string, a number or a boolean in config.toml",
                ));
            }
        };
        settings.push((key, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_plain_or_quoted_names() {
        let text = "format = \"csv\"\nrows = 50\n[conf]\n\"spark.sql.ansi.enabled\" = false\nfaisca.smallQueryBytes = 0\n";
        let config = Config::parse(text).unwrap();
        assert_eq!((config.format, config.rows), (Some(Format::Csv), Some(50)));
        let settings = config.settings().unwrap();
        for (key, value) in [
            ("spark.sql.ansi.enabled", "false"),
            ("faisca.smallQueryBytes", "0"),
        ] {
            assert!(
                settings.contains(&(key.to_owned(), value.to_owned())),
                "{settings:?}"
            );
        }
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let (line, message) = Config::parse("# mine\nformt = \"csv\"\n").unwrap_err();
        assert_eq!(line, 2);
        assert!(message.starts_with("unknown key `formt`"), "{message}");
        let (line, message) = Config::parse("rows = 5\nformat = \"xml\"\n").unwrap_err();
        assert_eq!(line, 2);
        assert!(
            message.contains("xml") && message.contains("ndjson"),
            "{message}"
        );
        assert_eq!(Config::parse("rows = \n").unwrap_err().0, 1);
    }

    #[test]
    fn an_empty_history_keeps_none() {
        assert_eq!(Config::parse("history = \"\"").unwrap().history(), None);
        let path = Config::parse("history = \"/tmp/h\"").unwrap().history();
        assert_eq!(path, Some(PathBuf::from("/tmp/h")));
    }
}

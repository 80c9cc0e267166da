//! Commands of the shell itself, which begin with a backslash.

use clap::ValueEnum;

use super::rows::Format;

/// Text of `\?`.
pub(super) const HELP: &str = "\
\\d [TABLE]           tables, or the columns of one
\\dt                  tables and views
\\format [FORMAT]     table, vertical, csv, tsv, json, ndjson,
                     markdown
\\rows [N | all]      maximum number of rows that are shown here
\\timing [on | off]   whether the time of statements is shown
\\o [FILE]            write results to a file, or here again
\\i FILE              run a script
\\?                   show this help
\\q, exit, Ctrl-D     leave

Statements end with a semicolon and may have several lines.
Ctrl-C  stops the running statement, or clears the line
Ctrl-R  searches the history
Tab     completes keywords, names, functions, and paths in quotes";

/// A command of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meta {
    Quit,
    Help,
    Tables,
    Columns(String),
    /// `None` shows the current format.
    Format(Option<Format>),
    Rows(Rows),
    /// `None` toggles.
    Timing(Option<bool>),
    /// `None` is standard output.
    Output(Option<String>),
    Include(String),
}

/// Why a line with a backslash is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MetaError {
    #[error("\\rows: `{number}` is neither a number nor `all`")]
    Rows {
        number: String,
        source: std::num::ParseIntError,
    },
    #[error("\\timing: `{0}` is neither on nor off")]
    Timing(String),
    #[error("\\i needs a file")]
    NoFile,
    #[error("\\{0} has no argument")]
    HasArgument(String),
    #[error("there is no command \\{0}; \\? lists them")]
    Unknown(String),
    #[error("\\format: `{name}` is not one of {}", format_names().join(", "))]
    Format { name: String },
}

/// Argument of `\rows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Show,
    AtMost(u64),
    All,
}

impl Meta {
    /// Parses a line. Returns `None` if it is SQL.
    ///
    /// # Errors
    /// Returns an error if there is no such command, or its argument is wrong.
    pub(super) fn parse(line: &str) -> Option<Result<Self, MetaError>> {
        let line = line.trim().trim_end_matches(';').trim_end();
        if matches!(line.to_ascii_lowercase().as_str(), "exit" | "quit") {
            return Some(Ok(Self::Quit));
        }
        let command = line.strip_prefix('\\')?;
        let (command, argument) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        let argument = Some(argument.trim()).filter(|text| !text.is_empty());
        Some(Self::parse_command(command, argument))
    }

    fn parse_command(command: &str, argument: Option<&str>) -> Result<Self, MetaError> {
        let text = argument.map(|text| text.trim_matches(['\'', '"', '`']).to_owned());
        Ok(match (command, argument) {
            ("q", None) => Self::Quit,
            ("?" | "h" | "help", None) => Self::Help,
            ("d" | "dt", None) => Self::Tables,
            ("d", Some(_)) => Self::Columns(text.unwrap_or_default()),
            ("format", None) => Self::Format(None),
            ("format", Some(name)) => Self::Format(Some(parse_format(name)?)),
            ("rows", None) => Self::Rows(Rows::Show),
            ("rows", Some("all")) => Self::Rows(Rows::All),
            ("rows", Some(number)) => {
                let number = number.replace([',', '_'], "");
                Self::Rows(Rows::AtMost(
                    number
                        .parse()
                        .map_err(|source| MetaError::Rows { number, source })?,
                ))
            }
            ("timing", None) => Self::Timing(None),
            ("timing", Some("on")) => Self::Timing(Some(true)),
            ("timing", Some("off")) => Self::Timing(Some(false)),
            ("timing", Some(other)) => {
                return Err(MetaError::Timing(other.to_owned()));
            }
            ("o", _) => Self::Output(text),
            ("i", Some(_)) => Self::Include(text.unwrap_or_default()),
            ("i", None) => return Err(MetaError::NoFile),
            ("q" | "?" | "h" | "help" | "dt", Some(_)) => {
                return Err(MetaError::HasArgument(command.to_owned()));
            }
            _ => return Err(MetaError::Unknown(command.to_owned())),
        })
    }
}

fn parse_format(name: &str) -> Result<Format, MetaError> {
    Format::from_str(name, true).map_err(|_| MetaError::Format {
        name: name.to_owned(),
    })
}

/// Returns the names of all formats.
pub(super) fn format_names() -> Vec<String> {
    Format::value_variants()
        .iter()
        .filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Meta {
        Meta::parse(line).unwrap().unwrap()
    }

    #[test]
    fn commands_are_parsed_with_their_arguments() {
        assert_eq!(parsed("\\q"), Meta::Quit);
        assert_eq!(parsed(" EXIT; "), Meta::Quit);
        assert_eq!(parsed("\\d people;"), Meta::Columns("people".to_owned()));
        assert_eq!(parsed("\\d"), Meta::Tables);
        assert_eq!(parsed("\\format CSV"), Meta::Format(Some(Format::Csv)));
        assert_eq!(parsed("\\rows 10,000"), Meta::Rows(Rows::AtMost(10_000)));
        assert_eq!(parsed("\\timing off"), Meta::Timing(Some(false)));
        assert_eq!(
            parsed("\\o 'my file.csv'"),
            Meta::Output(Some("my file.csv".to_owned()))
        );
        assert_eq!(Meta::parse("SELECT 1"), None);
    }

    #[test]
    fn a_wrong_command_or_argument_is_explained() {
        for (line, part) in [
            ("\\x", "\\? lists them"),
            ("\\format xml", "ndjson"),
            ("\\rows few", "`few`"),
            ("\\timing maybe", "neither on nor off"),
            ("\\q now", "no argument"),
            ("\\i", "needs a file"),
        ] {
            let message = Meta::parse(line).unwrap().unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}

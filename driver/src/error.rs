//! Errors of a job, as its user sees them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use datafusion::common::DataFusionError;
use faisca_executor::error::message;
use faisca_executor::protocol::{Failure, FailureKind};
use faisca_executor::storage::store_message;
use faisca_planner::manifest::{ManifestError, did_you_mean};

/// An error of another library, or a text.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Why a job, or a part of it, failed. Displays as a few plain lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The manifest is invalid. Fix the file.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The spec of an application is invalid. Fix the spec.
    #[error("{0}")]
    Spec(#[source] BoxedError),
    /// A command, or one of its flags, does not fit the job or the place where it runs.
    #[error("{0}")]
    Usage(String),
    /// A setting of the session or of a manifest's `conf` has an invalid value.
    #[error("{setting}: {source}")]
    InvalidSetting {
        /// The name of the setting.
        setting: String,
        /// What is wrong with its value, and what is expected.
        #[source]
        source: BoxedError,
    },
    /// A statement cannot be planned: a name, a type, its grammar. Fix the statement.
    #[error("{0}")]
    Plan(String),
    /// The schema that the user set for a source cannot be parsed.
    #[error("schema `{schema}`: {source}; write it as in CREATE TABLE, say `a INT, b STRING`")]
    InvalidSchema {
        /// The schema, as the user wrote it.
        schema: String,
        /// What is wrong with it.
        #[source]
        source: BoxedError,
    },
    /// No file is at the path of a source.
    #[error("source `{name}`: {reason}: {path}")]
    NoFiles {
        /// The name of the source.
        name: String,
        /// The path, folder or pattern.
        path: String,
        /// Whether a file, a folder or a pattern was expected there.
        reason: &'static str,
    },
    /// Two columns have the same name, or names that differ only by case.
    #[error("{}; {help}", describe_clash(first, second))]
    DuplicateColumns {
        /// The name of one column.
        first: String,
        /// The name of the other.
        second: String,
        /// How to make the names different.
        help: &'static str,
    },
    /// A name that a statement or program uses does not exist.
    #[error("{kind} `{name}`; {help}")]
    UnknownName {
        /// What should have this name.
        kind: NameKind,
        /// The name.
        name: String,
        /// The nearest name, or all names.
        help: String,
    },
    /// An option of a read or a write has a value that is not valid for it.
    #[error("option {option}: `{value}` is not {expected}")]
    InvalidOption {
        /// The name of the option.
        option: String,
        /// Its value.
        value: String,
        /// The valid values.
        expected: String,
    },
    /// A file of the user cannot be read or parsed.
    #[error("{file}: {source}")]
    Input {
        /// Path or URL of the file.
        file: String,
        /// Why it cannot be read or parsed.
        #[source]
        source: BoxedError,
    },
    /// A query failed while it ran.
    #[error("{}", .0.message)]
    Run(Failure),
    /// The output cannot be written as requested: the `write` section of a step contradicts itself
    /// or its query. Fix the step.
    #[error("{0}")]
    Write(String),
    /// The output exists, and the save mode is `errorIfExists`.
    #[error("{existing}; set write.mode to overwrite, append or ignore")]
    AlreadyExists {
        /// What exists, as a sentence: `/out already exists`.
        existing: String,
    },
    /// A column has a type that the files or the catalog cannot hold.
    #[error("column `{column}`: {source}")]
    UnsupportedColumn {
        /// The name of the column.
        column: String,
        /// What is not supported, and what to do.
        #[source]
        source: BoxedError,
    },
    /// The result cannot be added to the files of a folder.
    #[error("append to {path}: {source}, or use mode overwrite or another folder")]
    IncompatibleFiles {
        /// The folder.
        path: String,
        /// How the files differ from the result, and how to make them fit.
        #[source]
        source: BoxedError,
    },
    /// A parameter of a catalog's table is missing, or contradicts the write.
    #[error("catalog.parameters: {0}")]
    TableParameters(#[source] BoxedError),
    /// The columns of a result do not fit those of an existing table, by the rule `onSchemaChange`.
    #[error("catalog: {problem}; {help}")]
    IncompatibleTable {
        /// How they differ.
        problem: String,
        /// How to make them fit.
        help: &'static str,
    },
    /// A catalog has no such database.
    #[error("catalog: there is no database `{database}`{help}")]
    UnknownDatabase {
        /// The name of the database.
        database: String,
        /// Where it was looked up, or how to create it.
        help: String,
    },
    /// A database of a catalog has no such table.
    #[error("the database {database} has no table `{table}`; {help}")]
    UnknownTable {
        /// The database, with its catalog: `glue.enem`.
        database: String,
        /// The name of the table.
        table: String,
        /// The nearest name, or all names.
        help: String,
    },
    /// The record of a commit on an object store is damaged, or is that of a newer version.
    #[error("{url}: the commit record {key} is refused: {source}")]
    CommitRecord {
        /// The folder.
        url: String,
        /// The key of the record.
        key: String,
        /// Why it cannot be parsed.
        #[source]
        source: BoxedError,
    },
    /// Another job writes the same output, or changes the same table, at the same time. The output
    /// of that job is kept; a retry may succeed.
    #[error("{0}")]
    Conflict(String),
    /// A catalog rejects a request, or cannot be reached.
    #[error("catalog: {request}: {reason}")]
    Catalog {
        /// The request and its object: `glue:GetTable of enem.uf_idade`.
        request: String,
        /// Why it failed, with the permission or credentials that may be missing.
        reason: String,
        /// Whether a later retry may succeed.
        is_temporary: bool,
        /// The error of the catalog's client. `None` for one item of a request that succeeded.
        #[source]
        source: Option<BoxedError>,
    },
    /// A file or folder of this machine cannot be used for the output or the local catalog.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What failed, as a verb: `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why the operation failed.
        #[source]
        source: io::Error,
    },
    /// An object store refuses a request.
    #[error("cannot {action} {url}: {}", store_message(source))]
    Store {
        /// What failed, as a verb: `list`.
        action: &'static str,
        /// The folder or file.
        url: String,
        /// Why the request was refused.
        #[source]
        source: object_store::Error,
    },
    /// Executors could not be started or reached, because an operation of the system failed.
    #[error("{operation}: {source}")]
    FleetOperation {
        /// What was attempted, and on what.
        operation: String,
        /// Why it failed.
        #[source]
        source: BoxedError,
    },
    /// The platform, such as Kubernetes, refused a request or reported a failure.
    #[error("{0}")]
    Platform(#[source] BoxedError),
    /// The operating system refuses something that a session needs: threads, random numbers, a
    /// port.
    #[error("{needed}: {source}")]
    System {
        /// What was needed.
        needed: &'static str,
        /// Why it was refused.
        #[source]
        source: io::Error,
    },
    /// The session was stopped, or is shutting down.
    #[error("the session has ended")]
    SessionEnded,
    /// The user stopped the job.
    #[error("cancelled")]
    Cancelled,
    /// An error within a step or statement of a job.
    #[error("{position}: {source}")]
    At {
        /// The step, with file and line.
        position: String,
        /// What went wrong there.
        #[source]
        source: Box<Self>,
    },
}

/// What an unknown name should have named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameKind {
    /// A column of the query's input.
    Column,
    /// A registered table or view.
    Table,
    /// A function of SQL.
    Function,
    /// An option of a read.
    ReadOption,
    /// An option of a write.
    WriteOption,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Column => "no column named",
            Self::Table => "no table named",
            Self::Function => "no function named",
            Self::ReadOption => "unknown option",
            Self::WriteOption => "unknown write option",
        })
    }
}

/// Exit codes of the command, documented in docs/cli.md.
impl Error {
    /// Exit code of a job that its user must fix. The operator does not retry it.
    pub const EXIT_CODE_INVALID: u8 = 2;

    /// Returns 2 for an error that the user must fix before a retry, 3 for a failure that a retry
    /// may not encounter, 4 for a defect of Faísca, and 130 for a cancelled job.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Manifest(_)
            | Self::Spec(_)
            | Self::Usage(_)
            | Self::InvalidSetting { .. }
            | Self::Plan(_)
            | Self::InvalidSchema { .. }
            | Self::NoFiles { .. }
            | Self::DuplicateColumns { .. }
            | Self::UnknownName { .. }
            | Self::InvalidOption { .. }
            | Self::Input { .. }
            | Self::Write(_)
            | Self::AlreadyExists { .. }
            | Self::UnsupportedColumn { .. }
            | Self::IncompatibleFiles { .. }
            | Self::TableParameters(_)
            | Self::IncompatibleTable { .. }
            | Self::UnknownDatabase { .. }
            | Self::UnknownTable { .. }
            | Self::CommitRecord { .. }
            | Self::Catalog {
                is_temporary: false,
                ..
            }
            | Self::File { .. }
            | Self::Store { .. } => Self::EXIT_CODE_INVALID,
            Self::Run(failure) => match failure.kind {
                FailureKind::User => Self::EXIT_CODE_INVALID,
                FailureKind::Resource
                | FailureKind::Transient
                | FailureKind::BlockLost(..)
                | FailureKind::ExecutorLost => 3,
                FailureKind::Bug => 4,
            },
            Self::Catalog {
                is_temporary: true, ..
            }
            | Self::Conflict(_)
            | Self::FleetOperation { .. }
            | Self::Platform(_)
            | Self::System { .. }
            | Self::SessionEnded => 3,
            Self::Cancelled => 130,
            Self::At { source, .. } => source.exit_code(),
        }
    }

    /// Returns a function that wraps the error of an operation by which executors are started or
    /// reached, for `map_err`.
    pub(crate) fn of_fleet<E>(operation: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let operation = operation.into();
        move |source| Self::FleetOperation {
            operation,
            source: Box::new(source),
        }
    }

    /// Returns a function that wraps the error of reading a file of the user, for `map_err`.
    pub fn input<E>(file: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<BoxedError>,
    {
        let file = file.into();
        move |source| Self::Input {
            file,
            source: source.into(),
        }
    }

    /// Returns a function that wraps what is wrong with the value of a setting, for `map_err`.
    pub fn setting<E>(setting: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<BoxedError>,
    {
        let setting = setting.into();
        move |source| Self::InvalidSetting {
            setting,
            source: source.into(),
        }
    }

    /// Returns a function that wraps what is wrong with the type of a column, for `map_err`.
    pub(crate) fn column<E>(column: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<BoxedError>,
    {
        let column = column.into();
        move |source| Self::UnsupportedColumn {
            column,
            source: source.into(),
        }
    }

    /// Returns true if the cause is the output, not the query.
    pub(crate) fn concerns_output(&self) -> bool {
        match self {
            Self::Write(_)
            | Self::AlreadyExists { .. }
            | Self::UnsupportedColumn { .. }
            | Self::IncompatibleFiles { .. }
            | Self::TableParameters(_)
            | Self::IncompatibleTable { .. }
            | Self::UnknownDatabase { .. }
            | Self::CommitRecord { .. }
            | Self::Conflict(_)
            | Self::Catalog { .. }
            | Self::File { .. }
            | Self::Store { .. } => true,
            Self::At { source, .. } => source.concerns_output(),
            Self::Manifest(_)
            | Self::Spec(_)
            | Self::Usage(_)
            | Self::InvalidSetting { .. }
            | Self::Plan(_)
            | Self::InvalidSchema { .. }
            | Self::NoFiles { .. }
            | Self::DuplicateColumns { .. }
            | Self::UnknownName { .. }
            | Self::UnknownTable { .. }
            | Self::InvalidOption { .. }
            | Self::Input { .. }
            | Self::Run(_)
            | Self::FleetOperation { .. }
            | Self::Platform(_)
            | Self::System { .. }
            | Self::SessionEnded
            | Self::Cancelled => false,
        }
    }

    /// Adds the position of the error, such as a step with file and line, in front of its message.
    #[must_use]
    pub fn at(self, position: impl Into<String>) -> Self {
        Self::At {
            position: position.into(),
            source: Box::new(self),
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let error = match unwrap_own(error) {
            Ok(own) => return own,
            Err(error) => error,
        };
        match error.find_root() {
            DataFusionError::External(inner) if inner.is::<TaskFailure>() => {
                match inner.downcast_ref::<TaskFailure>() {
                    Some(TaskFailure(failure)) => Self::Run(failure.clone()),
                    None => Self::Plan(message(&error)),
                }
            }
            DataFusionError::Plan(_)
            | DataFusionError::SQL(..)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_) => Self::Plan(message(&error)),
            _ => Self::Run(faisca_executor::error::classify(&error)),
        }
    }
}

/// Returns our own error that [`external`] wrapped, with the contexts that DataFusion added. Any
/// other error is returned as it is.
fn unwrap_own(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => inner
            .downcast::<Error>()
            .map(|own| *own)
            .map_err(DataFusionError::External),
        DataFusionError::Context(context, inner) => match unwrap_own(*inner) {
            Ok(own) => Ok(own.at(context)),
            Err(inner) => Err(DataFusionError::Context(context, Box::new(inner))),
        },
        DataFusionError::Diagnostic(diagnostic, inner) => unwrap_own(*inner)
            .map_err(|inner| DataFusionError::Diagnostic(diagnostic, Box::new(inner))),
        other => Err(other),
    }
}

/// Describes two columns whose names are equal or differ only by case.
fn describe_clash(first: &str, second: &str) -> String {
    if first == second {
        format!("two columns are named `{first}`")
    } else {
        format!("the columns `{first}` and `{second}` differ only by case")
    }
}

/// A task's failure, wrapped so that it can pass through DataFusion's streams.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TaskFailure(pub(crate) Failure);

/// Returns the error of a file system operation; `action` is a verb.
pub(crate) fn cannot(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Returns help for an unknown name: the nearest known name, or all names after the text `listed`.
pub(crate) fn nearest_or_all<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    listed: &str,
) -> String {
    did_you_mean(name, known.clone(), || {
        format!("{listed} {}", known.collect::<Vec<_>>().join(", "))
    })
}

/// Wraps our own error so that it can pass through DataFusion.
pub(crate) fn external<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Result of fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_ours_keeps_its_type_and_exit_code_on_its_way_through_datafusion() {
        let unknown = Error::UnknownTable {
            database: "local.enem".to_owned(),
            table: "uf".to_owned(),
            help: "it has idade".to_owned(),
        };
        let error = Error::from(external(unknown).context("type_coercion"));
        assert_eq!(error.exit_code(), Error::EXIT_CODE_INVALID);
        assert_eq!(
            error.to_string(),
            "type_coercion: the database local.enem has no table `uf`; it has idade"
        );
        let defect = Error::from(external(std::fmt::Error));
        assert_eq!(defect.exit_code(), 4);
    }
}

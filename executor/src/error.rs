//! The failures of an executor, and the kind of each.
//!
//! Every error of a task ends in [`classify`]. It looks through the wrappers of DataFusion, Arrow and
//! Parquet for the cause, so code elsewhere only has to keep the source of an error.

use std::any::Any;

use datafusion::common::{DataFusionError, SchemaError};
use faisca_planner::ids::{BlockHome, BlockId};

use crate::descriptors;
use crate::protocol::{Failure, FailureKind};
use crate::storage::{advice, store_message};

/// Failures to obtain a committed block.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The executor or the object store does not hold the block. Final for this attempt: the driver must recompute it.
    #[error("{home} does not hold block {block}")]
    Lost {
        /// The missing block.
        block: BlockId,
        /// Where it should be.
        home: BlockHome,
    },
    /// The executor cannot be reached. The driver detects the executor's end by itself.
    #[error("block {block} from {home} at {address}: {}", .source.message())]
    Peer {
        /// The first of the requested blocks.
        block: BlockId,
        /// The executor that the block was requested from.
        home: BlockHome,
        /// URL of its Flight service.
        address: String,
        /// Why the request failed.
        source: Box<tonic::Status>,
    },
}

/// Classifies an error by what the scheduler can do about it. No other code assigns kinds to
/// errors.
#[must_use]
pub fn classify(error: &DataFusionError) -> Failure {
    Failure {
        kind: kind_of_error(error),
        message: message(error),
    }
}

fn kind_of_error(error: &DataFusionError) -> FailureKind {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            kind_of_error(inner)
        }
        DataFusionError::Shared(inner) => kind_of_error(inner),
        DataFusionError::Collection(all) => all.first().map_or(FailureKind::Bug, kind_of_error),
        DataFusionError::ResourcesExhausted(_) => FailureKind::Resource,
        DataFusionError::IoError(io) => kind_of_io_error(io),
        DataFusionError::ObjectStore(store) => kind_of_store_error(store),
        DataFusionError::ParquetError(_) => kind_of_cause(error).unwrap_or(FailureKind::User),
        DataFusionError::ArrowError(_, _)
        | DataFusionError::External(_)
        | DataFusionError::ExecutionJoin(_) => {
            kind_of_cause(error).unwrap_or(if matches!(error, DataFusionError::ArrowError(_, _)) {
                FailureKind::User
            } else {
                FailureKind::Bug
            })
        }
        DataFusionError::Internal(_) | DataFusionError::Ffi(_) => FailureKind::Bug,
        DataFusionError::Execution(_)
        | DataFusionError::Plan(_)
        | DataFusionError::SQL(_, _)
        | DataFusionError::SchemaError(_, _)
        | DataFusionError::Configuration(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Substrait(_) => FailureKind::User,
    }
}

/// Returns the kind of the first cause below `error` whose type is known here.
fn kind_of_cause(error: &DataFusionError) -> Option<FailureKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    if let DataFusionError::External(inner) = error {
        cause = Some(inner.as_ref());
    }
    while let Some(current) = cause {
        if let Some(fetch) = current.downcast_ref::<FetchError>() {
            return Some(match fetch {
                FetchError::Lost { block, home } | FetchError::Peer { block, home, .. } => {
                    FailureKind::BlockLost(*block, *home)
                }
            });
        }
        if let Some(inner) = current.downcast_ref::<DataFusionError>() {
            return Some(kind_of_error(inner));
        }
        if let Some(store) = current.downcast_ref::<object_store::Error>() {
            return Some(kind_of_store_error(store));
        }
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(kind_of_io_error(io));
        }
        cause = current.source();
    }
    None
}

fn kind_of_io_error(error: &std::io::Error) -> FailureKind {
    use std::io::ErrorKind;
    if descriptors::are_exhausted(error) {
        return FailureKind::Resource;
    }
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::InvalidData
        | ErrorKind::InvalidInput
        | ErrorKind::UnexpectedEof => FailureKind::User,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory => {
            FailureKind::Resource
        }
        _ => FailureKind::Transient,
    }
}

fn kind_of_store_error(error: &object_store::Error) -> FailureKind {
    if are_descriptors_exhausted(error) {
        return FailureKind::Resource;
    }
    match error {
        object_store::Error::Generic { source, .. } => {
            match source.downcast_ref::<std::io::Error>() {
                Some(io) => kind_of_io_error(io),
                None if advice(&error.to_string()).is_some() => FailureKind::User,
                None => FailureKind::Transient,
            }
        }
        object_store::Error::JoinError { .. } => FailureKind::Bug,
        _ => FailureKind::User,
    }
}

/// Returns whether a cause of `error` is that no file or connection can be opened any more.
fn are_descriptors_exhausted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        let io = current.downcast_ref::<std::io::Error>();
        if io.is_some_and(descriptors::are_exhausted) {
            return true;
        }
        cause = current.source();
    }
    false
}

/// Finds the error of an object store below its wrappers.
fn store_cause<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a object_store::Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(store) = current.downcast_ref::<object_store::Error>() {
            return Some(store);
        }
        cause = current.source();
    }
    None
}

/// Returns the message of a panic.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Returns the text of an error for users: without DataFusion's prefixes, backtrace, and request to
/// report a bug.
#[must_use]
pub fn message(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::Context(context, inner) => format!("{context}: {}", message(inner)),
        DataFusionError::Diagnostic(_, inner) => message(inner),
        DataFusionError::Shared(inner) => message(inner),
        DataFusionError::Collection(all) => all.iter().map(message).collect::<Vec<_>>().join("\n"),
        DataFusionError::External(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(known) => message(known),
            None => store_cause(inner.as_ref()).map_or_else(|| inner.to_string(), store_message),
        },
        DataFusionError::ParquetError(inner) => {
            store_cause(inner).map_or_else(|| error.strip_backtrace(), store_message)
        }
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::ResourcesExhausted(text) => text.clone(),
        DataFusionError::SchemaError(schema, _) => schema_message(schema),
        DataFusionError::SQL(parser, _) => parser
            .to_string()
            .trim_start_matches("sql parser error: ")
            .to_owned(),
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            arrow::error::ArrowError::ExternalError(inner) => inner
                .downcast_ref::<DataFusionError>()
                .map_or_else(|| inner.to_string(), message),
            other => other.to_string(),
        },
        DataFusionError::IoError(io) => io.to_string(),
        DataFusionError::ObjectStore(store) => store_message(store),
        other => other.strip_backtrace(),
    };
    let text = text.split("\n\nbacktrace:").next().unwrap_or_default();
    text.trim_end()
        .trim_start_matches("Error during planning: ")
        .to_owned()
}

fn schema_message(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            const NAMES_SHOWN_MAX: usize = 12;
            let names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
            let nearest_name =
                faisca_planner::manifest::nearest(&field.name, names.iter().copied());
            let hint = match nearest_name {
                Some(nearest_name) => format!("did you mean `{nearest_name}`?"),
                None if names.is_empty() => "no columns are in scope here".to_owned(),
                None if names.len() <= NAMES_SHOWN_MAX => {
                    format!("columns here: {}", names.join(", "))
                }
                None => format!(
                    "columns here: {}, … ({} in all)",
                    names[..NAMES_SHOWN_MAX].join(", "),
                    names.len()
                ),
            };
            format!("no column named `{}`; {hint}", field.name)
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use parquet::errors::ParquetError;

    use super::*;

    fn kind(error: &DataFusionError) -> FailureKind {
        classify(error).kind
    }

    #[test]
    fn too_many_open_files_is_a_lack_of_resources_and_not_the_users_mistake() {
        for code in [23, 24] {
            let io = || io::Error::from_raw_os_error(code);
            let store = || object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(io()),
            };
            let parquet = ParquetError::External(Box::new(store()));
            assert_eq!(kind(&DataFusionError::IoError(io())), FailureKind::Resource);
            assert_eq!(
                kind(&DataFusionError::ObjectStore(Box::new(store()))),
                FailureKind::Resource
            );
            assert_eq!(
                kind(&DataFusionError::ParquetError(Box::new(parquet))),
                FailureKind::Resource
            );
        }
    }
}

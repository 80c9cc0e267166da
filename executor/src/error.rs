//! The failures of an executor, and the kind of each.
//!
//! Every error of a task ends in [`classify`]. It looks through the wrappers of DataFusion, Arrow
//! and Parquet for the cause, so code elsewhere only has to keep the source of an error.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::PathBuf;
use std::sync::Once;

use datafusion::common::{DataFusionError, SchemaError};
use faisca_planner::ids::{BlockHome, BlockId};
use faisca_planner::manifest::did_you_mean;

use crate::descriptors;
use crate::protocol::{Failure, FailureKind};
use crate::storage::{advice, store_message};

/// Failures to obtain a committed block.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The executor or the object store does not hold the block. Final for this attempt: the driver
    /// must recompute it.
    #[error("{home} does not hold block {block}")]
    Lost {
        /// The missing block.
        block: BlockId,
        /// Where it should be.
        home: BlockHome,
    },
    /// The block is not what was written. Final for this attempt, too.
    #[error("block {block} on {home} is damaged: {}", message(.source))]
    Damaged {
        /// The damaged block.
        block: BlockId,
        /// Where it is.
        home: BlockHome,
        /// What is wrong with it.
        source: Box<DataFusionError>,
    },
    /// The executor cannot be reached. The driver detects the executor's end by itself.
    #[error("block {block} from {home} at {}: {}", .address.as_deref().unwrap_or("no address"), .source.message())]
    Peer {
        /// The first of the requested blocks.
        block: BlockId,
        /// The executor that the block was requested from.
        home: BlockHome,
        /// URL of its Flight service.
        address: Option<String>,
        /// Why the request failed.
        source: Box<tonic::Status>,
    },
}

/// A spill file whose contents are not what was written. The attempt that wrote it must run again.
#[derive(Debug, thiserror::Error)]
#[error("the spill file {} is damaged at byte {offset}: {reason}", .path.display())]
pub struct DamagedSpill {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) reason: String,
}

/// Returns the block that must be recomputed; `None` if `error` is not about a lost block.
pub(crate) fn block_to_recompute(error: &DataFusionError) -> Option<BlockId> {
    match kind_of_error(error) {
        FailureKind::BlockLost(block, _) => Some(block),
        FailureKind::User
        | FailureKind::Resource
        | FailureKind::Transient
        | FailureKind::ExecutorLost
        | FailureKind::Bug => None,
    }
}

/// Name of the store of local files in its errors.
const LOCAL_STORE: &str = "LocalFileSystem";

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
                FetchError::Lost { block, home }
                | FetchError::Damaged { block, home, .. }
                | FetchError::Peer { block, home, .. } => FailureKind::BlockLost(*block, *home),
            });
        }
        if is_written_by_user(current) {
            return Some(FailureKind::User);
        }
        if current.is::<DamagedSpill>() {
            return Some(FailureKind::Transient);
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

/// Returns whether the error is about a text that the user wrote: a pattern, or the value of a
/// setting. DataFusion passes these errors of libraries on as they are.
fn is_written_by_user(error: &(dyn std::error::Error + 'static)) -> bool {
    // `regex` and `regex-syntax` have different types, and other parsers of patterns use their
    // text.
    error.to_string().starts_with("regex parse error")
        || error.is::<std::num::ParseIntError>()
        || error.is::<std::num::ParseFloatError>()
        || error.is::<std::str::ParseBoolError>()
}

fn kind_of_io_error(error: &std::io::Error) -> FailureKind {
    use std::io::ErrorKind;
    if descriptors::are_exhausted(error) {
        return FailureKind::Resource;
    }
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidData
        | ErrorKind::InvalidInput
        | ErrorKind::UnexpectedEof => FailureKind::User,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory => {
            FailureKind::Resource
        }
        _ if is_link_loop(error) => FailureKind::User,
        _ => FailureKind::Transient,
    }
}

/// Returns whether links refer to each other in a circle. The standard library has no stable name
/// for it.
fn is_link_loop(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32)
}

fn kind_of_store_error(error: &object_store::Error) -> FailureKind {
    if are_descriptors_exhausted(error) {
        return FailureKind::Resource;
    }
    match error {
        object_store::Error::Generic { store, source } => {
            // The cause of an error of local files is an error of the system. An error of a network
            // is worth another attempt, whatever kind the system gives it.
            let io = match *store {
                LOCAL_STORE => causes(source.as_ref()).next(),
                _ => source.downcast_ref::<std::io::Error>(),
            };
            match io {
                Some(io) => kind_of_io_error(io),
                None if advice(&error.to_string()).is_some() => FailureKind::User,
                None => FailureKind::Transient,
            }
        }
        object_store::Error::JoinError { .. } => FailureKind::Bug,
        _ => FailureKind::User,
    }
}

/// Returns the errors of type `E` among an error and its causes, the outermost first.
fn causes<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a E> {
    std::iter::successors(Some(error), |error| error.source()).filter_map(|e| e.downcast_ref())
}

/// Returns whether a cause of `error` is that no file or connection can be opened any more.
fn are_descriptors_exhausted(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(descriptors::are_exhausted)
}

/// Finds the error of an object store below its wrappers.
fn store_cause<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a object_store::Error> {
    causes(error).next()
}

/// Returns whether a file ends before the bytes that were requested of it.
#[must_use]
pub fn is_beyond_end(error: &DataFusionError) -> bool {
    // The type of this error is private to the library.
    const BEYOND_END: &str = "Requested range was invalid";
    store_cause(error).is_some_and(|store| match store {
        object_store::Error::Generic { source, .. } => source.to_string() == BEYOND_END,
        _ => false,
    })
}

thread_local! {
    /// Whether a panic of this thread becomes an error, which then says what happened.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Replaces the hook that prints panics.
static HOOK: Once = Once::new();

/// Runs a decoder of a file, and returns the message of its panic as an error. The panic is not
/// printed: decoders panic on damaged files, which is no defect of the engine.
///
/// # Errors
/// Returns the message of a panic.
pub fn catch_panic<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                print(panic);
            }
        }));
    });
    let is_nested = IS_CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(decode));
    IS_CAUGHT.set(is_nested);
    outcome.map_err(|panic| panic_text(panic.as_ref()).to_owned())
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
        // The name of an optimizer's rule explains nothing to a user.
        DataFusionError::Context(context, inner) if context.starts_with("Optimizer rule ") => {
            message(inner)
        }
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
    let text = text.trim_end();
    shorten(without_request(text).trim_start_matches("Error during planning: "))
}

/// Removes DataFusion's request to report a bug. It also adds one to errors of the user.
fn without_request(text: &str) -> String {
    const REQUEST: &str = "This issue was likely caused by a bug in DataFusion's code.";
    const SIGNATURES: &str = "No function matches the given name";
    if !text.contains(REQUEST) {
        return text.to_owned();
    }
    // What precedes the list of signatures says the same for each type.
    if let Some(start) = text.find(SIGNATURES) {
        return text[start..].to_owned();
    }
    let lines = text.lines().filter(|line| !line.contains(REQUEST));
    let lines: Vec<&str> = lines.collect();
    let text = lines.join("\n");
    text.trim_end_matches('.')
        .trim_start_matches("Internal error: ")
        .to_owned()
}

/// Cuts a text that is too long to read: a statement, a name or a value may have megabytes.
fn shorten(text: &str) -> String {
    const BYTES_MAX: usize = 16 * 1024;
    if text.len() <= BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(BYTES_MAX);
    format!("{} … ({} bytes in all)", &text[..end], text.len())
}

fn schema_message(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            const NAMES_SHOWN_MAX: usize = 12;
            let names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
            let hint = did_you_mean(&field.name, names.iter().copied(), || {
                match names.get(..NAMES_SHOWN_MAX) {
                    _ if names.is_empty() => "no columns are in scope here".to_owned(),
                    Some(shown) if names.len() > NAMES_SHOWN_MAX => format!(
                        "columns here: {}, … ({} in all)",
                        shown.join(", "),
                        names.len()
                    ),
                    _ => format!("columns here: {}", names.join(", ")),
                }
            });
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
    fn a_path_that_cannot_be_opened_is_the_users_mistake() {
        // Permission denied, a loop of links, a name that is too long, a folder instead of a file.
        for code in [13, 40, 36, 21] {
            let store = object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(DataFusionError::IoError(io::Error::from_raw_os_error(code))),
            };
            let error = DataFusionError::ObjectStore(Box::new(store));
            assert_eq!(kind(&error), FailureKind::User, "errno {code}");
        }
        let network = object_store::Error::Generic {
            store: "S3",
            source: Box::new(DataFusionError::IoError(io::Error::from_raw_os_error(13))),
        };
        let error = DataFusionError::ObjectStore(Box::new(network));
        assert_eq!(kind(&error), FailureKind::Transient);
    }

    #[test]
    fn a_pattern_and_a_setting_that_do_not_parse_are_the_users_mistake() {
        let number = "abc".parse::<usize>().unwrap_err();
        let setting = DataFusionError::External(Box::new(number)).context("setting x");
        assert_eq!(kind(&setting), FailureKind::User);
        let text = "regex parse error:\n    (\n    ^\nerror: unclosed group";
        let pattern = DataFusionError::External(text.into());
        let pattern = pattern.context("Optimizer rule 'simplify_expressions' failed");
        assert_eq!(kind(&pattern), FailureKind::User);
        assert!(message(&pattern).starts_with("regex parse error"));
    }

    #[test]
    fn a_message_has_no_request_to_report_a_bug_and_an_end() {
        let request = "This issue was likely caused by a bug in DataFusion's code. Please help us to resolve this by filing a bug report in our issue tracker: https://github.com/apache/datafusion/issues";
        let plan = |text: String| message(&DataFusionError::Plan(text));
        let sum = format!(
            "Internal error: Function 'sum' failed.\n{request}. No function matches the given name and argument types 'sum(Utf8)'."
        );
        assert_eq!(
            plan(sum),
            "No function matches the given name and argument types 'sum(Utf8)'."
        );
        let internal = DataFusionError::Internal("broken".to_owned());
        assert_eq!(message(&internal), "broken");
        let long = plan("ä".repeat(1_000_000));
        assert!(long.len() < 20_000 && long.ends_with("(2000000 bytes in all)"));
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

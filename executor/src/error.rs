//! Failures of an executor, and what kind each is.

use datafusion::common::{DataFusionError, SchemaError};
use faisca_planner::ids::{BlockId, ExecutorId};

use crate::wire::{Failure, FailureKind};

/// Failures to obtain a committed block.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Final for this attempt: the driver must have the block made again.
    #[error("{executor} does not hold block {block}")]
    Lost {
        /// Which.
        block: BlockId,
        /// Who should have it.
        executor: ExecutorId,
    },
    /// Its executor does not answer. The driver hears of that executor's end by itself.
    #[error("block {block} from {executor} at {address}: {reason}")]
    Peer {
        /// The first of the blocks asked for.
        block: BlockId,
        /// Who was asked.
        executor: ExecutorId,
        /// Where that one was reached before.
        address: String,
        /// What the connection said.
        reason: String,
    },
}

/// Sorts an error by what can be done about it. The only place that does.
#[must_use]
pub fn classify(error: &DataFusionError) -> Failure {
    Failure {
        kind: kind(error),
        message: message(error),
    }
}

fn kind(error: &DataFusionError) -> FailureKind {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => kind(inner),
        DataFusionError::Shared(inner) => kind(inner),
        DataFusionError::Collection(all) => all.first().map_or(FailureKind::Bug, kind),
        DataFusionError::ResourcesExhausted(_) => FailureKind::Resource,
        DataFusionError::IoError(io) => io_kind(io),
        DataFusionError::ObjectStore(store) => store_kind(store),
        DataFusionError::ParquetError(_) => nested(error).unwrap_or(FailureKind::User),
        DataFusionError::ArrowError(_, _)
        | DataFusionError::External(_)
        | DataFusionError::ExecutionJoin(_) => {
            nested(error).unwrap_or(if matches!(error, DataFusionError::ArrowError(_, _)) {
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

/// Looks through wrappers for a cause that we know.
fn nested(error: &DataFusionError) -> Option<FailureKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    if let DataFusionError::External(inner) = error {
        cause = Some(inner.as_ref());
    }
    while let Some(current) = cause {
        if let Some(fetch) = current.downcast_ref::<FetchError>() {
            return Some(match fetch {
                FetchError::Lost { block, executor }
                | FetchError::Peer {
                    block, executor, ..
                } => FailureKind::BlockLost(*block, *executor),
            });
        }
        if let Some(inner) = current.downcast_ref::<DataFusionError>() {
            return Some(kind(inner));
        }
        if let Some(store) = current.downcast_ref::<object_store::Error>() {
            return Some(store_kind(store));
        }
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(io_kind(io));
        }
        cause = current.source();
    }
    None
}

fn io_kind(error: &std::io::Error) -> FailureKind {
    use std::io::ErrorKind;
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

fn store_kind(error: &object_store::Error) -> FailureKind {
    match error {
        object_store::Error::Generic { source, .. } => {
            match source.downcast_ref::<std::io::Error>() {
                Some(io) => io_kind(io),
                None if advice(&error.to_string()).is_some() => FailureKind::User,
                None => FailureKind::Transient,
            }
        }
        object_store::Error::JoinError { .. } => FailureKind::Bug,
        _ => FailureKind::User,
    }
}

/// What S3's error codes ask a user to do.
const ADVICE: [(&str, &str); 13] = [
    (
        "KMS.",
        "the KMS key of the bucket, or of `kmsKeyId`, cannot be used: check that it is enabled, and the role's kms: permissions",
    ),
    (
        "NoSuchBucket",
        "there is no such bucket: check its name, and the endpoint if one is set",
    ),
    (
        "NoSuchKey",
        "the object is gone: somebody removed it after it was listed; run the job again",
    ),
    (
        "AccessDenied",
        "the credentials may not do that: check the role's policy, the bucket's policy and its KMS key",
    ),
    (
        "InvalidAccessKeyId",
        "the access key is unknown to the store",
    ),
    ("SignatureDoesNotMatch", "the secret access key is wrong"),
    (
        "ExpiredToken",
        "the session's credentials have expired: get new ones",
    ),
    (
        "TokenRefreshRequired",
        "the session's credentials have expired: get new ones",
    ),
    (
        "InvalidToken",
        "the session token is not valid: get new credentials",
    ),
    (
        "RequestTimeTooSkewed",
        "this machine's clock differs from the store's: set it by NTP",
    ),
    (
        "PermanentRedirect",
        "the bucket is in another region: set stores.\"s3://BUCKET\".region",
    ),
    (
        "AuthorizationHeaderMalformed",
        "the bucket is in another region: set stores.\"s3://BUCKET\".region",
    ),
    ("InvalidBucketName", "that is not a valid name of a bucket"),
];

fn advice(text: &str) -> Option<(&str, &'static str)> {
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    let known = ADVICE
        .into_iter()
        .find(|(known, _)| code == *known || (known.ends_with('.') && code.starts_with(known)));
    known.map(|(_, help)| (code, help))
}

/// A store's error for people: without XML, with what to do about it.
#[must_use]
pub fn store_message(error: &object_store::Error) -> String {
    let text = error.to_string();
    if let Some((code, help)) = advice(&text) {
        return match path_of(error) {
            Some(path) => format!("{path}: {code}: {help}"),
            None => format!("{code}: {help}"),
        };
    }
    match error {
        object_store::Error::NotFound { path, .. } => {
            format!("{path}: not found; if it was there a moment ago, somebody removed it")
        }
        object_store::Error::PermissionDenied { path, .. } => {
            format!("{path}: permission denied: check the role's policy and the bucket's policy")
        }
        object_store::Error::Unauthenticated { source, .. } => source.to_string(),
        // A server's page of XML or HTML helps nobody.
        _ => text
            .split('<')
            .next()
            .unwrap_or_default()
            .trim_end_matches([':', ' '])
            .to_owned(),
    }
}

/// A store's error below others.
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

fn path_of(error: &object_store::Error) -> Option<&str> {
    match error {
        object_store::Error::NotFound { path, .. }
        | object_store::Error::PermissionDenied { path, .. }
        | object_store::Error::Unauthenticated { path, .. } => Some(path),
        _ => None,
    }
}

/// A user's message: without DataFusion's layers of prefixes, backtrace and blame.
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
            let near = faisca_planner::manifest::nearest(&field.name, names.iter().copied());
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
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

//! Failures of a job, as its user sees them.

use datafusion::common::DataFusionError;
use faisca_executor::error::message;
use faisca_executor::protocol::{Failure, FailureKind};
use faisca_planner::manifest::ManifestError;

/// Why a job, or a part of it, did not succeed. Displays as a few plain lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest is wrong. Mend the file.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A statement cannot be planned: a name, a type, its grammar. Mend the statement.
    #[error("{0}")]
    Plan(String),
    /// A statement failed while it ran.
    #[error("{}", .0.message)]
    Run(Failure),
    /// The output cannot be written as asked.
    #[error("{0}")]
    Write(String),
    /// No executor could be started, or the session is shutting down.
    #[error("{0}")]
    Fleet(String),
    /// Executors could not be started or reached, because an operation of the system failed.
    #[error("{operation}: {source}")]
    FleetOperation {
        /// What was attempted, and on what.
        operation: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The platform, such as Kubernetes, refused a request or reported a failure.
    #[error("{0}")]
    Platform(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The user stopped the job.
    #[error("cancelled")]
    Cancelled,
    /// An error within a step or statement of a job.
    #[error("{place}: {source}")]
    At {
        /// The step, with file and line.
        place: String,
        /// What went wrong there.
        #[source]
        source: Box<Self>,
    },
}

/// Exit codes of the command, documented in docs/cli.md.
impl Error {
    /// Exit code of a job that its user must fix. The operator does not retry it.
    pub const EXIT_CODE_INVALID: u8 = 2;

    /// 2 for what its user must mend before trying again, 3 for what may go away by itself,
    /// 4 for a defect of Faísca, 130 for a cancelled job.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Manifest(_) | Self::Plan(_) | Self::Write(_) => Self::EXIT_CODE_INVALID,
            Self::Run(failure) => match failure.kind {
                FailureKind::User => Self::EXIT_CODE_INVALID,
                FailureKind::Resource
                | FailureKind::Transient
                | FailureKind::BlockLost(..)
                | FailureKind::ExecutorLost => 3,
                FailureKind::Bug => 4,
            },
            Self::Fleet(_) | Self::FleetOperation { .. } | Self::Platform(_) => 3,
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

    /// Tells where it happened.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self::At {
            place: place.into(),
            source: Box::new(self),
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
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

/// A task's failure on its way through DataFusion's streams.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TaskFailure(pub(crate) Failure);

/// An error of ours on its way through DataFusion.
pub(crate) fn external<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

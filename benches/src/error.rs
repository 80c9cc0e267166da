//! Failures of a benchmark.

use std::io;

/// Why a benchmark failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Faísca failed.
    #[error(transparent)]
    Engine(#[from] faisca::Error),
    /// DataFusion, with which Faísca is compared, failed.
    #[error(transparent)]
    DataFusion(#[from] datafusion::error::DataFusionError),
    /// A process that is measured cannot be started, or the connection to it broke.
    #[error("{process}: {source}")]
    Process {
        /// Its name or command.
        process: String,
        #[source]
        source: io::Error,
    },
    /// A process that is measured does not do what the benchmark needs.
    #[error("{process} {problem}")]
    Unusable {
        /// Its name or command.
        process: String,
        /// The problem, as a verb with its object: `launched no task`.
        problem: String,
    },
    /// Queries returned other rows than those that are known to be right.
    #[error("wrong results: {0}; the differences are above")]
    Wrong(String),
    /// The task that waits for a query panicked.
    #[error("the query's task: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl BenchError {
    /// Returns a function that wraps an error of starting or talking to a process, for `map_err`.
    pub(crate) fn process(process: &str) -> impl Fn(io::Error) -> Self + use<> {
        let process = process.to_owned();
        move |source| Self::Process {
            process: process.clone(),
            source,
        }
    }
}

/// Result of a benchmark that runs other processes.
pub(crate) type Result<T, E = BenchError> = std::result::Result<T, E>;

//! Runs this process as an executor, and provides the threads that run tasks.

use faisca_executor::control::ServeError;
use faisca_executor::environment::UserFunctions;
use faisca_executor::protocol::ExecutorConfig;
use tokio::runtime::{Handle, Runtime};

use crate::error::{Error, Result};

/// Stack of a thread that runs tasks: DataFusion polls deep plans and evaluates deep expressions by
/// recursion. Only pages in use take memory.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// The threads that run tasks. Dropping them never waits, because that would block async code.
pub(crate) struct Compute {
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Compute {
    /// Starts this many threads, at least one.
    ///
    /// # Errors
    /// If the system refuses threads.
    pub(crate) fn start(threads: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("faisca-task")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|source| Error::System {
                needed: "threads for tasks",
                source,
            })?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Returns a handle that spawns tasks on these threads.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves as an executor if this process was started as one, and then exits.
///
/// # Errors
/// If the environment is that of an executor, but invalid.
pub async fn serve_if_executor(functions: &UserFunctions) -> Result<()> {
    match ExecutorConfig::from_env().map_err(Error::of_fleet("starting as an executor"))? {
        Some(config) => serve_and_exit(config, functions).await,
        None => Ok(()),
    }
}

/// Serves tasks until the driver ends the connection, then exits with the code of the outcome.
pub(crate) async fn serve_and_exit(config: ExecutorConfig, functions: &UserFunctions) -> ! {
    let executor = config.executor;
    let outcome = match Compute::start(config.limits.slots as usize) {
        Ok(compute) => faisca_executor::control::run(config, functions, compute.handle()).await,
        Err(error) => Err(ServeError::broken("starting the threads of tasks", error)),
    };
    match outcome {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            tracing::error!("{executor}: {error}");
            std::process::exit(error.exit_code())
        }
    }
}

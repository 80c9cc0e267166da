//! Threads for tasks, and processes that serve as executors.

use faisca_executor::control::{ExecutorConfig, ServeError};
use faisca_executor::environment::UserFunctions;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};

/// The threads of tasks. Ends without waiting: a plain runtime must not be dropped in async code.
pub(crate) struct Compute(pub(crate) Option<Runtime>);

impl Compute {
    pub(crate) fn handle(&self) -> Result<tokio::runtime::Handle> {
        self.0
            .as_ref()
            .map(|runtime| runtime.handle().clone())
            .ok_or_else(|| Error::Fleet("the session has ended".to_owned()))
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves as an executor if this process was started as one, and then exits.
///
/// # Errors
/// If the environment is that of an executor, but broken.
pub async fn serve_if_executor(functions: &UserFunctions) -> Result<()> {
    match ExecutorConfig::from_env().map_err(Error::Fleet)? {
        Some(config) => serve_and_exit(config, functions).await,
        None => Ok(()),
    }
}

pub(crate) async fn serve_and_exit(config: ExecutorConfig, functions: &UserFunctions) -> ! {
    let executor = config.executor;
    let ended = match compute_runtime(config.slots as usize) {
        Ok(compute) => {
            let ended =
                faisca_executor::control::run(config, functions, compute.handle().clone()).await;
            compute.shutdown_background();
            ended
        }
        Err(error) => Err(ServeError::Broken(error.to_string())),
    };
    match ended {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            tracing::error!("{executor}: {error}");
            std::process::exit(error.exit_code())
        }
    }
}

pub(crate) fn compute_runtime(threads: usize) -> Result<Runtime> {
    const STACK_BYTES: usize = 8 * 1024 * 1024;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(threads.max(1))
        .thread_name("faisca-task")
        .thread_stack_size(STACK_BYTES)
        .enable_all();
    builder
        .build()
        .map_err(Error::of_fleet("threads for tasks"))
}

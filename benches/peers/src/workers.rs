//! Worker processes: this executable with other arguments, killed with the process that started them.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use datafusion::error::{DataFusionError, Result};

/// Maximum time until a worker listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A worker process, killed when dropped.
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts a worker and waits until it listens at `port`.
    pub(crate) async fn start(arguments: &[String], port: u16) -> Result<Self> {
        let worker = Self(
            Command::new(std::env::current_exe()?)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?,
        );
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, listening)
            .await
            .map_err(|_| {
                DataFusionError::External(format!("{arguments:?} does not listen").into())
            })?;
        Ok(worker)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns a port on which no process listens.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

//! An executor inside the driver's process.

use std::sync::Arc;

use async_trait::async_trait;
use faisca_executor::environment::Environment;
use faisca_executor::exchange::{BlockStore, PeerClients};
use faisca_executor::executor::Executor;
use faisca_executor::protocol::QUEUE_LENGTH;
use faisca_executor::protocol::{FromExecutor, Registration};
use faisca_planner::ids::ExecutorId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Fleet;
use crate::engine::{EngineHandle, Message};
use crate::error::Result;
use crate::scheduler::Placement;

/// The id of the driver's own executor.
pub const DRIVER: ExecutorId = ExecutorId::DRIVER;

/// An executor inside the driver's process, without encoding or a connection. Serves until dropped.
#[derive(Debug)]
pub struct EmbeddedExecutor {
    slots: u32,
    /// Serves the engine's commands.
    serving: JoinHandle<()>,
    /// Forwards the executor's reports to the engine.
    forwarding: JoinHandle<()>,
}

/// The role of an embedded executor.
#[derive(Debug, Clone)]
pub struct EmbeddedHost {
    /// Number of tasks it runs at once.
    pub slots: u32,
    /// The queries whose tasks it takes.
    pub placement: Placement,
    /// URL at which others fetch its blocks; `None` if there are no others.
    pub address: Option<String>,
}

impl EmbeddedExecutor {
    /// Starts serving, and registers with the engine.
    ///
    /// # Errors
    /// If the engine has ended.
    pub async fn start(
        engine: &EngineHandle,
        host: EmbeddedHost,
        environment: Arc<Environment>,
        store: Arc<BlockStore>,
        peers: Arc<PeerClients>,
        compute: Handle,
    ) -> Result<Self> {
        let (commands, received) = mpsc::channel(QUEUE_LENGTH);
        let (reports, mut pending) = mpsc::channel::<FromExecutor>(QUEUE_LENGTH);
        let registration = Registration {
            executor: DRIVER,
            slots: host.slots,
            address: host.address,
            version: faisca_executor::protocol::VERSION.to_owned(),
            build: faisca_executor::protocol::BUILD.to_owned(),
            canary: 0,
            pid: std::process::id(),
        };
        let serving = tokio::task::spawn(
            Executor::new(DRIVER, environment, store, peers, compute).serve(received, reports),
        );
        let report_engine = engine.clone();
        let forwarding = tokio::task::spawn(async move {
            while let Some(report) = pending.recv().await {
                if report_engine
                    .send(Message::Report(DRIVER, report))
                    .await
                    .is_err()
                {
                    break;
                }
            }
        });
        engine
            .send(Message::Connected {
                registration,
                commands,
                placement: host.placement,
            })
            .await?;
        Ok(Self {
            slots: host.slots,
            serving,
            forwarding,
        })
    }
}

#[async_trait]
impl Fleet for EmbeddedExecutor {
    fn slots_expected(&self) -> u32 {
        self.slots
    }

    /// Does nothing: the engine's last command ends it. If it ended before, it would count as lost.
    async fn stop(&self) {}
}

impl Drop for EmbeddedExecutor {
    fn drop(&mut self) {
        self.serving.abort();
        self.forwarding.abort();
    }
}

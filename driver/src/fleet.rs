//! Fleets start and stop executors. The engine decides what executors do.
//!
//! - `embedded`: one executor inside the driver's process; batches are not encoded
//! - `exit`: why a process ended
//! - `process`: executors as child processes, connected by Flight
//! - `planning`: no executors, for sessions that only plan
//! - [`control`]: the service to which executors connect
//! - [`platform`]: the environment that launched the driver
//! - `serve`: runs this process as an executor
//!
//! Executors as Kubernetes pods are a fleet of the `faisca-k8s` crate.

pub mod control;
mod embedded;
mod exit;
mod planning;
pub mod platform;
mod process;
pub(crate) mod serve;

use std::fmt::Debug;
use std::net::IpAddr;

use async_trait::async_trait;
use faisca_executor::protocol::Limits;

pub use embedded::{DRIVER, EmbeddedExecutor, EmbeddedHost};
pub use exit::{cause_of_code, cause_of_signal};
pub use planning::PlanningLauncher;
pub use process::{ProcessFleet, ProcessLauncher};
pub use serve::serve_if_executor;

use crate::engine::EngineHandle;
use crate::error::{Error, Result};
use control::ControlServer;

/// A set of executors that a session started.
///
/// **Callers.** Only the session: [`Launcher::launch`] creates the fleet when the session starts,
/// and [`Fleet::stop`] ends it when the session ends.
///
/// **Obligations of an implementor.**
///
/// - It requests all executors when it is created, and replaces those that end by themselves, a
///   bounded number of times.
/// - It calls [`EngineHandle::report_fleet_lost`] when it will never have an executor again, and
///   [`EngineHandle::report_executor_lost`] with the cause when it learns why an executor ended.
///   The engine learns of each executor, and of a loss without a known cause, from the executor's
///   own connection.
/// - It ends the process of an executor that [`ControlServer::dead_executors`] announces.
/// - Dropping it leaves no executor behind, even if `stop` was not called or was cancelled.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// Returns the number of task slots once every requested executor is up. Constant, except that
    /// a fleet that scales returns its maximum. Called once for each query; must not block.
    fn slots_expected(&self) -> u32;

    /// Ends every executor, and returns when none is left. Idempotent.
    ///
    /// When it is first polled, the fleet stops replacing executors. The engine asks them to end at
    /// the same time, and one that does not end is killed. If the future is dropped, executors may
    /// be left until the fleet is dropped.
    async fn stop(&self);
}

/// A way to start executors: as processes on this machine, or as pods in a cluster.
///
/// Called by the session only, once: `token` and `host` first, since they configure the control
/// service to which executors connect; then `launch`.
#[async_trait]
pub trait Launcher: Debug + Send + Sync {
    /// Returns an address of this machine that executors can reach.
    fn host(&self) -> IpAddr;

    /// Returns the token with which executors authenticate; `None` if the session chooses one.
    fn token(&self) -> Option<String>;

    /// Requests all executors, and returns without waiting for them: each registers with the
    /// control service when it is up. If the future fails or is dropped, the control service in
    /// `request` is dropped, and executors that were requested before end by themselves.
    ///
    /// # Errors
    /// If an executor cannot be requested. One that fails to start later is replaced instead.
    async fn launch(&self, request: FleetRequest) -> Result<Box<dyn Fleet>>;
}

/// The executors that a session requests, and the parameters that they need.
#[derive(Debug)]
pub struct FleetRequest {
    /// Number of executors.
    pub executors: u32,
    /// Task slots of each.
    pub slots: u32,
    /// Limits of each.
    pub limits: Limits,
    /// The token with which executors authenticate.
    pub token: String,
    /// Maximum number of executors started in place of others, in total.
    pub replacements_max: u32,
    /// Receives the report that the fleet is lost, and knows the number of slots wanted.
    pub engine: EngineHandle,
    /// The control service, to be kept as long as the fleet.
    pub control: ControlServer,
}

impl FleetRequest {
    /// Returns the environment variables that make a process an executor of this session. The
    /// caller adds the executor's id.
    ///
    /// # Errors
    /// If a value cannot be serialized, which would be a defect of Faísca.
    pub fn variables(&self) -> Result<Vec<(&'static str, String)>> {
        self.limits
            .variables(&self.control.url, &self.token)
            .map_err(Error::of_fleet("settings of the executors"))
    }
}

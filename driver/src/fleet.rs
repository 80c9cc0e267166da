//! A fleet starts and stops executors. What they do, the engine tells them.
//!
//! - `embedded`: one executor inside the driver; batches pass without encoding
//! - `process`: child processes of the driver, over Flight
//! - Kubernetes pods: the `faisca-k8s` crate

pub mod control;
mod embedded;
pub mod platform;
mod process;
pub(crate) mod serve;

use std::fmt::Debug;
use std::net::IpAddr;

use async_trait::async_trait;
use faisca_executor::control::env;
use faisca_executor::environment::Limits;

pub use embedded::{DRIVER, EmbeddedExecutor, EmbeddedHost};
pub use process::{ProcessFleet, ProcessLauncher};
pub use serve::serve_if_executor;

use crate::engine::EngineHandle;
use crate::error::{Error, Result};
use control::ControlServer;

/// Starts and stops executors. Called by the session only.
///
/// An implementor asks for all its executors when it is made, and replaces those that end by
/// themselves; the engine learns of each from its connection, never from the fleet. Dropping a
/// fleet must leave no executor behind.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// Task slots once every executor is up.
    fn slots_expected(&self) -> u32;

    /// Stops every executor and waits for their end. Idempotent.
    async fn stop(&self);
}

/// A way to start executors: as processes of this machine, as pods of a cluster.
#[async_trait]
pub trait Launcher: Debug + Send + Sync {
    /// Address of this machine that executors can reach.
    fn host(&self) -> IpAddr;

    /// The token that executors will show, if it is not for the session to choose.
    fn token(&self) -> Option<String>;

    /// Asks for all executors at once; they register as they come up.
    ///
    /// # Errors
    /// If they cannot be asked for.
    async fn launch(&self, request: FleetRequest) -> Result<Box<dyn Fleet>>;
}

/// Which executors a session wants, and what they must know.
#[derive(Debug)]
pub struct FleetRequest {
    /// How many.
    pub executors: u32,
    /// Slots of each.
    pub slots: u32,
    /// Limits of each.
    pub limits: Limits,
    /// The job's token.
    pub token: String,
    /// Executors started instead of ended ones, in all.
    pub replacements_max: u32,
    /// Hears of a fleet that is gone for good.
    pub engine: EngineHandle,
    /// What executors dial; stops with the fleet.
    pub control: ControlServer,
}

impl FleetRequest {
    /// What makes a process an executor of this session, but for its number.
    ///
    /// # Errors
    /// Only if a value cannot be serialized, which would be a bug.
    pub fn variables(&self) -> Result<Vec<(&'static str, String)>> {
        let mut variables = vec![
            (env::DRIVER, self.control.url.clone()),
            (env::TOKEN, self.token.clone()),
            (env::SLOTS, self.slots.to_string()),
        ];
        if let Some(bytes) = self.limits.memory_bytes {
            variables.push((env::MEMORY, bytes.to_string()));
        }
        if let Some(folder) = &self.limits.spill_folder {
            variables.push((env::SPILL, folder.display().to_string()));
        }
        if !self.limits.stores.is_empty() {
            let json = serde_json::to_string(&self.limits.stores)
                .map_err(|e| Error::Fleet(format!("stores: {e}")))?;
            variables.push((env::STORES, json));
        }
        if let Some(durable) = &self.limits.durable {
            let json = serde_json::to_string(durable)
                .map_err(|e| Error::Fleet(format!("durable exchange: {e}")))?;
            variables.push((env::DURABLE, json));
        }
        Ok(variables)
    }
}

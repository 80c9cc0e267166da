//! A fleet starts and stops executors. What they do, the engine tells them.
//!
//! - `embedded`: one executor inside the driver; batches pass without encoding
//! - `process`: child processes of the driver, over Flight
//! - Kubernetes pods: the `faisca-k8s` crate

mod embedded;
mod process;

use async_trait::async_trait;

pub use embedded::{DRIVER, EmbeddedExecutor, EmbeddedHost};
pub use process::{ProcessFleet, ProcessFleetConfig};

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

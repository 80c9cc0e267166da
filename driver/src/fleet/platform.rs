//! The platform that launched the driver, such as a pod that an operator created for a resource.
//!
//! A program on the job API is the same on a laptop and on a cluster. The platform decides what
//! differs: how many executors there are, how they start, and where progress is reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use faisca_planner::manifest::Stores;
use futures::future::BoxFuture;

use super::Launcher;
use crate::engine::progress::{Progress, Snapshot};
use crate::error::Result;

/// What a platform decides about a session.
#[derive(Debug)]
pub struct PlatformSettings {
    /// Number of executors; 0 runs tasks in the driver.
    pub executors: u32,
    /// How the executors start.
    pub launcher: Arc<dyn Launcher>,
    /// Task slots of each executor; `None` keeps the program's.
    pub executor_cores: Option<u32>,
    /// Memory of each executor in bytes; `None` keeps the program's.
    pub memory_bytes: Option<u64>,
    /// Object store settings; empty keeps the program's.
    pub stores: Stores,
    /// Settings for which the program chose no value.
    pub default_settings: BTreeMap<String, String>,
}

/// The platform that launched this driver. Called by the session only: `settings` once, before
/// anything starts; then `follow`, and `ended` once.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Returns what the platform decides: executors, how they start, and their size.
    ///
    /// # Errors
    /// If the platform's own configuration is invalid.
    fn settings(&self) -> Result<PlatformSettings>;

    /// Reports the progress of the job. Runs until it is dropped, and must tolerate that at any
    /// await.
    async fn follow(&self, progress: Arc<Progress>);

    /// Reports the final progress, after all executors have ended.
    async fn report_end(&self, snapshot: &Snapshot);
}

/// Detects the platform of this process; `None` if no platform launched it.
pub type FindPlatform = fn() -> BoxFuture<'static, Result<Option<Arc<dyn Platform>>>>;

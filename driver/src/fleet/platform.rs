//! The platform that started this driver, for example a Kubernetes pod that an operator created.
//!
//! A program that uses the job API is the same on a laptop and on a cluster. The platform knows
//! what differs: the number of executors and how they start, and who wants to be informed of the
//! progress.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::engine::progress::{Progress, Snapshot};
use crate::error::Result;
use crate::session::SessionBuilder;

/// The platform that started this driver. Called by the session only: `settle` once, before
/// anything starts; then `follow`, and `ended` once.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Sets what the platform decides: the executors, how they start, their size, and defaults for
    /// settings that the program did not choose.
    ///
    /// # Errors
    /// If the platform's own configuration is invalid.
    fn settle(&self, builder: SessionBuilder) -> Result<SessionBuilder>;

    /// Reports the progress of the job. Runs until it is dropped, and must tolerate that at any
    /// await.
    async fn follow(&self, progress: Arc<Progress>);

    /// Reports the final progress, after all executors have ended.
    async fn ended(&self, snapshot: &Snapshot);
}

/// Finds the platform that started this process; `None` if none did.
pub type FindPlatform = fn() -> BoxFuture<'static, Result<Option<Arc<dyn Platform>>>>;

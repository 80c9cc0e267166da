//! Where a driver was started on behalf of something: a pod that an operator made for a resource.
//!
//! A program on the job API is the same on a laptop and on a cluster. What differs, the place
//! knows: how many executors there are and how they start, and who wants to hear how far the job
//! is.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::engine::progress::{Progress, Snapshot};
use crate::error::Result;
use crate::session::SessionBuilder;

/// A place that drivers are started in. Called by the session only.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Fills in what the place decides: executors, how they start, their size; and settings that
    /// the program left open.
    ///
    /// # Errors
    /// If what the place was told makes no sense.
    fn settle(&self, builder: SessionBuilder) -> Result<SessionBuilder>;

    /// Tells how far the job is, until dropped.
    async fn follow(&self, progress: Arc<Progress>);

    /// Hears of the session's end.
    async fn ended(&self, snapshot: &Snapshot);
}

/// Looks whether this process is in such a place.
pub type FindPlatform = fn() -> BoxFuture<'static, Result<Option<Arc<dyn Platform>>>>;

//! What a session owns: the services that its dataframes, statements and writes share.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use faisca_executor::stores::Stores as ObjectStores;

use crate::catalog::Catalogs;
use crate::engine::progress::Progress;
use crate::fleet::platform::Platform;
use crate::fleet::serve::Compute;
use crate::input::Tables;
use crate::statement::Cluster;

pub(crate) struct Services {
    pub(crate) context: SessionContext,
    pub(crate) tables: Arc<Tables>,
    /// Folder of the tables that have a name, but no path.
    pub(crate) warehouse: String,
    pub(crate) catalogs: Arc<Catalogs>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) object_stores: Arc<ObjectStores>,
    pub(crate) reporter: Option<PlatformReporter>,
    pub(crate) _compute: Compute,
    pub(crate) engine_task: tokio::task::JoinHandle<()>,
}

impl Drop for Services {
    fn drop(&mut self) {
        self.engine_task.abort();
    }
}

/// The platform that launched the driver, and the task that reports progress to it.
pub(crate) struct PlatformReporter {
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) following: tokio::task::JoinHandle<()>,
}

impl PlatformReporter {
    pub(crate) fn start(platform: Arc<dyn Platform>, progress: Arc<Progress>) -> Self {
        let reporter = Arc::clone(&platform);
        Self {
            platform,
            following: tokio::spawn(async move { reporter.follow(progress).await }),
        }
    }
}

impl Drop for PlatformReporter {
    fn drop(&mut self) {
        self.following.abort();
    }
}

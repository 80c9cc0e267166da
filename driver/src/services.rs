//! The services that a session owns, and that its dataframes, statements and writes share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use faisca_executor::spill::SpillGuard;
use faisca_executor::storage::ObjectStores;
use faisca_planner::manifest::Source;
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinHandle, JoinSet};

use crate::catalog::Catalogs;
use crate::engine::Message;
use crate::engine::progress::{Progress, Snapshot};
use crate::error::Result;
use crate::fleet::platform::Platform;
use crate::fleet::serve::Compute;
use crate::input::source::open;
use crate::input::{Ownership, TableFiles, Tables, Variables};
use crate::journal::Journal;
use crate::journal::record::Record;
use crate::statement::Cluster;
use crate::write_identity::RunId;

/// How long the end of a session waits for abandoned writes to abort their uploads. `faisca clean`
/// finds what is left after that.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the drop of a session that was not stopped waits for the platform's final report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that runs for a session. Dropping it stops the engine, ends the journal, and waits for
/// the platform's final report and for abandoned writes if it can.
pub(crate) struct Services {
    // Dropped in this order: the stores and the engine's threads outlive the abandoned writes.
    pub(crate) abandoned_writes: AbandonedWrites,
    pub(crate) context: SessionContext,
    pub(crate) tables: Arc<Tables>,
    pub(crate) variables: Arc<Variables>,
    /// Folder of the tables that have a name, but no path.
    pub(crate) warehouse: String,
    pub(crate) catalogs: Arc<Catalogs>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) object_stores: Arc<ObjectStores>,
    pub(crate) reporter: Option<PlatformReporter>,
    pub(crate) engine_task: JoinHandle<()>,
    pub(crate) journal: Journal,
    /// The run, whose committed writes are not repeated.
    pub(crate) run: Option<RunId>,
    /// Whether the journal has ended and the platform was notified.
    pub(crate) is_finished: AtomicBool,
    pub(crate) _compute: Compute,
    /// Deletes the spill files of the embedded executor when it is dropped.
    pub(crate) _spilled: SpillGuard,
}

impl Services {
    /// Registers a table under a name, with the files that statements write to, if there are any.
    ///
    /// # Errors
    /// Returns an error if two of its columns differ only by case.
    pub(crate) fn register_table(
        &self,
        name: &str,
        provider: Arc<dyn TableProvider>,
        files: Option<TableFiles>,
    ) -> Result<()> {
        self.tables.register(&self.context, name, provider, files)
    }

    /// Registers files as a table.
    ///
    /// # Errors
    /// Returns an error if the files cannot be read, or two columns differ only by case.
    pub(crate) async fn register_source(&self, source: &Source) -> Result<()> {
        let provider = open(&self.context, source).await?;
        let files = TableFiles {
            source: source.clone(),
            partition_by: vec![],
            ownership: Ownership::External,
        };
        self.register_table(&source.name, provider, Some(files))
    }

    /// Stops the fleet and the engine, and waits until both have ended. Running queries fail.
    pub(crate) async fn stop(&self) {
        let cluster = &self.cluster;
        // Both at once: a fleet that knows it stops does not replace executors that the engine
        // ends.
        let _ = futures::join!(cluster.fleet.stop(), cluster.engine.send(Message::Shutdown));
        if let Some(embedded) = &cluster.embedded {
            embedded.stop().await;
        }
        cluster.engine.wait_for_end().await;
        self.abandoned_writes.wait().await;
        if self.finish_journal()
            && let Some(reporter) = &self.reporter
        {
            reporter.end(&cluster.engine.progress.snapshot()).await;
        }
    }

    /// Ends the journal. Returns false if that was done before.
    fn finish_journal(&self) -> bool {
        if self.is_finished.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.journal.record(Record::RunFinished);
        self.journal.close();
        true
    }
}

impl Drop for Services {
    /// Ends what a program that forgets [`Self::stop`] would leave open. The executors end when the
    /// fleet is dropped.
    fn drop(&mut self) {
        self.engine_task.abort();
        // The journal of a run that ends by a panic must not say that it finished.
        if std::thread::panicking() || !self.finish_journal() {
            return;
        }
        let (Some(reporter), Ok(runtime)) = (self.reporter.take(), Handle::try_current()) else {
            return;
        };
        let snapshot = self.cluster.engine.progress.snapshot();
        let report = async move {
            let _ = tokio::time::timeout(REPORT_TIMEOUT, reporter.end(&snapshot)).await;
        };
        if runtime.runtime_flavor() == RuntimeFlavor::MultiThread {
            // The process may exit at once.
            tokio::task::block_in_place(|| runtime.block_on(report));
        } else {
            // A single thread would wait for itself.
            runtime.spawn(report);
        }
    }
}

/// Writes that failed or were cancelled and still abort their uploads. Their own futures are
/// dropped, so the session waits for them: when it stops, or when it is dropped.
#[derive(Default)]
pub(crate) struct AbandonedWrites(
    /// Held for single changes only, never across an await.
    Mutex<JoinSet<()>>,
);

impl AbandonedWrites {
    /// Aborts a write in the background. Without a runtime nothing happens, and `faisca clean`
    /// removes what the write left.
    pub(crate) fn spawn(&self, abort: impl Future<Output = ()> + Send + 'static) {
        if Handle::try_current().is_err() {
            return;
        }
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(abort);
    }

    /// Waits until no write is left, for at most [`ABORT_TIMEOUT`].
    pub(crate) async fn wait(&self) {
        let tasks = std::mem::take(&mut *self.0.lock());
        wait_for(tasks).await;
    }
}

impl Drop for AbandonedWrites {
    fn drop(&mut self) {
        let mut tasks = std::mem::take(&mut *self.0.lock());
        if tasks.is_empty() {
            return;
        }
        match Handle::try_current() {
            // A cancelled job drops its session, and its process may exit at once.
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
                tokio::task::block_in_place(|| runtime.block_on(wait_for(tasks)));
            }
            // A single thread would wait for itself.
            _ => tasks.detach_all(),
        }
    }
}

async fn wait_for(mut tasks: JoinSet<()>) {
    let _ = tokio::time::timeout(ABORT_TIMEOUT, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
}

/// The platform that launched the driver, and the task that reports progress to it.
pub(crate) struct PlatformReporter {
    platform: Arc<dyn Platform>,
    task: JoinHandle<()>,
}

impl PlatformReporter {
    pub(crate) fn start(platform: Arc<dyn Platform>, progress: Arc<Progress>) -> Self {
        let follower = Arc::clone(&platform);
        Self {
            platform,
            task: tokio::spawn(async move { follower.follow(progress).await }),
        }
    }

    /// Stops following the progress, and reports the final one.
    async fn end(&self, snapshot: &Snapshot) {
        self.task.abort();
        self.platform.report_end(snapshot).await;
    }
}

impl Drop for PlatformReporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

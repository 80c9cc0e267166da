//! The builder that configures and starts a session.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use faisca_executor::environment::UserFunctions;
use faisca_planner::manifest::Stores;

use super::Session;
use crate::fleet::Launcher;
use crate::fleet::platform::{FindPlatform, PlatformSettings};

/// Configures a session; [`Self::get_or_create`] starts it. Every setting has a default.
///
/// ```no_run
/// use faisca_driver::SessionBuilder;
///
/// # async fn example() -> faisca_driver::Result<()> {
/// let session = SessionBuilder::<faisca_driver::Session>::default()
///     .app_name("titanic")
///     .executors(2)
///     .executor_cores(2)
///     .memory_bytes(2 << 30)
///     .partitions(8)
///     .spill_folder("/mnt/scratch")
///     .config("faisca.smallQueryBytes", "0")
///     .configs([("spark.sql.ansi.enabled", "false"), ("spark.sql.session.timeZone", "UTC")])
///     .get_or_create()
///     .await?;
/// session.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// `S` is the type of the session, for a crate that wraps [`Session`].
pub struct SessionBuilder<S = Session> {
    pub(super) options: SessionOptions,
    session: PhantomData<fn() -> S>,
}

/// What a [`SessionBuilder`] collects.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionOptions {
    pub(super) app_name: Option<String>,
    pub(super) executors: u32,
    pub(super) executor_cores: Option<u32>,
    pub(super) memory: Option<u64>,
    pub(super) partitions: Option<usize>,
    pub(super) spill_folder: Option<PathBuf>,
    pub(super) stores: Stores,
    pub(super) executor_binary: Option<PathBuf>,
    pub(super) launcher: Option<Arc<dyn Launcher>>,
    pub(super) platform: Option<FindPlatform>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) functions: UserFunctions,
}

impl<S> Default for SessionBuilder<S> {
    fn default() -> Self {
        Self::with_options(SessionOptions::default())
    }
}

impl<S> Clone for SessionBuilder<S> {
    fn clone(&self) -> Self {
        Self::with_options(self.options.clone())
    }
}

impl<S> fmt::Debug for SessionBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl<S> SessionBuilder<S> {
    fn with_options(options: SessionOptions) -> Self {
        Self {
            options,
            session: PhantomData,
        }
    }

    /// Sets the name of the application, which appears in logs. Default: `faisca`.
    #[must_use]
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.options.app_name = Some(name.into());
        self
    }

    /// Sets the number of executor processes. Default: 0, which runs all tasks in this process.
    #[must_use]
    pub fn executors(mut self, count: u32) -> Self {
        self.options.executors = count;
        self
    }

    /// Sets the number of task slots of each executor, which is how many tasks it runs at the same
    /// time. The minimum is 1. Default: the cores of this machine divided by the number of
    /// executors.
    #[must_use]
    pub fn executor_cores(mut self, cores: u32) -> Self {
        self.options.executor_cores = Some(cores.max(1));
        self
    }

    /// Limits the memory of each executor, in bytes. Most operators spill to disk when they reach
    /// the limit. [`Self::get_or_create`] fails if it is less than 32 MiB for each slot. Default:
    /// no limit.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.options.memory = Some(bytes);
        self
    }

    /// Sets the number of partitions of exchanges and scans. The minimum is 1. Default: 2 for each
    /// slot of all executors, or 4 with a memory limit.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.options.partitions = Some(partitions.max(1));
        self
    }

    /// Sets the folder to which operators and exchanges spill. Default: the system's folder for
    /// temporary files.
    #[must_use]
    pub fn spill_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.spill_folder = Some(folder.into());
        self
    }

    /// Sets the settings of object stores, keyed by `s3://bucket` or by scheme. Missing values are
    /// read from the environment.
    #[must_use]
    pub fn stores(mut self, stores: Stores) -> Self {
        self.options.stores = stores;
        self
    }

    /// Sets the binary that executor processes run. Default: this process's own binary, which
    /// contains the functions registered here.
    #[must_use]
    pub fn executor_binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.options.executor_binary = Some(binary.into());
        self
    }

    /// Sets how executors are started. Default: as processes on this machine.
    #[must_use]
    pub fn launcher(mut self, launcher: Arc<dyn Launcher>) -> Self {
        self.options.launcher = Some(launcher);
        self
    }

    /// Sets the function that detects the platform, for example Kubernetes. A detected platform
    /// provisions the executors, and its sizes take precedence over those set here. Default: none.
    #[must_use]
    pub fn platform(mut self, find: FindPlatform) -> Self {
        self.options.platform = Some(find);
        self
    }

    /// Sets a setting by name. [`Self::get_or_create`] fails for an unknown name or an invalid
    /// value.
    ///
    /// - `faisca.smallQueryBytes`: queries that read less run in the driver; bytes, or a size such
    ///   as `4Mi`; 0 sends every query to the executors; default: 1 MiB
    /// - `faisca.warehouse` or `spark.sql.warehouse.dir`: folder of tables that are written by
    ///   name; default: `spark-warehouse`
    /// - `faisca.statement.timeout`: longest time that a query may run, such as `90s` or `2h`;
    ///   default: no limit
    /// - `faisca.network.encryption`: TLS between driver and executors: `on`, `off`, or `auto`,
    ///   which is on where traffic leaves the machine; default: `auto`
    /// - `faisca.journal.path`: file for the journal of the run, from which `faisca report` makes a
    ///   page; default: none
    /// - `faisca.exchange.store`: URL of an object store folder for copies of exchange blocks,
    ///   which survive the loss of an executor; default: none
    /// - `faisca.exchange.durability`: when blocks are copied there: `never`, `onDrain`, `async` or
    ///   `sync`; default: `async`
    /// - `faisca.glue.endpoint`, `faisca.glue.region`, `faisca.glue.profile`,
    ///   `faisca.glue.catalogId`: how to reach AWS Glue; default: from the environment
    /// - `faisca.share_stages` and the other optimizer rules of Faísca: `true` or `false`; default:
    ///   `true`
    /// - `datafusion.*`: any setting of DataFusion
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.settings.insert(key.into(), value.into());
        self
    }

    /// Sets several settings, as [`Self::config`] does.
    #[must_use]
    pub fn configs<K: Into<String>, V: Into<String>>(
        self,
        settings: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let set = |builder: Self, (key, value)| builder.config(key, value);
        settings.into_iter().fold(self, set)
    }

    /// Registers a scalar function for SQL, in the driver and on every executor.
    #[must_use]
    pub fn udf(mut self, udf: ScalarUDF) -> Self {
        self.options.functions.scalar.push(Arc::new(udf));
        self
    }

    /// Registers an aggregate function for SQL, in the driver and on every executor.
    #[must_use]
    pub fn udaf(mut self, udaf: AggregateUDF) -> Self {
        self.options.functions.aggregate.push(Arc::new(udaf));
        self
    }

    /// Registers a window function for SQL, in the driver and on every executor.
    #[must_use]
    pub fn udwf(mut self, udwf: WindowUDF) -> Self {
        self.options.functions.window.push(Arc::new(udwf));
        self
    }
}

impl SessionOptions {
    /// Applies the settings of the platform. Its executors and sizes take precedence over those of
    /// the program, because the platform has provisioned them. Its other settings are only
    /// defaults.
    pub(super) fn with_platform(mut self, platform: PlatformSettings) -> Self {
        self.executors = platform.executors;
        self.launcher = Some(platform.launcher);
        if !platform.stores.is_empty() {
            self.stores = platform.stores;
        }
        if let Some(cores) = platform.executor_cores {
            self.executor_cores = Some(cores.max(1));
        }
        self.memory = platform.memory_bytes.or(self.memory);
        for (key, value) in platform.default_settings {
            self.settings.entry(key).or_insert(value);
        }
        self
    }
}

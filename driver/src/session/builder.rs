//! The builder that configures and starts a session.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use faisca_executor::environment::UserFunctions;
use faisca_planner::manifest::Stores;

use crate::fleet::Launcher;
use crate::fleet::platform::{FindPlatform, PlatformSettings};

/// Configures a session; [`Self::get_or_create`] starts it. Every setting has a default.
///
/// ```no_run
/// use faisca_driver::SessionBuilder;
///
/// # async fn example() -> faisca_driver::Result<()> {
/// let session = SessionBuilder::default()
///     .app_name("titanic")
///     .executors(2)
///     .executor_cores(2)
///     .memory_bytes(2 << 30)
///     .config("faisca.smallQueryBytes", "0")
///     .get_or_create()
///     .await?;
/// session.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct SessionBuilder {
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

impl SessionBuilder {
    /// Sets the name of the application, which appears in logs. Default: `faisca`.
    #[must_use]
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.app_name = Some(name.into());
        self
    }

    /// Sets the number of executor processes. Default: 0, which runs all tasks in this process.
    #[must_use]
    pub fn executors(mut self, count: u32) -> Self {
        self.executors = count;
        self
    }

    /// Sets the number of task slots of each executor, which is how many tasks it runs at the same
    /// time. The minimum is 1. Default: the cores of this machine divided by the number of
    /// executors.
    #[must_use]
    pub fn executor_cores(mut self, cores: u32) -> Self {
        self.executor_cores = Some(cores.max(1));
        self
    }

    /// Limits the memory of each executor, in bytes. Most operators spill to disk when they reach
    /// the limit. [`Self::get_or_create`] fails if it is less than 32 MiB for each slot. Default:
    /// no limit.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets the number of partitions of exchanges and scans. The minimum is 1. Default: 2 for each
    /// slot of all executors, or 4 with a memory limit.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = Some(partitions.max(1));
        self
    }

    /// Sets the folder to which operators and exchanges spill. Default: the system's folder for
    /// temporary files.
    #[must_use]
    pub fn spill_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spill_folder = Some(folder.into());
        self
    }

    /// Sets the settings of object stores, keyed by `s3://bucket` or by scheme. Missing values are
    /// read from the environment.
    #[must_use]
    pub fn stores(mut self, stores: Stores) -> Self {
        self.stores = stores;
        self
    }

    /// Sets the binary that executor processes run. Default: this process's own binary, which
    /// contains the functions registered here.
    #[must_use]
    pub fn executor_binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.executor_binary = Some(binary.into());
        self
    }

    /// Sets how executors are started. Default: as processes on this machine.
    #[must_use]
    pub fn launcher(mut self, launcher: Arc<dyn Launcher>) -> Self {
        self.launcher = Some(launcher);
        self
    }

    /// Sets the function that detects the platform, for example Kubernetes. A detected platform
    /// provisions the executors, and its sizes take precedence over those set here. Default: none.
    #[must_use]
    pub fn platform(mut self, find: FindPlatform) -> Self {
        self.platform = Some(find);
        self
    }

    /// Sets a setting as [`Self::config`] does, unless it already has a value. A later call of
    /// [`Self::config`] replaces it.
    #[must_use]
    pub fn default_config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings
            .entry(key.into())
            .or_insert_with(|| value.into());
        self
    }

    /// Sets a setting by name. [`Self::get_or_create`] fails for an unknown name or an invalid
    /// value.
    ///
    /// - `faisca.smallQueryBytes`: queries that read less run in the driver; bytes, or a size such
    ///   as `4Mi`; 0 sends every query to the executors; default: 1 MiB
    /// - `faisca.warehouse` or `spark.sql.warehouse.dir`: folder of tables that are written by
    ///   name; default: `spark-warehouse`
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
        self.settings.insert(key.into(), value.into());
        self
    }

    /// Registers a scalar function for SQL, in the driver and on every executor.
    #[must_use]
    pub fn udf(mut self, udf: ScalarUDF) -> Self {
        self.functions.scalar.push(Arc::new(udf));
        self
    }

    /// Registers an aggregate function for SQL, in the driver and on every executor.
    #[must_use]
    pub fn udaf(mut self, udaf: AggregateUDF) -> Self {
        self.functions.aggregate.push(Arc::new(udaf));
        self
    }

    /// Registers a window function for SQL, in the driver and on every executor.
    #[must_use]
    pub fn udwf(mut self, udwf: WindowUDF) -> Self {
        self.functions.window.push(Arc::new(udwf));
        self
    }

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
            self = self.executor_cores(cores);
        }
        self.memory = platform.memory_bytes.or(self.memory);
        platform
            .default_settings
            .into_iter()
            .fold(self, |builder, (key, value)| {
                builder.default_config(key, value)
            })
    }
}

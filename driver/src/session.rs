//! The session: entry to everything, as in Spark.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;
use faisca_executor::control::{ExecutorConfig, ServeError};
use faisca_executor::environment::{Environment, Limits, UserFunctions, register_functions};
use faisca_executor::exchange::{BlockStore, DurableExchange, PeerClients};
use faisca_executor::flight::BlockService;
use faisca_executor::stores::Stores as ObjectStores;
use faisca_executor::wire::Durability;
use faisca_planner::manifest::{FileFormat, Source, Stores};
use faisca_planner::rules::{logical_rules, physical_rules};
use tokio::runtime::Runtime;

use crate::catalog::{Catalogs, register_catalogs};
use crate::cluster::Cluster;
use crate::control::ControlServer;
use crate::dataframe::DataFrame;
use crate::engine::{EngineHandle, Message};
use crate::error::{Error, Result};
use crate::fleet::{
    DRIVER, EmbeddedExecutor, EmbeddedHost, Fleet, FleetRequest, Launcher, ProcessLauncher,
};
use crate::planner::DistributedPlanner;
use crate::platform::{FindPlatform, Platform};
use crate::progress::{Progress, Snapshot};
use crate::read::DataFrameReader;
use crate::scheduler::RetryLimits;
use crate::settings::{Resources, session_config};
use crate::tables::{TableFiles, Tables};

/// With less memory for each slot, not even the buffers of one sort fit.
const SLOT_MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// Bytes of a job's token.
const TOKEN_BYTES: usize = 16;
/// Random bytes in the names of durable blocks.
const RUN_BYTES: usize = 6;
/// Exchanges have this many partitions for each slot, so that skew and slow executors even out. More make joins slower: their
/// keys are less dense, and each task builds its own table of what is broadcast.
const PARTITIONS_PER_SLOT: usize = 2;
/// With a memory limit, what a task holds must be smaller.
const PARTITIONS_PER_LIMITED_SLOT: usize = 4;
/// Part of an executor's memory that operators and exchange share; the rest is for what no pool sees.
const POOL_FRACTION: f64 = 0.7;
/// Children started instead of ended ones, for each executor asked for.
const REPLACEMENTS_PER_EXECUTOR: u32 = 8;

/// Settings of a session before it starts.
#[derive(Debug, Clone, Default)]
pub struct SessionBuilder {
    app_name: Option<String>,
    executors: u32,
    executor_cores: Option<u32>,
    memory: Option<u64>,
    partitions: Option<usize>,
    spill_folder: Option<PathBuf>,
    stores: Stores,
    executor_binary: Option<PathBuf>,
    launcher: Option<Arc<dyn Launcher>>,
    platform: Option<FindPlatform>,
    settings: BTreeMap<String, String>,
    functions: UserFunctions,
}

impl SessionBuilder {
    /// Name of the job, for logs.
    #[must_use]
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.app_name = Some(name.into());
        self
    }

    /// So many executors, each a process of its own; 0, the default, runs tasks in this process.
    #[must_use]
    pub fn executors(mut self, count: u32) -> Self {
        self.executors = count;
        self
    }

    /// Task slots of each executor. Default: this machine's cores, shared between executors.
    #[must_use]
    pub fn executor_cores(mut self, cores: u32) -> Self {
        self.executor_cores = Some(cores.max(1));
        self
    }

    /// Memory of each executor in bytes. Default: no limit.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Partitions of exchanges and scans. Default: 2 for each slot, 4 with a memory limit.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = Some(partitions.max(1));
        self
    }

    /// Folder to spill to. Default: the system's for temporary files.
    #[must_use]
    pub fn spill_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spill_folder = Some(folder.into());
        self
    }

    /// How buckets are reached, by `s3://bucket` or `s3://`. What is absent comes from the environment.
    #[must_use]
    pub fn stores(mut self, stores: Stores) -> Self {
        self.stores = stores;
        self
    }

    /// Binary of the executors. Default: this process's own, so that its functions are there.
    #[must_use]
    pub fn executor_binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.executor_binary = Some(binary.into());
        self
    }

    /// How executors are started. Default: as processes of this machine.
    #[must_use]
    pub fn launcher(mut self, launcher: Arc<dyn Launcher>) -> Self {
        self.launcher = Some(launcher);
        self
    }

    /// How the session learns that it is in a place that decides of its executors. Default: it is not.
    #[must_use]
    pub fn platform(mut self, find: FindPlatform) -> Self {
        self.platform = Some(find);
        self
    }

    /// A setting that holds unless the program chose it.
    #[must_use]
    pub fn default_config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings
            .entry(key.into())
            .or_insert_with(|| value.into());
        self
    }

    /// A setting: `faisca.smallQueryBytes` or any of DataFusion's `datafusion.*`.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(key.into(), value.into());
        self
    }

    /// A scalar function of the user's own, for SQL and for executors.
    #[must_use]
    pub fn udf(mut self, udf: ScalarUDF) -> Self {
        self.functions.scalar.push(Arc::new(udf));
        self
    }

    /// An aggregate function of the user's own.
    #[must_use]
    pub fn udaf(mut self, udaf: AggregateUDF) -> Self {
        self.functions.aggregate.push(Arc::new(udaf));
        self
    }

    /// A window function of the user's own.
    #[must_use]
    pub fn udwf(mut self, udwf: WindowUDF) -> Self {
        self.functions.window.push(Arc::new(udwf));
        self
    }

    /// Starts the session.
    ///
    /// In a process that was started as an executor of this program this call never returns: it
    /// serves tasks, with the functions given here, and exits. So what follows it in `main` runs
    /// in the driver only.
    ///
    /// # Errors
    /// If a setting is unknown, or the executors cannot be started.
    pub async fn get_or_create(self) -> Result<Session> {
        if let Some(config) = ExecutorConfig::from_env().map_err(Error::Fleet)? {
            serve_and_exit(config, &self.functions).await;
        }
        let platform = match self.platform {
            Some(find) => find().await?,
            None => None,
        };
        match platform {
            Some(platform) => platform.settle(self)?.start(Some(platform)).await,
            None => self.start(None).await,
        }
    }

    async fn start(self, platform: Option<Arc<dyn Platform>>) -> Result<Session> {
        let app = self.app_name.as_deref().unwrap_or("faisca");
        tracing::info!(app, executors = self.executors, "session starts");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = (cores / self.executors.max(1) as usize).max(1);
        let slots = self
            .executor_cores
            .unwrap_or(u32::try_from(share).unwrap_or(1));
        let total_slots = slots as usize * self.executors.max(1) as usize;
        let per_slot = if self.memory.is_some() {
            PARTITIONS_PER_LIMITED_SLOT
        } else {
            PARTITIONS_PER_SLOT
        };
        let resources = Resources {
            partitions: self.partitions.unwrap_or(total_slots * per_slot),
            executors: self.executors,
            slot_memory_bytes: self
                .memory
                .map(|bytes| (bytes as f64 * POOL_FRACTION) as u64 / u64::from(slots)),
        };
        let (config, own) = session_config(resources, &self.settings)?;
        // A driver's own blocks end with it: nothing to gain from another copy.
        let durable = own
            .exchange_store
            .filter(|_| self.executors > 0 && own.durability != Durability::Never);
        let durable = durable
            .map(|folder| {
                Ok::<_, Error>(DurableExchange {
                    folder,
                    run: random_hex(RUN_BYTES)?,
                })
            })
            .transpose()?;
        let limits = self.limits(slots, durable)?;
        let compute = Compute(Some(compute_runtime(cores)?));
        let environment = Arc::new(Environment::new(&limits, &self.functions)?);
        let (engine, engine_task) =
            EngineHandle::start(RetryLimits::default(), environment.durable().cloned());
        // Processes of other users on this machine must not reach the executors.
        let launcher = self.launcher.clone().unwrap_or_else(|| {
            Arc::new(ProcessLauncher {
                binary: self.executor_binary.clone(),
            })
        });
        let token = launcher
            .token()
            .map_or_else(|| random_hex(TOKEN_BYTES), Ok)?;
        let object_stores = Arc::clone(environment.stores());
        let store = Arc::new(BlockStore::default());
        let peers = Arc::new(PeerClients::new(token.clone()));
        let embedded_slots = if self.executors == 0 {
            slots
        } else {
            u32::try_from(cores).unwrap_or(1)
        };
        let parts = (
            Arc::clone(&environment),
            Arc::clone(&store),
            Arc::clone(&peers),
            compute.handle()?,
        );
        let mut host = EmbeddedHost {
            slots: embedded_slots,
            is_driver: self.executors > 0,
            address: String::new(),
        };
        let (fleet, helper): (Box<dyn Fleet>, Option<Box<dyn Fleet>>) = if self.executors == 0 {
            (
                Box::new(
                    EmbeddedExecutor::start(&engine, host, parts.0, parts.1, parts.2, parts.3)
                        .await?,
                ),
                None,
            )
        } else {
            let blocks = BlockService::new(
                DRIVER,
                Arc::clone(&store),
                Arc::clone(environment.runtime()),
                token.clone(),
            );
            let control =
                ControlServer::start(launcher.host(), token.clone(), engine.clone(), blocks)
                    .await?;
            host.address.clone_from(&control.url);
            let embedded =
                EmbeddedExecutor::start(&engine, host, parts.0, parts.1, parts.2, parts.3).await?;
            let request = FleetRequest {
                executors: self.executors,
                slots,
                limits,
                token,
                replacements_max: self.executors * REPLACEMENTS_PER_EXECUTOR,
                engine: engine.clone(),
                control,
            };
            (launcher.launch(request).await?, Some(Box::new(embedded)))
        };
        let durable = environment
            .durable()
            .cloned()
            .map(|tier| (tier, own.durability));
        let cluster = Arc::new(Cluster {
            engine,
            fleet,
            helper,
            store,
            peers,
            durable,
            small_bytes: own.small_bytes,
        });
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(environment.runtime()))
            .with_default_features()
            .with_query_planner(Arc::new(DistributedPlanner {
                cluster: Arc::clone(&cluster),
            }))
            .with_optimizer_rules(logical_rules())
            .with_physical_optimizer_rules(physical_rules())
            .build();
        register_functions(&mut state, &self.functions)?;
        let context = SessionContext::new_with_state(state);
        let (tables, catalogs) = (
            Arc::new(Tables::default()),
            Arc::new(Catalogs::new(&own.warehouse, own.glue)),
        );
        register_catalogs(&context, &catalogs, &tables);
        let told =
            platform.map(|platform| Told::start(platform, Arc::clone(&cluster.engine.progress)));
        let inner = SessionInner {
            context,
            tables,
            catalogs,
            warehouse: own.warehouse,
            cluster,
            object_stores,
            told,
            _compute: compute,
            engine_task,
        };
        Ok(Session {
            inner: Arc::new(inner),
        })
    }
}

impl SessionBuilder {
    fn limits(&self, slots: u32, durable: Option<DurableExchange>) -> Result<Limits> {
        let least = SLOT_MEMORY_BYTES_MIN * u64::from(slots);
        match self.memory {
            Some(bytes) if bytes < least => {
                let mib = |bytes: u64| bytes >> 20;
                let each = mib(SLOT_MEMORY_BYTES_MIN);
                Err(Error::Plan(format!(
                    "memory of {bytes} bytes is too little for {slots} task slots: give at least {}Mi, {each}Mi for each",
                    mib(least)
                )))
            }
            memory => {
                let memory_bytes = memory.map(|bytes| (bytes as f64 * POOL_FRACTION) as u64);
                Ok(Limits {
                    memory_bytes,
                    slots,
                    spill_folder: self.spill_folder.clone(),
                    stores: self.stores.clone(),
                    durable,
                })
            }
        }
    }
}

/// An open session. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
}

pub(crate) struct SessionInner {
    pub(crate) context: SessionContext,
    pub(crate) tables: Arc<Tables>,
    /// Folder of the tables that have a name, but no path.
    pub(crate) warehouse: String,
    pub(crate) catalogs: Arc<Catalogs>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) object_stores: Arc<ObjectStores>,
    told: Option<Told>,
    _compute: Compute,
    engine_task: tokio::task::JoinHandle<()>,
}

impl Session {
    /// Reads files.
    pub fn read(&self) -> DataFrameReader {
        DataFrameReader::new(self.clone())
    }

    /// Runs a statement, or plans a query. Names are without regard to case.
    ///
    /// # Errors
    /// If it cannot be planned; for statements that act at once, if they fail.
    pub async fn sql(&self, sql: &str) -> Result<DataFrame> {
        crate::sql::run(self, sql).await
    }

    /// A registered table.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        match self.inner.tables.provider(name) {
            Some(provider) => Ok(DataFrame::new(
                self.clone(),
                self.inner.context.read_table(provider)?,
            )),
            None => Err(crate::sql::unknown_table(self, name)),
        }
    }

    /// Registers any DataFusion table under a name.
    ///
    /// # Errors
    /// If two of its columns differ only by case.
    pub fn register_table(&self, name: &str, provider: Arc<dyn TableProvider>) -> Result<()> {
        self.inner
            .tables
            .register(&self.inner.context, name, provider, None)
    }

    /// Registers files as a table.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn register_source(&self, source: &Source) -> Result<()> {
        let provider = crate::source::open(&self.inner.context, source).await?;
        let files = TableFiles {
            path: source.path.clone(),
            format: source.format,
            partition_by: vec![],
        };
        self.inner
            .tables
            .register(&self.inner.context, &source.name, provider, Some(files))
    }

    /// Registers a written folder of Parquet or other files under a name.
    pub(crate) async fn register_output(
        &self,
        name: &str,
        path: &str,
        format: FileFormat,
    ) -> Result<()> {
        let header = (format == FileFormat::Csv).then_some(true);
        self.register_source(&Source {
            header,
            ..source(name, path, format)
        })
        .await
    }

    /// The catalogs that writes register tables in.
    #[must_use]
    pub fn catalogs(&self) -> &Arc<Catalogs> {
        &self.inner.catalogs
    }

    /// Object stores by URL.
    #[must_use]
    pub fn object_stores(&self) -> &Arc<ObjectStores> {
        &self.inner.object_stores
    }

    /// DataFusion's own context, for whatever is not offered here; it runs on the same executors.
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.inner.context
    }

    /// Waits until there is an executor.
    pub async fn ready(&self) {
        self.inner.cluster.engine.first_executor().await;
    }

    /// What runs at the moment and what ran.
    #[must_use]
    pub fn progress(&self) -> Snapshot {
        self.inner.cluster.engine.progress.snapshot()
    }

    /// The same, shared, for a progress display that outlives borrows.
    #[must_use]
    pub fn progress_handle(&self) -> Arc<Progress> {
        Arc::clone(&self.inner.cluster.engine.progress)
    }

    /// Stops everything and waits for the executors' end. What still runs fails.
    pub async fn stop(&self) {
        // The fleet is told first, so that it takes no ended child for a lost one.
        let cluster = &self.inner.cluster;
        let _ = futures::join!(cluster.fleet.stop(), cluster.engine.send(Message::Shutdown));
        if let Some(helper) = &self.inner.cluster.helper {
            helper.stop().await;
        }
        cluster.engine.ended().await;
        crate::write::end_abandoned_writes().await;
        if let Some(told) = &self.inner.told {
            told.following.abort();
            told.platform.ended(&self.progress()).await;
        }
    }
}

impl Drop for SessionInner {
    fn drop(&mut self) {
        self.engine_task.abort();
    }
}

/// Whoever started this driver, and the task that tells it of progress.
struct Told {
    platform: Arc<dyn Platform>,
    following: tokio::task::JoinHandle<()>,
}

impl Told {
    fn start(platform: Arc<dyn Platform>, progress: Arc<Progress>) -> Self {
        let teller = Arc::clone(&platform);
        Self {
            platform,
            following: tokio::spawn(async move { teller.follow(progress).await }),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// The threads of tasks. Ends without waiting: a plain runtime must not be dropped in async code.
struct Compute(Option<Runtime>);

impl Compute {
    fn handle(&self) -> Result<tokio::runtime::Handle> {
        self.0
            .as_ref()
            .map(|runtime| runtime.handle().clone())
            .ok_or_else(|| Error::Fleet("the session has ended".to_owned()))
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A source with defaults.
#[must_use]
pub(crate) fn source(name: &str, path: &str, format: FileFormat) -> Source {
    Source {
        name: name.to_owned(),
        path: path.to_owned(),
        format,
        schema: None,
        delimiter: None,
        header: None,
        quote: None,
        escape: None,
        comment: None,
        null_value: None,
        decimal: Default::default(),
        encoding: Default::default(),
        multi_line: false,
        on_malformed_row: Default::default(),
        compression: None,
        infer_rows: None,
    }
}

/// Serves as an executor if this process was started as one, and then exits.
///
/// # Errors
/// If the environment is that of an executor, but broken.
pub async fn serve_if_executor(functions: &UserFunctions) -> Result<()> {
    match ExecutorConfig::from_env().map_err(Error::Fleet)? {
        Some(config) => serve_and_exit(config, functions).await,
        None => Ok(()),
    }
}

async fn serve_and_exit(config: ExecutorConfig, functions: &UserFunctions) -> ! {
    let executor = config.executor;
    let ended = match compute_runtime(config.slots as usize) {
        Ok(compute) => {
            let ended =
                faisca_executor::control::run(config, functions, compute.handle().clone()).await;
            compute.shutdown_background();
            ended
        }
        Err(error) => Err(ServeError::Broken(error.to_string())),
    };
    match ended {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            tracing::error!("{executor}: {error}");
            std::process::exit(error.exit_code())
        }
    }
}

fn compute_runtime(threads: usize) -> Result<Runtime> {
    const STACK_BYTES: usize = 8 * 1024 * 1024;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(threads.max(1))
        .thread_name("faisca-task")
        .thread_stack_size(STACK_BYTES)
        .enable_all();
    builder
        .build()
        .map_err(|e| Error::Fleet(format!("threads for tasks: {e}")))
}

/// So many random bytes, as hexadecimal digits.
///
/// # Errors
/// If the system has none.
pub fn random_hex(bytes: usize) -> Result<String> {
    use std::io::Read;
    let mut bytes = vec![0u8; bytes];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_err(|e| Error::Fleet(format!("no randomness: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

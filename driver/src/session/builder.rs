//! Settings of a session, and its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;
use faisca_executor::control::ExecutorConfig;
use faisca_executor::environment::{Environment, Limits, UserFunctions, register_functions};
use faisca_executor::exchange::{BlockStore, DurableExchange, PeerClients};
use faisca_executor::flight::BlockService;
use faisca_executor::wire::Durability;
use faisca_planner::manifest::Stores;
use faisca_planner::rules::{logical_rules, physical_rules};

use super::Session;
use super::settings::{Resources, session_config};
use crate::catalog::Catalogs;
use crate::engine::EngineHandle;
use crate::error::{Error, Result};
use crate::fleet::control::ControlServer;
use crate::fleet::platform::{FindPlatform, Platform};
use crate::fleet::serve::{Compute, compute_runtime, serve_and_exit};
use crate::fleet::{
    DRIVER, EmbeddedExecutor, EmbeddedHost, Fleet, FleetRequest, Launcher, ProcessLauncher,
};
use crate::input::{Tables, register_catalogs};
use crate::random::random_hex;
use crate::scheduler::{Placement, RetryLimits};
use crate::services::{PlatformReporter, Services};
use crate::statement::Cluster;
use crate::statement::DistributedPlanner;

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
            placement: if self.executors > 0 {
                Placement::Driver
            } else {
                Placement::Fleet
            },
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
        let reporter = platform.map(|platform| {
            PlatformReporter::start(platform, Arc::clone(&cluster.engine.progress))
        });
        let services = Services {
            context,
            tables,
            catalogs,
            warehouse: own.warehouse,
            cluster,
            object_stores,
            reporter,
            _compute: compute,
            engine_task,
        };
        Ok(Session {
            services: Arc::new(services),
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

//! Starts a session: resources → environment → fleet → context.

use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use faisca_executor::environment::{Environment, register_functions};
use faisca_executor::exchange::{BlockService, BlockStore, PeerClients};
use faisca_executor::protocol::{Durability, DurableExchange, ExecutorConfig, Limits};
use faisca_planner::rules::{logical_rules, physical_rules};
use tokio::task::JoinHandle;

use super::Session;
use super::builder::SessionBuilder;
use super::settings::{OwnSettings, Resources, session_config};
use crate::catalog::Catalogs;
use crate::engine::EngineHandle;
use crate::error::{Error, Result};
use crate::fleet::control::ControlServer;
use crate::fleet::platform::Platform;
use crate::fleet::serve::{Compute, serve_and_exit};
use crate::fleet::{
    DRIVER, EmbeddedExecutor, EmbeddedHost, Fleet, FleetRequest, Launcher, ProcessLauncher,
};
use crate::input::{Tables, register_catalogs};
use crate::random::random_hex;
use crate::scheduler::{Placement, RetryLimits};
use crate::services::{AbandonedWrites, PlatformReporter, Services};
use crate::statement::{Cluster, DistributedPlanner};

/// With less memory for each slot, not even the buffers of one sort fit.
const SLOT_MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// Bytes of a job's token.
const TOKEN_BYTES: usize = 16;
/// Random bytes in the names of durable blocks.
const RUN_BYTES: usize = 6;
/// Partitions of an exchange for each slot: more than one, so that skew and slow executors even
/// out. More would make joins slower: their keys are less dense, and each task builds its own table
/// of a broadcast side.
const PARTITIONS_PER_SLOT: usize = 2;
/// Partitions for each slot with a memory limit, where each task must hold less.
const PARTITIONS_PER_LIMITED_SLOT: usize = 4;
/// Fraction of an executor's memory that operators and exchange share; the rest is for allocations
/// that no pool sees.
const POOL_FRACTION: f64 = 0.7;
/// Replacements of executors that ended, for each executor requested.
const REPLACEMENTS_PER_EXECUTOR: u32 = 8;

/// Sizes and settings of a session, decided before anything starts.
struct SessionPlan {
    /// Cores of this machine.
    cores: usize,
    /// Slots of each executor.
    slots: u32,
    limits: Limits,
    config: SessionConfig,
    own: OwnSettings,
}

/// What this process needs to run tasks and to schedule them.
struct DriverEnvironment {
    environment: Arc<Environment>,
    compute: Compute,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    launcher: Arc<dyn Launcher>,
    /// Executors and driver show it to each other: processes of other users on this machine must
    /// not reach them.
    token: String,
    engine: EngineHandle,
    engine_task: JoinHandle<()>,
}

impl DriverEnvironment {
    async fn start_embedded(&self, host: EmbeddedHost) -> Result<Box<dyn Fleet>> {
        let executor = EmbeddedExecutor::start(
            &self.engine,
            host,
            Arc::clone(&self.environment),
            Arc::clone(&self.store),
            Arc::clone(&self.peers),
            self.compute.handle(),
        );
        Ok(Box::new(executor.await?))
    }
}

/// Executors of a session.
struct SessionFleet {
    fleet: Box<dyn Fleet>,
    /// The driver's own executor, if it is not the fleet itself.
    embedded: Option<Box<dyn Fleet>>,
}

impl SessionBuilder {
    /// Starts the session.
    ///
    /// In a process that was started as an executor of this program, this call never returns: it
    /// serves tasks with the functions registered here, then exits. Code after this call in `main`
    /// therefore runs in the driver only.
    ///
    /// # Errors
    /// If a setting is unknown, the memory does not suffice for the slots, or the executors cannot
    /// be started.
    pub async fn get_or_create(self) -> Result<Session> {
        if let Some(config) =
            ExecutorConfig::from_env().map_err(Error::of_fleet("starting as an executor"))?
        {
            serve_and_exit(config, &self.functions).await;
        }
        let platform = match self.platform {
            Some(find) => find().await?,
            None => None,
        };
        match platform {
            Some(platform) => {
                let settings = platform.settings()?;
                self.with_platform(settings).start(Some(platform)).await
            }
            None => self.start(None).await,
        }
    }

    async fn start(self, platform: Option<Arc<dyn Platform>>) -> Result<Session> {
        let app = self.app_name.as_deref().unwrap_or("faisca");
        tracing::info!(app, executors = self.executors, "session starts");
        let plan = self.resources()?;
        let driver = self.environment(&plan)?;
        let fleet = self.fleet(&plan, &driver).await?;
        let durable = driver.environment.durable().cloned();
        let cluster = Arc::new(Cluster {
            engine: driver.engine,
            fleet: fleet.fleet,
            embedded: fleet.embedded,
            store: driver.store,
            peers: driver.peers,
            durable: durable.map(|tier| (tier, plan.own.durability)),
            small_bytes: plan.own.small_bytes,
        });
        let context = self.context(plan.config, &driver.environment, &cluster)?;
        let (tables, catalogs) = (
            Arc::new(Tables::default()),
            Arc::new(Catalogs::new(&plan.own.warehouse, plan.own.glue)),
        );
        register_catalogs(&context, &catalogs, &tables);
        let progress = Arc::clone(&cluster.engine.progress);
        let services = Services {
            context,
            tables,
            catalogs,
            warehouse: plan.own.warehouse,
            cluster,
            object_stores: Arc::clone(driver.environment.stores()),
            abandoned_writes: AbandonedWrites::default(),
            reporter: platform.map(|platform| PlatformReporter::start(platform, progress)),
            engine_task: driver.engine_task,
            _compute: driver.compute,
        };
        Ok(Session {
            services: Arc::new(services),
        })
    }

    /// Decides slots, partitions and limits.
    fn resources(&self) -> Result<SessionPlan> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let executors = self.executors.max(1) as usize;
        let share = u32::try_from((cores / executors).max(1)).unwrap_or(1);
        let slots = self.executor_cores.unwrap_or(share);
        let partitions_per_slot = match self.memory {
            Some(_) => PARTITIONS_PER_LIMITED_SLOT,
            None => PARTITIONS_PER_SLOT,
        };
        let pool_bytes = self.pool_bytes(slots)?;
        let resources = Resources {
            partitions: self
                .partitions
                .unwrap_or(slots as usize * executors * partitions_per_slot),
            executors: self.executors,
            slot_memory_bytes: pool_bytes.map(|bytes| bytes / u64::from(slots)),
        };
        let (config, own) = session_config(resources, &self.settings)?;
        let limits = Limits {
            memory_bytes: pool_bytes,
            slots,
            spill_folder: self.spill_folder.clone(),
            stores: self.stores.clone(),
            durable: self.durable_exchange(&own)?,
        };
        Ok(SessionPlan {
            cores,
            slots,
            limits,
            config,
            own,
        })
    }

    /// Bytes of an executor's memory pool; none without a limit.
    ///
    /// # Errors
    /// If the memory does not suffice for the slots.
    fn pool_bytes(&self, slots: u32) -> Result<Option<u64>> {
        let Some(bytes) = self.memory else {
            return Ok(None);
        };
        let bytes_min = SLOT_MEMORY_BYTES_MIN * u64::from(slots);
        if bytes < bytes_min {
            return Err(Error::Plan(format!(
                "memory of {bytes} bytes is too little for {slots} task slots: give at least {}Mi, {}Mi for each",
                bytes_min >> 20,
                SLOT_MEMORY_BYTES_MIN >> 20
            )));
        }
        Ok(Some((bytes as f64 * POOL_FRACTION) as u64))
    }

    /// The folder of durable blocks. None for embedded executors: a driver's own blocks end with
    /// it, so that another copy gains nothing.
    fn durable_exchange(&self, own: &OwnSettings) -> Result<Option<DurableExchange>> {
        if self.executors == 0 || own.durability == Durability::Never {
            return Ok(None);
        }
        let Some(folder) = own.exchange_store.clone() else {
            return Ok(None);
        };
        let run = random_hex(RUN_BYTES)?;
        Ok(Some(DurableExchange { folder, run }))
    }

    /// Starts the engine and the threads of this process's tasks.
    fn environment(&self, plan: &SessionPlan) -> Result<DriverEnvironment> {
        let compute = Compute::start(plan.cores)?;
        let environment = Arc::new(Environment::new(&plan.limits, &self.functions)?);
        let launcher = self.launcher.clone().unwrap_or_else(|| {
            Arc::new(ProcessLauncher {
                binary: self.executor_binary.clone(),
            })
        });
        let token = match launcher.token() {
            Some(token) => token,
            None => random_hex(TOKEN_BYTES)?,
        };
        let (engine, engine_task) =
            EngineHandle::start(RetryLimits::default(), environment.durable().cloned());
        Ok(DriverEnvironment {
            environment,
            compute,
            store: Arc::new(BlockStore::default()),
            peers: Arc::new(PeerClients::new(token.clone())),
            launcher,
            token,
            engine,
            engine_task,
        })
    }

    /// Starts the embedded executor, and the others if there are any.
    async fn fleet(&self, plan: &SessionPlan, driver: &DriverEnvironment) -> Result<SessionFleet> {
        if self.executors == 0 {
            let host = EmbeddedHost {
                slots: plan.slots,
                placement: Placement::Fleet,
                address: String::new(),
            };
            return Ok(SessionFleet {
                fleet: driver.start_embedded(host).await?,
                embedded: None,
            });
        }
        let (engine, token) = (driver.engine.clone(), driver.token.clone());
        let runtime = Arc::clone(driver.environment.runtime());
        let blocks = BlockService::new(DRIVER, Arc::clone(&driver.store), runtime);
        let control = ControlServer::start(
            driver.launcher.host(),
            token.clone(),
            engine.clone(),
            blocks,
        );
        let control = control.await?;
        let host = EmbeddedHost {
            slots: u32::try_from(plan.cores).unwrap_or(1),
            placement: Placement::Driver,
            address: control.url.clone(),
        };
        let embedded = driver.start_embedded(host).await?;
        let request = FleetRequest {
            executors: self.executors,
            slots: plan.slots,
            limits: plan.limits.clone(),
            token,
            replacements_max: self.executors * REPLACEMENTS_PER_EXECUTOR,
            engine,
            control,
        };
        Ok(SessionFleet {
            fleet: driver.launcher.launch(request).await?,
            embedded: Some(embedded),
        })
    }

    /// DataFusion's context, which plans for the cluster and knows the functions.
    fn context(
        &self,
        config: SessionConfig,
        environment: &Environment,
        cluster: &Arc<Cluster>,
    ) -> Result<SessionContext> {
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(environment.runtime()))
            .with_default_features()
            .with_query_planner(Arc::new(DistributedPlanner {
                cluster: Arc::clone(cluster),
            }))
            .with_optimizer_rules(logical_rules())
            .with_physical_optimizer_rules(physical_rules())
            .build();
        register_functions(&mut state, &self.functions)?;
        Ok(SessionContext::new_with_state(state))
    }
}

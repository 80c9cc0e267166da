//! Starts a session, in this order: resources → environment → fleet → context.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::variable::VarType;
use faisca_executor::environment::{Environment, register_functions};
use faisca_executor::exchange::{BlockService, BlockStore, PeerClients};
use faisca_executor::protocol::flight::{Credentials, Encryption};
use faisca_executor::protocol::{Durability, DurableExchange, ExecutorConfig, Limits};
use faisca_planner::rules::{logical_rules, physical_rules};
use faisca_planner::workarounds::analyzer_rules;
use faisca_spark::types::SparkTypes;
use faisca_spark::{operators, relations};
use tokio::task::JoinHandle;

use super::Session;
use super::builder::{SessionBuilder, SessionOptions};
use super::settings::{EngineSettings, Resources, session_config, without_secrets};
use super::struct_fields::StructFields;
use crate::catalog::Catalogs;
use crate::engine::EngineHandle;
use crate::error::{Error, Result};
use crate::fleet::control::ControlServer;
use crate::fleet::platform::Platform;
use crate::fleet::serve::{Compute, serve_and_exit};
use crate::fleet::{
    DRIVER, EmbeddedExecutor, EmbeddedHost, Fleet, FleetRequest, Launcher, ProcessLauncher,
};
use crate::input::{Tables, Variables, register_catalogs};
use crate::journal::Journal;
use crate::journal::record::{FORMAT_VERSION, ParentRun, Record, RunStarted};
use crate::random::random_hex;
use crate::scheduler::{Placement, RetryLimits};
use crate::services::{AbandonedWrites, PlatformReporter, Services};
use crate::statement::{Cluster, DistributedPlanner};

/// Minimum memory of a slot: below it, not even the buffers of one sort fit.
const SLOT_MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// Number of random bytes of the token that driver and executors share.
const TOKEN_BYTES: usize = 16;
/// Number of random bytes that distinguish the durable blocks of this session from those of others.
const RUN_BYTES: usize = 6;
/// Number of partitions of an exchange for each slot. More than one balances skewed partitions and
/// slow executors. A higher number makes joins slower: the keys of each partition are less dense,
/// and each task builds its own hash table of a broadcast side.
const PARTITIONS_PER_SLOT: usize = 2;
/// Number of partitions for each slot under a memory limit: smaller partitions need less memory.
const PARTITIONS_PER_LIMITED_SLOT: usize = 4;
/// Fraction of an executor's memory that operators and exchange share. The rest is for allocations
/// that the memory pool does not track.
const POOL_FRACTION: f64 = 0.7;
/// Number of ended executors that are replaced during a session, for each executor requested. The
/// limit stops executors that never stay alive from being started forever.
const REPLACEMENTS_PER_EXECUTOR: u32 = 8;

/// Sizes and settings of a session, computed before anything starts.
struct SessionPlan {
    /// Number of cores of this machine.
    cores: usize,
    /// Number of task slots of each executor.
    slots: u32,
    limits: Limits,
    config: SessionConfig,
    engine_settings: EngineSettings,
    journal: Journal,
}

/// The parts of the driver that run tasks and schedule queries.
struct DriverEnvironment {
    environment: Arc<Environment>,
    compute: Compute,
    store: Arc<BlockStore>,
    peers: Arc<PeerClients>,
    launcher: Arc<dyn Launcher>,
    /// Secret with which executors and driver authenticate to each other. Without it, processes of
    /// other users on this machine could connect.
    token: String,
    credentials: Credentials,
    engine: EngineHandle,
    engine_task: JoinHandle<()>,
}

impl DriverEnvironment {
    /// Starts the executor that runs inside the driver.
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

/// The executors of a session.
struct SessionFleet {
    fleet: Box<dyn Fleet>,
    /// The embedded executor; `None` if it is the fleet itself.
    embedded: Option<Box<dyn Fleet>>,
}

impl<S: From<Session>> SessionBuilder<S> {
    /// Starts a session and its executors. Unlike in Spark, each call starts a new session.
    ///
    /// Executors run the same binary. In a process that was started as an executor, this call never
    /// returns: it serves tasks with the functions registered here, then exits the process. Code
    /// after this call in `main` therefore runs in the driver only.
    ///
    /// # Errors
    /// Returns an error if a setting is unknown or invalid, the memory does not suffice for the
    /// slots, or the executors cannot be started.
    pub async fn get_or_create(self) -> Result<S> {
        self.options.start_or_serve().await.map(S::from)
    }
}

impl SessionOptions {
    async fn start_or_serve(self) -> Result<Session> {
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
            durable: durable.map(|tier| (tier, plan.engine_settings.durability)),
            small_bytes: plan.engine_settings.small_bytes,
            statement_timeout: plan.engine_settings.statement_timeout,
        });
        let context = self.context(plan.config, &driver.environment, &cluster)?;
        let (tables, catalogs) = (
            Arc::new(Tables::default()),
            Arc::new(Catalogs::new(
                &plan.engine_settings.warehouse,
                plan.engine_settings.glue,
            )),
        );
        register_catalogs(&context, &catalogs, &tables);
        let variables = Arc::new(Variables::default());
        context.register_variable(VarType::UserDefined, Arc::clone(&variables) as _);
        let progress = Arc::clone(&cluster.engine.progress);
        let services = Services {
            context,
            tables,
            variables,
            catalogs,
            warehouse: plan.engine_settings.warehouse,
            cluster,
            object_stores: Arc::clone(driver.environment.stores()),
            abandoned_writes: AbandonedWrites::default(),
            reporter: platform.map(|platform| PlatformReporter::start(platform, progress)),
            engine_task: driver.engine_task,
            journal: plan.journal,
            run: plan.engine_settings.run,
            is_finished: AtomicBool::new(false),
            _spilled: driver.environment.spill_guard(),
            _compute: driver.compute,
        };
        Ok(Session {
            services: Arc::new(services),
        })
    }

    /// Computes slots, partitions and limits from the builder's settings.
    ///
    /// # Errors
    /// Returns an error if a setting is invalid, or the memory does not suffice for the slots.
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
        let (config, engine_settings) = session_config(resources, &self.settings)?;
        let journal = self.journal(slots, &engine_settings)?;
        let limits = Limits {
            memory_bytes: pool_bytes,
            slots,
            spill_folder: self.spill_folder.clone(),
            stores: self.stores.clone(),
            durable: self.durable_exchange(&engine_settings)?,
        };
        Ok(SessionPlan {
            cores,
            slots,
            limits,
            config,
            engine_settings,
            journal,
        })
    }

    /// Creates the journal of the run, if the settings name a file, with the settings of the run.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created.
    fn journal(&self, slots: u32, settings: &EngineSettings) -> Result<Journal> {
        let Some(path) = &settings.journal else {
            return Ok(Journal::default());
        };
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let started_unix_ms = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
        let journal = Journal::create(path)?;
        journal.record(Record::RunStarted(RunStarted {
            format: FORMAT_VERSION,
            application: self.app_name.clone().unwrap_or_else(|| "faisca".to_owned()),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: u64::try_from(started_unix_ms).unwrap_or(0),
            executors: self.executors,
            slots,
            memory_bytes: self.memory,
            settings: without_secrets(&self.settings),
            parent: ParentRun::find(&self.settings),
            root_parent: ParentRun::find_root(&self.settings),
        }));
        Ok(journal)
    }

    /// Returns the size of an executor's memory pool in bytes, or `None` without a limit.
    ///
    /// # Errors
    /// Returns an error if the memory does not suffice for the slots.
    fn pool_bytes(&self, slots: u32) -> Result<Option<u64>> {
        let Some(bytes) = self.memory else {
            return Ok(None);
        };
        let bytes_min = SLOT_MEMORY_BYTES_MIN * u64::from(slots);
        if bytes < bytes_min {
            return Err(Error::setting("memory")(format!(
                "{bytes} bytes are too little for {slots} task slots: set at least {}Mi, {}Mi for each",
                bytes_min >> 20,
                SLOT_MEMORY_BYTES_MIN >> 20
            )));
        }
        Ok(Some((bytes as f64 * POOL_FRACTION) as u64))
    }

    /// Returns the folder for durable blocks. Returns `None` if tasks run in the driver: its blocks
    /// and its session end together, so a second copy has no use.
    fn durable_exchange(
        &self,
        engine_settings: &EngineSettings,
    ) -> Result<Option<DurableExchange>> {
        if self.executors == 0 || engine_settings.durability == Durability::Never {
            return Ok(None);
        }
        let Some(folder) = engine_settings.exchange_store.clone() else {
            return Ok(None);
        };
        let run = random_hex(RUN_BYTES)?;
        Ok(Some(DurableExchange { folder, run }))
    }

    /// Starts the engine, and the threads that run tasks in this process.
    fn environment(&self, plan: &SessionPlan) -> Result<DriverEnvironment> {
        let compute = Compute::start(plan.cores)?;
        let environment = Arc::new(Environment::new(&plan.limits, &self.functions)?);
        let launcher = self.launcher.clone().unwrap_or_else(|| {
            Arc::new(ProcessLauncher {
                binary: self.executor_binary.clone(),
            })
        });
        // A launcher may prescribe the token, for example if a platform has already issued it.
        let token = match launcher.token() {
            Some(token) => token,
            None => random_hex(TOKEN_BYTES)?,
        };
        // Traffic that stays on the machine can be read by its administrator only, who can read the
        // memory of the processes as well.
        let encryption = plan.engine_settings.encryption.unwrap_or_else(|| {
            if launcher.host().is_loopback() {
                Encryption::Off
            } else {
                Encryption::On
            }
        });
        let credentials = Credentials::new(&token, encryption)
            .map_err(Error::of_fleet("certificates of the job"))?;
        let (engine, engine_task) = EngineHandle::start(
            RetryLimits::default(),
            environment.durable().cloned(),
            plan.journal.clone(),
        );
        Ok(DriverEnvironment {
            environment,
            compute,
            store: Arc::new(BlockStore::default()),
            peers: Arc::new(PeerClients::new(credentials.clone())),
            launcher,
            token,
            credentials,
            engine,
            engine_task,
        })
    }

    /// Starts the embedded executor, and executor processes if any are requested.
    async fn fleet(&self, plan: &SessionPlan, driver: &DriverEnvironment) -> Result<SessionFleet> {
        if self.executors == 0 {
            let host = EmbeddedHost {
                slots: plan.slots,
                placement: Placement::Fleet,
                address: None,
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
            driver.credentials.clone(),
            engine.clone(),
            blocks,
        );
        let control = control.await?;
        // Beside a fleet, the embedded executor runs small queries, on all cores of this machine.
        let host = EmbeddedHost {
            slots: u32::try_from(plan.cores).unwrap_or(1),
            placement: Placement::Driver,
            address: Some(control.url.clone()),
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

    /// Returns a DataFusion context whose planner distributes queries over the cluster, with the
    /// registered functions.
    fn context(
        &self,
        config: SessionConfig,
        environment: &Environment,
        cluster: &Arc<Cluster>,
    ) -> Result<SessionContext> {
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(environment.runtime()))
            .with_default_features()
            .with_expr_planners(operators::planners())
            .with_relation_planners(relations::planners())
            .with_query_planner(Arc::new(DistributedPlanner {
                cluster: Arc::clone(cluster),
            }))
            .with_analyzer_rules(analyzer_rules())
            .with_type_planner(Arc::new(SparkTypes))
            .with_optimizer_rules(logical_rules())
            .with_physical_optimizer_rules(physical_rules());
        if let Some(planners) = builder.expr_planners() {
            planners.insert(0, Arc::new(StructFields));
        }
        let mut state = builder.build();
        register_functions(&mut state, &self.functions)?;
        Ok(SessionContext::new_with_state(state))
    }
}

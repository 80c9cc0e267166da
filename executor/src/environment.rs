//! What all tasks of an executor share: memory pool, spill folder, object stores, functions.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, TaskContext, TempFileFactory};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;
use faisca_planner::workarounds;

use crate::descriptors;
use crate::exchange::{BlockMemory, DurableTier};
use crate::protocol::Limits;
use crate::spill::{self, SpillFiles, SpillGuard};
use crate::storage::ObjectStores;

/// Number of memory consumers that an out-of-memory message names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// The user's own functions. Driver and executors have the same ones, because both run the same
/// binary.
#[derive(Debug, Clone, Default)]
pub struct UserFunctions {
    /// Scalar functions.
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// Aggregate functions.
    pub aggregate: Vec<Arc<AggregateUDF>>,
    /// Window functions.
    pub window: Vec<Arc<WindowUDF>>,
}

/// The environment of all tasks of an executor. Immutable.
#[derive(Debug)]
pub struct Environment {
    state: SessionState,
    task_memory_bytes: Option<u64>,
    block_memory: Arc<BlockMemory>,
    stores: Arc<ObjectStores>,
    durable: Option<Arc<DurableTier>>,
    spill: Arc<SpillFiles>,
}

impl Environment {
    /// Raises the process's limit of open files; builds the memory pool, the store and function
    /// registries, and the durable tier.
    ///
    /// # Errors
    /// If the spill folder is not writable, or the settings of the durable tier are wrong.
    pub fn new(limits: &Limits, functions: &UserFunctions) -> Result<Self> {
        descriptors::raise_limit();
        let stores = Arc::new(ObjectStores::new(limits.stores.clone()));
        if let Some(folder) = &limits.spill_folder {
            check_writable(folder)?;
        }
        let root = spill::root(limits.spill_folder.as_deref());
        let spill = Arc::new(SpillFiles::new(root));
        let runtime = build_runtime(limits, &stores, &spill)?;
        let durable = limits
            .durable
            .as_ref()
            .map(|durable| DurableTier::open(durable, &stores, &runtime))
            .transpose()?
            .map(Arc::new);
        let mut state = SessionStateBuilder::new()
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        register_functions(&mut state, functions)?;
        let task_memory_bytes = limits
            .memory_bytes
            .map(|bytes| bytes / u64::from(limits.slots.max(1)));
        let block_memory = Arc::new(BlockMemory::new(limits.memory_bytes));
        Ok(Self {
            state,
            task_memory_bytes,
            block_memory,
            stores,
            durable,
            spill,
        })
    }

    /// Returns the object stores.
    #[must_use]
    pub fn stores(&self) -> &Arc<ObjectStores> {
        &self.stores
    }

    /// Returns the durable tier, if there is one.
    #[must_use]
    pub fn durable(&self) -> Option<&Arc<DurableTier>> {
        self.durable.as_ref()
    }

    /// Returns the memory that sealed blocks share.
    #[must_use]
    pub(crate) fn block_memory(&self) -> &Arc<BlockMemory> {
        &self.block_memory
    }

    /// Returns one slot's share of the memory pool; `None` for a pool without limit.
    #[must_use]
    pub(crate) fn task_memory_bytes(&self) -> Option<u64> {
        self.task_memory_bytes
    }

    /// Returns a guard that removes the spilled data when it is dropped. Nothing can be spilled
    /// after that.
    #[must_use]
    pub fn spill_guard(&self) -> SpillGuard {
        self.spill.guard()
    }

    /// Returns the memory pool, spill folder and stores.
    #[must_use]
    pub fn runtime(&self) -> &Arc<RuntimeEnv> {
        self.state.runtime_env()
    }

    /// Returns the context of a task with these settings.
    pub(crate) fn task_context(&self, task: String, config: SessionConfig) -> Arc<TaskContext> {
        let base = TaskContext::from(&self.state);
        Arc::new(base.with_task_id(task).with_session_config(config))
    }
}

/// Builds the runtime with the memory pool, spill files and stores of the executor.
fn build_runtime(
    limits: &Limits,
    stores: &Arc<ObjectStores>,
    spill: &Arc<SpillFiles>,
) -> Result<Arc<RuntimeEnv>> {
    let files: Arc<dyn TempFileFactory> = Arc::clone(spill) as _;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Custom(files));
    // No cache of listings: a query must see the files that the query before it wrote.
    let registry: Arc<dyn ObjectStoreRegistry> = Arc::clone(stores) as _;
    let mut builder = RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_object_list_cache_limit(0)
        .with_object_store_registry(registry);
    if let Some(bytes) = limits.memory_bytes {
        let pool = FairSpillPool::new(usize::try_from(bytes).unwrap_or(usize::MAX));
        builder =
            builder.with_memory_pool(Arc::new(TrackConsumersPool::new(pool, CONSUMERS_NAMED)));
    }
    builder.build_arc()
}

/// Checks the spill folder at the start rather than when memory is exhausted.
fn check_writable(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::tempfile_in(folder))
        .map_err(|e| {
            let text = format!(
                "spill folder {}: {e}; `--spill-folder` takes a folder that can be written",
                folder.display()
            );
            DataFusionError::IoError(std::io::Error::new(e.kind(), text))
        })?;
    Ok(())
}

/// Registers Spark's functions, which replace DataFusion's of the same name, and then the user's,
/// which replace both.
///
/// # Errors
/// If a function cannot be registered.
pub fn register_functions(state: &mut SessionState, functions: &UserFunctions) -> Result<()> {
    for udf in workarounds::scalar_functions() {
        state.register_udf(udf)?;
    }
    for udaf in workarounds::aggregate_functions() {
        state.register_udaf(udaf)?;
    }
    for udwf in workarounds::window_functions() {
        state.register_udwf(udwf)?;
    }
    // After the workarounds, whose other names it registers as well.
    faisca_spark::functions::register(state)?;
    for udf in &functions.scalar {
        state.register_udf(Arc::clone(udf))?;
    }
    for udaf in &functions.aggregate {
        // The planner looks for a scalar function first, which would hide the user's.
        state.deregister_udf(udaf.name())?;
        state.register_udaf(Arc::clone(udaf))?;
    }
    for udwf in &functions.window {
        state.register_udwf(Arc::clone(udwf))?;
    }
    Ok(())
}

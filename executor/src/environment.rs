//! What every task of an executor shares: memory pool, spill folder, object stores, functions.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;
use faisca_planner::manifest::Stores as StoreTable;

use crate::exchange::{BlockMemory, DurableExchange, DurableTier};
use crate::stores::Stores;

/// Consumers named in an out-of-memory message.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(5).unwrap();
/// Most that one executor may spill.
const SPILL_BYTES_MAX: u64 = 1 << 40;

/// Functions of the user's own. The same in driver and executors, since both run the same binary.
#[derive(Debug, Clone, Default)]
pub struct UserFunctions {
    /// Scalar functions.
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// Aggregate functions.
    pub aggregate: Vec<Arc<AggregateUDF>>,
    /// Window functions.
    pub window: Vec<Arc<WindowUDF>>,
}

/// Limits of one process.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Bytes that operators and exchange may hold; all that the machine has when absent.
    pub memory_bytes: Option<u64>,
    /// Tasks at once, which share that memory.
    pub slots: u32,
    /// Where to spill; the system's folder for temporary files when absent.
    pub spill_folder: Option<PathBuf>,
    /// How buckets are reached.
    pub stores: StoreTable,
    /// Where blocks outlive their executors, if anywhere.
    pub durable: Option<DurableExchange>,
}

/// Shared by all tasks of an executor; immutable.
#[derive(Debug)]
pub struct Environment {
    state: SessionState,
    task_memory_bytes: Option<u64>,
    block_memory: Arc<BlockMemory>,
    stores: Arc<Stores>,
    durable: Option<Arc<DurableTier>>,
}

impl Environment {
    /// Builds pool and registries.
    ///
    /// # Errors
    /// If the spill folder cannot be used.
    pub fn new(limits: &Limits, functions: &UserFunctions) -> Result<Self> {
        let stores = Arc::new(Stores::new(limits.stores.clone()));
        let runtime = runtime(limits, &stores)?;
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
        })
    }

    /// Object stores by URL.
    #[must_use]
    pub fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// Where blocks outlive their executors, if anywhere.
    #[must_use]
    pub fn durable(&self) -> Option<&Arc<DurableTier>> {
        self.durable.as_ref()
    }

    /// What sealed blocks may hold.
    #[must_use]
    pub fn block_memory(&self) -> &Arc<BlockMemory> {
        &self.block_memory
    }

    /// A slot's share of the memory pool; `None` where that has no limit.
    #[must_use]
    pub fn task_memory_bytes(&self) -> Option<u64> {
        self.task_memory_bytes
    }

    /// Memory pool, spill folder and stores.
    #[must_use]
    pub fn runtime(&self) -> &Arc<RuntimeEnv> {
        self.state.runtime_env()
    }

    pub(crate) fn task_context(&self, task: String, config: SessionConfig) -> Arc<TaskContext> {
        let base = TaskContext::from(&self.state);
        Arc::new(base.with_task_id(task).with_session_config(config))
    }
}

fn runtime(limits: &Limits, stores: &Arc<Stores>) -> Result<Arc<RuntimeEnv>> {
    let mode = match &limits.spill_folder {
        Some(folder) => {
            check_writable(folder)?;
            DiskManagerMode::Directories(vec![folder.clone()])
        }
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(SPILL_BYTES_MAX);
    // A listing must see what a statement before it wrote.
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

/// Finds out now rather than when memory has run out.
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

/// Scalar functions of which Spark's version here takes less than DataFusion's: dates, for one.
const KEPT_SCALARS: [&str; 1] = ["date_trunc"];

/// Registers Spark's functions over DataFusion's, the user's over those.
///
/// DataFusion's own aggregates stay: of those that Spark's would replace, `avg` knows no decimals.
///
/// # Errors
/// If two functions cannot live together.
pub fn register_functions(state: &mut SessionState, functions: &UserFunctions) -> Result<()> {
    let aggregates: Vec<_> = state.aggregate_functions().values().cloned().collect();
    let kept = KEPT_SCALARS
        .iter()
        .map(|name| state.udf(name))
        .collect::<Result<Vec<_>>>()?;
    datafusion_spark::register_all(state)?;
    for udf in kept {
        state.register_udf(udf)?;
    }
    for udaf in aggregates {
        state.register_udaf(udaf)?;
    }
    for udf in &functions.scalar {
        state.register_udf(Arc::clone(udf))?;
    }
    for udaf in &functions.aggregate {
        state.register_udaf(Arc::clone(udaf))?;
    }
    for udwf in &functions.window {
        state.register_udwf(Arc::clone(udwf))?;
    }
    Ok(())
}

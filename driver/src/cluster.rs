//! Runs cut plans: encodes the stages, submits them, reads the result back.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;
use faisca_executor::codec::PlanCodec;
use faisca_executor::exchange::{BlockStore, DurableTier, PeerClients};
use faisca_executor::wire::{Durability, OutputSpec, SinkSpec};
use faisca_planner::leaves;
use faisca_planner::stages::{Slicing, Stage, StageGraph, StageOutput, has_choices, unsurprising};

use crate::adaptive::RunningPlan;
use crate::engine::{EngineHandle, Statement};
use crate::fleet::Fleet;
use crate::result::{ResultReader, RunningStatement};
use crate::scheduler::{Output, Placement, StageShape};

/// Everything that runs a session's statements.
pub(crate) struct Cluster {
    pub(crate) engine: EngineHandle,
    pub(crate) fleet: Box<dyn Fleet>,
    /// The driver's own executor, where it is not the fleet itself.
    pub(crate) helper: Option<Box<dyn Fleet>>,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) peers: Arc<PeerClients>,
    /// Where blocks outlive their executors, and when they get there.
    pub(crate) durable: Option<(Arc<DurableTier>, Durability)>,
    /// Statements that read less than this run on the driver's own slots.
    pub(crate) small_bytes: u64,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("slots", &self.fleet.slots_expected())
            .finish_non_exhaustive()
    }
}

/// A statement ready to run, any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) graph: Arc<StageGraph>,
    /// Of each stage.
    pub(crate) specs: Vec<(Bytes, OutputSpec)>,
    /// Of each write.
    pub(crate) sinks: Vec<SinkSpec>,
    pub(crate) options: Arc<ConfigOptions>,
    pub(crate) settings: Vec<(String, String)>,
    scan_bytes: u64,
}

impl Prepared {
    /// Encodes a graph. `sinks` are what roots with files write by.
    ///
    /// # Errors
    /// If an operator cannot travel.
    pub(crate) fn new(
        graph: Arc<StageGraph>,
        sinks: Vec<SinkSpec>,
        options: &ConfigOptions,
    ) -> Result<Self> {
        let specs = graph
            .stages
            .iter()
            .map(|stage| encoded_stage(stage, &sinks))
            .collect::<Result<_>>()?;
        let scan_bytes = graph
            .stages
            .iter()
            .flat_map(|s| leaves(&s.plan))
            .flat_map(|leaf| files_of_scan(&leaf))
            .map(|(_, bytes)| bytes)
            .sum();
        Ok(Self {
            graph,
            specs,
            sinks,
            options: Arc::new(options.clone()),
            settings: settings(options),
            scan_bytes,
        })
    }
}

/// A stage's plan as executors take it, and how its rows leave.
///
/// # Errors
/// If an operator cannot travel.
pub(crate) fn encoded_stage(stage: &Stage, sinks: &[SinkSpec]) -> Result<(Bytes, OutputSpec)> {
    let plan = physical_plan_to_bytes_with_extension_codec(Arc::clone(&stage.plan), &PlanCodec)?;
    let output = match stage.output {
        StageOutput::Shuffle { .. } => OutputSpec::Shuffle,
        StageOutput::Partitions => OutputSpec::Partitions,
        StageOutput::Sink { write } => {
            let sink = sinks.get(write as usize).cloned();
            OutputSpec::Sink(
                sink.ok_or_else(|| internal_datafusion_err!("{} writes nowhere", stage.id))?,
            )
        }
    };
    Ok((plan, output))
}

/// A stage as the scheduler sees it.
pub(crate) fn shape(stage: &Stage, options: &ConfigOptions) -> StageShape {
    StageShape {
        partitions: u32::try_from(stage.partitions()).unwrap_or(u32::MAX),
        inputs: stage
            .inputs
            .iter()
            .map(|input| (input.stage, input.mode.is_by_bucket()))
            .collect(),
        whole: matches!(stage.slicing, Slicing::Whole { .. }),
        may_merge: stage.reads_only_exchanges()
            && stage.inputs.iter().any(|i| i.mode.is_by_bucket()),
        divisible: stage.divisible.clone(),
        sink: match stage.output {
            StageOutput::Sink { write } => Some(write),
            StageOutput::Shuffle { .. } | StageOutput::Partitions => None,
        },
        by_partition: stage.output == StageOutput::Partitions,
        indeterminate: stage.is_indeterminate(),
        unsurprising: unsurprising(stage, options),
        has_choices: has_choices(stage),
    }
}

/// Files that a scan opens, and the bytes that it reads of each; a file may come in several parts.
pub(crate) fn files_of_scan(leaf: &Arc<dyn ExecutionPlan>) -> Vec<(String, u64)> {
    let config = leaf.downcast_ref::<DataSourceExec>().and_then(|scan| {
        (scan.data_source().as_ref() as &dyn Any).downcast_ref::<FileScanConfig>()
    });
    let files = config
        .into_iter()
        .flat_map(|config| config.file_groups.iter().flat_map(|group| group.files()));
    files
        .map(|file| (file.object_meta.location.to_string(), file.effective_size()))
        .collect()
}

/// Settings that differ from DataFusion's defaults.
fn settings(options: &ConfigOptions) -> Vec<(String, String)> {
    let defaults: std::collections::HashMap<String, Option<String>> = ConfigOptions::new()
        .entries()
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect();
    let changed = options.entries().into_iter().filter(|entry| {
        defaults
            .get(&entry.key)
            .is_some_and(|default| *default != entry.value)
    });
    changed
        .filter_map(|entry| Some((entry.key, entry.value?)))
        .collect()
}

impl Cluster {
    /// Runs a statement to its end.
    ///
    /// # Errors
    /// A task's failure, as [`TaskFailure`].
    pub(crate) async fn run(
        &self,
        prepared: &Prepared,
        label: String,
    ) -> Result<(RunningStatement, Output)> {
        let query = self.engine.next_query();
        let small = prepared.scan_bytes < self.small_bytes && self.helper.is_some();
        let asked = self
            .durable
            .as_ref()
            .filter(|_| !small)
            .map_or(Durability::Never, |(_, asked)| *asked);
        let placement = if small {
            Placement::Driver
        } else {
            Placement::Fleet
        };
        let host = if small {
            self.helper.as_ref().unwrap_or(&self.fleet)
        } else {
            &self.fleet
        };
        let plan = Arc::new(RunningPlan::new(query, prepared.clone(), placement, asked));
        let statement = Statement {
            query,
            plan: Arc::clone(&plan),
            placement,
            slots_expected: host.slots_expected(),
        };
        let outcomes = self
            .engine
            .submit(label, statement)
            .await
            .map_err(external)?;
        let mut running = RunningStatement {
            query,
            plan,
            engine: self.engine.clone(),
            outcomes,
        };
        let output = running.outcome().await?;
        Ok((running, output))
    }

    /// Streams the blocks of a finished statement, partition after partition.
    pub(crate) fn read(
        &self,
        running: RunningStatement,
        output: &Output,
        eq_properties: EquivalenceProperties,
        context: &Arc<TaskContext>,
    ) -> SendableRecordBatchStream {
        ResultReader::new(self, running, output, eq_properties, context).stream()
    }
}

pub(crate) fn external<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

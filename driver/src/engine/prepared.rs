//! The stages of a query, encoded for executors and described for the scheduler.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use faisca_executor::codec::encode_plan;
use faisca_executor::protocol::{OutputSpec, SinkSpec};
use faisca_planner::leaves;
use faisca_planner::stages::{
    Slicing, Stage, StageGraph, StageOutput, expected_rows, is_replannable,
};

use crate::scheduler::{InputReads, OutputKind, StageInfo, StageInput, TaskGrouping};

/// A query ready to run, any number of times.
#[derive(Debug, Clone)]
pub(crate) struct PreparedQuery {
    pub(crate) graph: Arc<StageGraph>,
    /// Index = stage id.
    pub(crate) stages: Vec<EncodedStage>,
    /// How the tasks of each write produce files.
    pub(crate) sinks: Vec<SinkSpec>,
    pub(crate) options: Arc<ConfigOptions>,
    /// Settings that differ from DataFusion's defaults.
    pub(crate) settings: Vec<(String, String)>,
    /// Total bytes that its scans read from files.
    pub(crate) scan_bytes: u64,
}

/// A stage, encoded for executors.
#[derive(Debug, Clone)]
pub(crate) struct EncodedStage {
    pub(crate) plan: Bytes,
    pub(crate) output: OutputSpec,
}

impl PreparedQuery {
    /// Encodes a graph. `sinks` has an entry for each write of the graph.
    ///
    /// # Errors
    /// If an operator cannot be encoded.
    pub(crate) fn new(
        graph: Arc<StageGraph>,
        sinks: Vec<SinkSpec>,
        options: &ConfigOptions,
    ) -> Result<Self> {
        let encode = |stage: &Stage| EncodedStage::new(stage, &sinks);
        let stages = graph.stages.iter().map(encode).collect::<Result<_>>()?;
        let scans = graph.stages.iter().flat_map(|stage| leaves(&stage.plan));
        let files = scans.flat_map(|leaf| files_of_scan(&leaf));
        Ok(Self {
            stages,
            scan_bytes: files.map(|(_, bytes)| bytes).sum(),
            graph,
            sinks,
            options: Arc::new(options.clone()),
            settings: settings(options),
        })
    }
}

impl EncodedStage {
    /// Encodes a stage.
    ///
    /// # Errors
    /// If an operator cannot be encoded, or the stage is a sink without an entry in `sinks`.
    pub(crate) fn new(stage: &Stage, sinks: &[SinkSpec]) -> Result<Self> {
        let plan = encode_plan(&stage.plan)?;
        let output = match stage.output {
            StageOutput::Shuffle { .. } => OutputSpec::Shuffle,
            StageOutput::Partitions => OutputSpec::Partitions,
            StageOutput::Sink { write } => {
                let sink = sinks.get(write as usize).cloned();
                OutputSpec::Sink(sink.ok_or_else(|| {
                    internal_datafusion_err!("{} has no write to produce files for", stage.id)
                })?)
            }
        };
        Ok(Self { plan, output })
    }
}

/// Returns what the scheduler needs to know about a stage.
pub(crate) fn stage_info(stage: &Stage, options: &ConfigOptions) -> StageInfo {
    let input = |input: &faisca_planner::stages::StageInput| StageInput {
        stage: input.stage,
        reads: if input.mode.is_by_partition() {
            InputReads::OwnPartition
        } else {
            InputReads::AllPartitions
        },
    };
    let reads_shuffle = stage.inputs.iter().any(|i| i.mode.is_by_partition());
    let grouping = match stage.slicing {
        Slicing::Whole { .. } => TaskGrouping::Whole,
        Slicing::Free if stage.reads_only_exchanges() && reads_shuffle => TaskGrouping::Merged,
        Slicing::Free => TaskGrouping::Single,
    };
    let output = match stage.output {
        StageOutput::Shuffle { .. } => OutputKind::Shuffle,
        StageOutput::Partitions => OutputKind::Partitions,
        StageOutput::Sink { write } => OutputKind::Sink(write),
    };
    StageInfo {
        partitions: u32::try_from(stage.partitions()).unwrap_or(u32::MAX),
        inputs: stage.inputs.iter().map(input).collect(),
        grouping,
        divisible: stage.divisible.clone(),
        output,
        is_indeterminate: stage.is_indeterminate(),
        expected_rows: expected_rows(stage, options),
        is_replannable: is_replannable(stage),
    }
}

/// Returns the files of a leaf and how it reads them, if it scans files.
pub(super) fn scan_config(leaf: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    let scan = leaf.downcast_ref::<DataSourceExec>()?;
    (scan.data_source().as_ref() as &dyn Any).downcast_ref::<FileScanConfig>()
}

/// Returns the files that a scan opens, with the bytes that it reads of each. A file may occur
/// several times, with a part each.
pub(crate) fn files_of_scan(leaf: &Arc<dyn ExecutionPlan>) -> Vec<(String, u64)> {
    let files = scan_config(leaf)
        .into_iter()
        .flat_map(|config| config.file_groups.iter().flat_map(|group| group.files()));
    files
        .map(|file| (file.object_meta.location.to_string(), file.effective_size()))
        .collect()
}

/// Returns the settings that differ from DataFusion's defaults.
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

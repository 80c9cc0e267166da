//! Cut plans as executors and the scheduler take them.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;
use faisca_executor::codec::PlanCodec;
use faisca_executor::wire::{OutputSpec, SinkSpec};
use faisca_planner::leaves;
use faisca_planner::stages::{Slicing, Stage, StageGraph, StageOutput, has_choices, unsurprising};

use crate::scheduler::{InputReads, OutputKind, StageInfo, StageInput, TaskGrouping};

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
    pub(crate) scan_bytes: u64,
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

/// Returns what the scheduler needs to know about a stage.
pub(crate) fn stage_info(stage: &Stage, options: &ConfigOptions) -> StageInfo {
    let input = |input: &faisca_planner::stages::StageInput| StageInput {
        stage: input.stage,
        reads: if input.mode.is_by_bucket() {
            InputReads::OwnPartition
        } else {
            InputReads::AllPartitions
        },
    };
    let reads_shuffle = stage.inputs.iter().any(|i| i.mode.is_by_bucket());
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
        expected_rows: unsurprising(stage, options),
        is_replannable: has_choices(stage),
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

//! Converts the engine's values to records of the journal.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use datafusion::datasource::physical_plan::FileScanConfig;
use faisca_planner::ids::QueryId;
use faisca_planner::leaves;
use faisca_planner::stages::{Stage, StageGraph, StageOutput};
use faisca_spark::text::name_of;

use super::prepared::scan_config;
use crate::journal::record::{ColumnRecord, Record, ScanRecord, StageRecord, TaskCommitted};
use crate::scheduler::{Action, Event};

/// Returns the record of an action of the scheduler, if the journal has one.
pub(super) fn action_record(action: &Action) -> Option<Record> {
    match action {
        Action::Launch(executor, spec) => Some(Record::AttemptStarted {
            task: spec.task,
            attempt: spec.attempt,
            executor: *executor,
        }),
        Action::Cancel(_, task, attempt) => Some(Record::AttemptCancelled {
            task: *task,
            attempt: *attempt,
        }),
        Action::Completed(query, _) => Some(Record::QueryCompleted { query: *query }),
        Action::Failed(query, failure) => Some(Record::QueryFailed {
            query: *query,
            message: failure.message.clone(),
        }),
        Action::Sliced(query, stage, tasks) => Some(Record::StageReady {
            query: *query,
            stage: *stage,
            tasks: *tasks,
        }),
        Action::Committed(executor, report) => {
            let metrics = &report.metrics;
            Some(Record::TaskCommitted(TaskCommitted {
                task: report.task,
                attempt: report.attempt,
                executor: *executor,
                rows: metrics.rows,
                bytes: metrics.bytes,
                fetched_bytes: metrics.fetched_bytes,
                spilled_bytes: metrics.spilled_bytes,
                resident_peak_bytes: metrics.resident_peak_bytes,
                elapsed_ms: metrics.elapsed_ms,
            }))
        }
        Action::Uncommitted(task) => Some(Record::TaskLost { task: *task }),
        Action::Excluded(executor) => Some(Record::ExecutorExcluded {
            executor: *executor,
        }),
        Action::Release(..)
        | Action::Sweep(_)
        | Action::Revise(..)
        | Action::HandOver { .. }
        | Action::Dismiss(_) => None,
    }
}

/// Returns the record of an event, if the journal has one that the event alone determines.
pub(super) fn event_record(event: &Event) -> Option<Record> {
    match event {
        Event::Failed(_, task, attempt, failure) => Some(Record::AttemptFailed {
            task: *task,
            attempt: *attempt,
            message: failure.message.clone(),
        }),
        _ => None,
    }
}

/// Returns the record of a submitted query.
pub(super) fn query_record(query: QueryId, label: &str, graph: &StageGraph) -> Record {
    Record::QueryStarted {
        query,
        label: label.to_owned(),
        stages: graph.stages.iter().map(stage_record).collect(),
    }
}

/// Returns the record of a query whose plan was changed: its graph has `new` stages at the end.
pub(super) fn revision_record(
    query: QueryId,
    change: &str,
    graph: &StageGraph,
    new: usize,
) -> Record {
    let known = graph.stages.len().saturating_sub(new);
    let dropped = graph.stages.iter().filter(|stage| stage.is_dropped);
    Record::QueryRevised {
        query,
        change: change.to_owned(),
        dropped: dropped.map(|stage| stage.id).collect(),
        stages: graph.stages.iter().skip(known).map(stage_record).collect(),
    }
}

fn stage_record(stage: &Stage) -> StageRecord {
    StageRecord {
        id: stage.id.0,
        inputs: stage.inputs.iter().map(|input| input.stage).collect(),
        rows_expected: stage.rows_expected,
        writes_files: matches!(stage.output, StageOutput::Sink { .. }),
        plan: stage.operators(),
        scans: leaves(&stage.plan)
            .iter()
            .filter_map(scan_config)
            .map(scan_record)
            .collect(),
    }
}

fn scan_record(config: &FileScanConfig) -> ScanRecord {
    // A file may occur several times, with a part each.
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for file in config.file_groups.iter().flat_map(|group| group.files()) {
        *sizes.entry(file.object_meta.location.as_ref()).or_default() += file.effective_size();
    }
    let path = match sizes.keys().next() {
        Some(file) if sizes.len() == 1 => file,
        Some(file) => file.rsplit_once('/').map_or("", |(folder, _)| folder),
        None => "",
    };
    let root = config.object_store_url.as_str();
    ScanRecord {
        path: format!("{}{path}", root.strip_prefix("file://").unwrap_or(root)),
        format: config.file_source().file_type().to_owned(),
        files: sizes.len() as u64,
        bytes: sizes.values().sum(),
        columns: column_records(config.file_schema()),
    }
}

/// Returns the columns of a schema, with Spark's names of their types.
pub(crate) fn column_records(schema: &Schema) -> Vec<ColumnRecord> {
    let columns = schema.fields().iter().map(|field| ColumnRecord {
        name: field.name().clone(),
        data_type: name_of(field.data_type()),
    });
    columns.collect()
}

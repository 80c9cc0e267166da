//! Stages, reports and failures for the tests.

use faisca_executor::protocol::{
    Failure, FailureKind, PartitionSize, PendingFile, TaskMetrics, TaskReport, TaskSpec,
};
use faisca_planner::ids::{StageId, TaskId};

use super::QUERY;
use crate::scheduler::InputReads::{AllPartitions, OwnPartition};
use crate::scheduler::{InputReads, OutputKind, StageInfo, StageInput, TaskGrouping};

/// A stage that reads these stages. Its tasks may be merged if it reads a shuffle.
pub(super) fn stage(partitions: u32, inputs: &[(u32, InputReads)]) -> StageInfo {
    let reads_shuffle = inputs.iter().any(|(_, reads)| *reads == OwnPartition);
    let input = |(stage, reads): &(u32, InputReads)| StageInput {
        stage: StageId(*stage),
        reads: *reads,
    };
    StageInfo {
        partitions,
        inputs: inputs.iter().map(input).collect(),
        grouping: if reads_shuffle {
            TaskGrouping::Merged
        } else {
            TaskGrouping::Single
        },
        ..StageInfo::default()
    }
}

/// A scan; a shuffle that may be divided; a shuffle with a broadcast beside it, written to files.
pub(super) fn four_stages() -> Vec<StageInfo> {
    let divisible = StageInfo {
        divisible: vec![StageId(0)],
        ..stage(4, &[(0, OwnPartition)])
    };
    let sink = StageInfo {
        output: OutputKind::Sink(0),
        ..stage(4, &[(1, OwnPartition), (2, AllPartitions)])
    };
    vec![stage(5, &[]), divisible, stage(2, &[]), sink]
}

pub(super) fn task(stage: u32, index: u32) -> TaskId {
    TaskId {
        query: QUERY,
        stage: StageId(stage),
        index,
    }
}

pub(super) fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        message: format!("{kind:?}"),
    }
}

/// The report of a finished attempt: four partitions, the first of them skewed, or else one file.
pub(super) fn report(spec: &TaskSpec, output: OutputKind) -> TaskReport {
    let bytes = |partition| if partition == 0 { 400 << 20 } else { 40 << 20 };
    let size = |partition| PartitionSize {
        partition,
        rows: 1,
        bytes: bytes(partition),
    };
    let file = PendingFile {
        path: format!(
            "{}-{}-{}",
            spec.task.stage.0, spec.task.index, spec.attempt.0
        ),
        rows: 1,
        bytes: 1,
        upload: None,
    };
    let (partitions, files) = match output {
        OutputKind::Shuffle | OutputKind::Partitions => ((0..4).map(size).collect(), vec![]),
        OutputKind::Sink(_) => (vec![], vec![file]),
    };
    TaskReport {
        task: spec.task,
        attempt: spec.attempt,
        partitions,
        has_durable_copy: false,
        files,
        statistics: None,
        metrics: TaskMetrics::default(),
    }
}

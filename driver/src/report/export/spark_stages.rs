//! Stages and tasks in Spark's event log.

use std::collections::BTreeMap;

use faisca_planner::ids::{ExecutorId, QueryId, StageId, TaskId};
use serde_json::{Value, json};

use super::super::run::{AttemptEnd, AttemptSpan, Run, Stage};
use super::timeline::{Timeline, rank};
use crate::journal::record::TaskCommitted;

/// The numbers that Spark's events give to stages: unique in the application.
pub(super) struct StageNumbers(BTreeMap<(QueryId, StageId), u64>);

impl StageNumbers {
    pub(super) fn new(run: &Run<'_>) -> Self {
        let stages = run.stages().map(|(query, stage)| (query, stage.id()));
        Self(stages.zip(0..).collect())
    }

    pub(super) fn number(&self, query: QueryId, stage: StageId) -> u64 {
        self.0.get(&(query, stage)).copied().unwrap_or(0)
    }
}

/// Returns the name of an executor in Spark's events.
pub(super) fn executor_name(id: ExecutorId) -> String {
    match id {
        ExecutorId::DRIVER => "driver".to_owned(),
        ExecutorId(number) => number.to_string(),
    }
}

/// Describes a stage. Times are those of the events that describe it, absolute.
pub(super) fn stage_info(
    numbers: &StageNumbers,
    query: QueryId,
    stage: &Stage<'_>,
    submitted: Option<u64>,
    completed: Option<(u64, Option<&str>)>,
) -> Value {
    let parents: Vec<u64> = (stage.record.inputs.iter())
        .map(|input| numbers.number(query, *input))
        .collect();
    let mut info = json!({
        "Stage ID": numbers.number(query, stage.id()),
        "Stage Attempt ID": 0,
        "Stage Name": format!("{query}.{}", stage.id()),
        "Number of Tasks": stage.tasks,
        "RDD Info": [],
        "Parent IDs": parents,
        "Details": stage.record.plan,
        "Accumulables": [],
        "Resource Profile Id": 0,
        "Shuffle Push Enabled": false,
        "Shuffle Push Mergers Count": 0,
    });
    if let Some(submitted) = submitted {
        info["Submission Time"] = json!(submitted);
    }
    if let Some((completed, failure)) = completed {
        info["Completion Time"] = json!(completed);
        if let Some(failure) = failure {
            info["Failure Reason"] = json!(failure);
        }
    }
    info
}

/// Adds the events of the stages that ran, and of their tasks.
pub(super) fn add_stages(run: &Run<'_>, numbers: &StageNumbers, timeline: &mut Timeline) {
    let mut ends: BTreeMap<(QueryId, StageId), u64> = BTreeMap::new();
    let mut tries: BTreeMap<TaskId, u64> = BTreeMap::new();
    let mut attempts: Vec<&AttemptSpan> = run.attempts.iter().collect();
    attempts.sort_by_key(|span| (span.start_ms, span.task));
    for (number, attempt) in (0..).zip(attempts) {
        let (query, stage) = (attempt.task.query, attempt.task.stage);
        let planned = run.queries.get(&query).and_then(|q| q.stages.get(&stage));
        let Some(stage) = planned.filter(|stage| !stage.is_dropped) else {
            continue;
        };
        let end = ends.entry((query, stage.id())).or_default();
        *end = attempt.end_ms.max(*end);
        let count = tries.entry(attempt.task).or_default();
        let task = Task {
            number,
            try_number: *count,
            stage: numbers.number(query, stage.id()),
            attempt,
            result: stage.results.get(&attempt.task.index).copied(),
            writes_files: stage.record.writes_files,
        };
        *count += 1;
        task.add(run, timeline);
    }
    for (query, stage) in run.stages() {
        let Some(start_ms) = stage.ready_ms.or(stage.first_start_ms) else {
            continue;
        };
        let last_ms = ends.get(&(query, stage.id())).copied().unwrap_or(start_ms);
        let end_ms = stage.complete_ms.unwrap_or(last_ms).max(last_ms);
        let failure = match stage.complete_ms {
            Some(_) => None,
            None => {
                let failure = run.queries.get(&query).and_then(|query| query.failure);
                failure.or(Some("the query ended before this stage"))
            }
        };
        let (start, end) = (timeline.time(start_ms), timeline.time(end_ms));
        let submitted = stage_info(numbers, query, stage, Some(start), None);
        let completed = stage_info(numbers, query, stage, Some(start), Some((end, failure)));
        timeline.add(
            start_ms,
            rank::STAGE_SUBMITTED,
            json!({
                "Event": "SparkListenerStageSubmitted", "Stage Info": submitted,
                "Properties": {"spark.sql.execution.id": query.0.to_string()},
            }),
        );
        timeline.add(
            end_ms,
            rank::STAGE_COMPLETED,
            json!({"Event": "SparkListenerStageCompleted", "Stage Info": completed}),
        );
    }
}

/// An attempt, as Spark's events need it.
struct Task<'a> {
    /// Unique in the application.
    number: u64,
    /// Number of earlier attempts of the same task.
    try_number: u64,
    stage: u64,
    attempt: &'a AttemptSpan,
    /// The result of the task, of this attempt if it was committed.
    result: Option<&'a TaskCommitted>,
    writes_files: bool,
}

impl Task<'_> {
    /// Adds the start and the end.
    fn add(&self, run: &Run<'_>, timeline: &mut Timeline) {
        let attempt = self.attempt;
        timeline.add(
            attempt.start_ms,
            rank::TASK_START,
            json!({
                "Event": "SparkListenerTaskStart", "Stage ID": self.stage, "Stage Attempt ID": 0,
                "Task Info": self.info(timeline, false),
            }),
        );
        if attempt.end == AttemptEnd::Unfinished {
            return;
        }
        let mut event = json!({
            "Event": "SparkListenerTaskEnd", "Stage ID": self.stage, "Stage Attempt ID": 0,
            "Task Type": if self.writes_files { "ResultTask" } else { "ShuffleMapTask" },
            "Task End Reason": self.reason(run),
            "Task Info": self.info(timeline, true),
            "Task Executor Metrics": {},
        });
        if let (AttemptEnd::Committed, Some(result)) = (attempt.end, self.result) {
            event["Task Metrics"] = metrics(result, self.writes_files);
        }
        timeline.add(attempt.end_ms, rank::TASK_END, event);
    }

    fn info(&self, timeline: &Timeline, is_ended: bool) -> Value {
        let attempt = self.attempt;
        let is_failed = matches!(attempt.end, AttemptEnd::Failed | AttemptEnd::Lost);
        let finished = if is_ended {
            timeline.time(attempt.end_ms)
        } else {
            0
        };
        json!({
            "Task ID": self.number,
            "Index": attempt.task.index,
            "Attempt": self.try_number,
            "Partition ID": attempt.task.index,
            "Launch Time": timeline.time(attempt.start_ms),
            "Executor ID": executor_name(attempt.executor),
            "Host": attempt.executor.to_string(),
            "Locality": "ANY",
            "Speculative": self.try_number > 0 && !attempt.is_rerun,
            "Getting Result Time": 0,
            "Finish Time": finished,
            "Failed": is_ended && is_failed,
            "Killed": is_ended && attempt.end == AttemptEnd::Cancelled,
            "Accumulables": [],
        })
    }

    fn reason(&self, run: &Run<'_>) -> Value {
        let task = self.attempt.task;
        match self.attempt.end {
            AttemptEnd::Committed | AttemptEnd::Unfinished => json!({"Reason": "Success"}),
            AttemptEnd::Cancelled => json!({
                "Reason": "TaskKilled", "Kill Reason": "not needed any more",
                "Accumulator Updates": [],
            }),
            AttemptEnd::Lost => {
                let executor = run.executors.get(&self.attempt.executor);
                let end = executor.and_then(|executor| executor.end);
                json!({
                    "Reason": "ExecutorLostFailure",
                    "Executor ID": executor_name(self.attempt.executor),
                    "Exit Caused By App": true,
                    "Loss Reason": end.map_or("unknown", |end| end.reason),
                })
            }
            AttemptEnd::Failed => {
                let failure = run.failures.iter().find(|(failed, _)| *failed == task);
                let message = failure.map_or("unknown", |(_, message)| *message);
                json!({
                    "Reason": "ExceptionFailure", "Class Name": "TaskFailure",
                    "Description": message, "Stack Trace": [], "Full Stack Trace": message,
                    "Accumulator Updates": [],
                })
            }
        }
    }
}

/// Returns the figures of a result. Those that the journal lacks, such as processor time, are 0.
fn metrics(result: &TaskCommitted, writes_files: bool) -> Value {
    let written = (result.bytes, result.rows);
    let (output, shuffle) = match writes_files {
        true => (written, (0, 0)),
        false => ((0, 0), written),
    };
    json!({
        "Executor Deserialize Time": 0,
        "Executor Deserialize CPU Time": 0,
        "Executor Run Time": result.elapsed_ms,
        "Executor CPU Time": 0,
        "Peak Execution Memory": 0,
        "Result Size": 0,
        "JVM GC Time": 0,
        "Result Serialization Time": 0,
        "Memory Bytes Spilled": 0,
        "Disk Bytes Spilled": result.spilled_bytes,
        "Shuffle Read Metrics": {
            "Remote Blocks Fetched": 0, "Local Blocks Fetched": 0, "Fetch Wait Time": 0,
            "Remote Bytes Read": result.fetched_bytes, "Remote Bytes Read To Disk": 0,
            "Local Bytes Read": 0, "Total Records Read": 0, "Remote Requests Duration": 0,
        },
        "Shuffle Write Metrics": {
            "Shuffle Bytes Written": shuffle.0, "Shuffle Write Time": 0,
            "Shuffle Records Written": shuffle.1,
        },
        "Input Metrics": {"Bytes Read": 0, "Records Read": 0},
        "Output Metrics": {"Bytes Written": output.0, "Records Written": output.1},
        "Updated Blocks": [],
    })
}

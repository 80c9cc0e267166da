//! Chrome's trace format: steps and queries of the driver, attempts by executor and slot.
//!
//! Process 0 is the job: a thread for the steps, and one for the queries, side by side where they
//! overlap. Each executor is a process, and each of its slots a thread.

use std::collections::BTreeMap;

use faisca_planner::ids::ExecutorId;
use serde_json::{Value, json};

use super::super::run::{AttemptEnd, AttemptSpan, Run};

/// Number of the process of the job.
const JOB: u32 = 0;
/// First thread of the queries, in the process of the job.
const QUERIES: usize = 1000;

pub(super) fn trace(run: &Run<'_>) -> String {
    let mut events = vec![name("process_name", JOB, 0, &run.started.application)];
    let mut lanes = Lanes::default();
    for step in &run.steps {
        let end_ms = step.finished_ms.unwrap_or(run.elapsed_ms);
        let lane = lanes.assign(step.started_ms, end_ms);
        let arguments = match step.output {
            Some(output) => json!({
                "path": output.path,
                "rows": output.rows,
                "bytes": output.bytes,
                "files": output.files,
            }),
            None => json!({}),
        };
        events.push(span(
            step.name,
            "step",
            JOB,
            lane,
            (step.started_ms, end_ms),
            &arguments,
        ));
    }
    events.extend((0..lanes.count()).map(|lane| name("thread_name", JOB, lane, "steps")));
    let mut lanes = Lanes::default();
    for (id, query) in &run.queries {
        let end_ms = query.ended_ms.unwrap_or(run.elapsed_ms);
        let lane = QUERIES + lanes.assign(query.started_ms, end_ms);
        let title = format!("{id} {}", query.label);
        let arguments = json!({"failure": query.failure, "planned again": query.changes});
        events.push(span(
            &title,
            "query",
            JOB,
            lane,
            (query.started_ms, end_ms),
            &arguments,
        ));
    }
    let queries = (0..lanes.count()).map(|lane| QUERIES + lane);
    events.extend(queries.map(|lane| name("thread_name", JOB, lane, "queries")));
    events.extend(executors(run));
    json!({"displayTimeUnit": "ms", "traceEvents": events}).to_string()
}

/// Returns the events of the executors.
fn executors(run: &Run<'_>) -> Vec<Value> {
    let mut events = vec![];
    let mut lanes: BTreeMap<ExecutorId, Lanes> = BTreeMap::new();
    let mut attempts: Vec<&AttemptSpan> = run.attempts.iter().collect();
    attempts.sort_by_key(|span| (span.start_ms, span.task));
    for attempt in attempts {
        let lanes = lanes.entry(attempt.executor).or_default();
        let lane = lanes.assign(attempt.start_ms, attempt.end_ms);
        let task = attempt.task;
        let stage = run
            .queries
            .get(&task.query)
            .and_then(|query| query.stages.get(&task.stage));
        let result = stage
            .filter(|_| attempt.end == AttemptEnd::Committed)
            .and_then(|stage| stage.results.get(&task.index));
        let mut arguments = json!({
            "end": end_name(attempt.end),
            "repeats work": attempt.is_rerun,
        });
        if let Some(result) = result {
            arguments["rows"] = json!(result.rows);
            arguments["bytes"] = json!(result.bytes);
            arguments["fetched_bytes"] = json!(result.fetched_bytes);
            arguments["spilled_bytes"] = json!(result.spilled_bytes);
        }
        let (title, times) = (task.to_string(), (attempt.start_ms, attempt.end_ms));
        let process = process(attempt.executor);
        events.push(span(&title, "task", process, lane, times, &arguments));
    }
    for (id, executor) in &run.executors {
        let (process, title) = (process(*id), id.to_string());
        events.push(name("process_name", process, 0, &title));
        let slots = lanes.get(id).map_or(0, Lanes::count);
        events.extend((0..slots).map(|lane| name("thread_name", process, lane, "slot")));
        if let Some(end) = executor.end {
            events.push(json!({
                "name": format!("end: {}", end.reason), "cat": "executor", "ph": "i", "s": "p",
                "ts": end.at_ms * 1000, "pid": process, "tid": 0,
            }));
        }
    }
    events
}

/// Number of the process of an executor. The driver's own executor is none of the job's threads.
fn process(executor: ExecutorId) -> u32 {
    executor.0 + 1
}

fn end_name(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Committed => "committed",
        AttemptEnd::Cancelled => "cancelled",
        AttemptEnd::Failed => "failed",
        AttemptEnd::Lost => "lost",
        AttemptEnd::Unfinished => "unfinished",
    }
}

fn name(kind: &str, process: u32, thread: usize, title: &str) -> Value {
    json!({
        "name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": title},
    })
}

/// Returns a span between two times, in milliseconds since the run started.
fn span(
    title: &str,
    category: &str,
    process: u32,
    thread: usize,
    (start_ms, end_ms): (u64, u64),
    arguments: &Value,
) -> Value {
    json!({
        "name": title, "cat": category, "ph": "X",
        "ts": start_ms * 1000, "dur": end_ms.saturating_sub(start_ms) * 1000,
        "pid": process, "tid": thread, "args": arguments,
    })
}

/// Assigns spans to lanes so that those of one lane do not overlap: viewers nest overlapping ones.
#[derive(Default)]
struct Lanes(
    /// The end of the last span of each lane.
    Vec<u64>,
);

impl Lanes {
    /// Returns the first lane that is free. Spans come in the order of their starts.
    fn assign(&mut self, start_ms: u64, end_ms: u64) -> usize {
        let free = self.0.iter().position(|end| *end <= start_ms);
        let lane = free.unwrap_or(self.0.len());
        match self.0.get_mut(lane) {
            Some(end) => *end = end_ms,
            None => self.0.push(end_ms),
        }
        lane
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::lost_executor;
    use super::*;

    #[test]
    fn every_attempt_is_a_span_and_those_of_a_slot_do_not_overlap() {
        let recorded = lost_executor();
        let run = Run::new(&recorded);
        let trace: Value = serde_json::from_str(&trace(&run)).unwrap();
        let mut ends: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut tasks = 0;
        for event in trace["traceEvents"].as_array().unwrap() {
            if event["cat"] != "task" {
                continue;
            }
            tasks += 1;
            let number = |field: &str| event[field].as_u64().unwrap();
            let end = ends.entry((number("pid"), number("tid"))).or_default();
            assert!(*end <= number("ts"), "{event}");
            *end = number("ts") + number("dur");
        }
        assert_eq!(tasks, run.attempts.len());
        assert!(trace.to_string().contains("killed for exceeding"));
    }
}

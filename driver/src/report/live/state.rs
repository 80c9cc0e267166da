//! The run in a few figures, as JSON for scripts.

use serde::Serialize;

use super::super::findings::stage_name;
use super::super::run::{Outcome, Run};
use super::super::text::quantile;
use super::now::running_stages;

/// A run that goes on. Fields are only added.
#[derive(Debug, Serialize)]
struct State<'a> {
    application: &'a str,
    state: &'static str,
    failure: Option<&'a str>,
    started_unix_ms: u64,
    elapsed_ms: u64,
    steps_finished: u64,
    steps_running: Vec<&'a str>,
    executors_ready: u64,
    executors_lost: u64,
    tasks: u64,
    tasks_finished: u64,
    attempts_running: u64,
    attempts_failed: u64,
    tasks_recomputed: u64,
    rows_written: u64,
    bytes_written: u64,
    stages_running: Vec<StageState<'a>>,
}

#[derive(Debug, Serialize)]
struct StageState<'a> {
    stage: String,
    query: &'a str,
    tasks: u64,
    tasks_finished: u64,
    attempts_running: u64,
    rows: u64,
    rows_expected: u64,
    bytes: u64,
    spilled_bytes: u64,
    task_ms_median: u64,
    task_ms_max: u64,
}

pub(super) fn state(run: &Run<'_>) -> String {
    let outputs = || run.steps.iter().filter_map(|step| step.output);
    let (state, failure) = match run.outcome {
        Outcome::Running => ("running", None),
        Outcome::Succeeded => ("succeeded", None),
        Outcome::Failed(message) => ("failed", Some(message)),
        Outcome::Killed => ("killed", None),
    };
    let stages = stages(run);
    let state = State {
        application: &run.started.application,
        state,
        failure,
        started_unix_ms: run.started.started_unix_ms,
        elapsed_ms: run.elapsed_ms,
        steps_finished: run.steps.iter().filter(|s| s.finished_ms.is_some()).count() as u64,
        steps_running: (run.steps.iter())
            .filter(|step| step.finished_ms.is_none())
            .map(|step| step.name)
            .collect(),
        executors_ready: run.executors_ready(),
        executors_lost: run.losses().count() as u64,
        tasks: run.stages().map(|(_, stage)| stage.tasks).sum(),
        tasks_finished: run.stages().map(|(_, s)| s.results.len() as u64).sum(),
        attempts_running: stages.iter().map(|stage| stage.attempts_running).sum(),
        attempts_failed: run.failures.len() as u64,
        tasks_recomputed: run.tasks_lost,
        rows_written: outputs().map(|output| output.rows).sum(),
        bytes_written: outputs().map(|output| output.bytes).sum(),
        stages_running: stages,
    };
    serde_json::to_string(&state).unwrap_or_default()
}

fn stages<'a>(run: &Run<'a>) -> Vec<StageState<'a>> {
    let running = running_stages(run);
    let stages = running.iter().filter_map(|(id, running)| {
        let query = run.queries.get(&id.0)?;
        let stage = query.stages.get(&id.1)?;
        let times = stage.task_times();
        Some(StageState {
            stage: stage_name(*id),
            query: query.label,
            tasks: stage.tasks,
            tasks_finished: stage.results.len() as u64,
            attempts_running: running.attempts,
            rows: stage.total(|task| task.rows),
            rows_expected: stage.record.rows_expected,
            bytes: stage.total(|task| task.bytes),
            spilled_bytes: stage.total(|task| task.spilled_bytes),
            task_ms_median: quantile(&times, 0.5),
            task_ms_max: quantile(&times, 1.0),
        })
    });
    stages.collect()
}

//! A run in a few figures, for lists of runs and for comparisons.

use chrono::DateTime;
use faisca_planner::ids::QueryId;

use super::run::{Outcome, Run, Stage};
use crate::journal::RecordedRun;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// The job succeeded.
    Succeeded,
    /// The job failed.
    Failed,
    /// The journal has no end: the driver was killed, or still runs.
    Killed,
}

/// A run in a few figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Name of the application.
    pub application: String,
    /// Start of the run, in milliseconds since 1970-01-01T00:00:00Z.
    pub started_unix_ms: u64,
    /// How it ended.
    pub state: RunState,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Milliseconds from the start to the last record.
    pub elapsed_ms: u64,
    /// The steps, in the order of their starts.
    pub steps: Vec<StepFigures>,
    /// The stages that ran, by query.
    pub stages: Vec<StageFigures>,
}

/// A step in a few figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFigures {
    /// Its name.
    pub name: String,
    /// Milliseconds from its start to its end, or to the end of the run.
    pub elapsed_ms: u64,
    /// Rows that it wrote in this run.
    pub rows: u64,
    /// Bytes that it wrote in this run.
    pub bytes: u64,
}

/// A stage in a few figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFigures {
    /// The steps or the statement of its query.
    pub label: String,
    /// Its index in the query.
    pub stage: u32,
    /// Number of tasks.
    pub tasks: u64,
    /// Milliseconds from the first task to the last result.
    pub elapsed_ms: u64,
    /// Slot time of its results, in milliseconds.
    pub busy_ms: u64,
    /// Rows that it returned.
    pub rows: u64,
    /// Bytes that it returned.
    pub bytes: u64,
    /// Bytes that it spilled.
    pub spilled_bytes: u64,
}

impl RunSummary {
    /// Returns the rows that the run wrote.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.steps.iter().map(|step| step.rows).sum()
    }

    /// Returns the start of the run in UTC: `2026-11-28 03:41:07`.
    #[must_use]
    pub fn started_utc(&self) -> String {
        let unix_ms = i64::try_from(self.started_unix_ms).unwrap_or(0);
        let started = DateTime::from_timestamp_millis(unix_ms).unwrap_or_default();
        started.format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Returns the bytes that the run wrote.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes).sum()
    }
}

/// Sums up a run.
#[must_use]
pub fn summarize(recorded: &RecordedRun) -> RunSummary {
    let run = Run::new(recorded);
    let (state, failure) = match run.outcome {
        Outcome::Succeeded => (RunState::Succeeded, None),
        Outcome::Failed(message) => (RunState::Failed, Some(message.to_owned())),
        Outcome::Killed | Outcome::Running => (RunState::Killed, None),
    };
    let steps = run.steps.iter().map(|step| {
        let output = step.output.filter(|_| step.skipped.is_none());
        let ended_ms = step.finished_ms.unwrap_or(run.elapsed_ms);
        StepFigures {
            name: step.name.to_owned(),
            elapsed_ms: ended_ms.saturating_sub(step.started_ms),
            rows: output.map_or(0, |output| output.rows),
            bytes: output.map_or(0, |output| output.bytes),
        }
    });
    let stages = run.stages().filter(|(_, stage)| stage.tasks > 0);
    RunSummary {
        application: run.started.application.clone(),
        started_unix_ms: run.started.started_unix_ms,
        state,
        failure,
        elapsed_ms: run.elapsed_ms,
        steps: steps.collect(),
        stages: stages
            .map(|(query, stage)| stage_figures(&run, query, stage))
            .collect(),
    }
}

fn stage_figures(run: &Run<'_>, query: QueryId, stage: &Stage<'_>) -> StageFigures {
    let started_ms = stage.first_start_ms.or(stage.ready_ms).unwrap_or(0);
    let ended_ms = stage.complete_ms.unwrap_or(run.elapsed_ms);
    StageFigures {
        label: run
            .queries
            .get(&query)
            .map_or_else(String::new, |query| query.label.to_owned()),
        stage: stage.id().0,
        tasks: stage.tasks,
        elapsed_ms: ended_ms.saturating_sub(started_ms),
        busy_ms: stage.total(|task| task.elapsed_ms),
        rows: stage.total(|task| task.rows),
        bytes: stage.total(|task| task.bytes),
        spilled_bytes: stage.total(|task| task.spilled_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{lost_executor, skewed_join};
    use super::*;

    #[test]
    fn a_summary_has_the_outcome_and_the_figures_of_steps_and_stages() {
        let summary = summarize(&skewed_join());
        assert_eq!(summary.state, RunState::Succeeded);
        assert_eq!((summary.rows(), summary.bytes()), (4000, 4 << 20));
        assert_eq!(summary.started_utc(), "2026-11-27 20:04:48");
        assert!(summary.stages.len() >= 2, "{summary:?}");
        let mut killed = lost_executor();
        killed.lines.truncate(killed.lines.len() - 3);
        assert_eq!(summarize(&killed).state, RunState::Killed);
    }
}

//! OpenLineage events: START, and COMPLETE, FAIL or ABORT, of the job and of each step that writes.
//!
//! The run of a step has the run of the job as its parent; the run of the job has the task of a
//! scheduler that started it, if the journal names one.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::super::run::{Outcome, Run, Step};
use super::datasets::{inputs, output};
use super::facet::{PRODUCER, facet};
use crate::journal::record::{ParentRun, StepSkip};
use crate::write_identity::digest;

/// The schema of an event.
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
/// Namespace of jobs whose scheduler names none.
const NAMESPACE: &str = "faisca";

pub(super) fn lineage(run: &Run<'_>) -> String {
    let job = LineageJob::new(run);
    let mut events = vec![(0, job.event("START", 0, None, &[], &[]))];
    for step in &run.steps {
        events.extend(step_events(run, &job, step));
    }
    let outputs = run.steps.iter().filter(|step| step.skipped.is_none());
    let outputs: Vec<Value> = outputs.filter_map(output).collect();
    let (kind, message) = match run.outcome {
        Outcome::Succeeded => ("COMPLETE", None),
        Outcome::Failed(message) => ("FAIL", Some(message)),
        Outcome::Killed | Outcome::Running => ("ABORT", Some("the driver was killed")),
    };
    let end = job.event(kind, run.elapsed_ms, message, &inputs(run, None), &outputs);
    events.sort_by_key(|(at_ms, _)| *at_ms);
    events.push((run.elapsed_ms, end));
    events
        .iter()
        .map(|(_, event)| format!("{event}\n"))
        .collect()
}

/// Returns the events of a step that wrote, with their times.
fn step_events(run: &Run<'_>, job: &LineageJob<'_>, step: &Step<'_>) -> Vec<(u64, Value)> {
    let is_view = step.finished_ms.is_some() && step.output.is_none();
    if is_view || step.skipped == Some(StepSkip::CommittedBefore) {
        return vec![];
    }
    let of_step = job.of_step(step);
    let (kind, end_ms, message) = match (step.finished_ms, run.outcome) {
        (Some(end_ms), _) => ("COMPLETE", end_ms, None),
        (None, Outcome::Failed(message)) => ("FAIL", run.elapsed_ms, Some(message)),
        (None, _) => ("ABORT", run.elapsed_ms, None),
    };
    let inputs = inputs(run, Some(step.name));
    let outputs: Vec<Value> = output(step).into_iter().collect();
    vec![
        (
            step.started_ms,
            of_step.event("START", step.started_ms, None, &[], &[]),
        ),
        (
            end_ms,
            of_step.event(kind, end_ms, message, &inputs, &outputs),
        ),
    ]
}

/// A job or a step, as events name it.
struct LineageJob<'a> {
    run: &'a Run<'a>,
    namespace: String,
    name: String,
    run_id: String,
    job_type: &'static str,
    parent: Option<ParentRun>,
    /// The run at the top, which started all others.
    root: Option<ParentRun>,
}

impl<'a> LineageJob<'a> {
    fn new(run: &'a Run<'a>) -> Self {
        let started = run.started;
        let parent = started.parent.clone();
        let root = started.root_parent.clone().or_else(|| parent.clone());
        let namespace = parent.as_ref().map(|parent| parent.namespace.clone());
        let texts = [
            started.application.as_str(),
            &started.started_unix_ms.to_string(),
        ];
        Self {
            run,
            namespace: namespace.unwrap_or_else(|| NAMESPACE.to_owned()),
            name: started.application.clone(),
            run_id: uuid(&texts),
            job_type: "APPLICATION",
            parent,
            root,
        }
    }

    fn of_step(&self, step: &Step<'_>) -> Self {
        let own = ParentRun {
            namespace: self.namespace.clone(),
            job: self.name.clone(),
            run: self.run_id.clone(),
        };
        Self {
            run: self.run,
            namespace: self.namespace.clone(),
            name: format!("{}.{}", self.name, step.name),
            run_id: uuid(&[&self.run_id, step.name]),
            job_type: "STEP",
            root: self.root.clone().or_else(|| Some(own.clone())),
            parent: Some(own),
        }
    }

    fn event(
        &self,
        kind: &str,
        at_ms: u64,
        message: Option<&str>,
        inputs: &[Value],
        outputs: &[Value],
    ) -> Value {
        let engine = json!({"name": "Faísca", "version": self.run.started.build});
        let mut facets = json!({
            "processing_engine": facet("1-1-1", "ProcessingEngineRunFacet", engine),
        });
        if let Some(parent) = &self.parent {
            facets["parent"] = self.parent_facet(parent);
        }
        if let Some(message) = message {
            let error = json!({"message": message, "programmingLanguage": "SQL"});
            facets["errorMessage"] = facet("1-0-1", "ErrorMessageRunFacet", error);
        }
        let job_type = json!({
            "processingType": "BATCH", "integration": "FAISCA", "jobType": self.job_type,
        });
        json!({
            "eventType": kind,
            "eventTime": self.time(at_ms),
            "run": {"runId": self.run_id, "facets": facets},
            "job": {
                "namespace": self.namespace, "name": self.name,
                "facets": {"jobType": facet("2-0-4", "JobTypeJobFacet", job_type)},
            },
            "inputs": inputs,
            "outputs": outputs,
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
        })
    }

    fn parent_facet(&self, parent: &ParentRun) -> Value {
        let named = |parent: &ParentRun| {
            json!({
                "run": {"runId": parent.run},
                "job": {"namespace": parent.namespace, "name": parent.job},
            })
        };
        let mut content = named(parent);
        if let Some(root) = &self.root {
            content["root"] = named(root);
        }
        facet("1-2-0", "ParentRunFacet", content)
    }

    /// Returns a time of the run, as RFC 3339 has it.
    fn time(&self, at_ms: u64) -> String {
        let unix_ms = i64::try_from(self.run.started.started_unix_ms + at_ms).unwrap_or(0);
        DateTime::from_timestamp_millis(unix_ms)
            .unwrap_or_default()
            .to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

/// Returns a UUID made of texts: the same for the same texts, so that events that are exported
/// again belong to the same run.
fn uuid(texts: &[&str]) -> String {
    let hex = digest(texts);
    // Version 8: the content is our own.
    format!(
        "{}-{}-8{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{lost_executor, skewed_join};
    use super::*;
    use crate::journal::RecordedRun;

    fn events(recorded: &RecordedRun) -> Vec<Value> {
        let text = lineage(&Run::new(recorded));
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_job_starts_first_and_ends_last_and_its_steps_are_its_children() {
        let events = events(&skewed_join());
        let (first, last) = (&events[0], &events[events.len() - 1]);
        assert_eq!(first["eventType"], "START");
        assert_eq!(last["eventType"], "COMPLETE");
        assert_eq!(first["run"]["runId"], last["run"]["runId"]);
        for step in &events[1..events.len() - 1] {
            let parent = &step["run"]["facets"]["parent"];
            assert_eq!(parent["run"]["runId"], first["run"]["runId"]);
        }
        assert!(events.len() >= 4, "{events:?}");
    }

    #[test]
    fn the_task_of_a_scheduler_is_the_parent_of_the_job() {
        let mut recorded = lost_executor();
        recorded.started.parent =
            ParentRun::parse("airflow/dag.task/01993d4d-3d35-7bd0-8f24-3c1f2a5b6c7d");
        for event in events(&recorded) {
            let facets = &event["run"]["facets"];
            let root = &facets["parent"]["root"]["job"]["name"];
            assert_eq!(root, "dag.task", "{event}");
            assert_eq!(event["job"]["namespace"], "airflow");
        }
        recorded.started.parent = None;
        recorded
            .lines
            .retain(|line| line.record != crate::journal::record::Record::RunFinished);
        let events = events(&recorded);
        assert_eq!(events[events.len() - 1]["eventType"], "ABORT");
    }
}

//! Spark's event log: what a Spark history server reads.
//!
//! A query is an execution of SQL with one job. Figures that only the JVM has are 0.

use faisca_planner::ids::{ExecutorId, QueryId, StageId};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::run::{Outcome, Query, Run};
use super::spark_plan::{description, plan};
use super::spark_stages::{StageNumbers, add_stages, executor_name, stage_info};
use super::timeline::{Timeline, rank};

/// The version of the format, which is that of a Spark.
const SPARK_VERSION: &str = "3.5.6";
/// Package of the events of SQL.
const SQL: &str = "org.apache.spark.sql.execution.ui";
/// Port of every block manager. The journal has none, and the history server rejects 0.
const PORT: u16 = 1;

pub(super) fn spark_events(run: &Run<'_>) -> String {
    let mut timeline = Timeline::new(run.started.started_unix_ms);
    let numbers = StageNumbers::new(run);
    add_executors(run, &mut timeline);
    for (id, query) in &run.queries {
        add_query(run, *id, query, &numbers, &mut timeline);
    }
    add_stages(run, &numbers, &mut timeline);
    let mut lines = header(run, &timeline);
    let end = timeline.time(run.elapsed_ms);
    lines.extend(timeline.into_events());
    // Without an end, the history server lists the application as incomplete.
    if run.outcome != Outcome::Killed {
        lines.push(json!({"Event": "SparkListenerApplicationEnd", "Timestamp": end}));
    }
    lines.into_iter().map(event_line).collect()
}

/// Writes an event with its name first. The history server chooses the lines that it lists
/// applications from by how they start.
fn event_line(event: Value) -> String {
    /// An event in the order of its keys.
    #[derive(Serialize)]
    struct NamedEvent {
        #[serde(rename = "Event")]
        name: Value,
        #[serde(flatten)]
        fields: Map<String, Value>,
    }
    let Value::Object(mut fields) = event else {
        return String::new();
    };
    let name = fields.remove("Event").unwrap_or_default();
    let line = serde_json::to_string(&NamedEvent { name, fields });
    line.map_or_else(|_| String::new(), |line| line + "\n")
}

/// Returns the events that describe the application.
fn header(run: &Run<'_>, timeline: &Timeline) -> Vec<Value> {
    let started = timeline.time(0);
    let mut properties = json!({
        "spark.app.name": run.started.application,
        "spark.executor.instances": run.started.executors.to_string(),
        "spark.executor.cores": run.started.slots.to_string(),
        "faisca.version": run.started.build,
    });
    if let Some(bytes) = run.started.memory_bytes {
        properties["spark.executor.memory"] = json!(format!("{bytes}b"));
    }
    for (name, value) in &run.started.settings {
        properties[name.as_str()] = json!(value);
    }
    vec![
        json!({"Event": "SparkListenerLogStart", "Spark Version": SPARK_VERSION}),
        json!({
            "Event": "SparkListenerResourceProfileAdded", "Resource Profile Id": 0,
            "Executor Resource Requests": {}, "Task Resource Requests": {},
        }),
        json!({
            "Event": "SparkListenerEnvironmentUpdate",
            "JVM Information": {"Engine": format!("Faísca {}", run.started.build)},
            "Spark Properties": properties, "Hadoop Properties": {}, "System Properties": {},
            "Metrics Properties": {}, "Classpath Entries": {},
        }),
        json!({
            "Event": "SparkListenerApplicationStart", "App Name": run.started.application,
            "App ID": format!("faisca-{started}"), "Timestamp": started, "User": "faisca",
        }),
    ]
}

fn add_executors(run: &Run<'_>, timeline: &mut Timeline) {
    for (id, executor) in &run.executors {
        let (name, host, time) = (
            executor_name(*id),
            id.to_string(),
            timeline.time(executor.up_ms),
        );
        let memory = run.started.memory_bytes.unwrap_or(0);
        timeline.add(
            executor.up_ms,
            rank::EXECUTOR_ADDED,
            json!({
                "Event": "SparkListenerBlockManagerAdded",
                "Block Manager ID": {"Executor ID": name, "Host": host, "Port": PORT},
                "Maximum Memory": memory, "Timestamp": time,
                "Maximum Onheap Memory": memory, "Maximum Offheap Memory": 0,
            }),
        );
        // The driver is an executor of its own only in Spark's local mode.
        if *id != ExecutorId::DRIVER || run.started.executors == 0 {
            timeline.add(
                executor.up_ms,
                rank::EXECUTOR_ADDED,
                json!({
                    "Event": "SparkListenerExecutorAdded", "Timestamp": time,
                    "Executor ID": name,
                    "Executor Info": {
                        "Host": host, "Total Cores": executor.slots, "Log Urls": {},
                        "Attributes": {}, "Resources": {}, "Resource Profile Id": 0,
                        "Registration Time": time, "Request Time": time,
                    },
                }),
            );
        }
        if let Some(end) = executor.end {
            let time = timeline.time(end.at_ms);
            timeline.add(
                end.at_ms,
                rank::EXECUTOR_REMOVED,
                json!({
                    "Event": "SparkListenerExecutorRemoved", "Timestamp": time,
                    "Executor ID": name, "Removed Reason": end.reason,
                }),
            );
        }
    }
}

/// Returns the id under which the rows of a stage are reported.
fn accumulator(numbers: &StageNumbers, query: QueryId, stage: StageId) -> u64 {
    numbers.number(query, stage) + 1
}

/// Adds the execution of a query, and its job.
fn add_query(
    run: &Run<'_>,
    id: QueryId,
    query: &Query<'_>,
    numbers: &StageNumbers,
    timeline: &mut Timeline,
) {
    let start = timeline.time(query.started_ms);
    timeline.add(
        query.started_ms,
        rank::QUERY_STARTED,
        json!({
            "Event": format!("{SQL}.SparkListenerSQLExecutionStart"),
            "executionId": id.0, "rootExecutionId": id.0, "description": query.label,
            "details": "", "physicalPlanDescription": description(query),
            "sparkPlanInfo": plan(query, |stage| accumulator(numbers, id, stage)), "time": start,
            "modifiedConfigs": {}, "jobTags": [],
        }),
    );
    let stages = query.stages.values().filter(|stage| !stage.is_dropped);
    let infos: Vec<Value> = stages
        .clone()
        .map(|stage| stage_info(numbers, id, stage, None, None))
        .collect();
    let ids: Vec<u64> = stages.map(|stage| numbers.number(id, stage.id())).collect();
    timeline.add(
        query.started_ms,
        rank::JOB_STARTED,
        json!({
            "Event": "SparkListenerJobStart", "Job ID": id.0, "Submission Time": start,
            "Stage Infos": infos, "Stage IDs": ids,
            "Properties": {
                "spark.sql.execution.id": id.0.to_string(),
                "spark.job.description": query.label,
            },
        }),
    );
    add_query_end(run, id, query, numbers, timeline);
}

/// Adds the end of a query and its job. A query of a killed driver has none.
fn add_query_end(
    run: &Run<'_>,
    id: QueryId,
    query: &Query<'_>,
    numbers: &StageNumbers,
    timeline: &mut Timeline,
) {
    let failure = match (query.ended_ms, query.failure, run.outcome) {
        (_, Some(failure), _) => Some(failure),
        (Some(_), None, _) => None,
        (None, None, Outcome::Killed) => return,
        (None, None, _) => Some("cancelled"),
    };
    let end_ms = query.ended_ms.unwrap_or(run.elapsed_ms);
    let end = timeline.time(end_ms);
    let result = match failure {
        None => json!({"Result": "JobSucceeded"}),
        Some(message) => json!({
            "Result": "JobFailed", "Exception": {"Message": message, "Stack Trace": []},
        }),
    };
    timeline.add(
        end_ms,
        rank::JOB_ENDED,
        json!({
            "Event": "SparkListenerJobEnd", "Job ID": id.0, "Completion Time": end,
            "Job Result": result,
        }),
    );
    let stages = query.stages.values().filter(|stage| !stage.is_dropped);
    let rows: Vec<Value> = stages
        .map(|stage| {
            let accumulator = accumulator(numbers, id, stage.id());
            json!([accumulator, stage.total(|task| task.rows)])
        })
        .collect();
    timeline.add(
        end_ms,
        rank::JOB_ENDED,
        json!({
            "Event": format!("{SQL}.SparkListenerDriverAccumUpdates"),
            "executionId": id.0, "accumUpdates": rows,
        }),
    );
    timeline.add(
        end_ms,
        rank::QUERY_ENDED,
        json!({
            "Event": format!("{SQL}.SparkListenerSQLExecutionEnd"),
            "executionId": id.0, "time": end, "errorMessage": failure.unwrap_or(""),
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{lost_executor, skewed_join};
    use super::*;

    fn events(text: &str) -> Vec<Value> {
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn count(events: &[Value], name: &str) -> usize {
        let is_named = |event: &&Value| event["Event"].as_str().unwrap().ends_with(name);
        events.iter().filter(is_named).count()
    }

    #[test]
    fn every_start_has_its_end_and_times_ascend() {
        for recorded in [skewed_join(), lost_executor()] {
            let run = Run::new(&recorded);
            let events = events(&spark_events(&run));
            assert_eq!(count(&events, "TaskStart"), run.attempts.len());
            for (start, end) in [
                ("ListenerTaskStart", "ListenerTaskEnd"),
                ("StageSubmitted", "StageCompleted"),
                ("JobStart", "JobEnd"),
                ("SQLExecutionStart", "SQLExecutionEnd"),
                ("ApplicationStart", "ApplicationEnd"),
            ] {
                assert_eq!(count(&events, start), count(&events, end), "{start}");
            }
            let submitted = events
                .iter()
                .position(|e| e["Event"] == "SparkListenerStageSubmitted");
            let started = events
                .iter()
                .position(|e| e["Event"] == "SparkListenerTaskStart");
            assert!(submitted < started);
        }
    }

    #[test]
    fn every_line_starts_with_the_name_of_its_event() {
        let recorded = lost_executor();
        for line in spark_events(&Run::new(&recorded)).lines() {
            let is_named = line.starts_with("{\"Event\":\"SparkListener")
                || line.starts_with("{\"Event\":\"org.apache.spark.sql.execution.ui.");
            assert!(is_named, "{line}");
        }
    }

    /// The fields without which Spark's history server fails, by event and part of the event.
    const REQUIRED: [(&str, &str, &[&str]); 15] = [
        (
            "SparkListenerApplicationStart",
            "",
            &["App Name", "Timestamp", "User"],
        ),
        (
            "SparkListenerEnvironmentUpdate",
            "",
            &["JVM Information", "Spark Properties", "System Properties"],
        ),
        (
            "SparkListenerBlockManagerAdded",
            "",
            &["Maximum Memory", "Timestamp"],
        ),
        (
            "SparkListenerBlockManagerAdded",
            "/Block Manager ID",
            &["Executor ID", "Host", "Port"],
        ),
        (
            "SparkListenerExecutorAdded",
            "",
            &["Executor ID", "Timestamp"],
        ),
        (
            "SparkListenerExecutorAdded",
            "/Executor Info",
            &["Host", "Total Cores", "Log Urls"],
        ),
        (
            "SparkListenerExecutorRemoved",
            "",
            &["Executor ID", "Removed Reason", "Timestamp"],
        ),
        (
            "SparkListenerJobStart",
            "",
            &["Job ID", "Stage IDs", "Stage Infos", "Submission Time"],
        ),
        (
            "SparkListenerJobStart",
            "/Stage Infos/0",
            &["Stage ID", "Stage Name", "Number of Tasks", "RDD Info"],
        ),
        (
            "SparkListenerJobEnd",
            "",
            &["Job ID", "Job Result", "Completion Time"],
        ),
        (
            "SparkListenerStageCompleted",
            "/Stage Info",
            &[
                "Stage ID",
                "Stage Name",
                "Number of Tasks",
                "RDD Info",
                "Details",
            ],
        ),
        (
            "SparkListenerTaskStart",
            "/Task Info",
            &["Task ID", "Index", "Attempt", "Launch Time", "Locality"],
        ),
        (
            "SparkListenerTaskEnd",
            "",
            &["Stage ID", "Task Type", "Task End Reason"],
        ),
        (
            "SparkListenerTaskEnd",
            "/Task Info",
            &[
                "Executor ID",
                "Host",
                "Speculative",
                "Finish Time",
                "Failed",
                "Killed",
                "Accumulables",
            ],
        ),
        (
            "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart",
            "/sparkPlanInfo",
            &["nodeName", "simpleString", "children", "metrics"],
        ),
    ];

    #[test]
    fn events_have_what_the_history_server_requires() {
        let recorded = lost_executor();
        let events = events(&spark_events(&Run::new(&recorded)));
        for (name, part, fields) in REQUIRED {
            let mut parts = events.iter().filter(|event| event["Event"] == name);
            assert!(parts.clone().count() > 0, "{name}");
            let lacks = parts.find(|event| {
                let part = event.pointer(part);
                !part.is_some_and(|part| fields.iter().all(|field| part.get(field).is_some()))
            });
            assert_eq!(lacks, None, "{name}{part} needs {fields:?}");
        }
        // The server asserts that the port is positive.
        let ports = events
            .iter()
            .filter_map(|event| event.pointer("/Block Manager ID/Port"));
        assert!(ports.clone().count() > 0);
        assert!(ports.into_iter().all(|port| port.as_u64() > Some(0)));
    }

    #[test]
    fn the_plan_of_a_query_is_one_tree_through_its_exchanges() {
        let recorded = skewed_join();
        let text = spark_events(&Run::new(&recorded));
        let events = events(&text);
        let is_start = |event: &&Value| event.get("sparkPlanInfo").is_some();
        let plan = &events.iter().find(is_start).unwrap()["sparkPlanInfo"];
        assert_eq!(plan["nodeName"], "HashJoinExec");
        let exchange = &plan["children"][0];
        assert_eq!(exchange["nodeName"], "ExchangeReadExec");
        assert_eq!(exchange["children"][0]["nodeName"], "DataSourceExec");
    }
}

//! The resources as Kubernetes stores them: `SparkApplication` and `ScheduledSparkApplication`.
//!
//! The spec of an application stays raw JSON here. One invalid spec must not stop the watch of all
//! other applications; [`crate::application`] parses it and reports each mistake by its field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::{application_spec_schema, resource_schema, structural_schema};

/// The manifest's `spec`, not parsed.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "faisca.dev",
    version = "v1alpha1",
    kind = "SparkApplication",
    plural = "sparkapplications",
    shortname = "faisca",
    category = "faisca",
    namespaced,
    status = "ApplicationStatus",
    schema = "manual",
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".status.applicationState.state"}"#,
    printcolumn = r#"{"name": "Progress", "type": "string", "jsonPath": ".status.progress.percent"}"#,
    printcolumn = r#"{"name": "Attempts", "type": "integer", "jsonPath": ".status.executionAttempts"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.applicationState.errorMessage"}"#
)]
#[serde(transparent)]
pub struct ApplicationSpec(pub Value);

impl JsonSchema for ApplicationSpec {
    fn schema_name() -> Cow<'static, str> {
        "ApplicationSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        application_spec_schema()
    }
}

impl JsonSchema for SparkApplication {
    fn schema_name() -> Cow<'static, str> {
        "SparkApplication".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        resource_schema(
            &application_spec_schema(),
            &structural_schema::<ApplicationStatus>(),
        )
    }
}

/// State of an application, with the names that Spark Operator and Airflow use.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApplicationState {
    /// Not reconciled by the operator yet.
    #[default]
    #[serde(rename = "")]
    New,
    /// The driver pod is created.
    Submitted,
    /// The driver runs.
    Running,
    /// The driver failed; the next attempt starts after a delay.
    PendingRerun,
    /// Stopped because `spec.suspend` is true.
    Suspended,
    /// The driver succeeded: all output is visible.
    Completed,
    /// Ended without success; no further attempt follows.
    Failed,
    /// A state that this version of the operator does not know.
    #[serde(other)]
    Unknown,
}

impl ApplicationState {
    /// Returns true if the application has ended for good.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// State of an application, and the reason for a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateAndReason {
    /// State of the application.
    #[serde(default)]
    pub state: ApplicationState,
    /// Why it failed, and how to fix it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// Location of the driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverInfo {
    /// Name of the driver's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Address of the driver's web page, if it has one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename = "webUIAddress"
    )]
    pub web_ui_address: Option<String>,
}

/// Progress of a job. The driver writes it to an annotation of its pod; the operator copies it
/// here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationProgress {
    /// Names of the steps that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Finished stages of all known stages, for example `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Number of committed tasks.
    #[serde(default)]
    pub tasks_done: u64,
    /// Number of tasks known so far; grows while later stages are planned.
    #[serde(default)]
    pub tasks_total: u64,
    /// Rows that executors have produced so far.
    #[serde(default)]
    pub rows: u64,
    /// Bytes that executors have produced so far.
    #[serde(default)]
    pub bytes: u64,
    /// Share of finished steps, with a percent sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
}

/// Output of a completed job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationResult {
    /// Path of each written table, by step.
    #[serde(default)]
    pub tables: BTreeMap<String, String>,
    /// Rows written.
    #[serde(default)]
    pub rows: u64,
    /// Bytes written.
    #[serde(default)]
    pub bytes: u64,
}

/// Resources reserved by an attempt, used or not: requests multiplied by time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationCost {
    /// Requested cores multiplied by seconds.
    #[serde(default)]
    pub vcpu_seconds: u64,
    /// Requested memory in GiB, multiplied by seconds.
    #[serde(default)]
    pub gib_seconds: u64,
}

/// Condition of an application, for `kubectl wait --for=condition=Completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationCondition {
    /// `Running`, `Completed` or `Failed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// State of the application, as one word.
    pub reason: String,
    /// Explanation, as a sentence.
    #[serde(default)]
    pub message: String,
    /// When `status` last changed.
    #[schemars(with = "String")]
    pub last_transition_time: Time,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Status of an application, written by the operator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// State, and the reason for a failure.
    #[serde(default)]
    pub application_state: StateAndReason,
    /// Location of the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_info: Option<DriverInfo>,
    /// State of each executor, by pod name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub executor_state: BTreeMap<String, String>,
    /// Number of driver pods started so far.
    #[serde(default)]
    pub execution_attempts: u32,
    /// Number of failed attempts since the last success; suspended attempts do not count.
    #[serde(default)]
    pub failures: u32,
    /// Number of times the job completed so far and ran again, as `restartPolicy: Always` asks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub completions: u32,
    /// When the latest attempt was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub submission_time: Option<Time>,
    /// When the application ended, or its latest attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub termination_time: Option<Time>,
    /// Progress of the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ApplicationProgress>,
    /// Output of the completed job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ApplicationResult>,
    /// Resources reserved by the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<ApplicationCost>,
    /// Conditions `Running`, `Completed` and `Failed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ApplicationCondition>,
}

/// What happens if a run is due while the previous one still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Both runs execute concurrently.
    #[default]
    Allow,
    /// The new run is skipped.
    Forbid,
    /// The previous run is deleted, and the new one starts.
    Replace,
}

/// An application that runs on a schedule.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "faisca.dev",
    version = "v1alpha1",
    kind = "ScheduledSparkApplication",
    plural = "scheduledsparkapplications",
    shortname = "scheduledfaisca",
    category = "faisca",
    namespaced,
    status = "ScheduledStatus",
    schema = "manual",
    printcolumn = r#"{"name": "Schedule", "type": "string", "jsonPath": ".spec.schedule"}"#,
    printcolumn = r#"{"name": "Suspend", "type": "boolean", "jsonPath": ".spec.suspend"}"#,
    printcolumn = r#"{"name": "Last run", "type": "date", "jsonPath": ".status.lastRun"}"#,
    printcolumn = r#"{"name": "Last name", "type": "string", "jsonPath": ".status.lastRunName"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.reason"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledApplicationSpec {
    /// Cron expression of five fields, or an alias such as `@hourly`.
    pub schedule: String,
    /// IANA time zone of the schedule, for example `America/Sao_Paulo`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// If true, no run starts.
    #[serde(default)]
    pub suspend: bool,
    /// What happens if the previous run has not ended.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// Runs that could not start within this many seconds of their scheduled time are skipped.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<u64>,
    /// Number of completed runs to keep. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successful_run_history_limit: Option<u32>,
    /// Number of failed runs to keep. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_run_history_limit: Option<u32>,
    /// Spec of the application that each run creates.
    pub template: ApplicationSpec,
}

impl JsonSchema for ScheduledSparkApplication {
    fn schema_name() -> Cow<'static, str> {
        "ScheduledSparkApplication".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        resource_schema(
            &structural_schema::<ScheduledApplicationSpec>(),
            &structural_schema::<ScheduledStatus>(),
        )
    }
}

/// Status of a schedule, written by the operator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledStatus {
    /// Scheduled time of the latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_run: Option<Time>,
    /// Name of the latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_name: Option<String>,
    /// Scheduled time of the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next_run: Option<Time>,
    /// Names of the completed runs that are kept, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_successful_run_names: Vec<String>,
    /// Names of the failed runs that are kept, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_failed_run_names: Vec<String>,
    /// `Scheduled`, `Suspended` or `FailedValidation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_state: Option<String>,
    /// Why a run was skipped, or why the schedule is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

//! The resources as Kubernetes stores them.
//!
//! The spec of an application stays raw here: a spec that cannot be read must not stop the watch of
//! all others, and its mistakes are told with the nearest valid name. [`crate::application`] reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::crd;

/// The manifest's `spec`, unread.
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
        crd::application_spec()
    }
}

impl JsonSchema for SparkApplication {
    fn schema_name() -> Cow<'static, str> {
        "SparkApplication".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        crd::object(
            &crd::application_spec(),
            &crd::schema_of::<ApplicationStatus>(),
        )
    }
}

/// States of an application, as Spark Operator's users and Airflow know them.
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
    /// The operator has not looked at it.
    #[default]
    #[serde(rename = "")]
    New,
    /// Its driver pod was asked for.
    Submitted,
    /// Its driver runs.
    Running,
    /// Its driver failed; another one follows after a while.
    PendingRerun,
    /// It does not run because `spec.suspend` says so.
    Suspended,
    /// Done.
    Completed,
    /// Ended without success.
    Failed,
    /// A state of another version of this operator.
    #[serde(other)]
    Unknown,
}

impl ApplicationState {
    /// Nothing follows.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// State, and the reason for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateAndReason {
    /// State.
    #[serde(default)]
    pub state: ApplicationState,
    /// Why it failed, and how to mend that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// Where the driver is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverInfo {
    /// Its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Its page, where there is one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename = "webUIAddress"
    )]
    pub web_ui_address: Option<String>,
}

/// How far a job is. The driver writes it on its pod, the operator copies it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationProgress {
    /// What runs, by the names that the user gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Stages of it that are done, of all: `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Tasks that are committed.
    #[serde(default)]
    pub tasks_done: u64,
    /// Tasks that are known so far.
    #[serde(default)]
    pub tasks_total: u64,
    /// Rows that executors made so far.
    #[serde(default)]
    pub rows: u64,
    /// Bytes that executors made so far.
    #[serde(default)]
    pub bytes: u64,
    /// Steps that are done, of all, with a percent sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
}

/// What a job wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationResult {
    /// Paths by step.
    #[serde(default)]
    pub tables: BTreeMap<String, String>,
    /// Rows written.
    #[serde(default)]
    pub rows: u64,
    /// Bytes written.
    #[serde(default)]
    pub bytes: u64,
}

/// What an attempt held, whether it used it or not: requests times time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationCost {
    /// Cores times seconds.
    #[serde(default)]
    pub vcpu_seconds: u64,
    /// GiB of memory times seconds.
    #[serde(default)]
    pub gib_seconds: u64,
}

/// Whether something holds of an application: for `kubectl wait --for=condition=Completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationCondition {
    /// `Running`, `Completed` or `Failed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// The state, as one word.
    pub reason: String,
    /// Why, as a sentence.
    #[serde(default)]
    pub message: String,
    /// When `status` changed.
    #[schemars(with = "String")]
    pub last_transition_time: Time,
}

/// What the operator tells of an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// State.
    #[serde(default)]
    pub application_state: StateAndReason,
    /// The driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_info: Option<DriverInfo>,
    /// States of executors by pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub executor_state: BTreeMap<String, String>,
    /// Driver pods that were started.
    #[serde(default)]
    pub execution_attempts: u32,
    /// Attempts that failed; those that were suspended do not count.
    #[serde(default)]
    pub failures: u32,
    /// When the newest attempt was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub submission_time: Option<Time>,
    /// When it ended, or its newest attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub termination_time: Option<Time>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ApplicationProgress>,
    /// What it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ApplicationResult>,
    /// What it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<ApplicationCost>,
    /// Whether it runs, is completed, failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ApplicationCondition>,
}

/// What happens if a run is due while another still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Both run.
    #[default]
    Allow,
    /// The new one is left out.
    Forbid,
    /// The old one is stopped.
    Replace,
}

/// An application, again and again.
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
    /// Five fields of cron, or `@hourly` and its like.
    pub schedule: String,
    /// Name of the time zone of the schedule, say `America/Sao_Paulo`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// True: no run starts.
    #[serde(default)]
    pub suspend: bool,
    /// What happens if the run before still runs.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// A run that could not start so many seconds after it was due is left out. Default: it starts however late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<u64>,
    /// Completed runs that are kept. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successful_run_history_limit: Option<u32>,
    /// Failed runs that are kept. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_run_history_limit: Option<u32>,
    /// The application.
    pub template: ApplicationSpec,
}

impl JsonSchema for ScheduledSparkApplication {
    fn schema_name() -> Cow<'static, str> {
        "ScheduledSparkApplication".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        crd::object(
            &crd::schema_of::<ScheduledApplicationSpec>(),
            &crd::schema_of::<ScheduledStatus>(),
        )
    }
}

/// What the operator tells of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledStatus {
    /// When the newest run was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_run: Option<Time>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_name: Option<String>,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next_run: Option<Time>,
    /// Completed runs that are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_successful_run_names: Vec<String>,
    /// Failed runs that are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_failed_run_names: Vec<String>,
    /// `Scheduled`, `Suspended` or `FailedValidation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_state: Option<String>,
    /// Why it is not scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

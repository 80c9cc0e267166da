//! The resources of a job on a cluster. The fields have the names of Spark Operator.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether, and how often, a job starts again.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartPolicy {
    /// When the job starts again.
    #[serde(default, rename = "type")]
    pub kind: RestartPolicyType,
    /// Maximum number of retries after failures. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure_retries: Option<u32>,
    /// Seconds before the first retry; doubled for each further one, up to 300. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure_retry_interval: Option<u64>,
}

/// When a job starts again after it has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicyType {
    /// Never.
    #[default]
    Never,
    /// After a failure that another attempt may not meet.
    OnFailure,
    /// After a failure, and also after a success.
    Always,
}

/// Resources and pod of the driver.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverSpec {
    /// CPU request of the pod, in cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<f64>,
    /// CPU limit of the pod, as a Kubernetes quantity: `2` or `1500m`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_limit: Option<String>,
    /// Memory request and limit of the pod, as a Kubernetes quantity (`2Gi`) or as in Spark
    /// (`2g`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Further parts of the pod.
    #[serde(flatten)]
    pub pod: PodSpecParts,
}

/// Number, resources and pods of the executors.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorSpec {
    /// Number of executors on a cluster. `faisca run` uses its flag `--executors` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// CPU request of each executor in cores, which is also its number of task slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<f64>,
    /// CPU limit of the pod, as a Kubernetes quantity: `2` or `1500m`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_limit: Option<String>,
    /// Memory request and limit of each executor, as a Kubernetes quantity (`2Gi`) or as in
    /// Spark (`2g`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Bounds between which the number of executors follows the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ExecutorScale>,
    /// Further parts of the pod.
    #[serde(flatten)]
    pub pod: PodSpecParts,
}

/// Bounds of the number of executors. Zero is allowed: small jobs then run in the driver.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutorScale {
    /// Minimum number of executors.
    #[serde(default)]
    pub min: u32,
    /// Maximum number of executors.
    pub max: u32,
}

/// Parts of a pod that are passed to Kubernetes unchanged.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSpecParts {
    /// Labels of the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Environment variables of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Value>,
    /// ConfigMaps and Secrets whose entries become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<Value>,
    /// Volume mounts of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<Value>,
    /// Affinity of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Value>,
    /// Tolerations of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Value>,
    /// Labels that the pod's node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Security context of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Value>,
    /// Further containers of the pod. They run as restartable init containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<Value>,
    /// Init containers of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Value>,
    /// Seconds between SIGTERM and SIGKILL when the pod is deleted. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u64>,
    /// Pod template. All other fields are merged over it, and win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Value>,
}

/// Bounds of the number of executors, as Spark Operator names them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DynamicAllocation {
    /// Whether the number of executors follows the work.
    #[serde(default)]
    pub enabled: bool,
    /// Number of executors at the start. Default: the minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_executors: Option<u32>,
    /// Minimum number of executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_executors: Option<u32>,
    /// Maximum number of executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_executors: Option<u32>,
}

/// What the driver's pod offers to Airflow.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AirflowSpec {
    /// Whether a container offers the result of the job as an XCom, for operators with
    /// `do_xcom_push=True`. The pod stays up until Airflow has fetched it.
    #[serde(default)]
    pub xcom: bool,
    /// Image of that container, which must contain a shell. Default: `alpine:3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

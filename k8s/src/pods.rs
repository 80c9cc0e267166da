//! The pods of an application: names, labels, and what driver and executors have in common.
//!
//! Everything travels in variables and arguments: a ConfigMap could be mounted before it is whole.

mod driver;
mod executor;
mod quantity;
mod template;
mod xcom;

use std::collections::BTreeMap;

use faisca_planner::manifest::PodSpecParts;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

pub use driver::{driver_pod, token_secret};
pub use executor::{ExecutorPods, executor_selector};

use crate::application::{Application, InvalidSpec};
use template::merge;
pub(crate) use xcom::FILE as XCOM_FILE;
use xcom::xcom;

/// Names that driver and operator share: variables of the driver's pod.
pub mod env {
    /// The manifest, as JSON.
    pub const JOB: &str = "FAISCA_JOB";
    /// The resource, as an owner reference in JSON.
    pub const OWNER: &str = "FAISCA_OWNER";
    /// Which attempt this is, from 1.
    pub const ATTEMPT: &str = "FAISCA_ATTEMPT";
    /// Name of the pod.
    pub const POD_NAME: &str = "FAISCA_POD_NAME";
    /// Namespace of the pod.
    pub const POD_NAMESPACE: &str = "FAISCA_POD_NAMESPACE";
    /// Address of the pod.
    pub const POD_IP: &str = "FAISCA_POD_IP";
}

/// Name of the driver's container: Airflow reads its logs by that name.
pub const DRIVER_CONTAINER: &str = "spark-kubernetes-driver";
/// Name of an executor's container.
pub const EXECUTOR_CONTAINER: &str = "spark-kubernetes-executor";
/// Annotation of the driver's pod: progress, as JSON.
pub const PROGRESS: &str = "faisca.dev/progress";
/// Annotation of the driver's pod: what was written, as JSON.
pub const RESULT: &str = "faisca.dev/result";
/// Label of every pod: the attempt it belongs to.
pub const ATTEMPT_LABEL: &str = "faisca.dev/attempt";
/// Label of every pod: `driver` or `executor`.
pub const ROLE_LABEL: &str = "spark-role";
/// Label of every pod: the resource's unique identity.
pub const SELECTOR_LABEL: &str = "spark-app-selector";
/// Label of every pod: the resource's name.
pub const APP_LABEL: &str = "faisca.dev/app-name";
/// User and group of the image.
const USER: u32 = 65532;
/// Where executors and driver spill.
const SCRATCH: &str = "/tmp";
const SCRATCH_VOLUME: &str = "faisca-scratch";
/// Seconds between SIGTERM and SIGKILL, unless the manifest says otherwise.
const GRACE_SECONDS: u64 = 30;

/// Name of the driver's pod.
#[must_use]
pub fn driver_name(application: &str) -> String {
    format!("{application}-driver")
}

/// Characters of an application's identity that tell it from another of the same name.
const IDENTITY_LENGTH: usize = 8;

/// Name of the secret that holds an application's token. One of the same name may just be on its way out.
#[must_use]
pub fn secret_name(application: &Application) -> String {
    let identity: String = application
        .owner
        .uid
        .chars()
        .take(IDENTITY_LENGTH)
        .collect();
    format!("{}-token-{identity}", application.name)
}

/// Which part of the application a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Driver,
    Executor,
}

impl Role {
    fn label(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Executor => "executor",
        }
    }

    fn container(self) -> &'static str {
        match self {
            Self::Driver => DRIVER_CONTAINER,
            Self::Executor => EXECUTOR_CONTAINER,
        }
    }
}

fn labels(
    application: &Application,
    role: Role,
    attempt: u32,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = application.spec().labels.clone();
    labels.extend(own.clone());
    let fixed = [
        (ROLE_LABEL, role.label().to_owned()),
        (SELECTOR_LABEL, application.owner.uid.clone()),
        (APP_LABEL, application.name.clone()),
        (ATTEMPT_LABEL, attempt.to_string()),
        ("app.kubernetes.io/name", "faisca".to_owned()),
        ("app.kubernetes.io/instance", application.name.clone()),
        ("app.kubernetes.io/component", role.label().to_owned()),
        ("app.kubernetes.io/managed-by", "faisca".to_owned()),
    ];
    labels.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    labels
}

fn variable(name: &str, value: impl Into<String>) -> Value {
    json!({"name": name, "value": value.into()})
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

fn token_variable(application: &Application) -> Value {
    let key = json!({"name": secret_name(application), "key": "token"});
    json!({"name": faisca_executor::control::env::TOKEN, "valueFrom": {"secretKeyRef": key}})
}

/// What differs between the two kinds of pod.
struct Parts<'a> {
    role: Role,
    name: String,
    attempt: u32,
    cores: Option<f64>,
    core_limit: Option<&'a str>,
    memory: Option<&'a str>,
    pod: &'a PodSpecParts,
    command: Vec<String>,
    arguments: Vec<String>,
    variables: Vec<Value>,
}

fn pod(application: &Application, parts: &Parts<'_>) -> Result<Pod, InvalidSpec> {
    let spec = application.spec();
    let path = format!("spec.{}", parts.role.label());
    let mut metadata = json!({
        "name": parts.name,
        "namespace": application.namespace,
        "labels": labels(application, parts.role, parts.attempt, &parts.pod.labels),
        "annotations": parts.pod.annotations,
        "ownerReferences": [application.owner],
    });
    if parts.pod.annotations.is_empty() {
        drop_field(&mut metadata, "annotations");
    }
    let mut pod_spec = Map::new();
    let mut set = |name: &str, value: Value| {
        if !matches!(&value, Value::Null)
            && value.as_array().is_none_or(|items| !items.is_empty())
            && value.as_object().is_none_or(|o| !o.is_empty())
        {
            pod_spec.insert(name.to_owned(), value);
        }
    };
    set("restartPolicy", json!("Never"));
    set("enableServiceLinks", json!(false));
    set("serviceAccountName", json!(spec.service_account));
    // Executors never ask the API server for anything.
    set(
        "automountServiceAccountToken",
        if parts.role == Role::Executor {
            json!(false)
        } else {
            Value::Null
        },
    );
    set(
        "imagePullSecrets",
        spec.image_pull_secrets
            .iter()
            .map(|name| json!({"name": name}))
            .collect(),
    );
    set("nodeSelector", json!(parts.pod.node_selector));
    set("tolerations", json!(parts.pod.tolerations));
    set("affinity", json!(parts.pod.affinity));
    set(
        "terminationGracePeriodSeconds",
        json!(
            parts
                .pod
                .termination_grace_period_seconds
                .unwrap_or(GRACE_SECONDS)
        ),
    );
    set("securityContext", pod_security());
    let scratch = json!({"name": SCRATCH_VOLUME, "emptyDir": {}});
    let xcom = if parts.role == Role::Driver {
        xcom(spec.airflow.as_ref())
    } else {
        None
    };
    let volume = xcom.as_ref().map(|xcom| xcom.volume.clone());
    set(
        "volumes",
        spec.volumes
            .iter()
            .cloned()
            .chain([scratch])
            .chain(volume)
            .collect(),
    );
    // A sidecar that is an init container that restarts ends with the pod instead of keeping it alive.
    let sidecars = parts.pod.sidecars.iter().cloned().map(|mut sidecar| {
        if let Value::Object(fields) = &mut sidecar {
            fields.insert("restartPolicy".to_owned(), json!("Always"));
        }
        sidecar
    });
    set(
        "initContainers",
        parts
            .pod
            .init_containers
            .iter()
            .cloned()
            .chain(sidecars)
            .collect(),
    );
    let main = container(
        application,
        parts,
        xcom.as_ref().map(|xcom| xcom.mount.clone()),
    )?;
    set(
        "containers",
        [main]
            .into_iter()
            .chain(xcom.map(|xcom| xcom.container))
            .collect(),
    );
    let overlay = json!({"metadata": metadata, "spec": pod_spec});
    let merged = merge(
        parts.pod.template.clone().unwrap_or_else(|| json!({})),
        overlay,
    );
    serde_json::from_value(merged)
        .map_err(|error| InvalidSpec(format!("{path}: not a valid pod: {error}")))
}

fn container(
    application: &Application,
    parts: &Parts<'_>,
    mount: Option<Value>,
) -> Result<Value, InvalidSpec> {
    let spec = application.spec();
    let path = format!("spec.{}", parts.role.label());
    let image = spec.image.as_ref().ok_or_else(|| {
        InvalidSpec("spec.image: no image is given, and the operator has no default".to_owned())
    })?;
    let mut container = json!({
        "name": parts.role.container(),
        "image": image,
        "resources": quantity::resources(parts.cores, parts.core_limit, parts.memory).map_err(|e| InvalidSpec(format!("{path}.{e}")))?,
        "securityContext": merge(container_security(), parts.pod.security_context.clone().unwrap_or_else(|| json!({}))),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    if let Value::Object(fields) = &mut container {
        let mut set = |name: &str, values: Vec<Value>| {
            if !values.is_empty() {
                fields.insert(name.to_owned(), Value::Array(values));
            }
        };
        set(
            "command",
            parts.command.iter().map(|word| json!(word)).collect(),
        );
        set(
            "args",
            parts.arguments.iter().map(|word| json!(word)).collect(),
        );
        set(
            "env",
            parts
                .pod
                .env
                .iter()
                .chain(&parts.variables)
                .cloned()
                .collect(),
        );
        set("envFrom", parts.pod.env_from.clone());
        let mounted = |path: &str| {
            parts
                .pod
                .volume_mounts
                .iter()
                .any(|mount| mount.get("mountPath").and_then(Value::as_str) == Some(path))
        };
        let scratch =
            (!mounted(SCRATCH)).then(|| json!({"name": SCRATCH_VOLUME, "mountPath": SCRATCH}));
        set(
            "volumeMounts",
            parts
                .pod
                .volume_mounts
                .iter()
                .cloned()
                .chain(scratch)
                .chain(mount)
                .collect(),
        );
        if let Some(policy) = &spec.image_pull_policy {
            fields.insert("imagePullPolicy".to_owned(), json!(policy));
        }
    }
    Ok(container)
}

/// What the `restricted` level of Pod Security asks for.
fn pod_security() -> Value {
    let profile = json!({"type": "RuntimeDefault"});
    json!({"runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "seccompProfile": profile})
}

fn container_security() -> Value {
    json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
}

fn drop_field(value: &mut Value, name: &str) {
    if let Value::Object(fields) = value {
        fields.remove(name);
    }
}

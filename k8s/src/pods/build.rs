//! Builds a pod of either role.
//!
//! Generated parts are typed. The user's parts (`env`, `volumeMounts`, `affinity`, …) stay raw JSON
//! until the end, because it may be incomplete: the pod template completes it. A typed
//! `VolumeMount` without a path would get an empty one, which would win over the template's path.
//!
//! ```text
//! user's raw parts ─┐
//!                   ├─► overlay ─► merged over the pod template ─► Pod (checked by its type)
//! generated parts ──┘
//! ```

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, LocalObjectReference,
    ObjectFieldSelector, Pod, PodSecurityContext, PodSpec, SeccompProfile, SecretKeySelector,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::template::merge;
use super::xcom::xcom;
use super::{GRACE_SECONDS, Role, TOKEN_KEY, labels, quantity, secret_name};
use crate::application::Application;
use crate::error::InvalidSpec;
use faisca_planner::manifest::PodSpecParts;

/// User and group ID of the image.
const USER_ID: i64 = 65532;
/// Directory to which driver and executors spill.
const SCRATCH_PATH: &str = "/tmp";
const SCRATCH_VOLUME: &str = "faisca-scratch";

/// The values that differ between the two roles.
pub(super) struct PodParameters<'a> {
    pub(super) role: Role,
    /// Name of the pod.
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) cores: Option<f64>,
    pub(super) core_limit: Option<&'a str>,
    pub(super) memory: Option<&'a str>,
    /// The user's parts of the pod, passed through.
    pub(super) pod: &'a PodSpecParts,
    /// Replaces the image's entry point, unless empty.
    pub(super) command: Vec<String>,
    pub(super) arguments: Vec<String>,
    /// Environment variables, after those of the user.
    pub(super) variables: Vec<EnvVar>,
}

impl PodParameters<'_> {
    /// Path of the role's section in the resource, for messages.
    fn path(&self) -> String {
        format!("spec.{}", self.role.name())
    }
}

/// Builds a pod: the template of the spec, with everything else merged over it.
///
/// # Errors
/// If a part of the spec does not form a valid pod.
pub(super) fn build_pod(
    application: &Application,
    parameters: &PodParameters<'_>,
) -> Result<Pod, InvalidSpec> {
    let overlay = json!({
        "metadata": metadata(application, parameters),
        "spec": pod_spec(application, parameters)?,
    });
    let template = parameters.pod.template.clone();
    let merged = merge(template.unwrap_or_else(|| json!({})), overlay);
    serde_json::from_value(merged)
        .map_err(|error| InvalidSpec(format!("{}: not a valid pod: {error}", parameters.path())))
}

fn metadata(application: &Application, parameters: &PodParameters<'_>) -> ObjectMeta {
    let annotations = &parameters.pod.annotations;
    ObjectMeta {
        name: Some(parameters.name.clone()),
        namespace: Some(application.namespace.clone()),
        labels: Some(labels(
            application,
            parameters.role,
            parameters.attempt,
            &parameters.pod.labels,
        )),
        annotations: (!annotations.is_empty()).then(|| annotations.clone()),
        owner_references: Some(vec![application.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn pod_spec(
    application: &Application,
    parameters: &PodParameters<'_>,
) -> Result<Value, InvalidSpec> {
    let spec = application.spec();
    let pod = parameters.pod;
    let xcom = match parameters.role {
        Role::Driver => xcom(spec.airflow.as_ref()),
        Role::Executor => None,
    };
    let pull_secrets = spec.image_pull_secrets.iter().cloned();
    let generated = PodSpec {
        restart_policy: Some("Never".to_owned()),
        enable_service_links: Some(false),
        service_account_name: spec.service_account.clone(),
        // Executors never use the API server, so they get no credentials for it.
        automount_service_account_token: (parameters.role == Role::Executor).then_some(false),
        image_pull_secrets: unless_empty(
            pull_secrets
                .map(|name| LocalObjectReference { name })
                .collect(),
        ),
        security_context: Some(pod_security_context()),
        ..PodSpec::default()
    };
    let mount = xcom.as_ref().map(|xcom| &xcom.mount);
    let main = main_container(application, parameters, mount)?;
    let grace = pod
        .termination_grace_period_seconds
        .unwrap_or(GRACE_SECONDS);

    let mut raw = Map::new();
    set_unless_empty(&mut raw, "nodeSelector", json!(pod.node_selector));
    set_unless_empty(&mut raw, "tolerations", json!(pod.tolerations));
    set_unless_empty(&mut raw, "affinity", json!(pod.affinity));
    set_unless_empty(&mut raw, "terminationGracePeriodSeconds", json!(grace));
    let volumes = [
        Some(scratch_volume()),
        xcom.as_ref().map(|x| x.volume.clone()),
    ];
    let volumes = concat_items(&spec.volumes, volumes.into_iter().flatten());
    set_unless_empty(&mut raw, "volumes", volumes);
    let sidecars = pod.sidecars.iter().cloned().map(restartable);
    let init_containers = concat_items(&pod.init_containers, sidecars);
    set_unless_empty(&mut raw, "initContainers", init_containers);
    let containers = concat_items(&[main], xcom.map(|xcom| xcom.container));
    set_unless_empty(&mut raw, "containers", containers);
    Ok(merge(Value::Object(raw), json!(generated)))
}

/// Builds the container that runs the driver or the executor.
fn main_container(
    application: &Application,
    parameters: &PodParameters<'_>,
    xcom_mount: Option<&VolumeMount>,
) -> Result<Value, InvalidSpec> {
    let spec = application.spec();
    let pod = parameters.pod;
    let image = spec.image.clone().ok_or_else(|| {
        InvalidSpec("spec.image: no image is given, and the operator has no default".to_owned())
    })?;
    let resources = quantity::resources(parameters.cores, parameters.core_limit, parameters.memory)
        .map_err(|error| InvalidSpec(format!("{}.{error}", parameters.path())))?;
    let generated = Container {
        name: parameters.role.container().to_owned(),
        image: Some(image),
        image_pull_policy: spec.image_pull_policy.clone(),
        resources: Some(resources),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        command: unless_empty(parameters.command.clone()),
        args: unless_empty(parameters.arguments.clone()),
        ..Container::default()
    };

    let mut raw = Map::new();
    let user_security = pod.security_context.clone().unwrap_or_else(|| json!({}));
    let security = merge(json!(container_security_context()), user_security);
    set_unless_empty(&mut raw, "securityContext", security);
    set_unless_empty(
        &mut raw,
        "env",
        concat_items(&pod.env, &parameters.variables),
    );
    set_unless_empty(&mut raw, "envFrom", json!(pod.env_from));
    // A user may mount a faster disk at the scratch path.
    let is_scratch_mounted = pod
        .volume_mounts
        .iter()
        .any(|mount| mount.get("mountPath").and_then(Value::as_str) == Some(SCRATCH_PATH));
    let scratch = (!is_scratch_mounted).then(scratch_mount);
    let mounts = concat_items(&pod.volume_mounts, scratch.iter().chain(xcom_mount));
    set_unless_empty(&mut raw, "volumeMounts", mounts);
    Ok(merge(json!(generated), Value::Object(raw)))
}

/// Makes a sidecar an init container that restarts: such a container ends with the pod instead of
/// keeping it alive.
fn restartable(mut sidecar: Value) -> Value {
    if let Value::Object(fields) = &mut sidecar {
        fields.insert("restartPolicy".to_owned(), json!("Always"));
    }
    sidecar
}

/// Returns the user's raw items, followed by the generated ones.
fn concat_items<T: Serialize>(raw: &[Value], generated: impl IntoIterator<Item = T>) -> Value {
    let generated = generated.into_iter().map(|item| json!(item));
    raw.iter().cloned().chain(generated).collect()
}

/// Sets a field, unless its value is null, `[]` or `{}`: an absent field leaves the template's.
fn set_unless_empty(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if !is_empty {
        fields.insert(name.to_owned(), value);
    }
}

fn unless_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

/// Returns an environment variable with a fixed value.
pub(super) fn env_value(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()),
        value_from: None,
    }
}

/// Returns an environment variable with the value of a field of the pod itself.
pub(super) fn env_from_field(name: &str, field_path: &str) -> EnvVar {
    let source = EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            field_path: field_path.to_owned(),
            ..ObjectFieldSelector::default()
        }),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(source),
    }
}

/// Returns the environment variable with the application's token: by reference to the secret, so
/// that no one who may read pods can read the token.
pub(super) fn env_token(application: &Application) -> EnvVar {
    let source = EnvVarSource {
        secret_key_ref: Some(SecretKeySelector {
            name: secret_name(application),
            key: TOKEN_KEY.to_owned(),
            optional: None,
        }),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: faisca_executor::protocol::env::TOKEN.to_owned(),
        value: None,
        value_from: Some(source),
    }
}

fn scratch_volume() -> Volume {
    Volume {
        name: SCRATCH_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn scratch_mount() -> VolumeMount {
    VolumeMount {
        name: SCRATCH_VOLUME.to_owned(),
        mount_path: SCRATCH_PATH.to_owned(),
        ..VolumeMount::default()
    }
}

/// Returns the pod's settings that the `restricted` level of Pod Security requires.
fn pod_security_context() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER_ID),
        run_as_group: Some(USER_ID),
        fs_group: Some(USER_ID),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// Returns the container's settings that the `restricted` level of Pod Security requires.
pub(super) fn container_security_context() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        }),
        ..SecurityContext::default()
    }
}

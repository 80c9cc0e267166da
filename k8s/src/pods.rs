//! The pods of an application: their names, labels and contents.
//!
//! The manifest and all settings travel in environment variables and arguments, not in a ConfigMap:
//! a pod could start with a ConfigMap that is stale or incomplete.
//!
//! # Layout
//! - this file: names, labels and variables that operator, driver and clients share
//! - `build`: builds a pod from what the application asks for; `template`: merges it over the
//!   user's pod template; `quantity`: cores and memory
//! - `driver`, `executor`: what is specific to each role; `xcom`: the container for Airflow

mod build;
mod driver;
mod executor;
mod quantity;
mod template;
mod xcom;

use std::collections::BTreeMap;

pub(crate) use driver::{driver_pod, token_secret};
pub(crate) use executor::{ExecutorPods, executor_selector};
pub(crate) use xcom::FILE as XCOM_FILE;

use crate::application::Application;

/// Environment variables of the driver's pod, set by the operator and read by the driver.
pub(crate) mod env {
    /// The manifest, as JSON.
    pub(crate) const JOB: &str = "FAISCA_JOB";
    /// Owner reference to the resource, as JSON.
    pub(crate) const OWNER: &str = "FAISCA_OWNER";
    /// Number of the attempt, from 1.
    pub(crate) const ATTEMPT: &str = "FAISCA_ATTEMPT";
    /// Number of times the job completed before, under `restartPolicy: Always`.
    pub(crate) const COMPLETIONS: &str = "FAISCA_COMPLETIONS";
    /// Name of the pod.
    pub(crate) const POD_NAME: &str = "FAISCA_POD_NAME";
    /// Namespace of the pod.
    pub(crate) const POD_NAMESPACE: &str = "FAISCA_POD_NAMESPACE";
    /// IP address of the pod.
    pub(crate) const POD_IP: &str = "FAISCA_POD_IP";
}

/// Name of the driver's container. Airflow reads the log of the container with this name.
pub(crate) const DRIVER_CONTAINER: &str = "spark-kubernetes-driver";
/// Name of an executor's container.
pub(crate) const EXECUTOR_CONTAINER: &str = "spark-kubernetes-executor";
/// Annotation of the driver's pod: progress, as JSON.
pub(crate) const PROGRESS_ANNOTATION: &str = "faisca.dev/progress";
/// Annotation of the driver's pod: the written tables, as JSON.
pub(crate) const RESULT_ANNOTATION: &str = "faisca.dev/result";
/// Label of every pod: the attempt it belongs to.
pub(crate) const ATTEMPT_LABEL: &str = "faisca.dev/attempt";
/// Label of every pod: `driver` or `executor`.
pub(crate) const ROLE_LABEL: &str = "spark-role";
/// Label of every pod: the UID of the resource.
pub(crate) const SELECTOR_LABEL: &str = "spark-app-selector";
/// Label of every pod: the name of the resource.
pub(crate) const APP_LABEL: &str = "faisca.dev/app-name";
/// Label of an executor's pod: its number.
pub(crate) const EXECUTOR_LABEL: &str = "spark-exec-id";
/// Default of the seconds between SIGTERM and SIGKILL.
const GRACE_SECONDS: u64 = 30;
/// Key of the token in the application's secret.
const TOKEN_KEY: &str = "token";
/// Characters of the resource's UID in the name of its secret.
const UID_PREFIX_LENGTH: usize = 8;

/// Returns the name of the driver's pod.
pub(crate) fn driver_name(application: &str) -> String {
    format!("{application}-driver")
}

/// Returns the name of the secret that holds an application's token.
///
/// It contains a part of the UID, because the secret of a deleted application with the same name
/// may still exist.
fn secret_name(application: &Application) -> String {
    let uid = &application.owner.uid;
    let prefix: String = uid.chars().take(UID_PREFIX_LENGTH).collect();
    format!("{}-token-{prefix}", application.name)
}

/// Role of a pod in its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Driver,
    Executor,
}

impl Role {
    /// Value of the role label, and name of the role's section in the spec.
    fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Executor => "executor",
        }
    }

    /// Name of the main container.
    fn container(self) -> &'static str {
        match self {
            Self::Driver => DRIVER_CONTAINER,
            Self::Executor => EXECUTOR_CONTAINER,
        }
    }
}

/// Returns all labels of a pod. `pod_labels` are those that the spec sets for its role.
fn labels(
    application: &Application,
    role: Role,
    attempt: u32,
    pod_labels: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = application.spec().labels.clone();
    labels.extend(pod_labels.clone());
    let fixed = [
        (ROLE_LABEL, role.name().to_owned()),
        (SELECTOR_LABEL, application.owner.uid.clone()),
        (APP_LABEL, application.name.clone()),
        (ATTEMPT_LABEL, attempt.to_string()),
        ("app.kubernetes.io/name", "faisca".to_owned()),
        ("app.kubernetes.io/instance", application.name.clone()),
        ("app.kubernetes.io/component", role.name().to_owned()),
        ("app.kubernetes.io/managed-by", "faisca".to_owned()),
    ];
    // Last, so that no label of the user can hide a pod from the operator.
    labels.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    labels
}

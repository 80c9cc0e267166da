//! The container in which Airflow's operators look for a task's result.
//!
//! They run `cat` in it once the driver's container has ended, then end it by a signal. So the pod outlives the
//! driver, and what became of the job is read from the driver's container, not from the pod's phase.

use faisca_planner::manifest::AirflowSpec;
use serde_json::{Value, json};

use super::container_security;

/// Name that Airflow knows the container by.
const CONTAINER: &str = "airflow-xcom-sidecar";
/// Folder that Airflow reads from.
const FOLDER: &str = "/airflow/xcom";
/// File that Airflow reads.
pub(crate) const FILE: &str = "/airflow/xcom/return.json";
const VOLUME: &str = "xcom";
/// Has what is needed: `sh`, `cat`, `pgrep`.
const IMAGE: &str = "alpine:3";
/// Airflow had so many seconds to fetch the result once it was there.
const PATIENCE_SECONDS: u32 = 600;

/// Volume, its place in the driver's container, and the container beside it.
pub(super) struct Xcom {
    pub(super) volume: Value,
    pub(super) mount: Value,
    pub(super) container: Value,
}

/// For a driver whose application asks for it.
pub(super) fn xcom(airflow: Option<&AirflowSpec>) -> Option<Xcom> {
    let airflow = airflow.filter(|airflow| airflow.xcom)?;
    let mount = json!({"name": VOLUME, "mountPath": FOLDER});
    let script = format!(
        "trap 'exit 0' INT TERM; until [ -s {FILE} ]; do sleep 1; done; left={PATIENCE_SECONDS}; \
         while [ $left -gt 0 ]; do sleep 1; left=$((left-1)); done"
    );
    let container = json!({
        "name": CONTAINER,
        "image": airflow.image.as_deref().unwrap_or(IMAGE),
        "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "1m", "memory": "10Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": container_security(),
        "volumeMounts": [mount],
    });
    Some(Xcom {
        volume: json!({"name": VOLUME, "emptyDir": {}}),
        mount,
        container,
    })
}

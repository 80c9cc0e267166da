//! The sidecar container from which Airflow's operators fetch a task's result.
//!
//! They run `cat` in it once the driver's container has ended, then stop it with a signal. The pod
//! therefore outlives the driver: the operator reads the outcome of the job from the driver's
//! container, not from the pod's phase.

use std::collections::BTreeMap;

use faisca_planner::manifest::AirflowSpec;
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, ResourceRequirements, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::build::container_security_context;

/// Container name that Airflow expects.
const CONTAINER: &str = "airflow-xcom-sidecar";
/// Directory that Airflow expects.
const FOLDER: &str = "/airflow/xcom";
/// File that Airflow reads; the driver writes it.
pub(crate) const FILE: &str = "/airflow/xcom/return.json";
const VOLUME: &str = "xcom";
/// Default image. It must contain `sh`, `cat` and `pgrep`.
const IMAGE: &str = "alpine:3";
/// Seconds the pod stays up for Airflow to fetch the result, once it is written.
const FETCH_TIMEOUT_SECONDS: u32 = 600;

/// Parts of a driver's pod by which Airflow fetches the result.
pub(super) struct Xcom {
    /// Volume shared by the driver and the sidecar.
    pub(super) volume: Volume,
    /// Mount of the volume in both containers.
    pub(super) mount: VolumeMount,
    /// The sidecar.
    pub(super) container: Container,
}

/// Returns these parts of a driver's pod, if the application requests them.
pub(super) fn xcom(airflow: Option<&AirflowSpec>) -> Option<Xcom> {
    let airflow = airflow.filter(|airflow| airflow.xcom)?;
    let mount = VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: FOLDER.to_owned(),
        ..VolumeMount::default()
    };
    let volume = Volume {
        name: VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let script = format!(
        "trap 'exit 0' INT TERM; until [ -s {FILE} ]; do sleep 1; done; left={FETCH_TIMEOUT_SECONDS}; \
         while [ $left -gt 0 ]; do sleep 1; left=$((left-1)); done"
    );
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(airflow.image.as_deref().unwrap_or(IMAGE).to_owned()),
        command: Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "1m"), ("memory", "10Mi")])),
            limits: Some(quantities([("memory", "32Mi")])),
            claims: None,
        }),
        security_context: Some(container_security_context()),
        volume_mounts: Some(vec![mount.clone()]),
        ..Container::default()
    };
    Some(Xcom {
        volume,
        mount,
        container,
    })
}

fn quantities<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    pairs
        .map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())))
        .into()
}

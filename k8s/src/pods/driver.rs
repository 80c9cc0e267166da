//! The driver's pod, and the secret with the token that driver and executors share.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::build::{PodParameters, build_pod, env_from_field, env_token, env_value};
use super::{Role, TOKEN_KEY, driver_name, env, labels, secret_name};
use crate::application::Application;
use crate::error::InvalidSpec;

/// Builds the driver's pod for one attempt, of a job that completed this many times before.
///
/// # Errors
/// If a part of the spec does not form a valid pod.
pub(crate) fn driver_pod(
    application: &Application,
    attempt: u32,
    completions: u32,
) -> Result<Pod, InvalidSpec> {
    let spec = application.spec();
    let (job, owner) = (
        json!(application.manifest).to_string(),
        json!(application.owner).to_string(),
    );
    let variables = vec![
        env_value(env::JOB, job),
        env_value(env::OWNER, owner),
        env_value(env::ATTEMPT, attempt.to_string()),
        env_value(env::COMPLETIONS, completions.to_string()),
        env_from_field(env::POD_NAME, "metadata.name"),
        env_from_field(env::POD_NAMESPACE, "metadata.namespace"),
        env_from_field(env::POD_IP, "status.podIP"),
        env_token(application),
    ];
    // A user's own program reads the same variables, by `Session::builder()`.
    let (command, arguments) = if spec.command.is_empty() {
        (vec![], vec!["driver".to_owned()])
    } else {
        (spec.command.clone(), spec.arguments.clone())
    };
    build_pod(
        application,
        &PodParameters {
            role: Role::Driver,
            name: driver_name(&application.name),
            attempt,
            cores: spec.driver.cores,
            core_limit: spec.driver.core_limit.as_deref(),
            memory: spec.driver.memory.as_deref(),
            pod: &spec.driver.pod,
            command,
            arguments,
            variables,
        },
    )
}

/// Builds the secret with the token by which driver and executors authenticate each other.
pub(crate) fn token_secret(application: &Application, token: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(application)),
            namespace: Some(application.namespace.clone()),
            labels: Some(labels(application, Role::Driver, 0, &BTreeMap::new())),
            owner_references: Some(vec![application.owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            TOKEN_KEY.to_owned(),
            ByteString(token.as_bytes().to_vec()),
        )])),
        immutable: Some(true),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::application::tests::resource;

    fn driver(spec: Value) -> Result<Value, InvalidSpec> {
        let application = Application::parse(&resource(spec))?;
        driver_pod(&application, 2, 0).map(|pod| serde_json::to_value(pod).unwrap())
    }

    #[test]
    fn the_driver_pod_has_the_names_and_labels_that_airflow_expects() {
        let pod = driver(json!({
            "mainApplicationFile": "s3://lake/job.sql", "image": "faisca:1", "serviceAccount": "etl",
            "labels": {"team": "data"},
            "driver": {"cores": 1, "memory": "512m", "labels": {"dag_id": "enem"}, "env": [{"name": "SPARK_APPLICATION_NAME", "value": "enem"}],
                       "template": {"spec": {"priorityClassName": "high"}}, "sidecars": [{"name": "proxy", "image": "p:1"}]},
        }))
        .unwrap();
        assert_eq!(pod["metadata"]["name"], "enem-driver");
        let labels = &pod["metadata"]["labels"];
        assert_eq!(
            (
                &labels["spark-role"],
                &labels["dag_id"],
                &labels["team"],
                &labels["faisca.dev/attempt"]
            ),
            (
                &json!("driver"),
                &json!("enem"),
                &json!("data"),
                &json!("2")
            )
        );
        let container = &pod["spec"]["containers"][0];
        assert_eq!(
            (&container["name"], &container["args"]),
            (&json!("spark-kubernetes-driver"), &json!(["driver"]))
        );
        assert_eq!(container["env"][0]["name"], "SPARK_APPLICATION_NAME");
        assert_eq!(
            container["resources"]["limits"]["memory"],
            (512 << 20).to_string()
        );
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(
            (
                &pod["spec"]["priorityClassName"],
                &pod["spec"]["serviceAccountName"]
            ),
            (&json!("high"), &json!("etl"))
        );
        assert_eq!(
            pod["spec"]["initContainers"][0]["restartPolicy"], "Always",
            "a sidecar must not keep the pod alive"
        );
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "1-2-3");
        assert!(
            !pod.to_string().contains("\"token\":"),
            "the pod must refer to the token, not contain it: {pod}"
        );
    }

    #[test]
    fn a_spec_that_forms_no_pod_is_rejected_with_the_field() {
        let error = driver(
            json!({"mainApplicationFile": "a.sql", "image": "i", "driver": {"memory": "much"}}),
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("spec.driver.memory: `much` is not a size"),
            "{error}"
        );
        let error = driver(json!({"mainApplicationFile": "a.sql", "image": "i", "driver": {"tolerations": [{"key": 7}]}})).unwrap_err().to_string();
        assert!(error.contains("spec.driver: not a valid pod"), "{error}");
        let error = driver(json!({"mainApplicationFile": "a.sql"}))
            .unwrap_err()
            .to_string();
        assert!(error.contains("spec.image: no image is given"), "{error}");
    }
}

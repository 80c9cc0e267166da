//! The executors' pods.
//!
//! They are bare pods without a ReplicaSet or Job: the driver itself sees a loss and replaces the
//! pod within milliseconds, without waiting for another controller.

use k8s_openapi::api::core::v1::Pod;

use super::build::{PodParameters, build_pod, env_from_field, env_token, env_value};
use super::{ATTEMPT_LABEL, EXECUTOR_LABEL, GRACE_SECONDS, ROLE_LABEL, Role, SELECTOR_LABEL};
use crate::application::Application;
use crate::error::InvalidSpec;

/// Seconds before SIGKILL at which an executor must have finished its shutdown.
const SHUTDOWN_MARGIN_SECONDS: u64 = 2;

/// Returns the label selector for the executors of an application, or of one attempt.
pub(crate) fn executor_selector(uid: &str, attempt: Option<u32>) -> String {
    let selector = format!("{ROLE_LABEL}=executor,{SELECTOR_LABEL}={uid}");
    attempt.map_or(selector.clone(), |attempt| {
        format!("{selector},{ATTEMPT_LABEL}={attempt}")
    })
}

/// Builds the executors' pods of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct ExecutorPods {
    pub(crate) application: Application,
    pub(crate) attempt: u32,
    /// Environment variables that are equal for all executors.
    pub(crate) variables: Vec<(String, String)>,
}

impl ExecutorPods {
    /// Returns the name of an executor's pod.
    pub(crate) fn name(&self, executor: u32) -> String {
        format!("{}-{}-exec-{executor}", self.application.name, self.attempt)
    }

    /// Builds the pod of an executor.
    ///
    /// # Errors
    /// If a part of the spec does not form a valid pod.
    pub(crate) fn pod(&self, executor: u32) -> Result<Pod, InvalidSpec> {
        use faisca_executor::protocol::env;
        let spec = self.application.spec();
        let grace = spec
            .executor
            .pod
            .termination_grace_period_seconds
            .unwrap_or(GRACE_SECONDS);
        let mut variables = vec![
            env_value(env::EXECUTOR, executor.to_string()),
            env_from_field(env::HOST, "status.podIP"),
            // The executor must finish before the kubelet kills it.
            env_value(
                env::GRACE,
                grace
                    .saturating_sub(SHUTDOWN_MARGIN_SECONDS)
                    .max(1)
                    .to_string(),
            ),
            env_token(&self.application),
        ];
        variables.extend(
            self.variables
                .iter()
                // The token comes from the secret instead.
                .filter(|(name, _)| name != env::TOKEN)
                .map(|(name, value)| env_value(name, value)),
        );
        let mut parts = spec.executor.pod.clone();
        parts
            .labels
            .insert(EXECUTOR_LABEL.to_owned(), executor.to_string());
        build_pod(
            &self.application,
            &PodParameters {
                role: Role::Executor,
                name: self.name(executor),
                attempt: self.attempt,
                cores: spec.executor.cores,
                core_limit: spec.executor.core_limit.as_deref(),
                memory: spec.executor.memory.as_deref(),
                pod: &parts,
                command: spec.command.clone(),
                arguments: if spec.command.is_empty() {
                    vec![]
                } else {
                    spec.arguments.clone()
                },
                variables,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::application::tests::resource;

    #[test]
    fn an_executor_pod_knows_its_driver_and_does_not_contain_the_token() {
        let spec = json!({"mainApplicationFile": "a.sql", "image": "i", "executor": {"cores": 1, "memory": "1g", "terminationGracePeriodSeconds": 60}});
        let application = Application::parse(&resource(spec)).unwrap();
        let variables = vec![
            ("FAISCA_DRIVER".to_owned(), "http://10.0.0.1:7".to_owned()),
            ("FAISCA_TOKEN".to_owned(), "hidden".to_owned()),
        ];
        let pods = ExecutorPods {
            application,
            attempt: 3,
            variables,
        };
        let pod = serde_json::to_value(pods.pod(7).unwrap()).unwrap();
        assert_eq!(pod["metadata"]["name"], "enem-3-exec-7");
        assert_eq!(
            (
                &pod["metadata"]["labels"]["spark-role"],
                &pod["metadata"]["labels"]["spark-exec-id"]
            ),
            (&json!("executor"), &json!("7"))
        );
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        let value = |name: &str| variables.iter().find(|v| v["name"] == name).unwrap();
        assert_eq!(
            (
                &value("FAISCA_DRIVER")["value"],
                &value("FAISCA_GRACE_SECONDS")["value"]
            ),
            (&json!("http://10.0.0.1:7"), &json!("58"))
        );
        assert_eq!(
            value("FAISCA_TOKEN")["valueFrom"]["secretKeyRef"]["name"],
            "enem-token-1-2-3"
        );
        assert!(!pod.to_string().contains("hidden"), "{pod}");
    }

    #[test]
    fn a_template_completes_incomplete_parts_and_generated_values_win() {
        let template = json!({"spec": {
            "priorityClassName": "spot",
            "containers": [{
                "name": "spark-kubernetes-executor", "image": "old",
                "env": [{"name": "A", "value": "old"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
        }});
        let spec = json!({
            "mainApplicationFile": "a.sql", "image": "new",
            "executor": {
                "template": template, "affinity": {},
                "env": [{"name": "A", "value": "new"}],
                "volumeMounts": [{"name": "data", "readOnly": true}],
            },
        });
        let pods = ExecutorPods {
            application: Application::parse(&resource(spec)).unwrap(),
            attempt: 1,
            variables: vec![],
        };
        let pod = serde_json::to_value(pods.pod(1).unwrap()).unwrap();
        assert_eq!(pod["spec"]["priorityClassName"], "spot");
        assert_eq!(pod["spec"].get("affinity"), None);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["image"], "new");
        assert_eq!(container["env"][0], json!({"name": "A", "value": "new"}));
        assert_eq!(
            container["volumeMounts"],
            json!([
                {"name": "data", "mountPath": "/data", "readOnly": true},
                {"name": "faisca-scratch", "mountPath": "/tmp"},
            ])
        );
        assert_eq!(container["resources"], json!({}));
    }
}

//! Pods of executors: bare, so that a loss is seen and answered in milliseconds, not by another controller's clock.

use k8s_openapi::api::core::v1::Pod;

use super::{
    ATTEMPT_LABEL, Parts, ROLE_LABEL, Role, SELECTOR_LABEL, field, pod, token_variable, variable,
};
use crate::application::{Application, InvalidSpec};

/// Selects the executors of an application; of one attempt, if given.
#[must_use]
pub fn executor_selector(uid: &str, attempt: Option<u32>) -> String {
    let all = format!("{ROLE_LABEL}=executor,{SELECTOR_LABEL}={uid}");
    attempt.map_or(all.clone(), |attempt| {
        format!("{all},{ATTEMPT_LABEL}={attempt}")
    })
}

/// Makes the pods of one attempt.
#[derive(Debug, Clone)]
pub struct ExecutorPods {
    /// The application.
    pub application: Application,
    /// Its attempt.
    pub attempt: u32,
    /// What makes a process an executor, but for its number.
    pub variables: Vec<(String, String)>,
}

impl ExecutorPods {
    /// Name of an executor's pod.
    #[must_use]
    pub fn name(&self, executor: u32) -> String {
        format!("{}-{}-exec-{executor}", self.application.name, self.attempt)
    }

    /// The pod of an executor.
    ///
    /// # Errors
    /// If a part of the spec makes no valid pod.
    pub fn pod(&self, executor: u32) -> Result<Pod, InvalidSpec> {
        use faisca_executor::control::env;
        let spec = self.application.spec();
        let grace = spec
            .executor
            .pod
            .termination_grace_period_seconds
            .unwrap_or(super::GRACE_SECONDS);
        let mut variables = vec![
            variable(env::EXECUTOR, executor.to_string()),
            field(env::HOST, "status.podIP"),
            // It must be done a little before the kubelet's patience ends.
            variable(env::GRACE, grace.saturating_sub(2).max(1).to_string()),
            token_variable(&self.application),
        ];
        variables.extend(
            self.variables
                .iter()
                .filter(|(name, _)| name != env::TOKEN)
                .map(|(name, value)| variable(name, value)),
        );
        let mut parts = spec.executor.pod.clone();
        parts
            .labels
            .insert("spark-exec-id".to_owned(), executor.to_string());
        pod(
            &self.application,
            &Parts {
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
    fn an_executor_knows_its_driver_and_holds_no_secret_in_the_open() {
        let spec = json!({"mainApplicationFile": "a.sql", "image": "i", "executor": {"cores": 1, "memory": "1g", "terminationGracePeriodSeconds": 60}});
        let application = Application::read(&resource(spec)).unwrap();
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
}

//! Converts a `SparkApplication` of Spark Operator (`sparkoperator.k8s.io/v1beta2`) to ours, and
//! reports each field that has no equivalent.

use serde_json::{Map, Value, json};

use crate::error::ConvertError;

/// A converted resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The manifest. Unless the application was a `.sql` file, its steps are a placeholder that the
    /// user must replace.
    pub manifest: Value,
    /// Fields that were dropped or must be edited, each with the reason.
    pub remarks: Vec<String>,
}

/// Fields of `spec` with the same name and meaning.
const SPEC_FIELDS: [&str; 9] = [
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "volumes",
    "arguments",
    "suspend",
    "timeToLiveSeconds",
    "dynamicAllocation",
    "mainApplicationFile",
];
/// Fields of `spec.driver` and `spec.executor` with the same name and meaning.
const POD_FIELDS: [&str; 19] = [
    "cores",
    "coreLimit",
    "memory",
    "labels",
    "annotations",
    "env",
    "envFrom",
    "volumeMounts",
    "affinity",
    "tolerations",
    "nodeSelector",
    "securityContext",
    "sidecars",
    "initContainers",
    "terminationGracePeriodSeconds",
    "template",
    "instances",
    "scale",
    "image",
];
/// Fields that do not apply, because there is no JVM.
const JVM_FIELDS: [&str; 16] = [
    "type",
    "mode",
    "sparkVersion",
    "pythonVersion",
    "javaOptions",
    "memoryOverhead",
    "memoryOverheadFactor",
    "deps",
    "mainClass",
    "sparkUIOptions",
    "monitoring",
    "proxyUser",
    "memoryLimit",
    "kubernetesMaster",
    "podName",
    "deleteOnTermination",
];

/// Converts a resource.
///
/// # Errors
/// If it is not a `SparkApplication` of Spark Operator.
pub fn convert(old: &Value) -> Result<Converted, ConvertError> {
    let version = text_or_nothing(old, "apiVersion");
    let kind = text_or_nothing(old, "kind");
    if !version.starts_with("sparkoperator.k8s.io/") || kind != "SparkApplication" {
        return Err(ConvertError::OtherKind {
            kind: kind.to_owned(),
            api_version: version.to_owned(),
        });
    }
    let empty = Map::new();
    let spec = old.get("spec").and_then(Value::as_object).unwrap_or(&empty);
    let (mut new, mut remarks) = (Map::new(), vec![]);
    for (name, value) in spec {
        match name.as_str() {
            same if SPEC_FIELDS.contains(&same) => drop(new.insert(name.clone(), value.clone())),
            "restartPolicy" => drop(new.insert(name.clone(), restart_policy(value, &mut remarks))),
            "sparkConf" | "hadoopConf" => settings(name, value, &mut new, &mut remarks),
            "driver" | "executor" => {
                drop(new.insert(name.clone(), pod_section(name, value, &mut remarks)))
            }
            jvm if JVM_FIELDS.contains(&jvm) => {
                remarks.push(format!("spec.{name}: dropped, there is no JVM"))
            }
            other => remarks.push(format!("spec.{other}: dropped, there is no equivalent")),
        }
    }
    service_account(&mut new, spec);
    let script = new
        .get("mainApplicationFile")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !script.ends_with(".sql") {
        new.remove("mainApplicationFile");
        new.insert(
            "steps".to_owned(),
            json!([{"name": "todo", "sql": "SELECT 1 AS a", "write": {"path": "s3://bucket/todo/", "mode": "overwrite"}}]),
        );
        remarks.push(format!(
            "spec.mainApplicationFile: rewrite {script} as sources and steps, or as a .sql script"
        ));
        if new.remove("arguments").is_some() {
            remarks.push(
                "spec.arguments: replace them with spec.parameters, used as ${name}".to_owned(),
            );
        }
    }
    let mut metadata = Map::new();
    for name in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = old.get("metadata").and_then(|metadata| metadata.get(name)) {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    let manifest = json!({"apiVersion": "faisca.dev/v1alpha1", "kind": "SparkApplication", "metadata": metadata, "spec": new});
    Ok(Converted { manifest, remarks })
}

/// Parses a resource from YAML.
///
/// # Errors
/// If the text is not valid YAML; the message has line and column.
pub fn read(text: &str) -> Result<Value, ConvertError> {
    serde_saphyr::from_str(text).map_err(|error| ConvertError::Parse(Box::new(error)))
}

/// Writes a manifest as YAML.
///
/// # Errors
/// If a value cannot be serialized, which would be a bug.
pub fn write(manifest: &Value) -> Result<String, ConvertError> {
    serde_saphyr::to_string(manifest).map_err(|error| ConvertError::Write(Box::new(error)))
}

/// Returns a text field, or the word `nothing` for messages if it is absent.
fn text_or_nothing<'a>(value: &'a Value, field: &str) -> &'a str {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or("nothing")
}

/// Converts the restart policy.
fn restart_policy(old: &Value, remarks: &mut Vec<String>) -> Value {
    let mut new = Map::new();
    for (name, value) in old.as_object().into_iter().flatten() {
        match name.as_str() {
            "type" | "onFailureRetries" | "onFailureRetryInterval" => drop(new.insert(name.clone(), value.clone())),
            other => {
                remarks.push(format!("spec.restartPolicy.{other}: dropped; a job whose submission fails is not retried, because it would fail again"))
            }
        }
    }
    Value::Object(new)
}

/// Converts the settings of Spark that have an equivalent.
fn settings(section: &str, old: &Value, new: &mut Map<String, Value>, remarks: &mut Vec<String>) {
    let mut conf = Map::new();
    for (name, value) in old.as_object().into_iter().flatten() {
        match name.as_str() {
            "spark.sql.shuffle.partitions" => drop(conf.insert(
                "datafusion.execution.target_partitions".to_owned(),
                value.clone(),
            )),
            "spark.hadoop.fs.s3a.endpoint" | "fs.s3a.endpoint" => {
                drop(new.insert("stores".to_owned(), json!({"s3://": {"endpoint": value}})))
            }
            other => remarks.push(format!(
                "spec.{section}[{other}]: dropped, there is no equivalent"
            )),
        }
    }
    if !conf.is_empty() {
        new.insert("conf".to_owned(), Value::Object(conf));
    }
}

/// Converts the section of the driver or the executors.
fn pod_section(role: &str, old: &Value, remarks: &mut Vec<String>) -> Value {
    let mut new = Map::new();
    for (name, value) in old.as_object().into_iter().flatten() {
        match name.as_str() {
            "image" => remarks.push(format!(
                "spec.{role}.image: dropped; driver and executors use the same image, spec.image"
            )),
            same if POD_FIELDS.contains(&same) => drop(new.insert(name.clone(), value.clone())),
            "serviceAccount" => {}
            "coreRequest" => remarks.push(format!(
                "spec.{role}.coreRequest: dropped; cores is the request"
            )),
            "podSecurityContext" => drop(new.insert(
                "template".to_owned(),
                json!({"spec": {"securityContext": value}}),
            )),
            jvm if JVM_FIELDS.contains(&jvm) => {
                remarks.push(format!("spec.{role}.{jvm}: dropped, there is no JVM"))
            }
            other => remarks.push(format!(
                "spec.{role}.{other}: dropped; add it to spec.{role}.template"
            )),
        }
    }
    Value::Object(new)
}

/// Moves the service account to `spec`: driver and executors share one.
fn service_account(new: &mut Map<String, Value>, old: &Map<String, Value>) {
    let account = ["driver", "executor"]
        .iter()
        .find_map(|role| old.get(*role)?.get("serviceAccount"));
    if let Some(account) = account {
        new.insert("serviceAccount".to_owned(), account.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_an_equivalent_are_kept_and_others_remarked_on() {
        let old = json!({
            "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": {"name": "enem", "namespace": "jobs", "uid": "1"},
            "spec": {
                "type": "Python", "image": "spark:3.5", "mainApplicationFile": "s3a://lake/job.py", "arguments": ["2019"], "sparkVersion": "3.5.0",
                "restartPolicy": {"type": "OnFailure", "onFailureRetries": 3, "onSubmissionFailureRetries": 5},
                "sparkConf": {"spark.sql.shuffle.partitions": "64", "spark.jars": "x"},
                "driver": {"cores": 1, "memory": "1g", "serviceAccount": "spark", "memoryOverhead": "1g"},
                "executor": {"instances": 2, "cores": 1, "memory": "4g", "gpu": {}}
            }
        });
        let Converted { manifest, remarks } = convert(&old).unwrap();
        let spec = &manifest["spec"];
        assert_eq!(
            (&spec["serviceAccount"], &spec["executor"]["instances"]),
            (&json!("spark"), &json!(2))
        );
        assert_eq!(
            spec["restartPolicy"],
            json!({"type": "OnFailure", "onFailureRetries": 3})
        );
        assert_eq!(spec["conf"]["datafusion.execution.target_partitions"], "64");
        assert_eq!(
            manifest["metadata"],
            json!({"name": "enem", "namespace": "jobs"})
        );
        for field in [
            "spec.type",
            "spec.sparkVersion",
            "onSubmissionFailureRetries",
            "spark.jars",
            "spec.driver.memoryOverhead",
            "spec.executor.gpu",
            "job.py",
            "spec.arguments",
        ] {
            assert!(
                remarks.iter().any(|remark| remark.contains(field)),
                "{field}: {remarks:?}"
            );
        }
        let read: faisca_planner::manifest::Manifest = serde_json::from_value(manifest).unwrap();
        assert_eq!(read.spec.steps.len(), 1);
        assert!(
            convert(&json!({"kind": "Pod", "apiVersion": "v1"}))
                .unwrap_err()
                .to_string()
                .contains("found Pod of v1")
        );
    }
}

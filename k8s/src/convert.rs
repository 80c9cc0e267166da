//! From Spark Operator's `SparkApplication` (`sparkoperator.k8s.io/v1beta2`) to ours, with what does not map.

use serde_json::{Map, Value, json};

/// A converted resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The manifest. What the job does is still to be written, unless it was a `.sql` file.
    pub manifest: Value,
    /// Fields that were left out or need a hand, each with the reason.
    pub remarks: Vec<String>,
}

/// Fields of `spec` that mean the same.
const SAME: [&str; 9] = [
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
/// Fields of `spec.driver` and `spec.executor` that mean the same.
const SAME_OF_PODS: [&str; 19] = [
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
/// Fields that a JVM needs, and we do not.
const OF_THE_JVM: [&str; 16] = [
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
/// If it is not of Spark Operator's kind.
pub fn convert(old: &Value) -> Result<Converted, String> {
    let (version, kind) = (text(old, "apiVersion"), text(old, "kind"));
    if !version.starts_with("sparkoperator.k8s.io/") || kind != "SparkApplication" {
        return Err(format!(
            "expected a SparkApplication of sparkoperator.k8s.io, found {kind} of {version}"
        ));
    }
    let empty = Map::new();
    let spec = old.get("spec").and_then(Value::as_object).unwrap_or(&empty);
    let (mut new, mut remarks) = (Map::new(), vec![]);
    for (name, value) in spec {
        match name.as_str() {
            same if SAME.contains(&same) => drop(new.insert(name.clone(), value.clone())),
            "restartPolicy" => drop(new.insert(name.clone(), restart_policy(value, &mut remarks))),
            "sparkConf" | "hadoopConf" => settings(name, value, &mut new, &mut remarks),
            "driver" | "executor" => drop(new.insert(name.clone(), pod(name, value, &mut remarks))),
            jvm if OF_THE_JVM.contains(&jvm) => {
                remarks.push(format!("spec.{name}: left out, there is no JVM"))
            }
            other => remarks.push(format!("spec.{other}: left out, there is nothing like it")),
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
        remarks.push(format!("spec.mainApplicationFile: write what {script} does as sources and steps, or as a .sql script"));
        if new.remove("arguments").is_some() {
            remarks
                .push("spec.arguments: turn them into spec.parameters, used as ${name}".to_owned());
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

/// Reads a resource from YAML.
///
/// # Errors
/// With line and column, if it is none.
pub fn read(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

/// Writes a manifest as YAML.
///
/// # Errors
/// Only if a value cannot be serialized, which would be a bug.
pub fn write(manifest: &Value) -> Result<String, String> {
    serde_saphyr::to_string(manifest).map_err(|error| error.to_string())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or("nothing")
}

fn restart_policy(old: &Value, remarks: &mut Vec<String>) -> Value {
    let mut new = Map::new();
    for (name, value) in old.as_object().into_iter().flatten() {
        match name.as_str() {
            "type" | "onFailureRetries" | "onFailureRetryInterval" => drop(new.insert(name.clone(), value.clone())),
            other => {
                remarks.push(format!("spec.restartPolicy.{other}: left out; a job whose submission fails is not retried, since the reason stays"))
            }
        }
    }
    Value::Object(new)
}

/// Settings of Spark that have a counterpart.
fn settings(of: &str, old: &Value, new: &mut Map<String, Value>, remarks: &mut Vec<String>) {
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
                "spec.{of}[{other}]: left out, there is nothing like it"
            )),
        }
    }
    if !conf.is_empty() {
        new.insert("conf".to_owned(), Value::Object(conf));
    }
}

fn pod(role: &str, old: &Value, remarks: &mut Vec<String>) -> Value {
    let mut new = Map::new();
    for (name, value) in old.as_object().into_iter().flatten() {
        match name.as_str() {
            "image" => remarks.push(format!(
                "spec.{role}.image: left out; driver and executors run one image, spec.image"
            )),
            same if SAME_OF_PODS.contains(&same) => drop(new.insert(name.clone(), value.clone())),
            "serviceAccount" => {}
            "coreRequest" => remarks.push(format!(
                "spec.{role}.coreRequest: left out; cores is the request"
            )),
            "podSecurityContext" => drop(new.insert(
                "template".to_owned(),
                json!({"spec": {"securityContext": value}}),
            )),
            jvm if OF_THE_JVM.contains(&jvm) => {
                remarks.push(format!("spec.{role}.{jvm}: left out, there is no JVM"))
            }
            other => remarks.push(format!(
                "spec.{role}.{other}: left out; write it into spec.{role}.template"
            )),
        }
    }
    Value::Object(new)
}

/// Ours is of the whole job.
fn service_account(new: &mut Map<String, Value>, old: &Map<String, Value>) {
    let found = ["driver", "executor"]
        .iter()
        .find_map(|role| old.get(*role)?.get("serviceAccount"));
    if let Some(account) = found {
        new.insert("serviceAccount".to_owned(), account.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_maps_is_kept_and_what_does_not_is_told() {
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
        for told in [
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
                remarks.iter().any(|remark| remark.contains(told)),
                "{told}: {remarks:?}"
            );
        }
        let read: faisca_planner::manifest::Manifest = serde_json::from_value(manifest).unwrap();
        assert_eq!(read.spec.steps.len(), 1);
        assert!(
            convert(&json!({"kind": "Pod", "apiVersion": "v1"}))
                .unwrap_err()
                .contains("found Pod of v1")
        );
    }
}

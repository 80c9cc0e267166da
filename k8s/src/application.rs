//! Parses and checks a resource. The pods of an application are built from the result.

use faisca_planner::manifest::{CheckedManifest, JobSpec, Manifest, ManifestError, Problem};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::error::InvalidSpec;
use crate::resource::SparkApplication;

/// Limit of the manifest's JSON. It travels in one environment variable, which Linux limits to 128
/// KiB; the difference is room for the variable's name and the metadata.
const MANIFEST_BYTES_MAX: usize = 120 * 1024;

/// An application whose spec passed every check.
#[derive(Debug, Clone)]
pub struct Application {
    /// Name of the resource.
    pub name: String,
    /// Namespace of the resource.
    pub namespace: String,
    /// Owner reference to the resource, set on every object created for it.
    pub owner: OwnerReference,
    /// The job. The operator passes it on as the user wrote it; the driver substitutes the
    /// parameters.
    pub manifest: Manifest,
}

impl Application {
    /// Parses and checks a resource. The driver substitutes the parameters later.
    ///
    /// # Errors
    /// All mistakes of the spec, each with the path of its field.
    pub(crate) fn parse(resource: &SparkApplication) -> Result<Self, InvalidSpec> {
        let name = resource.name_any();
        let text = json!({
            "apiVersion": SparkApplication::api_version(&()),
            "kind": SparkApplication::kind(&()),
            "metadata": {"name": name},
            "spec": resource.spec,
        })
        .to_string();
        if text.len() > MANIFEST_BYTES_MAX {
            let help = "move statements into a file that spec.mainApplicationFile names";
            return Err(InvalidSpec(format!(
                "the spec has {} bytes, the limit is {MANIFEST_BYTES_MAX}: {help}",
                text.len()
            )));
        }
        // Checked with its parameters substituted, as it will run, but stored without them.
        let manifest = CheckedManifest::load_resource(&name, &text)
            .map_err(|error| InvalidSpec(without_positions(&error)))?
            .into_written();
        executor_count(&manifest.spec)?;
        let owner = resource.controller_owner_ref(&()).unwrap_or_default();
        Ok(Self {
            name,
            namespace: resource.namespace().unwrap_or_default(),
            owner,
            manifest,
        })
    }

    /// Returns the spec: what the job does, and with which resources.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.manifest.spec
    }
}

/// Number of executors that a job requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorCount {
    /// Executors created at the start.
    pub initial: u32,
    /// Lower bound while the number follows the work.
    pub min: u32,
    /// Upper bound; equal to `min` if the number is fixed.
    pub max: u32,
}

/// Returns the number of executors from `executor.instances`, `executor.scale` or Spark's
/// `dynamicAllocation`.
///
/// # Errors
/// If two of them contradict each other.
pub fn executor_count(spec: &JobSpec) -> Result<ExecutorCount, InvalidSpec> {
    let instances = spec.executor.instances;
    let dynamic = spec
        .dynamic_allocation
        .as_ref()
        .filter(|dynamic| dynamic.enabled);
    let bounds = match (spec.executor.scale, dynamic) {
        (Some(_), Some(_)) => {
            return Err(InvalidSpec(
                "spec.executor.scale and spec.dynamicAllocation set the same bounds: remove one of them".to_owned(),
            ));
        }
        (Some(scale), None) => Some((scale.min, scale.max, None)),
        (None, Some(dynamic)) => {
            let min = dynamic.min_executors.unwrap_or(0);
            let max = dynamic
                .max_executors
                .or(instances)
                .unwrap_or_else(|| min.max(1));
            Some((min, max, dynamic.initial_executors))
        }
        (None, None) => None,
    };
    let Some((min, max, initial)) = bounds else {
        let fixed = instances.unwrap_or(0);
        return Ok(ExecutorCount {
            initial: fixed,
            min: fixed,
            max: fixed,
        });
    };
    if min > max {
        return Err(InvalidSpec(format!(
            "spec.executor.scale: min {min} is greater than max {max}"
        )));
    }
    let initial = initial.or(instances).unwrap_or(min).clamp(min, max);
    Ok(ExecutorCount { initial, min, max })
}

/// Formats the problems by path only: lines and columns refer to generated JSON that the user never
/// sees.
pub(crate) fn without_positions(error: &ManifestError) -> String {
    let describe = |problem: &Problem| {
        let path = if problem.path.is_empty() {
            String::new()
        } else {
            format!("{}: ", problem.path)
        };
        let help = problem.help.as_ref();
        let help = help.map_or_else(String::new, |help| format!(" ({help})"));
        format!("{path}{}{help}", problem.message)
    };
    error
        .problems
        .iter()
        .map(describe)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::resource::ApplicationSpec;

    pub(crate) fn resource(spec: serde_json::Value) -> SparkApplication {
        let mut resource = SparkApplication::new("enem", ApplicationSpec(spec));
        resource.metadata.namespace = Some("jobs".to_owned());
        resource.metadata.uid = Some("1-2-3".to_owned());
        resource
    }

    #[test]
    fn mistakes_are_reported_by_path_with_the_nearest_name() {
        let parse = |spec| Application::parse(&resource(spec));
        assert!(parse(json!({"mainApplicationFile": "s3://lake/job.sql"})).is_ok());
        let error = parse(json!({"mainAplicationFile": "s3://lake/job.sql"}))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("spec.mainAplicationFile") && error.contains("mainApplicationFile"),
            "{error}"
        );
        let error = parse(json!({"steps": [{"name": "a", "sql": "SELECT * FROM b"}, {"name": "bb", "sql": "SELECT 1"}]})).unwrap_err().to_string();
        assert!(
            error.contains("spec.steps[0].sql: no source or step is named `b`"),
            "{error}"
        );
        let error = parse(json!({"steps": [{"name": "a", "sql": format!("SELECT '{}'", "x".repeat(MANIFEST_BYTES_MAX))}]})).unwrap_err().to_string();
        assert!(error.contains("mainApplicationFile"), "{error}");
    }

    #[test]
    fn the_number_of_executors_is_read_from_each_of_its_fields() {
        let count = |extra: serde_json::Value| {
            let mut spec = json!({"mainApplicationFile": "a.sql"});
            spec.as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            let application = Application::parse(&resource(spec));
            application
                .map(|a| executor_count(a.spec()).unwrap())
                .map(|c| (c.initial, c.min, c.max))
                .map_err(|e| e.to_string())
        };
        assert_eq!(count(json!({})), Ok((0, 0, 0)));
        assert_eq!(count(json!({"executor": {"instances": 3}})), Ok((3, 3, 3)));
        assert_eq!(
            count(json!({"executor": {"scale": {"min": 0, "max": 8}}})),
            Ok((0, 0, 8))
        );
        assert_eq!(
            count(json!({"executor": {"instances": 9, "scale": {"min": 2, "max": 8}}})),
            Ok((8, 2, 8))
        );
        assert_eq!(
            count(
                json!({"dynamicAllocation": {"enabled": true, "initialExecutors": 2, "minExecutors": 1, "maxExecutors": 4}})
            ),
            Ok((2, 1, 4))
        );
        assert_eq!(
            count(
                json!({"dynamicAllocation": {"enabled": false, "maxExecutors": 4}, "executor": {"instances": 1}})
            ),
            Ok((1, 1, 1))
        );
        assert!(
            count(json!({"executor": {"scale": {"min": 3, "max": 2}}}))
                .unwrap_err()
                .contains("min 3 is greater than max 2")
        );
    }
}

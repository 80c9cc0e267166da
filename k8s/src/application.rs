//! A resource, read and checked: what the pods of one application are made from.

use faisca_planner::manifest::{
    JobSpec, Manifest, ManifestError, Problem, StepOrder, check, parse, with_parameters,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::resource::SparkApplication;

/// Longest variable that the kernel takes is 128 KiB; the rest of the manifest's JSON needs some of it.
const MANIFEST_BYTES_MAX: usize = 120 * 1024;

/// An application whose spec passed every check.
#[derive(Debug, Clone)]
pub struct Application {
    /// Name of the resource.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The resource, as the owner of everything that belongs to it.
    pub owner: OwnerReference,
    /// What to do.
    pub manifest: Manifest,
}

/// Why a resource cannot run. Final, until its spec is edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSpec(pub String);

impl Application {
    /// Reads a resource. Parameters stay as they are, for the driver to fill in.
    ///
    /// # Errors
    /// Every mistake of the spec, by the field's path.
    pub fn read(resource: &SparkApplication) -> Result<Self, InvalidSpec> {
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
                "the spec has {} bytes, {MANIFEST_BYTES_MAX} at most: {help}",
                text.len()
            )));
        }
        let manifest =
            read(&name, &text).map_err(|error| InvalidSpec(without_positions(&error)))?;
        executors(&manifest.spec)?;
        let owner = resource.controller_owner_ref(&()).unwrap_or_default();
        Ok(Self {
            name,
            namespace: resource.namespace().unwrap_or_default(),
            owner,
            manifest,
        })
    }

    /// What to do and with which resources.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.manifest.spec
    }
}

/// How many executors a job wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorCount {
    /// At the start.
    pub initial: u32,
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

/// Reads the ways to say it: `instances`, `scale`, Spark's `dynamicAllocation`.
///
/// # Errors
/// If they contradict each other.
pub fn executors(spec: &JobSpec) -> Result<ExecutorCount, InvalidSpec> {
    let instances = spec.executor.instances;
    let dynamic = spec
        .dynamic_allocation
        .as_ref()
        .filter(|dynamic| dynamic.enabled);
    let bounds = match (spec.executor.scale, dynamic) {
        (Some(_), Some(_)) => {
            return Err(InvalidSpec(
                "spec.executor.scale and spec.dynamicAllocation say the same: keep one".to_owned(),
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

fn read(name: &str, text: &str) -> Result<Manifest, ManifestError> {
    let (manifest, positions) = parse(name, text)?;
    // Checked as it will run, with parameters in their places; kept as it was written.
    let filled = with_parameters(name, manifest.clone(), &positions, &Default::default())?;
    let _: StepOrder = check(name, &filled, &positions)?;
    Ok(manifest)
}

/// Lines and columns are those of a JSON text that nobody has seen.
fn without_positions(error: &ManifestError) -> String {
    let told = |problem: &Problem| {
        let path = if problem.path.is_empty() {
            String::new()
        } else {
            format!("{}: ", problem.path)
        };
        let help = if problem.help.is_empty() {
            String::new()
        } else {
            format!(" ({})", problem.help)
        };
        format!("{path}{}{help}", problem.what)
    };
    error
        .problems
        .iter()
        .map(told)
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
    fn mistakes_are_told_by_path_with_the_nearest_name() {
        let read = |spec| Application::read(&resource(spec));
        assert!(read(json!({"mainApplicationFile": "s3://lake/job.sql"})).is_ok());
        let error = read(json!({"mainAplicationFile": "s3://lake/job.sql"}))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("spec.mainAplicationFile") && error.contains("mainApplicationFile"),
            "{error}"
        );
        let error = read(json!({"steps": [{"name": "a", "sql": "SELECT * FROM b"}, {"name": "bb", "sql": "SELECT 1"}]})).unwrap_err().to_string();
        assert!(
            error.contains("spec.steps[0].sql: no source or step is named `b`"),
            "{error}"
        );
        let error = read(json!({"steps": [{"name": "a", "sql": format!("SELECT '{}'", "x".repeat(MANIFEST_BYTES_MAX))}]})).unwrap_err().to_string();
        assert!(error.contains("mainApplicationFile"), "{error}");
    }

    #[test]
    fn executors_are_counted_however_it_is_said() {
        let count = |extra: serde_json::Value| {
            let mut spec = json!({"mainApplicationFile": "a.sql"});
            spec.as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            let application = Application::read(&resource(spec));
            application
                .map(|a| executors(a.spec()).unwrap())
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

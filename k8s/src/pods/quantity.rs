//! Cores and memory: from the notations of Spark and Kubernetes to resource requirements.

use std::collections::BTreeMap;

use faisca_planner::names::parse_bytes;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A field that is not a quantity. Displays with the field first.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum QuantityError {
    #[error("cores: {0} is not a number of cores")]
    Cores(f64),
    #[error("coreLimit: `{0}` is not a quantity of cores; write 2 or 1500m")]
    CoreLimit(String),
    #[error("memory: `{0}` is not a size; write 2g or 512Mi")]
    Memory(String),
}

/// Returns requests and limits of a container.
///
/// The memory limit equals the request: memory beyond the request may be needed by other pods, and
/// the kernel would then kill this one at an arbitrary time.
///
/// # Errors
/// If a value is not a quantity.
pub(super) fn resources(
    cores: Option<f64>,
    core_limit: Option<&str>,
    memory: Option<&str>,
) -> Result<ResourceRequirements, QuantityError> {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    if let Some(cores) = cores {
        if !cores.is_finite() || cores <= 0.0 {
            return Err(QuantityError::Cores(cores));
        }
        requests.insert(
            "cpu".to_owned(),
            Quantity(format!("{}m", (cores * 1000.0).ceil())),
        );
    }
    if let Some(limit) = core_limit {
        let number = limit.strip_suffix('m').unwrap_or(limit);
        if number.parse::<f64>().is_err() {
            return Err(QuantityError::CoreLimit(limit.to_owned()));
        }
        limits.insert("cpu".to_owned(), Quantity(limit.to_owned()));
    }
    if let Some(memory) = memory {
        let bytes = parse_bytes(memory).ok_or_else(|| QuantityError::Memory(memory.to_owned()))?;
        requests.insert("memory".to_owned(), Quantity(bytes.to_string()));
        limits.insert("memory".to_owned(), Quantity(bytes.to_string()));
    }
    Ok(ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        claims: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_notations_of_spark_and_kubernetes_are_read() {
        let requirements = resources(Some(1.5), Some("2"), Some("2g")).unwrap();
        assert_eq!(
            json!(requirements),
            json!({"requests": {"cpu": "1500m", "memory": "2147483648"}, "limits": {"cpu": "2", "memory": "2147483648"}})
        );
        assert_eq!(json!(resources(None, None, None).unwrap()), json!({}));
        let refused = |cores, limit, memory| resources(cores, limit, memory).unwrap_err();
        assert_eq!(refused(Some(0.0), None, None), QuantityError::Cores(0.0));
        assert_eq!(
            refused(None, Some("two"), None),
            QuantityError::CoreLimit("two".to_owned())
        );
        let error = refused(None, None, Some("much"));
        assert!(error.to_string().contains("memory: `much` is not a size"));
    }
}

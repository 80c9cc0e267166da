//! Cores and memory, in Spark's form and in Kubernetes'.

use faisca_planner::names::parse_bytes;
use serde_json::{Map, Value, json};

/// Requests and limits of a container. Memory is limited to what is asked for: what lies beyond is taken from others.
///
/// # Errors
/// A value that is no quantity, by its field.
pub(super) fn resources(
    cores: Option<f64>,
    core_limit: Option<&str>,
    memory: Option<&str>,
) -> Result<Value, String> {
    let (mut requests, mut limits) = (Map::new(), Map::new());
    if let Some(cores) = cores {
        if !cores.is_finite() || cores <= 0.0 {
            return Err(format!("cores: {cores} is not a number of cores"));
        }
        requests.insert(
            "cpu".to_owned(),
            json!(format!("{}m", (cores * 1000.0).ceil())),
        );
    }
    if let Some(limit) = core_limit {
        let number = limit.strip_suffix('m').unwrap_or(limit);
        if number.parse::<f64>().is_err() {
            return Err(format!(
                "coreLimit: `{limit}` is not a quantity of cores; write 2 or 1500m"
            ));
        }
        limits.insert("cpu".to_owned(), json!(limit));
    }
    if let Some(memory) = memory {
        let bytes = parse_bytes(memory)
            .ok_or_else(|| format!("memory: `{memory}` is not a size; write 2g or 512Mi"))?;
        requests.insert("memory".to_owned(), json!(bytes.to_string()));
        limits.insert("memory".to_owned(), json!(bytes.to_string()));
    }
    let parts = [("requests", requests), ("limits", limits)];
    Ok(Value::Object(
        parts
            .into_iter()
            .filter(|(_, fields)| !fields.is_empty())
            .map(|(name, fields)| (name.to_owned(), Value::Object(fields)))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparks_and_kubernetes_forms_are_read() {
        let told = resources(Some(1.5), Some("2"), Some("2g")).unwrap();
        assert_eq!(
            told,
            json!({"requests": {"cpu": "1500m", "memory": "2147483648"}, "limits": {"cpu": "2", "memory": "2147483648"}})
        );
        assert_eq!(resources(None, None, None), Ok(json!({})));
        assert_eq!(
            resources(Some(0.0), None, None),
            Err("cores: 0 is not a number of cores".to_owned())
        );
        assert!(
            resources(None, Some("two"), None)
                .unwrap_err()
                .contains("coreLimit: `two`")
        );
        assert!(
            resources(None, None, Some("much"))
                .unwrap_err()
                .contains("memory: `much` is not a size")
        );
    }
}

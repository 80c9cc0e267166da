//! The CustomResourceDefinitions of both resources.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::resource::{ScheduledSparkApplication, SparkApplication};

/// Returns both definitions as one `List`, ready for `kubectl apply`.
#[must_use]
pub fn definitions() -> Value {
    let items = [SparkApplication::crd(), ScheduledSparkApplication::crd()]
        .map(|crd| serde_json::to_value(crd).unwrap_or(Value::Null));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_has_these_definitions() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/faisca/files/crds.json");
        let text = format!(
            "{}\n",
            serde_json::to_string_pretty(&definitions()).unwrap()
        );
        if std::env::var_os("FAISCA_APPROVE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == text,
            "the chart's definitions are older than the code: run `just approve`"
        );
    }

    #[test]
    fn the_definitions_are_small_and_structural() {
        let definitions = definitions();
        for definition in definitions["items"].as_array().unwrap() {
            let text = definition.to_string();
            assert!(text.len() < 64 * 1024, "{} bytes", text.len());
            for forbidden in [
                "$ref",
                "oneOf",
                "additionalProperties\":false",
                "nullable\":{",
            ] {
                assert!(!text.contains(forbidden), "{forbidden} in {text}");
            }
            for field in [
                "onMalformedRow",
                "format",
                "targetFileSize",
                "nodeSelector",
                "x-kubernetes-validations",
            ] {
                assert!(text.contains(&format!("\"{field}\"")), "{field}");
            }
        }
    }
}

//! The CustomResourceDefinition, generated from the manifest's own schema.

use faisca_planner::manifest::JobSpec;
use serde_json::{Map, Value, json};

/// `sparkapplications.faisca.dev`, ready for `kubectl apply`.
#[must_use]
pub fn spark_application() -> Value {
    let settings = schemars::generate::SchemaSettings::openapi3().with(|s| s.inline_subschemas = true);
    let spec = structural(settings.into_generator().into_root_schema_for::<JobSpec>().to_value());
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "sparkapplications.faisca.dev"},
        "spec": {
            "group": "faisca.dev",
            "scope": "Namespaced",
            "names": {"kind": "SparkApplication", "plural": "sparkapplications", "singular": "sparkapplication", "shortNames": ["faisca"]},
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("State", ".status.applicationState.state"),
                    column("Progress", ".status.progress.percent"),
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }},
            }],
        },
    })
}

/// What Kubernetes calls a structural schema: no references, no `additionalProperties: false`, and
/// free-form values marked as such.
fn structural(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut kept: Map<String, Value> = Map::new();
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("$schema" | "title" | "default" | "format", _) | ("additionalProperties", Value::Bool(false)) => {}
                    ("properties", Value::Object(properties)) => {
                        let properties = properties.into_iter().map(|(name, schema)| (name, structural(schema)));
                        kept.insert(key, Value::Object(properties.collect()));
                    }
                    // A flag, not a schema.
                    ("nullable", flag) => {
                        kept.insert(key, flag);
                    }
                    (_, value) => {
                        kept.insert(key, structural(value));
                    }
                }
            }
            one_of_constants(&mut kept);
            Value::Object(kept)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(structural).collect()),
        // A schema of `true` allows anything.
        Value::Bool(true) => json!({"x-kubernetes-preserve-unknown-fields": true}),
        other => other,
    }
}

/// `oneOf` of documented constants becomes one `enum`: Kubernetes forbids types inside `oneOf`.
fn one_of_constants(schema: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = schema.get("oneOf") else { return };
    let names = branches.iter().map(|b| b.get("enum").and_then(|e| e.get(0)).or_else(|| b.get("const")).cloned());
    if let Some(names) = names.collect::<Option<Vec<_>>>() {
        schema.remove("oneOf");
        schema.insert("type".to_owned(), json!("string"));
        schema.insert("enum".to_owned(), Value::Array(names));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_small_and_structural() {
        let text = spark_application().to_string();
        assert!(text.len() < 64 * 1024, "{} bytes", text.len());
        for forbidden in ["$ref", "oneOf", "additionalProperties\":false", "nullable\":{"] {
            assert!(!text.contains(forbidden), "{forbidden} in {text}");
        }
        for field in ["onMalformedRow", "format", "targetFileSize", "nodeSelector"] {
            assert!(text.contains(&format!("\"{field}\"")), "{field}");
        }
    }
}

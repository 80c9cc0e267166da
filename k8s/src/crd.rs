//! The CustomResourceDefinitions, generated from the manifest's own schema.

use faisca_planner::manifest::JobSpec;
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::resource::{ScheduledSparkApplication, SparkApplication};

/// Both definitions, as one list ready for `kubectl apply`.
#[must_use]
pub fn definitions() -> Value {
    let items = [SparkApplication::crd(), ScheduledSparkApplication::crd()];
    json!({"apiVersion": "v1", "kind": "List", "items": items.map(|crd| serde_json::to_value(crd).unwrap_or(Value::Null))})
}

/// What can be checked at admission. The rest is checked by the operator, which names the nearest field.
const RULES: [(&str, &str); 4] = [
    (
        "(has(self.steps) && size(self.steps) > 0 ? 1 : 0) + (has(self.mainApplicationFile) ? 1 : 0) + (has(self.command) && size(self.command) > 0 ? 1 : 0) == 1",
        "say what to do in exactly one way: steps, mainApplicationFile or command",
    ),
    (
        "!has(self.executor) || !has(self.executor.scale) || !has(self.executor.scale.min) || self.executor.scale.min <= self.executor.scale.max",
        "executor.scale.min must not be greater than executor.scale.max",
    ),
    (
        "!has(self.executor) || !has(self.executor.instances) || self.executor.instances <= 10000",
        "executor.instances must not be greater than 10000",
    ),
    (
        "!has(self.timeToLiveSeconds) || self.timeToLiveSeconds >= 0",
        "timeToLiveSeconds must not be negative",
    ),
];

/// Schema of an application's spec. Unknown fields are kept, for the operator to name them.
pub(crate) fn application_spec() -> Schema {
    let mut spec = schema_of::<JobSpec>().to_value();
    if let Value::Object(fields) = &mut spec {
        fields.insert(
            "x-kubernetes-preserve-unknown-fields".to_owned(),
            json!(true),
        );
        let rules = RULES.map(|(rule, message)| json!({"rule": rule, "message": message}));
        fields.insert("x-kubernetes-validations".to_owned(), json!(rules));
    }
    schema(spec)
}

/// Schema of a type, in the form that Kubernetes asks for.
pub(crate) fn schema_of<T: JsonSchema>() -> Schema {
    let settings =
        schemars::generate::SchemaSettings::openapi3().with(|s| s.inline_subschemas = true);
    schema(structural(
        settings
            .into_generator()
            .into_root_schema_for::<T>()
            .to_value(),
    ))
}

/// Schema of a resource.
pub(crate) fn object(spec: &Schema, status: &Schema) -> Schema {
    let properties = json!({"spec": spec, "status": status});
    schema(json!({"type": "object", "required": ["spec"], "properties": properties}))
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

/// What Kubernetes calls a structural schema: no references, no `additionalProperties: false`, and
/// free-form values marked as such.
fn structural(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut kept: Map<String, Value> = Map::new();
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("$schema" | "title" | "default" | "format", _)
                    | ("additionalProperties", Value::Bool(false)) => {}
                    ("properties", Value::Object(properties)) => {
                        let properties = properties
                            .into_iter()
                            .map(|(name, schema)| (name, structural(schema)));
                        kept.insert(key, Value::Object(properties.collect()));
                    }
                    // A flag, not a schema.
                    (flag, value) if flag == "nullable" || flag.starts_with("x-kubernetes") => {
                        kept.insert(key, value);
                    }
                    (_, value) => {
                        kept.insert(key, structural(value));
                    }
                }
            }
            one_of_constants(&mut kept);
            if !kept.contains_key("type") {
                // Parts of pods that are passed on as they are.
                kept.insert(
                    "x-kubernetes-preserve-unknown-fields".to_owned(),
                    json!(true),
                );
            }
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
    let Some(Value::Array(branches)) = schema.get("oneOf") else {
        return;
    };
    let names = branches.iter().map(|b| {
        b.get("enum")
            .and_then(|e| e.get(0))
            .or_else(|| b.get("const"))
            .cloned()
    });
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

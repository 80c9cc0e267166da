//! JSON schemas in the structural form that a CustomResourceDefinition requires.
//!
//! The schema of an application's spec is generated from the manifest's own types. Admission can
//! therefore check types and a few rules; the operator checks the rest, with better messages.

use faisca_planner::manifest::JobSpec;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Rules that the API server checks at admission, as CEL expressions with their messages.
const RULES: [(&str, &str); 4] = [
    (
        "(has(self.steps) && size(self.steps) > 0 ? 1 : 0) + (has(self.mainApplicationFile) ? 1 : 0) + (has(self.command) && size(self.command) > 0 ? 1 : 0) == 1",
        "specify exactly one of steps, mainApplicationFile and command",
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

/// Returns the schema of an application's spec.
///
/// The API server keeps unknown fields instead of dropping them silently, so that the operator can
/// report them with the nearest valid name.
pub(crate) fn application_spec_schema() -> Schema {
    let mut spec = structural_schema::<JobSpec>().to_value();
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

/// Returns the structural schema of a type.
pub(crate) fn structural_schema<T: JsonSchema>() -> Schema {
    let settings =
        schemars::generate::SchemaSettings::openapi3().with(|s| s.inline_subschemas = true);
    schema(to_structural(
        settings
            .into_generator()
            .into_root_schema_for::<T>()
            .to_value(),
    ))
}

/// Returns the schema of a resource with a spec and a status.
pub(crate) fn resource_schema(spec: &Schema, status: &Schema) -> Schema {
    let properties = json!({"spec": spec, "status": status});
    schema(json!({"type": "object", "required": ["spec"], "properties": properties}))
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

/// Converts a schema to a structural one: no references, no `additionalProperties: false`, and
/// free-form values marked as such.
fn to_structural(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut structural: Map<String, Value> = Map::new();
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("$schema" | "title" | "default" | "format", _)
                    | ("additionalProperties", Value::Bool(false)) => {}
                    ("properties", Value::Object(properties)) => {
                        let properties = properties
                            .into_iter()
                            .map(|(name, schema)| (name, to_structural(schema)));
                        structural.insert(key, Value::Object(properties.collect()));
                    }
                    // The value is a flag, not a nested schema.
                    (flag, value) if flag == "nullable" || flag.starts_with("x-kubernetes") => {
                        structural.insert(key, value);
                    }
                    (_, value) => {
                        structural.insert(key, to_structural(value));
                    }
                }
            }
            merge_constants(&mut structural);
            if !structural.contains_key("type") {
                // A part of a pod, passed through unchanged: any value is valid.
                structural.insert(
                    "x-kubernetes-preserve-unknown-fields".to_owned(),
                    json!(true),
                );
            }
            Value::Object(structural)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(to_structural).collect()),
        // The schema `true` allows any value.
        Value::Bool(true) => json!({"x-kubernetes-preserve-unknown-fields": true}),
        other => other,
    }
}

/// Replaces `oneOf` of documented constants by one `enum`: Kubernetes forbids types inside `oneOf`.
fn merge_constants(schema: &mut Map<String, Value>) {
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

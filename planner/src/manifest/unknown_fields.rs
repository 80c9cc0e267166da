//! Finds fields that the JSON Schema does not have, before serde deserializes the manifest.
//!
//! Serde would stop at the first mistake, and it has no nearest name to suggest. This finds all of
//! them.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::did_you_mean;
use super::error::Problem;
use super::positions::{Node, position};

/// Returns every unknown field of `node`, by the schema of [`super::json_schema`].
pub(super) fn unknown_fields(node: &Spanned<Node>, schema: &Value) -> Vec<Problem> {
    let mut problems = vec![];
    walk(node, schema, schema, "", &mut problems);
    problems
}

fn walk(
    node: &Spanned<Node>,
    schema: &Value,
    root: &Value,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    let schema = resolve(schema, root);
    match &node.value {
        Node::Map(entries) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                return;
            };
            let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
            for (key, value) in entries {
                let name = key.value.as_str();
                let path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                };
                if let Some(property) = properties.get(name) {
                    walk(value, property, root, &path, problems);
                } else if is_closed {
                    let names = properties.keys().map(String::as_str);
                    let help = did_you_mean(name, names.clone(), || {
                        format!(
                            "valid fields here: {}",
                            names.collect::<Vec<_>>().join(", ")
                        )
                    });
                    problems.push(Problem {
                        position: Some(position(key)),
                        path,
                        message: format!("unknown field `{name}`"),
                        help: Some(help),
                    });
                }
            }
        }
        Node::Seq(items) => {
            let Some(schema) = schema.get("items") else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                walk(item, schema, root, &format!("{path}[{index}]"), problems);
            }
        }
        Node::Scalar(kind) => {
            let expected = schema.get("type").and_then(Value::as_str);
            if *kind != "null"
                && let Some(expected @ ("object" | "array")) = expected
            {
                let message = format!("expected {expected}, found a {kind}");
                problems.push(Problem {
                    position: Some(position(node)),
                    path: path.to_owned(),
                    message,
                    help: None,
                });
            }
        }
    }
}

/// Follows `$ref` and the non-null branch of `anyOf`.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return root
            .pointer(target.trim_start_matches('#'))
            .map_or(schema, |s| resolve(s, root));
    }
    let branches = schema.get("anyOf").and_then(Value::as_array);
    match branches.and_then(|all| {
        all.iter()
            .find(|s| s.get("type").and_then(Value::as_str) != Some("null"))
    }) {
        Some(branch) => resolve(branch, root),
        None => schema,
    }
}

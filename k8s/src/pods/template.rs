//! Merges a pod over a template, like a strategic merge patch of Kubernetes.

use serde_json::{Map, Value};

/// Merges `overlay` over `base`. Objects merge field by field and lists of named objects by name;
/// other lists are concatenated, and other values of the overlay win.
pub(super) fn merge(base: Value, overlay: Value) -> Value {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => Value::Object(merge_fields(base, overlay)),
        (Value::Array(base), Value::Array(overlay)) => Value::Array(merge_lists(base, overlay)),
        (_, overlay) => overlay,
    }
}

fn merge_fields(mut base: Map<String, Value>, overlay: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in overlay {
        let merged = match base.remove(&name) {
            Some(present) => merge(present, value),
            None => value,
        };
        base.insert(name, merged);
    }
    base
}

fn merge_lists(mut base: Vec<Value>, overlay: Vec<Value>) -> Vec<Value> {
    let name_of = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    for value in overlay {
        let position = name_of(&value).and_then(|name| {
            base.iter()
                .position(|present| name_of(present).as_ref() == Some(&name))
        });
        match position {
            Some(index) => base[index] = merge(std::mem::take(&mut base[index]), value),
            None => base.push(value),
        }
    }
    base
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_kept_where_the_overlay_sets_nothing() {
        let template = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"priorityClassName": "spot",
            "containers": [{"name": "main", "image": "old", "env": [{"name": "X", "value": "1"}]}, {"name": "other"}]}});
        let overlay = json!({"metadata": {"labels": {"b": "2"}}, "spec": {"containers": [{"name": "main", "image": "new", "env": [{"name": "Y"}]}]}});
        let merged = merge(template, overlay);
        assert_eq!(merged["metadata"]["labels"], json!({"a": "1", "b": "2"}));
        assert_eq!(merged["spec"]["priorityClassName"], "spot");
        let main = json!({"name": "main", "image": "new", "env": [{"name": "X", "value": "1"}, {"name": "Y"}]});
        assert_eq!(
            merged["spec"]["containers"],
            json!([main, {"name": "other"}])
        );
    }
}

//! Merging a pod over a template, as strategic merge patches do it.

use serde_json::{Map, Value};

/// `over` wins; objects merge field by field, lists of named objects by name, other lists one after the other.
pub(super) fn merge(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => Value::Object(merge_fields(under, over)),
        (Value::Array(under), Value::Array(over)) => Value::Array(merge_lists(under, over)),
        (_, over) => over,
    }
}

fn merge_fields(mut under: Map<String, Value>, over: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in over {
        let merged = match under.remove(&name) {
            Some(present) => merge(present, value),
            None => value,
        };
        under.insert(name, merged);
    }
    under
}

fn merge_lists(mut under: Vec<Value>, over: Vec<Value>) -> Vec<Value> {
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    for value in over {
        let position = name(&value).and_then(|wanted| {
            under
                .iter()
                .position(|present| name(present).as_ref() == Some(&wanted))
        });
        match position {
            Some(at) => under[at] = merge(std::mem::take(&mut under[at]), value),
            None => under.push(value),
        }
    }
    under
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_kept_where_nothing_else_is_said() {
        let template = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"priorityClassName": "spot",
            "containers": [{"name": "main", "image": "old", "env": [{"name": "X", "value": "1"}]}, {"name": "other"}]}});
        let over = json!({"metadata": {"labels": {"b": "2"}}, "spec": {"containers": [{"name": "main", "image": "new", "env": [{"name": "Y"}]}]}});
        let merged = merge(template, over);
        assert_eq!(merged["metadata"]["labels"], json!({"a": "1", "b": "2"}));
        assert_eq!(merged["spec"]["priorityClassName"], "spot");
        let main = json!({"name": "main", "image": "new", "env": [{"name": "X", "value": "1"}, {"name": "Y"}]});
        assert_eq!(
            merged["spec"]["containers"],
            json!([main, {"name": "other"}])
        );
    }
}

//! Parts of a JSON text: `get_json_object`, `json_array_length`, `json_object_keys`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListBuilder, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::Result;

use super::value::Json;
use crate::functions::arrays::list_of;
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let text = &[Param::Text];
    vec![
        Function::new(
            "get_json_object",
            &[Param::Text, Param::Text],
            Returns::Type(DataType::Utf8),
            |call| {
                let (texts, paths) = (call.text(0), call.text(1));
                call.texts(|row| Ok(at_path(texts.value(row), paths.value(row))))
            },
        ),
        Function::new(
            "json_array_length",
            text,
            Returns::Type(DataType::Int32),
            |call| {
                let texts = call.text(0);
                call.primitive::<Int32Type>(|row| {
                    Ok(match Json::parse(texts.value(row)) {
                        Some(Json::Array(items)) => i32::try_from(items.len()).ok(),
                        _ => None,
                    })
                })
            },
        ),
        Function::new(
            "json_object_keys",
            text,
            Returns::Type(list_of(DataType::Utf8)),
            object_keys,
        ),
    ]
}

fn object_keys(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0);
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        let value = texts
            .is_valid(row)
            .then(|| Json::parse(texts.value(row)))
            .flatten();
        match value {
            Some(Json::Object(entries)) => {
                for (key, _) in entries {
                    builder.values().append_value(key);
                }
                builder.append(true);
            }
            _ => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// A step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    /// `[*]`
    All,
}

fn parse_path(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            if name.is_empty() {
                return None;
            }
            steps.push(if name == "*" {
                Step::All
            } else {
                Step::Key(name.to_owned())
            });
            rest = tail;
        } else {
            let (inside, tail) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = inside
                .strip_prefix('\'')
                .and_then(|inside| inside.strip_suffix('\''));
            steps.push(match (inside, quoted) {
                ("*", _) => Step::All,
                (_, Some(name)) => Step::Key(name.to_owned()),
                (index, None) => Step::Index(index.parse().ok()?),
            });
            rest = tail;
        }
    }
    Some(steps)
}

/// Returns the value at a path; `Some(None)` if there is none, and `None` if the path is none.
pub(super) fn value_at(value: &Json, path: &str) -> Option<Option<Json>> {
    let steps = parse_path(path)?;
    let mut hit = Vec::new();
    collect(value, &steps, &mut hit);
    Some(hit.first().map(|value| (*value).clone()))
}

fn at_path(text: &str, path: &str) -> Option<String> {
    let (value, steps) = (Json::parse(text)?, parse_path(path)?);
    let mut hit = Vec::new();
    collect(&value, &steps, &mut hit);
    let has_all = steps.contains(&Step::All);
    match hit.as_slice() {
        [] | [Json::Null] => None,
        [one] if !has_all => Some(one.to_text()),
        // One match of several possible ones keeps its quotes, but gets no brackets.
        [one] => {
            let mut text = String::new();
            one.write(&mut text);
            Some(text)
        }
        several => {
            Some(Json::Array(several.iter().map(|value| (*value).clone()).collect()).to_text())
        }
    }
}

fn collect<'a>(value: &'a Json, steps: &[Step], hit: &mut Vec<&'a Json>) {
    let Some((step, rest)) = steps.split_first() else {
        hit.push(value);
        return;
    };
    match (step, value) {
        (Step::Key(key), Json::Object(_)) => {
            if let Some(value) = value.get(key) {
                collect(value, rest, hit);
            }
        }
        // A key of an array is the key of each of its objects.
        (Step::Key(_), Json::Array(items)) => {
            for item in items.iter().filter(|item| matches!(item, Json::Object(_))) {
                collect(item, steps, hit);
            }
        }
        (Step::Index(index), Json::Array(items)) => {
            if let Some(item) = items.get(*index) {
                collect(item, rest, hit);
            }
        }
        (Step::All, Json::Array(items)) => {
            for item in items {
                collect(item, rest, hit);
            }
        }
        (Step::All, Json::Object(entries)) => {
            for (_, value) in entries {
                collect(value, rest, hit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let text =
            r#"{"shop":{"books":[{"name":"A","price":2.50},{"name":"B"}],"open":true},"x y":null}"#;
        for (path, value) in [
            ("$.shop.open", Some("true")),
            ("$.shop.books[0].price", Some("2.50")),
            ("$['shop']['books'][1]['name']", Some("B")),
            ("$.shop.books[*].name", Some(r#"["A","B"]"#)),
            ("$.shop.books[*].price", Some("2.50")),
            ("$.shop.books[1]", Some(r#"{"name":"B"}"#)),
            ("$.shop.books[7]", None),
            ("$['x y']", None),
            ("shop", None),
        ] {
            assert_eq!(at_path(text, path).as_deref(), value, "{path}");
        }
    }
}

//! `parse_json`, `variant_get` and the like. A VARIANT is JSON text here: without spaces, and with
//! the keys of an object in order.

use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::path::value_at;
use super::read::{Options, build};
use super::value::Json;
use crate::functions::aggregates::Aggregate;
use crate::functions::scalar::{Call, CallSite, Function, OnInvalid, Param, Returns};
use crate::functions::types;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let text = Returns::Type(DataType::Utf8);
    let text_param = &[Param::Text];
    let path = &[Param::Text, Param::Text, Param::Text];
    vec![
        Function::new("parse_json", text_param, text.clone(), |call| {
            parse(call, OnInvalid::Fail)
        }),
        Function::new("try_parse_json", text_param, text.clone(), |call| {
            parse(call, OnInvalid::Null)
        }),
        Function::new(
            "is_variant_null",
            text_param,
            Returns::Type(DataType::Boolean),
            |call| {
                let texts = call.text(0);
                call.lenient::<datafusion::arrow::array::BooleanArray, bool>(|row| {
                    Ok(Some(
                        texts.is_valid(row) && texts.value(row).trim() == "null",
                    ))
                })
            },
        ),
        Function::new("schema_of_variant", text_param, text, |call| {
            let texts = call.text(0);
            call.texts(|row| {
                let value = variant(texts.value(row))?;
                Ok(Some(Schema::infer(&value).to_string()))
            })
        }),
        Function::new(
            "variant_get",
            path,
            Returns::Computed(result_type),
            |call| get(call, OnInvalid::Fail),
        )
        .optional(1),
        Function::new(
            "try_variant_get",
            path,
            Returns::Computed(result_type),
            |call| get(call, OnInvalid::Null),
        )
        .optional(1),
    ]
}

/// Returns the aggregate of this family.
pub(crate) fn aggregates() -> Vec<Aggregate> {
    vec![Aggregate {
        name: "schema_of_variant_agg",
        aliases: &[],
        arguments: (1, 1),
        returns: |_| Ok(DataType::Utf8),
        coerce: |_| vec![DataType::Utf8],
        state: |_| vec![DataType::Utf8],
        create: |_, _| Ok(Box::new(Schemas::default())),
    }]
}

/// Reads a variant.
fn variant(text: &str) -> Result<Json> {
    match Json::parse(text) {
        Some(value) => Ok(value),
        None => {
            exec_err!("[MALFORMED_VARIANT] '{text}' is no variant; parse_json makes one of JSON")
        }
    }
}

fn parse(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let texts = call.text(0);
    call.texts(|row| match Json::parse(texts.value(row)) {
        Some(value) => Ok(Some(to_json_text(&with_sorted_keys(value)))),
        None if on_invalid == OnInvalid::Fail => call.fail(
            "[MALFORMED_RECORD_IN_PARSING] the text is not JSON; try_parse_json returns NULL for it",
        ),
        None => Ok(None),
    })
}

fn to_json_text(value: &Json) -> String {
    let mut text = String::new();
    value.write(&mut text);
    text
}

fn with_sorted_keys(value: Json) -> Json {
    match value {
        Json::Object(entries) => {
            let entries = entries.into_iter();
            let mut entries: Vec<_> = entries
                .map(|(key, value)| (key, with_sorted_keys(value)))
                .collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Json::Object(entries)
        }
        Json::Array(items) => Json::Array(items.into_iter().map(with_sorted_keys).collect()),
        scalar => scalar,
    }
}

/// The type that the third argument names; a variant without one.
fn result_type(site: &CallSite) -> Result<DataType> {
    match site.literal_text(2) {
        Some(name) if !name.eq_ignore_ascii_case("variant") => types::parse(name),
        _ => Ok(DataType::Utf8),
    }
}

fn get(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let (texts, paths) = (call.text(0), call.text(1));
    let is_variant = match call.arrays.get(2) {
        Some(_) if call.rows == 0 => true,
        Some(_) => call.text(2).value(0).eq_ignore_ascii_case("variant"),
        None => true,
    };
    let nulls = call.validity();
    let mut values = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        values.push(match is_null {
            true => None,
            false => {
                let value = variant(texts.value(row))?;
                match value_at(&value, paths.value(row)) {
                    Some(found) => found,
                    None => {
                        return call.fail(format!(
                            "[INVALID_VARIANT_GET_PATH] '{}' is no path; it looks like $.a[0]",
                            paths.value(row)
                        ));
                    }
                }
            }
        });
    }
    if is_variant {
        let texts = values.iter().map(|value| value.as_ref().map(to_json_text));
        return Ok(std::sync::Arc::new(texts.collect::<StringArray>()));
    }
    let readable: Vec<Option<Json>> = values
        .iter()
        .map(|value| {
            value
                .clone()
                .map(|value| readable(value, &call.return_type))
        })
        .collect();
    let references: Vec<Option<&Json>> = readable.iter().map(Option::as_ref).collect();
    let column = build(&call.return_type, &references, &Options::of_call(call)?)?;
    let is_lost =
        |row: &usize| column.is_null(*row) && !matches!(values[*row], None | Some(Json::Null));
    if on_invalid == OnInvalid::Fail
        && let Some(row) = (0..call.rows).find(is_lost)
    {
        return call.fail(format!(
            "[INVALID_VARIANT_CAST] {} is no value of the type; try_variant_get returns NULL for it",
            values[row].as_ref().map(to_json_text).unwrap_or_default()
        ));
    }
    Ok(column)
}

/// A text that is to become a number or a condition, as one.
fn readable(value: Json, to: &DataType) -> Json {
    match value {
        Json::Text(text) if to.is_numeric() && text.trim().parse::<f64>().is_ok() => {
            Json::Number(text.trim().to_owned())
        }
        Json::Text(text) if *to == DataType::Boolean => {
            match crate::functions::convert::parse_boolean(&text) {
                Some(value) => Json::Boolean(value),
                None => Json::Text(text),
            }
        }
        other => other,
    }
}

/// The type of a variant.
#[derive(Debug, Clone, PartialEq)]
enum Schema {
    Void,
    Boolean,
    BigInt,
    /// With its digits before and after the point.
    Decimal(usize, usize),
    Double,
    Text,
    Array(Box<Self>),
    Object(Vec<(String, Self)>),
    /// Values of several types.
    Variant,
}

impl Schema {
    fn infer(value: &Json) -> Self {
        match value {
            Json::Null => Self::Void,
            Json::Boolean(_) => Self::Boolean,
            Json::Number(digits) if digits.parse::<i64>().is_ok() => Self::BigInt,
            Json::Number(digits) => match digits.split_once('.') {
                Some((whole, fraction)) if digits.len() <= 39 && !digits.contains(['e', 'E']) => {
                    let whole = whole.trim_start_matches(['-', '0']);
                    Self::Decimal(whole.len(), fraction.len())
                }
                _ => Self::Double,
            },
            Json::Text(_) => Self::Text,
            Json::Array(items) => {
                let item = items.iter().map(Self::infer).fold(Self::Void, Self::merge);
                Self::Array(Box::new(item))
            }
            Json::Object(entries) => {
                let mut fields: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::infer(value)))
                    .collect();
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                Self::Object(fields)
            }
        }
    }

    /// The least type for values of both.
    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Void, other) | (other, Self::Void) => other,
            (a, b) if a == b => a,
            (Self::Decimal(whole, fraction), Self::Decimal(other, digits)) => {
                Self::Decimal(whole.max(other), fraction.max(digits))
            }
            (Self::Decimal(whole, fraction), Self::BigInt)
            | (Self::BigInt, Self::Decimal(whole, fraction)) => {
                Self::Decimal(whole.max(19), fraction)
            }
            (Self::Double, Self::BigInt | Self::Decimal(..))
            | (Self::BigInt | Self::Decimal(..), Self::Double) => Self::Double,
            (Self::Array(a), Self::Array(b)) => Self::Array(Box::new(a.merge(*b))),
            (Self::Object(mut fields), Self::Object(other_fields)) => {
                for (name, schema) in other_fields {
                    match fields.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = known.clone().merge(schema),
                        None => fields.push((name, schema)),
                    }
                }
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                Self::Object(fields)
            }
            _ => Self::Variant,
        }
    }
}

impl std::fmt::Display for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Void => f.write_str("VOID"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Decimal(whole, fraction) => write!(f, "DECIMAL({},{fraction})", whole + fraction),
            Self::Double => f.write_str("DOUBLE"),
            Self::Text => f.write_str("STRING"),
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, schema)| format!("{name}: {schema}"));
                write!(f, "OBJECT<{}>", fields.collect::<Vec<_>>().join(", "))
            }
            Self::Variant => f.write_str("VARIANT"),
        }
    }
}

/// The type of all variants of a group. Its state is a JSON text with values of the same type.
#[derive(Debug, Default)]
struct Schemas {
    values: Vec<Json>,
}

impl Accumulator for Schemas {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        use datafusion::arrow::array::AsArray;
        for text in columns[0].as_string::<i32>().iter().flatten() {
            let value = variant(text)?;
            // Values of a type that is known already say nothing more.
            let schema = Schema::infer(&value);
            if !self
                .values
                .iter()
                .any(|known| Schema::infer(known) == schema)
            {
                self.values.push(value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let schemas = self.values.iter().map(Schema::infer);
        let merged = schemas.fold(Schema::Void, Schema::merge);
        Ok(ScalarValue::from(merged.to_string()))
    }

    fn size(&self) -> usize {
        let texts = self.values.iter().map(|value| to_json_text(value).len());
        size_of::<Self>() + texts.sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let all = Json::Array(std::mem::take(&mut self.values));
        Ok(vec![ScalarValue::from(to_json_text(&all))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        use datafusion::arrow::array::AsArray;
        for text in states[0].as_string::<i32>().iter().flatten() {
            if let Json::Array(items) = variant(text)? {
                self.values.extend(items);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_those_of_spark() {
        for (text, expected) in [
            (
                r#"[{"b":true,"a":0}]"#,
                "ARRAY<OBJECT<a: BIGINT, b: BOOLEAN>>",
            ),
            ("null", "VOID"),
            ("[1, 0.25]", "ARRAY<DECIMAL(21,2)>"),
            (r#"[1, "x"]"#, "ARRAY<VARIANT>"),
            ("1e3", "DOUBLE"),
        ] {
            assert_eq!(
                Schema::infer(&Json::parse(text).unwrap()).to_string(),
                expected
            );
        }
    }

    #[test]
    fn keys_are_in_order() {
        let value = Json::parse(r#"{"b": [ {"d":1, "c":2} ], "a": null}"#).unwrap();
        let expected = r#"{"a":null,"b":[{"c":2,"d":1}]}"#;
        assert_eq!(to_json_text(&with_sorted_keys(value)), expected);
    }
}

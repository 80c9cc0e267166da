//! Finds fields that a schema lacks.
//!
//! A schema that was inferred from the first rows does not have the fields that only later rows
//! have. Arrow's decoder would leave them out without a word.

use std::cell::RefCell;
use std::fmt;

use arrow::datatypes::{DataType, Fields};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Returns the first field of a line that is not among `fields`, with the fields that it is in;
/// `None` for a line that is not valid JSON, too.
pub(super) fn find_unknown_field(line: &str, fields: &Fields) -> Option<String> {
    let unknown = RefCell::default();
    let object = Object {
        fields,
        unknown: &unknown,
    };
    let read = object.deserialize(&mut serde_json::Deserializer::from_str(line));
    read.err().and_then(|_| unknown.into_inner())
}

/// Reads an object whose fields should be these.
#[derive(Clone, Copy)]
struct Object<'a> {
    fields: &'a Fields,
    unknown: &'a RefCell<Option<String>>,
}

/// Reads a value that should have this type.
struct Nested<'a> {
    data_type: &'a DataType,
    unknown: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.data_type {
            DataType::Struct(fields) => Object {
                fields,
                unknown: self.unknown,
            }
            .deserialize(deserializer),
            DataType::List(_) => deserializer.deserialize_any(self),
            _ => IgnoredAny::deserialize(deserializer).map(|_| ()),
        }
    }
}

/// Accepts values of other types, which the decoder refuses or converts.
macro_rules! accept_scalars {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }

        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }

        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }

        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }

        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    };
}
pub(super) use accept_scalars;

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    accept_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        // Objects usually have their fields in the order of the schema.
        let mut next = 0;
        while let Some(name) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
            let expected = self.fields.get(next).filter(|field| *field.name() == name);
            let field = match expected {
                Some(field) => field,
                None => match self.fields.find(&name) {
                    Some((position, field)) => {
                        next = position;
                        field
                    }
                    None => {
                        *self.unknown.borrow_mut() = Some(name.into_owned());
                        return Err(A::Error::custom("unknown field"));
                    }
                },
            };
            next += 1;
            let read = entries.next_value_seed(Nested {
                data_type: field.data_type(),
                unknown: self.unknown,
            });
            if read.is_err()
                && let Some(path) = self.unknown.borrow_mut().as_mut()
            {
                *path = format!("{}.{path}", field.name());
            }
            read?;
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    accept_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let DataType::List(item) = self.data_type else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        loop {
            let nested = Nested {
                data_type: item.data_type(),
                unknown: self.unknown,
            };
            if items.next_element_seed(nested)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn unknown_fields_are_found_at_any_depth() {
        let nested = Fields::from(vec![Field::new("b", DataType::Int64, true)]);
        let item = Field::new("item", DataType::Struct(nested.clone()), true);
        let fields = Fields::from(vec![
            Field::new("x", DataType::Int64, true),
            Field::new("a", DataType::Struct(nested), true),
            Field::new("l", DataType::List(item.into()), true),
        ]);
        for (line, unknown) in [
            (r#"{"x":1,"a":{"b":2},"l":[{"b":3}]}"#, None),
            (r#"{"l":null,"a":{},"x":"text"}"#, None),
            (r#"{"l":[null,7],"a":[1]}"#, None),
            (r#"{"x":{"any":1}}"#, None),
            (r#"{"x":1,"y":2}"#, Some("y")),
            (r#"{"a":{"c":2}}"#, Some("a.c")),
            (r#"{"l":[{"b":1},{"d":{}}]}"#, Some("l.d")),
            (r#"{"\u0079":2}"#, Some("y")),
            (r#"{"x":"#, None),
        ] {
            let actual = find_unknown_field(line, &fields);
            assert_eq!(actual.as_deref(), unknown, "{line}");
        }
    }
}

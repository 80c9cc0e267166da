//! Names of nested fields whose case differs from that of the schema.
//!
//! Spark finds fields without regard to case; Arrow's decoder finds only exact names, and would
//! return null for others. So these names are respelled in the text before it is decoded.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use arrow::datatypes::{DataType, Fields};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::unknown_fields::accept_scalars;

/// Returns whether a column has fields within it.
pub(super) fn has_nested_fields(fields: &Fields) -> bool {
    fields
        .iter()
        .any(|field| is_or_has_struct(field.data_type()))
}

fn is_or_has_struct(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(item) | DataType::LargeList(item) => is_or_has_struct(item.data_type()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => has_nested_fields(pair),
            _ => false,
        },
        _ => false,
    }
}

/// Returns a line with the nested names spelled as in `columns`. The exact name counts first. The
/// names of the columns themselves stay, and so does a line that is not valid JSON.
pub(super) fn respell<'a>(line: &'a str, columns: &Fields) -> Cow<'a, str> {
    let renames = RefCell::default();
    let row = Nested {
        expected: Expected::Row(columns),
        line,
        renames: &renames,
    };
    let read = row.deserialize(&mut serde_json::Deserializer::from_str(line));
    let mut renames: Vec<Rename> = renames.into_inner();
    if read.is_err() || renames.is_empty() {
        return Cow::Borrowed(line);
    }
    // An object adds its names after those of the objects within it.
    renames.sort_unstable_by_key(|rename| rename.start);
    let (mut respelled, mut copied) = (String::with_capacity(line.len()), 0);
    for rename in renames {
        respelled.push_str(&line[copied..rename.start]);
        respelled.push_str(&rename.name);
        copied = rename.end;
    }
    respelled.push_str(&line[copied..]);
    Cow::Owned(respelled)
}

/// A name in a line, by its bytes, and the name of the schema.
struct Rename {
    start: usize,
    end: usize,
    name: String,
}

/// What a value should be.
#[derive(Clone, Copy)]
enum Expected<'a> {
    /// A whole line with these columns.
    Row(&'a Fields),
    /// A value of this type.
    Value(&'a DataType),
}

/// Reads a value and collects the names to respell.
#[derive(Clone, Copy)]
struct Nested<'a> {
    expected: Expected<'a>,
    line: &'a str,
    renames: &'a RefCell<Vec<Rename>>,
}

impl<'a> Nested<'a> {
    fn value(self, data_type: &'a DataType) -> Self {
        Self {
            expected: Expected::Value(data_type),
            ..self
        }
    }

    fn rename(self, written: &str, name: &str) {
        // `written` is a part of the line.
        let start = written.as_ptr().addr() - self.line.as_ptr().addr();
        self.renames.borrow_mut().push(Rename {
            start,
            end: start + written.len(),
            name: name.to_owned(),
        });
    }

    /// Reads an object whose fields should be these.
    fn read_fields<'de, A: MapAccess<'de>>(
        self,
        fields: &'a Fields,
        mut entries: A,
    ) -> Result<(), A::Error> {
        let is_row = matches!(self.expected, Expected::Row(_));
        let (mut exact, mut respelled) = (vec![], vec![]);
        while let Some(written) = entries.next_key_seed(Name)? {
            let mut position = fields.find(&written).map(|(position, _)| position);
            if let Some(position) = position {
                exact.push(position);
            } else if !is_row {
                position = fields
                    .iter()
                    .position(|field| is_same_in_any_case(field.name(), &written));
                // A name with escapes is not a part of the line.
                if let (Some(position), Cow::Borrowed(written)) = (position, &written) {
                    respelled.push((position, *written));
                }
            }
            match position.and_then(|position| fields.get(position)) {
                Some(field) => entries.next_value_seed(self.value(field.data_type()))?,
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        for (position, written) in respelled {
            if let Some(field) = fields.get(position)
                && !exact.contains(&position)
            {
                self.rename(written, field.name());
            }
        }
        Ok(())
    }
}

fn is_same_in_any_case(a: &str, b: &str) -> bool {
    let is_ascii = a.is_ascii() && b.is_ascii();
    a.eq_ignore_ascii_case(b) || (!is_ascii && a.to_lowercase() == b.to_lowercase())
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.expected {
            Expected::Row(_) => deserializer.deserialize_any(self),
            Expected::Value(data_type) if is_or_has_struct(data_type) => {
                deserializer.deserialize_any(self)
            }
            Expected::Value(_) => IgnoredAny::deserialize(deserializer).map(|_| ()),
        }
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    accept_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Expected::Value(DataType::List(item) | DataType::LargeList(item)) = self.expected
        else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        while items
            .next_element_seed(self.value(item.data_type()))?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        match self.expected {
            Expected::Row(fields) | Expected::Value(DataType::Struct(fields)) => {
                self.read_fields(fields, entries)
            }
            Expected::Value(DataType::Map(pair, _)) => {
                let DataType::Struct(pair) = pair.data_type() else {
                    return Err(A::Error::custom("the entries of a map are no pairs"));
                };
                while entries.next_key::<IgnoredAny>()?.is_some() {
                    match pair.get(1) {
                        Some(value) => entries.next_value_seed(self.value(value.data_type()))?,
                        None => {
                            entries.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(())
            }
            Expected::Value(_) => {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(())
            }
        }
    }
}

/// Reads the name of a field as the part of the line that it is, unless it has escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn nested_names_are_respelled_at_any_depth_unless_the_exact_name_is_there() {
        let inner = Fields::from(vec![Field::new("qux", DataType::Int64, true)]);
        let item = Field::new("item", DataType::Struct(inner), true);
        let outer = Fields::from(vec![
            Field::new("bar", DataType::Int64, true),
            Field::new("ação", DataType::List(item.into()), true),
        ]);
        let columns = Fields::from(vec![Field::new("s", DataType::Struct(outer), true)]);
        assert!(has_nested_fields(&columns));
        for (line, expected) in [
            (r#"{"s":{"Bar":1}}"#, r#"{"s":{"bar":1}}"#),
            (
                r#"{"s":{"AÇÃO":[{"QUX":2},null],"Bar":"Bar"}}"#,
                r#"{"s":{"ação":[{"qux":2},null],"bar":"Bar"}}"#,
            ),
            (r#"{"s":{"bar":1,"Bar":2}}"#, r#"{"s":{"bar":1,"Bar":2}}"#),
            (
                r#"{"S":{"Bar":1},"t":{"Bar":1}}"#,
                r#"{"S":{"Bar":1},"t":{"Bar":1}}"#,
            ),
            (r#"{"s":{"Bar":1}"#, r#"{"s":{"Bar":1}"#),
        ] {
            assert_eq!(respell(line, &columns), expected);
        }
    }
}

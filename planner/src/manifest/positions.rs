//! The position of each field of a YAML document, so that later errors can point at it.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A position in a text file. Lines and columns start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// The positions of fields by their path, like `spec.steps[1].sql`.
#[derive(Debug, Clone, Default)]
pub(super) struct Positions(HashMap<String, Position>);

impl Positions {
    /// Returns the position of a field, or of the nearest enclosing field that has one. `None` if
    /// none has: the manifest is not from a file.
    pub(super) fn position_of(&self, path: &str) -> Option<Position> {
        let mut path = path;
        loop {
            if let Some(position) = self.0.get(path) {
                return Some(*position);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Returns the path of the field that has its value at `position`.
    pub(super) fn field_at(&self, position: Position) -> Option<&str> {
        let fields = self.0.iter().filter(|(path, _)| !path.ends_with(']'));
        let before = fields.filter(|(_, key)| **key <= position);
        let nearest = before.max_by_key(|(_, key)| **key);
        nearest.map(|(path, _)| path.as_str())
    }

    pub(super) fn collect(root: &Spanned<Node>) -> Self {
        let mut positions = Self::default();
        positions.add("", root);
        positions
    }

    fn add(&mut self, path: &str, node: &Spanned<Node>) {
        match &node.value {
            Node::Map(entries) => {
                for (key, value) in entries {
                    let path = if path.is_empty() {
                        key.value.clone()
                    } else {
                        format!("{path}.{}", key.value)
                    };
                    self.0.insert(path.clone(), position(key));
                    self.add(&path, value);
                }
            }
            Node::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.0.insert(path.clone(), position(item));
                    self.add(&path, item);
                }
            }
            Node::Scalar(_) => {}
        }
    }
}

pub(super) fn position<T>(spanned: &Spanned<T>) -> Position {
    Position {
        line: spanned.referenced.line(),
        column: spanned.referenced.column(),
    }
}

/// A YAML document with positions.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
    Seq(Vec<Spanned<Self>>),
    /// The kind of the scalar.
    Scalar(&'static str),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = vec![];
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = vec![];
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Seq(items))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar("boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar("number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar("number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar("number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar("string"))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar("null"))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar("null"))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

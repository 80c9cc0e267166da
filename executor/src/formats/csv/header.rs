//! Compares the header of each file with the columns of the table.

use datafusion::common::{Result, exec_err};

/// Where the columns of a table are in the records of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileColumns {
    width: usize,
    positions: Option<Vec<usize>>,
}

impl FileColumns {
    /// The columns of the table, in its order, and no others.
    pub(super) fn in_order(width: usize) -> Self {
        Self {
            width,
            positions: None,
        }
    }

    /// Number of fields of a record.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Position in a record of a column of the table.
    pub(super) fn position(&self, column: usize) -> usize {
        self.positions
            .as_ref()
            .and_then(|positions| positions.get(column).copied())
            .unwrap_or(column)
    }

    /// Finds the columns of a table in a file with this `header`.
    ///
    /// Columns are found by name, without regard to case, so files may have them in any order. If
    /// the schema renames columns, they are found by position in `first_header`, the header of the
    /// table's first file, and then by the name that they have there. Every file must have the
    /// columns of the first one, where that is known.
    ///
    /// # Errors
    /// If the header has other columns. The text does not name the file.
    pub(super) fn find(
        columns: &[String],
        first_header: Option<&[String]>,
        header: &[String],
    ) -> Result<Self> {
        let width = header.len();
        let first = first_header.unwrap_or(header);
        let has_moved = !same_order(first, header);
        if has_moved && (first.len() != width || by_name(first, header).is_none()) {
            return differs(first, header);
        }
        if same_order(columns, header) {
            return Ok(Self::in_order(width));
        }
        let positions = match by_name(columns, header) {
            Some(positions) => Some(positions),
            None if columns.len() == width && renames(columns, first) => {
                has_moved.then(|| by_name(first, header)).flatten()
            }
            None => return differs(columns, header),
        };
        Ok(Self { width, positions })
    }
}

/// Whether no column has a name that the header gives to another position.
fn renames(columns: &[String], header: &[String]) -> bool {
    columns.iter().enumerate().all(|(at, column)| {
        header
            .iter()
            .enumerate()
            .all(|(other, name)| at == other || !same(name, column))
    })
}

fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

fn same_order(columns: &[String], header: &[String]) -> bool {
    columns.len() == header.len() && columns.iter().zip(header).all(|(a, b)| same(a, b))
}

/// Where the header has each column; `None` unless it has each of them once.
fn by_name(columns: &[String], header: &[String]) -> Option<Vec<usize>> {
    let lower: Vec<String> = header.iter().map(|name| name.to_lowercase()).collect();
    let mut positions = std::collections::HashMap::new();
    for (at, name) in lower.iter().enumerate() {
        let is_twice = positions.insert(name.as_str(), at).is_some();
        if is_twice && columns.iter().any(|c| c.to_lowercase() == *name) {
            return None;
        }
    }
    columns
        .iter()
        .map(|column| positions.get(column.to_lowercase().as_str()).copied())
        .collect()
}

fn differs(expected: &[String], header: &[String]) -> Result<FileColumns> {
    let at = (0..expected.len().max(header.len()))
        .find(|at| match (expected.get(*at), header.get(*at)) {
            (Some(a), Some(b)) => !same(a, b),
            _ => true,
        })
        .unwrap_or_default();
    let name = |names: &[String]| {
        names
            .get(at)
            .map_or("missing".to_owned(), |name| format!("`{name}`"))
    };
    exec_err!(
        "the header differs from the columns of the table: column {} is {}, expected {}",
        at + 1,
        name(header),
        name(expected)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn positions(columns: &str, first: Option<&str>, header: &str) -> Option<Vec<usize>> {
        let first = first.map(names);
        let file = FileColumns::find(&names(columns), first.as_deref(), &names(header)).ok()?;
        Some(
            (0..names(columns).len())
                .map(|c| file.position(c))
                .collect(),
        )
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_case() {
        assert_eq!(positions("a,b", None, "A,b"), Some(vec![0, 1]));
        assert_eq!(positions("a,ção", None, "ÇÃO,a"), Some(vec![1, 0]));
        assert_eq!(positions("a,b", None, "b,c,a"), Some(vec![2, 0]));
    }

    #[test]
    fn a_schema_may_rename_columns_but_not_move_them() {
        assert_eq!(positions("x,y", None, "a,b"), Some(vec![0, 1]));
        assert_eq!(positions("x,y", Some("a,b"), "b,a"), Some(vec![1, 0]));
        assert_eq!(positions("id,y", Some("id,b"), "id,b"), Some(vec![0, 1]));
        assert_eq!(positions("b,y", None, "a,b"), None);
        assert_eq!(positions("x,y", Some("a,b"), "a,c"), None);
    }

    #[test]
    fn other_columns_are_refused() {
        assert_eq!(positions("a,b", Some("a,b"), "a,c"), None);
        assert_eq!(positions("a,b", Some("a,b"), "a"), None);
        assert_eq!(positions("a,b", Some("a,b"), "a,b,c"), None);
        assert_eq!(positions("a,b", None, "a,b,b"), None);
    }
}

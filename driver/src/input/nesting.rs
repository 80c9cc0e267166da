//! Refuses columns that are nested too deep to be sent to executors.

use arrow::datatypes::{DataType, Field, Schema};

use crate::error::{Error, Result};

/// Maximum depth of structs, arrays and maps within a column. The decoder of protocol messages, which
/// have three levels for each, stops at 100 levels.
const NESTING_MAX: usize = 25;

/// Returns an error that names the first column that is nested too deep.
///
/// # Errors
/// If a column is nested deeper than [`NESTING_MAX`].
pub(super) fn check_nesting(schema: &Schema) -> Result<()> {
    let is_too_deep = |field: &&std::sync::Arc<Field>| depth(field.data_type()) > NESTING_MAX;
    match schema.fields().iter().find(is_too_deep) {
        Some(field) => Err(Error::Plan(format!(
            "the column `{}` is nested {} levels deep; at most {NESTING_MAX} levels can be read; \
             give a schema without it, or with STRING for its inner part",
            field.name(),
            depth(field.data_type())
        ))),
        None => Ok(()),
    }
}

fn depth(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => {
            let inner = fields.iter().map(|field| depth(field.data_type()));
            1 + inner.max().unwrap_or(0)
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            1 + depth(item.data_type())
        }
        DataType::Map(entries, _) => depth(entries.data_type()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_nested_too_deep_is_refused_by_name() {
        let nested = |levels| {
            let column = (0..levels).fold(DataType::Int64, |inner, _| {
                DataType::Struct(vec![Field::new("f", inner, true)].into())
            });
            Schema::new(vec![Field::new("deep", column, true)])
        };
        assert!(check_nesting(&nested(NESTING_MAX)).is_ok());
        let error = check_nesting(&nested(NESTING_MAX + 1)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`deep` is nested 26 levels deep")
        );
    }
}

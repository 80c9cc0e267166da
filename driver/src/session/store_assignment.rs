//! Which types INSERT stores in which columns, as ANSI SQL has it: no text becomes a number.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use super::sql_types::whole_sql_type;
use crate::error::{Error, Result};

/// Checks the casts of an INSERT, which the planner puts around the columns of its query.
///
/// # Errors
/// Returns an error if a value is of a type that its column does not store.
pub(super) fn check_assignments(table: &str, rows: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Projection(projection) = rows else {
        return Ok(());
    };
    for expr in &projection.expr {
        let Expr::Alias(column) = expr else { continue };
        let Expr::Cast(cast) = column.expr.as_ref() else {
            continue;
        };
        let source = cast.expr.get_type(projection.input.schema())?;
        let target = cast.field.data_type();
        if !is_stored_as(&source, target) {
            let (column, actual) = (&column.name, whole_sql_type(&source));
            let expected = whole_sql_type(target);
            return Err(Error::Plan(format!(
                "[INCOMPATIBLE_DATA_FOR_TABLE.CANNOT_SAFELY_CAST] INSERT INTO {table}: the column `{column}` is {expected}, the \
                 value is {actual}; write CAST(… AS {expected})"
            )));
        }
    }
    Ok(())
}

/// Types that are stored as each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Number,
    Text,
    Boolean,
    Bytes,
    /// Dates and timestamps.
    Time,
}

impl Family {
    /// Returns the family of a type; `None` for null, and for types whose parts are cast.
    fn from_type(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            number if number.is_numeric() => Self::Number,
            text if text.is_string() => Self::Text,
            bytes if bytes.is_binary() => Self::Bytes,
            DataType::Boolean => Self::Boolean,
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Self::Time,
            DataType::Dictionary(_, values) => return Self::from_type(values),
            _ => return None,
        })
    }
}

fn is_stored_as(source: &DataType, target: &DataType) -> bool {
    match (Family::from_type(source), Family::from_type(target)) {
        (Some(source), Some(target)) => source == target || target == Family::Text,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stores_everything_and_is_stored_only_as_text() {
        use DataType::{Binary, Boolean, Date32, Decimal128, Float64, Int32, Null, Utf8, Utf8View};
        for (source, target) in [
            (Int32, Float64),
            (Float64, Int32),
            (Decimal128(5, 2), Int32),
            (Int32, Utf8),
            (Binary, Utf8View),
            (Null, Int32),
        ] {
            assert!(is_stored_as(&source, &target), "{source} as {target}");
        }
        for (source, target) in [
            (Utf8, Int32),
            (Utf8View, Date32),
            (Utf8, Boolean),
            (Boolean, Int32),
            (Date32, Int32),
            (Utf8, Binary),
        ] {
            assert!(!is_stored_as(&source, &target), "{source} as {target}");
        }
    }
}

//! `CASE WHEN … THEN … ELSE … END`.

use super::column::Column;

/// A choice among values; [`when`] begins it. Without [`Case::otherwise`] the other rows get null.
///
/// ```
/// use faisca_spark::columns::{Column, col, lit, when};
///
/// let size: Column = when(col("n").gt(100), lit("large"))
///     .when(col("n").gt(10), lit("medium"))
///     .otherwise(lit("small"));
/// assert_eq!(
///     size.to_string(),
///     "CASE WHEN (`n` > 100) THEN 'large' WHEN (`n` > 10) THEN 'medium' ELSE 'small' END"
/// );
/// ```
#[must_use]
#[derive(Debug, Clone)]
pub struct Case {
    branches: String,
}

/// Returns `value` where `condition` is true.
pub fn when(condition: impl Into<Column>, value: impl Into<Column>) -> Case {
    let branches = String::from("CASE");
    Case { branches }.when(condition, value)
}

impl Case {
    /// Returns `value` where `condition` is true, and no condition before it was.
    pub fn when(mut self, condition: impl Into<Column>, value: impl Into<Column>) -> Self {
        let (condition, value) = (condition.into(), value.into());
        let branch = format!(" WHEN {} THEN {}", condition.text(), value.text());
        self.branches.push_str(&branch);
        self
    }

    /// Returns `value` in all other rows.
    pub fn otherwise(self, value: impl Into<Column>) -> Column {
        Column::from_text(format!(
            "{} ELSE {} END",
            self.branches,
            value.into().text()
        ))
    }
}

impl From<Case> for Column {
    fn from(case: Case) -> Self {
        Self::from_text(format!("{} END", case.branches))
    }
}

//! `CASE WHEN … THEN … ELSE … END`.

use super::column::Column;

/// A CASE expression, which [`when`] begins. Without [`Case::otherwise`] the other rows get null.
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

/// Begins a CASE expression, which returns `value` where `condition` is true.
pub fn when(condition: impl Into<Column>, value: impl Into<Column>) -> Case {
    let branches = String::from("CASE");
    Case { branches }.when(condition, value)
}

impl Case {
    /// Adds a branch: `value` where `condition` is true and no earlier condition was.
    pub fn when(mut self, condition: impl Into<Column>, value: impl Into<Column>) -> Self {
        let (condition, value) = (condition.into(), value.into());
        let branch = format!(" WHEN {} THEN {}", condition.text(), value.text());
        self.branches.push_str(&branch);
        self
    }

    /// Completes the expression with the `value` of all other rows.
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

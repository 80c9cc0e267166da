//! Columns of the dataframe API: expressions of Spark's SQL, built by functions and operators.
//!
//! A [`Column`] is the text of an expression. So `col("a") / 2` and the SQL text `a / 2` are
//! planned by the same dialect, and mean the same: types, nulls, errors, the name of the result.
//!
//! ```text
//!  col("a").plus(lit(1)).alias("b")  ──►  (`a` + 1) AS `b`  ──►  dialect, functions, operators
//! ```
//!
//! - `column`: the column and its operators
//! - `functions`: Spark's functions
//! - `window`: PARTITION BY, ORDER BY and frames
//! - `case`: `when(…).otherwise(…)`

mod case;
mod column;
pub mod functions;
mod window;

pub use case::{Case, when};
pub use column::{Column, LEFT, Literal, RIGHT, col, expr, left_col, lit, right_col};
pub use window::{FrameBound, Window};

/// Quotes the name of a column, an alias or a field.
#[must_use]
pub fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Joins texts to a list in SQL, separated by commas.
pub fn join_list<C: AsRef<str>>(texts: impl IntoIterator<Item = C>) -> String {
    let mut list = String::new();
    for text in texts {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(text.as_ref());
    }
    list
}

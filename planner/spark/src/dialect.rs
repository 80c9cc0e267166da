//! Spark's syntax: from the text of a statement to a syntax tree that DataFusion plans.
//!
//! DataFusion's parser reads the SQL that many databases share. Where Spark's SQL differs, it is
//! translated: before parsing if the tokens differ (literals, `VALUES 1, 2`), while parsing if an
//! operator is new (`DIV`, `LIKE ALL`), and afterwards if the tree differs (`WITH ROLLUP`,
//! `SORT BY`).
//!
//! ```text
//! text ──tokenize──▶ tokens ──Parser with SparkDialect──▶ tree ──translate──▶ tree that DataFusion plans
//! ```

mod calls;
mod cast_names;
mod clauses;
mod clocks;
mod column_names;
mod field_names;
mod generator_tables;
mod generators;
mod grouping;
mod having;
mod intervals;
mod joins;
mod lambda_fields;
mod lateral_aliases;
mod literals;
mod named_windows;
mod names;
mod numbers;
mod older_meanings;
mod order_by;
mod patterns;
mod pipes;
mod pivots;
mod random_numbers;
mod replace_names;
mod row_values;
mod samples;
mod syntax;
mod token_lists;
mod tokens;
mod tree;
mod values;
mod variables;
mod window_names;
mod windows;

pub use clocks::functions_as_columns;
pub use column_names::generated_name;
pub use lateral_aliases::expand_lateral_alias;
pub(crate) use literals::unescape;
pub use names::without_mark;
pub(crate) use numbers::plan as plan_number;
pub use pivots::pivot_names;
pub use syntax::SparkDialect;
pub use tokens::{lower_names, tokenize, tokenize_with};
pub use tree::translate;
pub use variables::{qualified_variables, unqualified_variable};

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// Parses statements as they are written: names keep their spelling, and nothing is translated.
///
/// # Errors
/// If the text is not Spark's SQL.
pub fn parse_as_written(sql: &str) -> Result<Vec<Statement>, ParserError> {
    Parser::new(&SparkDialect)
        .with_tokens_with_locations(tokenize(sql)?)
        .parse_statements()
}

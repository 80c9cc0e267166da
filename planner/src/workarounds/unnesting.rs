//! Subqueries in every position become joins.
//!
//! DataFusion decorrelates a subquery if its correlated conditions are in filters that it can
//! move to a join, and only in WHERE and, for scalar subqueries, in the select list. It refuses
//! every other form when it plans operators. Its result is wrong if aggregates are nested, or if an
//! expression over `count` is not null for an empty input. Here such a subquery is joined to the
//! rows that it belongs to. It runs for all values of the outer columns at once ([`dependent`]):
//!
//! ```text
//!   Filter: EXISTS(S(o.k)) OR …       Filter: mark IS NOT NULL OR …
//!     O                         ──►     Join Left: o.k <=> k
//!                                         O
//!                                         DISTINCT k, mark = true
//!                                           S(k), with k of every row
//!                                             DISTINCT o.k AS k
//!                                               O
//! ```
//!
//! | subquery | joined rows | becomes |
//! | --- | --- | --- |
//! | `EXISTS S` | the keys of S, with a mark | `mark IS NOT NULL` |
//! | `(S)` | the only value of S for each key; several are an error | the value |
//! | `x IN S` | the items of S, with a mark; the counts of rows and of items that are not null | `CASE WHEN mark … WHEN unknown … ELSE false` |
//!
//! A subquery that DataFusion decorrelates correctly stays as it is ([`supported`]): it needs no
//! second copy of the outer rows.

mod columns;
mod consumers;
mod dependent;
mod domain;
mod marks;
mod outer_columns;
mod repeatable;
mod supported;

use std::cell::Cell;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;

use super::single_row::with_new_schemas;

/// Replaces subqueries that DataFusion refuses or plans wrongly by joins. Runs after type coercion,
/// when both sides of `IN` have one type.
#[derive(Debug)]
pub(super) struct Unnesting;

impl AnalyzerRule for Unnesting {
    fn name(&self) -> &'static str {
        "subqueries_to_joins"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let names = Names::default();
        // Inner subqueries become joins first. The outer columns that they use are then in plans,
        // where the rewrite of the subquery around them replaces them.
        let joined =
            plan.transform_up_with_subqueries(|node| consumers::rewrite_node(node, &names))?;
        match joined.transformed {
            true => with_new_schemas(joined.data),
            false => Ok(joined.data),
        }
    }
}

/// Generates names of columns that no query has.
#[derive(Debug, Default)]
struct Names {
    count: Cell<usize>,
}

impl Names {
    fn next(&self, kind: &str) -> String {
        let number = self.count.get();
        self.count.set(number + 1);
        format!("__{kind}_{number}")
    }
}

//! Keeps all keys of a sort except those that occur twice.
//!
//! DataFusion's `EliminateDuplicatedExpr` also drops keys that earlier keys determine, and
//! considers too many of them determined: above a join with a grouped input, an aggregate claims
//! that the key of that input determines all of its own columns. So `ORDER BY g.k, t.x` becomes
//! `ORDER BY g.k`, though a row of `g` has many partners in `t`.

use std::collections::HashSet;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// [`EliminateDuplicatedExpr`] that drops only equal keys of sorts.
#[derive(Debug, Default)]
pub(super) struct WholeSortKeys {
    rule: EliminateDuplicatedExpr,
}

impl OptimizerRule for WholeSortKeys {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(mut sort) = plan else {
            return self.rule.rewrite(plan, config);
        };
        let count = sort.expr.len();
        let mut seen = HashSet::new();
        sort.expr.retain(|key| seen.insert(key.expr.clone()));
        let is_changed = sort.expr.len() < count;
        Ok(Transformed::new_transformed(
            LogicalPlan::Sort(sort),
            is_changed,
        ))
    }
}

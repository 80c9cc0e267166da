//! A part of the keys of a GROUP BY is not unique.
//!
//! Where the input of a GROUP BY is a join with a side that is grouped or distinct itself, the keys
//! of that side repeat. DataFusion notes that they determine its columns, but above `GROUP BY k, s`
//! it takes `k` alone for unique: it removes a DISTINCT of `k`, and takes joins on `k` for joins
//! that find one row. Here the rules that rely on this leave such plans as they are.

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Dependency, FunctionalDependence, Result};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// [`ReplaceDistinctWithAggregate`] that keeps a DISTINCT above keys that may repeat.
#[derive(Debug, Default)]
pub(super) struct WholeKeysDistinct {
    rule: ReplaceDistinctWithAggregate,
}

impl OptimizerRule for WholeKeysDistinct {
    fn name(&self) -> &'static str {
        "replace_distinct_aggregate"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Distinct(Distinct::All(input))
                if !input.schema().fields().is_empty() && has_false_key(&input)? =>
            {
                let columns = input.schema().columns().into_iter().map(Expr::Column);
                let columns = columns.collect();
                let aggregate = Aggregate::try_new(input, columns, vec![])?;
                Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
            }
            plan => self.rule.rewrite(plan, config),
        }
    }
}

/// [`EliminateJoin`] that keeps joins on keys that may repeat.
#[derive(Debug, Default)]
pub(super) struct WholeKeysJoin {
    rule: EliminateJoin,
}

impl OptimizerRule for WholeKeysJoin {
    fn name(&self) -> &'static str {
        "eliminate_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match has_false_key(&plan)? {
            true => Ok(Transformed::no(plan)),
            false => self.rule.rewrite(plan, config),
        }
    }
}

/// Whether DataFusion takes a part of the keys of a GROUP BY for unique without reason.
fn has_false_key(plan: &LogicalPlan) -> Result<bool> {
    let mut has_false_key = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            has_false_key |= is_part_taken_for_unique(aggregate);
        }
        Ok(match has_false_key {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(has_false_key)
}

/// Whether DataFusion derives from a GROUP BY that a part of its keys is unique, though its input
/// does not imply that.
fn is_part_taken_for_unique(aggregate: &Aggregate) -> bool {
    let groups = aggregate.group_expr.len();
    let input = aggregate.input.schema();
    let is_partial_key = |dependency: &&FunctionalDependence| {
        dependency.mode == Dependency::Single && dependency.source_indices.len() < groups
    };
    let is_unique_in_input = |sources: &[usize]| {
        let keys: Option<Vec<usize>> = sources
            .iter()
            .map(|index| match aggregate.group_expr.get(*index) {
                Some(Expr::Column(column)) => input.maybe_index_of_column(column),
                _ => None,
            })
            .collect();
        let dependencies = input.functional_dependencies();
        keys.is_some_and(|keys| {
            dependencies.iter().any(|dependency| {
                dependency.mode == Dependency::Single
                    && dependency
                        .source_indices
                        .iter()
                        .all(|key| keys.contains(key))
            })
        })
    };
    let dependencies = aggregate.schema.functional_dependencies();
    dependencies
        .iter()
        .filter(is_partial_key)
        .any(|dependency| !is_unique_in_input(&dependency.source_indices))
}

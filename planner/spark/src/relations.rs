//! Relations of Spark that DataFusion's planner does not know: those that generators such as
//! `explode` and `stack` return.

mod generators;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::sql::sqlparser::ast::TableFactor;

use generators::Generator;

/// Plans relations of SQL text as Spark means them.
#[derive(Debug, Default)]
pub struct SparkRelations;

/// The planners of relations for a session.
#[must_use]
pub fn planners() -> Vec<Arc<dyn RelationPlanner>> {
    vec![Arc::new(SparkRelations)]
}

impl RelationPlanner for SparkRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Pivot {
            table,
            mut aggregate_functions,
            value_column,
            default_on_null,
            alias,
            ..
        } = relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        // See `dialect::generators`: a PIVOT without a column to pivot stands for a lateral view.
        let plan = if !value_column.is_empty() {
            return datafusion::common::not_impl_err!(
                "PIVOT is not supported; write an aggregate with FILTER (WHERE …) for each value"
            );
        } else if let Some(call) = aggregate_functions.pop() {
            let input = context.plan(*table)?;
            let is_outer = default_on_null.is_some();
            Generator::new(call.expr, is_outer, input.schema(), context)?.apply(&input, alias)?
        } else {
            LogicalPlanBuilder::empty(true).build()?
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, None,
        ))))
    }
}

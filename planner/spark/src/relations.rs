//! Relations of Spark that DataFusion's planner does not know: those that generators such as
//! `explode` and `stack` return, PIVOT and UNPIVOT.

mod generators;
mod pivot;
mod unpivot;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::sql::sqlparser::ast::TableFactor;

use generators::Generator;
use pivot::Pivot;
use unpivot::Unpivot;

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
        let (plan, alias) = match relation {
            TableFactor::Pivot {
                table,
                aggregate_functions,
                value_column,
                value_source,
                alias,
                ..
            } if !value_column.is_empty() => {
                let pivot = Pivot {
                    aggregates: aggregate_functions,
                    keys: value_column,
                    values: value_source,
                };
                let input = context.plan(*table)?;
                (pivot.apply(input, context)?, alias)
            }
            // See `dialect::generators`: a PIVOT without a column to pivot stands for a lateral
            // view.
            TableFactor::Pivot {
                table,
                mut aggregate_functions,
                default_on_null,
                alias,
                ..
            } => match aggregate_functions.pop() {
                Some(call) => {
                    let input = context.plan(*table)?;
                    let is_outer = default_on_null.is_some();
                    let generator = Generator::new(call.expr, is_outer, input.schema(), context)?;
                    (generator.apply(&input, alias)?, None)
                }
                None => (LogicalPlanBuilder::empty(true).build()?, None),
            },
            TableFactor::Unpivot {
                table,
                value,
                null_inclusion,
                name,
                columns,
                alias,
            } => {
                let unpivot = Unpivot {
                    value,
                    name,
                    columns,
                    nulls: null_inclusion,
                };
                let input = context.plan(*table)?;
                (unpivot.apply(input, context)?, alias)
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

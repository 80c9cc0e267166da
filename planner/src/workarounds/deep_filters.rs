//! Deep conditions are not pushed down by the physical optimizer.
//!
//! DataFusion's physical `FilterPushdown` searches each part of a condition for volatile functions,
//! and each search visits everything inside the part, at each operator that the condition passes.
//! With 200 views above one another it took minutes. The logical optimizer has pushed the same
//! filters before, at a cost that is linear.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use crate::stack::recurse;

/// Maximum number of levels of a condition that is pushed down. Handwritten conditions rarely have
/// more.
const LEVELS_MAX: usize = 50;

/// DataFusion's `FilterPushdown`, skipped for plans with a deep condition.
#[derive(Debug)]
pub(super) struct ShallowFilterPushdown {
    pub(super) rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for ShallowFilterPushdown {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if has_deep_filter(&plan) {
            return Ok(plan);
        }
        self.rule.optimize(plan, config)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

fn has_deep_filter(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let filter = plan.downcast_ref::<FilterExec>();
    filter.is_some_and(|filter| is_deep(filter.predicate(), LEVELS_MAX))
        || plan
            .children()
            .into_iter()
            .any(|child| recurse(|| has_deep_filter(child)))
}

/// Whether an expression has more than `levels` levels below its root.
fn is_deep(expr: &Arc<dyn PhysicalExpr>, levels: usize) -> bool {
    expr.children()
        .into_iter()
        .any(|child| levels == 0 || is_deep(child, levels - 1))
}

//! A physical optimizer rule of this folder: a name and a function.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

pub(super) type Plan = Arc<dyn ExecutionPlan>;

/// A rule that always applies: no session needs DataFusion's wrong results.
#[derive(Debug)]
pub(super) struct PlanRule {
    pub(super) name: &'static str,
    /// Returns the corrected plan, or the same plan.
    pub(super) rewrite: fn(Plan) -> Result<Plan>,
}

impl PhysicalOptimizerRule for PlanRule {
    fn optimize(&self, plan: Plan, _config: &ConfigOptions) -> Result<Plan> {
        (self.rewrite)(plan)
    }

    fn name(&self) -> &str {
        self.name
    }

    fn schema_check(&self) -> bool {
        true
    }
}

//! A physical rule as a name, a switch and a function.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::switches::{Switches, switches};

pub(super) type Plan = Arc<dyn ExecutionPlan>;

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) is_on: fn(&Switches) -> bool,
    pub(super) rewrite: fn(Plan, &ConfigOptions) -> Result<Plan>,
}

impl PhysicalOptimizerRule for Rule {
    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        if (self.is_on)(&switches(config)) {
            (self.rewrite)(plan, config)
        } else {
            Ok(plan)
        }
    }

    fn name(&self) -> &str {
        self.name
    }

    fn schema_check(&self) -> bool {
        true
    }
}

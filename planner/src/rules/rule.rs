//! A physical optimizer rule: a name, a switch and a function.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::switches::{Switches, switches};

pub(super) type Plan = Arc<dyn ExecutionPlan>;

/// A physical optimizer rule. Rules are data, so that a variant of a rule differs only in what it
/// changes.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    /// Whether the rule applies in this session.
    pub(super) is_on: fn(&Switches) -> bool,
    /// Returns the optimized plan, or the same plan.
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

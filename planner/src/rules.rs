//! Rules that make plans better, and fit for cutting. One rule per file, each better-plan rule with its switch.

mod conjunct_order;
mod semi_join_first;
mod spread_collected_joins;
mod switches;

use std::sync::Arc;

use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use conjunct_order::ConjunctOrder;
use semi_join_first::SemiJoinFirst;
use spread_collected_joins::SpreadCollectedJoins;
pub use switches::Switches;

/// DataFusion's logical rules, and ours at their end: by then subqueries are joins and filters are where they belong.
#[must_use]
pub fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    rules.push(Arc::new(SemiJoinFirst));
    rules.push(Arc::new(ConjunctOrder));
    rules
}

/// DataFusion's physical rules with ours at their places.
#[must_use]
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    // Join modes must be final before `EnsureRequirements` adds the repartitions that they need.
    let after = rules.iter().position(|rule| rule.name() == "join_selection").map_or(0, |index| index + 1);
    rules.insert(after, Arc::new(SpreadCollectedJoins));
    rules
}

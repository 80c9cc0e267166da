//! Physical optimizer rules that make a plan fit for cutting. One rule per file.

mod spread_collected_joins;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use spread_collected_joins::SpreadCollectedJoins;

/// DataFusion's physical rules with ours at their places.
#[must_use]
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    // Join modes must be final before `EnsureRequirements` adds the repartitions that they need.
    let after = rules.iter().position(|rule| rule.name() == "join_selection").map_or(0, |index| index + 1);
    rules.insert(after, Arc::new(SpreadCollectedJoins));
    rules
}

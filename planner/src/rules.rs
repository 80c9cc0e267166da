//! Rules that make plans better, and fit for cutting. One rule per file, each better-plan rule with its switch.

mod build_side;
mod conjunct_order;
mod join_order;
mod keys_before_shuffle;
mod reduce_first;
mod semi_join_first;
mod spread_collected_joins;
mod switches;

use std::sync::Arc;

use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use build_side::BuildSide;
use conjunct_order::ConjunctOrder;
use join_order::JoinOrder;
use keys_before_shuffle::KeysBeforeShuffle;
use reduce_first::ReduceFirst;
use semi_join_first::SemiJoinFirst;
use spread_collected_joins::SpreadCollectedJoins;
pub use switches::{Switches, switches};

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
    let selection = rules.iter().position(|rule| rule.name() == "join_selection").unwrap_or(0);
    // Join modes must be final before `EnsureRequirements` adds the repartitions that they need.
    let ours: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 3] = [Arc::new(BuildSide), Arc::new(SpreadCollectedJoins), Arc::new(KeysBeforeShuffle)];
    rules.splice(selection + 1..selection + 1, ours);
    let before: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 2] = [Arc::new(JoinOrder), Arc::new(ReduceFirst)];
    rules.splice(selection..selection, before);
    rules
}

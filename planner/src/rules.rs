//! Rules that make plans better, and fit for cutting. One rule per file, each better-plan rule with its switch.

mod build_side;
mod conjunct_order;
mod join_order;
mod key_filter;
mod keys_before_shuffle;
mod reduce_first;
mod rule;
mod semi_join_first;
mod spread_collected_joins;
mod switches;

use std::sync::Arc;

use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use build_side::BUILD_SIDE;
use conjunct_order::ConjunctOrder;
use join_order::JOIN_ORDER;
use key_filter::KEY_FILTER;
use keys_before_shuffle::KEYS_BEFORE_SHUFFLE;
use reduce_first::REDUCE_FIRST;
use rule::Rule;
use semi_join_first::SemiJoinFirst;
use spread_collected_joins::SPREAD_COLLECTED_JOINS;
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
    let ours = |rule: Rule| -> Arc<dyn PhysicalOptimizerRule + Send + Sync> { Arc::new(rule) };
    // Join modes must be final before `EnsureRequirements` adds the repartitions that they need.
    rules.splice(selection + 1..selection + 1, [BUILD_SIDE, SPREAD_COLLECTED_JOINS, KEYS_BEFORE_SHUFFLE].map(ours));
    rules.splice(selection..selection, [JOIN_ORDER, REDUCE_FIRST].map(ours));
    let check = rules.iter().position(|rule| rule.name() == "SanityCheckPlan").unwrap_or(rules.len());
    rules.insert(check, ours(KEY_FILTER));
    rules
}

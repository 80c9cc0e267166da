//! Optimizer rules that make plans cheaper, and prepare them for the cut into stages. One file per
//! rule; each has its own switch, except that `prune_empty` obeys `adaptive` and
//! `spread_collected_joins` is always on. `ownership`, `rule`, `switches` and `testing` serve the
//! rules.

mod anti_join;
mod build_side;
mod conjunct_order;
mod inner_join_first;
mod join_order;
mod key_filter;
mod keys_before_shuffle;
mod ownership;
mod prune_empty;
mod reduce_first;
mod rule;
mod semi_join_first;
mod spread_collected_joins;
mod switches;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::join_selection::JoinSelection;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_optimizer::output_requirements::OutputRequirements;
use datafusion::physical_optimizer::projection_pushdown::ProjectionPushdown;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;

use anti_join::AntiJoin;
use build_side::BUILD_SIDE;
use conjunct_order::{CONJUNCT_SHAPE, ConjunctOrder};
use inner_join_first::INNER_JOIN_FIRST;
use join_order::{JOIN_ORDER, JOIN_ORDER_WHILE_RUNNING};
use key_filter::{KEY_FILTER, KEY_FILTER_WHILE_RUNNING};
use keys_before_shuffle::KEYS_BEFORE_SHUFFLE;
use prune_empty::PRUNE_EMPTY;
use reduce_first::REDUCE_FIRST;
use rule::Rule;
use semi_join_first::SemiJoinFirst;
use spread_collected_joins::SPREAD_COLLECTED_JOINS;
pub use switches::{Switches, switches};

use crate::workarounds::{guard_logical, guard_physical, last_logical};

/// Returns DataFusion's logical rules followed by ours, which need subqueries decorrelated and
/// filters pushed down.
#[must_use]
pub fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    guard_logical(&mut rules);
    rules.push(Arc::new(AntiJoin));
    rules.push(Arc::new(SemiJoinFirst));
    rules.push(Arc::new(ConjunctOrder));
    rules.push(last_logical());
    rules
}

/// A physical rule in the type that DataFusion takes.
pub type PhysicalRule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// Returns the rules that depend on row counts, for planning again while the query runs.
///
/// They expect a plan without exchanges directly below its joins.
pub(crate) fn rules_while_running() -> Vec<PhysicalRule> {
    vec![
        Arc::new(OutputRequirements::new_add_mode()),
        Arc::new(PRUNE_EMPTY),
        Arc::new(JOIN_ORDER_WHILE_RUNNING),
        Arc::new(JoinSelection::new()),
        Arc::new(BUILD_SIDE),
        Arc::new(SPREAD_COLLECTED_JOINS),
        Arc::new(EnsureRequirements::new()),
        Arc::new(ProjectionPushdown::new()),
        Arc::new(OutputRequirements::new_remove_mode()),
        Arc::new(KEY_FILTER_WHILE_RUNNING),
        Arc::new(SanityCheckPlan::new()),
    ]
}

/// Returns DataFusion's physical rules with ours inserted.
#[must_use]
pub fn physical_rules() -> Vec<PhysicalRule> {
    let mut rules = PhysicalOptimizer::new().rules;
    guard_physical(&mut rules);
    let selection = rules
        .iter()
        .position(|rule| rule.name() == "join_selection")
        .unwrap_or(0);
    let as_physical_rule = |rule: Rule| -> PhysicalRule { Arc::new(rule) };
    // Join modes must be final before `EnsureRequirements` adds the repartitions that they need.
    rules.splice(
        selection + 1..selection + 1,
        [BUILD_SIDE, SPREAD_COLLECTED_JOINS, KEYS_BEFORE_SHUFFLE].map(as_physical_rule),
    );
    rules.splice(
        selection..selection,
        [INNER_JOIN_FIRST, JOIN_ORDER, REDUCE_FIRST].map(as_physical_rule),
    );
    let check = rules
        .iter()
        .position(|rule| rule.name() == "SanityCheckPlan")
        .unwrap_or(rules.len());
    rules.splice(
        check..check,
        [KEY_FILTER, CONJUNCT_SHAPE].map(as_physical_rule),
    );
    rules
}

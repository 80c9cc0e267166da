//! Rules that keep DataFusion's wrong results from users. One fault per file, each with its
//! upstream issue and a test that fails once upstream has fixed it, so that the rule can be
//! removed.

mod bag_operations;
mod deep_filters;
mod filters_by_name;
mod floats;
mod group_keys;
mod grouping_sets;
mod guards;
mod joined_constants;
mod null_safe_joins;
mod overflow;
mod plan_rule;
mod row_counts;
mod scans;
mod series_rows;
mod single_row;
mod sort_keys;
mod subquery_logic;
mod unnesting;
mod windows;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::{AnalyzerRule, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use faisca_spark::casts::SparkCasts;

use bag_operations::BagOperations;
use deep_filters::ShallowFilterPushdown;
use filters_by_name::UniqueNamePushdown;
use floats::canonical::CanonicalFloat;
use floats::equality::{ConstantFloatEquality, FloatEquality};
use floats::min_max::TotalOrderExtreme;
use floats::not_a_number::{FLOAT_FILTERS_OF_SCANS, INEXACT_FLOAT_BOUNDS};
use floats::top_groups::TOP_GROUPS_OF_FLOATS;
use group_keys::{WholeKeysDistinct, WholeKeysJoin};
use grouping_sets::GROUPING_SETS;
use guards::Guards;
use guards::merged_filters::MERGED_FILTERS;
use joined_constants::JOINED_CONSTANTS;
use null_safe_joins::{NullSafeCrossJoins, SingleEqualityKeys};
use overflow::{CheckedOperator, CheckedSum, Overflow};
use plan_rule::PlanRule;
use row_counts::ROW_COUNTS;
use series_rows::SERIES_ROWS;
use single_row::{SingleRow, SingleValue};
use sort_keys::WholeSortKeys;
use subquery_logic::SubqueryLogic;
use unnesting::Unnesting;
use windows::by_bytes::WindowsByBytes;
use windows::moving::{MovingFunction, MovingTotals};
use windows::sendable::{OneWayFunction, SendableWindows};

/// Returns DataFusion's analyzer rules with ours around them.
#[must_use]
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(BagOperations), Arc::new(WindowsByBytes)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(Unnesting));
    rules.push(Arc::new(SparkCasts));
    rules.push(Arc::new(SubqueryLogic));
    rules.push(Arc::new(SingleRow));
    rules.push(Arc::new(Overflow));
    rules.push(Arc::new(MovingTotals));
    rules.push(Arc::new(SendableWindows));
    rules.push(Arc::new(Guards));
    rules.push(Arc::new(ConstantFloatEquality));
    rules
}

/// Returns the aggregate functions that these rules put into plans. Executors must have them too.
#[must_use]
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = vec![
        Arc::new(AggregateUDF::from(SingleValue::default())),
        Arc::new(AggregateUDF::from(CheckedSum::default())),
        Arc::new(AggregateUDF::from(TotalOrderExtreme::min())),
        Arc::new(AggregateUDF::from(TotalOrderExtreme::max())),
    ];
    functions.extend(MovingFunction::all().map(|moving| Arc::new(AggregateUDF::from(moving))));
    functions
}

/// Returns the window functions that these rules put into plans.
#[must_use]
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    let functions = OneWayFunction::all().into_iter();
    functions
        .map(|function| Arc::new(WindowUDF::from(function)))
        .collect()
}

/// Returns the scalar functions that these rules put into plans.
#[must_use]
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let checked = CheckedOperator::ALL.into_iter().map(ScalarUDF::from);
    let canonical = CanonicalFloat::ALL.into_iter().map(ScalarUDF::from);
    checked.chain(canonical).map(Arc::new).collect()
}

/// Puts our rules in the place of the logical rules that they guard.
pub(crate) fn guard_logical(rules: &mut [Arc<dyn OptimizerRule + Send + Sync>]) {
    for rule in rules {
        match rule.name() {
            "eliminate_cross_join" => *rule = Arc::new(NullSafeCrossJoins::default()),
            "eliminate_duplicated_expr" => *rule = Arc::new(WholeSortKeys::default()),
            "eliminate_join" => *rule = Arc::new(WholeKeysJoin::default()),
            "replace_distinct_aggregate" => *rule = Arc::new(WholeKeysDistinct::default()),
            "extract_equijoin_predicate" => *rule = Arc::new(SingleEqualityKeys::default()),
            _ => {}
        }
    }
}

/// Returns the rule that must follow all other logical rules.
pub(crate) fn last_logical() -> Arc<dyn OptimizerRule + Send + Sync> {
    Arc::new(FloatEquality)
}

/// Puts our rules around the physical rules that they guard, before them, and before the last
/// check.
pub(crate) fn guard_physical(rules: &mut Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) {
    let as_physical_rule =
        |rule: PlanRule| -> Arc<dyn PhysicalOptimizerRule + Send + Sync> { Arc::new(rule) };
    for rule in rules.iter_mut() {
        if rule.name().starts_with("FilterPushdown") {
            let shallow = ShallowFilterPushdown {
                rule: Arc::clone(rule),
            };
            *rule = Arc::new(UniqueNamePushdown {
                rule: Arc::new(shallow),
            });
        }
    }
    let first = [
        GROUPING_SETS,
        JOINED_CONSTANTS,
        ROW_COUNTS,
        INEXACT_FLOAT_BOUNDS,
        MERGED_FILTERS,
    ];
    rules.splice(0..0, first.map(as_physical_rule));
    let check = rules
        .iter()
        .position(|rule| rule.name() == "SanityCheckPlan");
    let check = check.unwrap_or(rules.len());
    let last = [TOP_GROUPS_OF_FLOATS, SERIES_ROWS, FLOAT_FILTERS_OF_SCANS];
    rules.splice(check..check, last.map(as_physical_rule));
}

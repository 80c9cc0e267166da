//! Rules that keep DataFusion's wrong results from users. One fault per file, each with its
//! upstream issue and a test that fails once upstream has fixed it, so that the rule can be
//! removed.

mod bag_operations;
mod deep_filters;
mod filters_by_name;
mod floats;
mod grouping_sets;
mod guards;
mod null_safe_joins;
mod overflow;
mod row_counts;
mod scans;
mod series_rows;
mod single_row;
mod subquery_logic;
mod windows;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::{AnalyzerRule, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;

use bag_operations::BagOperations;
use deep_filters::WhereFiltersAreShallow;
use filters_by_name::WhereNamesAreUnique;
use floats::min_max::TotalOrderExtreme;
use floats::not_a_number::{FloatFiltersOfScans, InexactFloatBounds};
use floats::top_groups::TopGroupsOfFloats;
use grouping_sets::GroupingSets;
use guards::Guards;
use guards::merged_filters::MergedFilters;
use null_safe_joins::{CrossJoinsApartFromNullSafe, KeysOfOneEquality};
use overflow::{Checked, CheckedSum, Overflow};
use row_counts::RowCounts;
use series_rows::SeriesRows;
use single_row::{SingleRow, SingleValue};
use subquery_logic::SubqueryLogic;
use windows::by_bytes::WindowsByBytes;
use windows::moving::{Moving, MovingTotals};
use windows::sent::{OneWay, SentWindows};

/// DataFusion's analyzer rules with ours around them.
#[must_use]
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(BagOperations), Arc::new(WindowsByBytes)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(SubqueryLogic));
    rules.push(Arc::new(SingleRow));
    rules.push(Arc::new(Overflow));
    rules.push(Arc::new(MovingTotals));
    rules.push(Arc::new(SentWindows));
    rules.push(Arc::new(Guards));
    rules
}

/// Functions that these rules put into plans. Executors must have them too.
#[must_use]
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = vec![
        Arc::new(AggregateUDF::from(SingleValue::default())),
        Arc::new(AggregateUDF::from(CheckedSum::default())),
        Arc::new(AggregateUDF::from(TotalOrderExtreme::min())),
        Arc::new(AggregateUDF::from(TotalOrderExtreme::max())),
    ];
    functions.extend(Moving::all().map(|moving| Arc::new(AggregateUDF::from(moving))));
    functions
}

/// As [`aggregate_functions`], of windows.
#[must_use]
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    let functions = OneWay::all().into_iter();
    functions
        .map(|function| Arc::new(WindowUDF::from(function)))
        .collect()
}

/// As [`aggregate_functions`], of one row each.
#[must_use]
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    Checked::ALL
        .map(|checked| Arc::new(ScalarUDF::from(checked)))
        .to_vec()
}

/// Puts our rules in the place of the logical rules that they guard.
pub(crate) fn guard_logical(rules: &mut [Arc<dyn OptimizerRule + Send + Sync>]) {
    for rule in rules {
        match rule.name() {
            "eliminate_cross_join" => *rule = Arc::new(CrossJoinsApartFromNullSafe::default()),
            "extract_equijoin_predicate" => *rule = Arc::new(KeysOfOneEquality::default()),
            _ => {}
        }
    }
}

/// Puts our rules in the place of the physical rules that they guard.
pub(crate) fn guard_physical(rules: &mut Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) {
    for rule in rules.iter_mut() {
        if rule.name().starts_with("FilterPushdown") {
            let shallow = WhereFiltersAreShallow {
                rule: Arc::clone(rule),
            };
            *rule = Arc::new(WhereNamesAreUnique {
                rule: Arc::new(shallow),
            });
        }
    }
    rules.insert(0, Arc::new(MergedFilters));
    rules.insert(0, Arc::new(InexactFloatBounds));
    rules.insert(0, Arc::new(RowCounts));
    rules.insert(0, Arc::new(GroupingSets));
    let check = rules
        .iter()
        .position(|rule| rule.name() == "SanityCheckPlan");
    let check = check.unwrap_or(rules.len());
    rules.insert(check, Arc::new(FloatFiltersOfScans));
    rules.insert(check, Arc::new(SeriesRows));
    rules.insert(check, Arc::new(TopGroupsOfFloats));
}

//! The fraction of rows for which a predicate holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

use crate::cost::{
    EQUALITY_SELECTIVITY, HAVING_SELECTIVITY, IN_LIST_SELECTIVITY_MAX, IS_NULL_SELECTIVITY,
    LIKE_SELECTIVITY, SELECTIVITY_MIN, UNKNOWN_SELECTIVITY,
};
use crate::physical::column_index;
use crate::statistics::{ColumnValues, Estimate, scalar_as_number};

/// Returns the fraction of `input`'s rows for which `predicate` holds, more than 0 and at most 1.
pub(crate) fn selectivity(predicate: &Arc<dyn PhysicalExpr>, input: &Estimate) -> f64 {
    let mut product = 1.0;
    // The lower and the upper bound of a column are not independent: they form one interval.
    let mut intervals: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for conjunct in split_conjunction(predicate) {
        match column_bound(conjunct, input) {
            Some((column, low, high)) => {
                let interval = intervals
                    .entry(column)
                    .or_insert((f64::NEG_INFINITY, f64::INFINITY));
                *interval = (interval.0.max(low), interval.1.min(high));
            }
            None => product *= conjunct_selectivity(conjunct, input),
        }
    }
    for (column, (low, high)) in intervals {
        if let Some((first, last)) = input.columns[column].range {
            let width = (last - first).max(f64::MIN_POSITIVE);
            product *= ((high.min(last) - low.max(first)) / width).clamp(0.0, 1.0);
        }
    }
    product.clamp(SELECTIVITY_MIN, 1.0)
}

/// Returns the column and the bounds that a comparison with a constant gives it, if the column's
/// range is known.
fn column_bound(conjunct: &Arc<dyn PhysicalExpr>, input: &Estimate) -> Option<(usize, f64, f64)> {
    let comparison = conjunct.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (comparison.left(), comparison.right());
    let (column, operator, value) = match (cast_column_index(left), cast_column_index(right)) {
        (Some(column), None) => (column, *comparison.op(), constant(right)?),
        (None, Some(column)) => (column, comparison.op().swap()?, constant(left)?),
        _ => return None,
    };
    input.columns.get(column)?.range?;
    match operator {
        Operator::Lt | Operator::LtEq => Some((column, f64::NEG_INFINITY, value)),
        Operator::Gt | Operator::GtEq => Some((column, value, f64::INFINITY)),
        _ => None,
    }
}

fn conjunct_selectivity(conjunct: &Arc<dyn PhysicalExpr>, input: &Estimate) -> f64 {
    let values = |expr: &Arc<dyn PhysicalExpr>| {
        cast_column_index(expr)
            .and_then(|index| input.columns.get(index))
            .cloned()
            .unwrap_or_default()
    };
    if let Some(binary) = conjunct.downcast_ref::<BinaryExpr>() {
        let (left, right) = (binary.left(), binary.right());
        return match binary.op() {
            Operator::And => selectivity(conjunct, input),
            Operator::Or => {
                (conjunct_selectivity(left, input) + conjunct_selectivity(right, input)).min(1.0)
            }
            Operator::Eq | Operator::IsNotDistinctFrom => {
                equality_selectivity(&values(left), &values(right))
            }
            Operator::NotEq | Operator::IsDistinctFrom => {
                1.0 - equality_selectivity(&values(left), &values(right))
            }
            _ => comparison_selectivity(conjunct, input),
        };
    }
    if let Some(list) = conjunct.downcast_ref::<InListExpr>() {
        let value_selectivity =
            equality_selectivity(&values(list.expr()), &ColumnValues::default());
        let list_selectivity =
            (value_selectivity * list.list().len() as f64).min(IN_LIST_SELECTIVITY_MAX);
        return if list.negated() {
            1.0 - list_selectivity
        } else {
            list_selectivity
        };
    }
    if let Some(pattern) = conjunct.downcast_ref::<LikeExpr>() {
        return if pattern.negated() {
            1.0 - LIKE_SELECTIVITY
        } else {
            LIKE_SELECTIVITY
        };
    }
    if let Some(negation) = conjunct.downcast_ref::<NotExpr>() {
        return 1.0 - conjunct_selectivity(negation.arg(), input);
    }
    if conjunct.is::<IsNullExpr>() {
        return IS_NULL_SELECTIVITY;
    }
    if conjunct.is::<IsNotNullExpr>() {
        return 1.0 - IS_NULL_SELECTIVITY;
    }
    UNKNOWN_SELECTIVITY
}

/// Returns the selectivity of a comparison whose operands' ranges are unknown.
fn comparison_selectivity(comparison: &Arc<dyn PhysicalExpr>, input: &Estimate) -> f64 {
    let reads_aggregate = collect_columns(comparison).iter().any(|column| {
        input
            .columns
            .get(column.index())
            .is_some_and(|values| values.is_aggregate)
    });
    if reads_aggregate {
        HAVING_SELECTIVITY
    } else {
        UNKNOWN_SELECTIVITY
    }
}

fn equality_selectivity(left: &ColumnValues, right: &ColumnValues) -> f64 {
    left.distinct
        .into_iter()
        .chain(right.distinct)
        .reduce(f64::max)
        .map_or(EQUALITY_SELECTIVITY, |distinct| 1.0 / distinct)
}

/// Returns the index of a column, perhaps below casts.
fn cast_column_index(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    match expr.downcast_ref::<CastExpr>() {
        Some(cast) => cast_column_index(cast.expr()),
        None => column_index(expr),
    }
}

fn constant(expr: &Arc<dyn PhysicalExpr>) -> Option<f64> {
    scalar_as_number(expr.downcast_ref::<Literal>()?.value())
}

//! The part of rows for which a condition holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

use super::{Estimate, Values, number};
use crate::physical::column_index;

/// Of a condition of which nothing is known.
pub(super) const UNKNOWN: f64 = 0.33;
/// Of a condition on a group: who asks for groups by what they add up to asks for the exceptions.
const HAVING: f64 = 0.02;
/// Of equality with a value, where nobody knows how many there are.
const EQUALITY: f64 = 0.1;
/// Of a pattern.
const PATTERN: f64 = 0.1;
/// Of nulls.
const NULL: f64 = 0.05;
/// Nothing is as certain as that.
const LEAST: f64 = 1e-6;

/// The part of `input`'s rows for which `predicate` holds, more than 0 and at most 1.
pub(crate) fn selectivity(predicate: &Arc<dyn PhysicalExpr>, input: &Estimate) -> f64 {
    let mut found = 1.0;
    // Two bounds of one column belong together.
    let mut bounds: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for condition in split_conjunction(predicate) {
        match bound(condition, input) {
            Some((column, low, high)) => {
                let of = bounds
                    .entry(column)
                    .or_insert((f64::NEG_INFINITY, f64::INFINITY));
                *of = (of.0.max(low), of.1.min(high));
            }
            None => found *= one(condition, input),
        }
    }
    for (column, (low, high)) in bounds {
        if let Some((first, last)) = input.columns[column].range {
            let width = (last - first).max(f64::MIN_POSITIVE);
            found *= ((high.min(last) - low.max(first)) / width).clamp(0.0, 1.0);
        }
    }
    found.clamp(LEAST, 1.0)
}

/// The bounds that a comparison with a constant gives a column whose range is known.
fn bound(condition: &Arc<dyn PhysicalExpr>, input: &Estimate) -> Option<(usize, f64, f64)> {
    let comparison = condition.downcast_ref::<BinaryExpr>()?;
    let (column, op, value) = match (column(comparison.left()), column(comparison.right())) {
        (Some(column), None) => (column, *comparison.op(), constant(comparison.right())?),
        (None, Some(column)) => (
            column,
            comparison.op().swap()?,
            constant(comparison.left())?,
        ),
        _ => return None,
    };
    input.columns.get(column)?.range?;
    match op {
        Operator::Lt | Operator::LtEq => Some((column, f64::NEG_INFINITY, value)),
        Operator::Gt | Operator::GtEq => Some((column, value, f64::INFINITY)),
        _ => None,
    }
}

fn one(condition: &Arc<dyn PhysicalExpr>, input: &Estimate) -> f64 {
    let values = |expr: &Arc<dyn PhysicalExpr>| {
        column(expr)
            .and_then(|index| input.columns.get(index))
            .cloned()
            .unwrap_or_default()
    };
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        let sides = || (values(binary.left()), values(binary.right()));
        return match binary.op() {
            Operator::And => selectivity(condition, input),
            Operator::Or => (one(binary.left(), input) + one(binary.right(), input)).min(1.0),
            Operator::Eq | Operator::IsNotDistinctFrom => equality(&sides()),
            Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equality(&sides()),
            _ => compared(condition, input),
        };
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let each = equality(&(values(list.expr()), Values::default()));
        let found = (each * list.list().len() as f64).min(0.5);
        return if list.negated() { 1.0 - found } else { found };
    }
    if let Some(like) = condition.downcast_ref::<LikeExpr>() {
        return if like.negated() {
            1.0 - PATTERN
        } else {
            PATTERN
        };
    }
    if let Some(not) = condition.downcast_ref::<NotExpr>() {
        return 1.0 - one(not.arg(), input);
    }
    if condition.is::<IsNullExpr>() {
        return NULL;
    }
    if condition.is::<IsNotNullExpr>() {
        return 1.0 - NULL;
    }
    UNKNOWN
}

fn compared(condition: &Arc<dyn PhysicalExpr>, input: &Estimate) -> f64 {
    let aggregated = collect_columns(condition).iter().any(|column| {
        input
            .columns
            .get(column.index())
            .is_some_and(|values| values.aggregated)
    });
    if aggregated { HAVING } else { UNKNOWN }
}

fn equality((left, right): &(Values, Values)) -> f64 {
    left.distinct
        .into_iter()
        .chain(right.distinct)
        .reduce(f64::max)
        .map_or(EQUALITY, |distinct| 1.0 / distinct)
}

fn column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    match expr.downcast_ref::<CastExpr>() {
        Some(cast) => column(cast.expr()),
        None => column_index(expr),
    }
}

fn constant(expr: &Arc<dyn PhysicalExpr>) -> Option<f64> {
    number(expr.downcast_ref::<Literal>()?.value())
}

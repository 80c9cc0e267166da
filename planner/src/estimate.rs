//! How many rows an operator will yield, and how many distinct values its columns hold.
//!
//! Leaves tell exact counts (Parquet footers, finished stages); what lies between is estimated by the textbook: conditions
//! are independent, values evenly spread, foreign keys find their row. Numbers are `f64`: they are compared, never counted by.

mod selectivity;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, JoinSide, JoinType, ScalarValue};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::JoinOnRef;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, StatisticsArgs, StatisticsContext,
};

use crate::exchange::ExchangeReadExec;
use crate::key_filter::{KeyFilterExec, KeySetExec};
use crate::physical::column_index;
pub(crate) use selectivity::selectivity;

/// To put a row into a hash table costs so much more than to look one up.
pub(crate) const BUILD_COST: f64 = 3.0;

/// Rows of a leaf that tells nothing.
const UNKNOWN_ROWS: f64 = 1_000_000.0;
/// Groups by values of which nothing is known, as a part of the rows.
const GROUPS: f64 = 0.1;
/// Bytes of a row in a file whose rows nobody has counted.
const ROW_BYTES: f64 = 100.0;
/// A key whose values fill this part of their range is a table's own key rather than a sample of another's.
const DENSE: f64 = 0.05;

/// What is expected of an operator's output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) rows: f64,
    /// Rows before any condition was applied: what the distinct values are values of.
    pub(crate) base_rows: f64,
    pub(crate) columns: Vec<Values>,
}

/// What is known of a column's values, before any condition was applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Values {
    /// Different values, at most.
    pub(crate) distinct: Option<f64>,
    /// Smallest and largest, of numbers and dates.
    pub(crate) range: Option<(f64, f64)>,
    /// They are what an aggregate makes of its groups.
    pub(crate) aggregated: bool,
    /// Different values that are left after joins, at most.
    pub(crate) left: Option<f64>,
    /// The part of rows that passed a filter by the keys that this column is yet to be joined with.
    pub(crate) passed: Option<f64>,
}

impl Values {
    fn of(of: &DataType, told: &ColumnStatistics, rows: f64) -> Self {
        let bound = |value: &Precision<ScalarValue>| value.get_value().and_then(number);
        let range = bound(&told.min_value).zip(bound(&told.max_value));
        let span = range
            .filter(|_| !of.is_floating())
            .map(|(low, high)| high - low + 1.0);
        let counted = told.distinct_count.get_value().map(|count| *count as f64);
        Self {
            distinct: counted
                .or(span)
                .map(|distinct| distinct.clamp(1.0, rows.max(1.0))),
            range,
            ..Self::default()
        }
    }
}

impl Estimate {
    fn after(self, selectivity: f64) -> Self {
        Self {
            rows: (self.rows * selectivity).max(1.0),
            ..self
        }
    }

    /// What is known of these columns; of `None`, an expression, nothing is.
    pub(crate) fn select(&self, columns: impl IntoIterator<Item = Option<usize>>) -> Vec<Values> {
        columns
            .into_iter()
            .map(|column| {
                column
                    .and_then(|index| self.columns.get(index).cloned())
                    .unwrap_or_default()
            })
            .collect()
    }
}

/// A number or a date as a number of its own unit.
pub(crate) fn number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Date32(days) => days.map(f64::from),
        ScalarValue::Decimal128(unscaled, _, scale) => {
            unscaled.map(|unscaled| unscaled as f64 / 10f64.powi(i32::from(*scale)))
        }
        ScalarValue::TimestampSecond(Some(at), _)
        | ScalarValue::TimestampMillisecond(Some(at), _)
        | ScalarValue::TimestampMicrosecond(Some(at), _)
        | ScalarValue::TimestampNanosecond(Some(at), _)
        | ScalarValue::Date64(Some(at)) => Some(*at as f64),
        value if value.data_type().is_numeric() && !value.is_null() => {
            match value.cast_to(&DataType::Float64) {
                Ok(ScalarValue::Float64(found)) => found,
                _ => None,
            }
        }
        _ => None,
    }
}

/// What `plan` will yield, all partitions together.
pub(crate) fn estimate(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let input = estimate(filter.input());
        let part = selectivity(filter.predicate(), &input);
        let columns = filter
            .projection()
            .as_ref()
            .map(|kept| input.select(kept.iter().map(|index| Some(*index))));
        let found = input.after(part);
        return Estimate {
            columns: columns.unwrap_or_else(|| found.columns.clone()),
            ..found
        };
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let input = estimate(projection.input());
        let columns = input.select(
            projection
                .expr()
                .iter()
                .map(|projected| column_index(&projected.expr)),
        );
        return Estimate { columns, ..input };
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return groups(aggregate);
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let found = joined(join.left(), join.right(), join.on(), *join.join_type());
        let columns = join
            .projection
            .as_ref()
            .map(|kept| found.select(kept.iter().map(|index| Some(*index))));
        let part = join.filter().map_or(1.0, |_| selectivity::UNKNOWN);
        let found = if matches!(join.join_type(), JoinType::Inner) {
            found.after(part)
        } else {
            found
        };
        return Estimate {
            columns: columns.unwrap_or_else(|| found.columns.clone()),
            ..found
        };
    }
    if let Some(filter) = plan.downcast_ref::<KeyFilterExec>() {
        let mut found = estimate(filter.input()).after(filter.part());
        found
            .columns
            .iter_mut()
            .skip(filter.key())
            .take(1)
            .for_each(|key| key.passed = Some(filter.part()));
        return found;
    }
    if let Some(known) = plan
        .downcast_ref::<ExchangeReadExec>()
        .and_then(ExchangeReadExec::known)
    {
        return known.as_ref().clone();
    }
    if plan.is::<KeySetExec>() {
        let sets = plan.output_partitioning().partition_count() as f64;
        return Estimate {
            rows: sets,
            base_rows: sets,
            columns: vec![Values::default()],
        };
    }
    others(plan)
}

fn others(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        return joined(join.left(), join.right(), join.on(), join.join_type());
    }
    let children: Vec<Estimate> = plan.children().into_iter().map(estimate).collect();
    let unknown = |rows: f64| Estimate {
        rows,
        base_rows: rows,
        columns: vec![Values::default(); plan.schema().fields().len()],
    };
    match &children[..] {
        [] => leaf(plan),
        [left, right] if plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() => {
            unknown(left.rows * right.rows)
        }
        all if plan.is::<UnionExec>() => unknown(all.iter().map(|child| child.rows).sum()),
        [child] => {
            let rows = plan
                .fetch()
                .map_or(child.rows, |fetch| child.rows.min(fetch as f64));
            let same = plan.schema().fields().len() == child.columns.len();
            let columns = if same {
                child.columns.clone()
            } else {
                unknown(rows).columns
            };
            Estimate {
                rows,
                base_rows: child.base_rows,
                columns,
            }
        }
        all => unknown(all.iter().map(|child| child.rows).fold(0.0, f64::max)),
    }
}

fn leaf(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    let schema = plan.schema();
    let Ok(told) = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()) else {
        return Estimate {
            rows: UNKNOWN_ROWS,
            base_rows: UNKNOWN_ROWS,
            columns: vec![Values::default(); schema.fields().len()],
        };
    };
    let bytes = || {
        told.total_byte_size
            .get_value()
            .map(|bytes| *bytes as f64 / ROW_BYTES)
    };
    let rows = told
        .num_rows
        .get_value()
        .map(|rows| *rows as f64)
        .or_else(bytes)
        .unwrap_or(UNKNOWN_ROWS);
    let columns = schema.fields().iter().enumerate();
    let columns = columns.map(|(index, field)| {
        told.column_statistics
            .get(index)
            .map_or_else(Values::default, |c| Values::of(field.data_type(), c, rows))
    });
    Estimate {
        rows: rows.max(1.0),
        base_rows: rows.max(1.0),
        columns: columns.collect(),
    }
}

fn groups(aggregate: &AggregateExec) -> Estimate {
    let input = estimate(aggregate.input());
    let mut columns = input.select(
        aggregate
            .group_expr()
            .expr()
            .iter()
            .map(|(key, _)| column_index(key)),
    );
    let groups = distinct(&columns, input.base_rows).unwrap_or(input.rows * GROUPS);
    let rows = if columns.is_empty() {
        1.0
    } else {
        groups.min(input.rows).max(1.0)
    };
    columns.resize(
        aggregate.schema().fields().len(),
        Values {
            aggregated: true,
            ..Values::default()
        },
    );
    Estimate {
        rows,
        base_rows: groups.max(1.0),
        columns,
    }
}

fn joined(
    left: &Arc<dyn ExecutionPlan>,
    right: &Arc<dyn ExecutionPlan>,
    on: JoinOnRef,
    join_type: JoinType,
) -> Estimate {
    let (mut left, mut right) = (estimate(left), estimate(right));
    let keys = (
        left.select(on.iter().map(|(key, _)| column_index(key))),
        right.select(on.iter().map(|(_, key)| column_index(key))),
    );
    // What a filter by the other side's keys dropped would have found no match.
    let passed: f64 = keys
        .0
        .iter()
        .chain(&keys.1)
        .filter_map(|key| key.passed)
        .product();
    let values = key_values((&keys.0, left.base_rows), (&keys.1, right.base_rows)) * passed;
    let matches = left.rows * right.rows / values;
    let present = (
        values_left(&keys.0, left.rows),
        values_left(&keys.1, right.rows),
    );
    let found = |outer: &Estimate, present: f64| (present / values).min(1.0) * outer.rows;
    let rows = match join_type {
        JoinType::Inner => matches,
        JoinType::Left => matches.max(left.rows),
        JoinType::Right => matches.max(right.rows),
        JoinType::Full => matches.max(left.rows).max(right.rows),
        JoinType::LeftSemi => found(&left, present.1),
        JoinType::RightSemi => found(&right, present.0),
        JoinType::LeftAnti => (left.rows - found(&left, present.1)).max(left.rows * GROUPS),
        JoinType::RightAnti => (right.rows - found(&right, present.0)).max(right.rows * GROUPS),
        JoinType::LeftMark => left.rows,
        JoinType::RightMark => right.rows,
    };
    let is_both = matches!(
        join_type,
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi
    );
    let both = Some(present.0.min(present.1)).filter(|_| is_both && on.len() == 1);
    for (l, r) in on {
        let keys = [(&mut left, column_index(l)), (&mut right, column_index(r))];
        for key in keys
            .into_iter()
            .filter_map(|(side, index)| side.columns.get_mut(index?))
        {
            key.passed = None;
            key.left = both.or(key.left);
        }
    }
    let sides = match join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Some(JoinSide::Left),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => Some(JoinSide::Right),
        _ => None,
    };
    let mut columns = match sides {
        Some(JoinSide::Left) => left.columns.clone(),
        Some(_) => right.columns.clone(),
        None => left.columns.iter().chain(&right.columns).cloned().collect(),
    };
    if matches!(join_type, JoinType::LeftMark | JoinType::RightMark) {
        columns.push(Values::default());
    }
    let base_rows = match sides {
        Some(JoinSide::Left) => left.base_rows,
        Some(_) => right.base_rows,
        None => left.base_rows.max(right.base_rows),
    };
    Estimate {
        rows: rows.max(1.0),
        base_rows: base_rows.max(1.0),
        columns,
    }
}

/// Different values that the key of these many rows has, at most.
fn values_left(keys: &[Values], rows: f64) -> f64 {
    let [key] = keys else { return rows };
    key.left
        .or(key.distinct)
        .map_or(rows, |values| values.min(rows))
}

/// Different values of several columns together, at most as many as rows; `None` if one of them is unknown.
fn distinct(columns: &[Values], base_rows: f64) -> Option<f64> {
    let product: Option<f64> = columns.iter().map(|values| values.distinct).product();
    product.map(|product| product.min(base_rows).max(1.0))
}

/// Different values that the keys of two inputs, each with its base rows, may take: rows are multiplied by each other and
/// divided by this.
///
/// One of two tables usually owns the key and the other refers to it. The owner is the one with fewer values, unless those
/// are spread so thinly over their range that they must be a choice of somebody else's.
pub(crate) fn key_values(
    (left, left_rows): (&[Values], f64),
    (right, right_rows): (&[Values], f64),
) -> f64 {
    let (fewer, more, owner) = match (distinct(left, left_rows), distinct(right, right_rows)) {
        (Some(l), Some(r)) if l <= r => (l, r, left),
        (Some(l), Some(r)) => (r, l, right),
        _ => return left_rows.min(right_rows).max(1.0),
    };
    let range = if let [key] = owner { key.range } else { None };
    let dense = range.is_none_or(|(low, high)| fewer >= (high - low + 1.0) * DENSE);
    if dense { fewer } else { more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(distinct: f64, range: f64) -> Vec<Values> {
        vec![Values {
            distinct: Some(distinct),
            range: Some((1.0, range)),
            ..Values::default()
        }]
    }

    #[test]
    fn a_foreign_key_finds_its_row() {
        // Keys of orders fill a quarter of their range; there are four lines of each.
        let values = key_values((&key(15e6, 60e6), 15e6), (&key(60e6, 60e6), 60e6));
        assert_eq!(15e6 * 60e6 / values, 60e6);
        // By two columns, of which the smaller side has each pair once.
        let two = |rows: f64| ([key(2e5, 2e5), key(1e5, 1e5)].concat(), rows);
        let ((left, left_rows), (right, right_rows)) = (two(8e6), two(60e6));
        assert_eq!(
            8e6 * 60e6 / key_values((&left, left_rows), (&right, right_rows)),
            60e6
        );
    }

    #[test]
    fn a_choice_of_keys_is_no_owner_of_them() {
        // A thousand chosen users of a million, and ten lines of each user.
        let values = key_values((&key(1e3, 1e6), 1e3), (&key(1e6, 1e6), 1e7));
        assert_eq!(1e3 * 1e7 / values, 1e4);
    }

    #[test]
    fn of_text_the_smaller_table_owns_the_key() {
        let unknown = vec![Values::default()];
        assert_eq!(key_values((&unknown, 25.0), (&unknown, 1e5)), 25.0);
    }
}

//! Estimates the output of each operator from its inputs, and of each leaf from its statistics.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, StatisticsArgs, StatisticsContext,
};

use super::join::{distinct_values, estimate_join, estimate_pairs};
use super::selectivity::selectivity;
use crate::cost::{UNKNOWN_GROUPS_FRACTION, UNKNOWN_ROW_BYTES, UNKNOWN_ROWS, UNKNOWN_SELECTIVITY};
use crate::nodes::{ExchangeReadExec, KeyFilterExec, KeySetExec};
use crate::physical::column_index;
use crate::statistics::{ColumnValues, Estimate};

/// Estimates the output of `plan`, all partitions together.
pub(crate) fn estimate(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let input = estimate(filter.input());
        let selectivity = selectivity(filter.predicate(), &input);
        return input
            .scale_rows(selectivity)
            .project(filter.projection().as_deref());
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let input = estimate(projection.input());
        let indices = projection.expr().iter().map(|p| column_index(&p.expr));
        let columns = input.column_values(indices);
        return Estimate { columns, ..input };
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return estimate_aggregate(aggregate);
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return estimate_hash_join(join);
    }
    if let Some(filter) = plan.downcast_ref::<KeyFilterExec>() {
        return estimate_key_filter(filter);
    }
    if let Some(output) = plan
        .downcast_ref::<ExchangeReadExec>()
        .and_then(ExchangeReadExec::known_output)
    {
        return output.as_ref().clone();
    }
    if plan.is::<KeySetExec>() {
        // One row per partition: the encoded set.
        let sets = plan.output_partitioning().partition_count() as f64;
        return Estimate::with_unknown_columns(sets, 1);
    }
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        let sides = (estimate(join.left()), estimate(join.right()));
        return estimate_join(sides.0, sides.1, join.on(), join.join_type());
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return estimate_nested_loop_join(join);
    }
    estimate_by_children(plan)
}

/// Estimates an operator that has no estimate of its own.
fn estimate_by_children(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    let children: Vec<Estimate> = plan.children().into_iter().map(estimate).collect();
    let column_count = plan.schema().fields().len();
    let unknown = |rows: f64| Estimate::with_unknown_columns(rows, column_count);
    match &children[..] {
        [] => estimate_leaf(plan),
        [left, right] if plan.is::<CrossJoinExec>() => unknown(left.rows * right.rows),
        all if plan.is::<UnionExec>() => unknown(all.iter().map(|child| child.rows).sum()),
        [child] => {
            let rows = plan
                .fetch()
                .map_or(child.rows, |fetch| child.rows.min(fetch as f64));
            // With as many columns as its input, the operator most likely passes them through.
            let columns = if column_count == child.columns.len() {
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

fn estimate_leaf(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    let schema = plan.schema();
    let Ok(statistics) = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new())
    else {
        return Estimate::with_unknown_columns(UNKNOWN_ROWS, schema.fields().len());
    };
    let rows_by_size = || {
        let bytes = statistics.total_byte_size.get_value()?;
        Some(*bytes as f64 / UNKNOWN_ROW_BYTES)
    };
    let rows = statistics
        .num_rows
        .get_value()
        .map(|rows| *rows as f64)
        .or_else(rows_by_size)
        .unwrap_or(UNKNOWN_ROWS);
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        statistics
            .column_statistics
            .get(index)
            .map_or_else(ColumnValues::default, |column| {
                ColumnValues::from_statistics(field.data_type(), column, rows)
            })
    });
    Estimate {
        rows: rows.max(1.0),
        base_rows: rows.max(1.0),
        columns: columns.collect(),
    }
}

fn estimate_aggregate(aggregate: &AggregateExec) -> Estimate {
    let input = estimate(aggregate.input());
    let keys = aggregate.group_expr().expr().iter();
    let mut columns = input.column_values(keys.map(|(key, _)| column_index(key)));
    let groups =
        distinct_values(&columns, input.base_rows).unwrap_or(input.rows * UNKNOWN_GROUPS_FRACTION);
    let rows = if columns.is_empty() {
        1.0
    } else {
        groups.min(input.rows).max(1.0)
    };
    columns.resize(
        aggregate.schema().fields().len(),
        ColumnValues {
            is_aggregate: true,
            ..ColumnValues::default()
        },
    );
    Estimate {
        rows,
        base_rows: groups.max(1.0),
        columns,
    }
}

fn estimate_hash_join(join: &HashJoinExec) -> Estimate {
    let sides = (estimate(join.left()), estimate(join.right()));
    let joined = estimate_join(sides.0, sides.1, join.on(), *join.join_type());
    let is_filtered = join.filter().is_some() && *join.join_type() == JoinType::Inner;
    let joined = if is_filtered {
        joined.scale_rows(UNKNOWN_SELECTIVITY)
    } else {
        joined
    };
    joined.project(join.projection.as_deref())
}

fn estimate_nested_loop_join(join: &NestedLoopJoinExec) -> Estimate {
    let matched_fraction = match join.filter() {
        Some(_) => UNKNOWN_SELECTIVITY,
        None => 1.0,
    };
    let (left, right) = (estimate(join.left()), estimate(join.right()));
    let joined = estimate_pairs(left, right, *join.join_type(), matched_fraction);
    joined.project(join.projection().as_deref())
}

fn estimate_key_filter(filter: &KeyFilterExec) -> Estimate {
    let mut output = estimate(filter.input()).scale_rows(filter.selectivity());
    if let Some(key) = output.columns.get_mut(filter.key()) {
        key.key_filter_passed = Some(filter.selectivity());
    }
    output
}

//! Filters the large side of a join by the keys of its small side, where it is scanned ([`KeyFilterExec`]).
//!
//! A partitioned join spares moving the rows that find no match. A broadcast one drops them where they are scanned anyway,
//! but a bit is looked up faster than a hash table that no cache holds, so few enough must be left. It comes last, when it
//! is known where rows are shuffled: the small side's stage has two readers then, the join and the sets of its keys.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::reduce_first::{below, joined_from};
use super::rule::{Plan, Rule};
use crate::cost::{
    BLOOM_BITS_PER_KEY, CACHED_BUILD_ROWS_MAX, KEY_FILTER_BROADCAST_FRACTION_MIN,
    KEY_FILTER_FRACTION_MAX_SHUFFLED, KEY_FILTER_FRACTION_MAX_UNSHUFFLED, KEY_FILTER_RATIO_MIN,
    KEY_SET_BYTES_MAX,
};
use crate::determinism::is_repeatable;
use crate::estimate::estimate;
use crate::nodes::{KeyFilterExec, KeySetExec, MaterializeExec, Shape, has_places};
use crate::physical::{
    column_index, drops_unmatched, has_plain_keys, replace_children, replace_hash_joins, semi_join,
};

pub(super) const KEY_FILTER: Rule = Rule {
    name: "key_filter",
    is_on: |switches| switches.key_filter,
    rewrite: |plan, config| replace_hash_joins(plan, |join| filtered(join, config)),
};

/// The same for what is left of a statement that runs: filters whose keys are there already stay, and are enough.
pub(super) const KEY_FILTER_OF_REST: Rule = Rule {
    rewrite: |plan, config| {
        replace_hash_joins(plan, |join| {
            if is_filtered(join.left()) || is_filtered(join.right()) {
                Ok(None)
            } else {
                filtered(join, config)
            }
        })
    },
    ..KEY_FILTER
};

fn is_filtered(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<KeyFilterExec>() || plan.children().into_iter().any(is_filtered)
}

/// The join with its large side filtered; `None` where that gains nothing.
fn filtered(join: &HashJoinExec, config: &ConfigOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(large) = large_side(join, config) else {
        return Ok(None);
    };
    let sides = [join.left(), join.right()];
    let (small_side, large_side) = (sides[1 - large], sides[large]);
    let is_moved = large_side.is::<RepartitionExec>();
    // Its stage would not be shared, and made again it might hold other rows.
    if !is_repeatable(small_side) {
        return Ok(None);
    }
    let keys = join.on().iter().filter_map(|(l, r)| {
        if large == 1 {
            column_index(l).zip(column_index(r))
        } else {
            column_index(r).zip(column_index(l))
        }
    });
    let rows = estimate(large_side).rows;
    let mut best: Option<(f64, (usize, usize))> = None;
    for (small_key, large_key) in keys {
        let semi = semi_join(small_side, large_side, &[(small_key, large_key)])?;
        let part = estimate(&semi).rows / rows;
        if part
            <= if is_moved {
                KEY_FILTER_FRACTION_MAX_SHUFFLED
            } else {
                KEY_FILTER_FRACTION_MAX_UNSHUFFLED
            }
            && best.is_none_or(|(least, _)| part < least)
        {
            best = Some((part, (small_key, large_key)));
        }
    }
    let Some((part, (small_key, large_key))) = best else {
        return Ok(None);
    };
    let Some(shape) =
        shape(small_side, small_key).filter(|shape| is_moved || beats_join(*shape, join, config))
    else {
        return Ok(None);
    };
    let (kept, made) = read_twice(small_side)?;
    let again = reset_plan_states(made)?;
    let each: Arc<dyn ExecutionPlan> = Arc::new(KeySetExec::new(again, Some(small_key), shape));
    let together: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(each));
    let set: Arc<dyn ExecutionPlan> = Arc::new(KeySetExec::new(together, None, shape));
    let filter = |plan: &Arc<dyn ExecutionPlan>, key: usize| -> Arc<dyn ExecutionPlan> {
        Arc::new(KeyFilterExec::new(
            Arc::clone(&set),
            Arc::clone(plan),
            key,
            shape,
            part,
        ))
    };
    let lower = at_owner(large_side, large_key, &filter)?;
    let children = if large == 1 {
        vec![kept, lower]
    } else {
        vec![lower, kept]
    };
    replace_children(Arc::new(join.builder().build()?), children).map(Some)
}

/// The side that is worth filtering, 0 the left one.
fn large_side(join: &HashJoinExec, config: &ConfigOptions) -> Option<usize> {
    let sides = [join.left(), join.right()];
    let rows = sides.map(|side| estimate(side).rows);
    let large = usize::from(rows[1] >= rows[0]);
    let is_fit = match join.partition_mode() {
        PartitionMode::Partitioned => sides[large].is::<RepartitionExec>(),
        PartitionMode::CollectLeft => {
            large == 1
                && rows[0] > CACHED_BUILD_ROWS_MAX
                && sides[1].output_partitioning().partition_count() > 1
        }
        PartitionMode::Auto => false,
    };
    let broadcast_max = config.optimizer.hash_join_single_partition_threshold_rows as f64;
    let few = if *join.partition_mode() == PartitionMode::Partitioned {
        broadcast_max * KEY_FILTER_BROADCAST_FRACTION_MIN
    } else {
        broadcast_max
    };
    let is_worth_it = rows[large] >= few && rows[large] >= rows[1 - large] * KEY_FILTER_RATIO_MIN;
    (is_fit && is_worth_it && has_plain_keys(join) && drops_unmatched(*join.join_type(), large))
        .then_some(large)
}

/// Whether bits are looked up faster than the build side of a broadcast join, which is an array where its only key is dense.
fn beats_join(shape: Shape, join: &HashJoinExec, config: &ConfigOptions) -> bool {
    let Shape::Range { values, .. } = shape else {
        return false;
    };
    let density = estimate(join.left()).rows / values as f64;
    join.on().len() > 1 || density < config.execution.perfect_hash_join_min_key_density
}

/// The plan with its rows made in a stage of their own, which a shuffle makes of it anyway; and those rows.
fn read_twice(
    plan: &Arc<dyn ExecutionPlan>,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>)> {
    if let Some(collected) = plan
        .downcast_ref::<CoalescePartitionsExec>()
        .filter(|all| all.fetch().is_none())
    {
        let (_, made) = read_twice(collected.input())?;
        return Ok((
            replace_children(Arc::clone(plan), vec![Arc::clone(&made)])?,
            made,
        ));
    }
    let is_made = plan.is::<RepartitionExec>() || plan.is::<MaterializeExec>();
    let made = if is_made {
        Arc::clone(plan)
    } else {
        Arc::new(MaterializeExec::new(Arc::clone(plan)))
    };
    Ok((Arc::clone(&made), made))
}

/// The set for a key; `None` if it would be too large.
fn shape(plan: &Arc<dyn ExecutionPlan>, key: usize) -> Option<Shape> {
    let estimate = estimate(plan);
    let known = estimate.columns.get(key);
    let range = known
        .and_then(|values| values.range)
        .filter(|_| has_places(plan.schema().field(key).data_type()));
    let shapes = [
        range.map(|(low, high)| Shape::Range {
            low: low as i64,
            values: (high - low) as u64 + 1,
        }),
        Some(Shape::Bloom {
            bits: (estimate.rows * BLOOM_BITS_PER_KEY) as u64,
        }),
    ];
    shapes
        .into_iter()
        .flatten()
        .find(|shape| shape.bytes() <= KEY_SET_BYTES_MAX)
}

/// `plan` with the filter on the relation of it that owns the key, above that one's own conditions.
fn at_owner(plan: &Plan, key: usize, filter: &impl Fn(&Plan, usize) -> Plan) -> Result<Plan> {
    let lower = match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => joined_from(join, key),
        None if plan.is::<RepartitionExec>()
            || plan
                .downcast_ref::<CoalescePartitionsExec>()
                .is_some_and(|all| all.fetch().is_none()) =>
        {
            Some((0, key))
        }
        None if (plan.is::<ProjectionExec>() || plan.is::<FilterExec>()) && has_join(plan) => {
            below(plan, key).map(|key| (0, key))
        }
        None => None,
    };
    let Some((place, lower_key)) = lower else {
        return Ok(filter(plan, key));
    };
    let mut children: Vec<_> = plan.children().into_iter().cloned().collect();
    children[place] = at_owner(&children[place], lower_key, filter)?;
    replace_children(Arc::clone(plan), children)
}

fn has_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<HashJoinExec>() || matches!(plan.children()[..], [child] if has_join(child))
}

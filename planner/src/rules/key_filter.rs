//! Filters the large side of a join by the keys of its small side, where the large side is scanned
//! ([`KeyFilterExec`]).
//!
//! ```text
//!   HashJoinExec Partitioned                 HashJoinExec Partitioned
//!     RepartitionExec Hash                     RepartitionExec Hash
//!       small                          ──►       small
//!     RepartitionExec Hash                     RepartitionExec Hash
//!       large                                    KeyFilterExec
//!                                                  KeySetExec union ← KeySetExec per partition ← small
//!                                                  large
//! ```
//!
//! For a partitioned join this avoids shuffling rows that find no match. A broadcast join drops
//! such rows where they are scanned anyway, but testing a bit is faster than probing a hash table
//! that fits no cache; this gains only if few rows remain. The rule runs last, when it is known
//! where rows are shuffled: the stage of the small side then has two readers, the join and the key
//! set.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::ownership::{input_column, owning_side};
use super::rule::{Plan, Rule};
use crate::cost::{
    BLOOM_BITS_PER_KEY, CACHED_BUILD_ROWS_MAX, KEY_FILTER_BROADCAST_FRACTION_MIN,
    KEY_FILTER_FRACTION_MAX_SHUFFLED, KEY_FILTER_FRACTION_MAX_UNSHUFFLED, KEY_FILTER_RATIO_MIN,
    KEY_SET_BYTES_MAX,
};
use crate::determinism::is_repeatable;
use crate::estimate::estimate;
use crate::nodes::{KeyFilterExec, KeySetExec, KeySetLayout, MaterializeExec, is_range_type};
use crate::physical::{
    collected_input, column_index, drops_unmatched, has_plain_keys, replace_child,
    replace_children, replace_nodes, semi_join,
};

pub(super) const KEY_FILTER: Rule = Rule {
    name: "key_filter",
    is_on: |switches| switches.key_filter,
    rewrite: |plan, config| replace_nodes(plan, |join| filter_large_side(join, config)),
};

/// [`KEY_FILTER`] for planning again while the query runs: filters whose keys are computed already
/// stay, and suffice.
pub(super) const KEY_FILTER_WHILE_RUNNING: Rule = Rule {
    rewrite: |plan, config| {
        replace_nodes(plan, |join: &HashJoinExec| {
            if has_key_filter(join.left()) || has_key_filter(join.right()) {
                Ok(None)
            } else {
                filter_large_side(join, config)
            }
        })
    },
    ..KEY_FILTER
};

fn has_key_filter(plan: &Plan) -> bool {
    plan.is::<KeyFilterExec>() || plan.children().into_iter().any(has_key_filter)
}

/// A pair of join keys to filter by.
struct KeyPair {
    small: usize,
    large: usize,
    /// Fraction of the large side's rows that is expected to pass.
    selectivity: f64,
}

/// Returns the join with its large side filtered; `None` if that gains nothing.
fn filter_large_side(join: &HashJoinExec, config: &ConfigOptions) -> Result<Option<Plan>> {
    let Some(large) = find_large_side(join, config) else {
        return Ok(None);
    };
    let sides = [join.left(), join.right()];
    let (small_side, large_side) = (sides[1 - large], sides[large]);
    // A side that is not repeatable is not shared as one stage: computed twice, it might return
    // different rows.
    if !is_repeatable(small_side) {
        return Ok(None);
    }
    let Some(keys) = choose_keys(join, large)? else {
        return Ok(None);
    };
    let is_shuffled = large_side.is::<RepartitionExec>();
    let layout = choose_layout(small_side, keys.small)
        .filter(|layout| is_shuffled || is_faster_than_probing(*layout, join, config));
    let Some(layout) = layout else {
        return Ok(None);
    };
    let (join_side, shared) = materialize(small_side)?;
    let set = collect_keys(shared, keys.small, layout)?;
    let filtered = filter_owner(large_side, keys.large, &|plan, key| {
        let (set, input) = (Arc::clone(&set), Arc::clone(plan));
        Arc::new(KeyFilterExec::new(
            set,
            input,
            key,
            layout,
            keys.selectivity,
        ))
    })?;
    let children = if large == 1 {
        vec![join_side, filtered]
    } else {
        vec![filtered, join_side]
    };
    replace_children(Arc::new(join.builder().build()?), children).map(Some)
}

/// Finds the side that is worth filtering, 0 for the left one.
fn find_large_side(join: &HashJoinExec, config: &ConfigOptions) -> Option<usize> {
    let sides = [join.left(), join.right()];
    let rows = sides.map(|side| estimate(side).rows);
    let large = usize::from(rows[1] >= rows[0]);
    let broadcast_rows_max = config.optimizer.hash_join_single_partition_threshold_rows as f64;
    let (is_applicable, rows_min) = match join.partition_mode() {
        PartitionMode::Partitioned => (
            sides[large].is::<RepartitionExec>(),
            broadcast_rows_max * KEY_FILTER_BROADCAST_FRACTION_MIN,
        ),
        PartitionMode::CollectLeft => {
            let is_scanned_in_parallel = sides[1].output_partitioning().partition_count() > 1;
            let is_table_cached = rows[0] <= CACHED_BUILD_ROWS_MAX;
            (
                large == 1 && is_scanned_in_parallel && !is_table_cached,
                broadcast_rows_max,
            )
        }
        PartitionMode::Auto => return None,
    };
    let is_worth_it =
        rows[large] >= rows_min && rows[large] >= rows[1 - large] * KEY_FILTER_RATIO_MIN;
    let is_allowed = has_plain_keys(join) && drops_unmatched(*join.join_type(), large);
    (is_applicable && is_worth_it && is_allowed).then_some(large)
}

/// Chooses the pair of keys that lets the fewest rows pass; `None` if every pair lets too many
/// pass.
fn choose_keys(join: &HashJoinExec, large: usize) -> Result<Option<KeyPair>> {
    let sides = [join.left(), join.right()];
    let (small_side, large_side) = (sides[1 - large], sides[large]);
    let selectivity_max = if large_side.is::<RepartitionExec>() {
        KEY_FILTER_FRACTION_MAX_SHUFFLED
    } else {
        KEY_FILTER_FRACTION_MAX_UNSHUFFLED
    };
    let rows = estimate(large_side).rows;
    let mut best: Option<KeyPair> = None;
    for (left, right) in join.on() {
        let keys = [column_index(left), column_index(right)];
        let (Some(small), Some(large)) = (keys[1 - large], keys[large]) else {
            continue;
        };
        let semi = semi_join(small_side, large_side, &[(small, large)])?;
        let selectivity = estimate(&semi).rows / rows;
        if selectivity <= selectivity_max
            && best
                .as_ref()
                .is_none_or(|best| selectivity < best.selectivity)
        {
            best = Some(KeyPair {
                small,
                large,
                selectivity,
            });
        }
    }
    Ok(best)
}

/// Whether testing a bit is faster than probing the build side of a broadcast join.
///
/// It is not if the join's only key is dense: DataFusion then probes an array instead of a hash
/// table.
fn is_faster_than_probing(
    layout: KeySetLayout,
    join: &HashJoinExec,
    config: &ConfigOptions,
) -> bool {
    let KeySetLayout::Range { values, .. } = layout else {
        return false;
    };
    let density = estimate(join.left()).rows / values as f64;
    join.on().len() > 1 || density < config.execution.perfect_hash_join_min_key_density
}

/// Ends a stage at `plan`, so that its rows are computed once for two readers.
///
/// Returns the plan for the join, and the part of it whose rows both readers share. A shuffle ends
/// a stage anyway.
fn materialize(plan: &Plan) -> Result<(Plan, Plan)> {
    if let Some(input) = collected_input(plan) {
        let (_, shared) = materialize(input)?;
        return Ok((replace_child(plan, 0, Arc::clone(&shared))?, shared));
    }
    let ends_stage = plan.is::<RepartitionExec>() || plan.is::<MaterializeExec>();
    let shared = if ends_stage {
        Arc::clone(plan)
    } else {
        Arc::new(MaterializeExec::new(Arc::clone(plan)))
    };
    Ok((Arc::clone(&shared), shared))
}

/// Returns a plan of one row: the set of all values of `key` in `source`.
fn collect_keys(source: Plan, key: usize, layout: KeySetLayout) -> Result<Plan> {
    let source = reset_plan_states(source)?;
    let per_partition: Plan = Arc::new(KeySetExec::new(source, Some(key), layout));
    let collected: Plan = Arc::new(CoalescePartitionsExec::new(per_partition));
    Ok(Arc::new(KeySetExec::new(collected, None, layout)))
}

/// Chooses the layout of the set of a column's values; `None` if every layout would be too large.
fn choose_layout(plan: &Plan, key: usize) -> Option<KeySetLayout> {
    let estimate = estimate(plan);
    let range = estimate
        .columns
        .get(key)
        .and_then(|values| values.range)
        .filter(|_| is_range_type(plan.schema().field(key).data_type()));
    let range = range.map(|(low, high)| KeySetLayout::Range {
        low: low as i64,
        values: (high - low) as u64 + 1,
    });
    let bloom = KeySetLayout::Bloom {
        bits: (estimate.rows * BLOOM_BITS_PER_KEY) as u64,
    };
    range
        .into_iter()
        .chain([bloom])
        .find(|layout| layout.bytes() <= KEY_SET_BYTES_MAX)
}

/// Puts the filter on the relation of `plan` that owns the key, above that relation's own
/// predicates.
fn filter_owner(plan: &Plan, key: usize, filter: &impl Fn(&Plan, usize) -> Plan) -> Result<Plan> {
    let owner = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        owning_side(join, key)
    } else if plan.is::<RepartitionExec>() || collected_input(plan).is_some() {
        Some((0, key))
    } else if (plan.is::<ProjectionExec>() || plan.is::<FilterExec>()) && has_join(plan) {
        input_column(plan, key).map(|key| (0, key))
    } else {
        None
    };
    let Some((child, child_key)) = owner else {
        return Ok(filter(plan, key));
    };
    let filtered = filter_owner(plan.children()[child], child_key, filter)?;
    replace_child(plan, child, filtered)
}

/// Whether a hash join lies below `plan` with only one input on the way.
fn has_join(plan: &Plan) -> bool {
    plan.is::<HashJoinExec>() || matches!(plan.children()[..], [child] if has_join(child))
}

#[cfg(test)]
mod tests {
    use datafusion::common::JoinType;

    use super::*;
    use crate::rules::testing::{join, optimize, relation, shuffle};

    fn shuffled(small: f64, large: f64, join_type: JoinType) -> String {
        let (small, large) = (shuffle(relation(0, small)), shuffle(relation(1, large)));
        let plan = join(small, large, join_type, PartitionMode::Partitioned);
        optimize(&KEY_FILTER, plan)
    }

    #[test]
    fn the_large_side_of_a_partitioned_join_is_filtered_below_its_shuffle() {
        let expected = "HashJoinExec: mode=Partitioned, join_type=Inner\
            \n  RepartitionExec: partitioning=Hash([k@0]\
            \n    ExchangeReadExec: s0 Forward\
            \n  RepartitionExec: partitioning=Hash([k@0]\
            \n    KeyFilterExec: k@0\
            \n      KeySetExec: union\
            \n        CoalescePartitionsExec\
            \n          KeySetExec: k@0\
            \n            RepartitionExec: partitioning=Hash([k@0]\
            \n              ExchangeReadExec: s0 Forward\
            \n      ExchangeReadExec: s1 Forward";
        assert_eq!(shuffled(1e3, 1e7, JoinType::Inner), expected);
    }

    #[test]
    fn a_broadcast_join_is_filtered_only_if_its_hash_table_fits_no_cache() {
        let optimized = |small: f64| {
            let plan = join(
                Arc::new(CoalescePartitionsExec::new(relation(0, small))),
                relation(1, 1e7),
                JoinType::Inner,
                PartitionMode::CollectLeft,
            );
            optimize(&KEY_FILTER, plan)
        };
        let expected = "HashJoinExec: mode=CollectLeft, join_type=Inner\
            \n  CoalescePartitionsExec\
            \n    MaterializeExec\
            \n      ExchangeReadExec: s0 Forward\
            \n  KeyFilterExec: k@0";
        assert!(optimized(1e5).starts_with(expected), "{}", optimized(1e5));
        assert!(!optimized(1e4).contains("KeyFilterExec"));
    }

    #[test]
    fn a_large_side_is_not_filtered_if_its_unmatched_rows_are_returned_or_most_rows_match() {
        for (small, join_type) in [(1e3, JoinType::Right), (9e5, JoinType::Inner)] {
            assert!(!shuffled(small, 1e7, join_type).contains("KeyFilterExec"));
        }
    }
}

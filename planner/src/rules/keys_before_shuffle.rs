//! Drops rows of the large side of a join that have no match, before they are shuffled.
//!
//! ```text
//!   HashJoinExec Partitioned, LeftSemi          HashJoinExec Partitioned, LeftSemi
//!     small                                       MaterializeExec
//!     large                             ──►         small
//!                                                 HashJoinExec CollectLeft, RightSemi
//!                                                   keys of MaterializeExec
//!                                                     small
//!                                                   large
//! ```
//!
//! `EXISTS` over a large table is a join that returns rows of its small side. That side cannot be
//! broadcast, so both sides are shuffled. Its keys can be broadcast, however: a semi join reduces
//! the large side to them first, and only the remaining rows are shuffled. The small side is read
//! twice, so a stage ends there ([`MaterializeExec`]).

use std::sync::Arc;

use datafusion::common::config::OptimizerOptions;
use datafusion::common::{JoinType, Result};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};

use super::rule::Rule;
use crate::cost::{KEYS_BEFORE_SHUFFLE_FRACTION_MAX, KEYS_BEFORE_SHUFFLE_RATIO_MIN};
use crate::determinism::is_repeatable;
use crate::estimate::estimate;
use crate::nodes::MaterializeExec;
use crate::physical::{column_index, has_plain_keys, replace_children, replace_nodes, semi_join};

pub(super) const KEYS_BEFORE_SHUFFLE: Rule = Rule {
    name: "keys_before_shuffle",
    is_on: |switches| switches.keys_before_shuffle,
    rewrite: |plan, config| replace_nodes(plan, |join| reduce_large_side(join, &config.optimizer)),
};

/// Returns the join with its large side reduced to the keys of its small side; `None` if that gains
/// nothing.
fn reduce_large_side(
    join: &HashJoinExec,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let small_is_left = match join.join_type() {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark | JoinType::Left => true,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark | JoinType::Right => false,
        JoinType::Inner | JoinType::Full => return Ok(None),
    };
    if *join.partition_mode() != PartitionMode::Partitioned || !has_plain_keys(join) {
        return Ok(None);
    }
    let (small, large) = if small_is_left {
        (join.left(), join.right())
    } else {
        (join.right(), join.left())
    };
    let keys: Option<Vec<(usize, usize)>> = join
        .on()
        .iter()
        .map(|(left, right)| {
            let (small, large) = if small_is_left {
                (left, right)
            } else {
                (right, left)
            };
            column_index(small).zip(column_index(large))
        })
        .collect();
    let Some(keys) = keys else { return Ok(None) };
    let (small_rows, large_rows) = (estimate(small).rows, estimate(large).rows);
    let broadcast_rows_max = limits.hash_join_single_partition_threshold_rows as f64;
    // A large side that could be broadcast itself is cheap enough to shuffle.
    if !is_repeatable(small)
        || small_rows > broadcast_rows_max
        || large_rows < broadcast_rows_max
        || large_rows < small_rows * KEYS_BEFORE_SHUFFLE_RATIO_MIN
    {
        return Ok(None);
    }
    let materialized: Arc<dyn ExecutionPlan> = Arc::new(MaterializeExec::new(Arc::clone(small)));
    // A separate plan that is equal to `materialized`: cutting makes one stage of both.
    let second_read: Arc<dyn ExecutionPlan> =
        Arc::new(MaterializeExec::new(reset_plan_states(Arc::clone(small))?));
    let reduced = semi_join(&second_read, large, &keys)?;
    if estimate(&reduced).rows > large_rows * KEYS_BEFORE_SHUFFLE_FRACTION_MAX {
        return Ok(None);
    }
    let children = if small_is_left {
        vec![materialized, reduced]
    } else {
        vec![reduced, materialized]
    };
    replace_children(Arc::new(join.builder().build()?), children).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{join, optimize, relation};

    fn optimized(left_rows: f64, right_rows: f64, join_type: JoinType) -> String {
        let plan = join(
            relation(0, left_rows),
            relation(1, right_rows),
            join_type,
            PartitionMode::Partitioned,
        );
        optimize(&KEYS_BEFORE_SHUFFLE, plan)
    }

    #[test]
    fn the_large_side_is_reduced_to_the_keys_of_the_small_side() {
        let expected = "HashJoinExec: mode=Partitioned, join_type=LeftSemi\
            \n  MaterializeExec\
            \n    ExchangeReadExec: s0 Forward\
            \n  HashJoinExec: mode=CollectLeft, join_type=RightSemi\
            \n    ProjectionExec: expr=[k@0 as k]\
            \n      MaterializeExec\
            \n        ExchangeReadExec: s0 Forward\
            \n    ExchangeReadExec: s1 Forward";
        assert_eq!(optimized(1e3, 1e7, JoinType::LeftSemi), expected);
    }

    #[test]
    fn a_join_stays_as_it_is_if_a_side_has_the_wrong_size_or_it_can_be_broadcast() {
        // Keys too many to broadcast, a large side that is cheap to shuffle, and a join that may be
        // broadcast itself.
        for (small, large, join_type) in [
            (9e5, 1e7, JoinType::LeftSemi),
            (1e3, 1e4, JoinType::LeftSemi),
            (1e3, 1e7, JoinType::Inner),
        ] {
            let plan = optimized(small, large, join_type);
            assert!(!plan.contains("MaterializeExec"), "{plan}");
        }
    }
}

//! Leaves rows out that a join will not match, before they are moved to it.
//!
//! `EXISTS` over a large table is a join that emits rows of its small side: that side cannot be broadcast, so both are
//! shuffled. But its keys can: the large side is reduced to them by a semi-join first, and what is left is moved. The
//! small side is read twice, so a stage ends there ([`MaterializeExec`]).

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
use crate::physical::{
    column_index, has_plain_keys, replace_children, replace_hash_joins, semi_join,
};

pub(super) const KEYS_BEFORE_SHUFFLE: Rule = Rule {
    name: "keys_before_shuffle",
    is_on: |switches| switches.keys_before_shuffle,
    rewrite: |plan, config| replace_hash_joins(plan, |join| reduced(join, &config.optimizer)),
};

/// The join with its large side reduced to the keys of its small side; `None` where that gains nothing.
fn reduced(
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
        .map(|(l, r)| {
            if small_is_left {
                column_index(l).zip(column_index(r))
            } else {
                column_index(r).zip(column_index(l))
            }
        })
        .collect();
    let Some(keys) = keys else { return Ok(None) };
    let (small_rows, large_rows) = (estimate(small).rows, estimate(large).rows);
    // What could be broadcast itself may as well be moved.
    let few = limits.hash_join_single_partition_threshold_rows as f64;
    if !is_repeatable(small)
        || small_rows > few
        || large_rows < few
        || large_rows < small_rows * KEYS_BEFORE_SHUFFLE_RATIO_MIN
    {
        return Ok(None);
    }
    let kept: Arc<dyn ExecutionPlan> = Arc::new(MaterializeExec::new(Arc::clone(small)));
    let again: Arc<dyn ExecutionPlan> =
        Arc::new(MaterializeExec::new(reset_plan_states(Arc::clone(small))?));
    let semi = semi_join(&again, large, &keys)?;
    if estimate(&semi).rows > large_rows * KEYS_BEFORE_SHUFFLE_FRACTION_MAX {
        return Ok(None);
    }
    let children = if small_is_left {
        vec![kept, semi]
    } else {
        vec![semi, kept]
    };
    replace_children(Arc::new(join.builder().build()?), children).map(Some)
}

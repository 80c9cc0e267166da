//! Turns a hash join that collects its build side, and must emit rows of it, into a partitioned one.
//!
//! Such a join could not be broadcast: each task would see only its own matches. Collected, the
//! whole stage would run in one task; partitioned, it spreads. Null-aware anti joins stay as they
//! are, since one null anywhere empties the whole result.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};

use super::rule::Rule;
use crate::physical::{build_side_may_be_broadcast, replace_hash_joins};

pub(super) const SPREAD_COLLECTED_JOINS: Rule = Rule {
    name: "spread_collected_joins",
    is_on: |_| true,
    rewrite: |plan, _| replace_hash_joins(plan, spread),
};

fn spread(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let collects = *join.partition_mode() == PartitionMode::CollectLeft && !join.on().is_empty();
    if !collects || join.null_aware || build_side_may_be_broadcast(*join.join_type()) {
        return Ok(None);
    }
    let join = join
        .builder()
        .with_partition_mode(PartitionMode::Partitioned)
        .recompute_properties()
        .build()?;
    Ok(Some(Arc::new(join)))
}

//! Partitions hash joins that cannot be broadcast.
//!
//! ```text
//!   HashJoinExec CollectLeft, Left         HashJoinExec Partitioned, Left
//!     left                         ──►       left
//!     right                                  right
//! ```
//!
//! A join that returns unmatched rows of its build side cannot be broadcast: each task would see
//! only its own matches. With a collected build side the whole stage would have to run as one task;
//! partitioned, it runs as many. Null-aware anti joins stay as they are, since one null anywhere
//! empties the whole result.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};

use super::rule::Rule;
use crate::physical::{build_side_may_be_broadcast, replace_nodes};

pub(super) const SPREAD_COLLECTED_JOINS: Rule = Rule {
    name: "spread_collected_joins",
    is_on: |_| true,
    rewrite: |plan, _| replace_nodes(plan, partition_join),
};

fn partition_join(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
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

#[cfg(test)]
mod tests {
    use datafusion::common::JoinType;

    use super::*;
    use crate::rules::testing::{join, optimize, relation};

    fn optimized(join_type: JoinType) -> String {
        let plan = join(
            relation(0, 10.0),
            relation(1, 10.0),
            join_type,
            PartitionMode::CollectLeft,
        );
        optimize(&SPREAD_COLLECTED_JOINS, plan)
    }

    #[test]
    fn a_join_that_returns_unmatched_build_rows_is_partitioned() {
        for join_type in [JoinType::Left, JoinType::Full, JoinType::LeftAnti] {
            assert!(optimized(join_type).starts_with("HashJoinExec: mode=Partitioned"));
        }
    }

    #[test]
    fn a_join_that_may_be_broadcast_keeps_its_collected_build_side() {
        for join_type in [JoinType::Inner, JoinType::Right, JoinType::RightSemi] {
            assert!(optimized(join_type).starts_with("HashJoinExec: mode=CollectLeft"));
        }
    }
}

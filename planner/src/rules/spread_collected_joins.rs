//! Turns a hash join that collects its build side, and must emit rows of it, into a partitioned one.
//!
//! Such a join could not be broadcast: each task would see only its own matches. Collected, the
//! whole stage would run in one task; partitioned, it spreads. Null-aware anti joins stay as they
//! are, since one null anywhere empties the whole result.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};

use crate::cut::build_side_may_be_broadcast;

#[derive(Debug)]
pub(super) struct SpreadCollectedJoins;

impl PhysicalOptimizerRule for SpreadCollectedJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let spread = node.downcast_ref::<HashJoinExec>().filter(|join| {
                *join.partition_mode() == PartitionMode::CollectLeft
                    && !join.null_aware
                    && !join.on().is_empty()
                    && !build_side_may_be_broadcast(*join.join_type())
            });
            match spread {
                Some(join) => {
                    let join = join.builder().with_partition_mode(PartitionMode::Partitioned).recompute_properties().build()?;
                    Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>))
                }
                None => Ok(Transformed::no(node)),
            }
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "spread_collected_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

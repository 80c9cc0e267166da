//! Chooses which side of a hash join is built, and whether it is broadcast or both sides are shuffled.
//!
//! DataFusion does so by counts that it cannot always tell, and only where both sides tell them. Here the price of each way
//! is estimated: rows that are moved, put into a table, and looked up. A build side of which rows are emitted can only be
//! shuffled, since no task of a broadcast sees all of its matches.

use std::sync::Arc;

use datafusion::common::config::OptimizerOptions;
use datafusion::common::{JoinType, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::{Distribution, ExecutionPlan, ExecutionPlanProperties};

use super::rule::Rule;
use crate::cost::{
    BUILD_SIDE_COST_FRACTION_MAX, HASH_BUILD_COST, SHUFFLE_COST, VARIABLE_WIDTH_BYTES,
};
use crate::estimate::estimate;
use crate::physical::{build_side_may_be_broadcast, replace_hash_joins};

pub(super) const BUILD_SIDE: Rule = Rule {
    name: "build_side",
    is_on: |switches| switches.build_side,
    rewrite: |plan, config| replace_hash_joins(plan, |join| choose(join, &config.optimizer)),
};

/// What is expected of one side.
#[derive(Debug, Clone, Copy)]
struct Side {
    rows: f64,
    bytes: f64,
    partitions: f64,
    /// Its rows are where a partitioned join wants them.
    is_spread: bool,
}

/// How a join is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// The right side becomes the left one, which is built.
    swapped: bool,
    mode: PartitionMode,
}

fn side(plan: &Arc<dyn ExecutionPlan>, keys: Vec<Arc<dyn PhysicalExpr>>) -> Side {
    let rows = estimate(plan).rows;
    let width: usize = plan
        .schema()
        .fields()
        .iter()
        .map(|field| {
            field
                .data_type()
                .primitive_width()
                .unwrap_or(VARIABLE_WIDTH_BYTES)
        })
        .sum();
    let (partitioning, wanted) = (
        plan.output_partitioning(),
        Distribution::KeyPartitioned(keys),
    );
    let is_spread = partitioning.partition_count() > 1
        && partitioning
            .satisfaction(&wanted, plan.equivalence_properties(), false)
            .is_satisfied();
    Side {
        rows,
        bytes: rows * width as f64,
        partitions: partitioning.partition_count() as f64,
        is_spread,
    }
}

fn choose(
    join: &HashJoinExec,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let now = Way {
        swapped: false,
        mode: *join.partition_mode(),
    };
    if join.null_aware {
        return Ok(None);
    }
    let (left_keys, right_keys) = join.on().iter().cloned().unzip();
    let way = best(
        now,
        *join.join_type(),
        side(join.left(), left_keys),
        side(join.right(), right_keys),
        limits,
    );
    if way == now {
        return Ok(None);
    }
    if way.swapped {
        return join.swap_inputs(way.mode).map(Some);
    }
    let join = join
        .builder()
        .with_partition_mode(way.mode)
        .recompute_properties()
        .build()?;
    Ok(Some(Arc::new(join)))
}

/// The cheapest way, or `now` if that costs little more.
fn best(now: Way, join_type: JoinType, left: Side, right: Side, limits: &OptimizerOptions) -> Way {
    let ways = [false, true].into_iter().flat_map(|swapped| {
        let modes = [PartitionMode::CollectLeft, PartitionMode::Partitioned];
        modes.into_iter().map(move |mode| Way { swapped, mode })
    });
    let price = |way: Way| {
        let (build, probe) = if way.swapped {
            (right, left)
        } else {
            (left, right)
        };
        let of = if way.swapped {
            join_type.swap()
        } else {
            join_type
        };
        let (table, looked_up) = (build.rows * HASH_BUILD_COST, probe.rows);
        match way.mode {
            PartitionMode::CollectLeft => {
                let fits = build.rows <= limits.hash_join_single_partition_threshold_rows as f64
                    && build.bytes <= limits.hash_join_single_partition_threshold as f64;
                // Each task makes the table for itself.
                (build_side_may_be_broadcast(of) && fits)
                    .then_some(table * probe.partitions + looked_up)
            }
            _ => {
                let moved: f64 = [build, probe]
                    .iter()
                    .filter(|side| !side.is_spread)
                    .map(|side| side.rows)
                    .sum();
                Some(table + looked_up + moved * SHUFFLE_COST)
            }
        }
    };
    let possible = ways
        .filter(|way| !way.swapped || join_type.supports_swap())
        .filter_map(|way| Some((way, price(way)?)));
    let found = possible.min_by(|(_, a), (_, b)| a.total_cmp(b));
    match (found, price(now)) {
        (Some((_, least)), Some(price)) if least >= price * BUILD_SIDE_COST_FRACTION_MAX => now,
        (Some((way, _)), _) => way,
        (None, _) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(join_type: JoinType, left: f64, right: f64) -> (bool, PartitionMode) {
        let side = |rows: f64| Side {
            rows,
            bytes: rows * 8.0,
            partitions: 4.0,
            is_spread: false,
        };
        let mut limits = OptimizerOptions::default();
        (
            limits.hash_join_single_partition_threshold_rows,
            limits.hash_join_single_partition_threshold,
        ) = (1000, 1_000_000);
        let now = Way {
            swapped: false,
            mode: PartitionMode::Partitioned,
        };
        let found = best(now, join_type, side(left), side(right), &limits);
        (found.swapped, found.mode)
    }

    #[test]
    fn the_small_side_is_built_and_broadcast_where_no_row_of_it_is_emitted() {
        use PartitionMode::{CollectLeft, Partitioned};
        assert_eq!(way(JoinType::Inner, 10.0, 1e6), (false, CollectLeft));
        assert_eq!(way(JoinType::Inner, 1e6, 10.0), (true, CollectLeft));
        // A left join emits rows of its left side: it may only be looked up.
        assert_eq!(way(JoinType::Left, 10.0, 1e6), (false, Partitioned));
        assert_eq!(way(JoinType::Left, 1e6, 10.0), (true, CollectLeft));
        assert_eq!(way(JoinType::LeftAnti, 1e6, 2e6), (false, Partitioned));
        assert_eq!(way(JoinType::LeftAnti, 2e6, 1e6), (true, Partitioned));
        assert_eq!(way(JoinType::Full, 1e6, 10.0), (true, Partitioned));
        // Four tasks would make four tables.
        assert_eq!(way(JoinType::Inner, 1e3, 6e3), (false, CollectLeft));
        assert_eq!(way(JoinType::Inner, 1e3, 3e3), (false, Partitioned));
    }
}

//! Chooses each hash join's build side, and whether it is broadcast or both sides are shuffled.
//!
//! ```text
//!   HashJoinExec Partitioned                 HashJoinExec CollectLeft
//!     large                          ──►       few rows
//!     few rows                                 large
//! ```
//!
//! DataFusion decides this from exact counts, which it does not always have, and only where both
//! sides have them. This rule estimates the cost of each strategy: rows that are shuffled, inserted
//! into the hash table, and probed. A build side whose unmatched rows are returned can only be
//! shuffled, since no task of a broadcast join sees all of its matches.

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
use crate::physical::{build_side_may_be_broadcast, replace_nodes};

pub(super) const BUILD_SIDE: Rule = Rule {
    name: "build_side",
    is_on: |switches| switches.build_side,
    rewrite: |plan, config| replace_nodes(plan, |join| choose_strategy(join, &config.optimizer)),
};

/// Estimates of one side of a join.
#[derive(Debug, Clone, Copy)]
struct Side {
    rows: f64,
    bytes: f64,
    partitions: f64,
    /// The side is partitioned by the join keys already, so a partitioned join does not shuffle it.
    is_partitioned: bool,
}

/// Where the sides of a join go. The left side is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sides {
    Kept,
    Swapped,
}

/// How a join is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Strategy {
    sides: Sides,
    mode: PartitionMode,
}

/// Returns the join with its cheapest strategy; `None` if it stays as it is.
fn choose_strategy(
    join: &HashJoinExec,
    limits: &OptimizerOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if join.null_aware {
        return Ok(None);
    }
    let present = Strategy {
        sides: Sides::Kept,
        mode: *join.partition_mode(),
    };
    let (left_keys, right_keys) = join.on().iter().cloned().unzip();
    let cheapest = cheapest_strategy(
        present,
        *join.join_type(),
        measure_side(join.left(), left_keys),
        measure_side(join.right(), right_keys),
        limits,
    );
    if cheapest == present {
        return Ok(None);
    }
    if cheapest.sides == Sides::Swapped {
        return join.swap_inputs(cheapest.mode).map(Some);
    }
    let join = join
        .builder()
        .with_partition_mode(cheapest.mode)
        .recompute_properties()
        .build()?;
    Ok(Some(Arc::new(join)))
}

fn measure_side(plan: &Arc<dyn ExecutionPlan>, keys: Vec<Arc<dyn PhysicalExpr>>) -> Side {
    let rows = estimate(plan).rows;
    let row_bytes: usize = plan
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let width = field.data_type().primitive_width();
            width.unwrap_or(VARIABLE_WIDTH_BYTES)
        })
        .sum();
    let partitioning = plan.output_partitioning();
    let required = Distribution::KeyPartitioned(keys);
    let is_partitioned = partitioning.partition_count() > 1
        && partitioning
            .satisfaction(&required, plan.equivalence_properties(), false)
            .is_satisfied();
    Side {
        rows,
        bytes: rows * row_bytes as f64,
        partitions: partitioning.partition_count() as f64,
        is_partitioned,
    }
}

/// Returns the cheapest strategy, or `present` if that costs only a little more.
fn cheapest_strategy(
    present: Strategy,
    join_type: JoinType,
    left: Side,
    right: Side,
    limits: &OptimizerOptions,
) -> Strategy {
    let strategies = [Sides::Kept, Sides::Swapped].into_iter().flat_map(|sides| {
        let modes = [PartitionMode::CollectLeft, PartitionMode::Partitioned];
        modes.into_iter().map(move |mode| Strategy { sides, mode })
    });
    let cost_of = |strategy: Strategy| match strategy.sides {
        Sides::Kept => cost(strategy.mode, join_type, left, right, limits),
        Sides::Swapped => cost(strategy.mode, join_type.swap(), right, left, limits),
    };
    let cheapest = strategies
        .filter(|strategy| strategy.sides == Sides::Kept || join_type.supports_swap())
        .filter_map(|strategy| Some((strategy, cost_of(strategy)?)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b));
    match (cheapest, cost_of(present)) {
        (Some((_, least)), Some(cost)) if least >= cost * BUILD_SIDE_COST_FRACTION_MAX => present,
        (Some((strategy, _)), _) => strategy,
        (None, _) => present,
    }
}

/// Returns the cost of a join of this type; `None` if it may not be executed in this mode.
fn cost(
    mode: PartitionMode,
    join_type: JoinType,
    build: Side,
    probe: Side,
    limits: &OptimizerOptions,
) -> Option<f64> {
    let build_cost = build.rows * HASH_BUILD_COST;
    if mode == PartitionMode::CollectLeft {
        let is_small_enough = build.rows <= limits.hash_join_single_partition_threshold_rows as f64
            && build.bytes <= limits.hash_join_single_partition_threshold as f64;
        // Each task builds its own table.
        return (build_side_may_be_broadcast(join_type) && is_small_enough)
            .then_some(build_cost * probe.partitions + probe.rows);
    }
    let shuffled: f64 = [build, probe]
        .iter()
        .filter(|side| !side.is_partitioned)
        .map(|side| side.rows)
        .sum();
    Some(build_cost + probe.rows + shuffled * SHUFFLE_COST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(join_type: JoinType, left: f64, right: f64) -> (Sides, PartitionMode) {
        let side = |rows: f64| Side {
            rows,
            bytes: rows * 8.0,
            partitions: 4.0,
            is_partitioned: false,
        };
        let mut limits = OptimizerOptions::default();
        (
            limits.hash_join_single_partition_threshold_rows,
            limits.hash_join_single_partition_threshold,
        ) = (1000, 1_000_000);
        let present = Strategy {
            sides: Sides::Kept,
            mode: PartitionMode::Partitioned,
        };
        let cheapest = cheapest_strategy(present, join_type, side(left), side(right), &limits);
        (cheapest.sides, cheapest.mode)
    }

    #[test]
    fn the_small_side_is_built_and_broadcast_unless_its_unmatched_rows_are_returned() {
        use PartitionMode::{CollectLeft, Partitioned};
        use Sides::{Kept, Swapped};
        assert_eq!(strategy(JoinType::Inner, 10.0, 1e6), (Kept, CollectLeft));
        assert_eq!(strategy(JoinType::Inner, 1e6, 10.0), (Swapped, CollectLeft));
        // A left join returns unmatched rows of its left side, which may only be probed in a
        // broadcast join.
        assert_eq!(strategy(JoinType::Left, 10.0, 1e6), (Kept, Partitioned));
        assert_eq!(strategy(JoinType::Left, 1e6, 10.0), (Swapped, CollectLeft));
        assert_eq!(strategy(JoinType::LeftAnti, 1e6, 2e6), (Kept, Partitioned));
        assert_eq!(
            strategy(JoinType::LeftAnti, 2e6, 1e6),
            (Swapped, Partitioned)
        );
        assert_eq!(strategy(JoinType::Full, 1e6, 10.0), (Swapped, Partitioned));
        // Four tasks would build four tables.
        assert_eq!(strategy(JoinType::Inner, 1e3, 6e3), (Kept, CollectLeft));
        assert_eq!(strategy(JoinType::Inner, 1e3, 3e3), (Kept, Partitioned));
    }
}

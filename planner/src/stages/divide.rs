//! Which inputs of a stage may be divided among several tasks of one partition.
//!
//! ```text
//!   one task reads partition 3              two tasks read partition 3
//!     join                                    join          join
//!       build: 1 MB                 ──►         build: 1 MB   build: 1 MB
//!       probe: 9 GB                             probe, half   probe, other half
//! ```
//!
//! A key with most of the rows makes one partition large, and one task would read it while the
//! others wait. If the operators process each row of an input independently, several tasks may each
//! read a part of that input, and all of what it is joined with. Together they return what one task
//! would have returned.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::graph::StageOutput;
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode, KeyFilterExec};
use crate::physical::{build_side_may_be_broadcast, leaves};

/// Returns the inputs of a stage with this body that may be divided among tasks, one input at a
/// time.
pub(crate) fn divisible_inputs(body: &Arc<dyn ExecutionPlan>, output: StageOutput) -> Vec<StageId> {
    let keeps_order =
        !matches!(output, StageOutput::Shuffle { .. }) && body.output_ordering().is_some();
    if keeps_order {
        return vec![];
    }
    let mut inputs = vec![];
    collect_divisible(body, &mut inputs);
    let leaves = leaves(body);
    let reader_count = |stage: StageId| {
        leaves
            .iter()
            .filter_map(|leaf| leaf.downcast_ref::<ExchangeReadExec>())
            .filter(|read| read.stage() == stage)
            .count()
    };
    // Divided in one place and read in full in another, an input would be joined with parts of
    // itself only.
    inputs.retain(|stage| reader_count(*stage) == 1);
    inputs
}

/// Collects the shuffled inputs below operators that process their rows independently.
fn collect_divisible(plan: &Arc<dyn ExecutionPlan>, inputs: &mut Vec<StageId>) {
    if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
        inputs.extend((read.mode() == InputMode::Shuffle).then_some(read.stage()));
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        if join.null_aware || join.fetch().is_some() {
            return;
        }
        if build_side_may_be_broadcast(*join.join_type()) {
            collect_divisible(join.right(), inputs);
        }
        if *join.partition_mode() == PartitionMode::Partitioned
            && probe_side_may_be_repeated(*join.join_type())
        {
            collect_divisible(join.left(), inputs);
        }
    } else if let Some(filter) = plan.downcast_ref::<KeyFilterExec>() {
        collect_divisible(filter.input(), inputs);
    } else if let [child] = plan.children()[..]
        && processes_rows_independently(plan)
    {
        collect_divisible(child, inputs);
    }
}

/// Whether parts of the build side may each be joined with the whole probe side.
///
/// The join must not return unmatched probe rows, since no task sees all matches of a probe row.
fn probe_side_may_be_repeated(join_type: JoinType) -> bool {
    build_side_may_be_broadcast(join_type.swap())
}

/// Whether the output for a row does not depend on other rows. Partial aggregates are merged later.
fn processes_rows_independently(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.fetch().is_none()
        && (plan.is::<ProjectionExec>()
            || plan.is::<FilterExec>()
            || plan
                .downcast_ref::<AggregateExec>()
                .is_some_and(|aggregate| *aggregate.mode() == AggregateMode::Partial))
}

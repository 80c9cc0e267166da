//! Which inputs of a stage may be divided among several tasks of one partition.
//!
//! A key with most of the rows fills one bucket, and one task would read it while the others wait. Where operators treat
//! each row of an input by itself, several tasks may each read a part of that input, and all of what it is joined with:
//! together they yield what one would have.

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

/// The inputs of a stage with this body of which tasks may each read a part, one input at a time.
pub(crate) fn divisible(body: &Arc<dyn ExecutionPlan>, output: StageOutput) -> Vec<StageId> {
    let keeps_order =
        !matches!(output, StageOutput::Shuffle { .. }) && body.output_ordering().is_some();
    if keeps_order {
        return vec![];
    }
    let mut found = vec![];
    find(body, &mut found);
    let leaves = leaves(body);
    let read = |stage: StageId| {
        leaves
            .iter()
            .filter_map(|leaf| leaf.downcast_ref::<ExchangeReadExec>())
            .filter(|read| read.stage() == stage)
            .count()
    };
    found.retain(|stage| read(*stage) == 1);
    found
}

fn find(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<StageId>) {
    if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
        found.extend((read.mode() == InputMode::Shuffle).then_some(read.stage()));
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        if join.null_aware || join.fetch().is_some() {
            return;
        }
        if build_side_may_be_broadcast(*join.join_type()) {
            find(join.right(), found);
        }
        if *join.partition_mode() == PartitionMode::Partitioned
            && probe_side_may_be_repeated(*join.join_type())
        {
            find(join.left(), found);
        }
    } else if let Some(filter) = plan.downcast_ref::<KeyFilterExec>() {
        find(filter.input(), found);
    } else if let [child] = plan.children()[..]
        && each_row_by_itself(plan)
    {
        find(child, found);
    }
}

/// Whether parts of the build side may each be joined with the whole probe side: no row of the output may come from an
/// unmatched probe row, since no task sees all matches.
fn probe_side_may_be_repeated(join_type: JoinType) -> bool {
    build_side_may_be_broadcast(join_type.swap())
}

/// Whether the output for some rows does not depend on the others. Partial aggregates are added up later.
fn each_row_by_itself(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.fetch().is_none()
        && (plan.is::<ProjectionExec>()
            || plan.is::<FilterExec>()
            || plan
                .downcast_ref::<AggregateExec>()
                .is_some_and(|aggregate| *aggregate.mode() == AggregateMode::Partial))
}

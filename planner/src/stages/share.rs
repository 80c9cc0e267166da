//! Replaces equal stages by one stage with several readers.
//!
//! ```text
//!   s3 join                          s2 join
//!     s2 shuffle of view v   ──►       s1 shuffle of view v
//!     s1 shuffle of view v             s1
//!   s0 …                             s0 …
//! ```
//!
//! A view that is used twice is planned twice. A stage's output is kept until its last reader has
//! finished, so the second reader can read the first one's. Two stages are equal if their encoded
//! plans are, once their own inputs are shared.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;

use super::graph::{Stage, StageGraph, StageInput, StageOutput};
use crate::determinism::Determinism;
use crate::ids::StageId;
use crate::nodes::ExchangeReadExec;
use crate::physical::leaves;

/// Removes stages of `graph` that are equal to an earlier one. `encode` returns a plan's bytes, or
/// `None` if it cannot be encoded.
///
/// # Errors
/// If DataFusion refuses to rebuild an operator over its new input.
pub fn share(
    graph: StageGraph,
    encode: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> Result<StageGraph> {
    Ok(StageGraph {
        stages: share_after(0, graph.stages, encode)?,
    })
}

/// Removes stages that are equal to an earlier one of `stages`, whose numbers start at `first`.
pub(crate) fn share_after(
    first: usize,
    stages: Vec<Stage>,
    encode: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> Result<Vec<Stage>> {
    let mut distinct: Vec<Stage> = vec![];
    // The new number of each stage so far.
    let mut new_ids: Vec<StageId> = vec![];
    for stage in stages {
        let new_id = |id: StageId| {
            id.index()
                .checked_sub(first)
                .and_then(|index| new_ids.get(index))
                .copied()
                .unwrap_or(id)
        };
        let stage = renumber(stage, StageId::from_index(first + distinct.len()), new_id)?;
        let equal_stage = distinct.iter().find(|other| {
            may_be_equal(other, &stage) && bytes_equal(&other.plan, &stage.plan, &encode)
        });
        if let Some(equal_stage) = equal_stage {
            new_ids.push(equal_stage.id);
        } else {
            new_ids.push(stage.id);
            distinct.push(stage);
        }
    }
    Ok(distinct)
}

/// Gives a stage another number, and its inputs the numbers that `new_id` returns.
fn renumber(stage: Stage, id: StageId, new_id: impl Fn(StageId) -> StageId) -> Result<Stage> {
    let plan = stage
        .plan
        .transform_up(|node| match node.downcast_ref::<ExchangeReadExec>() {
            Some(read) if new_id(read.stage()) != read.stage() => Ok(Transformed::yes(Arc::new(
                read.with_stage(new_id(read.stage())),
            )
                as _)),
            _ => Ok(Transformed::no(node)),
        });
    let inputs = stage
        .inputs
        .into_iter()
        .map(|input| StageInput {
            stage: new_id(input.stage),
            ..input
        })
        .collect();
    let divisible = stage.divisible.into_iter().map(&new_id).collect();
    Ok(Stage {
        id,
        plan: plan.data()?,
        inputs,
        divisible,
        ..stage
    })
}

/// Compares what is cheap to compare. Indeterminate stages are never equal: each reader gets rows
/// of its own.
fn may_be_equal(a: &Stage, b: &Stage) -> bool {
    let summary = |stage: &Stage| -> (StageOutput, SchemaRef, usize) {
        (stage.output, stage.plan.schema(), leaves(&stage.plan).len())
    };
    let is_shareable = |stage: &Stage| {
        stage.determinism != Determinism::Indeterminate
            && !matches!(stage.output, StageOutput::Sink { .. })
    };
    is_shareable(a) && is_shareable(b) && a.inputs == b.inputs && summary(a) == summary(b)
}

fn bytes_equal(
    a: &Arc<dyn ExecutionPlan>,
    b: &Arc<dyn ExecutionPlan>,
    encode: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> bool {
    encode(a).zip(encode(b)).is_some_and(|(a, b)| a == b)
}

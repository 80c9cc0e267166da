//! Makes one stage of equal stages, with several readers.
//!
//! A view that is used twice is planned twice. Its outputs are kept for readers anyway, so the second reader may as well
//! read the first one's. Equal are stages whose plans are equal as bytes once their own inputs are shared.

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

/// `graph` without the stages that others make as well. `encoded` tells a plan's bytes, or that it has none.
///
/// # Errors
/// If DataFusion refuses to rebuild an operator over its new input.
pub fn share(
    graph: StageGraph,
    encoded: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> Result<StageGraph> {
    Ok(StageGraph {
        stages: share_after(0, graph.stages, encoded)?,
    })
}

/// The same of stages that are numbered after `others`.
pub(crate) fn share_after(
    others: usize,
    stages: Vec<Stage>,
    encoded: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> Result<Vec<Stage>> {
    let mut kept: Vec<Stage> = vec![];
    let mut now: Vec<StageId> = vec![];
    for stage in stages {
        let of = |id: StageId| {
            (id.0 as usize)
                .checked_sub(others)
                .and_then(|place| now.get(place))
                .copied()
                .unwrap_or(id)
        };
        let stage = renumbered(stage, others + kept.len(), of)?;
        let equal = kept.iter().find(|other| {
            look_equal(other, &stage) && bytes_equal(&other.plan, &stage.plan, &encoded)
        });
        if let Some(equal) = equal {
            now.push(equal.id);
        } else {
            now.push(stage.id);
            kept.push(stage);
        }
    }
    Ok(kept)
}

fn renumbered(stage: Stage, place: usize, of: impl Fn(StageId) -> StageId) -> Result<Stage> {
    let plan = stage
        .plan
        .transform_up(|node| match node.downcast_ref::<ExchangeReadExec>() {
            Some(read) if of(read.stage()) != read.stage() => Ok(Transformed::yes(Arc::new(
                read.with_stage(of(read.stage())),
            )
                as _)),
            _ => Ok(Transformed::no(node)),
        });
    let inputs = stage
        .inputs
        .into_iter()
        .map(|input| StageInput {
            stage: of(input.stage),
            ..input
        })
        .collect();
    let id = StageId(u32::try_from(place).unwrap_or(u32::MAX));
    let divisible = stage.divisible.into_iter().map(&of).collect();
    Ok(Stage {
        id,
        plan: plan.data()?,
        inputs,
        divisible,
        ..stage
    })
}

/// What is quickly compared. What may come out otherwise the next time is made for each reader.
fn look_equal(a: &Stage, b: &Stage) -> bool {
    let shape = |stage: &Stage| -> (StageOutput, SchemaRef, usize) {
        (stage.output, stage.plan.schema(), leaves(&stage.plan).len())
    };
    let determined = |stage: &Stage| {
        stage.determinism != Determinism::Indeterminate
            && !matches!(stage.output, StageOutput::Sink { .. })
    };
    determined(a) && determined(b) && a.inputs == b.inputs && shape(a) == shape(b)
}

fn bytes_equal(
    a: &Arc<dyn ExecutionPlan>,
    b: &Arc<dyn ExecutionPlan>,
    encoded: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> bool {
    encoded(a).zip(encoded(b)).is_some_and(|(a, b)| a == b)
}

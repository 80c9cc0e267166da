//! Cuts any DataFusion physical plan into a [`StageGraph`].
//!
//! ```text
//!   plan as planned for one node            stages
//!   AggregateExec Final                     s1  AggregateExec Final
//!     RepartitionExec Hash(k, 8)    ──►           ExchangeReadExec s0 Shuffle
//!       AggregateExec Partial               s0  RepartitionExec Hash(k, 8)      (spreads the output)
//!         DataSourceExec                          AggregateExec Partial
//!                                                   DataSourceExec
//! ```
//!
//! **Invariant.** A plan that runs on a single node before the cut gives the same rows after it:
//! a cut never changes an operator, only where its input comes from.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};

use super::divide::divisible;
use super::graph::{Slicing, Stage, StageGraph, StageInput, StageOutput};
use crate::determinism::determinism_of;
use crate::estimate::estimate;
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode, KeyFilterExec, MaterializeExec};
use crate::physical::{build_side_may_be_broadcast, leaves, replace_children};
use crate::statistics::Estimate;

/// Cuts `plan`; the root stage gets `output`, which is `Partitions` for a result and `Sink` for a write.
///
/// # Errors
/// If DataFusion refuses to rebuild an operator over its new input.
pub fn cut(plan: Arc<dyn ExecutionPlan>, output: StageOutput) -> Result<StageGraph> {
    Ok(StageGraph {
        stages: cut_after(0, plan, output)?,
    })
}

/// Cuts plans whose rows are written, each to files of its own, and that run together.
///
/// # Errors
/// As [`cut`].
pub fn cut_writes(plans: Vec<Arc<dyn ExecutionPlan>>) -> Result<StageGraph> {
    let mut stages = vec![];
    for (write, plan) in (0..).zip(plans) {
        stages.extend(cut_after(stages.len(), plan, StageOutput::Sink { write })?);
    }
    Ok(StageGraph { stages })
}

/// The stages of a plan that may read some of `others` stages, after which these are numbered.
pub(crate) fn cut_after(
    others: usize,
    plan: Arc<dyn ExecutionPlan>,
    output: StageOutput,
) -> Result<Vec<Stage>> {
    let mut cutter = Cutter {
        others,
        stages: vec![],
    };
    let expected = expected(&plan);
    let body = cutter.rewrite(plan)?;
    cutter.push(body, output, &expected)?;
    Ok(cutter.stages)
}

struct Cutter {
    /// Stages that there were before.
    others: usize,
    stages: Vec<Stage>,
}

impl Cutter {
    fn rewrite(&mut self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            return self.cut_repartition(&plan, repartition);
        }
        if let Some(coalesce) = plan.downcast_ref::<CoalescePartitionsExec>() {
            return self.cut_coalesce(&plan, coalesce);
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>()
            && partition_count(merge.input()) > 1
        {
            let expected = expected(merge.input());
            let input = self.rewrite(Arc::clone(merge.input()))?;
            let partitioning = Partitioning::UnknownPartitioning(partition_count(&input));
            let read = self.forward(input, partitioning, expected)?;
            return replace_children(plan, vec![read]);
        }
        if let Some(materialize) = plan.downcast_ref::<MaterializeExec>() {
            let (partitioning, expected) = (plan.output_partitioning().clone(), expected(&plan));
            let input = self.rewrite(Arc::clone(materialize.input()))?;
            return self.forward(input, partitioning, expected);
        }
        // Its body is executed again and again over in-process state.
        if plan.is::<RecursiveQueryExec>() {
            return Ok(plan);
        }
        let collects_left = collects_left(&plan) && partition_count(&plan) > 1;
        let mut children = Vec::with_capacity(plan.children().len());
        for (index, child) in plan.children().into_iter().enumerate() {
            let child = if index == 0 && collects_left {
                self.broadcast(child)?
            } else {
                self.rewrite(Arc::clone(child))?
            };
            children.push(child);
        }
        if children.is_empty() {
            Ok(plan)
        } else {
            replace_children(plan, children)
        }
    }

    fn cut_repartition(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        node: &RepartitionExec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitioning = node.partitioning().clone();
        let input = self.rewrite(Arc::clone(node.input()))?;
        let unordered = RepartitionExec::try_new(input, partitioning.clone())?;
        let mut eq_properties = plan.equivalence_properties().clone();
        // Tasks of several partitions feed a bucket, so an order survives only by sorting again.
        eq_properties.clear_orderings();
        let buckets = partitioning.partition_count();
        let expected = expected(plan);
        let id = self.push(
            Arc::new(unordered),
            StageOutput::Shuffle { buckets },
            &expected,
        )?;
        let read: Arc<dyn ExecutionPlan> = Arc::new(
            ExchangeReadExec::new(id, InputMode::Shuffle, eq_properties, partitioning)
                .knowing(expected),
        );
        match plan.output_ordering() {
            Some(ordering) => Ok(Arc::new(
                SortExec::new(ordering.clone(), read).with_preserve_partitioning(true),
            )),
            None => Ok(read),
        }
    }

    fn cut_coalesce(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        node: &CoalescePartitionsExec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = self.rewrite(Arc::clone(node.input()))?;
        if partition_count(node.input()) == 1 {
            return replace_children(Arc::clone(plan), vec![input]);
        }
        let expected = expected(node.input());
        let id = self.made(input, &expected)?;
        let eq_properties = plan.equivalence_properties().clone();
        let one = Partitioning::UnknownPartitioning(1);
        let read = Arc::new(
            ExchangeReadExec::new(id, InputMode::Merge, eq_properties, one).knowing(expected),
        );
        match node.fetch() {
            Some(fetch) => Ok(Arc::new(GlobalLimitExec::new(read, 0, Some(fetch)))),
            None => Ok(read),
        }
    }

    fn forward(
        &mut self,
        input: Arc<dyn ExecutionPlan>,
        partitioning: Partitioning,
        expected: Arc<Estimate>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if input.is::<ExchangeReadExec>() {
            return Ok(input);
        }
        let eq_properties = input.equivalence_properties().clone();
        let id = self.push(input, StageOutput::Partitions, &expected)?;
        Ok(Arc::new(
            ExchangeReadExec::new(id, InputMode::Forward, eq_properties, partitioning)
                .knowing(expected),
        ))
    }

    fn broadcast(&mut self, build: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let eq_properties = build.equivalence_properties().clone();
        let collected = build
            .downcast_ref::<CoalescePartitionsExec>()
            .filter(|c| c.fetch().is_none());
        let inner = collected.map_or(build, CoalescePartitionsExec::input);
        if inner.is::<EmptyExec>() {
            return Ok(Arc::clone(build));
        }
        let (input, expected) = (self.rewrite(Arc::clone(inner))?, expected(inner));
        let id = self.made(input, &expected)?;
        let one = Partitioning::UnknownPartitioning(1);
        Ok(Arc::new(
            ExchangeReadExec::new(id, InputMode::Broadcast, eq_properties, one).knowing(expected),
        ))
    }

    /// The stage that makes these rows: one that is read as it is need not be copied.
    fn made(&mut self, input: Arc<dyn ExecutionPlan>, expected: &Estimate) -> Result<StageId> {
        match input.downcast_ref::<ExchangeReadExec>() {
            Some(read) => Ok(read.stage()),
            None => self.push(input, StageOutput::Partitions, expected),
        }
    }

    fn push(
        &mut self,
        plan: Arc<dyn ExecutionPlan>,
        output: StageOutput,
        expected: &Estimate,
    ) -> Result<StageId> {
        let id = StageId(u32::try_from(self.others + self.stages.len()).unwrap_or(u32::MAX));
        let inputs = leaves(&plan)
            .iter()
            .filter_map(|leaf| leaf.downcast_ref::<ExchangeReadExec>())
            .map(|read| StageInput {
                stage: read.stage(),
                mode: read.mode(),
            })
            .collect();
        let slicing = slicing(&plan);
        let (determinism, rows_expected) = (determinism_of(&plan)?, expected.rows as u64);
        let mut stage = Stage {
            id,
            plan,
            output,
            inputs,
            slicing,
            divisible: vec![],
            determinism,
            rows_expected,
            dropped: false,
        };
        stage.divisible = divisible(stage.body(), output);
        self.stages.push(stage);
        Ok(id)
    }
}

/// Whether the left child is a build side, or a set of keys, that the operator collects from one partition.
fn collects_left(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let hash_collect = plan
        .downcast_ref::<HashJoinExec>()
        .is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft);
    hash_collect
        || plan.is::<KeyFilterExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
}

fn slicing(plan: &Arc<dyn ExecutionPlan>) -> Slicing {
    if partition_count(plan) > 1 {
        if let Some(join) = plan.downcast_ref::<HashJoinExec>()
            && *join.partition_mode() == PartitionMode::CollectLeft
            && (join.null_aware || !build_side_may_be_broadcast(*join.join_type()))
        {
            return Slicing::Whole {
                reason: "the hash join emits rows of its collected build side",
            };
        }
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
            && !build_side_may_be_broadcast(*join.join_type())
        {
            return Slicing::Whole {
                reason: "the nested loop join emits rows of its collected build side",
            };
        }
    }
    let children = plan.children().into_iter().map(slicing);
    children.fold(Slicing::Free, |found, child| {
        if found == Slicing::Free { child } else { found }
    })
}

/// What is expected of a plan that is not cut yet.
fn expected(plan: &Arc<dyn ExecutionPlan>) -> Arc<Estimate> {
    Arc::new(estimate(plan))
}

fn partition_count(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.output_partitioning().partition_count()
}

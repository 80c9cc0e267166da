//! Cuts any DataFusion physical plan into a [`StageGraph`].
//!
//! ```text
//!   plan as planned for one node            stages
//!   AggregateExec Final                     s1  AggregateExec Final
//!     RepartitionExec Hash(k, 8)    ──►           ExchangeReadExec s0 Shuffle
//!       AggregateExec Partial               s0  RepartitionExec Hash(k, 8)      (partitions the output)
//!         DataSourceExec                          AggregateExec Partial
//!                                                   DataSourceExec
//! ```
//!
//! **Invariant.** A plan that runs on a single node before the cut returns the same rows after it.
//! A cut never changes an operator, only where its input comes from.

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

use super::divide::divisible_inputs;
use super::graph::{Slicing, Stage, StageGraph, StageInput, StageOutput};
use crate::determinism::determinism_of;
use crate::estimate::estimate;
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode, KeyFilterExec, MaterializeExec};
use crate::physical::{build_side_may_be_broadcast, leaves, replace_children};
use crate::statistics::Estimate;

/// Cuts `plan` into stages. The root stage's output is `output`: `Partitions` for a result, `Sink`
/// for a write.
///
/// # Errors
/// If DataFusion refuses to rebuild an operator over its new input.
pub fn cut(plan: Arc<dyn ExecutionPlan>, output: StageOutput) -> Result<StageGraph> {
    Ok(StageGraph {
        stages: cut_after(0, plan, output)?,
    })
}

/// Cuts several plans that run as one graph; each writes its rows to its own files.
///
/// # Errors
/// As for [`cut`].
pub fn cut_writes(plans: Vec<Arc<dyn ExecutionPlan>>) -> Result<StageGraph> {
    let mut stages = vec![];
    for (write, plan) in (0..).zip(plans) {
        stages.extend(cut_after(stages.len(), plan, StageOutput::Sink { write })?);
    }
    Ok(StageGraph { stages })
}

/// Cuts a plan whose leaves may read `existing` stages. The new stages are numbered after these.
pub(crate) fn cut_after(
    existing: usize,
    plan: Arc<dyn ExecutionPlan>,
    output: StageOutput,
) -> Result<Vec<Stage>> {
    let mut cutter = Cutter {
        existing,
        stages: vec![],
    };
    let expected = expected_output(&plan);
    let body = cutter.rewrite(plan)?;
    cutter.push(body, output, &expected)?;
    Ok(cutter.stages)
}

/// Cuts one plan, from the leaves up.
struct Cutter {
    /// Number of stages that exist already.
    existing: usize,
    /// The new stages, producers before consumers.
    stages: Vec<Stage>,
}

impl Cutter {
    /// Returns the plan with the parts below its exchanges replaced by reads of new stages.
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
            let expected = expected_output(merge.input());
            let input = self.rewrite(Arc::clone(merge.input()))?;
            let partitioning = Partitioning::UnknownPartitioning(partition_count(&input));
            let read = self.forward(input, partitioning, expected)?;
            return replace_children(plan, vec![read]);
        }
        if let Some(materialize) = plan.downcast_ref::<MaterializeExec>() {
            let (partitioning, expected) =
                (plan.output_partitioning().clone(), expected_output(&plan));
            let input = self.rewrite(Arc::clone(materialize.input()))?;
            return self.forward(input, partitioning, expected);
        }
        // The body of a recursive query runs repeatedly over state in its process, so it cannot be
        // cut.
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

    /// Ends a stage at a repartition. The stage keeps the repartition as its root, by which its
    /// tasks partition their output.
    fn cut_repartition(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        node: &RepartitionExec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitioning = node.partitioning().clone();
        let input = self.rewrite(Arc::clone(node.input()))?;
        let unordered = RepartitionExec::try_new(input, partitioning.clone())?;
        let mut eq_properties = plan.equivalence_properties().clone();
        // Several tasks write to each output partition, so rows must be sorted again to keep their
        // order.
        eq_properties.clear_orderings();
        let partitions = partitioning.partition_count();
        let expected = expected_output(plan);
        let id = self.push(
            Arc::new(unordered),
            StageOutput::Shuffle { partitions },
            &expected,
        )?;
        let read: Arc<dyn ExecutionPlan> = Arc::new(
            ExchangeReadExec::new(id, InputMode::Shuffle, eq_properties, partitioning)
                .with_known_output(expected),
        );
        match plan.output_ordering() {
            Some(ordering) => Ok(Arc::new(
                SortExec::new(ordering.clone(), read).with_preserve_partitioning(true),
            )),
            None => Ok(read),
        }
    }

    /// Ends a stage below an operator that merges all partitions into one.
    fn cut_coalesce(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        node: &CoalescePartitionsExec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = self.rewrite(Arc::clone(node.input()))?;
        if partition_count(node.input()) == 1 {
            return replace_children(Arc::clone(plan), vec![input]);
        }
        let expected = expected_output(node.input());
        let id = self.stage_for(input, &expected)?;
        let eq_properties = plan.equivalence_properties().clone();
        let single_partition = Partitioning::UnknownPartitioning(1);
        let read = Arc::new(
            ExchangeReadExec::new(id, InputMode::Merge, eq_properties, single_partition)
                .with_known_output(expected),
        );
        match node.fetch() {
            Some(fetch) => Ok(Arc::new(GlobalLimitExec::new(read, 0, Some(fetch)))),
            None => Ok(read),
        }
    }

    /// Ends a stage at `input`, and reads its partitions one to one.
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
                .with_known_output(expected),
        ))
    }

    /// Ends a stage at a build side, which every task of the consumer reads in full.
    fn broadcast(&mut self, build: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let eq_properties = build.equivalence_properties().clone();
        let collected = build
            .downcast_ref::<CoalescePartitionsExec>()
            .filter(|c| c.fetch().is_none());
        let inner = collected.map_or(build, CoalescePartitionsExec::input);
        if inner.is::<EmptyExec>() {
            return Ok(Arc::clone(build));
        }
        let (input, expected) = (self.rewrite(Arc::clone(inner))?, expected_output(inner));
        let id = self.stage_for(input, &expected)?;
        let single_partition = Partitioning::UnknownPartitioning(1);
        Ok(Arc::new(
            ExchangeReadExec::new(id, InputMode::Broadcast, eq_properties, single_partition)
                .with_known_output(expected),
        ))
    }

    /// Returns the stage that computes `input`. If `input` only reads another stage, no new one is
    /// added.
    fn stage_for(&mut self, input: Arc<dyn ExecutionPlan>, expected: &Estimate) -> Result<StageId> {
        match input.downcast_ref::<ExchangeReadExec>() {
            Some(read) => Ok(read.stage()),
            None => self.push(input, StageOutput::Partitions, expected),
        }
    }

    /// Adds a stage with this plan.
    fn push(
        &mut self,
        plan: Arc<dyn ExecutionPlan>,
        output: StageOutput,
        expected: &Estimate,
    ) -> Result<StageId> {
        let id = StageId::from_index(self.existing + self.stages.len());
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
            is_dropped: false,
        };
        stage.divisible = divisible_inputs(stage.body(), output);
        self.stages.push(stage);
        Ok(id)
    }
}

/// Whether the left child is a build side, or a key set, that the operator collects into one
/// partition.
fn collects_left(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let hash_collect = plan
        .downcast_ref::<HashJoinExec>()
        .is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft);
    hash_collect
        || plan.is::<KeyFilterExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
}

/// Decides whether a stage's partitions may run in different tasks.
fn slicing(plan: &Arc<dyn ExecutionPlan>) -> Slicing {
    if partition_count(plan) > 1 {
        if let Some(join) = plan.downcast_ref::<HashJoinExec>()
            && *join.partition_mode() == PartitionMode::CollectLeft
            && (join.null_aware || !build_side_may_be_broadcast(*join.join_type()))
        {
            return Slicing::Whole {
                reason: "the hash join returns unmatched rows of its collected build side",
            };
        }
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
            && !build_side_may_be_broadcast(*join.join_type())
        {
            return Slicing::Whole {
                reason: "the nested loop join returns unmatched rows of its collected build side",
            };
        }
    }
    let children = plan.children().into_iter().map(slicing);
    children.fold(Slicing::Free, |first, child| {
        if first == Slicing::Free { child } else { first }
    })
}

/// Estimates a plan that is not cut yet.
fn expected_output(plan: &Arc<dyn ExecutionPlan>) -> Arc<Estimate> {
    Arc::new(estimate(plan))
}

fn partition_count(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.output_partitioning().partition_count()
}

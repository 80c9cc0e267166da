//! A statement's plan while it runs: it may change at the boundary of two stages.
//!
//! The scheduler tells when a finished stage was not what was expected; [`revise()`] plans what has not begun again. What
//! came of it is kept here, for `EXPLAIN ANALYZE`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;
use faisca_executor::codec::PlanCodec;
use faisca_executor::wire::{Durability, StageSpec};
use faisca_planner::ids::{QueryId, StageId};
use faisca_planner::stages::{Fact, Revised, Stage, StageGraph, revise};

use super::prepared::{Prepared, encoded_stage, stage_info};
use crate::scheduler::{Placement, StageInfo};

/// See the module.
#[derive(Debug)]
pub struct RunningPlan {
    query: QueryId,
    prepared: Prepared,
    placement: Placement,
    durability: Durability,
    /// Held while it is planned again, which takes milliseconds, and for copies.
    now: Mutex<Now>,
}

#[derive(Debug, Clone)]
struct Now {
    graph: Arc<StageGraph>,
    changes: Vec<String>,
}

/// Stages for the scheduler, and for executors.
pub(crate) type Stages = (Vec<StageInfo>, Vec<StageSpec>);

impl RunningPlan {
    pub(crate) fn new(
        query: QueryId,
        prepared: Prepared,
        placement: Placement,
        durability: Durability,
    ) -> Self {
        let now = Now {
            graph: Arc::clone(&prepared.graph),
            changes: vec![],
        };
        Self {
            query,
            prepared,
            placement,
            durability,
            now: Mutex::new(now),
        }
    }

    /// The stages as they were planned first.
    pub(crate) fn stages(&self) -> Stages {
        let shapes = self.shapes(&self.prepared.graph.stages);
        let plans = self.prepared.specs.iter().cloned();
        let specs = plans
            .zip(&self.prepared.graph.stages)
            .map(|((plan, output), stage)| StageSpec {
                query: self.query,
                stage: stage.id,
                plan,
                output,
                durability: self.durability_of(&self.prepared.graph, stage),
                settings: self.prepared.settings.clone(),
            });
        (shapes, specs.collect())
    }

    /// Plans again what waits. Answers the new stages, none if it stays as it is.
    ///
    /// # Errors
    /// If DataFusion refuses to plan what it planned before.
    pub(crate) fn revise(&self, facts: &[Fact]) -> Result<Stages> {
        let mut now = self.lock();
        let Some(revised) = revise(&now.graph, facts, &self.prepared.options, bytes)? else {
            return Ok((vec![], vec![]));
        };
        let new = &revised.graph.stages[revised.first_new.0 as usize..];
        let mut specs = vec![];
        for stage in new {
            let (plan, output) = encoded_stage(stage, &self.prepared.sinks)?;
            let durability = self.durability_of(&revised.graph, stage);
            specs.push(StageSpec {
                query: self.query,
                stage: stage.id,
                plan,
                output,
                durability,
                settings: self.prepared.settings.clone(),
            });
        }
        let shapes = self.shapes(new);
        let change = told(&now.graph, facts, &revised);
        tracing::info!(query = %self.query, "{change}");
        now.changes.push(change);
        now.graph = Arc::new(revised.graph);
        Ok((shapes, specs))
    }

    /// The stages as they are now, and what was changed while they ran.
    pub(crate) fn now(&self) -> (Arc<StageGraph>, Vec<String>) {
        let Now { graph, changes } = self.lock().clone();
        (graph, changes)
    }

    fn shapes(&self, stages: &[Stage]) -> Vec<StageInfo> {
        let shape = |stage| match self.placement {
            Placement::Fleet => stage_info(stage, &self.prepared.options),
            // It is over before a better plan is found.
            Placement::Driver => StageInfo {
                expected_rows: None,
                ..stage_info(stage, &self.prepared.options)
            },
        };
        stages.iter().map(shape).collect()
    }

    /// When the blocks of a stage get their durable copies.
    fn durability_of(&self, graph: &StageGraph, stage: &Stage) -> Durability {
        let is_root = graph.roots().any(|root| root.id == stage.id);
        match self.durability {
            // The result is read at once, by one reader.
            _ if is_root => Durability::Never,
            // What is made again would differ, and all that was made from it would be in vain.
            Durability::Async if stage.is_indeterminate() => Durability::Sync,
            asked => asked,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plan as bytes, if it can travel.
pub(crate) fn bytes(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
    physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &PlanCodec)
        .ok()
        .map(Into::into)
}

/// What was not as expected, and what followed.
fn told(before: &StageGraph, facts: &[Fact], revised: &Revised) -> String {
    let surprise = |(stage, fact): (&Stage, &Fact)| match fact {
        Fact::Finished { rows }
            if rows.max(&stage.rows_expected) > &(2 * rows.min(&stage.rows_expected)) =>
        {
            Some(format!(
                "{} yielded {rows} rows instead of {}",
                stage.id, stage.rows_expected
            ))
        }
        _ => None,
    };
    let surprises: Vec<String> = before
        .stages
        .iter()
        .zip(facts)
        .filter_map(surprise)
        .collect();
    let ids = |dropped: bool, from: u32| {
        let of = |stage: &&Stage| stage.dropped == dropped && stage.id >= StageId(from);
        let was = |stage: &&Stage| {
            before
                .stages
                .get(stage.id.0 as usize)
                .is_none_or(|stage| !stage.dropped)
        };
        revised
            .graph
            .stages
            .iter()
            .filter(of)
            .filter(was)
            .map(|stage| stage.id.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let rules = revised.rules.join(", ");
    format!(
        "{}: {rules} made {} of {}",
        surprises.join(", "),
        ids(false, revised.first_new.0),
        ids(true, 0)
    )
}

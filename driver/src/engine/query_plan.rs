//! The plan of a query while it runs: its waiting stages may be replaced when a finished stage
//! deviates from its estimate.
//!
//! The scheduler asks for it ([`Action::Revise`](crate::scheduler::Action::Revise)), and
//! [`revise()`] plans the stages that have not started. The current stages and the changes are kept
//! here, for `EXPLAIN ANALYZE`.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use faisca_executor::codec::encode_plan;
use faisca_executor::protocol::{Durability, StageSpec};
use faisca_planner::ids::{QueryId, StageId};
use faisca_planner::stack::on_large_stack;
use faisca_planner::stages::{Fact, Revised, Stage, StageGraph, revise};
use parking_lot::Mutex;

use super::prepared::{EncodedStage, PreparedQuery, stage_info};
use crate::scheduler::{Placement, StageInfo};

/// The plan of a query while it runs.
#[derive(Debug)]
pub(crate) struct QueryPlan {
    query: QueryId,
    prepared: PreparedQuery,
    placement: Placement,
    durability: Durability,
    /// Locked for copies, and while the plan is revised, which takes milliseconds.
    current: Mutex<CurrentPlan>,
}

#[derive(Debug, Clone)]
struct CurrentPlan {
    graph: Arc<StageGraph>,
    /// A sentence on each revision.
    changes: Vec<String>,
}

/// Stages of a query, as the scheduler and the executors need them. Empty for a revision that
/// leaves the plan unchanged.
#[derive(Debug, Default)]
pub struct QueryStages {
    pub(crate) infos: Vec<StageInfo>,
    pub(crate) specs: Vec<StageSpec>,
}

impl QueryPlan {
    pub(crate) fn new(
        query: QueryId,
        prepared: PreparedQuery,
        placement: Placement,
        durability: Durability,
    ) -> Self {
        let current = CurrentPlan {
            graph: Arc::clone(&prepared.graph),
            changes: vec![],
        };
        Self {
            query,
            prepared,
            placement,
            durability,
            current: Mutex::new(current),
        }
    }

    /// Returns the stages of the first plan.
    pub(crate) fn stages(&self) -> QueryStages {
        let graph = &self.prepared.graph;
        let encoded = graph
            .stages
            .iter()
            .zip(self.prepared.stages.iter().cloned());
        let specs = encoded.map(|(stage, encoded)| self.spec(graph, stage, encoded));
        QueryStages {
            infos: self.infos(&graph.stages),
            specs: specs.collect(),
        }
    }

    /// Re-plans the waiting stages, given the progress of each stage. Returns the new stages; none
    /// if the plan stays unchanged.
    ///
    /// # Errors
    /// If DataFusion cannot plan the rest, or an operator of it cannot be encoded.
    pub(crate) fn revise(&self, facts: &[Fact]) -> Result<QueryStages> {
        let mut current = self.current.lock();
        let options = &self.prepared.options;
        let revised = on_large_stack(|| revise(&current.graph, facts, options, encoded_plan))?;
        let Some(revised) = revised else {
            return Ok(QueryStages::default());
        };
        let new = &revised.graph.stages[revised.first_new.index()..];
        let mut specs = vec![];
        for stage in new {
            let encoded = EncodedStage::new(stage, &self.prepared.sinks)?;
            specs.push(self.spec(&revised.graph, stage, encoded));
        }
        let infos = self.infos(new);
        let change = describe_change(&current.graph, facts, &revised);
        tracing::info!(query = %self.query, "{change}");
        current.changes.push(change);
        current.graph = Arc::new(revised.graph);
        Ok(QueryStages { infos, specs })
    }

    /// Returns the current stages, and a sentence on each revision.
    pub(crate) fn current(&self) -> (Arc<StageGraph>, Vec<String>) {
        let CurrentPlan { graph, changes } = self.current.lock().clone();
        (graph, changes)
    }

    fn infos(&self, stages: &[Stage]) -> Vec<StageInfo> {
        let info = |stage| match self.placement {
            Placement::Fleet => stage_info(stage, &self.prepared.options),
            // Never re-planned: the query ends before that would pay off.
            Placement::Driver => StageInfo {
                expected_rows: None,
                ..stage_info(stage, &self.prepared.options)
            },
        };
        stages.iter().map(info).collect()
    }

    fn spec(&self, graph: &StageGraph, stage: &Stage, encoded: EncodedStage) -> StageSpec {
        StageSpec {
            query: self.query,
            stage: stage.id,
            plan: encoded.plan,
            output: encoded.output,
            durability: self.stage_durability(graph, stage),
            settings: self.prepared.settings.clone(),
        }
    }

    /// Returns when the blocks of a stage get their durable copies.
    fn stage_durability(&self, graph: &StageGraph, stage: &Stage) -> Durability {
        let is_root = graph.roots().any(|root| root.id == stage.id);
        match self.durability {
            // The result is read at once, by one reader.
            _ if is_root => Durability::Never,
            // Recomputed rows would differ, so everything computed from the lost ones would have to
            // be recomputed, too.
            Durability::Async if stage.is_indeterminate() => Durability::Sync,
            requested => requested,
        }
    }
}

/// Returns a plan's encoding; `None` if one of its operators has none.
pub(crate) fn encoded_plan(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
    encode_plan(plan).ok().map(Into::into)
}

/// Describes which stages deviated from their estimates, and what replaced which stages.
fn describe_change(before: &StageGraph, facts: &[Fact], revised: &Revised) -> String {
    let deviation = |(stage, fact): (&Stage, &Fact)| match fact {
        Fact::Finished { rows }
            if rows.max(&stage.rows_expected) > &(2 * rows.min(&stage.rows_expected)) =>
        {
            Some(format!(
                "{} returned {rows} rows, {} were estimated",
                stage.id, stage.rows_expected
            ))
        }
        Fact::Finished { .. } | Fact::Started | Fact::Waiting => None,
    };
    let deviations = before.stages.iter().zip(facts).filter_map(deviation);
    let deviations: Vec<String> = deviations.collect();
    let was_live = |id: StageId| {
        let stage = before.stages.get(id.index());
        stage.is_none_or(|stage| !stage.is_dropped)
    };
    let names = |is_included: &dyn Fn(&Stage) -> bool| {
        let stages = revised.graph.stages.iter();
        let included = stages.filter(|stage| is_included(stage) && was_live(stage.id));
        let names: Vec<String> = included.map(|stage| stage.id.to_string()).collect();
        names.join(", ")
    };
    format!(
        "{}; {} replaced {} by {}",
        deviations.join(", "),
        revised.rules.join(", "),
        names(&|stage| stage.is_dropped),
        names(&|stage| !stage.is_dropped && stage.id >= revised.first_new)
    )
}

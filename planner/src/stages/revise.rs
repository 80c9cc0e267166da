//! Plans the rest of a query again, from the row counts of its finished stages.
//!
//! Stages without a started task are joined into one plan, which undoes
//! [`cut()`](crate::stages::cut). Its leaves are scans and the stages that have started. The rules
//! that depend on row counts optimize this plan again, now with exact counts for finished stages,
//! and it is cut again. Stages that have started keep their plans and numbers. Waiting stages are
//! dropped, and new stages are numbered after them.
//!
//! ```text
//!   s4 join        waiting             s4 join        dropped        s6 join broadcasts s0
//!     s2 shuffle   waiting     ──►     s2 shuffle     dropped          s0, scan of s1
//!       s1 scan    waiting             s1 scan        dropped
//!     s0 shuffle   1 row               s0 shuffle     1 row
//! ```
//!
//! **Invariant.** The new plan returns the same rows: rules move operators, and remove only what is
//! known to be empty.

use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::cut::cut_after;
use super::graph::{Stage, StageGraph, StageOutput};
use super::share::share_after;
use crate::cost::{REPLAN_FACTOR, REPLAN_FEW_ROWS_DIVISOR};
use crate::estimate::estimate;
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode, KeyFilterExec, MaterializeExec};
use crate::physical::{collected_input, replace_children};
use crate::rules::{rules_while_running, switches};
use crate::statistics::Estimate;

/// The progress of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// No task has been started.
    Waiting,
    /// Some tasks have been started.
    Started,
    /// All tasks are committed.
    Finished {
        /// Rows of all tasks together.
        rows: u64,
    },
}

/// The outcome of planning the rest of a query again.
#[derive(Debug)]
pub struct Revised {
    /// All stages: started ones as they were, dropped ones, and the new ones at the end.
    pub graph: StageGraph,
    /// The first new stage.
    pub first_new: StageId,
    /// Names of the rules that changed the plan.
    pub rules: Vec<String>,
}

/// Returns the row counts of a stage within which the plan is kept; `None` if the plan is kept for
/// any count.
///
/// Zero rows always cause another planning: a side that is joined with them need not be read.
#[must_use]
pub fn expected_rows(stage: &Stage, options: &ConfigOptions) -> Option<RangeInclusive<u64>> {
    let is_always_kept =
        matches!(stage.output, StageOutput::Sink { .. }) || stage.body().is::<EmptyExec>();
    if !switches(options).adaptive || is_always_kept {
        return None;
    }
    let few_rows = options.optimizer.hash_join_single_partition_threshold_rows as u64
        / REPLAN_FEW_ROWS_DIVISOR;
    let low = if stage.rows_expected <= few_rows {
        1
    } else {
        stage.rows_expected.div_ceil(REPLAN_FACTOR).max(1)
    };
    Some(
        low..=stage
            .rows_expected
            .saturating_mul(REPLAN_FACTOR)
            .max(few_rows),
    )
}

/// Whether the plan of a stage may change once actual row counts are known: whether it has a hash
/// join.
#[must_use]
pub fn is_replannable(stage: &Stage) -> bool {
    fn has_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
        plan.is::<HashJoinExec>() || plan.children().into_iter().any(has_join)
    }
    has_join(&stage.plan)
}

/// Plans the rest of `graph` again; `None` if that changes nothing.
///
/// `facts` has the progress of each stage. `encode` returns a plan's bytes, or `None` if it cannot
/// be encoded.
///
/// # Errors
/// If DataFusion refuses to rebuild an operator over its new input.
pub fn revise(
    graph: &StageGraph,
    facts: &[Fact],
    options: &ConfigOptions,
    encode: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> Result<Option<Revised>> {
    let progress = Progress::new(graph, facts)?;
    let first_new = graph.stages.len();
    let (mut new, mut rules, mut has_changed) = (vec![], vec![], false);
    for root in graph
        .roots()
        .filter(|root| fact(facts, root.id) == Fact::Waiting)
    {
        let before = progress.undo_cut(Arc::clone(&root.plan))?;
        let plan = optimize_again(
            remove_exchanges_below_joins(Arc::clone(&before))?,
            options,
            &mut rules,
        )?;
        has_changed |= decisions(&plan) != decisions(&before);
        new.extend(cut_after(first_new + new.len(), plan, root.output)?);
    }
    if !has_changed {
        return Ok(None);
    }
    let new = if switches(options).share_stages {
        share_after(first_new, new, encode)?
    } else {
        new
    };
    let old_stages = graph.stages.iter().map(|stage| Stage {
        is_dropped: fact(facts, stage.id) == Fact::Waiting,
        ..stage.clone()
    });
    let stages = old_stages.chain(new).collect();
    Ok(Some(Revised {
        graph: StageGraph { stages },
        first_new: StageId::from_index(first_new),
        rules,
    }))
}

/// Applies the rules that depend on row counts. Adds the names of those that changed the plan to
/// `changed`.
fn optimize_again(
    mut plan: Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
    changed: &mut Vec<String>,
) -> Result<Arc<dyn ExecutionPlan>> {
    for rule in rules_while_running() {
        let before = decisions(&plan);
        plan = rule.optimize(plan, options)?;
        if decisions(&plan) != before && !changed.iter().any(|name| name == rule.name()) {
            changed.push(rule.name().to_owned());
        }
    }
    Ok(plan)
}

/// Returns the progress of a stage.
fn fact(facts: &[Fact], stage: StageId) -> Fact {
    facts.get(stage.index()).copied().unwrap_or(Fact::Waiting)
}

/// A graph, and the outputs of its started stages.
struct Progress<'a> {
    graph: &'a StageGraph,
    /// The output of each stage that has started; `None` for a waiting stage.
    outputs: Vec<Option<Arc<Estimate>>>,
}

impl<'a> Progress<'a> {
    fn new(graph: &'a StageGraph, facts: &[Fact]) -> Result<Self> {
        let mut progress = Self {
            graph,
            outputs: vec![],
        };
        for stage in &graph.stages {
            let rows = match fact(facts, stage.id) {
                Fact::Waiting => None,
                Fact::Started => Some(None),
                Fact::Finished { rows } => Some(Some(rows as f64)),
            };
            let output = rows
                .map(|rows| progress.estimate_output(stage, rows))
                .transpose()?;
            progress.outputs.push(output.map(Arc::new));
        }
        Ok(progress)
    }

    /// Estimates the output of a started stage. `rows` is exact, if the stage is finished: only then
    /// can it be 0, which removes the operators that read the stage.
    fn estimate_output(&self, stage: &Stage, rows: Option<f64>) -> Result<Estimate> {
        let expected = estimate(&self.undo_cut(Arc::clone(&stage.plan))?);
        Ok(match rows {
            Some(rows) => Estimate {
                rows,
                base_rows: expected.base_rows.max(rows),
                ..expected
            },
            None => Estimate {
                rows: expected.rows.max(1.0),
                ..expected
            },
        })
    }

    /// Replaces each read of a waiting stage by that stage's plan.
    fn undo_cut(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
            return self.source(read);
        }
        if let Some(filter) = plan.downcast_ref::<KeyFilterExec>()
            && !self.has_started(filter.children()[0])
        {
            // The filter's keys are not computed yet, so the rule may decide again.
            return self.undo_cut(Arc::clone(filter.input()));
        }
        let children = plan
            .children()
            .into_iter()
            .map(|child| self.undo_cut(Arc::clone(child)))
            .collect::<Result<Vec<_>>>()?;
        if children.is_empty() {
            Ok(plan)
        } else {
            replace_children(plan, children)
        }
    }

    fn has_started(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        plan.downcast_ref::<ExchangeReadExec>().is_some_and(|read| {
            self.outputs
                .get(read.stage().index())
                .is_some_and(Option::is_some)
        })
    }

    /// Returns the plan that replaces a read: a leaf for a started stage, else the stage's own
    /// plan.
    fn source(&self, read: &ExchangeReadExec) -> Result<Arc<dyn ExecutionPlan>> {
        let index = read.stage().index();
        let Some(stage) = self.graph.stages.get(index) else {
            return Ok(Arc::new(read.clone()));
        };
        let source: Arc<dyn ExecutionPlan> = match self.outputs.get(index).cloned().flatten() {
            Some(output) => Arc::new(read_partitions(stage).with_known_output(output)),
            None => self.undo_cut(Arc::clone(&stage.plan))?,
        };
        let has_one_partition = source.output_partitioning().partition_count() == 1;
        Ok(match read.mode() {
            InputMode::Shuffle => source,
            InputMode::Forward
                if self.reader_count(read.stage()) > 1 && !source.is::<ExchangeReadExec>() =>
            {
                Arc::new(MaterializeExec::new(source))
            }
            InputMode::Forward => source,
            InputMode::Merge | InputMode::Broadcast if has_one_partition => source,
            InputMode::Merge | InputMode::Broadcast => {
                Arc::new(CoalescePartitionsExec::new(source))
            }
        })
    }

    fn reader_count(&self, stage: StageId) -> usize {
        self.graph
            .live()
            .flat_map(|other| &other.inputs)
            .filter(|input| input.stage == stage)
            .count()
    }
}

/// Returns a leaf that reads a stage's output partitions one to one.
fn read_partitions(stage: &Stage) -> ExchangeReadExec {
    let mut eq_properties = stage.plan.equivalence_properties().clone();
    let mode = match stage.output {
        StageOutput::Shuffle { .. } => {
            eq_properties.clear_orderings();
            InputMode::Shuffle
        }
        StageOutput::Partitions | StageOutput::Sink { .. } => InputMode::Forward,
    };
    ExchangeReadExec::new(
        stage.id,
        mode,
        eq_properties,
        stage.plan.output_partitioning().clone(),
    )
}

/// Removes the exchanges directly below hash joins, so that rules see adjacent joins. Rules add
/// them again where needed.
fn remove_exchanges_below_joins(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    fn without_exchange(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
        let repartitioned = plan
            .downcast_ref::<RepartitionExec>()
            .map(RepartitionExec::input);
        repartitioned
            .or_else(|| collected_input(plan))
            .map_or(plan, without_exchange)
    }
    let remove = |node: Arc<dyn ExecutionPlan>| {
        if !node.is::<HashJoinExec>() {
            return Ok(Transformed::no(node));
        }
        let children = node
            .children()
            .into_iter()
            .map(|child| Arc::clone(without_exchange(child)))
            .collect();
        replace_children(node, children).map(Transformed::yes)
    };
    plan.transform_up(remove).data()
}

/// Returns what the rules decide, in the order of the plan: joins and key filters, a line each.
fn decisions(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut lines = vec![];
    if matches!(
        plan.name(),
        "HashJoinExec" | "NestedLoopJoinExec" | "CrossJoinExec" | "KeyFilterExec"
    ) {
        let line = displayable(plan.as_ref()).one_line().to_string();
        // The projection and the expected selectivity follow from other decisions.
        let line = line
            .split(", projection=")
            .next()
            .unwrap_or_default()
            .split(", about ")
            .next()
            .unwrap_or_default();
        lines.push(without_column_indices(line.trim()));
    }
    plan.children()
        .into_iter()
        .for_each(|child| lines.extend(decisions(child)));
    lines
}

/// Removes column indices (`name@3`) from a line: they change with unrelated parts of the plan.
fn without_column_indices(line: &str) -> String {
    let mut parts = line.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| {
        line + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    #[test]
    fn only_a_finished_stage_is_known_to_have_no_rows() {
        let plan = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let stages = cut_after(0, plan, StageOutput::Partitions).unwrap();
        let graph = StageGraph { stages };
        let rows = |fact| {
            let progress = Progress::new(&graph, &[fact]).unwrap();
            progress.outputs[0].as_ref().unwrap().rows
        };
        assert!(rows(Fact::Finished { rows: 0 }) < 1.0);
        assert!(rows(Fact::Started) >= 1.0);
    }
}

//! Plans what is left of a statement again, from what its finished stages yielded.
//!
//! The stages of which no task has run are put back together into one plan ([`cut()`](crate::stages::cut) undone), whose leaves are
//! scans and the stages that have run or run now. The rules that go by sizes look at it again, now with exact rows for
//! what is finished, and it is cut again. Stages that ran stay what they are, under their numbers; those that did not are
//! dropped, and new ones are numbered after them.
//!
//! ```text
//!   s4 join        waiting             s4 join        dropped        s6 join broadcasts s0
//!     s2 shuffle   waiting     ──►     s2 shuffle     dropped          s0, scan of s1
//!       s1 scan    waiting             s1 scan        dropped
//!     s0 shuffle   1 row               s0 shuffle     1 row
//! ```
//!
//! **Invariant.** The plan yields the same rows: rules move operators, and nothing is left out but what is known to be empty.

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
use crate::physical::replace_children;
use crate::rules::{rules_of_rest, switches};
use crate::statistics::Estimate;

/// How far a stage has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// No task of it has been started.
    Waiting,
    /// It runs, and ran perhaps in part.
    Started,
    /// It is complete, with so many rows.
    Finished {
        /// Of all of its tasks.
        rows: u64,
    },
}

/// A statement planned again.
#[derive(Debug)]
pub struct Revised {
    /// All stages: those that ran as they were, those dropped, and new ones behind.
    pub graph: StageGraph,
    /// The first that is new.
    pub first_new: StageId,
    /// The rules that changed something.
    pub rules: Vec<String>,
}

/// The rows of a stage that are no reason to plan again; `None` if nothing is.
///
/// No rows at all are always a surprise: whatever is joined with them need not be read.
#[must_use]
pub fn unsurprising(stage: &Stage, options: &ConfigOptions) -> Option<RangeInclusive<u64>> {
    let is_known =
        matches!(stage.output, StageOutput::Sink { .. }) || stage.body().is::<EmptyExec>();
    if !switches(options).adaptive || is_known {
        return None;
    }
    let few = options.optimizer.hash_join_single_partition_threshold_rows as u64
        / REPLAN_FEW_ROWS_DIVISOR;
    let low = if stage.rows_expected <= few {
        1
    } else {
        stage.rows_expected.div_ceil(REPLAN_FACTOR).max(1)
    };
    Some(low..=stage.rows_expected.saturating_mul(REPLAN_FACTOR).max(few))
}

/// Whether a stage may look otherwise once more is known.
#[must_use]
pub fn has_choices(stage: &Stage) -> bool {
    fn joins(plan: &Arc<dyn ExecutionPlan>) -> bool {
        plan.is::<HashJoinExec>() || plan.children().into_iter().any(joins)
    }
    joins(&stage.plan)
}

/// What is left of `graph`, planned again; `None` if that changes nothing. `facts` are of each stage.
///
/// # Errors
/// If DataFusion refuses to rebuild an operator over its new input.
pub fn revise(
    graph: &StageGraph,
    facts: &[Fact],
    options: &ConfigOptions,
    encoded: impl Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<u8>>,
) -> Result<Option<Revised>> {
    let rest = Rest::new(graph, facts)?;
    let first_new = graph.stages.len();
    let (mut new, mut rules, mut is_other) = (vec![], vec![], false);
    for root in graph
        .roots()
        .filter(|root| fact(facts, root.id) == Fact::Waiting)
    {
        let before = rest.put_together(Arc::clone(&root.plan))?;
        let plan = planned_again(gathered(Arc::clone(&before))?, options, &mut rules)?;
        is_other |= decisions(&plan) != decisions(&before);
        new.extend(cut_after(first_new + new.len(), plan, root.output)?);
    }
    if !is_other {
        return Ok(None);
    }
    let new = if switches(options).share_stages {
        share_after(first_new, new, encoded)?
    } else {
        new
    };
    let kept = graph.stages.iter().map(|stage| Stage {
        dropped: fact(facts, stage.id) == Fact::Waiting,
        ..stage.clone()
    });
    let stages = kept.chain(new).collect();
    Ok(Some(Revised {
        graph: StageGraph { stages },
        first_new: StageId(u32::try_from(first_new).unwrap_or(u32::MAX)),
        rules,
    }))
}

/// A plan by the rules that go by sizes; those that changed something are added to `changed`.
fn planned_again(
    mut plan: Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
    changed: &mut Vec<String>,
) -> Result<Arc<dyn ExecutionPlan>> {
    for rule in rules_of_rest() {
        let before = decisions(&plan);
        plan = rule.optimize(plan, options)?;
        if decisions(&plan) != before && !changed.iter().any(|name| name == rule.name()) {
            changed.push(rule.name().to_owned());
        }
    }
    Ok(plan)
}

fn fact(facts: &[Fact], stage: StageId) -> Fact {
    facts
        .get(stage.0 as usize)
        .copied()
        .unwrap_or(Fact::Waiting)
}

/// A graph whose waiting stages are to be put together.
struct Rest<'a> {
    graph: &'a StageGraph,
    /// Of each stage that has started, what it yields.
    known: Vec<Option<Arc<Estimate>>>,
}

impl<'a> Rest<'a> {
    fn new(graph: &'a StageGraph, facts: &[Fact]) -> Result<Self> {
        let mut rest = Self {
            graph,
            known: vec![],
        };
        for stage in &graph.stages {
            let rows = match fact(facts, stage.id) {
                Fact::Waiting => None,
                Fact::Started => Some(None),
                Fact::Finished { rows } => Some(Some(rows as f64)),
            };
            let known = rows.map(|rows| rest.estimated(stage, rows)).transpose()?;
            rest.known.push(known.map(Arc::new));
        }
        Ok(rest)
    }

    /// What a stage that has started yields: rows exactly, if it is finished.
    fn estimated(&self, stage: &Stage, rows: Option<f64>) -> Result<Estimate> {
        let expected = estimate(&self.put_together(Arc::clone(&stage.plan))?);
        Ok(match rows {
            Some(rows) => Estimate {
                rows,
                base_rows: expected.base_rows.max(rows),
                ..expected
            },
            None => expected,
        })
    }

    /// The plan with what it reads of waiting stages in the place of reading it.
    fn put_together(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
            return self.source(read);
        }
        if let Some(filter) = plan.downcast_ref::<KeyFilterExec>()
            && !self.has_started(filter.children()[0])
        {
            // The rule that put it there decides again.
            return self.put_together(Arc::clone(filter.input()));
        }
        let children = plan
            .children()
            .into_iter()
            .map(|child| self.put_together(Arc::clone(child)))
            .collect::<Result<Vec<_>>>()?;
        if children.is_empty() {
            Ok(plan)
        } else {
            replace_children(plan, children)
        }
    }

    fn has_started(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        plan.downcast_ref::<ExchangeReadExec>().is_some_and(|read| {
            self.known
                .get(read.stage().0 as usize)
                .is_some_and(Option::is_some)
        })
    }

    fn source(&self, read: &ExchangeReadExec) -> Result<Arc<dyn ExecutionPlan>> {
        let place = read.stage().0 as usize;
        let Some(stage) = self.graph.stages.get(place) else {
            return Ok(Arc::new(read.clone()));
        };
        let source: Arc<dyn ExecutionPlan> = match self.known.get(place).cloned().flatten() {
            Some(known) => Arc::new(partitions_of(stage).knowing(known)),
            None => self.put_together(Arc::clone(&stage.plan))?,
        };
        let is_one = source.output_partitioning().partition_count() == 1;
        Ok(match read.mode() {
            InputMode::Shuffle => source,
            InputMode::Forward
                if self.readers(read.stage()) > 1 && !source.is::<ExchangeReadExec>() =>
            {
                Arc::new(MaterializeExec::new(source))
            }
            InputMode::Forward => source,
            InputMode::Merge | InputMode::Broadcast if is_one => source,
            InputMode::Merge | InputMode::Broadcast => {
                Arc::new(CoalescePartitionsExec::new(source))
            }
        })
    }

    fn readers(&self, stage: StageId) -> usize {
        self.graph
            .live()
            .flat_map(|other| &other.inputs)
            .filter(|input| input.stage == stage)
            .count()
    }
}

/// A leaf that reads each partition of a stage.
fn partitions_of(stage: &Stage) -> ExchangeReadExec {
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

/// The plan without the exchanges right below hash joins, so that the order of joins can be seen; they are put in again
/// where they are needed.
fn gathered(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    fn below(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
        let spread = plan
            .downcast_ref::<RepartitionExec>()
            .map(RepartitionExec::input);
        let collected = || {
            plan.downcast_ref::<CoalescePartitionsExec>()
                .filter(|all| all.fetch().is_none())
                .map(CoalescePartitionsExec::input)
        };
        spread.or_else(collected).map_or(plan, below)
    }
    let open = |node: Arc<dyn ExecutionPlan>| {
        if !node.is::<HashJoinExec>() {
            return Ok(Transformed::no(node));
        }
        let children = node
            .children()
            .into_iter()
            .map(|child| Arc::clone(below(child)))
            .collect();
        replace_children(node, children).map(Transformed::yes)
    };
    plan.transform_up(open).data()
}

/// What rules decide, in the order of the plan: joins and filters by keys.
fn decisions(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut found = vec![];
    if matches!(
        plan.name(),
        "HashJoinExec" | "NestedLoopJoinExec" | "CrossJoinExec" | "KeyFilterExec"
    ) {
        let line = displayable(plan.as_ref()).one_line().to_string();
        // Which columns go on is no decision of its own, nor is what a filter is expected to let pass.
        let line = line
            .split(", projection=")
            .next()
            .unwrap_or_default()
            .split(", about ")
            .next()
            .unwrap_or_default();
        found.push(without_places(line.trim()));
    }
    plan.children()
        .into_iter()
        .for_each(|child| found.extend(decisions(child)));
    found
}

/// A line without the places of columns, which change with what is planned beside them.
fn without_places(line: &str) -> String {
    let mut parts = line.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| {
        line + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

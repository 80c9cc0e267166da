//! Follows the critical path backwards.

use std::collections::HashSet;

use faisca_planner::ids::{QueryId, StageId};

use super::super::intervals::Intervals;
use super::super::run::{AttemptSpan, Query, Run, Stage};
use super::part::{Part, PartKind, StageOfQuery};

/// A task that starts within this time after its inputs are complete did not wait for a slot.
const LAUNCH_MS_MAX: u64 = 20;
/// A task of more than this multiple of the median time of its stage counts as skewed.
const SKEW_FACTOR: u64 = 2;

/// A walk from the end of a run to its start.
pub(super) struct Walk<'r, 'a> {
    run: &'r Run<'a>,
    /// When at least one executor was ready.
    ready: Intervals,
    parts: Vec<Part>,
}

impl<'r, 'a> Walk<'r, 'a> {
    pub(super) fn new(run: &'r Run<'a>) -> Self {
        let ready = run.executors.values().map(|executor| {
            let until = executor.end.map_or(run.elapsed_ms, |end| end.at_ms);
            (executor.up_ms, until)
        });
        Self {
            run,
            ready: Intervals::union(ready),
            parts: vec![],
        }
    }

    /// Returns the parts of the path.
    pub(super) fn parts(mut self) -> Vec<Part> {
        let mut until = self.run.elapsed_ms;
        let mut visited = HashSet::new();
        while let Some((id, query)) = self.last_query(until, &visited) {
            visited.insert(id);
            let end = self.end(query);
            self.add_after(id, query, end, until);
            until = self.walk_query(id, query, end);
        }
        self.add(PartKind::Driver, None, 0, until);
        self.parts
    }

    fn end(&self, query: &Query<'_>) -> u64 {
        query.ended_ms.unwrap_or(self.run.elapsed_ms)
    }

    /// Returns the query that ended last before a moment.
    fn last_query(
        &self,
        until: u64,
        visited: &HashSet<QueryId>,
    ) -> Option<(QueryId, &'r Query<'a>)> {
        let queries = self.run.queries.iter().map(|(id, query)| (*id, query));
        queries
            .filter(|(id, query)| self.end(query) <= until && !visited.contains(id))
            // Of queries without an end, one whose tasks run holds up the others.
            .max_by_key(|(_, query)| (self.end(query), has_run(query), query.started_ms))
    }

    /// Adds the time between a query and the next query, or the end of the run.
    fn add_after(&mut self, id: QueryId, query: &Query<'_>, end: u64, until: u64) {
        // Steps that run as one query share its label.
        let steps = self.run.steps.iter().filter(|step| {
            let mut names = query.label.split(" + ");
            names.any(|name| name == step.name)
        });
        let committed = steps
            .filter_map(|step| step.finished_ms)
            .filter(|at_ms| (end..=until).contains(at_ms))
            .max()
            .unwrap_or(end);
        let last = self.last_stage(query, end).map(|(stage, _)| (id, stage));
        self.add(PartKind::Driver, None, committed, until);
        self.add(PartKind::Commit, last, end, committed);
    }

    /// Follows the path through a query, and through the queries that held its slots. Returns the
    /// start of the query that it reaches.
    fn walk_query(&mut self, id: QueryId, query: &Query<'_>, end: u64) -> u64 {
        let Some((stage, complete)) = self.last_stage(query, end) else {
            self.add_wait(None, query.started_ms, end);
            return query.started_ms;
        };
        self.add(PartKind::Commit, Some((id, stage)), complete, end);
        let (mut current, mut until) = ((id, stage), complete);
        loop {
            let Some((query, stage)) = self.stage(current) else {
                return until;
            };
            let first = stage.first_start_ms.unwrap_or(until).min(until);
            self.add_work(current, stage, first, until);
            let ready = stage.ready_ms.unwrap_or(first).min(first);
            if let Some((holder, moment)) = self.walk_wait(current, ready, first) {
                (current, until) = (holder, moment);
                continue;
            }
            let Some((input, complete)) = last_input(query, stage, ready) else {
                let started = query.started_ms.min(ready);
                self.add(PartKind::Driver, Some(current), started, ready);
                return started;
            };
            self.add_slicing(current, complete, ready);
            (current, until) = ((current.0, input), complete);
        }
    }

    fn stage(&self, id: StageOfQuery) -> Option<(&'r Query<'a>, &'r Stage<'a>)> {
        let query = self.run.queries.get(&id.0)?;
        Some((query, query.stages.get(&id.1)?))
    }

    /// Returns the stage that was complete last, and when; if the query did not end well, the
    /// stage that ran.
    fn last_stage(&self, query: &Query<'_>, end: u64) -> Option<(StageId, u64)> {
        let stages = query.stages.values();
        let started = stages.filter(|stage| stage.first_start_ms.is_some_and(|at| at <= end));
        let last = started
            .map(|stage| (stage.complete_ms.unwrap_or(end).min(end), stage))
            .max_by_key(|(complete, stage)| (*complete, stage.ready_ms, stage.id()));
        last.map(|(complete, stage)| (stage.id(), complete))
    }

    /// Adds the time from when a stage was ready to its first task. Returns the stage that held
    /// the slots until the first task started, and the moment when it released one.
    fn walk_wait(
        &mut self,
        waiting: StageOfQuery,
        ready: u64,
        first: u64,
    ) -> Option<(StageOfQuery, u64)> {
        if first - ready <= LAUNCH_MS_MAX {
            self.add(PartKind::Driver, Some(waiting), ready, first);
            return None;
        }
        let mut until = first;
        while let Some(holder) = self.last_attempt(waiting, ready, until) {
            self.add_wait(Some(waiting), holder.end_ms, until);
            if !holder.is_rerun {
                return Some((stage_of(holder), holder.end_ms));
            }
            // The stage of a repeated task may have been complete long before: it is not followed.
            let start = holder.start_ms.max(ready);
            let stage = Some(stage_of(holder));
            self.add(PartKind::Recomputed, stage, start, holder.end_ms);
            until = start;
        }
        self.add_wait(Some(waiting), ready, until);
        None
    }

    /// Returns the attempt of another stage that ended last in an interval.
    fn last_attempt(
        &self,
        waiting: StageOfQuery,
        from: u64,
        until: u64,
    ) -> Option<&'r AttemptSpan> {
        let attempts = &self.run.attempts;
        let ended = attempts.partition_point(|span| span.end_ms <= until);
        attempts[..ended]
            .iter()
            .rev()
            .take_while(|span| span.end_ms > from)
            .find(|span| stage_of(span) != waiting && span.start_ms < until)
    }

    /// Adds the time from the end of the last input of a stage until its tasks are known. It is
    /// short, unless inputs were lost meanwhile.
    fn add_slicing(&mut self, id: StageOfQuery, from: u64, until: u64) {
        let reruns = self.run.attempts.iter().filter(|span| {
            let is_inside = span.end_ms > from && span.start_ms < until;
            span.is_rerun && span.task.query == id.0 && is_inside
        });
        let clip = |span: &AttemptSpan| (span.start_ms.max(from), span.end_ms.min(until));
        let recomputed = Intervals::union(reruns.map(clip)).length();
        self.push(PartKind::Recomputed, Some(id), recomputed);
        self.push(PartKind::Driver, Some(id), until - from - recomputed);
    }

    /// Adds the time in which a stage ran, from its first task.
    fn add_work(&mut self, id: StageOfQuery, stage: &Stage<'_>, from: u64, until: u64) {
        let attempts = &self.run.attempts;
        let ended = attempts.partition_point(|span| span.end_ms <= from);
        let spans = attempts[ended..]
            .iter()
            .filter(|span| span.start_ms < until);
        let clip = |span: &AttemptSpan| (span.start_ms.max(from), span.end_ms.min(until));
        let (reruns, firsts): (Vec<&AttemptSpan>, Vec<&AttemptSpan>) = spans
            .filter(|span| span.task.query == id.0)
            .filter(|span| span.is_rerun || stage_of(span) == id)
            .partition(|span| span.is_rerun);
        let repeated = Intervals::union(reruns.iter().map(|span| clip(span)));
        let regular = Intervals::union(firsts.iter().map(|span| clip(span)));
        let recomputed = repeated.minus(&regular).length();
        let all = Intervals::union(std::iter::once((from, until)));
        let idle = all.minus(&repeated).minus(&regular);
        let executors = if self.run.executors.is_empty() {
            0
        } else {
            idle.minus(&self.ready).length()
        };
        let skew = skew_tail(stage, &firsts, from, until, self.run.slots());
        let work = (until - from).saturating_sub(recomputed + executors + skew);
        let kind = if stage.is_scan {
            PartKind::Scan
        } else {
            PartKind::Exchange
        };
        let stage = Some(id);
        self.push(PartKind::Recomputed, stage, recomputed);
        self.push(PartKind::Executors, stage, executors);
        self.push(PartKind::Skew, stage, skew);
        self.push(kind, stage, work);
    }

    /// Adds a time without tasks: waiting for executors, or for a slot.
    fn add_wait(&mut self, stage: Option<StageOfQuery>, from: u64, until: u64) {
        let all = Intervals::union(std::iter::once((from, until)));
        // A session without executors runs its tasks in the driver.
        let queue = if self.run.executors.is_empty() {
            all.length()
        } else {
            all.length() - all.minus(&self.ready).length()
        };
        self.push(PartKind::Queue, stage, queue);
        self.push(PartKind::Executors, stage, all.length() - queue);
    }

    fn add(&mut self, kind: PartKind, stage: Option<StageOfQuery>, from: u64, until: u64) {
        self.push(kind, stage, until.saturating_sub(from));
    }

    fn push(&mut self, kind: PartKind, stage: Option<StageOfQuery>, ms: u64) {
        if ms > 0 {
            self.parts.push(Part { kind, stage, ms });
        }
    }
}

/// Whether a query has ended, or a task of it has started.
fn has_run(query: &Query<'_>) -> bool {
    let mut stages = query.stages.values();
    query.ended_ms.is_some() || stages.any(|stage| stage.first_start_ms.is_some())
}

fn stage_of(span: &AttemptSpan) -> StageOfQuery {
    (span.task.query, span.task.stage)
}

/// Returns the input of a stage that was complete last before a moment, and when.
fn last_input(query: &Query<'_>, stage: &Stage<'_>, ready: u64) -> Option<(StageId, u64)> {
    let inputs = stage.record.inputs.iter();
    inputs
        .filter_map(|id| Some((*id, query.stages.get(id)?.complete_ms?)))
        .filter(|(_, complete)| *complete <= ready)
        .max_by_key(|(id, complete)| (*complete, *id))
}

/// Returns the time at the end of a stage in which at most half of its slots had a task, and the
/// last task took longer than [`SKEW_FACTOR`] medians; 0 if the stage is even.
fn skew_tail(stage: &Stage<'_>, spans: &[&AttemptSpan], from: u64, until: u64, slots: u64) -> u64 {
    let times = stage.task_times();
    let Some(last) = spans.iter().max_by_key(|span| span.end_ms) else {
        return 0;
    };
    let median = times
        .get(times.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0);
    if times.len() < 2 || last.elapsed_ms() <= median * SKEW_FACTOR {
        return 0;
    }
    let mut ends: Vec<u64> = spans.iter().map(|span| span.end_ms).collect();
    ends.sort_unstable_by(|a, b| b.cmp(a));
    let peak = usize::try_from(slots).unwrap_or(usize::MAX).min(ends.len());
    // After the task before these has ended, at most this many run.
    let few = (peak / 2).max(1);
    let alone = ends.get(few).copied().unwrap_or(last.start_ms);
    let start = alone.max(last.start_ms + median).max(from);
    last.end_ms.min(until).saturating_sub(start)
}

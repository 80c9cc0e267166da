//! What runs at this moment.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::charts::graph::operators;
use super::super::critical_path::StageOfQuery;
use super::super::findings::stage_name;
use super::super::page::{code, tasks_link};
use super::super::run::{AttemptEnd, Outcome, Run, Stage};
use super::super::tables::{Align, table};
use super::super::text;

/// Stages in the table: those with the most attempts.
const STAGES_MAX: usize = 30;
/// Steps that are named.
const STEPS_MAX: usize = 8;
/// A task that takes this many times the median of its stage is marked.
const SKEW_FACTOR: u64 = 4;
/// Tasks below this time are never marked.
const SKEW_MS_MIN: u64 = 2_000;
/// Characters of the label of a query.
const LABEL_CHARS_MAX: usize = 60;

/// The attempts of a stage that run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) attempts: u64,
    /// Time of the attempt that started first.
    pub(super) longest_ms: u64,
}

/// Returns the stages with attempts that run.
pub(super) fn running_stages(run: &Run<'_>) -> BTreeMap<StageOfQuery, Running> {
    let mut stages: BTreeMap<StageOfQuery, Running> = BTreeMap::new();
    if run.outcome != Outcome::Running {
        return stages;
    }
    let attempts = run.attempts.iter();
    for span in attempts.filter(|span| span.end == AttemptEnd::Unfinished) {
        let running = stages
            .entry((span.task.query, span.task.stage))
            .or_default();
        running.attempts += 1;
        running.longest_ms = running.longest_ms.max(span.elapsed_ms());
    }
    stages
}

/// Renders the stages that run, and says where the logs are.
pub(super) fn now(run: &Run<'_>, logs: &str) -> Markup {
    let running = running_stages(run);
    let attempts: u64 = running.values().map(|stage| stage.attempts).sum();
    html! {
        p {
            (steps(run)) " "
            (text::count_of(attempts, "task")) " on " (text::count_of(run.executors_ready(), "executor")) "."
            @if run.losses().count() > 0 {
                " " span.bad { (text::count_of(run.losses().count() as u64, "executor")) " lost." }
            }
        }
        @if !running.is_empty() { (table_of_stages(run, &running)) }
        p { b { "Logs. " } (code(logs)) }
    }
}

fn steps(run: &Run<'_>) -> String {
    let open: Vec<&str> = run
        .steps
        .iter()
        .filter(|step| step.finished_ms.is_none())
        .map(|step| step.name)
        .collect();
    let finished = run.steps.len() - open.len();
    let mut names = open.iter().take(STEPS_MAX).copied().collect::<Vec<_>>();
    if names.len() < open.len() {
        names.push("…");
    }
    let finished = text::count_of(finished as u64, "step");
    match names.is_empty() {
        true => format!("{finished} finished."),
        false => format!("{finished} finished; now {}.", names.join(", ")),
    }
}

fn table_of_stages(run: &Run<'_>, running: &BTreeMap<StageOfQuery, Running>) -> Markup {
    let mut stages: Vec<(StageOfQuery, Running)> =
        running.iter().map(|(id, stage)| (*id, *stage)).collect();
    stages.sort_by_key(|(id, stage)| (Reverse(stage.attempts), *id));
    let left = stages.len().saturating_sub(STAGES_MAX);
    stages.truncate(STAGES_MAX);
    stages.sort_by_key(|(id, _)| *id);
    let columns = [
        ("Stage", Align::Left),
        ("Tasks finished", Align::Left),
        ("Running", Align::Right),
        ("Rows", Align::Right),
        ("Rows expected", Align::Right),
        ("Bytes", Align::Right),
        ("Spilled", Align::Right),
        ("Median task", Align::Right),
        ("Longest task", Align::Right),
        ("Since", Align::Right),
        ("Left, about", Align::Right),
    ];
    let rows = html! {
        @for (id, attempts) in &stages {
            @let query = run.queries.get(&id.0);
            @if let Some((query, stage)) = query.and_then(|q| Some((q, q.stages.get(&id.1)?))) {
                (row(run, *id, query.label, stage, *attempts))
            }
        }
    };
    html! {
        (table("Stages that run", &columns, &rows))
        @if left > 0 { p.quiet { (text::count_of(left as u64, "stage")) " more." } }
    }
}

fn row(
    run: &Run<'_>,
    id: StageOfQuery,
    label: &str,
    stage: &Stage<'_>,
    running: Running,
) -> Markup {
    let times = stage.task_times();
    let finished = stage.results.len() as u64;
    let median = text::quantile(&times, 0.5);
    let longest = running.longest_ms.max(times.last().copied().unwrap_or(0));
    let is_skewed = !times.is_empty() && longest >= SKEW_MS_MIN.max(SKEW_FACTOR * median);
    let since = stage.first_start_ms.unwrap_or(run.elapsed_ms);
    html! {
        tr {
            th scope="row" {
                (tasks_link(run, id, &stage_name(id))) " " span.quiet { (operators(stage)) }
                br; span.quiet { (text::cut(label, LABEL_CHARS_MAX)) }
            }
            td.short {
                progress max=(stage.tasks) value=(finished)
                    aria-label={ "Tasks finished of " (stage_name(id)) } {}
                " " span.nowrap { (text::count(finished)) " of " (text::count(stage.tasks)) }
            }
            td.n { (text::count(running.attempts)) }
            td.n { (text::short_count(stage.total(|task| task.rows))) }
            td.n { (text::short_count(stage.record.rows_expected)) }
            td.n { (text::bytes(stage.total(|task| task.bytes))) }
            td.n { (text::bytes(stage.total(|task| task.spilled_bytes))) }
            td.n { @if times.is_empty() { "–" } @else { (text::duration(median)) } }
            td.n {
                (text::duration(longest))
                @if is_skewed {
                    " " span.off { "× " (text::count(longest / median.max(1))) }
                }
            }
            td.n { (text::duration(run.elapsed_ms.saturating_sub(since))) }
            td.n { (left(stage, running, &times)) }
        }
    }
}

/// Estimates the time until a stage is complete: its other tasks take as long as those before, in
/// the slots that it has now.
fn left(stage: &Stage<'_>, running: Running, times: &[u64]) -> String {
    let finished = times.len() as u64;
    if finished == 0 || running.attempts == 0 {
        return "–".to_owned();
    }
    let mean = times.iter().sum::<u64>() / finished;
    let tasks = stage.tasks.saturating_sub(finished);
    text::duration(mean * tasks.div_ceil(running.attempts))
}

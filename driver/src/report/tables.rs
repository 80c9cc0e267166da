//! The tables of the page. Each ends with the number of rows that are left out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use faisca_planner::ids::{ExecutorId, QueryId};
use maud::{Markup, html};

use super::charts::graph::{graph, operators};
use super::critical_path::{CriticalPath, StageOfQuery};
use super::detail::Detail;
use super::findings::stage_name;
use super::page::{stage_link, tasks_link};
use super::run::{Executor, Outcome, Query, Run, Stage};
use super::text;
use crate::journal::record::StepSkip;

/// Rows of the tables of steps, executors and outputs, and of settings.
const ROWS_MAX: usize = 50;
/// Queries that have a graph, a table of stages and their plans: those on the path for longest.
const QUERIES_MAX: usize = 12;
/// Stages in the table of a query.
const STAGES_MAX: usize = 40;
/// Stages in all graphs together.
const GRAPH_STAGES_MAX: usize = 100;
/// Characters of all plans, and of one.
const PLANS_CHARS_MAX: usize = 60_000;
const PLAN_CHARS_MAX: usize = 4_000;
/// Characters of a cell of text.
const CELL_CHARS_MAX: usize = 200;
/// Characters of a message of a failure.
const MESSAGE_CHARS_MAX: usize = 600;
/// Messages of failed attempts.
const MESSAGES_MAX: usize = 5;
/// Changes of the plan of a query.
const CHANGES_MAX: usize = 10;
/// Scans that are described beside the plan of a stage.
const SCANS_MAX: usize = 5;
/// Stages whose rows deviate from the estimate by at least this factor are marked.
const DEVIATION_MIN: f64 = 4.0;
/// Stages of fewer rows are cheap, whatever was expected.
const DEVIATION_ROWS_MIN: u64 = 1_000;

/// The side on which the values of a column begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    /// Numbers.
    Right,
}

/// Renders a table that scrolls by itself where the page is narrow.
pub(super) fn table(label: &str, columns: &[(&str, Align)], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "Table: " (label) } {
            table {
                thead { tr {
                    @for (name, align) in columns { th.n[*align == Align::Right] scope="col" { (name) } }
                } }
                tbody { (rows) }
            }
        }
    }
}

fn left_out(count: usize, noun: &str) -> Markup {
    html! { @if count > 0 { p.quiet { (text::count_of(count as u64, noun)) " more." } } }
}

/// Says that a step or query has no end.
fn unfinished(run: &Run<'_>) -> Markup {
    html! {
        @if run.outcome == Outcome::Running { span.running { "running" } }
        @else { span.bad { "not finished" } }
    }
}

/// Renders the steps of the job.
pub(super) fn steps(run: &Run<'_>, detail: Detail) -> Markup {
    let rows_max = detail.limit(ROWS_MAX);
    if run.steps.is_empty() {
        return html! { p { "The journal has no step." } };
    }
    let columns = [
        ("Step", Align::Left),
        ("Started after", Align::Right),
        ("Time", Align::Right),
        ("Share", Align::Right),
        ("Rows", Align::Right),
        ("Bytes", Align::Right),
        ("Files", Align::Right),
    ];
    let rows = html! {
        @for step in run.steps.iter().take(rows_max) {
            @let ended = step.finished_ms.unwrap_or(run.elapsed_ms);
            @let ms = ended.saturating_sub(step.started_ms);
            tr {
                th scope="row" {
                    (text::cut(step.name, CELL_CHARS_MAX))
                    @if step.finished_ms.is_none() { " " (unfinished(run)) }
                    @match step.skipped {
                        Some(StepSkip::CommittedBefore) => { " (skipped: an earlier attempt wrote it)" }
                        Some(StepSkip::OutputExists) => { " (skipped: the output existed)" }
                        None => {}
                    }
                }
                td.n { (text::duration(step.started_ms)) }
                td.n { (text::duration(ms)) }
                td.n { (text::share(ms, run.elapsed_ms)) }
                @match step.output {
                    Some(output) => {
                        td.n { (text::count(output.rows)) }
                        td.n { (text::bytes(output.bytes)) }
                        td.n { (text::count(output.files)) }
                    }
                    None => { td.n { "–" } td.n { "–" } td.n { "–" } }
                }
            }
        }
    };
    html! {
        (table("Steps", &columns, &rows))
        (left_out(run.steps.len().saturating_sub(rows_max), "step"))
    }
}

/// Renders the queries: the graph, the stages and the plans of each.
pub(super) fn queries(run: &Run<'_>, path: &CriticalPath, detail: Detail) -> Markup {
    if run.queries.is_empty() {
        return html! { p { "The journal has no query." } };
    }
    let times = path.stages();
    let mut by_time: BTreeMap<QueryId, u64> = BTreeMap::new();
    for ((query, _), ms) in &times {
        *by_time.entry(*query).or_default() += ms;
    }
    let mut queries: Vec<(QueryId, &Query<'_>)> =
        run.queries.iter().map(|(id, query)| (*id, query)).collect();
    queries.sort_by_key(|(id, _)| (Reverse(by_time.get(id).copied().unwrap_or(0)), *id));
    let left = queries.len().saturating_sub(detail.limit(QUERIES_MAX));
    queries.truncate(detail.limit(QUERIES_MAX));
    let mut graph_stages = detail.limit(GRAPH_STAGES_MAX);
    let mut with_graph = vec![];
    for (id, query) in &queries {
        let stages = query.stages.len();
        if stages <= graph_stages {
            graph_stages -= stages;
            with_graph.push(*id);
        }
    }
    let view = QueryView {
        run,
        times: &times,
        stages_max: detail.limit(STAGES_MAX),
        plans_chars: detail.limit(PLANS_CHARS_MAX) / queries.len().max(1),
    };
    queries.sort_by_key(|(id, _)| *id);
    html! {
        p.lead {
            "The stages of each query, with the time of their tasks. Rows that differ from the "
            "estimate by " (DEVIATION_MIN) " times or more are marked."
        }
        @for (id, query) in queries { (view.render(id, query, with_graph.contains(&id))) }
        @if left > 0 {
            p.quiet { (text::count(left as u64)) " more, which took less of the critical path." }
        }
    }
}

/// What the parts of the page about one query need.
struct QueryView<'r, 'a> {
    run: &'r Run<'a>,
    /// The time of each stage on the critical path.
    times: &'r BTreeMap<StageOfQuery, u64>,
    stages_max: usize,
    /// Characters of the plans of one query.
    plans_chars: usize,
}

impl QueryView<'_, '_> {
    fn render(&self, id: QueryId, query: &Query<'_>, has_graph: bool) -> Markup {
        let end = query.ended_ms.unwrap_or(self.run.elapsed_ms);
        let ms = end.saturating_sub(query.started_ms);
        html! {
            article id=(id) {
                h3 { (id) " · " (text::cut(query.label, CELL_CHARS_MAX)) }
                p.sub {
                    (text::duration(ms)) ", from " (text::duration(query.started_ms))
                    " to " (text::duration(end))
                    @if query.ended_ms.is_none() { " · " (unfinished(self.run)) }
                }
                @if let Some(message) = query.failure {
                    pre.message { (text::cut(message, MESSAGE_CHARS_MAX)) }
                }
                @if !query.changes.is_empty() {
                    ul.changes {
                        @for change in query.changes.iter().take(CHANGES_MAX) {
                            li { "Planned again: " (text::cut(change, CELL_CHARS_MAX)) }
                        }
                    }
                }
                @if has_graph { (graph(self.run, id, query, self.times)) }
                (self.stages(id, query))
                (self.plans(id, query))
            }
        }
    }

    /// Returns the stages of a query: those on the path for longest first.
    fn by_time<'q, 'b>(&self, id: QueryId, query: &'q Query<'b>) -> Vec<(&'q Stage<'b>, u64)> {
        let live = query.stages.values().filter(|stage| !stage.is_dropped);
        let time = |stage: &Stage<'_>| self.times.get(&(id, stage.id())).copied().unwrap_or(0);
        let mut stages: Vec<_> = live.map(|stage| (stage, time(stage))).collect();
        stages.sort_by_key(|(stage, ms)| (Reverse(*ms), stage.id()));
        stages
    }

    fn stages(&self, id: QueryId, query: &Query<'_>) -> Markup {
        let mut stages = self.by_time(id, query);
        let left = stages.len().saturating_sub(self.stages_max);
        stages.truncate(self.stages_max);
        stages.sort_by_key(|(stage, _)| stage.id());
        let columns = [
            ("Stage", Align::Left),
            ("On the path", Align::Right),
            ("Rows expected", Align::Right),
            ("Rows", Align::Right),
            ("Tasks", Align::Right),
            ("min", Align::Right),
            ("median", Align::Right),
            ("p95", Align::Right),
            ("max", Align::Right),
            ("Bytes", Align::Right),
            ("Fetched", Align::Right),
            ("Spilled", Align::Right),
        ];
        let rows = html! {
            @for (stage, path_ms) in &stages {
                (stage_row(self.run, id, stage, *path_ms))
            }
        };
        html! {
            (table(&format!("Stages of {id}"), &columns, &rows))
            (left_out(left, "stage"))
        }
    }

    /// Renders the plans of a query's stages, folded.
    fn plans(&self, id: QueryId, query: &Query<'_>) -> Markup {
        let mut chars_left = self.plans_chars;
        let mut plans = vec![];
        let stages = self.by_time(id, query);
        let count = stages.len();
        for (stage, _) in stages {
            if chars_left == 0 {
                break;
            }
            let plan = text::cut(&stage.record.plan, PLAN_CHARS_MAX.min(chars_left));
            chars_left = chars_left.saturating_sub(plan.len());
            plans.push((stage, plan));
        }
        let left = count - plans.len();
        plans.sort_by_key(|(stage, _)| stage.id());
        html! {
            details {
                summary { "Plans of the stages of " (id) }
                @for (stage, plan) in plans { (stage_plan(id, stage, &plan)) }
                (left_out(left, "plan"))
            }
        }
    }
}

fn stage_plan(id: QueryId, stage: &Stage<'_>, plan: &str) -> Markup {
    html! {
        h4 {
            (stage.id())
            @if !stage.record.inputs.is_empty() {
                span.quiet {
                    " reads"
                    @for input in &stage.record.inputs { " " (stage_link((id, *input))) }
                }
            }
        }
        @for scan in stage.record.scans.iter().take(SCANS_MAX) {
            p.quiet {
                "Scans " (text::cut(&scan.path, CELL_CHARS_MAX)) ": "
                (text::count_of(scan.files, "file")) " of " (scan.format) ", "
                (text::bytes(scan.bytes))
            }
        }
        pre tabindex="0" { (plan) }
    }
}

fn stage_row(run: &Run<'_>, id: QueryId, stage: &Stage<'_>, path_ms: u64) -> Markup {
    let times = stage.task_times();
    let rows = stage.total(|task| task.rows);
    let is_complete = stage.complete_ms.is_some();
    let ratio = (rows as f64 + 1.0) / (stage.record.rows_expected as f64 + 1.0);
    let is_many = rows.max(stage.record.rows_expected) >= DEVIATION_ROWS_MIN;
    let deviates = ratio >= DEVIATION_MIN || ratio <= 1.0 / DEVIATION_MIN;
    let is_off = is_complete && is_many && deviates;
    let finished = stage.results.len() as u64;
    html! {
        tr id=(stage_name((id, stage.id()))) {
            th scope="row" {
                (tasks_link(run, (id, stage.id()), &stage.id().to_string())) " "
                span.quiet { (operators(stage)) }
            }
            td.n {
                @if path_ms > 0 {
                    (text::duration(path_ms)) " "
                    span.quiet { (text::share(path_ms, run.elapsed_ms)) }
                } @else { "–" }
            }
            td.n { (text::short_count(stage.record.rows_expected)) }
            td.n {
                (text::short_count(rows))
                @if is_off {
                    " " span.off title="rows, divided by the rows expected" { "× " (factor(ratio)) }
                }
            }
            td.n {
                @if finished < stage.tasks { (text::count(finished)) " of " }
                (text::count(stage.tasks))
            }
            @for fraction in [0.0, 0.5, 0.95, 1.0] {
                td.n {
                    @if times.is_empty() { "–" }
                    @else { (text::duration(text::quantile(&times, fraction))) }
                }
            }
            td.n { (text::bytes(stage.total(|task| task.bytes))) }
            td.n { (text::bytes(stage.total(|task| task.fetched_bytes))) }
            td.n { (text::bytes(stage.total(|task| task.spilled_bytes))) }
        }
    }
}

fn factor(ratio: f64) -> String {
    match ratio {
        r if r >= 10.0 => text::count(r.round() as u64),
        r if r >= 0.1 => format!("{r:.1}"),
        r => format!("{r:.4}").trim_end_matches('0').to_owned(),
    }
}

/// Renders the executors: those that ended before the run first.
pub(super) fn executors(run: &Run<'_>, detail: Detail) -> Markup {
    let rows_max = detail.limit(ROWS_MAX);
    if run.executors.is_empty() {
        return html! { p { "All tasks ran in the driver." } };
    }
    let mut executors: Vec<(ExecutorId, &Executor<'_>)> =
        run.executors.iter().map(|(id, e)| (*id, e)).collect();
    let left = executors.len().saturating_sub(rows_max);
    if left > 0 {
        let lost: Vec<ExecutorId> = run.losses().map(|(id, _)| id).collect();
        executors.sort_by_key(|(id, e)| (!lost.contains(id), Reverse(e.busy_ms), *id));
        executors.truncate(rows_max);
    }
    let columns = [
        ("Executor", Align::Left),
        ("Process", Align::Right),
        ("Slots", Align::Right),
        ("Ready after", Align::Right),
        ("Tasks", Align::Right),
        ("Busy", Align::Right),
        ("Peak memory", Align::Right),
        ("Fetched", Align::Right),
        ("Spilled", Align::Right),
        ("End", Align::Left),
    ];
    let rows = html! { @for (id, executor) in &executors { (executor_row(run, *id, executor)) } };
    html! {
        (table("Executors", &columns, &rows))
        (left_out(left, "executor"))
    }
}

fn executor_row(run: &Run<'_>, id: ExecutorId, executor: &Executor<'_>) -> Markup {
    let until = executor.end.map_or(run.elapsed_ms, |end| end.at_ms);
    let available_ms = u64::from(executor.slots) * until.saturating_sub(executor.up_ms);
    html! {
        tr {
            th scope="row" { (id) }
            td.n { (executor.pid) }
            td.n { (executor.slots) }
            td.n { (text::duration(executor.up_ms)) }
            td.n { (text::count(executor.tasks)) }
            td.n { (text::share(executor.busy_ms, available_ms)) }
            td.n { (executor.resident_peak_bytes.map_or_else(String::new, text::bytes)) }
            td.n { (text::bytes(executor.fetched_bytes)) }
            td.n { (text::bytes(executor.spilled_bytes)) }
            td {
                @match executor.end {
                    None if run.outcome == Outcome::Running => span.quiet { "ready" },
                    None => span.quiet { "with the run" },
                    Some(end) => {
                        "after " (text::duration(end.at_ms)) ": "
                        (text::cut(end.reason, CELL_CHARS_MAX))
                        @if end.is_drained { " (drained)" }
                    }
                }
                @if executor.is_excluded { " " span.bad { "excluded: it failed too often" } }
            }
        }
    }
}

/// Renders the messages of failed attempts, equal ones once.
pub(super) fn failures(run: &Run<'_>) -> Markup {
    let mut messages: BTreeMap<&str, (u64, String)> = BTreeMap::new();
    for (task, message) in &run.failures {
        let entry = messages
            .entry(message)
            .or_insert_with(|| (0, task.to_string()));
        entry.0 += 1;
    }
    let mut messages: Vec<_> = messages.into_iter().collect();
    messages.sort_by_key(|(message, (count, _))| (Reverse(*count), *message));
    let left = messages.len().saturating_sub(MESSAGES_MAX);
    html! {
        @if !messages.is_empty() {
            h3 { "Failed attempts" }
            ul.failures {
                @for (message, (count, task)) in messages.iter().take(MESSAGES_MAX) {
                    li {
                        (text::count_of(*count, "time")) ", first in " (task) ":"
                        pre.message { (text::cut(message, MESSAGE_CHARS_MAX)) }
                    }
                }
            }
            (left_out(left, "message"))
        }
    }
}

/// Renders the outputs of the steps.
pub(super) fn outputs(run: &Run<'_>, detail: Detail) -> Markup {
    let rows_max = detail.limit(ROWS_MAX);
    let outputs: Vec<_> = run
        .steps
        .iter()
        .filter_map(|step| Some((step.name, step.output?)))
        .collect();
    if outputs.is_empty() {
        return html! { p { "No step wrote files." } };
    }
    let columns = [
        ("Step", Align::Left),
        ("Folder", Align::Left),
        ("Rows", Align::Right),
        ("Bytes", Align::Right),
        ("Files", Align::Right),
        ("Bytes of a file", Align::Right),
    ];
    let rows = html! {
        @for (name, output) in outputs.iter().take(rows_max) { tr {
            th scope="row" { (text::cut(name, CELL_CHARS_MAX)) }
            td.path { (text::cut(&output.path, CELL_CHARS_MAX)) }
            td.n { (text::count(output.rows)) }
            td.n { (text::bytes(output.bytes)) }
            td.n { (text::count(output.files)) }
            td.n { (text::bytes(output.bytes / output.files.max(1))) }
        } }
    };
    html! {
        (table("Outputs", &columns, &rows))
        (left_out(outputs.len().saturating_sub(rows_max), "output"))
    }
}

/// Renders the settings of the run.
pub(super) fn settings(run: &Run<'_>, detail: Detail) -> Markup {
    let rows_max = detail.limit(ROWS_MAX);
    let started = run.started;
    let memory = started
        .memory_bytes
        .map_or("no limit".to_owned(), text::bytes);
    let fixed = [
        ("application", started.application.clone()),
        ("started", text::moment(started.started_unix_ms)),
        ("build", started.build.clone()),
        ("executors", started.executors.to_string()),
        ("slots per executor", started.slots.to_string()),
        ("memory per executor", memory),
    ];
    let settings = started.settings.iter().take(rows_max);
    let rows = html! {
        @for (name, value) in &fixed { tr { th scope="row" { (name) } td.path { (value) } } }
        @for (name, value) in settings { tr {
            th scope="row" { code { (text::cut(name, CELL_CHARS_MAX)) } }
            td.path { (text::cut(value, CELL_CHARS_MAX)) }
        } }
    };
    html! {
        p.lead {
            "The size of the run, and the settings that differ from their defaults. Values of "
            "secrets are not recorded."
        }
        (table("Settings", &[("Setting", Align::Left), ("Value", Align::Left)], &rows))
        (left_out(started.settings.len().saturating_sub(rows_max), "setting"))
    }
}

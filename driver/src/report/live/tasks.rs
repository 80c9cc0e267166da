//! The tasks of one stage, by pages.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::super::charts::graph::operators;
use super::super::critical_path::StageOfQuery;
use super::super::findings::stage_name;
use super::super::run::{AttemptEnd, AttemptSpan, Run, Stage};
use super::super::tables::{Align, table};
use super::super::text;

/// Attempts on one page.
const ATTEMPTS_MAX: usize = 100;
/// Characters of the label of a query.
const LABEL_CHARS_MAX: usize = 200;

/// Which tasks come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskOrder {
    /// Those with the smallest index.
    #[default]
    Index,
    /// Those that took, or take, longest.
    Longest,
}

impl TaskOrder {
    const ALL: [(Self, &'static str); 2] =
        [(Self::Index, "by number"), (Self::Longest, "longest first")];

    /// Returns its name in the address of a page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Longest => "longest",
        }
    }

    /// Returns the order with a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut orders = Self::ALL.into_iter().map(|(order, _)| order);
        orders.find(|order| order.name() == name)
    }
}

/// Renders one page of the attempts of a stage. Returns none if the run has no such stage.
pub(super) fn tasks(
    run: &Run<'_>,
    id: StageOfQuery,
    page: usize,
    order: TaskOrder,
) -> Option<String> {
    let query = run.queries.get(&id.0)?;
    let stage = query.stages.get(&id.1)?;
    let is_member = |span: &&AttemptSpan| (span.task.query, span.task.stage) == id;
    let mut attempts: Vec<&AttemptSpan> = run.attempts.iter().filter(is_member).collect();
    match order {
        TaskOrder::Index => attempts.sort_by_key(|span| (span.task.index, span.start_ms)),
        TaskOrder::Longest => {
            attempts.sort_by_key(|span| (Reverse(span.elapsed_ms()), span.task.index));
        }
    }
    let pages = attempts.len().div_ceil(ATTEMPTS_MAX).max(1);
    let page = page.clamp(1, pages);
    let shown = attempts.iter().skip((page - 1) * ATTEMPTS_MAX);
    let shown = shown.take(ATTEMPTS_MAX).copied();
    let markup = html! {
        header {
            p.app { a href="../" { (run.started.application) } }
            h1 { "Stage " (stage_name(id)) }
            p.sub {
                (operators(stage)) " · " (text::cut(query.label, LABEL_CHARS_MAX)) " · "
                (text::count(stage.results.len() as u64)) " of "
                (text::count_of(stage.tasks, "task")) " finished · "
                (text::count_of(attempts.len() as u64, "attempt"))
            }
            (links(id, page, pages, order))
        }
        main {
            h2 #h-attempts { "Attempts" }
            (table_of_attempts(stage, shown))
            h2 #h-plan { "Plan" }
            p {
                (text::count(stage.total(|task| task.rows))) " rows so far, "
                (text::count(stage.record.rows_expected)) " expected."
            }
            pre tabindex="0" { (stage.record.plan) }
        }
    };
    Some(markup.into_string())
}

/// Links to the other pages and the other order.
fn links(id: StageOfQuery, page: usize, pages: usize, order: TaskOrder) -> Markup {
    let address = |page: usize, order: TaskOrder| {
        format!("{}?page={page}&order={}", stage_name(id), order.name())
    };
    html! {
        nav aria-label="Pages of attempts" { ul {
            li { "Page " (text::count(page as u64)) " of " (text::count(pages as u64)) }
            @if page > 1 {
                li { a href=(address(1, order)) { "First" } }
                li { a rel="prev" href=(address(page - 1, order)) { "Previous" } }
            }
            @if page < pages {
                li { a rel="next" href=(address(page + 1, order)) { "Next" } }
                li { a href=(address(pages, order)) { "Last" } }
            }
            @for (other, title) in TaskOrder::ALL {
                li {
                    @if other == order { span aria-current="true" { (title) } }
                    @else { a href=(address(1, other)) { (title) } }
                }
            }
        } }
    }
}

fn table_of_attempts<'r>(
    stage: &Stage<'_>,
    attempts: impl Iterator<Item = &'r AttemptSpan>,
) -> Markup {
    let columns = [
        ("Task", Align::Right),
        ("Executor", Align::Left),
        ("State", Align::Left),
        ("Started after", Align::Right),
        ("Time", Align::Right),
        ("Rows", Align::Right),
        ("Bytes", Align::Right),
        ("Fetched", Align::Right),
        ("Spilled", Align::Right),
    ];
    let rows = html! {
        @for span in attempts {
            @let result = stage.results.get(&span.task.index).filter(|_| span.end == AttemptEnd::Committed);
            tr {
                th.n scope="row" { (span.task.index) }
                td.short { (span.executor) }
                td.short { (state(span)) }
                td.n { (text::duration(span.start_ms)) }
                td.n { (text::duration(span.elapsed_ms())) }
                @match result {
                    Some(result) => {
                        td.n { (text::count(result.rows)) }
                        td.n { (text::bytes(result.bytes)) }
                        td.n { (text::bytes(result.fetched_bytes)) }
                        td.n { (text::bytes(result.spilled_bytes)) }
                    }
                    None => { td.n { "–" } td.n { "–" } td.n { "–" } td.n { "–" } }
                }
            }
        }
    };
    table("Attempts", &columns, &rows)
}

fn state(span: &AttemptSpan) -> Markup {
    html! {
        @match span.end {
            AttemptEnd::Committed => "finished",
            AttemptEnd::Cancelled => "cancelled",
            AttemptEnd::Failed => span.bad { "failed" },
            AttemptEnd::Lost => span.bad { "lost with its executor" },
            AttemptEnd::Unfinished => span.running { "running" },
        }
        @if span.is_rerun { " (repeated)" }
    }
}

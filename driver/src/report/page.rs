//! The page: its frame, the verdict, the figures, the critical path and the findings.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts;
use super::critical_path::{CriticalPath, PartKind, StageOfQuery};
use super::detail::Detail;
use super::findings::{self, Finding, stage_name};
use super::run::{AttemptEnd, Outcome, Run};
use super::{tables, text};

pub(super) const STYLE: &str = include_str!("style.css");
/// Characters of a message of a failure.
const MESSAGE_CHARS_MAX: usize = 1_200;
/// Number of stages that are named beside a part of the critical path.
const STAGES_NAMED_MAX: usize = 3;

/// Renders the page.
pub(super) fn page(
    run: &Run<'_>,
    path: &CriticalPath,
    findings: &[Finding],
    detail: Detail,
) -> Markup {
    let title = format!("{}: report of a run", run.started.application);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body(run, path, findings, detail, None)) }
        }
    }
}

/// Renders what the page says. `now` is what runs at this moment.
pub(super) fn body(
    run: &Run<'_>,
    path: &CriticalPath,
    findings: &[Finding],
    detail: Detail,
    now: Option<&Markup>,
) -> Markup {
    let now = now.filter(|_| run.outcome == Outcome::Running);
    html! {
        header {
            p.app { (run.started.application) }
            h1 { (verdict(run, path)) }
            p.sub {
                "Started " (text::moment(run.started.started_unix_ms)) " · "
                (fleet(run)) " · Faísca " (run.started.build)
            }
            (notes(run))
            (contents(now.is_some()))
        }
        main {
            @if let Some(now) = now { (section("now", "Now", now)) }
            (section("figures", "Figures", &figures(run)))
            (section("path", "Critical path", &critical_path(run, path)))
            (section("findings", "Findings", &list_findings(run, findings)))
            (section("steps", "Steps", &tables::steps(run, detail)))
            (section("stages", "Stages", &tables::queries(run, path, detail)))
            (section("tasks", "Tasks by executor", &tasks(run, detail)))
            (section("executors", "Executors", &tables::executors(run, detail)))
            (section("outputs", "Outputs", &tables::outputs(run, detail)))
            (section("settings", "Settings", &tables::settings(run, detail)))
        }
    }
}

fn section(id: &str, title: &str, content: &Markup) -> Markup {
    let heading = format!("h-{id}");
    html! {
        section id=(id) aria-labelledby=(heading) {
            h2 id=(heading) { (title) }
            (content)
        }
    }
}

fn contents(has_now: bool) -> Markup {
    let links = [
        ("now", "Now"),
        ("path", "Critical path"),
        ("findings", "Findings"),
        ("steps", "Steps"),
        ("stages", "Stages"),
        ("tasks", "Tasks"),
        ("executors", "Executors"),
        ("outputs", "Outputs"),
        ("settings", "Settings"),
    ];
    html! {
        nav aria-label="Parts of the report" {
            ul { @for (id, title) in links.iter().skip(usize::from(!has_now)) { li { a href={ "#" (id) } { (title) } } } }
        }
    }
}

/// Says in one sentence how the run ended, how long it took, and what dominated.
fn verdict(run: &Run<'_>, path: &CriticalPath) -> Markup {
    let elapsed = text::duration(run.elapsed_ms);
    let dominant = PartKind::ALL
        .into_iter()
        .max_by_key(|kind| path.total(*kind))
        .filter(|kind| path.total(*kind) > 0);
    html! {
        @match run.outcome {
            Outcome::Succeeded => { span.good { "Succeeded" } " in " (elapsed) }
            Outcome::Failed(_) => { span.bad { "Failed" } " after " (elapsed) }
            Outcome::Running => { span.running { "Running" } " for " (elapsed) }
            Outcome::Killed => {
                span.bad { "Was killed" } " after " (elapsed)
                ", or still ran when its journal was read"
            }
        }
        @if let Some(kind) = dominant {
            "; " (text::share(path.total(kind), run.elapsed_ms)) " of the time went to "
            (dominant_part(path, kind))
        }
        "."
    }
}

/// Describes a part of the critical path, with the stage that has more than half of it.
fn dominant_part(path: &CriticalPath, kind: PartKind) -> Markup {
    let stages = path.stages_of(kind);
    let most = stages
        .first()
        .filter(|(_, ms)| 2 * ms > path.total(kind))
        .map(|(stage, _)| *stage);
    let activity = match kind {
        PartKind::Driver => "the driver: start, listing and planning",
        PartKind::Executors => "waiting for executors",
        PartKind::Queue => "waiting for slots",
        PartKind::Scan => "scanning files",
        PartKind::Exchange => "stages after an exchange",
        PartKind::Skew => "skew: a few long tasks",
        PartKind::Recomputed => "recomputing lost results",
        PartKind::Commit => "the commit of outputs",
    };
    html! {
        (activity)
        @if let Some(stage) = most { ", most of it to stage " (stage_link(stage)) }
    }
}

/// Links to the tasks of a stage, which only the page of a run that goes on has.
pub(super) fn tasks_link(run: &Run<'_>, stage: StageOfQuery, title: &str) -> Markup {
    html! {
        @if run.outcome == Outcome::Running {
            a href={ "stages/" (stage_name(stage)) } { (title) }
        } @else { (title) }
    }
}

/// Returns a link to the row of a stage.
pub(super) fn stage_link(stage: StageOfQuery) -> Markup {
    let name = stage_name(stage);
    html! { a href={ "#" (name) } { (name) } }
}

fn fleet(run: &Run<'_>) -> String {
    let started = run.started;
    if started.executors == 0 {
        return format!("in the driver, {}", text::count_of(run.slots(), "slot"));
    }
    let executors = text::count_of(u64::from(started.executors), "executor");
    let memory = started.memory_bytes.map_or_else(String::new, |bytes| {
        format!(", {} of memory each", text::bytes(bytes))
    });
    let slots = text::count_of(u64::from(started.slots), "slot");
    format!("{executors} with {slots}{memory}")
}

/// Says what a reader must know before the figures: the failure, and what the journal lacks.
fn notes(run: &Run<'_>) -> Markup {
    html! {
        @if let Outcome::Failed(message) = run.outcome {
            pre.message { (text::cut(message, MESSAGE_CHARS_MAX)) }
        }
        @if run.records_dropped > 0 {
            p.note {
                "The disk was too slow for the journal: "
                (text::count_of(run.records_dropped, "record"))
                " are missing, so launches of tasks may be missing below."
            }
        }
        @if run.records_unknown > 0 {
            p.note {
                "A later version wrote the journal: "
                (text::count_of(run.records_unknown as u64, "record")) " could not be read."
            }
        }
    }
}

fn figures(run: &Run<'_>) -> Markup {
    let sum = |figure: fn(&crate::journal::record::TaskCommitted) -> u64| -> u64 {
        run.results().map(figure).sum()
    };
    let outputs = || run.steps.iter().filter_map(|step| step.output);
    let tasks: u64 = run.stages().map(|(_, stage)| stage.tasks).sum();
    let failed = run.failures.len() as u64;
    let reruns = run.attempts.iter().filter(|span| span.is_rerun).count() as u64;
    let lost = run.losses().count() as u64;
    let entries = [
        ("Elapsed", text::duration(run.elapsed_ms)),
        ("Task time", text::duration(run.busy_ms())),
        ("Slots busy", text::share(run.busy_ms(), run.slot_ms())),
        ("Queries", text::count(run.queries.len() as u64)),
        ("Tasks", text::count(tasks)),
        ("Attempts failed", text::count(failed)),
        ("Attempts repeated", text::count(reruns)),
        ("Executors lost", text::count(lost)),
        (
            "Rows written",
            text::count(outputs().map(|output| output.rows).sum()),
        ),
        (
            "Bytes written",
            text::bytes(outputs().map(|output| output.bytes).sum()),
        ),
        ("Fetched", text::bytes(sum(|task| task.fetched_bytes))),
        ("Spilled", text::bytes(sum(|task| task.spilled_bytes))),
    ];
    html! {
        dl.figures { @for (name, value) in entries { div { dt { (name) } dd { (value) } } } }
    }
}

fn critical_path(run: &Run<'_>, path: &CriticalPath) -> Markup {
    let kinds = || {
        PartKind::ALL
            .into_iter()
            .filter(|kind| path.total(*kind) > 0)
    };
    html! {
        p.lead {
            "What the run waited for at each moment. A stage starts when its inputs are complete, "
            "so the parts add up to the elapsed time. Work beside the path is not shown: making "
            "it faster gains nothing."
        }
        (charts::path_bar(run, path))
        div.scroll tabindex="0" role="region" aria-label="Critical path, as a table" {
            table {
                thead { tr {
                    th scope="col" { "Part" }
                    th.n scope="col" { "Time" }
                    th.n scope="col" { "Share" }
                    th scope="col" { "Mostly in" }
                    th scope="col" { "Meaning" }
                } }
                tbody { @for kind in kinds() { tr {
                    th scope="row" { span.swatch.(kind.class()) {} (kind.title()) }
                    td.n { (text::duration(path.total(kind))) }
                    td.n { (text::share(path.total(kind), run.elapsed_ms)) }
                    td { (main_stages(path, kind)) }
                    td.meaning { (kind.meaning()) }
                } } }
                tfoot { tr {
                    th scope="row" { "Elapsed" }
                    td.n { (text::duration(run.elapsed_ms)) }
                    td.n { "100 %" }
                    td {}
                    td {}
                } }
            }
        }
    }
}

fn main_stages(path: &CriticalPath, kind: PartKind) -> Markup {
    let stages = path.stages_of(kind);
    let named = stages.iter().take(STAGES_NAMED_MAX).enumerate();
    html! {
        @for (index, (stage, ms)) in named {
            @if index > 0 { ", " }
            span.nowrap { (stage_link(*stage)) " " span.quiet { (text::duration(*ms)) } }
        }
    }
}

fn list_findings(run: &Run<'_>, findings: &[Finding]) -> Markup {
    html! {
        @if findings.is_empty() {
            p {
                "None: the journal shows no cause whose removal would gain "
                (text::duration(findings::gain_min(run))) " or more."
            }
        } @else {
            p.lead {
                "What to change, the largest gain first; more slots come last. Gains are "
                "predictions, and do not add up."
            }
            ol.findings {
                @for finding in findings { li {
                    h3 { (finding.title) }
                    p {
                        (finding.evidence)
                        @if let Some(stage) = finding.stage { " See " (stage_link(stage)) "." }
                    }
                    p { b { "Fix. " } (code(&finding.fix)) }
                    p {
                        b { "Predicted gain. " } "About " (text::duration(finding.gain_ms)) " of "
                        (text::duration(run.elapsed_ms)) " ("
                        (text::share(finding.gain_ms, run.elapsed_ms)) "): "
                        (finding.basis) "."
                    }
                } }
            }
        }
    }
}

/// Renders the parts of a text between backquotes as code.
pub(super) fn code(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn tasks(run: &Run<'_>, detail: Detail) -> Markup {
    let ended = |end: AttemptEnd| run.attempts.iter().filter(|span| span.end == end).count() as u64;
    html! {
        @if run.attempts.is_empty() {
            p { "No task ran." }
        } @else {
            p.lead {
                (text::count_of(run.attempts.len() as u64, "attempt")) ": "
                (text::count(ended(AttemptEnd::Committed))) " committed, "
                (text::count(ended(AttemptEnd::Failed))) " failed, "
                (text::count(ended(AttemptEnd::Lost))) " lost with their executor, "
                (text::count(ended(AttemptEnd::Cancelled))) " cancelled"
                @if ended(AttemptEnd::Unfinished) > 0 {
                    ", " (text::count(ended(AttemptEnd::Unfinished)))
                    @if run.outcome == Outcome::Running { " running" }
                    @else { " running when the journal ended" }
                }
                "."
            }
            (charts::gantt::gantt(run, detail))
        }
        (tables::failures(run))
    }
}

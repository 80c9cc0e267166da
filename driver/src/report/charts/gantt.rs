//! The attempts of tasks by executor.
//!
//! A few thousand attempts are drawn one by one, in a row for each slot. With more attempts, or
//! many slots, an executor is one row whose shade shows the share of its busy slots; with many
//! executors, a row is a group of them.

use std::collections::BTreeMap;

use faisca_planner::ids::{ExecutorId, QueryId, StageId};
use maud::{Markup, html};

use super::super::detail::Detail;
use super::super::run::{AttemptEnd, AttemptSpan, Executor, Outcome, Run};
use super::super::text;
use super::{WIDTH, time_axis, units};

/// Up to this many attempts are drawn one by one.
const ATTEMPTS_MAX: usize = 2_500;
/// Up to this many slots have a row each.
const SLOT_ROWS_MAX: u64 = 64;
/// Up to this many executors have a row each.
const LANES_MAX: usize = 40;
/// Number of intervals in which the busy slots of a row are counted.
const BINS: usize = 120;
/// Height of the row of a slot.
const SLOT_HEIGHT: f64 = 9.0;
/// Height of an executor's row, if its slots are drawn together.
const LANE_HEIGHT: f64 = 18.0;
const LANE_GAP: f64 = 6.0;

/// The attempts of one or several executors.
struct Lane<'r, 'a> {
    name: String,
    executors: Vec<(ExecutorId, &'r Executor<'a>)>,
    attempts: Vec<&'r AttemptSpan>,
}

/// The outlines of rectangles of the same class.
type Outlines = BTreeMap<&'static str, String>;

/// Draws the attempts of a run.
pub(in crate::report) fn gantt(run: &Run<'_>, detail: Detail) -> Markup {
    let lanes = lanes(run, detail.limit(LANES_MAX));
    let is_detailed = run.attempts.len() <= detail.limit(ATTEMPTS_MAX)
        && run.executors.len() <= lanes.len()
        && lanes.iter().map(rows_of).sum::<u64>() <= SLOT_ROWS_MAX;
    let mut outlines = Outlines::new();
    let mut labels = vec![];
    let mut top = 0.0;
    for lane in &lanes {
        let rows = if is_detailed { rows_of(lane) } else { 1 };
        let height = if is_detailed {
            (rows as f64 * SLOT_HEIGHT).max(LANE_HEIGHT)
        } else {
            LANE_HEIGHT
        };
        draw_absence(run, lane, top, height, &mut outlines);
        if is_detailed {
            draw_attempts(run, lane, top, height / rows as f64, &mut outlines);
        } else {
            draw_shares(run, lane, top, height, &mut outlines);
        }
        draw_losses(run, lane, top, height, &mut outlines);
        labels.push((lane.name.clone(), height));
        top += height + LANE_GAP;
    }
    let view = format!("0 0 1000 {}", units(top));
    html! {
        (legend(run, is_detailed))
        figure.gantt {
            div.lanes {
                div.labels aria-hidden="true" {
                    @for (name, height) in &labels {
                        div style=(format!("height:{}px", units(height + LANE_GAP))) { (name) }
                    }
                }
                svg viewBox=(view) height=(units(top)) preserveAspectRatio="none"
                    role="img" aria-labelledby="gantt-title gantt-desc" {
                    title id="gantt-title" { "Tasks by executor over time" }
                    desc id="gantt-desc" { (describe(run, &lanes)) }
                    @for quarter in 1..4 {
                        path.grid d=(format!("M{} 0V{}", quarter * 250, units(top))) {}
                    }
                    @for (class, outline) in &outlines { path.(*class) d=(outline) {} }
                }
            }
            (time_axis(run.elapsed_ms))
        }
    }
}

/// Groups the executors that ran something, or ended, into lanes.
fn lanes<'r, 'a>(run: &'r Run<'a>, lanes_max: usize) -> Vec<Lane<'r, 'a>> {
    let executors: Vec<_> = run.executors.iter().map(|(id, e)| (*id, e)).collect();
    let group = executors.len().div_ceil(lanes_max).max(1);
    let mut lane_of = BTreeMap::new();
    let mut lanes: Vec<Lane<'r, 'a>> = vec![];
    for members in executors.chunks(group) {
        let (Some((first, _)), Some((last, _))) = (members.first(), members.last()) else {
            continue;
        };
        let name = if first == last {
            first.to_string()
        } else {
            format!("{} – {}", first.0, last.0)
        };
        lane_of.extend(members.iter().map(|(id, _)| (*id, lanes.len())));
        lanes.push(Lane {
            name,
            executors: members.to_vec(),
            attempts: vec![],
        });
    }
    for span in &run.attempts {
        let lane = lane_of
            .get(&span.executor)
            .and_then(|lane| lanes.get_mut(*lane));
        if let Some(lane) = lane {
            lane.attempts.push(span);
        }
    }
    for lane in &mut lanes {
        lane.attempts
            .sort_by_key(|span| (span.start_ms, span.end_ms));
    }
    lanes
}

/// Returns the number of slots of a lane.
fn rows_of(lane: &Lane<'_, '_>) -> u64 {
    let slots = lane
        .executors
        .iter()
        .map(|(_, executor)| u64::from(executor.slots));
    slots.sum::<u64>().max(1)
}

/// Draws each attempt in the row of a slot that is free at its start.
fn draw_attempts(
    run: &Run<'_>,
    lane: &Lane<'_, '_>,
    top: f64,
    height: f64,
    outlines: &mut Outlines,
) {
    let mut free_at = vec![0; usize::try_from(rows_of(lane)).unwrap_or(usize::MAX)];
    for span in &lane.attempts {
        // A slot that the driver sees as busy for a moment longer is the one that is free first.
        let slots = free_at.iter_mut().enumerate();
        let Some((row, free)) =
            slots.min_by_key(|(row, free)| (**free > span.start_ms, **free, *row))
        else {
            continue;
        };
        *free = span.end_ms;
        let y = top + row as f64 * height;
        let class = class_of(run, span);
        outline(
            outlines,
            class,
            scale(run, span.start_ms, span.end_ms),
            y,
            height - 1.0,
        );
    }
}

/// Returns the class of an attempt's colour.
fn class_of(run: &Run<'_>, span: &AttemptSpan) -> &'static str {
    match span.end {
        AttemptEnd::Failed | AttemptEnd::Lost => "k-failed",
        AttemptEnd::Unfinished if run.outcome == Outcome::Running => "k-running",
        AttemptEnd::Cancelled | AttemptEnd::Unfinished => "k-cancelled",
        AttemptEnd::Committed if span.is_rerun => "k-recomputed",
        AttemptEnd::Committed => {
            if is_scan(run, span.task.query, span.task.stage) {
                "k-scan"
            } else {
                "k-exchange"
            }
        }
    }
}

fn is_scan(run: &Run<'_>, query: QueryId, stage: StageId) -> bool {
    let query = run.queries.get(&query);
    let stage = query.and_then(|query| query.stages.get(&stage));
    stage.is_none_or(|stage| stage.is_scan)
}

/// Draws the share of busy slots of a lane over time, and marks attempts that failed or were
/// repeated.
fn draw_shares(run: &Run<'_>, lane: &Lane<'_, '_>, top: f64, height: f64, outlines: &mut Outlines) {
    let bin_ms = (run.elapsed_ms as f64 / BINS as f64).max(f64::MIN_POSITIVE);
    let mut busy = [0.0; BINS];
    let mut marks: BTreeMap<&'static str, [bool; BINS]> = BTreeMap::new();
    for span in &lane.attempts {
        let (start, end) = (span.start_ms as f64 / bin_ms, span.end_ms as f64 / bin_ms);
        let last = BINS - 1;
        for (bin, busy) in busy
            .iter_mut()
            .enumerate()
            .take((end as usize).min(last) + 1)
            .skip(start as usize)
        {
            *busy += (end.min(bin as f64 + 1.0) - start.max(bin as f64)).max(0.0);
        }
        let class = class_of(run, span);
        if class == "k-failed" || class == "k-recomputed" {
            marks.entry(class).or_insert([false; BINS])[(end as usize).min(last)] = true;
        }
    }
    let slots = rows_of(lane) as f64;
    let level = |busy: f64| match busy / slots {
        share if share <= 0.0 => None,
        share if share < 0.35 => Some("busy-1"),
        share if share < 0.7 => Some("busy-2"),
        _ => Some("busy-3"),
    };
    let mut from = 0;
    for bin in 1..=BINS {
        if bin < BINS && level(busy[bin]) == level(busy[from]) {
            continue;
        }
        if let Some(class) = level(busy[from]) {
            outline(outlines, class, bins(from, bin), top, height);
        }
        from = bin;
    }
    for (class, marks) in marks {
        for (bin, _) in marks
            .iter()
            .enumerate()
            .filter(|(_, is_marked)| **is_marked)
        {
            let y = if class == "k-failed" {
                top
            } else {
                top + height / 2.0
            };
            outline(outlines, class, bins(bin, bin + 1), y, height / 2.0);
        }
    }
}

fn bins(from: usize, to: usize) -> (f64, f64) {
    let width = WIDTH / BINS as f64;
    (from as f64 * width, (to - from) as f64 * width)
}

/// Shades the time before the executor of a lane was ready, and after its end.
fn draw_absence(
    run: &Run<'_>,
    lane: &Lane<'_, '_>,
    top: f64,
    height: f64,
    outlines: &mut Outlines,
) {
    let [(_, executor)] = lane.executors[..] else {
        return;
    };
    let end = executor.end.map_or(run.elapsed_ms, |end| end.at_ms);
    for (from, until) in [(0, executor.up_ms), (end, run.elapsed_ms)] {
        if from < until {
            outline(outlines, "absent", scale(run, from, until), top, height);
        }
    }
}

/// Marks the moments at which an executor of a lane was lost.
fn draw_losses(run: &Run<'_>, lane: &Lane<'_, '_>, top: f64, height: f64, outlines: &mut Outlines) {
    let is_member = |id: ExecutorId| lane.executors.iter().any(|(member, _)| *member == id);
    for (_, end) in run.losses().filter(|(id, _)| is_member(*id)) {
        let (x, _) = scale(run, end.at_ms, end.at_ms);
        outline(outlines, "loss", (x - 1.5, 3.0), top - 2.0, height + 4.0);
    }
}

/// Returns the left edge and the width of an interval of time.
fn scale(run: &Run<'_>, from_ms: u64, until_ms: u64) -> (f64, f64) {
    let scale = WIDTH / run.elapsed_ms.max(1) as f64;
    let width = (until_ms - from_ms) as f64 * scale;
    // Tasks that follow each other stay apart, and short ones visible.
    let width = if width > 2.0 {
        width - 0.5
    } else {
        width.max(0.5)
    };
    (from_ms as f64 * scale, width)
}

fn outline(
    outlines: &mut Outlines,
    class: &'static str,
    (x, width): (f64, f64),
    y: f64,
    height: f64,
) {
    let width = units(width);
    let path = format!(
        "M{} {}h{width}v{}h-{width}z",
        units(x),
        units(y),
        units(height)
    );
    outlines.entry(class).or_default().push_str(&path);
}

fn legend(run: &Run<'_>, is_detailed: bool) -> Markup {
    let detailed = [
        ("k-scan", "scan"),
        ("k-exchange", "after an exchange"),
        ("k-running", "running"),
        ("k-cancelled", "cancelled"),
        ("absent", "executor not ready"),
    ];
    let merged = [
        ("busy-1", "less than a third of the slots busy"),
        ("busy-2", "up to two thirds"),
        ("busy-3", "more"),
    ];
    let common = [
        ("k-recomputed", "repeated"),
        ("k-failed", "failed or lost"),
        ("loss", "executor lost"),
    ];
    let first: &[(&str, &str)] = if is_detailed { &detailed } else { &merged };
    html! {
        ul.legend aria-label="Colours" {
            @for (class, name) in first.iter().chain(&common) {
                @if run.outcome == Outcome::Running || *class != "k-running" {
                    li { span.swatch.(*class) {} (*name) }
                }
            }
        }
    }
}

fn describe(run: &Run<'_>, lanes: &[Lane<'_, '_>]) -> String {
    let lost = run
        .losses()
        .map(|(id, end)| format!("{id} was lost after {}", text::duration(end.at_ms)));
    let lost: Vec<String> = lost.take(10).collect();
    let losses = if lost.is_empty() {
        "no executor was lost".to_owned()
    } else {
        lost.join(", ")
    };
    format!(
        "{} in {} over {}; {losses}. The tables of stages and executors have the figures.",
        text::count_of(run.attempts.len() as u64, "attempt"),
        text::count_of(lanes.len() as u64, "row"),
        text::duration(run.elapsed_ms)
    )
}

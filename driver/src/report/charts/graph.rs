//! The stages of a query as a graph, producers on the left.

use std::collections::BTreeMap;

use faisca_planner::ids::{QueryId, StageId};
use maud::{Markup, html};

use super::super::critical_path::StageOfQuery;
use super::super::run::{Outcome, Query, Run, Stage};
use super::super::text;
use super::units;

const NODE_WIDTH: f64 = 150.0;
const NODE_HEIGHT: f64 = 52.0;
const COLUMN_GAP: f64 = 46.0;
const ROW_GAP: f64 = 14.0;
const MARGIN: f64 = 4.0;
/// Opacity of the colour of a stage that is the whole path: text on it stays readable.
const HEAT_OPACITY_MAX: f64 = 0.4;

/// Draws the stages of a query. `times` is the time of each stage on the critical path.
pub(in crate::report) fn graph(
    run: &Run<'_>,
    id: QueryId,
    query: &Query<'_>,
    times: &BTreeMap<StageOfQuery, u64>,
) -> Markup {
    let corners = corners(query);
    let furthest =
        |corner: fn(&(f64, f64)) -> f64| corners.values().map(corner).fold(0.0, f64::max);
    let width = furthest(|corner| corner.0) + NODE_WIDTH + MARGIN;
    let height = furthest(|corner| corner.1) + NODE_HEIGHT + MARGIN;
    let (title, desc) = (format!("graph-{id}"), format!("graph-{id}-desc"));
    let stages = || {
        let nodes = corners.iter();
        nodes.filter_map(|(stage, corner)| Some((query.stages.get(stage)?, *corner)))
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "Graph of the stages of " (id) } {
            svg.graph width=(units(width)) height=(units(height))
                role="img" aria-labelledby={ (title) " " (desc) } {
                title id=(title) { "Stages of " (id) }
                desc id=(desc) { (describe(query)) }
                @for (stage, corner) in stages() {
                    @for input in &stage.record.inputs {
                        @let producer = query.stages.get(input).zip(corners.get(input));
                        @if let Some((producer, start)) = producer {
                            (edge(*start, corner, producer))
                        }
                    }
                }
                @for (stage, corner) in stages() {
                    @let path_ms = times.get(&(id, stage.id())).copied().unwrap_or(0);
                    (node(run, stage, corner, path_ms))
                }
            }
        }
    }
}

/// Returns the upper left corner of each stage: in the column after its inputs, near their rows.
fn corners(query: &Query<'_>) -> BTreeMap<StageId, (f64, f64)> {
    let mut columns: Vec<Vec<StageId>> = vec![];
    let mut column_of: BTreeMap<StageId, usize> = BTreeMap::new();
    let is_live = |stage: &&Stage<'_>| !stage.is_dropped;
    // A stage may read one with a larger number, after the query was planned again.
    let mut pending: Vec<&Stage<'_>> = query.stages.values().filter(is_live).collect();
    while !pending.is_empty() {
        let is_live_input = |id: &&StageId| query.stages.get(id).is_some_and(|s| !s.is_dropped);
        let (ready, waiting): (Vec<_>, Vec<_>) = pending.into_iter().partition(|stage| {
            let mut inputs = stage.record.inputs.iter().filter(is_live_input);
            inputs.all(|input| column_of.contains_key(input))
        });
        // A circle is a damaged journal: its stages are drawn in the last column.
        let (ready, waiting) = if ready.is_empty() {
            (waiting, ready)
        } else {
            (ready, waiting)
        };
        for stage in ready {
            let inputs = stage.record.inputs.iter();
            let column = inputs
                .filter_map(|input| column_of.get(input))
                .map(|column| column + 1)
                .max()
                .unwrap_or(0);
            columns.resize_with(columns.len().max(column + 1), Vec::new);
            columns[column].push(stage.id());
            column_of.insert(stage.id(), column);
        }
        pending = waiting;
    }
    let mut corners = BTreeMap::new();
    for (column, mut stages) in columns.into_iter().enumerate() {
        let height_of_inputs = |stage: &StageId| {
            let inputs = query.stages.get(stage).map(|stage| &stage.record.inputs);
            let heights: Vec<f64> = inputs
                .into_iter()
                .flatten()
                .filter_map(|input| corners.get(input))
                .map(|corner: &(f64, f64)| corner.1)
                .collect();
            heights.iter().sum::<f64>() / heights.len().max(1) as f64
        };
        stages.sort_by(|a, b| height_of_inputs(a).total_cmp(&height_of_inputs(b)));
        let x = MARGIN + column as f64 * (NODE_WIDTH + COLUMN_GAP);
        let mut lowest = MARGIN;
        let heights: Vec<f64> = stages.iter().map(height_of_inputs).collect();
        for (stage, height) in stages.into_iter().zip(heights) {
            let y = height.max(lowest);
            corners.insert(stage, (x, y));
            lowest = y + NODE_HEIGHT + ROW_GAP;
        }
    }
    corners
}

/// Draws the arrow from a producer; it is wider for more bytes.
fn edge(start: (f64, f64), end: (f64, f64), producer: &Stage<'_>) -> Markup {
    let (from_x, from_y) = (start.0 + NODE_WIDTH, start.1 + NODE_HEIGHT / 2.0);
    let (to_x, to_y) = (end.0, end.1 + NODE_HEIGHT / 2.0);
    let middle = (from_x + to_x) / 2.0;
    let bytes = producer.total(|task| task.bytes);
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    let width = 1.0 + (1.0 + mebibytes).log2() / 2.0;
    let line = format!(
        "M{} {}C{} {} {} {} {} {}",
        units(from_x),
        units(from_y),
        units(middle),
        units(from_y),
        units(middle),
        units(to_y),
        units(to_x),
        units(to_y)
    );
    html! {
        path.edge d=(line) stroke-width=(units(width.min(7.0))) {
            title { (producer.id()) ": " (text::bytes(bytes)) }
        }
    }
}

fn node(run: &Run<'_>, stage: &Stage<'_>, corner: (f64, f64), path_ms: u64) -> Markup {
    let (x, y) = corner;
    let rows = stage.total(|task| task.rows);
    let class = if path_ms > 0 { "node on-path" } else { "node" };
    let opacity = HEAT_OPACITY_MAX * path_ms as f64 / run.elapsed_ms.max(1) as f64;
    let time = if path_ms > 0 {
        let share = text::share(path_ms, run.elapsed_ms);
        format!("{} ({share})", text::duration(path_ms))
    } else if run.outcome == Outcome::Running && stage.complete_ms.is_none() {
        let state = if stage.first_start_ms.is_some() {
            "running"
        } else {
            "waiting"
        };
        state.to_owned()
    } else if stage.results.is_empty() {
        "did not run".to_owned()
    } else {
        "beside the path".to_owned()
    };
    html! {
        g class=(class) transform={ "translate(" (units(x)) " " (units(y)) ")" } {
            rect.frame width=(units(NODE_WIDTH)) height=(units(NODE_HEIGHT)) rx="4" {}
            @if path_ms > 0 {
                rect.heat width=(units(NODE_WIDTH)) height=(units(NODE_HEIGHT)) rx="4"
                    fill-opacity=(format!("{opacity:.2}")) {}
            }
            text x="8" y="16" { tspan.strong { (stage.id()) } " " (operators(stage)) }
            text x="8" y="31" {
                (text::short_count(rows)) " rows, " (text::count_of(stage.tasks, "task"))
            }
            text x="8" y="45" { (time) }
        }
    }
}

/// Names the operators that characterize a stage.
pub(in crate::report) fn operators(stage: &Stage<'_>) -> String {
    let plan = &stage.record.plan;
    let known = [
        ("JoinExec", "join"),
        ("WindowAggExec", "window"),
        ("AggregateExec", "aggregate"),
        ("KeySetExec", "key set"),
        ("Sort", "sort"),
        ("DataSourceExec", "scan"),
    ];
    let mut names: Vec<&str> = known
        .iter()
        .filter(|(operator, _)| plan.contains(operator))
        .map(|(_, name)| *name)
        .collect();
    // A reader recognizes a stage by its last operators; a sort of a join's input is a detail.
    names.truncate(2);
    if stage.record.writes_files {
        names.insert(0, "write");
        names.truncate(2);
    }
    names.join(", ")
}

fn describe(query: &Query<'_>) -> String {
    let live = query.stages.values().filter(|stage| !stage.is_dropped);
    let lines: Vec<String> = live
        .map(|stage| {
            let inputs: Vec<String> = stage
                .record
                .inputs
                .iter()
                .map(ToString::to_string)
                .collect();
            if inputs.is_empty() {
                format!("{} reads files", stage.id())
            } else {
                format!("{} reads {}", stage.id(), inputs.join(" and "))
            }
        })
        .collect();
    lines.join("; ")
}

//! Drawings as SVG: readable without scripts, with a title and a description each.
//!
//! Drawings that show time stretch to the width of the page, so they have no text inside; labels
//! are HTML beside them.

pub(super) mod gantt;
pub(super) mod graph;

use maud::{Markup, html};

use super::critical_path::{CriticalPath, PartKind};
use super::run::Run;
use super::text;

/// Width of drawings of time, in their own units.
const WIDTH: f64 = 1000.0;

/// Draws the critical path as one bar.
pub(super) fn path_bar(run: &Run<'_>, path: &CriticalPath) -> Markup {
    let whole = run.elapsed_ms.max(1) as f64;
    let mut from_ms = 0;
    let parts: Vec<(PartKind, u64, u64)> = PartKind::ALL
        .into_iter()
        .map(|kind| {
            let ms = path.total(kind);
            from_ms += ms;
            (kind, from_ms - ms, ms)
        })
        .filter(|(.., ms)| *ms > 0)
        .collect();
    let described: Vec<String> = parts
        .iter()
        .map(|(kind, _, ms)| format!("{} {}", kind.title(), text::share(*ms, run.elapsed_ms)))
        .collect();
    html! {
        svg.bar viewBox="0 0 1000 32" preserveAspectRatio="none"
            role="img" aria-labelledby="bar-title bar-desc" {
            title id="bar-title" { "Critical path" }
            desc id="bar-desc" { (described.join(", ")) }
            @for (kind, from, ms) in &parts {
                @let left = units(*from as f64 / whole * WIDTH);
                @let width = units(*ms as f64 / whole * WIDTH);
                rect.(kind.class()) x=(left) y="0" width=(width) height="32" {
                    title { (kind.title()) ": " (text::duration(*ms)) }
                }
            }
        }
    }
}

/// Labels the ends and quarters of the time axis.
fn time_axis(elapsed_ms: u64) -> Markup {
    html! {
        div.axis aria-hidden="true" {
            @for quarter in 0..=4 { span { (text::duration(elapsed_ms * quarter / 4)) } }
        }
    }
}

/// Formats a coordinate with at most one decimal.
fn units(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

//! One page that explains a run, made from its journal alone.
//!
//! The journal says what happened; a reader wants to know where the time went and what to change.
//! The page is one HTML file without scripts and without references, so that it can be attached
//! to a mail or stored beside the output, and opened without a network.
//!
//! ```text
//!   journal ─► Run ──┬─► CriticalPath ─┬─► findings ─┐
//!              fold  │   what the run  │   causes,   ├─► page ─► HTML
//!                    │   waited for    │   fixes     │
//!                    └─────────────────┴─────────────┘
//! ```
//!
//! - `run`: the lines of a journal, folded
//! - `critical_path`, `intervals`: where the elapsed time went
//! - `findings`: what would make the run faster, one function for each cause
//! - `page`, `tables`, `charts`: the HTML, its tables and its drawings
//! - `export`: the run in formats of other tools
//! - [`live`]: the page of a run that goes on
//! - `summary`: the run in a few figures, for lists and comparisons
//! - `detail`: how many rows and characters of it a page has
//! - `text`: numbers with units

mod charts;
mod critical_path;
mod detail;
mod export;
mod findings;
mod intervals;
pub mod live;
mod page;
mod run;
#[cfg(test)]
mod sample;
mod summary;
mod tables;
mod text;

use crate::journal::RecordedRun;
use critical_path::CriticalPath;
use detail::Detail;
pub use export::{ExportFormat, export};
use run::Run;
pub use summary::{RunState, RunSummary, StageFigures, StepFigures, summarize};

/// Size of a page. Mail and chat show attachments of this size.
const BYTES_MAX: usize = 300_000;

/// Renders the report of a run as one HTML file of at most 300 kB. Lists that would be longer end
/// with the number of rows that are left out, and tasks are drawn together where they are many.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let journal = std::fs::read_to_string("run.jsonl")?;
/// let run = faisca_driver::journal::read(&journal)?;
/// std::fs::write("report.html", faisca_driver::report::render(&run))?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn render(recorded: &RecordedRun) -> String {
    let run = Run::new(recorded);
    let path = CriticalPath::new(&run);
    let findings = findings::findings(&run, &path);
    let mut detail = Detail::FULL;
    loop {
        let html = page::page(&run, &path, &findings, detail).into_string();
        match detail.half() {
            Some(half) if html.len() > BYTES_MAX => detail = half,
            _ => return html,
        }
    }
}

#[cfg(test)]
mod tests {
    use faisca_planner::ids::{ExecutorId, QueryId};

    use super::*;
    use crate::journal;
    use crate::journal::record::{Line, Record};
    use sample::{Sample, large_run, lost_executor, scan, skewed_join, spilled_join, task};

    fn assert_is_self_contained(html: &str) {
        assert!(html.len() <= BYTES_MAX, "{} bytes", html.len());
        for reference in ["http", "src=", "url(", "<script", "<link", "@import"] {
            assert!(!html.contains(reference), "{reference}");
        }
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        assert!(html.ends_with("</html>"));
    }

    fn assert_contains(html: &str, parts: &[&str]) {
        for part in parts {
            assert!(html.contains(part), "{part} is not in {html}");
        }
    }

    #[test]
    fn a_skewed_join_names_the_stage_to_fix() {
        let html = render(&skewed_join());
        assert_is_self_contained(&html);
        let parts = [
            "Succeeded</span> in 10.1 s",
            "79 % of the time went to skew: a few long tasks, most of it to stage",
            "<h3>Stage q0.s1 is skewed</h3>",
            "About 6.00 s of 10.1 s (59 %)",
        ];
        assert_contains(&html, &parts);
    }

    #[test]
    fn a_spilled_join_names_the_memory_that_was_missing() {
        let html = render(&spilled_join());
        assert_is_self_contained(&html);
        assert_contains(
            &html,
            &["Stage q0.s1 spilled to disk", "1.0 GiB more for each slot"],
        );
    }

    #[test]
    fn a_lost_executor_is_marked_with_its_cause() {
        let html = render(&lost_executor());
        assert_is_self_contained(&html);
        let parts = [
            "executor-2 was lost after 1.00 s",
            "after 1.00 s: killed for exceeding its memory limit",
            "class=\"loss\"",
            "class=\"k-recomputed\"",
            "Results were lost and recomputed",
        ];
        assert_contains(&html, &parts);
    }

    #[test]
    fn a_cause_that_becomes_known_later_replaces_what_was_noticed_first() {
        let mut recorded = lost_executor();
        for line in &mut recorded.lines {
            if let Record::ExecutorDown { reason, .. } = &mut line.record {
                "connection broke".clone_into(reason);
            }
        }
        let record = Record::ExecutorLossExplained {
            executor: ExecutorId(2),
            reason: "killed for exceeding its memory limit".to_owned(),
        };
        recorded.lines.push(Line {
            at_ms: 2_500,
            record,
        });
        let html = render(&recorded);
        assert_contains(
            &html,
            &["after 1.00 s: killed for exceeding its memory limit"],
        );
        assert!(!html.contains("connection broke"));
    }

    #[test]
    fn a_killed_run_with_half_a_last_line_is_still_explained() {
        let recorded = lost_executor();
        let first = Line {
            at_ms: 0,
            record: Record::RunStarted(recorded.started.clone()),
        };
        let lines = std::iter::once(&first).chain(&recorded.lines[..recorded.lines.len() - 3]);
        let lines: Vec<String> = lines
            .map(|line| serde_json::to_string(line).unwrap())
            .collect();
        let text = lines.join("\n");
        let html = render(&journal::read(&text[..text.len() - 20]).unwrap());
        assert_is_self_contained(&html);
        assert_contains(&html, &["Was killed</span> after 2.00 s", "not finished"]);
    }

    #[test]
    fn a_failed_query_shows_its_message_first() {
        let mut sample = Sample::new(1, 1);
        sample.query(0, "orders", vec![scan(0, "csv", "/in", 1, 1)]);
        sample.ready(10, 0, 1);
        sample.start(10, task(0, 0), 1, 1);
        let message = "/in/a.csv, line 7: <b>not</b> a number".to_owned();
        let failed = Record::AttemptFailed {
            task: task(0, 0),
            attempt: faisca_planner::ids::Attempt(1),
            message: message.clone(),
        };
        sample.add(500, failed);
        let query = QueryId(0);
        sample.add(
            510,
            Record::QueryFailed {
                query,
                message: message.clone(),
            },
        );
        sample.add(520, Record::JobFailed { message });
        sample.add(530, Record::RunFinished);
        let html = render(&sample.end());
        assert_is_self_contained(&html);
        let parts = [
            "Failed</span> after 530 ms",
            "line 7: &lt;b&gt;not&lt;/b&gt; a number",
            "1 time, first in q0.s0/0",
        ];
        assert_contains(&html, &parts);
        assert!(!html.contains("<b>not"));
    }

    #[test]
    fn a_run_without_a_task_has_every_part() {
        let mut sample = Sample::new(0, 2);
        sample.add(40, Record::RunFinished);
        let html = render(&sample.end());
        assert_is_self_contained(&html);
        for part in [
            "figures",
            "path",
            "findings",
            "steps",
            "stages",
            "tasks",
            "executors",
        ] {
            let section = format!("<section id=\"{part}\"");
            assert_contains(&html, &[&section]);
        }
    }

    #[test]
    fn a_hundred_thousand_tasks_fit_one_small_page() {
        let recorded = large_run(100_000);
        assert!(
            recorded.lines.len() > 200_000 - 5_000,
            "{}",
            recorded.lines.len()
        );
        let html = render(&recorded);
        assert_is_self_contained(&html);
        // Small enough is not empty.
        assert!(html.len() > BYTES_MAX / 3, "{} bytes", html.len());
    }

    #[test]
    fn a_few_thousand_tasks_drawn_one_by_one_fit_too() {
        let mut recorded = large_run(2_400);
        // On few executors each attempt is drawn by itself.
        for line in &mut recorded.lines {
            match &mut line.record {
                Record::AttemptStarted { executor, .. } => executor.0 = 1 + executor.0 % 16,
                Record::TaskCommitted(committed) => {
                    committed.executor.0 = 1 + committed.executor.0 % 16
                }
                _ => {}
            }
        }
        recorded.lines.retain(|line| match &line.record {
            Record::ExecutorUp { executor, .. } => executor.0 <= 16,
            Record::ExecutorDown { .. } => false,
            _ => true,
        });
        assert_is_self_contained(&render(&recorded));
    }
}

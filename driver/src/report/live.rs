//! The page of a run that goes on: the report so far, what runs now, and the tasks of each stage.
//!
//! The body is that of the report, so that both say the same. A script, part of the page, requests
//! the body again and changes what differs; without scripts, the page reloads.
//!
//! - `now`: what runs at this moment
//! - `tasks`: the tasks of one stage, by pages
//! - `state`: the run in a few figures, as JSON

mod now;
mod state;
mod tasks;

use faisca_planner::ids::{QueryId, StageId};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::BYTES_MAX;
use super::critical_path::CriticalPath;
use super::detail::Detail;
use super::findings::{findings, stage_name};
use super::page::{self, STYLE};
use super::run::{Outcome, Run};
use super::text;
use crate::journal::RecordedRun;
pub use tasks::TaskOrder;

const SCRIPT: &str = include_str!("live/page.js");
/// Seconds after which the page reloads where scripts are off.
const RELOAD_SECONDS: u32 = 5;

/// A run that goes on, at one moment.
#[derive(Debug, Clone, Copy)]
pub struct LiveRun<'a> {
    /// Its journal so far.
    pub recorded: &'a RecordedRun,
    /// Milliseconds since the run started.
    pub now_ms: u64,
    /// Where the logs of driver and executors are, in a sentence.
    pub logs: &'a str,
}

/// What a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The run.
    Run,
    /// The tasks of a stage.
    Tasks {
        /// The query.
        query: QueryId,
        /// The stage.
        stage: StageId,
        /// The page, from 1.
        page: usize,
        /// Which tasks come first.
        order: TaskOrder,
    },
}

/// The part of a page that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveBody {
    /// The HTML.
    pub html: String,
    /// Whether the run goes on.
    pub is_running: bool,
    title: String,
}

impl LiveRun<'_> {
    /// Renders the part of a page that changes. Returns none if the run has no such stage.
    #[must_use]
    pub fn body(&self, view: View) -> Option<LiveBody> {
        let run = Run::running(self.recorded, self.now_ms);
        let is_running = run.outcome == Outcome::Running;
        let state = match run.outcome {
            Outcome::Running => text::duration(run.elapsed_ms),
            Outcome::Succeeded => "succeeded".to_owned(),
            Outcome::Failed(_) => "failed".to_owned(),
            Outcome::Killed => "killed".to_owned(),
        };
        let (content, title) = match view {
            View::Run => (self.run_part(&run), run.started.application.clone()),
            View::Tasks {
                query,
                stage,
                page,
                order,
            } => {
                let content = tasks::tasks(&run, (query, stage), page, order)?;
                (content, stage_name((query, stage)))
            }
        };
        let title = format!("{title}: {state}");
        let state = if is_running { "running" } else { "ended" };
        let html = html! {
            div #live data-state=(state) data-title=(title) { (PreEscaped(content)) }
        };
        Some(LiveBody {
            html: html.into_string(),
            is_running,
            title,
        })
    }

    /// Renders the run in as much detail as a page of the report may have.
    fn run_part(&self, run: &Run<'_>) -> String {
        let path = CriticalPath::new(run);
        let findings = findings(run, &path);
        let mut detail = Detail::FULL;
        loop {
            let now = now::now(run, self.logs);
            let html = page::body(run, &path, &findings, detail, Some(&now)).into_string();
            match detail.half() {
                Some(half) if html.len() > BYTES_MAX => detail = half,
                _ => return html,
            }
        }
    }

    /// Returns the run in a few figures, as a JSON object.
    #[must_use]
    pub fn state(&self) -> String {
        state::state(&Run::running(self.recorded, self.now_ms))
    }
}

impl LiveBody {
    /// Renders the page around the body. Browsers run the script only with this nonce, if a header
    /// says so.
    #[must_use]
    pub fn page(&self, nonce: &str) -> String {
        frame(&self.title, &PreEscaped(self.html.clone()), nonce)
    }
}

/// Renders the page of a run whose journal has no line yet.
#[must_use]
pub fn waiting_page(nonce: &str) -> String {
    let body = html! {
        div #live data-state="running" data-title="Starting" {
            header { h1 { "The run starts." } }
        }
    };
    frame("Starting", &body, nonce)
}

fn frame(title: &str, body: &Markup, nonce: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Browsers would request an icon otherwise.
                link rel="icon" href="data:,";
                noscript { meta http-equiv="refresh" content=(RELOAD_SECONDS); }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                div.controls {
                    button #pause type="button" hidden { "Pause updates" }
                    p #connection role="status" {}
                }
                (body)
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, join, large_run, lost_executor, scan, skewed_join, task};
    use super::*;
    use crate::journal::record::Record;

    fn live(recorded: &RecordedRun, now_ms: u64) -> LiveRun<'_> {
        LiveRun {
            recorded,
            now_ms,
            logs: "On a screen.",
        }
    }

    fn tasks_of(stage: u32, page: usize, order: TaskOrder) -> View {
        View::Tasks {
            query: QueryId(0),
            stage: StageId(stage),
            page,
            order,
        }
    }

    /// A run whose second stage has finished three tasks, and runs a long one.
    fn running_join() -> RecordedRun {
        let mut sample = Sample::new(2, 2);
        sample.query(0, "sums", vec![scan(0, "csv", "/in", 1, 1), join(1, &[0])]);
        sample.ready(0, 0, 1);
        sample.run(task(0, 0), 1, 0, 1_000);
        sample.ready(1_000, 1, 4);
        for index in 0..3 {
            sample.run(task(1, index), 1 + index % 2, 1_000, 2_000);
        }
        sample.start(1_000, task(1, 3), 1, 2);
        sample.end()
    }

    #[test]
    fn what_runs_is_named_with_its_rows_and_a_long_task_is_marked() {
        let recorded = running_join();
        let body = live(&recorded, 9_000).body(View::Run).unwrap();
        assert!(body.is_running);
        for part in [
            "data-state=\"running\"",
            "Running</span> for 9.00 s",
            "0 steps finished; now sums. 1 task on 2 executors.",
            "<a href=\"stages/q0.s1\">q0.s1</a>",
            "<progress max=\"4\" value=\"3\"",
            "3 of 4",
            "<td class=\"n\">3.00 k</td><td class=\"n\">1.00 k</td>",
            "8.00 s <span class=\"off\">× 8</span>",
            "On a screen.",
            "class=\"k-running\"",
        ] {
            assert!(body.html.contains(part), "{part}: {}", body.html);
        }
    }

    #[test]
    fn a_run_that_has_ended_has_the_body_of_its_report() {
        for recorded in [skewed_join(), lost_executor()] {
            let body = live(&recorded, 99_000).body(View::Run).unwrap();
            assert!(!body.is_running);
            let report = super::super::render(&recorded);
            let start = body.html.find("<header>").unwrap();
            let content = body.html[start..].strip_suffix("</div>").unwrap();
            assert!(report.contains(content));
        }
    }

    #[test]
    fn the_page_needs_no_other_file() {
        let recorded = running_join();
        let page = live(&recorded, 9_000).body(View::Run).unwrap().page("n0");
        for reference in ["http://", "https://", " src=", "@import", "url("] {
            assert!(!page.contains(reference), "{reference}");
        }
        assert!(page.contains("<script nonce=\"n0\">"));
        assert!(waiting_page("n0").contains("data-state=\"running\""));
    }

    #[test]
    fn the_tasks_of_a_stage_have_pages_and_two_orders() {
        let mut sample = Sample::new(2, 2);
        sample.query(0, "s", vec![scan(0, "csv", "/in", 1, 1)]);
        sample.ready(0, 0, 250);
        for index in 0..240 {
            sample.run(task(0, index), 1, 0, 100 + u64::from(index));
        }
        for index in 240..250 {
            sample.start(1_000, task(0, index), 1, 2);
        }
        let recorded = sample.end();
        let page = |page, order| {
            live(&recorded, 1_001)
                .body(tasks_of(0, page, order))
                .unwrap()
        };
        let rows = |page: &LiveBody| page.html.matches("<th class=\"n\" scope=\"row\">").count();
        let first = page(1, TaskOrder::Index);
        assert_eq!(rows(&first), 100);
        assert!(
            first.html.contains("240 of 250 tasks finished"),
            "{}",
            first.html
        );
        let last = page(99, TaskOrder::Index);
        assert_eq!(rows(&last), 50);
        assert!(last.html.contains("Page 3 of 3"));
        assert_eq!(last.html.matches("class=\"running\"").count(), 10);
        let longest = page(1, TaskOrder::Longest);
        let index = longest.html.find("scope=\"row\">239<").unwrap();
        assert!(index < longest.html.find("scope=\"row\">238<").unwrap());
        assert_eq!(
            live(&recorded, 1).body(tasks_of(7, 1, TaskOrder::Index)),
            None
        );
    }

    #[test]
    fn a_hundred_thousand_tasks_on_a_thousand_executors_fit_one_page() {
        let mut recorded = large_run(100_000);
        // The last tenth has not happened yet.
        let count = recorded.lines.len();
        recorded.lines.truncate(count - count / 10);
        assert!(
            !recorded
                .lines
                .iter()
                .any(|line| line.record == Record::RunFinished)
        );
        let now_ms = recorded.lines.last().unwrap().at_ms;
        let live = live(&recorded, now_ms);
        let body = live.body(View::Run).unwrap();
        assert!(body.is_running);
        assert!(body.html.len() <= BYTES_MAX + 1_000, "{}", body.html.len());
        let tasks = live.body(tasks_of(3, 1, TaskOrder::Longest)).unwrap();
        assert!(tasks.html.len() < BYTES_MAX, "{}", tasks.html.len());
        let state: serde_json::Value = serde_json::from_str(&live.state()).unwrap();
        assert!(state["tasks_finished"].as_u64() > Some(80_000), "{state}");
        assert_eq!(state["state"], "running");
    }
}

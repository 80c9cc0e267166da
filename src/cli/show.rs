//! Output of commands for people: progress while a job runs, a summary at its end.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use faisca_driver::engine::progress::{Progress, SkipReason, Snapshot};
use faisca_driver::job::StepSummary;
use faisca_executor::protocol::RequestSnapshot;
use faisca_planner::ids::QueryId;
use indicatif::{
    HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle,
};
use tokio::task::JoinHandle;

/// Interval at which progress bars are redrawn.
const REFRESH: Duration = Duration::from_millis(100);

/// Prints a line. A closed pipe, as after `head`, is not an error.
pub(super) fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Progress bars of running stages, on a terminal only. Dropping them removes them.
pub(super) struct Bars {
    task: Option<JoinHandle<()>>,
    screen: MultiProgress,
}

impl Bars {
    pub(super) fn start(progress: Arc<Progress>) -> Self {
        let screen = MultiProgress::new();
        let task = std::io::stderr().is_terminal().then(|| {
            let screen = screen.clone();
            tokio::task::spawn(async move {
                let mut bars = HashMap::new();
                loop {
                    tokio::time::sleep(REFRESH).await;
                    draw_bars(&screen, &mut bars, &progress.snapshot());
                }
            })
        });
        Self { task, screen }
    }

    /// Prints a line above the bars.
    pub(super) fn line(&self, line: &str) {
        if self.task.is_some() {
            self.screen.suspend(|| print(line));
        } else {
            print(line);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            let _ = self.screen.clear();
            // The aborted task may still be running, and must not redraw its bars.
            self.screen.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

/// Updates the bars, one for each stage with tasks, and removes those of finished stages.
fn draw_bars(
    screen: &MultiProgress,
    bars: &mut HashMap<(QueryId, usize), ProgressBar>,
    snapshot: &Snapshot,
) {
    for (query, state) in &snapshot.queries {
        for (index, stage) in state.stages.iter().enumerate().filter(|(_, s)| s.tasks > 0) {
            let bar = bars.entry((*query, index)).or_insert_with(|| {
                let bar = screen.add(ProgressBar::new(u64::from(stage.tasks)));
                let style = ProgressStyle::with_template(
                    "{prefix:<32!} {bar:30} {pos:>4}/{len} tasks {msg}",
                );
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_prefix(format!("{} s{index}", state.label));
                bar
            });
            bar.set_position(u64::from(stage.finished));
            bar.set_message(format!(
                "{} rows, {}",
                HumanCount(stage.rows),
                HumanBytes(stage.bytes)
            ));
            if stage.finished == stage.tasks {
                bar.finish_and_clear();
            }
        }
    }
    bars.retain(|(query, stage), bar| {
        // A stage without tasks was removed when its query was re-planned.
        let is_running = snapshot
            .queries
            .get(query)
            .and_then(|query| query.stages.get(*stage))
            .is_some_and(|stage| stage.tasks > 0);
        if !is_running {
            bar.finish_and_clear();
        }
        is_running
    });
}

/// Describes a step that ended, in one line.
pub(super) fn step_line(step: &StepSummary) -> String {
    let seconds = step.elapsed.as_secs_f64();
    match &step.written {
        None => format!("✓ {} ({seconds:.2} s)", step.name),
        Some(written) if written.skipped == Some(SkipReason::OutputExists) => format!(
            "✓ {} → {} exists already, mode is ignore",
            step.name, written.path
        ),
        Some(written) if written.skipped.is_some() => format!(
            "✓ {} → {} skipped: an earlier attempt of this run wrote it ({} rows)",
            step.name,
            written.path,
            HumanCount(written.rows)
        ),
        Some(written) => {
            format!(
                "✓ {} → {} ({} rows, {seconds:.2} s)",
                step.name,
                written.path,
                HumanCount(written.rows)
            )
        }
    }
}

/// Tabulates rows, bytes, files and seconds of each step, and tasks and bytes of each executor.
pub(super) fn summary(
    steps: &[StepSummary],
    snapshot: &Snapshot,
    driver_requests: &RequestSnapshot,
    total: Duration,
) -> String {
    let header = ["step", "rows", "bytes", "files", "seconds"];
    let mut table = table(&header, CellAlignment::Right);
    for step in steps {
        let written = step.written.clone().unwrap_or_default();
        let cells = match step.written {
            Some(_) => [
                HumanCount(written.rows).to_string(),
                HumanBytes(written.bytes).to_string(),
                written.files.to_string(),
            ],
            None => ["view".to_owned(), String::new(), String::new()],
        };
        let [rows, bytes, files] = cells;
        table.add_row([
            step.name.clone(),
            rows,
            bytes,
            files,
            format!("{:.2}", step.elapsed.as_secs_f64()),
        ]);
    }
    let header = [
        "executor",
        "tasks",
        "rows out",
        "bytes out",
        "fetched",
        "spilled",
        "peak memory",
        "busy seconds",
    ];
    let mut executors = self::table(&header, CellAlignment::Right);
    for (id, totals) in snapshot
        .executors
        .iter()
        .filter(|(_, totals)| totals.tasks > 0)
    {
        executors.add_row([
            id.to_string(),
            totals.tasks.to_string(),
            HumanCount(totals.rows).to_string(),
            HumanBytes(totals.bytes).to_string(),
            HumanBytes(totals.fetched_bytes).to_string(),
            HumanBytes(totals.spilled_bytes).to_string(),
            (totals.resident_peak_bytes)
                .map_or_else(String::new, |bytes| HumanBytes(bytes).to_string()),
            format!("{:.2}", totals.busy_ms as f64 / 1000.0),
        ]);
    }
    let retried: u32 = steps
        .iter()
        .filter_map(|s| s.written.as_ref())
        .map(|w| w.retried)
        .sum();
    let requests = requests(snapshot, driver_requests);
    format!(
        "{table}\n{executors}\nDone in {:.2} s{}{requests}",
        total.as_secs_f64(),
        incidents(retried, snapshot)
    )
}

/// Counts the requests of the driver and the executors to object stores; empty if there were none.
fn requests(snapshot: &Snapshot, driver_requests: &RequestSnapshot) -> String {
    // The driver's counts include those of its embedded executor, whose id is 0.
    let executors = snapshot
        .executors
        .iter()
        .filter(|(id, _)| id.0 > 0)
        .map(|(_, totals)| totals.requests);
    let sum = executors.fold(*driver_requests, RequestSnapshot::plus);
    match (sum.total(), sum.retries()) {
        (0, _) => String::new(),
        (total, retried) => {
            let kinds = format!(
                "{} reads, {} writes, {} deletes",
                HumanCount(sum.reads),
                HumanCount(sum.writes),
                HumanCount(sum.deletes)
            );
            format!(
                "\nObject stores: {} requests ({kinds}), {retried} of them retried",
                HumanCount(total)
            )
        }
    }
}

/// Counts the failures that the engine recovered from; empty if there were none.
fn incidents(retried: u32, snapshot: &Snapshot) -> String {
    let counts = [
        (snapshot.executors_lost, "executors were lost"),
        (
            snapshot.executors_drained,
            "executors were drained and handed over their blocks",
        ),
        (snapshot.tasks_recomputed, "finished tasks were recomputed"),
        (retried, "task attempts were retried"),
    ];
    counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, description)| format!("; {count} {description}"))
        .collect()
}

/// Returns an empty table. `alignment` is that of all columns but the first.
pub(super) fn table(header: &[&str], alignment: CellAlignment) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    for index in 1..header.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(alignment);
        }
    }
    table
}

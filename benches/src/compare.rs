//! Times of all engines, their ratios, and the tables that print them.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

/// Best times of one query or pipeline.
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) faisca_time: Duration,
    /// DataFusion in one process.
    pub(crate) datafusion_time: Duration,
    /// Times of the requested peers, in the same order; `None` where a peer returned no valid
    /// result.
    pub(crate) peers: Vec<Option<Duration>>,
}

impl Comparison {
    /// Creates a comparison without measurements.
    pub(crate) fn new(name: String, peers: usize) -> Self {
        Self {
            name,
            faisca_time: Duration::MAX,
            datafusion_time: Duration::MAX,
            peers: vec![None; peers],
        }
    }

    /// Returns our time divided by DataFusion's.
    pub(crate) fn ratio(&self) -> f64 {
        ratio(self.faisca_time, self.datafusion_time)
    }

    /// Returns our time divided by a peer's.
    fn peer_ratio(&self, peer: usize) -> Option<f64> {
        Some(ratio(self.faisca_time, (*self.peers.get(peer)?)?))
    }
}

/// Returns `time` divided by `reference`.
pub(crate) fn ratio(time: Duration, reference: Duration) -> f64 {
    time.as_secs_f64() / reference.as_secs_f64().max(f64::EPSILON)
}

/// Prints a row per comparison, the total, and the geometric means of the ratios. A peer's total
/// and ratio cover only the queries for which it returned a valid result.
pub(crate) fn report(title: &str, peers: &[String], all: &[Comparison]) {
    let mut header = vec![
        String::new(),
        "Faísca s".to_owned(),
        "DataFusion s".to_owned(),
        "ratio".to_owned(),
    ];
    for peer in peers {
        header.extend([format!("{peer} s"), "ratio".to_owned()]);
    }
    let mut table = numeric_table(&header);
    for comparison in all {
        table.add_row(comparison_row(comparison));
    }
    table.add_row(total_row(peers.len(), all));
    println!(
        "{title}\n{table}\ngeometric mean of ratios: DataFusion {:.2}",
        geometric_mean(all.iter().map(Comparison::ratio))
    );
    for (peer, name) in peers.iter().enumerate() {
        let ratios: Vec<f64> = all.iter().filter_map(|c| c.peer_ratio(peer)).collect();
        println!(
            "geometric mean of ratios: {name} {:.2}, {} queries",
            geometric_mean(ratios.iter().copied()),
            ratios.len()
        );
    }
}

fn comparison_row(comparison: &Comparison) -> Vec<String> {
    let mut cells = vec![comparison.name.clone()];
    cells.extend(pair_cells(
        comparison.faisca_time,
        comparison.datafusion_time,
    ));
    for (peer, time) in comparison.peers.iter().enumerate() {
        cells.push(time.map_or("failed".to_owned(), seconds));
        let ratio = comparison.peer_ratio(peer);
        cells.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
    }
    cells
}

fn total_row(peers: usize, all: &[Comparison]) -> Vec<String> {
    let mut cells = vec!["total".to_owned()];
    cells.extend(pair_cells(
        all.iter().map(|c| c.faisca_time).sum(),
        all.iter().map(|c| c.datafusion_time).sum(),
    ));
    for peer in 0..peers {
        let (mut faisca_time, mut datafusion_time) = (Duration::ZERO, Duration::ZERO);
        for comparison in all {
            if let Some(time) = comparison.peers.get(peer).copied().flatten() {
                faisca_time += comparison.faisca_time;
                datafusion_time += time;
            }
        }
        cells.extend([
            seconds(datafusion_time),
            format!("{:.2}", ratio(faisca_time, datafusion_time)),
        ]);
    }
    cells
}

/// Returns the cells of two times and their ratio.
pub(crate) fn pair_cells(time: Duration, reference: Duration) -> [String; 3] {
    [
        seconds(time),
        seconds(reference),
        format!("{:.2}", ratio(time, reference)),
    ]
}

/// Creates a table with a column of names and columns of numbers.
pub(crate) fn numeric_table<T: ToString>(header: &[T]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY)
        .set_header(header.iter().map(T::to_string));
    for index in 1..header.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Returns the geometric mean.
pub(crate) fn geometric_mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = ratios.fold((0.0, 0u32), |(sum, count), ratio| {
        (sum + ratio.ln(), count + 1)
    });
    (sum / f64::from(count.max(1))).exp()
}

/// Formats a duration in seconds, to the hundredth.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

/// Describes where tasks run.
pub(crate) fn layout(executors: u32) -> String {
    match executors {
        0 => "embedded".to_owned(),
        count => format!("{count} processes"),
    }
}

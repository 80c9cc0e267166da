//! Times of all engines, their ratios, and the tables that print them.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

use crate::measure::Measurement;

/// Best runs of one query or pipeline.
pub(crate) struct Comparison {
    pub(crate) name: String,
    faisca: Option<Measurement>,
    /// Runs of the engines that Faísca is compared with, in their order; `None` where one returned no valid result.
    references: Vec<Option<Measurement>>,
}

impl Comparison {
    /// Creates a comparison with this many reference engines, without measurements.
    pub(crate) fn new(name: String, references: usize) -> Self {
        Self {
            name,
            faisca: None,
            references: vec![None; references],
        }
    }

    /// Records a run of Faísca.
    pub(crate) fn record(&mut self, run: Measurement) {
        self.faisca = Some(run.fastest(self.faisca));
    }

    /// Records a valid run of a reference engine.
    pub(crate) fn record_reference(&mut self, engine: usize, run: Measurement) {
        if let Some(fastest) = self.references.get_mut(engine) {
            *fastest = Some(run.fastest(*fastest));
        }
    }

    /// Returns the runs of Faísca and of another engine, if both are valid.
    fn pair(&self, engine: usize) -> Option<(Measurement, Measurement)> {
        self.faisca
            .zip(self.references.get(engine).copied().flatten())
    }

    /// Returns our time divided by another engine's.
    pub(crate) fn ratio(&self, engine: usize) -> Option<f64> {
        let (faisca, other) = self.pair(engine)?;
        Some(ratio(faisca.wall, other.wall))
    }
}

/// Returns `time` divided by `reference`.
pub(crate) fn ratio(time: Duration, reference: Duration) -> f64 {
    time.as_secs_f64() / reference.as_secs_f64().max(f64::EPSILON)
}

/// Prints a row per comparison, the total, and the geometric means of the ratios to `engines`. The
/// total and the ratio of an engine cover only the queries for which it returned a valid result.
pub(crate) fn report(title: &str, engines: &[String], all: &[Comparison]) {
    let mut header = vec![String::new(), "Faísca s".to_owned(), "CPU s".to_owned()];
    for engine in engines {
        header.extend([
            format!("{engine} s"),
            "CPU s".to_owned(),
            "ratio".to_owned(),
        ]);
    }
    let mut table = numeric_table(&header);
    for comparison in all {
        let mut cells = vec![comparison.name.clone()];
        cells.extend(cost_cells(comparison.faisca));
        for (engine, run) in comparison.references.iter().enumerate() {
            cells.extend(cost_cells(*run));
            let ratio = comparison.ratio(engine);
            cells.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        table.add_row(cells);
    }
    table.add_row(total_row(engines.len(), all));
    println!("{title}\n{table}");
    for (engine, name) in engines.iter().enumerate() {
        let ratios: Vec<f64> = all.iter().filter_map(|c| c.ratio(engine)).collect();
        println!(
            "geometric mean of ratios: {name} {:.2}, {} of {}",
            geometric_mean(ratios.iter().copied()),
            ratios.len(),
            all.len()
        );
    }
}

/// Returns the cells of wall time and processor time.
fn cost_cells(run: Option<Measurement>) -> [String; 2] {
    let Some(run) = run else {
        return ["failed".to_owned(), String::new()];
    };
    [seconds(run.wall), run.cpu.map_or(String::new(), seconds)]
}

/// Adds runs up. The sum has no processor time if one of them has none.
fn sum(runs: impl Iterator<Item = Measurement>) -> Measurement {
    let nothing = Measurement {
        wall: Duration::ZERO,
        cpu: Some(Duration::ZERO),
    };
    runs.fold(nothing, |sum, run| Measurement {
        wall: sum.wall + run.wall,
        cpu: sum.cpu.zip(run.cpu).map(|(sum, cpu)| sum + cpu),
    })
}

fn total_row(engines: usize, all: &[Comparison]) -> Vec<String> {
    let mut cells = vec!["total".to_owned()];
    cells.extend(cost_cells(Some(sum(all.iter().filter_map(|c| c.faisca)))));
    for engine in 0..engines {
        let pairs = || all.iter().filter_map(|c| c.pair(engine));
        let (faisca, other) = (sum(pairs().map(|p| p.0)), sum(pairs().map(|p| p.1)));
        cells.extend(cost_cells(Some(other)));
        cells.push(format!("{:.2}", ratio(faisca.wall, other.wall)));
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

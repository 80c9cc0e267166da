//! Seconds of all sides and their ratios.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

/// Best times of one measured thing.
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) ours: Duration,
    /// DataFusion in one process.
    pub(crate) theirs: Duration,
    /// DuckDB, if it was asked for.
    pub(crate) duckdb: Option<Duration>,
}

impl Comparison {
    /// Ours by DataFusion's.
    pub(crate) fn ratio(&self) -> f64 {
        by(self.ours, self.theirs)
    }

    /// Ours by DuckDB's.
    pub(crate) fn duckdb_ratio(&self) -> Option<f64> {
        self.duckdb.map(|duckdb| by(self.ours, duckdb))
    }
}

fn by(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64().max(f64::EPSILON)
}

/// Prints all of them, the total, and the geometric means of ratios.
pub(crate) fn report(title: &str, all: &[Comparison]) {
    let with_duckdb = all.iter().all(|c| c.duckdb.is_some());
    let mut header = vec!["", "Faísca s", "DataFusion s", "ratio"];
    if with_duckdb {
        header.extend(["DuckDB s", "ratio"]);
    }
    let total = Comparison {
        name: "total".to_owned(),
        ours: all.iter().map(|c| c.ours).sum(),
        theirs: all.iter().map(|c| c.theirs).sum(),
        duckdb: all.iter().map(|c| c.duckdb).sum(),
    };
    let mut table = aligned(&header);
    for row in all.iter().chain([&total]) {
        let mut cells = vec![row.name.clone(), seconds(row.ours), seconds(row.theirs), format!("{:.2}", row.ratio())];
        if let Some((duckdb, ratio)) = row.duckdb.zip(row.duckdb_ratio()) {
            cells.extend([seconds(duckdb), format!("{ratio:.2}")]);
        }
        table.add_row(cells);
    }
    println!("{title}\n{table}\ngeometric mean of ratios: DataFusion {:.2}", mean(all.iter().map(Comparison::ratio)));
    if with_duckdb {
        println!("geometric mean of ratios: DuckDB {:.2}", mean(all.iter().filter_map(Comparison::duckdb_ratio)));
    }
}

/// A table whose columns but the first are numbers.
pub(crate) fn aligned(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    for index in 1..header.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Geometric.
pub(crate) fn mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = ratios.fold((0.0, 0u32), |(sum, count), ratio| (sum + ratio.ln(), count + 1));
    (sum / f64::from(count.max(1))).exp()
}

/// To the hundredth.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

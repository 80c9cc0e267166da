//! Seconds of both sides and their ratio.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

/// Best times of one measured thing.
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) ours: Duration,
    pub(crate) theirs: Duration,
}

impl Pair {
    pub(crate) fn ratio(&self) -> f64 {
        self.ours.as_secs_f64() / self.theirs.as_secs_f64().max(f64::EPSILON)
    }
}

/// Prints all pairs, the total and the geometric mean of ratios.
pub(crate) fn report(title: &str, pairs: &[Pair]) {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(["", "Faísca s", "DataFusion s", "ratio"]);
    let mut row = |name: &str, ours: f64, theirs: f64, ratio: f64| {
        table.add_row([name.to_owned(), format!("{ours:.2}"), format!("{theirs:.2}"), format!("{ratio:.2}")]);
    };
    let total = |side: fn(&Pair) -> Duration| pairs.iter().map(side).sum::<Duration>().as_secs_f64();
    for pair in pairs {
        row(&pair.name, pair.ours.as_secs_f64(), pair.theirs.as_secs_f64(), pair.ratio());
    }
    let (ours, theirs) = (total(|p| p.ours), total(|p| p.theirs));
    row("total", ours, theirs, ours / theirs.max(f64::EPSILON));
    for index in 1..4 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mean = (pairs.iter().map(|p| p.ratio().ln()).sum::<f64>() / pairs.len().max(1) as f64).exp();
    println!("{title}\n{table}\ngeometric mean of ratios {mean:.2}");
}

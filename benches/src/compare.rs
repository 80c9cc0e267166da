//! Seconds of all sides and their ratios.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

/// Best times of one measured thing.
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) ours: Duration,
    /// DataFusion in one process.
    pub(crate) theirs: Duration,
    /// Of each peer that was asked for, in their order; none where it had no answer.
    pub(crate) peers: Vec<Option<Duration>>,
}

impl Comparison {
    /// Nothing measured yet.
    pub(crate) fn new(name: String, peers: usize) -> Self {
        Self {
            name,
            ours: Duration::MAX,
            theirs: Duration::MAX,
            peers: vec![None; peers],
        }
    }

    /// Ours by DataFusion's.
    pub(crate) fn ratio(&self) -> f64 {
        by(self.ours, self.theirs)
    }

    /// Ours by that of a peer.
    fn peer_ratio(&self, peer: usize) -> Option<f64> {
        Some(by(self.ours, (*self.peers.get(peer)?)?))
    }
}

pub(crate) fn by(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64().max(f64::EPSILON)
}

/// Prints all of them, the total, and the geometric means of ratios. A peer's total and its ratio are of the queries
/// that it answered.
pub(crate) fn report(title: &str, peers: &[String], all: &[Comparison]) {
    let mut header = vec![
        String::new(),
        "Faísca s".to_owned(),
        "DataFusion s".to_owned(),
        "ratio".to_owned(),
    ];
    header.extend(
        peers
            .iter()
            .flat_map(|peer| [format!("{peer} s"), "ratio".to_owned()]),
    );
    let mut table = aligned(&header);
    for row in all {
        let mut cells = vec![
            row.name.clone(),
            seconds(row.ours),
            seconds(row.theirs),
            format!("{:.2}", row.ratio()),
        ];
        for peer in 0..peers.len() {
            let time = row.peers.get(peer).copied().flatten();
            cells.push(time.map_or("failed".to_owned(), seconds));
            cells.push(
                row.peer_ratio(peer)
                    .map_or(String::new(), |ratio| format!("{ratio:.2}")),
            );
        }
        table.add_row(cells);
    }
    let (ours, theirs) = (
        all.iter().map(|c| c.ours).sum(),
        all.iter().map(|c| c.theirs).sum(),
    );
    let mut total = vec![
        "total".to_owned(),
        seconds(ours),
        seconds(theirs),
        format!("{:.2}", by(ours, theirs)),
    ];
    for peer in 0..peers.len() {
        let answered = all
            .iter()
            .filter_map(|c| Some((c.ours, (*c.peers.get(peer)?)?)));
        let (ours, time) = answered.fold((Duration::ZERO, Duration::ZERO), |sum, (ours, time)| {
            (sum.0 + ours, sum.1 + time)
        });
        total.extend([seconds(time), format!("{:.2}", by(ours, time))]);
    }
    table.add_row(total);
    println!(
        "{title}\n{table}\ngeometric mean of ratios: DataFusion {:.2}",
        mean(all.iter().map(Comparison::ratio))
    );
    for (peer, name) in peers.iter().enumerate() {
        let answered = all.iter().filter(|c| c.peer_ratio(peer).is_some()).count();
        let ratio = mean(all.iter().filter_map(|c| c.peer_ratio(peer)));
        println!("geometric mean of ratios: {name} {ratio:.2}, of {answered} queries");
    }
}

/// A table whose columns but the first are numbers.
pub(crate) fn aligned<T: ToString>(header: &[T]) -> Table {
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

/// Geometric.
pub(crate) fn mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = ratios.fold((0.0, 0u32), |(sum, count), ratio| {
        (sum + ratio.ln(), count + 1)
    });
    (sum / f64::from(count.max(1))).exp()
}

/// To the hundredth.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

//! Chart of a suite: bars per query of Faísca and the peers, relative to DataFusion's time.

use std::path::Path;

use faisca::{Error, Result};
use plotters::prelude::*;

use crate::compare::{Comparison, geometric_mean};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 360;
/// Height of the chart relative to the highest bar; the legend is above the bars.
const HEADROOM: f64 = 1.3;
const FAISCA_COLOR: RGBColor = RGBColor(214, 93, 14);
/// Colors of the peers, in their order.
const PEERS: [RGBColor; 4] = [
    RGBColor(120, 120, 120),
    RGBColor(60, 110, 160),
    RGBColor(90, 150, 90),
    RGBColor(150, 90, 150),
];
/// Width of a query's bars, as a fraction of its space.
const GROUP: f64 = 0.72;

/// Writes the chart as SVG.
pub(crate) fn draw(file: &Path, title: &str, peers: &[String], all: &[Comparison]) -> Result<()> {
    plot(file, title, peers, all).map_err(|e| Error::Write(format!("{}: {e}", file.display())))
}

/// Height of Faísca's bar: its time divided by DataFusion's, which is the first reference engine.
fn faisca_height(comparison: &Comparison) -> Option<f64> {
    comparison.ratio(0)
}

/// Height of a peer's bar; the peers follow DataFusion.
fn peer_height(comparison: &Comparison, peer: usize) -> Option<f64> {
    Some(comparison.ratio(0)? / comparison.ratio(1 + peer)?)
}

fn plot(
    file: &Path,
    title: &str,
    peers: &[String],
    all: &[Comparison],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let heights = all.iter().flat_map(|c| {
        let peers = (0..peers.len()).filter_map(|peer| peer_height(c, peer));
        peers.chain(faisca_height(c))
    });
    let highest = heights.fold(1.2, f64::max) * HEADROOM;
    let caption = format!(
        "{title}: time ÷ DataFusion's in one process (geometric mean {:.2})",
        geometric_mean(all.iter().filter_map(faisca_height))
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(40)
        .build_cartesian_2d(0.0..all.len() as f64, 0.0..highest)?;
    let name = |x: &f64| {
        all.get(*x as usize)
            .filter(|_| (x.fract() - 0.5).abs() < 0.01)
            .map_or(String::new(), |c| c.name.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(all.len() * 2 + 1)
        .x_label_formatter(&name)
        .y_desc("ratio")
        .draw()?;
    let width = GROUP / (1 + peers.len()) as f64;
    let bar = |query: usize, position: usize, height: f64, color: RGBColor| {
        let left = query as f64 + (1.0 - GROUP) / 2.0 + position as f64 * width;
        Rectangle::new([(left, 0.0), (left + width, height)], color.filled())
    };
    let swatch = |color: RGBColor| {
        move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled())
    };
    let faisca_bars = all
        .iter()
        .enumerate()
        .filter_map(|(query, c)| Some(bar(query, 0, faisca_height(c)?, FAISCA_COLOR)));
    chart
        .draw_series(faisca_bars)?
        .label("Faísca")
        .legend(swatch(FAISCA_COLOR));
    for ((index, name), color) in peers.iter().enumerate().zip(PEERS.into_iter().cycle()) {
        let peer_bars = all
            .iter()
            .enumerate()
            .filter_map(|(query, c)| Some(bar(query, 1 + index, peer_height(c, index)?, color)));
        chart
            .draw_series(peer_bars)?
            .label(name)
            .legend(swatch(color));
    }
    let datafusion_line = [(0.0, 1.0), (all.len() as f64, 1.0)];
    chart
        .draw_series([PathElement::new(datafusion_line.to_vec(), BLACK)])?
        .label("DataFusion")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 12, y)], BLACK));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

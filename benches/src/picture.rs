//! The suite as a picture: a bar for each query, DataFusion's time being 1.

use std::path::Path;

use faisca::{Error, Result};
use plotters::prelude::*;

use crate::compare::{Comparison, mean};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 360;
const OURS: RGBColor = RGBColor(214, 93, 14);
const DUCKDB: RGBColor = RGBColor(120, 120, 120);

/// Writes an SVG.
pub(crate) fn draw(file: &Path, title: &str, all: &[Comparison]) -> Result<()> {
    plot(file, title, all).map_err(|e| Error::Write(format!("{}: {e}", file.display())))
}

fn plot(file: &Path, title: &str, all: &[Comparison]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let duckdb = |c: &Comparison| c.duckdb.map(|d| d.as_secs_f64() / c.theirs.as_secs_f64());
    let highest = all.iter().flat_map(|c| [Some(c.ratio()), duckdb(c)]).flatten().fold(1.2, f64::max) * 1.08;
    let caption = format!("{title}: time by DataFusion's in one process (geometric mean {:.2})", mean(all.iter().map(Comparison::ratio)));
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(40)
        .build_cartesian_2d(0.0..all.len() as f64, 0.0..highest)?;
    let name = |x: &f64| all.get(*x as usize).filter(|_| (x.fract() - 0.5).abs() < 0.01).map_or(String::new(), |c| c.name.clone());
    chart.configure_mesh().disable_x_mesh().x_labels(all.len() * 2 + 1).x_label_formatter(&name).y_desc("ratio").draw()?;
    let bar = |index: usize, from: f64, to: f64, height: f64, color: &RGBColor| {
        Rectangle::new([(index as f64 + from, 0.0), (index as f64 + to, height)], color.filled())
    };
    let with_duckdb = all.iter().any(|c| c.duckdb.is_some());
    let ours_end = if with_duckdb { 0.5 } else { 0.86 };
    let ours = all.iter().enumerate().map(|(index, c)| bar(index, 0.14, ours_end, c.ratio(), &OURS));
    chart.draw_series(ours)?.label("Faísca").legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], OURS.filled()));
    if with_duckdb {
        let theirs = all.iter().enumerate().filter_map(|(index, c)| Some(bar(index, 0.5, 0.86, duckdb(c)?, &DUCKDB)));
        chart.draw_series(theirs)?.label("DuckDB").legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], DUCKDB.filled()));
    }
    let one = [(0.0, 1.0), (all.len() as f64, 1.0)];
    chart.draw_series([PathElement::new(one.to_vec(), BLACK)])?.label("DataFusion").legend(|(x, y)| PathElement::new([(x, y), (x + 12, y)], BLACK));
    chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    area.present()?;
    Ok(())
}

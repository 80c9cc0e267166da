//! The complete ENEM pipeline.
//!
//! DataFusion cannot read ISO-8859-1. It reads a copy in UTF-8, which is written before the
//! measurement.

use std::collections::BTreeMap;
use std::path::Path;

use datafusion::prelude::{SessionConfig, SessionContext};
use faisca::{Error, Result, Session};
use faisca_driver::job::Job;
use faisca_planner::manifest::CheckedManifest;

use crate::compare::{Comparison, layout, report};
use crate::measure::{Measurement, Stopwatch};

const MANIFEST: &str = include_str!("../../examples/enem/enem.yaml");

pub(crate) async fn run(folder: &Path, rows: u64, runs: u32, executors: u32) -> Result<()> {
    let data = folder.join(format!("enem-{rows}"));
    if !data.join("utf8").exists() {
        prepare(&data, rows).map_err(|e| Error::Write(e.to_string()))?;
    }
    let mut best = Comparison::new("pipeline".to_owned(), 1);
    for _ in 0..runs {
        best.record_reference(0, datafusion(&data).await?);
        best.record(faisca(&data, executors).await?);
    }
    report(
        &format!("ENEM pipeline, {rows} rows, {}", layout(executors)),
        &["DataFusion".to_owned()],
        &[best],
    );
    Ok(())
}

/// Name, file and delimiter of each source.
const SOURCES: [(&str, &str, char); 5] = [
    ("enem_csv", "enem/MICRODADOS_ENEM.csv", ';'),
    ("enade_csv", "enade2017/MICRODADOS_ENADE_2017.csv", ';'),
    ("aluno_csv", "edsup2019/SUP_ALUNO_2019.csv", '|'),
    ("docente_csv", "edsup2019/SUP_DOCENTE_2019.csv", '|'),
    ("curso_csv", "edsup2019/SUP_CURSO_2019.csv", '|'),
];

/// Generates the data, and the copies in UTF-8.
fn prepare(data: &Path, rows: u64) -> std::io::Result<()> {
    faisca_generate::enem(data, rows)?;
    let partial = data.join("utf8.partial");
    std::fs::create_dir_all(&partial)?;
    for (name, file, _) in SOURCES {
        let bytes = std::fs::read(data.join("landing").join(file))?;
        let text: String = bytes.iter().map(|b| char::from(*b)).collect();
        std::fs::write(partial.join(format!("{name}.csv")), text)?;
    }
    std::fs::rename(partial, data.join("utf8"))
}

/// Runs the manifest and returns its cost, including the start of the session.
async fn faisca(data: &Path, executors: u32) -> Result<Measurement> {
    let stopwatch = Stopwatch::start();
    let manifest = manifest(data)?;
    let session = Session::builder()
        .app_name("enem")
        .executors(executors)
        .get_or_create()
        .await?;
    Job::new(&manifest).run(&session, |_| {}).await?;
    session.stop().await;
    Ok(stopwatch.stop())
}

fn manifest(data: &Path) -> Result<CheckedManifest> {
    let set = BTreeMap::from([("data".to_owned(), data.display().to_string())]);
    Ok(CheckedManifest::load("enem.yaml", MANIFEST, &set)?)
}

/// Runs the same statements on DataFusion, one after the other.
async fn datafusion(data: &Path) -> Result<Measurement> {
    let output = data.join("datafusion");
    let _ = std::fs::remove_dir_all(&output);
    let stopwatch = Stopwatch::start();
    let config =
        SessionConfig::new().set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    let context = SessionContext::new_with_config(config);
    let manifest = manifest(data)?;
    for (name, _, delimiter) in SOURCES {
        let path = data.join(format!("utf8/{name}.csv"));
        let options = format!("'delimiter' '{delimiter}', 'schema_infer_max_rec' '10000'");
        let sql = format!(
            "CREATE EXTERNAL TABLE {name} STORED AS CSV LOCATION '{}' OPTIONS ({options})",
            path.display()
        );
        context.sql(&sql).await?.collect().await?;
    }
    for step in &manifest.spec().steps {
        let path = output.join(&step.name);
        let copy = format!(
            "COPY ({}) TO '{}/' STORED AS PARQUET OPTIONS (compression 'snappy')",
            step.sql,
            path.display()
        );
        context.sql(&copy).await?.collect().await?;
        let table = format!(
            "CREATE EXTERNAL TABLE {} STORED AS PARQUET LOCATION '{}/'",
            step.name,
            path.display()
        );
        context.sql(&table).await?.collect().await?;
    }
    Ok(stopwatch.stop())
}

//! The user's pipeline, whole.
//!
//! DataFusion cannot read ISO-8859-1: it is given a copy in UTF-8, made before the clock starts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use datafusion::prelude::{SessionConfig, SessionContext};
use faisca::job::Job;
use faisca::planner::manifest::{check, parse, with_parameters};
use faisca::{Error, Result, Session};

use crate::compare::{Pair, report};

const MANIFEST: &str = include_str!("../../examples/enem/enem.yaml");

pub(crate) async fn run(folder: &Path, rows: u64, runs: u32, executors: u32) -> Result<()> {
    let data = folder.join(format!("enem-{rows}"));
    if !data.join("utf8.csv").exists() {
        let failed = |e: std::io::Error| Error::Write(e.to_string());
        let files = faisca::generate::enem(&data, rows).map_err(failed)?;
        let bytes = std::fs::read(files.enem).map_err(failed)?;
        let text: String = bytes.iter().map(|b| char::from(*b)).collect();
        std::fs::write(data.join("utf8.csv"), text).map_err(failed)?;
    }
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..runs {
        theirs = theirs.min(datafusion(&data).await?);
        ours = ours.min(faisca(&data, executors).await?);
    }
    let layout = if executors == 0 { "embedded".to_owned() } else { format!("{executors} processes") };
    report(&format!("ENEM pipeline, {rows} rows, {layout}"), &[Pair { name: "pipeline".to_owned(), ours, theirs }]);
    Ok(())
}

async fn faisca(data: &Path, executors: u32) -> Result<Duration> {
    let started = Instant::now();
    let (manifest, positions) = parse("enem.yaml", MANIFEST)?;
    let set = BTreeMap::from([("data".to_owned(), data.display().to_string())]);
    let manifest = with_parameters("enem.yaml", manifest, &positions, &set)?;
    let order = check("enem.yaml", &manifest, &positions)?;
    let session = Session::builder().app_name("enem").executors(executors).get_or_create().await?;
    Job { file: "enem.yaml", manifest: &manifest, positions: &positions, order: &order }.run(&session, |_| {}).await?;
    session.stop().await;
    Ok(started.elapsed())
}

/// The same statements, one after the other.
async fn datafusion(data: &Path) -> Result<Duration> {
    let out = data.join("datafusion");
    let _ = std::fs::remove_dir_all(&out);
    let started = Instant::now();
    let config = SessionConfig::new().set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    let context = SessionContext::new_with_config(config);
    let (manifest, _) = parse("enem.yaml", MANIFEST)?;
    let csv = |name: &str, file: &str, delimiter: char| {
        format!(
            "CREATE EXTERNAL TABLE {name} STORED AS CSV LOCATION '{}' OPTIONS ('delimiter' '{delimiter}', 'schema_infer_max_rec' '10000')",
            data.join(file).display()
        )
    };
    context.sql(&csv("enem_csv", "utf8.csv", ';')).await?.collect().await?;
    context.sql(&csv("enade_csv", "landing/enade2017/", ';')).await?.collect().await?;
    for name in ["aluno", "docente", "curso"] {
        // Latin-1 bytes in a name would stop DataFusion: these small files are left to the UTF-8 columns.
        context.sql(&csv(&format!("{name}_csv"), &format!("landing/edsup2019/SUP_{}_2019.csv", name.to_uppercase()), '|')).await?.collect().await?;
    }
    for step in &manifest.spec.steps {
        if step.name.starts_with("edsup") {
            continue;
        }
        let path = out.join(&step.name);
        let copy = format!("COPY ({}) TO '{}/' STORED AS PARQUET OPTIONS (compression 'snappy')", step.sql, path.display());
        context.sql(&copy).await?.collect().await?;
        let table = format!("CREATE EXTERNAL TABLE {} STORED AS PARQUET LOCATION '{}/'", step.name, path.display());
        context.sql(&table).await?.collect().await?;
    }
    Ok(started.elapsed())
}

//! `faisca run JOB`.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use faisca::{Error, Result, Session};
use faisca_driver::job::{Job, StepSummary, run_script};
use faisca_planner::manifest::{Manifest, Positions, StepOrder, check, parse, with_parameters};

use super::show::{Bars, print, step_line, summary};
use super::{ClusterArgs, key_value};

/// Flags of `faisca run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A manifest (.yaml) or a script (.sql).
    job: String,
    /// Value of a parameter of the manifest; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A manifest that passed every check.
pub(super) struct Checked {
    pub(super) manifest: Manifest,
    pub(super) positions: Positions,
    pub(super) order: StepOrder,
}

/// Reads, fills in and checks a manifest.
pub(super) fn load(file: &str, set: &[(String, String)]) -> Result<Checked> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::Plan(format!("{file}: {e}")))?;
    let (manifest, positions) = parse(file, &text)?;
    let overrides: BTreeMap<String, String> = set.iter().cloned().collect();
    let manifest = with_parameters(file, manifest, &positions, &overrides)?;
    let order = check(file, &manifest, &positions)?;
    Ok(Checked {
        manifest,
        positions,
        order,
    })
}

pub(super) fn is_script(file: &str) -> bool {
    std::path::Path::new(file)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("sql"))
}

pub(super) async fn run(args: RunArgs) -> Result<()> {
    let started = Instant::now();
    if is_script(&args.job) {
        let session = args
            .cluster
            .session(&args.job, [], Default::default())
            .await?;
        let bars = Bars::start(session.progress_handle());
        let ended = run_script(&session, &args.job, |step| bars.line(&step_line(step))).await;
        drop(bars);
        return finish(&session, ended, started).await;
    }
    let checked = load(&args.job, &args.set)?;
    if !checked.manifest.spec.command.is_empty() {
        return Err(Error::Plan(format!(
            "{}: `command` runs in an image on a cluster; run the program itself here",
            args.job
        )));
    }
    let conf = checked.manifest.spec.conf.clone();
    let stores = checked.manifest.spec.stores.clone();
    let session = args
        .cluster
        .session(&checked.manifest.metadata.name, conf, stores)
        .await?;
    let bars = Bars::start(session.progress_handle());
    let job = Job {
        file: &args.job,
        manifest: &checked.manifest,
        positions: &checked.positions,
        order: &checked.order,
    };
    let ended = job.run(&session, |step| bars.line(&step_line(step))).await;
    drop(bars);
    finish(&session, ended, started).await
}

async fn finish(
    session: &Session,
    ended: Result<Vec<StepSummary>>,
    started: Instant,
) -> Result<()> {
    let snapshot = session.progress();
    session.stop().await;
    let requests = session.object_stores().requests();
    print(&summary(&ended?, &snapshot, &requests, started.elapsed()));
    Ok(())
}

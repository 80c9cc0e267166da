//! `faisca run JOB`.

use std::time::Instant;

use clap::Args;
use faisca::{Error, Result};
use faisca_driver::Session;
use faisca_driver::job::{Job, StepSummary, run_script};
use faisca_planner::manifest::CheckedManifest;

use super::report::{RecordArgs, Recording};
use super::run_state::{RUN_SETTING, RunState, RunStateArgs};
use super::show::{Bars, print, step_line, summary};
use super::{ClusterArgs, parse_key_value};

/// Flags of `faisca run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A manifest (.yaml) or a script (.sql).
    job: String,
    /// Value of a parameter of the manifest; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    state: RunStateArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Loads the manifest of a file.
pub(super) fn load(file: &str, set: &[(String, String)]) -> Result<CheckedManifest> {
    let text = std::fs::read_to_string(file).map_err(Error::input(file))?;
    let parameters = set.iter().cloned().collect();
    Ok(CheckedManifest::load(file, &text, &parameters)?)
}

pub(super) fn is_script(file: &str) -> bool {
    std::path::Path::new(file)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("sql"))
}

pub(super) async fn run(args: RunArgs) -> Result<()> {
    let started = Instant::now();
    let mut recording = args.record.recording()?;
    if is_script(&args.job) {
        if args.state.is_requested() {
            return Err(Error::Usage(format!(
                "{}: --resume and --run-id are for manifests: statements of a script have no steps to skip",
                args.job
            )));
        }
        recording.serve_page()?;
        let session = args
            .cluster
            .session(&args.job, recording.settings(), Default::default())
            .await?;
        let bars = Bars::start(session.progress_handle());
        let ended = run_script(&session, &args.job, |step| bars.line(&step_line(step))).await;
        drop(bars);
        return finish(&session, ended, started, recording).await;
    }
    let manifest = load(&args.job, &args.set)?;
    let spec = manifest.spec();
    if !spec.command.is_empty() {
        return Err(Error::Usage(format!(
            "{}: `command` runs in an image on a cluster; run the program itself here",
            args.job
        )));
    }
    let name = &manifest.manifest().metadata.name;
    // A manifest that names its run keeps that name, unless a flag names another one.
    let is_named = spec.conf.contains_key(RUN_SETTING) && !args.state.is_requested();
    let state = match is_named {
        true => None,
        false => Some(args.state.begin(&args.job, &args.set)?),
    };
    let run = state.as_ref().map(RunState::setting);
    let conf = spec.conf.clone().into_iter();
    let conf = conf.chain(recording.settings()).chain(run);
    recording.serve_page()?;
    let session = args
        .cluster
        .session(name, conf, spec.stores.clone())
        .await?;
    let bars = Bars::start(session.progress_handle());
    let mut outputs = 0;
    let job = Job::new(&manifest);
    let ended = job.run(&session, |step| {
        outputs += usize::from(step.written.is_some());
        bars.line(&step_line(step));
    });
    let ended = ended.await;
    drop(bars);
    if let Some(state) = &state {
        match &ended {
            Ok(_) => state.forget(),
            Err(_) if outputs > 0 && state.is_kept() => eprintln!(
                "note: `faisca run --resume` with the same job and parameters keeps what is finished"
            ),
            Err(_) => {}
        }
    }
    finish(&session, ended, started, recording).await
}

/// Stops the session, and prints what the run did. Writes its page, also if it failed.
async fn finish(
    session: &Session,
    ended: Result<Vec<StepSummary>>,
    started: Instant,
    recording: Recording,
) -> Result<()> {
    let snapshot = session.progress();
    session.stop().await;
    let requests = session.object_stores().requests();
    if let Ok(steps) = &ended {
        print(&summary(steps, &snapshot, &requests, started.elapsed()));
    }
    // A failed run needs its explanation most, and its own error comes first.
    let reported = recording.finish().await;
    ended.and(reported)
}

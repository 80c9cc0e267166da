//! `faisca plan JOB`: checks what a job would do, without changing anything.

use clap::Args;
use comfy_table::CellAlignment;
use faisca::{Error, Result};
use faisca_driver::catalog::TableOutlook;
use faisca_driver::job::Job;
use faisca_driver::job::plan::{Files, JobPlan, OutputPlan};
use faisca_planner::manifest::SaveMode;
use indicatif::HumanBytes;

use super::run::{is_script, load};
use super::show::{print, table};
use super::{ClusterArgs, last_error, parse_key_value};

/// Flags of `faisca plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// A manifest (.yaml).
    job: String,
    /// Value of a parameter of the manifest; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn plan(args: PlanArgs) -> Result<()> {
    if is_script(&args.job) {
        return Err(Error::Usage(format!(
            "{}: write EXPLAIN before a statement of the script",
            args.job
        )));
    }
    let manifest = load(&args.job, &args.set)?;
    let spec = manifest.spec();
    let session = args
        .cluster
        .planning_session("plan", spec.conf.clone(), spec.stores.clone())
        .await?;
    let plan = Job::new(&manifest).plan(&session).await;
    session.stop().await;
    print(&plan_text(&plan));
    last_error(plan.problems)
}

/// Returns the sources and the steps of a plan as two tables.
fn plan_text(plan: &JobPlan) -> String {
    let mut sources = table(&["source", "reads"], CellAlignment::Left);
    for (name, files) in &plan.sources {
        sources.add_row([name.clone(), describe_files(*files)]);
    }
    let header = ["step", "stages", "reads", "writes", "table"];
    let mut steps = table(&header, CellAlignment::Left);
    for step in &plan.steps {
        let mut reads: Vec<String> = step
            .reads
            .iter()
            .map(|name| format!("step {name}"))
            .collect();
        if step.scans.count > 0 {
            reads.push(describe_files(step.scans));
        }
        let (writes, table) = match &step.output {
            None => ("a view".to_owned(), String::new()),
            Some(output) => (describe_write(output), describe_table(output)),
        };
        steps.add_row([
            step.name.clone(),
            step.stages.to_string(),
            reads.join("\n"),
            writes,
            table,
        ]);
    }
    format!("{sources}\n{steps}")
}

fn describe_write(output: &OutputPlan) -> String {
    let present = if output.present.count == 0 {
        "no files yet".to_owned()
    } else {
        describe_files(output.present)
    };
    let effect = match (output.mode, output.present.count) {
        (_, 0) | (SaveMode::ErrorIfExists, _) => present,
        (SaveMode::Overwrite, _) => format!("replaces {present}"),
        (SaveMode::Append, _) => format!("appends to {present}"),
        (SaveMode::Ignore, _) => format!("skipped: {present}"),
    };
    format!("{}\n{effect}", output.path)
}

fn describe_table(output: &OutputPlan) -> String {
    match &output.table {
        None => String::new(),
        Some((name, TableOutlook::New(columns))) => format!("{name}\nnew, {columns} columns"),
        Some((name, TableOutlook::Kept)) => format!("{name}\ncolumns as they are"),
        Some((name, TableOutlook::Changed(difference))) => format!("{name}\n{difference}"),
    }
}

fn describe_files(files: Files) -> String {
    let noun = if files.count == 1 { "file" } else { "files" };
    format!("{} {noun}, {}", files.count, HumanBytes(files.bytes))
}

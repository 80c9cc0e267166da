//! `faisca explain`.

use clap::Args;
use faisca::{Error, Result};
use faisca_driver::job::Job;
use faisca_planner::manifest::Stores;

use super::run::{is_script, load};
use super::show::print;
use super::{ClusterArgs, key_value};

/// Flags of `faisca explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A manifest (.yaml).
    #[arg(required_unless_present = "query")]
    job: Option<String>,
    /// A query instead.
    #[arg(short = 'c', long = "query", conflicts_with = "job")]
    query: Option<String>,
    /// Value of a parameter of the manifest; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn explain(mut args: ExplainArgs) -> Result<()> {
    // The plan depends on the number of slots, not on processes that are really there.
    let slots = args.cluster.executors * args.cluster.executor_cores.unwrap_or(1);
    if slots > 0 {
        args.cluster.partitions = args.cluster.partitions.or(Some(slots as usize * 4));
        args.cluster.executors = 0;
    }
    if let Some(query) = &args.query {
        let session = args.cluster.session("explain", [], Stores::new()).await?;
        print(&session.sql(query).await?.explain().await?.to_string());
        return Ok(());
    }
    let file = args.job.unwrap_or_default();
    if is_script(&file) {
        return Err(Error::Plan(format!(
            "{file}: write EXPLAIN before a statement of the script"
        )));
    }
    let checked = load(&file, &args.set)?;
    let stores = checked.manifest.spec.stores.clone();
    let session = args.cluster.session("explain", [], stores).await?;
    let job = Job {
        file: &file,
        manifest: &checked.manifest,
        positions: &checked.positions,
        order: &checked.order,
    };
    for (step, drawing) in job.explain(&session).await? {
        print(&format!("── step {step}\n{drawing}"));
    }
    Ok(())
}

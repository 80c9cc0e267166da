//! `faisca explain`: draws the stages of a job or a query.

use clap::Args;
use faisca::{Error, Result};
use faisca_driver::job::Job;

use super::run::{is_script, load};
use super::show::print;
use super::{ClusterArgs, parse_key_value};

/// Flags of `faisca explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A manifest (.yaml).
    #[arg(required_unless_present = "query")]
    job: Option<String>,
    /// A query instead of a manifest.
    #[arg(short = 'c', long = "query", conflicts_with = "job")]
    query: Option<String>,
    /// Value of a parameter of the manifest; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn explain(args: ExplainArgs) -> Result<()> {
    if let Some(query) = &args.query {
        let session = args
            .cluster
            .planning_session("explain", [], Default::default())
            .await?;
        let drawing = session.sql(query).await?.explain().await?;
        session.stop().await;
        print(&drawing);
        return Ok(());
    }
    let file = args.job.unwrap_or_default();
    if is_script(&file) {
        return Err(Error::Usage(format!(
            "{file}: write EXPLAIN before a statement of the script"
        )));
    }
    let manifest = load(&file, &args.set)?;
    let spec = manifest.spec();
    let session = args
        .cluster
        .planning_session("explain", spec.conf.clone(), spec.stores.clone())
        .await?;
    let drawings = Job::new(&manifest).explain(&session).await;
    session.stop().await;
    for (step, drawing) in drawings? {
        print(&format!("── step {step}\n{drawing}"));
    }
    Ok(())
}

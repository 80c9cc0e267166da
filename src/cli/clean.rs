//! `faisca clean PATH`: lists or removes what crashed jobs left in a folder of an object store.

use std::time::Duration;

use clap::Args;
use faisca::{Result, Session};
use faisca_driver::{CleanMode, LeftoverKind};

use super::parse_key_value;
use super::show::print;

/// Seconds in an hour.
const HOUR: f64 = 3600.0;

/// Flags of `faisca clean`.
#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    /// Folder on an object store that jobs write to, for example s3://lake/gold/sales/.
    path: String,
    /// Finish interrupted commits, abort uploads and remove old records, instead of listing them.
    #[arg(long)]
    apply: bool,
    /// Minimum age of an upload in hours: a younger one may belong to a job that still runs.
    #[arg(long, value_name = "HOURS", default_value = "24", value_parser = hours)]
    older_than: Duration,
    /// A session setting, for example faisca.glue.region=sa-east-1; may be repeated.
    #[arg(long = "conf", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    conf: Vec<(String, String)>,
}

/// Parses a number of hours.
fn hours(text: &str) -> std::result::Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| "expected a number of hours")?;
    Duration::try_from_secs_f64(hours * HOUR)
        .map_err(|_| "expected a number of hours from 0 to a few million years".to_owned())
}

pub(super) async fn clean(args: CleanArgs) -> Result<()> {
    let builder = Session::builder().app_name("clean").configs(args.conf);
    let session = builder.get_or_create().await?;
    let mode = match args.apply {
        true => CleanMode::Remove,
        false => CleanMode::List,
    };
    let leftovers = faisca_driver::clean(
        &args.path,
        args.older_than,
        mode,
        session.object_stores(),
        session.catalogs(),
    )
    .await?;
    session.stop().await;
    for leftover in &leftovers {
        let age = leftover.age.map_or_else(
            || "of unknown age".to_owned(),
            |age| format!("{:.1} h old", age.as_secs_f64() / HOUR),
        );
        let kind = match leftover.kind {
            LeftoverKind::UnfinishedCommit => "unfinished commit",
            LeftoverKind::Upload => "abandoned upload",
            LeftoverKind::OldRecord => "old record",
        };
        let effect = leftover.effect.as_deref();
        let effect = effect.map_or_else(String::new, |effect| format!(": {effect}"));
        print(&format!("{}  {kind}, {age}{effect}", leftover.path));
    }
    let count = |kind: LeftoverKind| {
        leftovers
            .iter()
            .filter(|leftover| leftover.kind == kind)
            .count()
    };
    let (commits, uploads, records) = (
        count(LeftoverKind::UnfinishedCommit),
        count(LeftoverKind::Upload),
        count(LeftoverKind::OldRecord),
    );
    let summary = match (leftovers.len(), mode) {
        (0, _) => "nothing to clean up".to_owned(),
        (_, CleanMode::Remove) => format!(
            "commits finished: {commits}; uploads aborted: {uploads}; records removed: {records}"
        ),
        (_, CleanMode::List) => format!(
            "commits to finish: {commits}; uploads to abort: {uploads}; records to remove: {records}; add --apply"
        ),
    };
    print(&summary);
    Ok(())
}

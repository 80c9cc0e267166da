//! `faisca crawl PATH --database D`.

use clap::{Args, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use faisca::{Error, Result, Session};
use faisca_driver::catalog::TableOutlook;
use faisca_driver::crawl::{Crawl, CrawlPlan, CrawledTable, apply, crawl as look};
use faisca_planner::manifest::{CatalogKind, OnSchemaChange};
use indicatif::HumanBytes;

use super::key_value;
use super::show::print;

/// Flags of `faisca crawl`.
#[derive(Debug, Args)]
pub(super) struct CrawlArgs {
    /// Folder whose folders are tables, say s3://lake/landing/.
    path: String,
    /// Database of the catalog; made if it is not there.
    #[arg(long, value_name = "NAME")]
    database: String,
    /// Which catalog.
    #[arg(long, value_enum, default_value_t = Kind::Glue)]
    catalog: Kind,
    /// In front of each table's name.
    #[arg(long, value_name = "TEXT", default_value = "")]
    table_prefix: String,
    /// What to do if columns differ from those of a table that is there.
    #[arg(long, value_enum, default_value_t = Rule::AddColumns)]
    on_schema_change: Rule,
    /// Do what is shown.
    #[arg(long)]
    apply: bool,
    /// A session setting, say faisca.glue.region=sa-east-1; may be repeated.
    #[arg(long = "conf", value_name = "KEY=VALUE", value_parser = key_value)]
    conf: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// AWS Glue.
    Glue,
    /// Files below the warehouse folder.
    Local,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rule {
    /// Leave the table, and fail.
    Fail,
    /// New columns are added; those that are gone stay.
    AddColumns,
    /// The table gets the columns that were found; a column of another type is refused.
    Replace,
}

pub(super) async fn crawl(args: CrawlArgs) -> Result<()> {
    let builder = args.conf.into_iter().fold(
        Session::builder().app_name("crawl"),
        |builder, (key, value)| builder.config(key, value),
    );
    let session = builder.get_or_create().await?;
    let asked = Crawl {
        path: args.path,
        kind: match args.catalog {
            Kind::Glue => CatalogKind::Glue,
            Kind::Local => CatalogKind::Local,
        },
        database: args.database,
        table_prefix: args.table_prefix,
        on_schema_change: match args.on_schema_change {
            Rule::Fail => OnSchemaChange::Fail,
            Rule::AddColumns => OnSchemaChange::AddColumns,
            Rule::Replace => OnSchemaChange::Replace,
        },
    };
    let mut plan = look(&session, &asked).await?;
    print(&drawn(&plan));
    let changes = plan.tables.iter().filter(|table| table.changes()).count();
    if args.apply {
        apply(&session, &plan).await?;
    }
    session.stop().await;
    print(&match (changes, args.apply) {
        (0, _) => "the catalog is up to date".to_owned(),
        (n, true) => format!("{n} tables created or changed"),
        (n, false) => format!("{n} tables can be created or changed: add --apply"),
    });
    let Some(last) = plan.problems.pop() else {
        return Ok(());
    };
    plan.problems
        .iter()
        .for_each(|problem| eprintln!("error: {problem}"));
    Err::<(), Error>(last)
}

fn drawn(plan: &CrawlPlan) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_header(["table", "files", "columns", "partitions"]);
    for found in &plan.tables {
        let files = format!(
            "{} {}, {}",
            found.files.count,
            format!("{:?}", found.format).to_lowercase(),
            HumanBytes(found.files.bytes)
        );
        let columns = match &found.outlook {
            TableOutlook::New(columns) => format!("new, {columns} columns"),
            TableOutlook::Kept => "as they are".to_owned(),
            TableOutlook::Changed(difference) => difference.clone(),
        };
        table.add_row([
            format!("{}\n{}", found.name, found.location),
            files,
            columns,
            partitions(found),
        ]);
    }
    let skipped: String = plan
        .skipped
        .iter()
        .map(|reason| format!("\nskipped {reason}"))
        .collect();
    format!("{table}{skipped}")
}

fn partitions(found: &CrawledTable) -> String {
    match (found.new_partitions, found.gone_partitions) {
        (0, 0) => String::new(),
        (new, 0) => format!("{new} new"),
        (0, gone) => format!("{gone} gone"),
        (new, gone) => format!("{new} new, {gone} gone"),
    }
}

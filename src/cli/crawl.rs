//! `faisca crawl PATH --database D`: finds tables in folders and registers them in a catalog.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use comfy_table::CellAlignment;
use faisca::{Result, Session};
use faisca_driver::catalog::TableOutlook;
use faisca_driver::job::crawl::{Crawl, CrawlPlan, CrawledTable, apply, crawl as find_tables};
use faisca_planner::manifest::{CatalogKind, OnSchemaChange};
use indicatif::HumanBytes;

use super::show::{print, table};
use super::{last_error, parse_key_value};

/// Flags of `faisca crawl`.
#[derive(Debug, Args)]
pub(super) struct CrawlArgs {
    /// Folder whose subfolders are tables, for example s3://lake/landing/.
    path: String,
    /// Database of the catalog; created if it does not exist.
    #[arg(long, value_name = "NAME")]
    database: String,
    /// Catalog of the tables: AWS Glue, or files below the warehouse folder.
    #[arg(long, default_value = "glue", value_parser = catalog_kind())]
    catalog: CatalogKind,
    /// Prefix of each table's name.
    #[arg(long, value_name = "TEXT", default_value = "")]
    table_prefix: String,
    /// What to do if columns differ from those of an existing table: `fail` leaves the table;
    /// `add-columns` adds new columns and keeps those that no file has; `replace` sets the columns
    /// that the files have, but refuses to change a type.
    #[arg(long, default_value = "add-columns", value_parser = schema_change())]
    on_schema_change: OnSchemaChange,
    /// Apply the changes that are shown.
    #[arg(long)]
    apply: bool,
    /// A session setting, for example faisca.glue.region=sa-east-1; may be repeated.
    #[arg(long = "conf", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    conf: Vec<(String, String)>,
}

fn catalog_kind() -> impl TypedValueParser<Value = CatalogKind> {
    one_of([("glue", CatalogKind::Glue), ("local", CatalogKind::Local)])
}

fn schema_change() -> impl TypedValueParser<Value = OnSchemaChange> {
    one_of([
        ("fail", OnSchemaChange::Fail),
        ("add-columns", OnSchemaChange::AddColumns),
        ("replace", OnSchemaChange::Replace),
    ])
}

/// Returns a parser of values by their names.
fn one_of<T, const N: usize>(values: [(&'static str, T); N]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(values.map(|(name, _)| name)).try_map(move |text| {
        let named = values.iter().find(|(name, _)| *name == text);
        named.map(|(_, value)| *value).ok_or("unknown value")
    })
}

pub(super) async fn crawl(args: CrawlArgs) -> Result<()> {
    let builder = Session::builder().app_name("crawl").configs(args.conf);
    let session = builder.get_or_create().await?;
    let request = Crawl {
        path: args.path,
        kind: args.catalog,
        database: args.database,
        table_prefix: args.table_prefix,
        on_schema_change: args.on_schema_change,
    };
    let plan = find_tables(&session, &request).await?;
    print(&plan_text(&plan));
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
    last_error(plan.problems)
}

/// Returns the found tables and their changes as a table, and the skipped folders with reasons.
fn plan_text(plan: &CrawlPlan) -> String {
    let header = ["table", "files", "columns", "partitions"];
    let mut table = table(&header, CellAlignment::Left);
    for crawled in &plan.tables {
        let files = format!(
            "{} {}, {}",
            crawled.files.count,
            format!("{:?}", crawled.format).to_lowercase(),
            HumanBytes(crawled.files.bytes)
        );
        let columns = match &crawled.outlook {
            TableOutlook::New(columns) => format!("new, {columns} columns"),
            TableOutlook::Kept => "as they are".to_owned(),
            TableOutlook::Changed(difference) => difference.clone(),
        };
        table.add_row([
            format!("{}\n{}", crawled.name, crawled.location),
            files,
            columns,
            partition_changes(crawled),
        ]);
    }
    let skipped: String = plan
        .skipped
        .iter()
        .map(|reason| format!("\nskipped {reason}"))
        .collect();
    format!("{table}{skipped}")
}

fn partition_changes(crawled: &CrawledTable) -> String {
    match (crawled.new_partitions, crawled.removed_partitions) {
        (0, 0) => String::new(),
        (new, 0) => format!("{new} new"),
        (0, removed) => format!("{removed} removed"),
        (new, removed) => format!("{new} new, {removed} removed"),
    }
}

//! Settings of a session: DataFusion's, with defaults that suit distribution, and a few of our own.

use std::collections::BTreeMap;

use datafusion::prelude::SessionConfig;
use faisca_executor::wire::Durability;
use faisca_planner::names::parse_bytes;
use faisca_planner::rules::Switches;

use crate::catalog::GlueSettings;
use crate::error::{Error, Result};

/// Statements that read less stay in the driver, where there is a fleet besides it.
const SMALL_BYTES: u64 = 1024 * 1024;

/// Settings that are not DataFusion's.
pub(crate) struct OwnSettings {
    /// Statements that read less stay in the driver.
    pub(crate) small_bytes: u64,
    /// Folder of the tables that have a name, but no path.
    pub(crate) warehouse: String,
    /// URL of a folder in an object store, where blocks outlive their executors.
    pub(crate) exchange_store: Option<String>,
    /// When they get there.
    pub(crate) durability: Durability,
    /// Where Glue is.
    pub(crate) glue: GlueSettings,
}

/// DataFusion's settings, and ours.
///
/// # Errors
/// For an unknown name or a value that is none.
pub(crate) fn session_config(partitions: usize, settings: &BTreeMap<String, String>) -> Result<(SessionConfig, OwnSettings)> {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_information_schema(true).with_option_extension(Switches::default());
    let options = config.options_mut();
    // One task must never drain another's files, and filters do not cross processes.
    options.execution.enable_file_stream_work_stealing = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    // The switch above does not reach these three unless it is set by name.
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    options.optimizer.enable_round_robin_repartition = false;
    let mut own = OwnSettings {
        small_bytes: SMALL_BYTES,
        warehouse: "spark-warehouse".to_owned(),
        exchange_store: None,
        durability: Durability::Async,
        glue: GlueSettings::default(),
    };
    for (key, value) in settings {
        match key.as_str() {
            "faisca.smallQueryBytes" if value == "0" => own.small_bytes = 0,
            "faisca.smallQueryBytes" => {
                own.small_bytes = parse_bytes(value).ok_or_else(|| Error::Plan(format!("{key}: `{value}` is not a size")))?;
            }
            "faisca.warehouse" | "spark.sql.warehouse.dir" => own.warehouse.clone_from(value),
            "faisca.exchange.store" => own.exchange_store = Some(value.clone()),
            "faisca.exchange.durability" => own.durability = durability(key, value)?,
            // A cluster's matter; on this machine logs go to standard error.
            "faisca.history.path" => {}
            "faisca.glue.endpoint" => own.glue.endpoint = Some(value.clone()),
            "faisca.glue.region" => own.glue.region = Some(value.clone()),
            "faisca.glue.profile" => own.glue.profile = Some(value.clone()),
            "faisca.glue.catalogId" | "spark.hadoop.hive.metastore.glue.catalogid" => own.glue.catalog_id = Some(value.clone()),
            _ => options.set(key, value).map_err(|e| Error::Plan(format!("setting {key}: {}", e.strip_backtrace())))?,
        }
    }
    Ok((config, own))
}

fn durability(key: &str, value: &str) -> Result<Durability> {
    match value {
        "never" => Ok(Durability::Never),
        "onDrain" => Ok(Durability::OnDrain),
        "async" => Ok(Durability::Async),
        "sync" => Ok(Durability::Sync),
        other => Err(Error::Plan(format!("{key}: `{other}` is none of never, onDrain, async, sync"))),
    }
}

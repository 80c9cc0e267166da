//! Settings of a session: DataFusion's, with defaults that suit distribution, and a few of our own.

use std::collections::BTreeMap;

use datafusion::prelude::SessionConfig;
use faisca_executor::protocol::Durability;
use faisca_planner::names::parse_bytes;
use faisca_planner::rules::Switches;

use crate::catalog::GlueSettings;
use crate::error::{Error, Result};

/// Statements that read less stay in the driver, where there is a fleet besides it.
const SMALL_BYTES: u64 = 1024 * 1024;

/// Build sides up to this are broadcast on one machine: below it, building a table in every task costs less than moving the
/// other side. Measured on TPC-H at scale factor 10, where four times as much was slower again.
const BROADCAST_BYTES: u64 = 200 * 1024 * 1024;
const BROADCAST_ROWS: u64 = 2_000_000;
/// Each executor fetches a copy. Up to this many copies cost the network no more than moving the
/// other side.
const BROADCAST_EXECUTORS: u64 = 2;
/// A table of a build side takes its part of a slot's memory, and cannot spill.
const SLOTS_MEMORY_BY_BROADCAST: u64 = 16;
/// A row of a build side and its place in the hash table.
const BROADCAST_ROW_BYTES: u64 = 100;
/// With keys as dense as this, joins find rows by an array of all keys instead of a hash table. Executors with little memory
/// ask for more, task by task.
const ARRAY_JOIN_DENSITY: f64 = 0.05;

/// What executors a session plans for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    /// Partitions of scans and exchanges.
    pub(crate) partitions: usize,
    /// Processes; 0 is embedded.
    pub(crate) executors: u32,
    /// Memory of a task slot, if there is a limit.
    pub(crate) slot_memory_bytes: Option<u64>,
}

impl Resources {
    /// Bytes and rows of a build side that is broadcast, at most.
    fn broadcast_max(&self) -> (usize, usize) {
        let copies = u64::from(self.executors).max(BROADCAST_EXECUTORS);
        let by_network = |limit: u64| limit * BROADCAST_EXECUTORS / copies;
        let by_memory = self
            .slot_memory_bytes
            .map_or(u64::MAX, |bytes| bytes / SLOTS_MEMORY_BY_BROADCAST);
        let bytes = by_network(BROADCAST_BYTES).min(by_memory);
        let rows = by_network(BROADCAST_ROWS).min(by_memory / BROADCAST_ROW_BYTES);
        (
            usize::try_from(bytes).unwrap_or(usize::MAX),
            usize::try_from(rows).unwrap_or(usize::MAX),
        )
    }
}

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
pub(crate) fn session_config(
    resources: Resources,
    settings: &BTreeMap<String, String>,
) -> Result<(SessionConfig, OwnSettings)> {
    let mut config = SessionConfig::new()
        .with_target_partitions(resources.partitions)
        .with_information_schema(true)
        .with_option_extension(Switches::default());
    let options = config.options_mut();
    // One task must never drain another's files, and filters do not cross processes.
    options.execution.enable_file_stream_work_stealing = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    // The switch above does not reach these three unless it is set by name.
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    options.optimizer.enable_round_robin_repartition = false;
    let (bytes, rows) = resources.broadcast_max();
    options.optimizer.hash_join_single_partition_threshold = bytes;
    options.optimizer.hash_join_single_partition_threshold_rows = rows;
    options.execution.perfect_hash_join_min_key_density = ARRAY_JOIN_DENSITY;
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
                own.small_bytes = parse_bytes(value)
                    .ok_or_else(|| Error::Plan(format!("{key}: `{value}` is not a size")))?;
            }
            "faisca.warehouse" | "spark.sql.warehouse.dir" => own.warehouse.clone_from(value),
            "faisca.exchange.store" => own.exchange_store = Some(value.clone()),
            "faisca.exchange.durability" => own.durability = durability(key, value)?,
            // A cluster's matter; on this machine logs go to standard error.
            "faisca.history.path" => {}
            "faisca.glue.endpoint" => own.glue.endpoint = Some(value.clone()),
            "faisca.glue.region" => own.glue.region = Some(value.clone()),
            "faisca.glue.profile" => own.glue.profile = Some(value.clone()),
            "faisca.glue.catalogId" | "spark.hadoop.hive.metastore.glue.catalogid" => {
                own.glue.catalog_id = Some(value.clone())
            }
            _ => options
                .set(key, value)
                .map_err(|e| Error::Plan(format!("setting {key}: {}", e.strip_backtrace())))?,
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
        other => Err(Error::Plan(format!(
            "{key}: `{other}` is none of never, onDrain, async, sync"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broadcast_shrinks_with_memory_and_with_the_number_of_executors() {
        let max = |executors, slot_memory_bytes| {
            Resources {
                partitions: 4,
                executors,
                slot_memory_bytes,
            }
            .broadcast_max()
        };
        assert_eq!(max(0, None), (200 << 20, 2_000_000));
        assert_eq!(max(2, None), max(0, None));
        assert_eq!(max(10, None), (40 << 20, 400_000));
        assert_eq!(max(2, Some(1 << 30)), (64 << 20, 671_088));
    }
}

//! Settings of a session: our own, and those of DataFusion with defaults for distributed execution.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use datafusion::config::ConfigOptions;
use datafusion::prelude::SessionConfig;
use faisca_executor::protocol::Durability;
use faisca_executor::protocol::flight::Encryption;
use faisca_planner::names::parse_bytes;
use faisca_planner::rules::Switches;
use faisca_spark::legacy::Legacy;

use crate::catalog::GlueSettings;
use crate::error::{Error, Result};
use crate::write_identity::RunId;

/// Default limit in bytes: queries that read less run in the driver, even if there is a fleet.
const SMALL_BYTES: u64 = 1024 * 1024;

/// Size of the largest build side that is broadcast, for up to [`BROADCAST_EXECUTORS`] executors.
/// Below it, building the hash table in every task costs less than moving the other side. Measured
/// on TPC-H at scale factor 10, where a limit four times as large was slower.
const BROADCAST_BYTES: u64 = 200 * 1024 * 1024;
/// The same limit as a number of rows.
const BROADCAST_ROWS: u64 = 2_000_000;
/// Each executor fetches its own copy of a broadcast side. This many copies cost the network no
/// more than moving the other side; with more executors, the limits shrink.
const BROADCAST_EXECUTORS: u64 = 2;
/// A broadcast side may take 1/16 of a slot's memory: its hash table cannot spill.
const BROADCAST_MEMORY_DIVISOR: u64 = 16;
/// Estimated memory of one row of a build side, with its entry in the hash table.
const BROADCAST_ROW_BYTES: u64 = 100;
/// If at least this fraction of the key range is in use, a join looks rows up in an array of all
/// keys instead of a hash table. Executors with little memory require a higher density, for each
/// task.
const ARRAY_JOIN_DENSITY: f64 = 0.05;

/// Setting for whether overflow is an error, as in Spark.
pub(crate) const ANSI_ENABLED: &str = "spark.sql.ansi.enabled";
/// Setting for the time zone in which timestamps are shown and parsed.
pub(crate) const TIME_ZONE: &str = "spark.sql.session.timeZone";

/// Returns DataFusion's name for a Spark setting, or `None` if Faísca does not support the setting.
pub(super) fn datafusion_setting(name: &str) -> Option<&'static str> {
    match name {
        ANSI_ENABLED => Some("datafusion.execution.enable_ansi_mode"),
        TIME_ZONE => Some("datafusion.execution.time_zone"),
        _ => None,
    }
}

/// Maximum nesting depth of parentheses, queries and functions in a statement. DataFusion's default
/// of 50 is too low for statements that people write.
const SQL_NESTING_MAX: &str = "300";

/// The executors that a session plans for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    /// Number of partitions of scans and exchanges.
    pub(crate) partitions: usize,
    /// Number of executor processes; 0 means that tasks run in the driver.
    pub(crate) executors: u32,
    /// Memory of one task slot in bytes; `None` without a limit.
    pub(crate) slot_memory_bytes: Option<u64>,
}

impl Resources {
    /// Returns the largest build side that is broadcast, in bytes and in rows.
    fn broadcast_max(&self) -> (usize, usize) {
        let copies = u64::from(self.executors).max(BROADCAST_EXECUTORS);
        let by_network = |limit: u64| limit * BROADCAST_EXECUTORS / copies;
        let by_memory = self
            .slot_memory_bytes
            .map_or(u64::MAX, |bytes| bytes / BROADCAST_MEMORY_DIVISOR);
        let bytes = by_network(BROADCAST_BYTES).min(by_memory);
        let rows = by_network(BROADCAST_ROWS).min(by_memory / BROADCAST_ROW_BYTES);
        (
            usize::try_from(bytes).unwrap_or(usize::MAX),
            usize::try_from(rows).unwrap_or(usize::MAX),
        )
    }
}

/// Settings that are our own, not those of DataFusion.
pub(crate) struct EngineSettings {
    /// Queries that read fewer bytes than this run in the driver.
    pub(crate) small_bytes: u64,
    /// Folder of tables that are written by name, without a path.
    pub(crate) warehouse: String,
    /// URL of a folder in an object store, for copies of blocks that outlive their executors.
    pub(crate) exchange_store: Option<String>,
    /// When blocks are copied to that folder.
    pub(crate) durability: Durability,
    /// Longest time that a query may run; `None` for no limit.
    pub(crate) statement_timeout: Option<Duration>,
    /// Whether connections between driver and executors are encrypted; `None` if that depends on
    /// whether they leave the machine.
    pub(crate) encryption: Option<Encryption>,
    /// File of the run's journal; `None` for no journal.
    pub(crate) journal: Option<PathBuf>,
    /// The run that this session is an attempt of, if it may have earlier ones.
    pub(crate) run: Option<RunId>,
    /// How to reach the AWS Glue catalog.
    pub(crate) glue: GlueSettings,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            small_bytes: SMALL_BYTES,
            warehouse: "spark-warehouse".to_owned(),
            exchange_store: None,
            durability: Durability::Async,
            statement_timeout: None,
            encryption: None,
            journal: None,
            run: None,
            glue: GlueSettings::default(),
        }
    }
}

/// Returns a configuration with the names of Spark, and with the options that are not DataFusion's.
fn spark_config() -> SessionConfig {
    SessionConfig::new()
        .with_information_schema(true)
        // Spark's names: `t`, `default.t` and `spark_catalog.default.t` are one table.
        .with_default_catalog_and_schema("spark_catalog", "default")
        .with_option_extension(Switches::default())
        .with_option_extension(Legacy::default())
}

/// Applies settings by name, and returns the configuration of DataFusion and our own settings.
///
/// # Errors
/// Returns an error for an unknown name and for an invalid value.
pub(crate) fn session_config(
    resources: Resources,
    settings: &BTreeMap<String, String>,
) -> Result<(SessionConfig, EngineSettings)> {
    let mut config = spark_config().with_target_partitions(resources.partitions);
    let options = config.options_mut();
    // Partitions run in separate processes: a partition must read exactly its own files, and a
    // filter that one operator computes at run time cannot reach a scan in another process.
    options.execution.enable_file_stream_work_stealing = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    // DataFusion applies the switch above to these three only if it is set by name.
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // Scalar subqueries are planned as joins, which can be cut into stages.
    options
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    // Such a repartition would only add an exchange.
    options.optimizer.enable_round_robin_repartition = false;
    options.execution.enable_ansi_mode = true;
    // As in Spark, nulls come first in ascending order and last in descending order.
    options.sql_parser.default_null_ordering = "nulls_min".to_owned();
    set(
        options,
        "datafusion.sql_parser.recursion_limit",
        SQL_NESTING_MAX,
    )?;
    let (bytes, rows) = resources.broadcast_max();
    options.optimizer.hash_join_single_partition_threshold = bytes;
    options.optimizer.hash_join_single_partition_threshold_rows = rows;
    options.execution.perfect_hash_join_min_key_density = ARRAY_JOIN_DENSITY;
    let mut engine_settings = EngineSettings::default();
    for (key, value) in settings {
        match key.as_str() {
            // `parse_bytes` rejects 0, which here means that no query counts as small.
            "faisca.smallQueryBytes" if value == "0" => engine_settings.small_bytes = 0,
            "faisca.smallQueryBytes" => {
                engine_settings.small_bytes = parse_bytes(value)
                    .ok_or_else(|| Error::setting(key)(format!("`{value}` is not a size")))?;
            }
            "faisca.warehouse" | "spark.sql.warehouse.dir" => {
                engine_settings.warehouse.clone_from(value)
            }
            ANSI_ENABLED => {
                options.execution.enable_ansi_mode = value.parse().map_err(|_| {
                    Error::setting(key)(format!("`{value}` is neither true nor false"))
                })?;
            }
            TIME_ZONE => set(options, "datafusion.execution.time_zone", value)?,
            "faisca.exchange.store" => engine_settings.exchange_store = Some(value.clone()),
            "faisca.exchange.durability" => engine_settings.durability = durability(key, value)?,
            "faisca.statement.timeout" => {
                engine_settings.statement_timeout = timeout(key, value)?;
            }
            "faisca.network.encryption" => engine_settings.encryption = encryption(key, value)?,
            "faisca.journal.path" => engine_settings.journal = Some(PathBuf::from(value)),
            "faisca.run.id" => engine_settings.run = Some(run_id(key, value)?),
            // Read by the Kubernetes platform; known here so that it is valid in every session.
            "faisca.history.path" => {}
            // The run of a scheduler, which the journal keeps, and where Spark sends events.
            key if key.starts_with("spark.openlineage.") => {}
            "faisca.glue.endpoint" => engine_settings.glue.endpoint = Some(value.clone()),
            "faisca.glue.region" => engine_settings.glue.region = Some(value.clone()),
            "faisca.glue.profile" => engine_settings.glue.profile = Some(value.clone()),
            "faisca.glue.catalogId" | "spark.hadoop.hive.metastore.glue.catalogid" => {
                engine_settings.glue.catalog_id = Some(value.clone())
            }
            _ => set(options, key, value)?,
        }
    }
    Ok((config, engine_settings))
}

fn set(options: &mut ConfigOptions, key: &str, value: &str) -> Result<()> {
    options.set(key, value).map_err(Error::setting(key))
}

/// Parses a value of `faisca.run.id`.
fn run_id(key: &str, value: &str) -> Result<RunId> {
    match value.trim() {
        "" => Err(Error::setting(key)("the name of a run is empty")),
        name => Ok(RunId::new(name)),
    }
}

/// Parses a value of `faisca.exchange.durability`.
fn durability(key: &str, value: &str) -> Result<Durability> {
    match value {
        "never" => Ok(Durability::Never),
        "onDrain" => Ok(Durability::OnDrain),
        "async" => Ok(Durability::Async),
        "sync" => Ok(Durability::Sync),
        other => Err(Error::setting(key)(format!(
            "`{other}` is none of never, onDrain, async, sync"
        ))),
    }
}

/// Parses a value of `faisca.statement.timeout`; 0 is no limit.
fn timeout(key: &str, value: &str) -> Result<Option<Duration>> {
    const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let parsed = UNITS.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = value.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(seconds)
    });
    match parsed.or_else(|| value.parse().ok()) {
        Some(0) => Ok(None),
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(Error::setting(key)(format!(
            "`{value}` is not a duration; write 90s, 30m, 2h, 1d or 0 for no limit"
        ))),
    }
}

/// Parses a value of `faisca.network.encryption`.
fn encryption(key: &str, value: &str) -> Result<Option<Encryption>> {
    match value {
        "auto" => Ok(None),
        "on" => Ok(Some(Encryption::On)),
        "off" => Ok(Some(Encryption::Off)),
        other => Err(Error::setting(key)(format!(
            "`{other}` is none of auto, on, off"
        ))),
    }
}

/// Returns the settings for display: values whose names suggest secrets are hidden.
pub(super) fn without_secrets(settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    const SECRETS: [&str; 5] = ["secret", "token", "password", "credential", "key"];
    let public = |(name, value): (&String, &String)| {
        let lower = name.to_lowercase();
        let is_secret = SECRETS.iter().any(|word| lower.contains(word));
        let value = if is_secret { "(hidden)" } else { value };
        (name.clone(), value.to_owned())
    };
    settings.iter().map(public).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_a_unit_and_0_is_none() {
        let parsed = |value| timeout("faisca.statement.timeout", value).ok();
        let seconds = |seconds| Some(Some(Duration::from_secs(seconds)));
        assert_eq!(parsed("90"), seconds(90));
        assert_eq!(parsed("30m"), seconds(1800));
        assert_eq!(parsed("2h"), seconds(7200));
        assert_eq!(parsed("0"), Some(None));
        for wrong in ["", "m", "-1s", "1 week", "99999999999999999999d"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn secrets_are_hidden_by_their_names() {
        let settings = [
            ("spark.hadoop.fs.s3a.access.key", "AKIA"),
            ("my.apiToken", "t"),
            ("faisca.smallQueryBytes", "0"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let public = without_secrets(&BTreeMap::from(settings));
        let values: Vec<&str> = public.values().map(String::as_str).collect();
        assert_eq!(values, ["0", "(hidden)", "(hidden)"]);
    }

    #[test]
    fn the_broadcast_limit_shrinks_with_memory_and_with_the_number_of_executors() {
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

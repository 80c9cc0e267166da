//! A stage as executors receive it.

use std::collections::BTreeMap;

use bytes::Bytes;
use faisca_planner::ids::{QueryId, StageId};
use faisca_planner::manifest::{Compression, FileFormat};
use serde::{Deserialize, Serialize};

use super::CsvReadOptions;

/// The plan of a stage, and what happens to its output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageSpec {
    /// The query.
    pub query: QueryId,
    /// The stage.
    pub stage: StageId,
    /// The plan, encoded by [`crate::codec::PlanCodec`]. With [`OutputSpec::Shuffle`], its root is
    /// the partitioning of the output.
    pub plan: Bytes,
    /// Where the output rows go.
    pub output: OutputSpec,
    /// When the stage's blocks get a durable copy.
    pub durability: Durability,
    /// DataFusion settings that differ from the defaults.
    pub settings: Vec<(String, String)>,
}

/// When a block gets its copy in the object store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// Never.
    #[default]
    Never,
    /// When its executor drains.
    OnDrain,
    /// After its task has ended, in the background.
    Async,
    /// Before its task ends.
    Sync,
}

/// Where the output rows of a stage go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputSpec {
    /// Into a block, repartitioned by the root of the plan.
    Shuffle,
    /// Into a block, in the partitions of the plan.
    Partitions,
    /// Into files.
    Sink(SinkSpec),
}

/// How tasks write files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSpec {
    /// URL of the folder: a local staging folder that no reader opens, or the final folder in an
    /// object store.
    pub folder: String,
    /// Path between the `key=value` folders and the files; may be empty.
    pub subfolder: String,
    /// Paths of partitions that exist, by the `key=value` folders of [`partition_folders`]. Other
    /// partitions go to these folders, and there to `subfolder`.
    ///
    /// [`partition_folders`]: crate::sink::partition_folders
    pub existing: BTreeMap<String, String>,
    /// File format.
    pub format: FileFormat,
    /// Compression codec.
    pub compression: Compression,
    /// CSV: how the files will be read. Boxed, because other formats have no use for it.
    pub csv: Box<CsvReadOptions>,
    /// Names of the columns whose values become `key=value` folders.
    pub partition_by: Vec<String>,
    /// A file is closed once it has about this many bytes.
    pub target_file_bytes: u64,
    /// Unique part of every file name, so that files of two writes never have the same name.
    pub tag: String,
    /// Whether to compute column statistics for the catalog.
    pub computes_statistics: bool,
    /// What the first task writes if it has no rows.
    pub empty: EmptyOutput,
}

/// What a task without rows writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmptyOutput {
    /// A file without rows, so that readers find the columns. With partition columns, it is in the
    /// folder of null keys.
    SchemaFile,
    /// No file.
    Nothing,
}

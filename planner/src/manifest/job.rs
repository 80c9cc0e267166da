//! What a job reads, computes and writes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalog::CatalogTable;
use super::cluster::{AirflowSpec, DriverSpec, DynamicAllocation, ExecutorSpec, RestartPolicy};
use super::stores::Stores;

/// A job, as a Kubernetes resource. The same file runs on a laptop.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub api_version: ApiVersion,
    /// Kind of the resource.
    pub kind: Kind,
    /// Name, namespace, labels and annotations of the job.
    pub metadata: Metadata,
    /// What the job does, and with which resources.
    pub spec: JobSpec,
}

/// Versions of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only version so far.
    #[serde(rename = "faisca.dev/v1alpha1")]
    V1Alpha1,
}

/// Kinds of resource that a manifest can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// One run of a job.
    SparkApplication,
}

/// The Kubernetes metadata that a job uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the job: at most 63 lower-case letters, digits and dashes.
    pub name: String,
    /// Namespace of the resource on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels of the resource on a cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the resource on a cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a job does, and with which resources. Exactly one of `steps`,
/// `mainApplicationFile` and `command` states what it does.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// Tables that exist before the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// Queries of the job. They form a graph by the tables that they read; independent ones
    /// run concurrently.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Values that replace `${name}` in SQL and paths; `--set name=value` overrides one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Path or URL of a `.sql` script, whose statements run one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_application_file: Option<String>,
    /// Command line of a program that uses the job API, in an image of your own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments of `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Session settings: `datafusion.*`, `faisca.*` and `spark.sql.*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conf: BTreeMap<String, String>,
    /// Settings of object stores, by URL: `s3://bucket` for one bucket, `s3://` for all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: Stores,
    /// Container image of the driver and the executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Names of the secrets with which the image is pulled from its registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Service account of the driver and the executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Labels of every pod of the job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Volumes of every pod, as in a Kubernetes pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<serde_json::Value>,
    /// If true, the job does not start, and a running one stops.
    #[serde(default)]
    pub suspend: bool,
    /// Seconds after the end of the job until the resource is deleted. Default: it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live_seconds: Option<u64>,
    /// Whether the job starts again after it failed.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Resources and pod of the driver.
    #[serde(default)]
    pub driver: DriverSpec,
    /// Number, resources and pods of the executors.
    #[serde(default)]
    pub executor: ExecutorSpec,
    /// Bounds of the number of executors, as Spark Operator names them. Prefer
    /// `executor.scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_allocation: Option<DynamicAllocation>,
    /// What the driver's pod offers to Airflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub airflow: Option<AirflowSpec>,
}

/// A table that exists before the job: files of one format.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Name of the table in SQL.
    pub name: String,
    /// File, folder or glob. `key=value` folders below it become columns.
    pub path: String,
    /// Format of the files.
    #[serde(default)]
    pub format: FileFormat,
    /// Columns, written as in `CREATE TABLE`: `a INT, b STRING`. Default: inferred from the
    /// files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// CSV: the character between values. Default: `,`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// CSV: whether the first line of each file has the names of the columns. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// CSV: the character around values that contain delimiters. Default: `"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<char>,
    /// CSV: the character that escapes a quote inside quotes. Default: a quote is doubled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escape: Option<char>,
    /// CSV: lines that begin with this character are skipped. Default: none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// CSV: text that means null, in addition to the empty field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_value: Option<String>,
    /// CSV: the decimal mark of numbers, `.` or `,`. Default: `.`.
    #[serde(default)]
    pub decimal: Decimal,
    /// CSV: encoding of the text. Default: `utf-8`.
    #[serde(default)]
    pub encoding: TextEncoding,
    /// CSV: whether quoted values may contain line breaks. Such files are not split among
    /// tasks.
    #[serde(default)]
    pub multi_line: bool,
    /// CSV: what happens to a row that does not match the schema. Default: the job fails.
    #[serde(default)]
    pub on_malformed_row: OnMalformedRow,
    /// CSV and ndjson: compression of the files. Default: that of each file's extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<TextCompression>,
    /// CSV and ndjson: number of rows from which the schema is inferred; 0 means all.
    /// Default: 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer_rows: Option<usize>,
}

/// File formats.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Apache Parquet.
    #[default]
    Parquet,
    /// Comma-separated values, or values with another delimiter.
    Csv,
    /// One JSON object on each line.
    #[serde(alias = "json")]
    Ndjson,
}

impl FileFormat {
    /// Returns its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Ndjson => "ndjson",
        }
    }

    /// Returns the format of files with this extension, in any case and without the dot.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension.to_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "json" | "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// The mark between a number's whole and fractional part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decimal {
    /// `1234.5`
    #[default]
    #[serde(rename = ".")]
    Point,
    /// `1234,5`
    #[serde(rename = ",")]
    Comma,
}

/// Encodings of text files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TextEncoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8", alias = "UTF-8", alias = "utf8")]
    Utf8,
    /// ISO-8859-1, also known as Latin-1.
    #[serde(rename = "iso-8859-1", alias = "ISO-8859-1", alias = "latin1")]
    Iso8859_1,
    /// Windows-1252.
    #[serde(rename = "windows-1252", alias = "cp1252")]
    Windows1252,
}

/// What to do with a row that has too many or too few values, or one of another type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnMalformedRow {
    /// The job fails and names the line.
    #[default]
    Fail,
    /// The row is skipped.
    Drop,
    /// Values that cannot be read become null.
    Nulls,
}

/// Compression of text files.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TextCompression {
    /// No compression.
    None,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

/// A query of the job, and what becomes of its result.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Name of the result, under which other steps read it.
    pub name: String,
    /// The query, in SQL.
    pub sql: String,
    /// Where and how the result is written. Default: the step is a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Write>,
}

/// Where and how a result is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Write {
    /// Path or URL of the folder. It must not contain inputs, or the output of another step.
    pub path: String,
    /// Format of the files.
    #[serde(default)]
    pub format: FileFormat,
    /// What happens to files that exist in the folder. Default: the write fails.
    #[serde(default)]
    pub mode: SaveMode,
    /// Columns that become `key=value` folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Compression of the files. Parquet: `snappy` (default), `zstd`, `gzip`, `lz4` or
    /// `none`. Text: `none` (default), `gzip` or `zstd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Approximate size at which a file is closed, as a Kubernetes quantity. Default:
    /// `256Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_file_size: Option<String>,
    /// Which partitions an overwrite with `partitionBy` replaces. Default: all of them.
    #[serde(default)]
    pub partition_overwrite: PartitionOverwrite,
    /// Whether to write an empty file `_SUCCESS` at the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub success_file: bool,
    /// Table of a catalog that the output is registered as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogTable>,
}

impl Write {
    /// Returns a write of Parquet files to `path`, which fails if files exist there.
    #[must_use]
    pub fn to(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            format: FileFormat::default(),
            mode: SaveMode::default(),
            partition_by: vec![],
            compression: None,
            target_file_size: None,
            partition_overwrite: PartitionOverwrite::default(),
            success_file: false,
            catalog: None,
        }
    }
}

/// Which partitions an overwrite replaces, as Spark's `partitionOverwriteMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartitionOverwrite {
    /// All partitions.
    #[default]
    Static,
    /// Only the partitions for which the result has rows.
    Dynamic,
}

/// What a write does if its folder has files, as in Spark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SaveMode {
    /// It replaces them.
    Overwrite,
    /// It adds its files to them.
    Append,
    /// It fails.
    #[default]
    #[serde(alias = "error")]
    ErrorIfExists,
    /// It writes nothing, and succeeds.
    Ignore,
}

/// Compression of written files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// None.
    #[serde(alias = "uncompressed")]
    None,
    /// Snappy: Parquet's default here, as in Spark.
    Snappy,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// LZ4.
    Lz4,
}

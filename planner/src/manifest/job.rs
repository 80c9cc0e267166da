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
    /// The resource's kind.
    pub kind: Kind,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The job.
    pub spec: JobSpec,
}

/// Versions of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one so far.
    #[serde(rename = "faisca.dev/v1alpha1")]
    V1Alpha1,
}

/// Kinds of manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// One run of a job.
    SparkApplication,
}

/// The part of Kubernetes' object metadata that a job uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the job: lower case letters, digits and dashes, 63 at most.
    pub name: String,
    /// Namespace on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels on a cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations on a cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What to do, and with which resources. `steps`, `mainApplicationFile` or `command` says what.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// Tables that exist before the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// Statements. They form a graph by the tables they read; independent ones run side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Values for `${name}` in statements and paths; `--set name=value` overrides one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// A `.sql` script, run statement after statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_application_file: Option<String>,
    /// A program on the job API in an image of the user's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments of `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Session settings: DataFusion's `datafusion.*` and `faisca.*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conf: BTreeMap<String, String>,
    /// How buckets are reached: `s3://bucket` for one, `s3://` for all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: Stores,
    /// Container image of driver and executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Names of secrets for the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Service account of driver and executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Labels for every pod of the job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Kubernetes volumes, free-form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<serde_json::Value>,
    /// True: do not start, or stop what runs.
    #[serde(default)]
    pub suspend: bool,
    /// Seconds after its end until the resource is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live_seconds: Option<u64>,
    /// What happens after a failure.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// The driver.
    #[serde(default)]
    pub driver: DriverSpec,
    /// The executors.
    #[serde(default)]
    pub executor: ExecutorSpec,
    /// Spark Operator's way to ask for scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_allocation: Option<DynamicAllocation>,
    /// What Airflow needs of the driver pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub airflow: Option<AirflowSpec>,
}

/// A table that exists before the job: files of one format.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Name in SQL.
    pub name: String,
    /// File, folder or glob. `key=value` folders below it become columns.
    pub path: String,
    /// Format of the files.
    #[serde(default)]
    pub format: FileFormat,
    /// Columns as in `CREATE TABLE`, say `a INT, b STRING`; inferred when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// CSV: one character between values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// CSV: whether the first line of each file names the columns. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// CSV: the quote character. Default `"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<char>,
    /// CSV: the escape character inside quotes. Default: a doubled quote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escape: Option<char>,
    /// CSV: lines that begin with it are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// CSV: text that means null, besides the empty field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_value: Option<String>,
    /// CSV: the decimal mark of numbers.
    #[serde(default)]
    pub decimal: Decimal,
    /// CSV: encoding of the text.
    #[serde(default)]
    pub encoding: TextEncoding,
    /// CSV: whether quoted values may span lines. Such files are read by one task each.
    #[serde(default)]
    pub multi_line: bool,
    /// CSV: what to do with a row that does not fit the schema.
    #[serde(default)]
    pub on_malformed_row: OnMalformedRow,
    /// CSV and ndjson: compression. Default: by the extension of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<TextCompression>,
    /// CSV and ndjson: rows read to infer the schema. Default 10,000; 0 reads every row.
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
    /// Separated values.
    Csv,
    /// One JSON object a line.
    #[serde(alias = "json")]
    Ndjson,
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
    /// The row is left out.
    Drop,
    /// What cannot be read becomes null.
    Nulls,
}

/// Compression of text files.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TextCompression {
    /// Plain.
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

/// One statement.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Name of its result, for the steps that read it.
    pub name: String,
    /// A query.
    pub sql: String,
    /// Where the result goes. Without it the step is a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Write>,
}

/// Where and how a result is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Write {
    /// Folder.
    pub path: String,
    /// Format of the files.
    #[serde(default)]
    pub format: FileFormat,
    /// What happens to what is there.
    #[serde(default)]
    pub mode: SaveMode,
    /// Columns that become `key=value` folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Compression: snappy, zstd, gzip, lz4 or none for Parquet (default snappy); gzip, zstd or none for text (default none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// A file is closed once it is about this large, as a Kubernetes quantity. Default 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_file_size: Option<String>,
    /// With `overwrite` and `partitionBy`: which of the old partitions go.
    #[serde(default)]
    pub partition_overwrite: PartitionOverwrite,
    /// Leave an empty file `_SUCCESS` at the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub success_file: bool,
    /// Register the output as a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogTable>,
}

impl Write {
    /// A write of Parquet into a folder that must not exist.
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

/// What overwriting a partitioned output replaces, as Spark's `partitionOverwriteMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartitionOverwrite {
    /// All of it.
    #[default]
    Static,
    /// The partitions that the result has rows for.
    Dynamic,
}

/// What a write does to what its path holds, as in Spark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SaveMode {
    /// Replace it.
    Overwrite,
    /// Add to it.
    Append,
    /// Fail if something is there.
    #[default]
    #[serde(alias = "error")]
    ErrorIfExists,
    /// Write nothing if something is there.
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

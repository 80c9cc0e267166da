//! Opens files as tables, for a manifest's `sources`, `session.read()` and CREATE EXTERNAL TABLE.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::config::TableParquetOptions;
use datafusion::datasource::file_format::FileFormat as DfFileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::SessionContext;
use faisca_executor::formats::csv::{CsvFileFormat, CsvReadOptions};
use faisca_executor::formats::json::{JsonFileFormat, JsonReadOptions};
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::{Decimal, FileFormat, Source, TextCompression};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::error::{Error, Result};

/// Default number of rows from which a JSON schema is inferred.
const JSON_INFER_ROWS: usize = 10_000;

/// The number and the total size of some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// Number of files.
    pub count: usize,
    /// Total size in bytes.
    pub bytes: u64,
}

/// Returns a source with default options and an inferred schema.
#[must_use]
pub(crate) fn default_source(name: &str, path: &str, format: FileFormat) -> Source {
    Source {
        name: name.to_owned(),
        path: path.to_owned(),
        format,
        schema: None,
        delimiter: None,
        header: None,
        quote: None,
        escape: None,
        comment: None,
        null_value: None,
        decimal: Default::default(),
        encoding: Default::default(),
        multi_line: false,
        on_malformed_row: Default::default(),
        compression: None,
        infer_rows: None,
    }
}

/// Returns a source that reads what a write leaves in a folder: CSV files have a header, and values
/// with line breaks.
#[must_use]
pub(crate) fn written_source(name: &str, path: &str, format: FileFormat) -> Source {
    let is_csv = format == FileFormat::Csv;
    Source {
        header: is_csv.then_some(true),
        multi_line: is_csv,
        ..default_source(name, path, format)
    }
}

/// Opens the files of a source as a table. Lists the files, and infers their schema if none is
/// given.
///
/// # Errors
/// Returns an error with the name and path of the source if there are no files at its path, a file
/// is damaged, or the schema is invalid or cannot be inferred.
pub(crate) async fn open(
    context: &SessionContext,
    source: &Source,
) -> Result<Arc<dyn TableProvider>> {
    let named = |e: DataFusionError| {
        Error::from(e).at(format!("source `{}` ({})", source.name, source.path))
    };
    let url = ListingTableUrl::parse(known_scheme(&source.path)).map_err(named)?;
    let store = context.runtime_env().object_store(&url).map_err(named)?;
    let (url, files) = locate(&store, url).await.map_err(named)?;
    let Some(first) = files.first() else {
        let what = if url.is_collection() {
            "there are no data files in this folder"
        } else {
            "there is no such file"
        };
        return Err(Error::Plan(format!(
            "source `{}`: {what}: {}",
            source.name, source.path
        )));
    };
    let ending = common_ending(&files);
    let format = file_format(source, &first.location)?;
    let state = context.state();
    let options = ListingOptions::new(Arc::clone(&format)).with_file_extension(ending.clone());
    let partitions = options
        .infer_partitions(&state, &url)
        .await
        .map_err(named)?;
    let (schema, format) = read_columns(context, source, format, &store, &files)
        .await
        .map_err(|e| e.at(format!("source `{}` ({})", source.name, source.path)))?;
    if schema.fields().is_empty() {
        return Err(Error::Plan(format!(
            "source `{}` ({}): the files have no rows and no columns; give a schema",
            source.name, source.path
        )));
    }
    let schema = without(&schema, &partitions);
    let options = ListingOptions::new(format)
        .with_file_extension(ending)
        .with_table_partition_cols(
            partitions
                .iter()
                .map(|name| (name.clone(), DataType::Utf8))
                .collect(),
        );
    let config = ListingTableConfig::new(url)
        .with_listing_options(options)
        .with_schema(schema);
    let table = ListingTable::try_new(config).map_err(named)?;
    let cache = context
        .runtime_env()
        .cache_manager
        .get_file_statistic_cache();
    Ok(Arc::new(table.with_cache(cache)))
}

/// Returns the columns of a source, given or inferred, and the format that reads them. For CSV, the
/// format checks the header of each file against that of the first.
async fn read_columns(
    context: &SessionContext,
    source: &Source,
    format: Arc<dyn DfFileFormat>,
    store: &Arc<dyn ObjectStore>,
    files: &[ObjectMeta],
) -> Result<(SchemaRef, Arc<dyn DfFileFormat>)> {
    let schema = match &source.schema {
        Some(text) => given_schema(context, text)?,
        None => format
            .infer_schema(&context.state(), store, files)
            .await
            .map_err(damaged)?,
    };
    let Some(first) = files.first().filter(|_| source.format == FileFormat::Csv) else {
        return Ok((schema, format));
    };
    let csv = csv_format(source, &first.location)?;
    let names = match &source.schema {
        // A given schema may rename columns, so headers are compared with the first file's header.
        Some(_) => csv.read_header(store, first).await?,
        None => Some(schema.fields().iter().map(|f| f.name().clone()).collect()),
    };
    let csv = match names {
        Some(names) => csv.with_first_header(names),
        None => csv,
    };
    Ok((schema, Arc::new(csv)))
}

/// Returns the CSV format of a source. `first` is a file whose extension may state the compression.
fn csv_format(source: &Source, first: &Path) -> Result<CsvFileFormat> {
    let compression = source.compression.unwrap_or_else(|| compression_of(first));
    Ok(CsvFileFormat::new(csv_options(source, compression)?))
}

/// Lists the files at a URL, and returns them with the URL that names them. An object store has no
/// folders: a URL without a trailing slash may mean a file, or the files below that prefix.
pub(super) async fn locate(
    store: &Arc<dyn ObjectStore>,
    url: ListingTableUrl,
) -> Result<(ListingTableUrl, Vec<ObjectMeta>), DataFusionError> {
    let files = list(store, &url).await?;
    if !files.is_empty()
        || url.is_collection()
        || url.get_glob().is_some()
        || url.scheme() == "file"
    {
        return Ok((url, files));
    }
    let folder = ListingTableUrl::parse(format!("{url}/"))?;
    let files = list(store, &folder).await?;
    Ok(if files.is_empty() {
        (url, files)
    } else {
        (folder, files)
    })
}

/// Lists the data files at a URL, sorted by path. Hidden files, markers and empty files are left
/// out, as in Spark.
async fn list(
    store: &Arc<dyn ObjectStore>,
    url: &ListingTableUrl,
) -> Result<Vec<ObjectMeta>, DataFusionError> {
    let prefix = url.prefix().clone();
    if !url.is_collection() && url.get_glob().is_none() {
        use object_store::ObjectStoreExt;
        return match store.head(&prefix).await {
            Ok(meta) => Ok(vec![meta]),
            Err(object_store::Error::NotFound { .. }) => Ok(vec![]),
            Err(error) => Err(error.into()),
        };
    }
    let all: Vec<ObjectMeta> = store.list(Some(&prefix)).try_collect().await?;
    let mut files: Vec<_> = all
        .into_iter()
        .filter(|m| {
            m.size > 0 && is_visible(&prefix, &m.location) && url.contains(&m.location, false)
        })
        .collect();
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(files)
}

/// Returns true if a reader of `prefix` sees `key`. Files and folders below the prefix whose names
/// begin with `.` or `_` are hidden, as in Spark, except for `key=value` folders.
pub(crate) fn is_visible(prefix: &Path, key: &Path) -> bool {
    let hidden = |name: &str| name.starts_with(['.', '_']) && !name.contains('=');
    key.prefix_match(prefix)
        .is_some_and(|mut below| !below.any(|part| hidden(part.as_ref())))
}

/// Returns the number and the size of the data files at a source's path, which may be 0.
///
/// # Errors
/// Returns an error if the path is invalid, or the store cannot list the files.
pub(crate) async fn files(context: &SessionContext, source: &Source) -> Result<Files> {
    let url = ListingTableUrl::parse(known_scheme(&source.path))?;
    let store = context.runtime_env().object_store(&url)?;
    let (_, files) = locate(&store, url).await?;
    Ok(Files {
        count: files.len(),
        bytes: files.iter().map(|meta| meta.size).sum(),
    })
}

/// Returns the extension that all files share, with its dot, or an empty text. DataFusion lists
/// only files with this ending.
pub(super) fn common_ending(files: &[ObjectMeta]) -> String {
    let ending = |meta: &ObjectMeta| {
        let name = meta.location.filename().unwrap_or_default().to_owned();
        name.rfind('.')
            .map_or(String::new(), |dot| name[dot..].to_owned())
    };
    let first = files.first().map(ending).unwrap_or_default();
    if files.iter().all(|f| ending(f) == first) {
        first
    } else {
        String::new()
    }
}

/// Returns the format that reads the files of a source. The compression is that of the source, or
/// follows from the extension of `first`.
///
/// # Errors
/// Returns an error if an option is not a single ASCII character, as CSV requires.
pub(crate) fn file_format(source: &Source, first: &Path) -> Result<Arc<dyn DfFileFormat>> {
    let compression = source.compression.unwrap_or_else(|| compression_of(first));
    Ok(match source.format {
        FileFormat::Parquet => Arc::new(parquet_format()),
        FileFormat::Csv => Arc::new(csv_format(source, first)?),
        FileFormat::Ndjson => Arc::new(JsonFileFormat::new(JsonReadOptions {
            compression,
            infer_rows: match source.infer_rows.unwrap_or(JSON_INFER_ROWS) {
                0 => usize::MAX,
                rows => rows,
            },
        })),
    })
}

/// Returns DataFusion's format with INT96 in microseconds: the years 1 to 9999, as Spark writes
/// them. Nanoseconds end in 2262, and DataFusion wraps dates beyond.
pub(super) fn parquet_format() -> ParquetFormat {
    let mut options = TableParquetOptions::default();
    options.global.coerce_int96 = Some("us".to_owned());
    ParquetFormat::default().with_options(options)
}

/// Returns the compression that a file's extension states.
pub(crate) fn compression_of(file: &Path) -> TextCompression {
    match file.extension().map(str::to_lowercase).as_deref() {
        Some("gz" | "gzip") => TextCompression::Gzip,
        Some("bz2") => TextCompression::Bzip2,
        Some("xz") => TextCompression::Xz,
        Some("zst" | "zstd") => TextCompression::Zstd,
        _ => TextCompression::None,
    }
}

/// Converts the options of a source to those of the CSV reader, which works on bytes.
///
/// # Errors
/// Returns an error if a delimiter, quote, escape or comment is not an ASCII character.
pub(crate) fn csv_options(source: &Source, compression: TextCompression) -> Result<CsvReadOptions> {
    let byte = |character: Option<char>, what: &str| {
        let narrow = |c: char| {
            u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(|| {
                Error::Plan(format!(
                    "source `{}`: {what} `{c}` is not one ASCII character",
                    source.name
                ))
            })
        };
        character.map(narrow).transpose()
    };
    let defaults = CsvReadOptions::default();
    Ok(CsvReadOptions {
        delimiter: byte(source.delimiter, "delimiter")?.unwrap_or(defaults.delimiter),
        header: source.header.unwrap_or(defaults.header),
        quote: byte(source.quote, "quote")?.unwrap_or(defaults.quote),
        escape: byte(source.escape, "escape")?,
        comment: byte(source.comment, "comment")?,
        null_value: source.null_value.clone(),
        decimal_comma: source.decimal == Decimal::Comma,
        encoding: source.encoding,
        multi_line: source.multi_line,
        on_malformed_row: source.on_malformed_row,
        compression,
        infer_rows: source.infer_rows.unwrap_or(defaults.infer_rows),
        first_header: None,
    })
}

/// Parses a schema such as `a INT, b STRING`. Keeps the spelling of the names.
///
/// # Errors
/// Returns an error that quotes the schema if its syntax or one of its types is invalid.
fn given_schema(context: &SessionContext, text: &str) -> Result<SchemaRef> {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    let invalid = |e: String| {
        Error::Plan(format!(
            "schema `{text}`: {e}; write it as in CREATE TABLE, say `a INT, b STRING`"
        ))
    };
    let parsed = Parser::new(&GenericDialect {})
        .try_with_sql(&format!("({text})"))
        .and_then(|mut parser| parser.parse_columns());
    let (columns, _) = parsed.map_err(|e| invalid(e.to_string()))?;
    let types = columns.iter().map(|c| {
        // DataFusion converts a SQL type only as part of an expression, so a cast is planned.
        let sql = format!("arrow_cast(NULL, 'Null')::{}", c.data_type);
        let schema = datafusion::common::DFSchema::empty();
        let expr = context
            .state()
            .create_logical_expr(&sql, &schema)
            .map_err(|e| invalid(e.strip_backtrace()))?;
        use datafusion::logical_expr::ExprSchemable;
        let data_type = expr
            .get_type(&schema)
            .map_err(|e| invalid(e.strip_backtrace()))?;
        Ok(Field::new(c.name.value.clone(), data_type, true))
    });
    Ok(Arc::new(Schema::new(types.collect::<Result<Vec<_>>>()?)))
}

/// Returns a schema without the columns whose values are in the names of folders.
fn without(schema: &SchemaRef, partitions: &[String]) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .filter(|f| !partitions.contains(f.name()))
        .cloned()
        .collect::<Vec<_>>();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Adds to an error of the Parquet reader what it usually means.
fn damaged(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::ParquetError(inner) => DataFusionError::Plan(format!(
            "a file is not valid Parquet, or is truncated: {inner}"
        )),
        other => other,
    }
}

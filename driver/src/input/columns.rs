//! The columns of a source: those of its schema, or those inferred from all its files.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DataFusionError, plan_err};
use datafusion::prelude::SessionContext;
use faisca_executor::error::{catch_panic, classify, is_beyond_end};
use faisca_executor::formats::json::UnknownFields;
use faisca_executor::protocol::FailureKind;
use faisca_planner::manifest::{FileFormat, Source, TextCompression};
use faisca_planner::names::clash;
use futures::{FutureExt, StreamExt};
use object_store::ObjectMeta;

use super::drift::{MergedSchema, NameRule, TypeRule};
use super::formats::{Expected, compression_of, csv_options, file_format};
use super::listing::{DataFile, Location};
use super::partition_keys::infer_keys;
use crate::error::{BoxedError, Error, Result};

/// Maximum number of files whose schemas are read at the same time.
const SCHEMAS_READ_MAX: usize = 32;

/// The columns of a table, in its files and in its folders' names.
#[derive(Debug)]
pub(super) struct TableColumns {
    /// Columns of the files, with the names and types that a scan reads.
    pub(super) files: SchemaRef,
    /// The same columns with the names that the table shows.
    pub(super) shown: Schema,
    /// Partition keys, outermost first.
    pub(super) keys: SchemaRef,
    /// The header of the first CSV file. All others must have the same names.
    pub(super) csv_header: Option<Vec<String>>,
    /// What a scan of ndjson does with fields that the columns do not contain.
    pub(super) unknown_fields: UnknownFields,
}

/// Returns the columns of a source. `files` must not be empty. Types come from the schema of the
/// source if it has one, else from `written`, else from the files and folder names.
///
/// # Errors
/// Returns an error if the schema is invalid, a file is damaged, or no type holds the values of all
/// files; it names the files and the column.
pub(super) async fn resolve_columns(
    context: &SessionContext,
    source: &Source,
    location: &Location,
    files: &[DataFile],
    written: &Schema,
) -> Result<TableColumns> {
    let keys = with_types_of(&infer_keys(files)?, written);
    let Some(text) = &source.schema else {
        let inferred = infer_columns(context, source, location, files).await?;
        check_keys(source, &inferred, &keys)?;
        let columns = without_keys(&inferred, &keys);
        let names = inferred.fields().iter().map(|field| field.name().clone());
        let has_header = source.format == FileFormat::Csv && source.header != Some(false);
        return Ok(TableColumns {
            csv_header: has_header.then(|| names.collect()),
            // With 0, inference has read all rows, so there are no other fields.
            unknown_fields: match source.infer_rows {
                Some(0) => UnknownFields::Ignore,
                _ => UnknownFields::Refuse,
            },
            files: Arc::new(columns.clone()),
            shown: columns,
            keys: Arc::new(keys),
        });
    };
    let schema = parse_schema(context, text)?;
    let columns = without_keys(&schema, &keys);
    let keys = with_types_of(&keys, &schema);
    let files_schema = match source.format {
        // The readers of Parquet and CSV ignore the case of column names; that of JSON does not.
        FileFormat::Parquet | FileFormat::Csv => columns.clone(),
        FileFormat::Ndjson => {
            match infer_columns(context, source, location, files).await {
                Ok(inferred) => with_spelling_of(&columns, &inferred)?,
                // Inference was needed only for the spelling. The scan reports damaged data.
                Err(_) => columns.clone(),
            }
        }
    };
    Ok(TableColumns {
        csv_header: read_csv_header(source, location, files).await?,
        unknown_fields: UnknownFields::Ignore,
        files: Arc::new(files_schema),
        shown: columns,
        keys: Arc::new(keys),
    })
}

/// Reads the header of the first CSV file, with which the headers of the other files are compared.
/// A schema cannot serve for that, because it may rename columns.
async fn read_csv_header(
    source: &Source,
    location: &Location,
    files: &[DataFile],
) -> Result<Option<Vec<String>>> {
    let Some(first) = files.first().filter(|_| source.format == FileFormat::Csv) else {
        return Ok(None);
    };
    let options = csv_options(source, compression_of(source, &first.meta.location))?;
    let header =
        faisca_executor::formats::csv::read_csv_header(&options, location.store(), &first.meta);
    Ok(header.await?)
}

/// Infers the columns of all files.
async fn infer_columns(
    context: &SessionContext,
    source: &Source,
    location: &Location,
    files: &[DataFile],
) -> Result<Schema> {
    let (names, types) = match source.format {
        FileFormat::Parquet => (NameRule::AnyCase, TypeRule::Lossless),
        FileFormat::Csv => (NameRule::AnyCase, TypeRule::Text),
        FileFormat::Ndjson => (NameRule::Exact, TypeRule::Text),
    };
    let mut merged = MergedSchema::new(names, types);
    let state = context.state();
    let pending: Vec<_> = inference_units(source, files)
        .into_iter()
        .map(|(compression, metas)| {
            let format = file_format(source, compression, Expected::default());
            let (state, store) = (&state, location.store());
            let name = metas.first().map(|meta| location.name_of(&meta.location));
            let name = name.unwrap_or_default();
            async move {
                let format = format?;
                let reading = format.infer_schema(state, store, &metas);
                let schema = match source.format {
                    FileFormat::Parquet => guard(&name, reading).await,
                    // The readers of text name the file and the line themselves.
                    FileFormat::Csv | FileFormat::Ndjson => reading.await,
                };
                Ok::<_, Error>((schema.map_err(explain_damage)?, name))
            }
            .boxed()
        })
        .collect();
    let mut inferred = futures::stream::iter(pending).buffered(SCHEMAS_READ_MAX);
    while let Some(schema) = inferred.next().await {
        let (schema, name) = schema?;
        match source.format {
            FileFormat::Csv => check_header(&merged, &schema, &name)?,
            FileFormat::Parquet => check_names(&schema, &name)?,
            FileFormat::Ndjson => {}
        }
        merged.add(&schema, &name)?;
    }
    Ok(merged.finish())
}

/// Returns the files whose schemas are inferred together. The readers of CSV and JSON merge the
/// columns of files with one compression themselves, and stop when they have seen enough rows.
fn inference_units(source: &Source, files: &[DataFile]) -> Vec<(TextCompression, Vec<ObjectMeta>)> {
    let metas = files.iter().map(|file| file.meta.clone());
    let metas = metas.map(|meta| (compression_of(source, &meta.location), meta));
    if source.format == FileFormat::Parquet {
        return metas
            .map(|(compression, meta)| (compression, vec![meta]))
            .collect();
    }
    let mut units: BTreeMap<TextCompression, Vec<ObjectMeta>> = BTreeMap::new();
    for (compression, meta) in metas {
        units.entry(compression).or_default().push(meta);
    }
    units.into_iter().collect()
}

/// Checks that CSV files with different compressions have the same columns, in any order.
fn check_header(merged: &MergedSchema, schema: &Schema, file: &str) -> Result<()> {
    let sorted = |names: Vec<String>| {
        let mut names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        names.sort();
        names
    };
    let header: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let expected: Vec<String> = merged.names().map(str::to_owned).collect();
    let is_same = sorted(header.clone()) == sorted(expected.clone());
    if expected.is_empty() || header.is_empty() || is_same {
        return Ok(());
    }
    Err(Error::Plan(format!(
        "{file}: its columns ({}) differ from those of other files ({})",
        header.join(", "),
        expected.join(", ")
    )))
}

/// Refuses a Parquet file with columns whose names differ only by case: a query could select only
/// one of them. Columns with equal names are one here, and the scan refuses them.
fn check_names(schema: &Schema, file: &str) -> Result<()> {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    match clash(names) {
        Some((first, second)) => Err(Error::Plan(format!(
            "{file}: the columns `{first}` and `{second}` differ only by case; rename one, or give a schema that names one of them"
        ))),
        None => Ok(()),
    }
}

/// Refuses CSV files without a header, whose columns are read by position, if one of them has the
/// name of a partition key.
fn check_keys(source: &Source, inferred: &Schema, keys: &Schema) -> Result<()> {
    let columns = without_keys(inferred, keys).fields().len();
    let has_names = source.format != FileFormat::Csv || source.header != Some(false);
    if has_names || columns == inferred.fields().len() {
        return Ok(());
    }
    Err(Error::Plan(
        "a `key=value` folder has the name of a column of the files; give a schema with other names"
            .to_owned(),
    ))
}

/// Returns a schema without the columns whose values are in the names of folders.
fn without_keys(schema: &Schema, keys: &Schema) -> Schema {
    let names: Vec<String> = keys
        .fields()
        .iter()
        .map(|k| k.name().to_lowercase())
        .collect();
    let fields = schema.fields().iter();
    let fields = fields.filter(|field| !names.contains(&field.name().to_lowercase()));
    Schema::new(fields.cloned().collect::<Vec<_>>())
}

/// Returns the keys with the spelling and the types of the columns of `schema` with the same names.
/// Keys of any string type become `Utf8`, and so do keys of types that have no text form.
fn with_types_of(keys: &Schema, schema: &Schema) -> Schema {
    let fields = keys.fields().iter().map(|key| {
        let name = key.name().to_lowercase();
        let mut fields = schema.fields().iter();
        let Some(field) = fields.find(|field| field.name().to_lowercase() == name) else {
            return Arc::clone(key);
        };
        let data_type = match field.data_type() {
            DataType::Dictionary(_, value) => value.as_ref(),
            other => other,
        };
        let data_type = match data_type {
            DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            other if other.is_binary() || other.is_nested() => DataType::Utf8,
            other => other.clone(),
        };
        Arc::new(Field::new(field.name(), data_type, true))
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// Returns the columns with the spelling of the files.
fn with_spelling_of(columns: &Schema, inferred: &Schema) -> Result<Schema> {
    let names = NameIndex::new(inferred);
    let respell = |column: &FieldRef| match names.find_all(column.name()) {
        [] => Ok(Arc::clone(column)),
        [only] => Ok(Arc::new(
            column
                .as_ref()
                .clone()
                .with_name(inferred.field(*only).name()),
        )),
        [a, b, ..] => Err(Error::Plan(format!(
            "the column `{}` of the schema is both `{}` and `{}` in the files; rename one",
            column.name(),
            inferred.field(*a).name(),
            inferred.field(*b).name()
        ))),
    };
    let fields = columns.fields().iter().map(respell);
    Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?))
}

/// Finds columns by name without regard to case, preferring the exact name.
pub(super) struct NameIndex<'a> {
    by_name: HashMap<&'a str, usize>,
    by_lower: HashMap<String, Vec<usize>>,
}

impl<'a> NameIndex<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        let mut index = Self {
            by_name: HashMap::new(),
            by_lower: HashMap::new(),
        };
        for (position, field) in schema.fields().iter().enumerate() {
            index.by_name.insert(field.name(), position);
            let spellings = index.by_lower.entry(field.name().to_lowercase());
            spellings.or_default().push(position);
        }
        index
    }

    /// Returns the position of a column, unless several names differ from `name` only by case.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        match self.find_all(name) {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// Returns the position of the column with exactly this name, or else the positions of all
    /// columns whose names differ from it only by case.
    fn find_all(&self, name: &str) -> &[usize] {
        if let Some(position) = self.by_name.get(name) {
            return std::slice::from_ref(position);
        }
        let spellings = self.by_lower.get(&name.to_lowercase());
        spellings.map_or(&[], Vec::as_slice)
    }
}

/// Parses a schema such as `a INT, b STRING`. Keeps the spelling of the names.
///
/// # Errors
/// Returns an error that quotes the schema if its syntax or one of its types is invalid.
pub(crate) fn parse_schema(context: &SessionContext, text: &str) -> Result<Schema> {
    use datafusion::sql::sqlparser::parser::Parser;
    use faisca_spark::dialect::SparkDialect;
    let invalid = |source: BoxedError| Error::InvalidSchema {
        schema: text.to_owned(),
        source,
    };
    let parsed = Parser::new(&SparkDialect)
        .try_with_sql(&format!("({text})"))
        .and_then(|mut parser| parser.parse_columns());
    let (columns, _) = parsed.map_err(|e| invalid(e.into()))?;
    let types = columns.iter().map(|c| {
        // DataFusion converts a SQL type only as part of an expression, so a cast is planned.
        let sql = format!("arrow_cast(NULL, 'Null')::{}", c.data_type);
        let schema = datafusion::common::DFSchema::empty();
        let expr = context
            .state()
            .create_logical_expr(&sql, &schema)
            .map_err(|e| invalid(e.into()))?;
        use datafusion::logical_expr::ExprSchemable;
        let data_type = expr.get_type(&schema).map_err(|e| invalid(e.into()))?;
        Ok(Field::new(c.name.value.clone(), data_type, true))
    });
    Ok(Schema::new(types.collect::<Result<Vec<_>>>()?))
}

/// Reads the metadata of one Parquet file. Adds the file's name to errors about its contents, and
/// reports a panic of the decoder as such an error: a damaged file must not look like a defect of
/// the engine.
pub(super) async fn guard<T>(
    file: &str,
    reading: impl Future<Output = Result<T, DataFusionError>>,
) -> Result<T, DataFusionError> {
    let mut reading = pin!(reading);
    let outcome = std::future::poll_fn(|context| {
        match catch_panic(|| reading.as_mut().poll(context)) {
            Ok(polled) => polled.map(Ok),
            // After a panic the future is never polled again.
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    match outcome.await {
        Ok(Err(error)) if is_beyond_end(&error) => plan_err!(
            "{file}: the file is damaged: it ends before the bytes that its footer refers to; rewrite it"
        ),
        Ok(Err(error @ DataFusionError::ParquetError(_))) => Err(error.context(file)),
        Ok(outcome) => outcome,
        Err(panic) => plan_err!(
            "{file}: the file is not valid Parquet, or is of a kind that cannot be read: {panic}"
        ),
    }
}

/// Adds the usual cause to an error of the Parquet reader. Users must repair the file.
fn explain_damage(error: DataFusionError) -> Error {
    match (error.find_root(), classify(&error).kind) {
        (DataFusionError::ParquetError(inner), FailureKind::User) => {
            let text = format!("the file is not valid Parquet, or is truncated: {inner}");
            match &error {
                DataFusionError::Context(file, _) => Error::Plan(text).at(file.clone()),
                _ => Error::Plan(text),
            }
        }
        _ => error.into(),
    }
}

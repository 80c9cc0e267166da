//! A table whose catalog lists the folder of each partition. Only these folders are read.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat as DfFileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::{expr_applicable_for_cols, filter_partitioned_file};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::{FileFormat, Source};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::catalog::TablePartition;
use crate::error::{Error, Result};

/// Maximum number of folders that are listed at the same time.
const LISTINGS_MAX: usize = 16;
/// The value with which Hive names the partition of a null key.
const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// A partitioned table of a catalog.
#[derive(Debug)]
pub(crate) struct PartitionedTable {
    /// Columns that the files contain.
    files: SchemaRef,
    /// Partition keys, whose values the catalog states.
    keys: SchemaRef,
    /// All columns: those of the files, then the keys.
    schema: SchemaRef,
    /// The values of the keys and the folder of each partition.
    partitions: Vec<(Vec<ScalarValue>, Folder)>,
    format: Arc<dyn DfFileFormat>,
}

/// The folder of one partition.
#[derive(Debug, Clone)]
struct Folder {
    store: ObjectStoreUrl,
    prefix: Path,
}

impl Folder {
    /// Parses the location of a partition. A catalog does not escape characters in locations, so
    /// nothing is unescaped here.
    ///
    /// # Errors
    /// Returns an error if the location is neither a URL nor an absolute path.
    fn parse(location: &str) -> Result<Self> {
        let invalid = || Error::Plan(format!("`{location}` is not the location of a folder"));
        if let Some(path) = location
            .strip_prefix('/')
            .or_else(|| location.strip_prefix("file:///"))
        {
            return Ok(Self {
                store: ObjectStoreUrl::local_filesystem(),
                prefix: Path::parse(path).map_err(|_| invalid())?,
            });
        }
        let location = known_scheme(location);
        let (scheme, rest) = location.split_once("://").ok_or_else(invalid)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let store = ObjectStoreUrl::parse(format!("{scheme}://{bucket}"))?;
        Ok(Self {
            store,
            prefix: Path::parse(key.trim_end_matches('/')).map_err(|_| invalid())?,
        })
    }
}

impl PartitionedTable {
    /// Opens a partitioned table. Its schema contains the columns of the files, spelled as in the
    /// files, then the keys.
    ///
    /// # Errors
    /// Returns an error for a value that does not have the type of its key, and for a folder in an
    /// unknown or unreachable store.
    pub(crate) async fn open(
        context: &SessionContext,
        files: &Schema,
        keys: &Schema,
        partitions: &[TablePartition],
        described: &Source,
    ) -> Result<Self> {
        let mut parsed = vec![];
        for partition in partitions {
            let values = partition.values.iter().zip(keys.fields());
            let values = values.map(|(value, field)| match value.as_str() {
                NULL_VALUE => ScalarValue::try_from(field.data_type()),
                value => ScalarValue::try_from_string(value.to_owned(), field.data_type()),
            });
            parsed.push((
                values.collect::<DfResult<Vec<_>>>()?,
                Folder::parse(&partition.location)?,
            ));
        }
        // Without partitions there are no files, so the format does not matter.
        let (files, format) = match parsed.first() {
            Some((_, folder)) => spelled(context, folder, files, described).await?,
            None => (
                Arc::new(files.clone()),
                Arc::new(ParquetFormat::default()) as _,
            ),
        };
        let fields: Vec<_> = files
            .fields()
            .iter()
            .chain(keys.fields())
            .cloned()
            .collect();
        Ok(Self {
            files,
            keys: Arc::new(keys.clone()),
            schema: Arc::new(Schema::new(fields)),
            partitions: parsed,
            format,
        })
    }

    fn key_names(&self) -> Vec<&str> {
        self.keys
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect()
    }

    /// Returns the partitions that may contain rows for these filters. Only filters on keys count.
    fn pruned(&self, filters: &[Expr]) -> DfResult<Vec<&(Vec<ScalarValue>, Folder)>> {
        let names = self.key_names();
        let filters: Vec<Expr> = filters
            .iter()
            .filter(|filter| expr_applicable_for_cols(&names, filter))
            .cloned()
            .collect();
        let schema = DFSchema::try_from(Arc::clone(&self.keys))?;
        let mut kept = vec![];
        for partition in &self.partitions {
            // DataFusion prunes files, so a file stands in for the partition.
            let mut probe = PartitionedFile::new("probe", 0);
            probe.partition_values.clone_from(&partition.0);
            if filter_partitioned_file(probe, &filters, &schema)?.is_some() {
                kept.push(partition);
            }
        }
        Ok(kept)
    }
}

/// Lists the data files of a folder, without hidden and empty files.
async fn list(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
) -> object_store::Result<Vec<ObjectMeta>> {
    let all: Vec<ObjectMeta> = store.list(Some(prefix)).try_collect().await?;
    Ok(all
        .into_iter()
        .filter(|meta| meta.size > 0 && crate::input::source::is_visible(prefix, &meta.location))
        .collect())
}

/// Lists the files of one partition, each with the partition's values.
async fn partition_files(
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    values: Vec<ScalarValue>,
) -> DfResult<Vec<PartitionedFile>> {
    let files = list(&store, &prefix).await?.into_iter().map(|meta| {
        let mut file = PartitionedFile::from(meta);
        file.partition_values.clone_from(&values);
        file
    });
    Ok(files.collect())
}

/// Returns the catalog's columns, with names spelled as in the first file of `folder`, and the
/// format that reads the files.
async fn spelled(
    context: &SessionContext,
    folder: &Folder,
    columns: &Schema,
    described: &Source,
) -> Result<(SchemaRef, Arc<dyn DfFileFormat>)> {
    let store = context.runtime_env().object_store(&folder.store)?;
    let Some(first) = list(&store, &folder.prefix)
        .await
        .map_err(|e| Error::Plan(faisca_executor::storage::store_message(&e)))?
        .into_iter()
        .next()
    else {
        return Ok((
            Arc::new(columns.clone()),
            Arc::new(ParquetFormat::default()),
        ));
    };
    let format = crate::input::source::file_format(described, &first.location)?;
    let own = format
        .infer_schema(&context.state(), &store, &[first])
        .await?;
    // Parquet files state their types; those of text files are inferred, so the catalog's count.
    let is_typed = described.format == FileFormat::Parquet;
    let field = |column: &Arc<Field>| match own
        .fields()
        .iter()
        .find(|f| f.name().eq_ignore_ascii_case(column.name()))
    {
        Some(found) if is_typed => Arc::new(found.as_ref().clone().with_nullable(true)),
        Some(found) => Arc::new(column.as_ref().clone().with_name(found.name())),
        None => Arc::clone(column),
    };
    Ok((
        Arc::new(Schema::new(
            columns.fields().iter().map(field).collect::<Vec<_>>(),
        )),
        format,
    ))
}

#[async_trait]
impl TableProvider for PartitionedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let names = self.key_names();
        let exact = |filter: &&Expr| match expr_applicable_for_cols(&names, filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(exact).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let kept = self.pruned(filters)?;
        // All partitions of a table are in one store.
        let Some((_, Folder { store: url, .. })) = kept.first().copied() else {
            let schema = datafusion::common::project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        };
        let mut listings = vec![];
        for (values, folder) in kept {
            let store = state.runtime_env().object_store(&folder.store)?;
            listings.push(partition_files(store, folder.prefix.clone(), values.clone()).boxed());
        }
        let files: Vec<Vec<PartitionedFile>> = futures::stream::iter(listings)
            .buffered(LISTINGS_MAX)
            .try_collect()
            .await?;
        let files: Vec<PartitionedFile> = files.into_iter().flatten().collect();
        let bytes = files
            .iter()
            .map(PartitionedFile::effective_size)
            .sum::<u64>();
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.total_byte_size = datafusion::common::stats::Precision::Inexact(
            usize::try_from(bytes).unwrap_or(usize::MAX),
        );
        let table = TableSchema::builder(Arc::clone(&self.files))
            .with_table_partition_cols(self.keys.fields().clone())
            .build();
        let config = FileScanConfigBuilder::new(url.clone(), self.format.file_source(table))
            .with_file_groups(FileGroup::new(files).split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        self.format.create_physical_plan(state, config).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_taken_as_it_stands() {
        let folder = Folder::parse("s3a://lake/gold/t/k=a%2Fb c/run-1/").unwrap();
        assert_eq!(
            (folder.store.as_str(), folder.prefix.as_ref()),
            ("s3://lake/", "gold/t/k=a%2Fb c/run-1")
        );
        assert_eq!(Folder::parse("/data/t/").unwrap().prefix.as_ref(), "data/t");
        assert!(Folder::parse("lake").is_err());
    }
}

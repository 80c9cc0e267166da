//! A catalog table whose catalog lists the folder of each partition. Only these folders are read.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat as DfFileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::Source;
use faisca_spark::text::Zone;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::catalog_schema::catalog_schema;
use super::partition_keys::{filter_pushdown, is_on_keys, matching_rows, parse_value};
use super::table_lookup::{LOOKUPS_MAX, TableLookup, TableState};
use crate::catalog::TablePartition;
use crate::error::{Error, Result, external};
use crate::visibility::is_visible;

/// Maximum number of folders that are listed at the same time.
const LISTINGS_MAX: usize = 16;

/// The values of the keys of a partition, and its folder.
type Partition = (Vec<ScalarValue>, Folder);

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
    partitions: Vec<Partition>,
    format: Arc<dyn DfFileFormat>,
    lookup: TableLookup,
    /// The table when it was opened.
    state: TableState,
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
        lookup: &TableLookup,
        state: &TableState,
        (files, keys): (&Schema, &Schema),
        source: &Source,
    ) -> Result<Self> {
        let zone = Zone::of_session(context.state().config_options())?;
        let partitions = parse_partitions(&state.partitions, keys, zone)?;
        // Without partitions there are no files, so the format does not matter.
        let (files, format) = match partitions.first() {
            Some((_, folder)) => respell_columns(context, folder, files, source).await?,
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
            partitions,
            format,
            lookup: lookup.clone(),
            state: state.clone(),
        })
    }

    /// Returns the partitions that may contain rows for these filters. Only filters on keys are
    /// applied.
    fn prune<'a>(
        &self,
        partitions: &'a [Partition],
        filters: &[Expr],
    ) -> DfResult<Vec<&'a Partition>> {
        let on_keys = filters
            .iter()
            .filter(|filter| is_on_keys(&self.keys, filter));
        let on_keys: Vec<Expr> = on_keys.cloned().collect();
        let rows: Vec<_> = partitions
            .iter()
            .map(|(values, _)| values.clone())
            .collect();
        let matching = matching_rows(&rows, &self.keys, &on_keys)?;
        let partitions = partitions.iter().zip(matching.values().iter());
        Ok(partitions
            .filter_map(|(partition, is_matching)| is_matching.then_some(partition))
            .collect())
    }

    /// Lists the files for these filters. Looks the table up again if a folder has none: an
    /// overwrite may have moved its partition meanwhile.
    async fn current_files(
        &self,
        session: &dyn Session,
        filters: &[Expr],
    ) -> DfResult<Vec<PartitionedFile>> {
        let mut listed = list_files(session, &self.prune(&self.partitions, filters)?).await?;
        let zone = Zone::of_session(session.config_options())?;
        let mut state = self.state.clone();
        for _ in 1..LOOKUPS_MAX {
            if !listed.has_empty_folder {
                break;
            }
            match self.lookup.moved_since(&state).await.map_err(external)? {
                Some(moved) => state = moved,
                None => break,
            }
            let partitions =
                parse_partitions(&state.partitions, &self.keys, zone).map_err(external)?;
            listed = list_files(session, &self.prune(&partitions, filters)?).await?;
        }
        Ok(listed.files)
    }
}

/// Parses the values and locations of partitions.
///
/// # Errors
/// Returns an error for a value that does not have the type of its key, and for an invalid
/// location.
fn parse_partitions(
    partitions: &[TablePartition],
    keys: &Schema,
    zone: Zone,
) -> Result<Vec<Partition>> {
    let parse = |partition: &TablePartition| {
        let values = partition.values.iter().zip(keys.fields());
        let values = values.map(|(value, field)| parse_value(value, field.data_type(), zone));
        let folder = Folder::parse(&partition.location)?;
        Ok((values.collect::<DfResult<Vec<_>>>()?, folder))
    };
    partitions.iter().map(parse).collect()
}

/// Returns the catalog's columns, with names spelled as in the first file of `folder`, and the
/// format that reads the files.
async fn respell_columns(
    context: &SessionContext,
    folder: &Folder,
    columns: &Schema,
    source: &Source,
) -> Result<(SchemaRef, Arc<dyn DfFileFormat>)> {
    let store = context.runtime_env().object_store(&folder.store)?;
    let files = list(&store, &folder.prefix)
        .await
        .map_err(DataFusionError::from)?;
    match files.into_iter().next() {
        Some(first) => catalog_schema(context, &store, first, columns, source).await,
        None => Ok((
            Arc::new(columns.clone()),
            Arc::new(ParquetFormat::default()),
        )),
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
        .filter(|meta| meta.size > 0 && is_visible(prefix, &meta.location))
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

/// The result of one listing of a table's folders.
struct ListedFiles {
    files: Vec<PartitionedFile>,
    /// Whether a folder contained no files.
    has_empty_folder: bool,
}

/// Lists the files of partitions.
async fn list_files(state: &dyn Session, partitions: &[&Partition]) -> DfResult<ListedFiles> {
    let mut listings = vec![];
    for (values, folder) in partitions {
        let store = state.runtime_env().object_store(&folder.store)?;
        listings.push(partition_files(store, folder.prefix.clone(), values.clone()).boxed());
    }
    let files: Vec<Vec<PartitionedFile>> = futures::stream::iter(listings)
        .buffered(LISTINGS_MAX)
        .try_collect()
        .await?;
    Ok(ListedFiles {
        has_empty_folder: files.iter().any(Vec::is_empty),
        files: files.into_iter().flatten().collect(),
    })
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
        Ok(filter_pushdown(&self.keys, filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let files = self.current_files(state, filters).await?;
        // All partitions of a table are in one store.
        let Some((_, Folder { store: url, .. })) =
            self.partitions.first().filter(|_| !files.is_empty())
        else {
            let schema = datafusion::common::project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        };
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
    fn a_location_is_not_unescaped() {
        let folder = Folder::parse("s3a://lake/gold/t/k=a%2Fb c/run-1/").unwrap();
        assert_eq!(
            (folder.store.as_str(), folder.prefix.as_ref()),
            ("s3://lake/", "gold/t/k=a%2Fb c/run-1")
        );
        assert_eq!(Folder::parse("/data/t/").unwrap().prefix.as_ref(), "data/t");
        assert!(Folder::parse("lake").is_err());
    }
}

//! Plans the scan of listed files, with the statistics and the sort order of their metadata.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{
    ColumnStatistics, Result as DfResult, ScalarValue, Statistics, plan_err, project_schema,
};
use datafusion::datasource::file_format::FileFormat as DfFileFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::{
    DFParquetMetadata, ordering_from_parquet_metadata,
};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::cache::SchemaFingerprint;
use datafusion::execution::cache::cache_manager::{CachedFileMetadata, TableScopedPath};
use datafusion::parquet::file::metadata::{ParquetMetaData, SortingColumn};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion_datasource::compute_all_files_statistics;
use faisca_planner::manifest::{FileFormat, Source, TextCompression};
use futures::{FutureExt, StreamExt};
use object_store::ObjectMeta;

use super::columns::{NameIndex, TableColumns, guard};
use super::formats::{Expected, compression_of, file_format};
use super::listing::Location;
use crate::error::external;

/// A file, with the values of its partition keys.
pub(super) type KeyedFile = (ObjectMeta, Vec<ScalarValue>);

/// One scan of a table.
#[derive(Clone, Copy)]
pub(super) struct FileScan<'a> {
    pub(super) state: &'a dyn Session,
    pub(super) source: &'a Source,
    pub(super) location: &'a Location,
    pub(super) columns: &'a TableColumns,
    /// The schema that the table shows.
    pub(super) schema: &'a SchemaRef,
    /// Identifies the schema of the files in the cache of statistics.
    pub(super) fingerprint: &'a Arc<SchemaFingerprint>,
    pub(super) projection: Option<&'a Vec<usize>>,
    /// Number of rows after which a scan may stop.
    pub(super) limit: Option<usize>,
}

/// Statistics and ordering from the metadata of a file.
struct FileFacts {
    statistics: Arc<Statistics>,
    ordering: Option<LexOrdering>,
}

impl FileScan<'_> {
    /// Plans the scan of `files`: one scan for each compression, all as one input.
    ///
    /// # Errors
    /// Returns an error if a file is damaged or cannot be read.
    pub(super) async fn plan(&self, files: Vec<KeyedFile>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut groups: BTreeMap<TextCompression, Vec<KeyedFile>> = BTreeMap::new();
        for (meta, values) in files {
            let compression = compression_of(self.source, &meta.location);
            groups.entry(compression).or_default().push((meta, values));
        }
        let mut scans = vec![];
        for (compression, files) in groups {
            scans.push(self.rename_columns(self.plan_group(compression, files).await?)?);
        }
        match scans.len() {
            1 => Ok(scans.remove(0)),
            _ => UnionExec::try_new(scans),
        }
    }

    async fn plan_group(
        &self,
        compression: TextCompression,
        files: Vec<KeyedFile>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let expected = Expected {
            csv_header: self.columns.csv_header.as_deref(),
            unknown_fields: self.columns.unknown_fields,
        };
        let format = file_format(self.source, compression, expected).map_err(external)?;
        let config = self.state.config();
        let count = files.len();
        let files = self.describe_files(&format, files).await?;
        let is_partial = files.len() < count;
        let ordering = common_ordering(&files);
        let groups = FileGroup::new(files).split_files(config.target_partitions());
        let table = TableSchema::builder(Arc::clone(&self.columns.files))
            .with_table_partition_cols(self.columns.keys.fields().clone())
            .build();
        let (groups, statistics) = compute_all_files_statistics(
            groups,
            Arc::clone(table.table_schema()),
            config.collect_statistics(),
            is_partial,
        )?;
        let url = self.location.store_url().clone();
        let config = FileScanConfigBuilder::new(url, format.file_source(table))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(self.projection.cloned())?
            .with_limit(self.limit)
            .with_output_ordering(ordering.into_iter().collect())
            .build();
        format.create_physical_plan(self.state, config).await
    }

    /// Adds to each file its statistics and ordering. Stops when the files have more rows than the
    /// limit.
    async fn describe_files(
        &self,
        format: &Arc<dyn DfFileFormat>,
        files: Vec<KeyedFile>,
    ) -> DfResult<Vec<PartitionedFile>> {
        let options = self.state.config_options();
        let concurrency = options.execution.meta_fetch_concurrency.get();
        let pending: Vec<_> = files
            .into_iter()
            .map(|file| self.describe_file(format, file).boxed())
            .collect();
        let mut described = futures::stream::iter(pending).buffered(concurrency);
        let (mut files, mut rows) = (vec![], Precision::Exact(0));
        while let Some(file) = described.next().await {
            let file = file?;
            rows = match &file.statistics {
                Some(statistics) => rows.add(&statistics.num_rows),
                None => Precision::Absent,
            };
            files.push(file);
            if let (Some(limit), Precision::Exact(rows)) = (self.limit, rows)
                && rows > limit
            {
                break;
            }
        }
        Ok(files)
    }

    async fn describe_file(
        &self,
        format: &Arc<dyn DfFileFormat>,
        (meta, values): KeyedFile,
    ) -> DfResult<PartitionedFile> {
        let has_metadata = self.source.format == FileFormat::Parquet;
        let facts = if has_metadata && self.state.config().collect_statistics() {
            self.read_facts(format, &meta).await?
        } else {
            FileFacts {
                statistics: Arc::new(Statistics::new_unknown(&self.columns.files)),
                ordering: None,
            }
        };
        let mut file = PartitionedFile::from(meta).with_ordering(facts.ordering);
        file.statistics = Some(with_keys(facts.statistics, &values));
        file.partition_values = values;
        Ok(file)
    }

    /// Reads the statistics of a file for the columns of the table, from the cache if they were
    /// read before. A column that the file stores as another type gets none, because bounds of one
    /// type say little about another.
    async fn read_facts(
        &self,
        format: &Arc<dyn DfFileFormat>,
        meta: &ObjectMeta,
    ) -> DfResult<FileFacts> {
        let caches = &self.state.runtime_env().cache_manager;
        let cache = caches.get_file_statistic_cache();
        let path = TableScopedPath {
            table: None,
            path: meta.location.clone(),
        };
        if let Some(cached) = cache.as_ref().and_then(|cache| cache.get(&path))
            && cached.is_valid_for(meta, self.fingerprint)
        {
            return Ok(FileFacts {
                statistics: Arc::clone(&cached.statistics),
                ordering: cached.ordering.clone(),
            });
        }
        let store = self.location.store();
        let name = self.location.name_of(&meta.location);
        let metas = std::slice::from_ref(meta);
        let file_schema = guard(&name, format.infer_schema(self.state, store, metas)).await?;
        // The schema has put the footer into the cache, so this sends no further request.
        let metadata = DFParquetMetadata::new(store, meta)
            .with_file_metadata_cache(Some(caches.get_file_metadata_cache()))
            .fetch_metadata()
            .await?;
        check_row_count(&metadata, &name)?;
        check_ranges(&metadata, meta.size, &name)?;
        check_names(&metadata, &name)?;
        let statistics =
            DFParquetMetadata::statistics_from_parquet_metadata(&metadata, &file_schema)?;
        let ordering = file_ordering(&metadata, &file_schema)?
            .and_then(|ordering| translate_ordering(&ordering, &file_schema, &self.columns.files));
        let facts = FileFacts {
            statistics: Arc::new(translate_statistics(
                &statistics,
                &file_schema,
                &self.columns.files,
            )),
            ordering,
        };
        if let Some(cache) = cache {
            let entry = CachedFileMetadata::new(
                meta.clone(),
                Arc::clone(self.fingerprint),
                Arc::clone(&facts.statistics),
                facts.ordering.clone(),
            );
            cache.put(&path, entry);
        }
        Ok(facts)
    }

    /// Renames the columns of a scan to the names that the table shows.
    fn rename_columns(&self, scan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let shown = project_schema(self.schema, self.projection)?;
        let scanned = scan.schema();
        let is_same = scanned
            .fields()
            .iter()
            .zip(shown.fields())
            .all(|(field, shown)| field.name() == shown.name());
        if is_same {
            return Ok(scan);
        }
        let columns = scanned.fields().iter().zip(shown.fields()).enumerate();
        let exprs: Vec<ProjectionExpr> = columns
            .map(|(index, (field, shown))| ProjectionExpr {
                expr: Arc::new(Column::new(field.name(), index)),
                alias: shown.name().clone(),
            })
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(exprs, scan)?))
    }
}

/// Refuses a file whose footer has a row count of 0 although its row groups have rows. The Parquet
/// reader limits its batches to the count of the footer, and would return no rows.
fn check_row_count(metadata: &ParquetMetaData, file: &str) -> DfResult<()> {
    let rows: i64 = metadata
        .row_groups()
        .iter()
        .map(|group| group.num_rows())
        .sum();
    if rows > 0 && metadata.file_metadata().num_rows() == 0 {
        return plan_err!(
            "{file}: the footer states 0 rows, and the row groups {rows}: the file is damaged; rewrite it"
        );
    }
    Ok(())
}

/// Refuses a file with two columns of the same name. DataFusion merges them into one in the schema
/// that it infers.
fn check_names(metadata: &ParquetMetaData, file: &str) -> DfResult<()> {
    let mut names = HashSet::new();
    let schema = metadata.file_metadata().schema_descr().root_schema();
    match schema
        .get_fields()
        .iter()
        .find(|column| !names.insert(column.name()))
    {
        Some(column) => plan_err!(
            "{file}: the file has two columns named `{}`; rename one",
            column.name()
        ),
        None => Ok(()),
    }
}

/// Refuses a file whose footer refers to bytes that the file does not have. A store would report a
/// failed request, which says nothing about the file.
fn check_ranges(metadata: &ParquetMetaData, size: u64, file: &str) -> DfResult<()> {
    let is_within = |start: i64, length: i64| {
        let (start, length) = (u64::try_from(start).ok(), u64::try_from(length).ok());
        start
            .zip(length)
            .and_then(|(start, length)| start.checked_add(length))
            .is_some_and(|end| end <= size)
    };
    let is_part_within = |start: Option<i64>, length: Option<i32>| {
        let part = start.zip(length);
        part.is_none_or(|(start, length)| is_within(start, i64::from(length)))
    };
    let groups = metadata.row_groups().iter();
    for column in groups.flat_map(|group| group.columns()) {
        let first_page = column.dictionary_page_offset();
        let start = first_page.unwrap_or(column.data_page_offset());
        let is_whole = is_within(start, column.compressed_size())
            && is_part_within(column.column_index_offset(), column.column_index_length())
            && is_part_within(column.offset_index_offset(), column.offset_index_length());
        if !is_whole {
            return plan_err!(
                "{file}: the footer refers to bytes of the column {} beyond the {size} bytes of the file: the file is damaged; rewrite it",
                column.column_path()
            );
        }
    }
    Ok(())
}

/// Converts the statistics of a file with the schema `file` to the columns of its table.
fn translate_statistics(
    statistics: &Statistics,
    file: &SchemaRef,
    table: &SchemaRef,
) -> Statistics {
    let names = NameIndex::new(file);
    let column = |field: &FieldRef| {
        let index = names.find(field.name())?;
        let is_same = file.field(index).data_type() == field.data_type();
        is_same.then(|| statistics.column_statistics.get(index).cloned())?
    };
    let columns = table.fields().iter();
    Statistics {
        num_rows: statistics.num_rows,
        total_byte_size: statistics.total_byte_size,
        column_statistics: columns
            .map(|field| column(field).unwrap_or_else(ColumnStatistics::new_unknown))
            .collect(),
    }
}

/// Returns the ordering of a file's metadata, in terms of the file's columns.
fn file_ordering(metadata: &ParquetMetaData, file: &SchemaRef) -> DfResult<Option<LexOrdering>> {
    // The metadata describe the order within each row group. The rows of several row groups need
    // not be sorted as a whole.
    let [row_group] = metadata.row_groups() else {
        return Ok(None);
    };
    // DataFusion confuses a field of a struct with a column of the field's name.
    let columns = metadata.file_metadata().schema_descr();
    let is_nested = |sorting: &SortingColumn| {
        usize::try_from(sorting.column_idx)
            .map_or(true, |index| columns.column(index).path().parts().len() > 1)
    };
    if row_group
        .sorting_columns()
        .into_iter()
        .flatten()
        .any(is_nested)
    {
        return Ok(None);
    }
    ordering_from_parquet_metadata(metadata, file)
}

/// Converts the ordering of a file with the schema `file` to the columns of its table: the longest
/// prefix of columns that both have.
fn translate_ordering(
    ordering: &LexOrdering,
    file: &SchemaRef,
    table: &SchemaRef,
) -> Option<LexOrdering> {
    let names = NameIndex::new(table);
    let exprs = ordering.iter().map_while(|sort| {
        let column = sort.expr.downcast_ref::<Column>()?;
        let index = names.find(column.name())?;
        let field = table.field(index);
        let is_same = file.field(column.index()).data_type() == field.data_type();
        let mut sort = sort.clone();
        sort.expr = Arc::new(Column::new(field.name(), index));
        is_same.then_some(sort)
    });
    LexOrdering::new(exprs.collect::<Vec<_>>())
}

/// Returns the ordering that all files have: the longest common prefix of their orderings.
fn common_ordering(files: &[PartitionedFile]) -> Option<LexOrdering> {
    let mut orderings = files.iter().map(|file| file.ordering.as_ref());
    let mut common = orderings.next()??.to_vec();
    for ordering in orderings {
        let equal = common.iter().zip(ordering?.iter());
        let count = equal.take_while(|(a, b)| a == b).count();
        common.truncate(count);
    }
    LexOrdering::new(common)
}

/// Adds statistics of the partition keys, whose values are the same in every row of a file.
fn with_keys(statistics: Arc<Statistics>, values: &[ScalarValue]) -> Arc<Statistics> {
    if values.is_empty() {
        return statistics;
    }
    let mut statistics = Arc::unwrap_or_clone(statistics);
    let rows = statistics.num_rows;
    for value in values {
        let mut column = ColumnStatistics::new_unknown();
        if value.is_null() {
            column.null_count = rows;
        } else {
            column.null_count = Precision::Exact(0);
            column.min_value = Precision::Exact(value.clone());
            column.max_value = Precision::Exact(value.clone());
            column.distinct_count = Precision::Exact(1);
            if let Some(width) = value.data_type().primitive_width() {
                column.byte_size = rows.multiply(&Precision::Exact(width));
            }
        }
        statistics.column_statistics.push(column);
    }
    Arc::new(statistics)
}

#[cfg(test)]
mod tests {
    use datafusion::parquet::file::metadata::{FileMetaData, RowGroupMetaData};
    use datafusion::parquet::schema::parser::parse_message_type;
    use datafusion::parquet::schema::types::SchemaDescriptor;

    use super::*;

    /// `repeated_no_annotation.parquet` of Parquet's test files is such a file.
    #[test]
    fn a_footer_with_a_row_count_of_0_beside_row_groups_with_rows_is_refused() {
        let schema = parse_message_type("message m { }").unwrap();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
        let checked = |stated, rows| {
            let group = RowGroupMetaData::builder(Arc::clone(&schema))
                .set_num_rows(rows)
                .build()
                .unwrap();
            let file = FileMetaData::new(1, stated, None, None, Arc::clone(&schema), None);
            check_row_count(&ParquetMetaData::new(file, vec![group]), "x.parquet")
        };
        let error = checked(0, 6).unwrap_err().to_string();
        assert!(
            error.contains("x.parquet: the footer states 0 rows"),
            "{error}"
        );
        checked(6, 6).unwrap();
        checked(0, 0).unwrap();
    }
}

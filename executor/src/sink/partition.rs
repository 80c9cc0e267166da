//! Splits rows into `key=value` folders, named as by Hive and Spark.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, lexsort_to_indices, partition, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use faisca_spark::text::Zone;

use super::partition_value::{NULL_PARTITION, partition_folders, shown_values};

/// Splits batches by the partition columns, which the files do not contain.
pub(super) struct Partitioner {
    keys: Vec<(String, usize)>,
    rest: Vec<usize>,
    /// The session's time zone, in which folders show timestamps.
    zone: Zone,
}

/// A batch, sorted by folder.
pub(super) struct FolderRanges {
    /// The rows, without the partition columns.
    pub(super) rows: RecordBatch,
    /// The folders, and where their rows are.
    pub(super) ranges: Vec<(String, Range<usize>)>,
}

impl Partitioner {
    pub(super) fn new(schema: &SchemaRef, columns: &[String], zone: Zone) -> Result<Self> {
        let find = |name: &String| {
            let position = schema
                .fields()
                .iter()
                .position(|f| f.name().eq_ignore_ascii_case(name));
            let position = position.ok_or_else(|| {
                let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                plan_datafusion_err!(
                    "partitionBy: no column `{name}` in the result; its columns are {}",
                    names.join(", ")
                )
            })?;
            Ok((schema.field(position).name().clone(), position))
        };
        let keys = columns.iter().map(find).collect::<Result<Vec<_>>>()?;
        let rest: Vec<usize> = (0..schema.fields().len())
            .filter(|i| keys.iter().all(|(_, key)| key != i))
            .collect();
        if rest.is_empty() {
            return plan_err!(
                "partitionBy names every column: no column would be left for the files"
            );
        }
        Ok(Self { keys, rest, zone })
    }

    /// Positions of the partition columns, outermost folder first.
    pub(super) fn key_positions(&self) -> Vec<usize> {
        self.keys.iter().map(|(_, index)| *index).collect()
    }

    /// Returns the folder of rows whose keys are all null.
    pub(super) fn null_folder(&self) -> String {
        let parts = self.keys.iter();
        let parts = parts.map(|(name, _)| format!("{name}={NULL_PARTITION}"));
        parts.collect::<Vec<_>>().join("/")
    }

    /// Returns the schema of the files, which do not contain the partition columns.
    ///
    /// # Errors
    /// If `schema` is not that of [`Self::new`].
    pub(super) fn file_schema(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        Ok(Arc::new(schema.project(&self.rest)?))
    }

    /// Sorts a batch by folder. Without partition columns, all rows have the empty folder.
    ///
    /// # Errors
    /// If a partition column has a type that cannot be sorted.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<FolderRanges> {
        if self.keys.is_empty() || batch.num_rows() == 0 {
            let all = (batch.num_rows() > 0).then(|| (String::new(), 0..batch.num_rows()));
            return Ok(FolderRanges {
                rows: batch.clone(),
                ranges: all.into_iter().collect(),
            });
        }
        let columns: Vec<SortColumn> = self
            .keys
            .iter()
            .map(|(_, index)| SortColumn {
                values: Arc::clone(batch.column(*index)),
                options: None,
            })
            .collect();
        let sorted = take_record_batch(batch, &lexsort_to_indices(&columns, None)?)?;
        let keys = self.keys.iter();
        let keys = keys.map(|(_, index)| shown_values(sorted.column(*index), self.zone));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let folder = |range: Range<usize>| {
            let names = self.keys.iter().map(|(name, _)| name.as_str());
            Ok((partition_folders(names, &keys, range.start)?, range))
        };
        let ranges = partition(&keys)?.ranges().into_iter().map(folder);
        Ok(FolderRanges {
            ranges: ranges.collect::<Result<_>>()?,
            rows: sorted.project(&self.rest)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    #[test]
    fn a_partition_column_that_does_not_exist_is_an_error_that_names_the_columns() {
        let schema = Arc::new(Schema::new(vec![Field::new("UF", DataType::Utf8, true)]));
        let error = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
            let failed = Partitioner::new(&schema, &columns, Zone::UTC)
                .err()
                .unwrap();
            failed.strip_backtrace()
        };
        assert!(error(&["ano"]).contains("no column `ano` in the result; its columns are UF"));
        assert!(error(&["uf"]).contains("names every column"));
    }

    #[test]
    fn rows_go_to_the_folder_of_their_keys_and_lose_them() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("UF", DataType::Utf8, true),
            Field::new("n", DataType::Int32, true),
        ]));
        let uf: ArrayRef = Arc::new(StringArray::from(vec![
            Some("SP"),
            None,
            Some("a/b"),
            Some("SP"),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![uf, Arc::new(Int32Array::from(vec![1, 2, 3, 4]))],
        )
        .unwrap();
        let split = Partitioner::new(&schema, &["uf".to_owned()], Zone::UTC)
            .unwrap()
            .split(&batch)
            .unwrap();
        let columns = split.rows.num_columns();
        let folders: Vec<_> = split
            .ranges
            .iter()
            .map(|(folder, rows)| (folder.as_str(), rows.len(), columns))
            .collect();
        assert_eq!(
            folders,
            [
                ("UF=__HIVE_DEFAULT_PARTITION__", 1, 1),
                ("UF=SP", 2, 1),
                ("UF=a%2Fb", 1, 1)
            ]
        );
    }
}

//! The requests that change a batch of partitions or columns.

use aws_sdk_glue::config::retry::RetryConfig;
use aws_sdk_glue::types::{BatchUpdatePartitionRequestEntry, PartitionInput};

use super::GlueCatalog;
use super::convert::partition_input;
use super::error::{has_code, incomplete, item_code, item_failed, request_failed};
use super::statistics::{column_statistics, state_zeros};
use crate::catalog::definition::{ColumnStatistics, TableDefinition, TablePartition};
use crate::error::Result;

/// Attempts to read statistics, including the first. No result depends on them, and a server that
/// does not know the request returns an internal error.
const STATISTICS_TRIES: u32 = 2;

impl GlueCatalog {
    /// Creates the new partitions of a batch and updates the existing ones.
    ///
    /// Glue cannot do both in one request. Creating comes first: most partitions of a write are
    /// new, and the response lists exactly those that exist.
    pub(super) async fn put_batch(
        &self,
        database: &str,
        table: &TableDefinition,
        batch: &[TablePartition],
    ) -> Result<()> {
        let name = format!("{database}.{}", table.name);
        let inputs: Vec<PartitionInput> = batch
            .iter()
            .map(|p| partition_input(table, p))
            .collect::<Result<_>>()?;
        let request = self
            .client
            .batch_create_partition()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_name(&table.name);
        let response = request
            .set_partition_input_list(Some(inputs.clone()))
            .send()
            .await
            .map_err(|e| request_failed("BatchCreatePartition", &name, e))?;
        let mut existing = vec![];
        // The request succeeds as a whole; each partition that was not created has an error.
        for error in response.errors() {
            let (values, detail) = (error.partition_values(), error.error_detail());
            if item_code(detail) != "AlreadyExistsException" {
                return Err(item_failed("BatchCreatePartition", &name, values, detail));
            }
            existing.push(values.to_vec());
        }
        if existing.is_empty() {
            return Ok(());
        }
        let entry = |input: &PartitionInput| {
            let values = Some(input.values().to_vec());
            BatchUpdatePartitionRequestEntry::builder()
                .set_partition_value_list(values)
                .partition_input(input.clone())
                .build()
        };
        let entries = inputs
            .iter()
            .filter(|input| existing.iter().any(|values| values == input.values()))
            .map(entry);
        let entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(incomplete)?;
        let request = self
            .client
            .batch_update_partition()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_name(&table.name);
        let response = request
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|e| request_failed("BatchUpdatePartition", &name, e))?;
        match response.errors().first() {
            None => Ok(()),
            Some(error) => {
                let (values, detail) = (error.partition_value_list(), error.error_detail());
                Err(item_failed("BatchUpdatePartition", &name, values, detail))
            }
        }
    }

    /// Stores the statistics of at most [`STATISTICS_BATCH`](super::STATISTICS_BATCH) columns.
    pub(super) async fn put_statistics(
        &self,
        database: &str,
        table: &str,
        statistics: &[ColumnStatistics],
    ) -> Result<()> {
        const ACTION: &str = "UpdateColumnStatisticsForTable";
        let name = format!("{database}.{table}");
        let list = statistics.iter().map(column_statistics);
        let request = self
            .client
            .update_column_statistics_for_table()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_name(table)
            .set_column_statistics_list(Some(list.collect::<Result<_>>()?));
        let bounded: Vec<bool> = statistics.iter().map(|s| s.values.has_bounds()).collect();
        let response = request
            .customize()
            .mutate_request(move |request| state_zeros(request, &bounded))
            .send()
            .await
            .map_err(|e| request_failed(ACTION, &name, e))?;
        // The request succeeds as a whole even if Glue rejects some of its columns.
        let Some(rejected) = response.errors().first() else {
            return Ok(());
        };
        let column = rejected.column_statistics().map(|s| s.column_name());
        let column = [column.unwrap_or_default().to_owned()];
        Err(item_failed(ACTION, &name, &column, rejected.error()))
    }

    /// Deletes the statistics of those of at most [`STATISTICS_PAGE`](super::STATISTICS_PAGE)
    /// columns that have some.
    pub(super) async fn delete_statistics(
        &self,
        database: &str,
        table: &str,
        columns: &[String],
    ) -> Result<()> {
        let name = format!("{database}.{table}");
        let present = self
            .client
            .get_column_statistics_for_table()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_name(table)
            .set_column_names(Some(columns.to_vec()))
            .customize()
            .config_override(
                aws_sdk_glue::config::Builder::new()
                    .retry_config(RetryConfig::standard().with_max_attempts(STATISTICS_TRIES)),
            )
            .send()
            .await
            .map_err(|e| request_failed("GetColumnStatisticsForTable", &name, e))?;
        for statistics in present.column_statistics_list() {
            let deleted = self
                .client
                .delete_column_statistics_for_table()
                .set_catalog_id(self.id.clone())
                .database_name(database)
                .table_name(table)
                .column_name(statistics.column_name())
                .send()
                .await;
            match deleted {
                Ok(_) => {}
                // Another writer deleted them first.
                Err(error) if has_code(&error, "EntityNotFoundException") => {}
                Err(error) => {
                    return Err(request_failed(
                        "DeleteColumnStatisticsForTable",
                        &name,
                        error,
                    ));
                }
            }
        }
        Ok(())
    }
}

//! The AWS Glue Data Catalog, in the form that Athena reads.
//!
//! Glue has no transactions. One request changes one table or one batch of partitions, so the order
//! of the requests in a registration keeps readers correct.

use async_trait::async_trait;
use aws_sdk_glue::Client;
use aws_sdk_glue::config::retry::RetryConfig;
use aws_sdk_glue::types::{DatabaseInput, PartitionValueList, StorageDescriptor};
use futures::{FutureExt, StreamExt, TryStreamExt};

mod batches;
mod convert;
mod error;
mod hive;
pub(super) mod projection;
mod statistics;

use super::definition::{
    Catalog, ChangeOutcome, ColumnStatistics, OldVersion, TableDefinition, TablePartition,
    TableVersion,
};
use crate::error::Result;
use convert::{definition, table_input};
use error::{has_code, incomplete, item_code, item_failed, request_failed};

pub use hive::{HiveTypeError, arrow_type, hive_type, storage_type};
pub(crate) use hive::{check_key_type, has_unsigned_32};
pub(crate) use projection::check_template;

/// Maximum number of partitions in one request to create or update them: the limit of Glue.
const PUT_BATCH: usize = 100;
/// Maximum number of partitions in one request to delete them: the limit of Glue.
const DELETE_BATCH: usize = 25;
/// Maximum number of columns in one request to store statistics: the limit of Glue.
const STATISTICS_BATCH: usize = 25;
/// Maximum number of columns in one request to read statistics: the limit of Glue.
const STATISTICS_PAGE: usize = 100;
/// Maximum number of batches of partitions that are sent concurrently. Glue throttles larger
/// bursts.
const BATCHES_MAX: usize = 4;
/// Number of partitions in one page of a response: the limit of Glue.
const PAGE: i32 = 1000;
/// Maximum number of attempts of each request. Glue throttles often.
const ATTEMPTS_MAX: u32 = 8;

/// Overrides of the AWS configuration that the environment and the profile provide.
#[derive(Debug, Clone, Default)]
pub struct GlueSettings {
    /// URL of a server with the API of Glue.
    pub endpoint: Option<String>,
    /// AWS region.
    pub region: Option<String>,
    /// Id of the catalog, which is the id of an account. By default that of the credentials.
    pub catalog_id: Option<String>,
    /// Profile in the AWS configuration files.
    pub profile: Option<String>,
}

/// The catalog of one account and region.
#[derive(Debug)]
pub(super) struct GlueCatalog {
    client: Client,
    /// Id of the account. `None` for the account of the credentials.
    id: Option<String>,
}

impl GlueCatalog {
    /// Creates the client. Sends no request to Glue; errors appear with the first one.
    pub(super) async fn open(settings: &GlueSettings) -> Self {
        let shared = faisca_executor::storage::sdk_config(settings.profile.as_deref()).await;
        let mut config = aws_sdk_glue::config::Builder::from(&shared)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX));
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        if let Some(region) = settings.region.clone() {
            config = config.region(aws_sdk_glue::config::Region::new(region));
        }
        Self {
            client: Client::from_conf(config.build()),
            id: settings.catalog_id.clone(),
        }
    }
}

#[async_trait]
impl Catalog for GlueCatalog {
    async fn database_exists(&self, database: &str) -> Result<bool> {
        match self
            .client
            .get_database()
            .set_catalog_id(self.id.clone())
            .name(database)
            .send()
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if has_code(&error, "EntityNotFoundException") => Ok(false),
            Err(error) => Err(request_failed("GetDatabase", database, error)),
        }
    }

    async fn create_database(&self, database: &str) -> Result<()> {
        let input = DatabaseInput::builder()
            .name(database)
            .build()
            .map_err(incomplete)?;
        match self
            .client
            .create_database()
            .set_catalog_id(self.id.clone())
            .database_input(input)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, "AlreadyExistsException") => Ok(()),
            Err(error) => Err(request_failed("CreateDatabase", database, error)),
        }
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let mut pages = self
            .client
            .get_tables()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .into_paginator()
            .send();
        let mut names = vec![];
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => names.extend(
                    page.table_list()
                        .iter()
                        .map(|table| table.name().to_lowercase()),
                ),
                // The database does not exist, so it has no tables.
                Err(error) if has_code(&error, "EntityNotFoundException") => return Ok(vec![]),
                Err(error) => return Err(request_failed("GetTables", database, error)),
            }
        }
        Ok(names)
    }

    async fn table(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<(TableDefinition, TableVersion)>> {
        match self
            .client
            .get_table()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .name(table)
            .send()
            .await
        {
            Ok(response) => Ok(response.table().map(|table| {
                (
                    definition(table),
                    TableVersion(table.version_id().unwrap_or_default().to_owned()),
                )
            })),
            Err(error) if has_code(&error, "EntityNotFoundException") => Ok(None),
            Err(error) => Err(request_failed(
                "GetTable",
                &format!("{database}.{table}"),
                error,
            )),
        }
    }

    async fn create_table(&self, database: &str, table: &TableDefinition) -> Result<ChangeOutcome> {
        let request = self
            .client
            .create_table()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_input(table_input(table)?);
        match request.send().await {
            Ok(_) => Ok(ChangeOutcome::Applied),
            Err(error) if has_code(&error, "AlreadyExistsException") => Ok(ChangeOutcome::Conflict),
            Err(error) => Err(request_failed(
                "CreateTable",
                &format!("{database}.{}", table.name),
                error,
            )),
        }
    }

    async fn update_table(
        &self,
        database: &str,
        table: &TableDefinition,
        version: &TableVersion,
        old: OldVersion,
    ) -> Result<ChangeOutcome> {
        // A server that reports no version cannot check one. The last writer wins there.
        let version = Some(version.0.clone()).filter(|version| !version.is_empty());
        let request = self
            .client
            .update_table()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_input(table_input(table)?);
        match request
            .set_version_id(version)
            .skip_archive(old == OldVersion::Discarded)
            .send()
            .await
        {
            Ok(_) => Ok(ChangeOutcome::Applied),
            Err(error) if has_code(&error, "ConcurrentModificationException") => {
                Ok(ChangeOutcome::Conflict)
            }
            Err(error) => Err(request_failed(
                "UpdateTable",
                &format!("{database}.{}", table.name),
                error,
            )),
        }
    }

    async fn replace_statistics(
        &self,
        database: &str,
        table: &TableDefinition,
        statistics: &[ColumnStatistics],
    ) -> Result<()> {
        for batch in statistics.chunks(STATISTICS_BATCH) {
            self.put_statistics(database, &table.name, batch).await?;
        }
        let columns = table.columns.iter().map(|column| &column.name);
        let stale: Vec<String> = columns
            .filter(|name| !statistics.iter().any(|new| new.column == **name))
            .cloned()
            .collect();
        for batch in stale.chunks(STATISTICS_PAGE) {
            self.delete_statistics(database, &table.name, batch).await?;
        }
        Ok(())
    }

    async fn partitions(&self, database: &str, table: &str) -> Result<Vec<TablePartition>> {
        let request = self
            .client
            .get_partitions()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_name(table);
        let mut pages = request
            // The schema is in the table already, and it would dominate the size of the response.
            .exclude_column_schema(true)
            .max_results(PAGE)
            .into_paginator()
            .send();
        let mut partitions = vec![];
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(|e| request_failed("GetPartitions", &format!("{database}.{table}"), e))?;
            for partition in page.partitions() {
                let location = partition
                    .storage_descriptor()
                    .and_then(StorageDescriptor::location)
                    .unwrap_or_default()
                    .to_owned();
                partitions.push(TablePartition {
                    values: partition.values().to_vec(),
                    location,
                });
            }
        }
        Ok(partitions)
    }

    async fn put_partitions(
        &self,
        database: &str,
        table: &TableDefinition,
        partitions: &[TablePartition],
    ) -> Result<()> {
        let batches: Vec<_> = partitions
            .chunks(PUT_BATCH)
            .map(|batch| self.put_batch(database, table, batch).boxed())
            .collect();
        futures::stream::iter(batches)
            .buffer_unordered(BATCHES_MAX)
            .try_collect::<()>()
            .await
    }

    async fn delete_partitions(
        &self,
        database: &str,
        table: &str,
        values: &[Vec<String>],
    ) -> Result<()> {
        for batch in values.chunks(DELETE_BATCH) {
            let list = |values: &Vec<String>| {
                PartitionValueList::builder()
                    .set_values(Some(values.clone()))
                    .build()
            };
            let list: Vec<_> = batch
                .iter()
                .map(list)
                .collect::<Result<_, _>>()
                .map_err(incomplete)?;
            let request = self
                .client
                .batch_delete_partition()
                .set_catalog_id(self.id.clone())
                .database_name(database)
                .table_name(table);
            let name = format!("{database}.{table}");
            let response = request
                .set_partitions_to_delete(Some(list))
                .send()
                .await
                .map_err(|e| request_failed("BatchDeletePartition", &name, e))?;
            for error in response.errors() {
                let detail = error.error_detail();
                // A repeated registration finds its partitions removed. That is the wanted state.
                if item_code(detail) != "EntityNotFoundException" {
                    let values = error.partition_values();
                    return Err(item_failed("BatchDeletePartition", &name, values, detail));
                }
            }
        }
        Ok(())
    }
}

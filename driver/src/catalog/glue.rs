//! The AWS Glue Data Catalog, in the form that Athena reads.
//!
//! Glue has no transactions. One request changes one table or one batch of partitions, so the order
//! of the requests in a registration keeps readers correct.

use async_trait::async_trait;
use aws_sdk_glue::Client;
use aws_sdk_glue::config::retry::RetryConfig;
use aws_sdk_glue::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_glue::types::{
    BatchUpdatePartitionRequestEntry, DatabaseInput, PartitionInput, PartitionValueList,
    StorageDescriptor,
};
use futures::{FutureExt, StreamExt, TryStreamExt};

mod convert;
mod hive;
pub(super) mod projection;
mod statistics;

use super::definition::{
    Catalog, Changed, ColumnStatistics, TableDefinition, TablePartition, TableVersion,
};
use crate::error::{Error, Result};
use convert::{definition, partition_input, table_input};
use statistics::column_statistics;

pub use hive::{arrow_type, hive_type, storage_type};

/// Partitions in one request to create or update them. This is the limit of Glue.
const PUT_BATCH: usize = 100;
/// Partitions in one request to delete them. This is the limit of Glue.
const DELETE_BATCH: usize = 25;
/// Columns in one request to store statistics. This is the limit of Glue.
const STATISTICS_BATCH: usize = 25;
/// Batches of partitions that are sent concurrently. Glue throttles larger bursts.
const BATCHES_MAX: usize = 4;
/// Partitions in one response page. This is the limit of Glue.
const PAGE: i32 = 1000;
/// Attempts of each request, including the first. Glue throttles often.
const TRIES: u32 = 8;

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
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES));
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

/// Converts an error of Glue to one for users: the action, its object `of`, and the permission or
/// credentials that may be missing.
fn failed<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(
    action: &str,
    of: &str,
    error: &SdkError<E>,
) -> Error {
    let Some(service) = error.as_service_error() else {
        return Error::Write(format!(
            "catalog: glue:{action} of {of}: {}",
            DisplayErrorContext(error)
        ));
    };
    let code = service.code().unwrap_or("unknown error");
    let said = service.message().unwrap_or_default();
    let help = match code {
        "AccessDeniedException" => format!("; the driver's role needs glue:{action}"),
        "ExpiredTokenException" | "ExpiredToken" => {
            "; the session's credentials have expired: get new ones".to_owned()
        }
        _ => String::new(),
    };
    Error::Write(format!(
        "catalog: glue:{action} of {of}: {code}: {said}{help}"
    ))
}

/// Whether Glue itself returned this error code. `false` for errors of the connection.
fn is<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        == Some(code)
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
            Err(error) if is(&error, "EntityNotFoundException") => Ok(false),
            Err(error) => Err(failed("GetDatabase", database, &error)),
        }
    }

    async fn create_database(&self, database: &str) -> Result<()> {
        let input = DatabaseInput::builder()
            .name(database)
            .build()
            .map_err(|e| Error::Write(format!("catalog: {e}")))?;
        match self
            .client
            .create_database()
            .set_catalog_id(self.id.clone())
            .database_input(input)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is(&error, "AlreadyExistsException") => Ok(()),
            Err(error) => Err(failed("CreateDatabase", database, &error)),
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
                Err(error) if is(&error, "EntityNotFoundException") => return Ok(vec![]),
                Err(error) => return Err(failed("GetTables", database, &error)),
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
            Ok(answer) => Ok(answer.table().map(|table| {
                (
                    definition(table),
                    TableVersion(table.version_id().unwrap_or_default().to_owned()),
                )
            })),
            Err(error) if is(&error, "EntityNotFoundException") => Ok(None),
            Err(error) => Err(failed("GetTable", &format!("{database}.{table}"), &error)),
        }
    }

    async fn create_table(&self, database: &str, table: &TableDefinition) -> Result<Changed> {
        let request = self
            .client
            .create_table()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_input(table_input(table)?);
        match request.send().await {
            Ok(_) => Ok(Changed::Yes),
            Err(error) if is(&error, "AlreadyExistsException") => Ok(Changed::Conflict),
            Err(error) => Err(failed(
                "CreateTable",
                &format!("{database}.{}", table.name),
                &error,
            )),
        }
    }

    async fn update_table(
        &self,
        database: &str,
        table: &TableDefinition,
        version: &TableVersion,
        skip_archive: bool,
    ) -> Result<Changed> {
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
            .skip_archive(skip_archive)
            .send()
            .await
        {
            Ok(_) => Ok(Changed::Yes),
            Err(error) if is(&error, "ConcurrentModificationException") => Ok(Changed::Conflict),
            Err(error) => Err(failed(
                "UpdateTable",
                &format!("{database}.{}", table.name),
                &error,
            )),
        }
    }

    async fn put_statistics(
        &self,
        database: &str,
        table: &str,
        statistics: &[ColumnStatistics],
    ) -> Result<()> {
        let of = format!("{database}.{table}");
        for batch in statistics.chunks(STATISTICS_BATCH) {
            let list: Vec<_> = batch.iter().map(column_statistics).collect::<Result<_>>()?;
            let request = self
                .client
                .update_column_statistics_for_table()
                .set_catalog_id(self.id.clone())
                .database_name(database)
                .table_name(table);
            let answer = request.set_column_statistics_list(Some(list)).send().await;
            let answer = answer.map_err(|e| failed("UpdateColumnStatisticsForTable", &of, &e))?;
            // The request succeeds as a whole even if Glue rejects some of its columns.
            if let Some(error) = answer.errors().first() {
                let said = error
                    .error()
                    .and_then(|e| e.error_message())
                    .unwrap_or_default();
                return Err(Error::Write(format!(
                    "catalog: glue:UpdateColumnStatisticsForTable of {of}: {said}"
                )));
            }
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
        let mut found = vec![];
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|e| failed("GetPartitions", &format!("{database}.{table}"), &e))?;
            for partition in page.partitions() {
                let location = partition
                    .storage_descriptor()
                    .and_then(StorageDescriptor::location)
                    .unwrap_or_default()
                    .to_owned();
                found.push(TablePartition {
                    values: partition.values().to_vec(),
                    location,
                });
            }
        }
        Ok(found)
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
                .map_err(|e| Error::Write(format!("catalog: {e}")))?;
            let request = self
                .client
                .batch_delete_partition()
                .set_catalog_id(self.id.clone())
                .database_name(database)
                .table_name(table);
            let of = format!("{database}.{table}");
            let answer = request
                .set_partitions_to_delete(Some(list))
                .send()
                .await
                .map_err(|e| failed("BatchDeletePartition", &of, &e))?;
            // A repeated registration finds its partitions removed. That is the wanted state.
            let missing =
                |e: &&aws_sdk_glue::types::PartitionError| code(e) == "EntityNotFoundException";
            if let Some(error) = answer.errors().iter().find(|e| !missing(e)) {
                return Err(partition_failed("BatchDeletePartition", &of, error));
            }
        }
        Ok(())
    }
}

impl GlueCatalog {
    /// Creates the new partitions of a batch and updates the existing ones.
    ///
    /// Glue cannot do both in one request. Creating comes first: most partitions of a write are
    /// new, and the response lists exactly those that exist.
    async fn put_batch(
        &self,
        database: &str,
        table: &TableDefinition,
        batch: &[TablePartition],
    ) -> Result<()> {
        let of = format!("{database}.{}", table.name);
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
        let answer = request
            .set_partition_input_list(Some(inputs.clone()))
            .send()
            .await
            .map_err(|e| failed("BatchCreatePartition", &of, &e))?;
        let mut there = vec![];
        // The request succeeds as a whole; each partition that was not created has an error.
        for error in answer.errors() {
            if code(error) != "AlreadyExistsException" {
                return Err(partition_failed("BatchCreatePartition", &of, error));
            }
            there.push(error.partition_values().to_vec());
        }
        if there.is_empty() {
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
            .filter(|input| there.iter().any(|values| values == input.values()))
            .map(entry);
        let entries: Vec<_> = entries
            .collect::<Result<_, _>>()
            .map_err(|e| Error::Write(format!("catalog: {e}")))?;
        let request = self
            .client
            .batch_update_partition()
            .set_catalog_id(self.id.clone())
            .database_name(database)
            .table_name(&table.name);
        let answer = request
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|e| failed("BatchUpdatePartition", &of, &e))?;
        match answer.errors().first() {
            None => Ok(()),
            Some(error) => {
                let detail = error.error_detail();
                let code = detail
                    .and_then(|d| d.error_code())
                    .unwrap_or("unknown error");
                let said = detail.and_then(|d| d.error_message()).unwrap_or_default();
                Err(Error::Write(format!(
                    "catalog: glue:BatchUpdatePartition of {of} [{}]: {code}: {said}",
                    error.partition_value_list().join(", ")
                )))
            }
        }
    }
}

/// Returns the error code of one partition of a batch.
fn code(error: &aws_sdk_glue::types::PartitionError) -> &str {
    error
        .error_detail()
        .and_then(|detail| detail.error_code())
        .unwrap_or("unknown error")
}

/// Converts the error of one partition of a batch to one for users.
fn partition_failed(action: &str, of: &str, error: &aws_sdk_glue::types::PartitionError) -> Error {
    let said = error
        .error_detail()
        .and_then(|detail| detail.error_message())
        .unwrap_or_default();
    Error::Write(format!(
        "catalog: glue:{action} of {of} [{}]: {}: {said}",
        error.partition_values().join(", "),
        code(error)
    ))
}

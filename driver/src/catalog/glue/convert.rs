//! Converts tables and partitions between the types of Glue and those of this crate.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_glue::types::{
    Column, PartitionInput, SerDeInfo, StorageDescriptor, Table, TableInput,
};
use faisca_planner::manifest::FileFormat;

use super::super::definition::{TableColumn, TableDefinition, TablePartition};
use super::error::incomplete;
use crate::error::Result;

/// Java class names of the Hive input format, output format and SerDe of a file format.
struct HiveClasses(&'static str, &'static str, &'static str);

const PARQUET: HiveClasses = HiveClasses(
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
);
const CSV: HiveClasses = HiveClasses(
    TEXT_INPUT,
    TEXT_OUTPUT,
    "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
);
// Unlike `LazySimpleSerDe`, this one understands quoted fields.
const QUOTED_CSV: HiveClasses = HiveClasses(
    TEXT_INPUT,
    TEXT_OUTPUT,
    "org.apache.hadoop.hive.serde2.OpenCSVSerde",
);
const JSON: HiveClasses = HiveClasses(
    TEXT_INPUT,
    TEXT_OUTPUT,
    "org.openx.data.jsonserde.JsonSerDe",
);
const TEXT_INPUT: &str = "org.apache.hadoop.mapred.TextInputFormat";
const TEXT_OUTPUT: &str = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat";

/// Converts a column to the type of Glue.
pub(super) fn column(column: &TableColumn) -> Result<Column> {
    let built = Column::builder()
        .name(&column.name)
        .r#type(&column.hive_type)
        .set_comment(column.comment.clone())
        .build();
    built.map_err(incomplete)
}

/// Describes the files of a table, or those of one of its partitions, at `location`.
fn storage(table: &TableDefinition, location: &str) -> Result<StorageDescriptor> {
    let HiveClasses(input, output, library) = match table.format {
        FileFormat::Parquet => PARQUET,
        // Only `OpenCSVSerde` has this parameter; `LazySimpleSerDe` calls it `field.delim`.
        FileFormat::Csv if table.serde.contains_key("separatorChar") => QUOTED_CSV,
        FileFormat::Csv => CSV,
        FileFormat::Ndjson => JSON,
    };
    let mut parameters: HashMap<String, String> = table.serde.clone().into_iter().collect();
    if parameters.is_empty() {
        // Hive writes this parameter for every table, so this does, too.
        parameters.insert("serialization.format".to_owned(), "1".to_owned());
    }
    let serde = SerDeInfo::builder()
        .serialization_library(library)
        .set_parameters(Some(parameters))
        .build();
    Ok(StorageDescriptor::builder()
        .set_columns(Some(
            table.columns.iter().map(column).collect::<Result<_>>()?,
        ))
        .location(location)
        .input_format(input)
        .output_format(output)
        .serde_info(serde)
        .compressed(false)
        // Minus one means that the table has no Hive buckets.
        .number_of_buckets(-1)
        .stored_as_sub_directories(false)
        .build())
}

/// Converts a table to the input of a request to create or update it.
pub(super) fn table_input(table: &TableDefinition) -> Result<TableInput> {
    let input = TableInput::builder()
        .name(&table.name)
        .table_type("EXTERNAL_TABLE")
        .set_description(table.comment.clone())
        .set_parameters(Some(table.parameters.clone().into_iter().collect()))
        .set_partition_keys(Some(
            table
                .partition_keys
                .iter()
                .map(column)
                .collect::<Result<_>>()?,
        ))
        .storage_descriptor(storage(table, &table.location)?)
        .build();
    input.map_err(incomplete)
}

/// Converts a partition to the input of a request. Glue stores the columns and the format with each
/// partition, so they come from the table.
pub(super) fn partition_input(
    table: &TableDefinition,
    partition: &TablePartition,
) -> Result<PartitionInput> {
    Ok(PartitionInput::builder()
        .set_values(Some(partition.values.clone()))
        .set_parameters(
            table
                .parameters
                .get("classification")
                .map(|value| HashMap::from([("classification".to_owned(), value.clone())])),
        )
        .storage_descriptor(storage(table, &partition.location)?)
        .build())
}

/// Converts a table of Glue. Its classification decides the format, then its SerDe; a table with
/// neither is read as Parquet.
pub(super) fn definition(table: &Table) -> TableDefinition {
    let converted = |columns: &[Column]| {
        let column = |c: &Column| TableColumn {
            name: c.name().to_lowercase(),
            hive_type: c.r#type().unwrap_or("string").to_owned(),
            comment: c
                .comment()
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
        };
        columns.iter().map(column).collect()
    };
    let parameters: BTreeMap<String, String> = table
        .parameters()
        .map(|p| p.clone().into_iter().collect())
        .unwrap_or_default();
    let storage = table.storage_descriptor();
    let serde_parameters = storage
        .and_then(StorageDescriptor::serde_info)
        .and_then(SerDeInfo::parameters);
    let serde_parameters = serde_parameters
        .map(|p| p.clone().into_iter().collect())
        .unwrap_or_default();
    let serde = storage
        .and_then(StorageDescriptor::serde_info)
        .and_then(SerDeInfo::serialization_library)
        .unwrap_or_default();
    let classification = parameters
        .get("classification")
        .map(String::as_str)
        .unwrap_or_default();
    let format = match (serde.to_lowercase(), classification) {
        (_, "json") => FileFormat::Ndjson,
        (_, "csv") => FileFormat::Csv,
        (serde, _) if serde.contains("json") => FileFormat::Ndjson,
        (serde, _) if serde.contains("csv") || serde.contains("lazysimple") => FileFormat::Csv,
        _ => FileFormat::Parquet,
    };
    TableDefinition {
        name: table.name().to_lowercase(),
        columns: storage.map(|s| converted(s.columns())).unwrap_or_default(),
        partition_keys: converted(table.partition_keys()),
        location: storage
            .and_then(StorageDescriptor::location)
            .unwrap_or_default()
            .to_owned(),
        format,
        comment: table
            .description()
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        parameters,
        // Queries use these parameters for CSV only.
        serde: if format == FileFormat::Csv {
            serde_parameters
        } else {
            BTreeMap::new()
        },
    }
}

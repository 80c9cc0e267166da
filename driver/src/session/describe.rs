//! Runs DESCRIBE: the columns of tables and queries, and what is known of tables, functions and databases.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Schema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Documentation;
use faisca_planner::manifest::did_you_mean;
use faisca_spark::commands::Describe;
use faisca_spark::types::name_of;

use super::command_rows::{format_name, pair_rows, rows, table_schema, text_rows};
use super::dataframe::DataFrame;
use super::existing::{registered_table, use_database};
use super::unknown_names::unknown_function;
use crate::error::{Error, NameKind, Result};
use crate::input::{Ownership, TableDetails};
use crate::services::Services;

/// A row of DESCRIBE: name, type and comment.
type Row = (String, String, Option<String>);

/// Returns the rows of a DESCRIBE.
pub(super) fn run(services: &Arc<Services>, describe: Describe) -> Result<DataFrame> {
    match describe {
        Describe::Table {
            table,
            column: Some(column),
            ..
        } => describe_column(services, &table, &column),
        Describe::Table {
            table, is_extended, ..
        } => describe_table(services, &table, is_extended),
        Describe::Function(name) => describe_function(services, &name.to_lowercase()),
        Describe::Database(name) => {
            use_database(&name)?;
            let facts = [
                ("Catalog Name", "spark_catalog"),
                ("Namespace Name", "default"),
                ("Comment", ""),
                ("Location", services.warehouse.as_str()),
            ];
            facts_about(services, &facts)
        }
    }
}

/// Returns the columns of a query, which does not run.
pub(super) fn describe_query(services: &Arc<Services>, query: &DataFrame) -> Result<DataFrame> {
    let columns = column_rows(&query.schema(), &TableDetails::default());
    description(services, &columns)
}

fn column_rows(schema: &Schema, details: &TableDetails) -> Vec<Row> {
    let fields = schema.fields().iter();
    let row = |name: &String, data_type: &DataType| {
        let comment = details.column_comments.get(&name.to_lowercase());
        (name.clone(), name_of(data_type), comment.cloned())
    };
    fields
        .map(|field| row(field.name(), field.data_type()))
        .collect()
}

fn describe_table(
    services: &Arc<Services>,
    table: &[String],
    is_extended: bool,
) -> Result<DataFrame> {
    let name = registered_table(services, table)?;
    let details = services.tables.details(&name);
    let mut lines = column_rows(&table_schema(services, &name), &details);
    let Some(files) = services.tables.files(&name) else {
        return description(services, &lines);
    };
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned(), Some(String::new()));
    if !files.partition_by.is_empty() {
        let keys: Vec<Row> = files
            .partition_by
            .iter()
            .filter_map(|key| {
                let is_key = |row: &&Row| row.0.eq_ignore_ascii_case(key);
                lines.iter().find(is_key).cloned()
            })
            .collect();
        lines.push(text("# Partition Information", ""));
        let header = Some("comment".to_owned());
        lines.push(("# col_name".to_owned(), "data_type".to_owned(), header));
        lines.extend(keys);
    }
    if is_extended {
        let kind = match files.ownership {
            Ownership::Managed => "MANAGED",
            Ownership::External => "EXTERNAL",
        };
        lines.push(text("", ""));
        lines.push(text("# Detailed Table Information", ""));
        lines.push(text("Catalog", "spark_catalog"));
        lines.push(text("Database", "default"));
        lines.push(text("Table", &name));
        lines.push(text("Type", kind));
        lines.push(text("Provider", format_name(&files)));
        if let Some(comment) = &details.comment {
            lines.push(text("Comment", comment));
        }
        if !details.properties.is_empty() {
            let properties = details.properties.iter();
            let properties = properties.map(|(name, value)| format!("{name}={value}"));
            let properties = properties.collect::<Vec<_>>().join(", ");
            lines.push(text("Table Properties", &format!("[{properties}]")));
        }
        lines.push(text("Location", &files.source.path));
    }
    description(services, &lines)
}

fn describe_column(services: &Arc<Services>, table: &[String], column: &str) -> Result<DataFrame> {
    let name = registered_table(services, table)?;
    let details = services.tables.details(&name);
    let lines = column_rows(&table_schema(services, &name), &details);
    let Some((name, data_type, comment)) = lines
        .iter()
        .find(|(name, ..)| name.to_lowercase() == column.to_lowercase())
    else {
        let names = lines.iter().map(|(name, ..)| name.as_str());
        let help = did_you_mean(column, names, || {
            "DESCRIBE the table for its columns".to_owned()
        });
        return Err(Error::UnknownName {
            kind: NameKind::Column,
            name: column.to_owned(),
            help,
        });
    };
    let comment = comment.clone().unwrap_or_else(|| "NULL".to_owned());
    let facts = [
        ("col_name", name.as_str()),
        ("data_type", data_type.as_str()),
        ("comment", comment.as_str()),
    ];
    facts_about(services, &facts)
}

fn describe_function(services: &Arc<Services>, name: &str) -> Result<DataFrame> {
    let state = services.context.state();
    let Some((kind, documentation)) = function(&state, name) else {
        return Err(unknown_function(&state, name));
    };
    let mut lines = vec![format!("Function: {name}"), format!("Type: {kind}")];
    if let Some(documentation) = documentation {
        let text = documentation.description.trim();
        lines.push(format!("Usage: {} - {text}", documentation.syntax_example));
    }
    text_rows(services, "function_desc", lines)
}

/// Returns the kind of a function, and its documentation if it has one.
fn function<'a>(
    state: &'a SessionState,
    name: &str,
) -> Option<(&'static str, Option<&'a Documentation>)> {
    if let Some(function) = state.scalar_functions().get(name) {
        return Some(("scalar", function.documentation()));
    }
    if let Some(function) = state.aggregate_functions().get(name) {
        return Some(("aggregate", function.documentation()));
    }
    if let Some(function) = state.window_functions().get(name) {
        return Some(("window", function.documentation()));
    }
    let is_known = state.higher_order_functions().contains_key(name);
    is_known.then_some(("scalar", None))
}

fn description(services: &Arc<Services>, lines: &[Row]) -> Result<DataFrame> {
    let names: StringArray = lines.iter().map(|row| Some(row.0.as_str())).collect();
    let types: StringArray = lines.iter().map(|row| Some(row.1.as_str())).collect();
    let comments: StringArray = lines.iter().map(|row| row.2.as_deref()).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("col_name", Arc::new(names)),
        ("data_type", Arc::new(types)),
        ("comment", Arc::new(comments)),
    ];
    rows(services, columns)
}

fn facts_about(services: &Arc<Services>, facts: &[(&str, &str)]) -> Result<DataFrame> {
    let facts = facts.iter();
    let facts = facts.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    pair_rows(services, ["info_name", "info_value"], facts.collect())
}

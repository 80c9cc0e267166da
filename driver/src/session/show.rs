//! Runs SHOW: lists tables, columns, partitions, functions and properties of a session.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use faisca_spark::columns::quote_name;
use faisca_spark::commands::{FunctionKind, Show};
use faisca_spark::legacy::{Legacy, Obedience};
use faisca_spark::types::name_of;

use super::alter_table::{describe_partition, find_partitions, partitioned_table};
use super::command_rows::{format_name, pair_rows, rows, table_schema, text_rows};
use super::dataframe::DataFrame;
use super::existing::{registered_table, use_database};
use super::settings::{ANSI_ENABLED, TIME_ZONE, datafusion_setting};
use crate::error::{Error, Result};
use crate::input::Ownership;
use crate::services::Services;

/// Returns the rows of a SHOW.
pub(super) async fn run(services: &Arc<Services>, show: Show) -> Result<DataFrame> {
    match show {
        Show::Databases { pattern } => {
            let names = matching(["default".to_owned()], pattern.as_deref());
            text_rows(services, "namespace", names)
        }
        Show::Catalogs { pattern } => {
            let names = matching(["spark_catalog".to_owned()], pattern.as_deref());
            text_rows(services, "catalog", names)
        }
        Show::CurrentDatabase => {
            let current = ("spark_catalog".to_owned(), "default".to_owned());
            pair_rows(services, ["catalog", "namespace"], vec![current])
        }
        Show::Tables { database, pattern } => {
            database.as_deref().map_or(Ok(()), use_database)?;
            let names = matching(services.tables.names(), pattern.as_deref());
            tables(services, "tableName", names)
        }
        Show::Views { database, pattern } => {
            database.as_deref().map_or(Ok(()), use_database)?;
            let mut names = matching(services.tables.names(), pattern.as_deref());
            names.retain(|name| services.tables.files(name).is_none());
            tables(services, "viewName", names)
        }
        Show::Columns { table } => columns(services, &table),
        Show::Partitions { table, partition } => {
            let table = partitioned_table(services, &table)?;
            let files = find_partitions(services, &table, &partition).await?;
            let names: BTreeSet<String> = files
                .iter()
                .map(|file| describe_partition(&file.keys))
                .collect();
            text_rows(services, "partition", names.into_iter().collect())
        }
        Show::CreateTable { table } => create_table(services, &table),
        Show::Properties { table, key } => properties(services, &table, key.as_deref()),
        Show::Functions { kind, pattern } => {
            let names = match kind {
                FunctionKind::User => Vec::new(),
                FunctionKind::All | FunctionKind::System => functions(services),
            };
            text_rows(services, "function", matching(names, pattern.as_deref()))
        }
        Show::Settings { name } => settings(services, name),
    }
}

/// Returns the sorted names that a pattern allows.
fn matching(names: impl IntoIterator<Item = String>, pattern: Option<&str>) -> Vec<String> {
    let names: BTreeSet<String> = names
        .into_iter()
        .filter(|name| pattern.is_none_or(|pattern| matches_pattern(name, pattern)))
        .collect();
    names.into_iter().collect()
}

/// Returns tables with the columns of Spark's SHOW TABLES and SHOW VIEWS.
fn tables(services: &Arc<Services>, column: &str, names: Vec<String>) -> Result<DataFrame> {
    // Tables with files are in the database `default`; views belong to the session.
    let temporary: Vec<bool> = names
        .iter()
        .map(|name| services.tables.files(name).is_none())
        .collect();
    let namespaces = temporary
        .iter()
        .map(|temporary| if *temporary { "" } else { "default" });
    let namespaces: StringArray = namespaces.map(Some).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("namespace", Arc::new(namespaces)),
        (column, Arc::new(StringArray::from(names))),
        ("isTemporary", Arc::new(BooleanArray::from(temporary))),
    ];
    rows(services, columns)
}

fn columns(services: &Arc<Services>, table: &[String]) -> Result<DataFrame> {
    let name = registered_table(services, table)?;
    let schema = table_schema(services, &name);
    let names = schema.fields().iter().map(|field| field.name().clone());
    text_rows(services, "col_name", names.collect())
}

fn functions(services: &Arc<Services>) -> Vec<String> {
    let state = services.context.state();
    state
        .scalar_functions()
        .keys()
        .chain(state.higher_order_functions().keys())
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys())
        .cloned()
        .collect()
}

fn properties(services: &Arc<Services>, table: &[String], key: Option<&str>) -> Result<DataFrame> {
    let name = registered_table(services, table)?;
    let details = services.tables.details(&name);
    let mut known: Vec<(String, String)> = details.properties.into_iter().collect();
    if let Some(key) = key {
        known.retain(|(name, _)| name == key);
        if known.is_empty() {
            let missing =
                format!("Table spark_catalog.default.{name} does not have property: {key}");
            known.push((key.to_owned(), missing));
        }
    }
    pair_rows(services, ["key", "value"], known)
}

/// Returns a statement that creates the table again.
fn create_table(services: &Arc<Services>, table: &[String]) -> Result<DataFrame> {
    let name = registered_table(services, table)?;
    let (Some(provider), Some(files)) = (
        services.tables.provider(&name),
        services.tables.files(&name),
    ) else {
        return Err(Error::Plan(format!(
            "SHOW CREATE TABLE {name}: it is a view or in memory; only tables of files have a definition to show"
        )));
    };
    let details = services.tables.details(&name);
    let columns = provider.schema();
    let columns = columns.fields().iter().map(|field| {
        let comment = details.column_comments.get(&field.name().to_lowercase());
        let comment = comment.map_or_else(String::new, |text| format!(" COMMENT {}", quoted(text)));
        let data_type = name_of(field.data_type());
        let data_type = match data_type.contains('<') {
            true => data_type,
            false => data_type.to_uppercase(),
        };
        format!("  {} {data_type}{comment}", identifier(field.name()))
    });
    let columns = columns.collect::<Vec<_>>().join(",\n");
    let mut text = format!(
        "CREATE TABLE spark_catalog.default.{} (\n{columns})\nUSING {}\n",
        identifier(&name),
        format_name(&files)
    );
    text.push_str(&pairs("OPTIONS", &details.options));
    if !files.partition_by.is_empty() {
        let keys = files.partition_by.iter().map(|key| identifier(key));
        let keys = keys.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("PARTITIONED BY ({keys})\n"));
    }
    if let Some(comment) = &details.comment {
        text.push_str(&format!("COMMENT {}\n", quoted(comment)));
    }
    if files.ownership == Ownership::External {
        text.push_str(&format!("LOCATION {}\n", quoted(&files.source.path)));
    }
    let properties: Vec<(String, String)> = details.properties.into_iter().collect();
    text.push_str(&pairs("TBLPROPERTIES", &properties));
    text_rows(services, "createtab_stmt", vec![text])
}

fn pairs(clause: &str, pairs: &[(String, String)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let pairs = pairs.iter();
    let pairs = pairs.map(|(name, value)| format!("  {} = {}", quoted(name), quoted(value)));
    format!("{clause} (\n{})\n", pairs.collect::<Vec<_>>().join(",\n"))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Returns a name, in backticks if it needs them.
fn identifier(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    match is_plain {
        true => name.to_owned(),
        false => quote_name(name),
    }
}

/// Returns settings with their values.
fn settings(services: &Arc<Services>, name: Option<String>) -> Result<DataFrame> {
    let names = match name {
        Some(name) => vec![name],
        None => vec![ANSI_ENABLED.to_owned(), TIME_ZONE.to_owned()],
    };
    let state = services.context.state();
    let entries = state.config_options().entries();
    let value = |name: &str| {
        if let Some(own) = datafusion_setting(name) {
            let entry = entries.iter().find(|entry| entry.key == own);
            return entry.and_then(|entry| entry.value.clone());
        }
        match Legacy::obedience(name, "") {
            Obedience::Refuses(held) => Some(held.to_owned()),
            _ => None,
        }
    };
    let settings = names.into_iter().map(|name| {
        let value = value(&name).unwrap_or_else(|| "<undefined>".to_owned());
        (name, value)
    });
    pair_rows(services, ["key", "value"], settings.collect())
}

/// Returns true if a name matches one of the alternatives of a pattern, in which `|` separates
/// alternatives and `*` is any text.
fn matches_pattern(name: &str, pattern: &str) -> bool {
    pattern.split('|').any(|alternative| {
        let alternative = alternative.trim().to_lowercase();
        let mut parts = alternative.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let parts: Vec<&str> = parts.collect();
        let Some((last, between)) = parts.split_last() else {
            return rest.is_empty();
        };
        for part in between {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_alternatives_and_stars() {
        for (name, pattern, expected) in [
            ("sales_2020", "sales*", true),
            ("sales_2020", "*2020", true),
            ("sales_2020", "s*s_*0", true),
            ("sales_2020", "sales", false),
            ("sales", "x|SALES", true),
            ("aba", "ab*ba", false),
        ] {
            assert_eq!(matches_pattern(name, pattern), expected, "{name} {pattern}");
        }
    }
}

//! Runs Spark's statements about a session: SET, RESET, USE, SHOW, TRUNCATE, and hints that have no
//! effect here.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::config::ConfigExtension;
use datafusion::logical_expr::{LogicalPlan, ResetVariable, SetVariable, Statement};
use faisca_spark::commands::SessionCommand;
use faisca_spark::legacy::{LEGACY, Legacy, Obedience};
use tracing::warn;

use super::create_table::{table_name, truncate_table};
use super::dataframe::DataFrame;
use super::existing::unknown_table;
use super::settings::{ANSI_ENABLED, TIME_ZONE};
use crate::error::{Error, Result};
use crate::services::Services;

/// Runs a statement about the session. Returns rows for a statement that shows something.
pub(super) async fn run_command(
    services: &Arc<Services>,
    command: SessionCommand,
) -> Result<Option<DataFrame>> {
    match command {
        SessionCommand::Set { name, value } => set(services, &name, &value).await?,
        SessionCommand::Reset { name } => reset(services, name.as_deref()).await?,
        SessionCommand::Truncate { name } => truncate_table(services, &name).await?,
        SessionCommand::Use { name } => use_database(&name)?,
        SessionCommand::ShowDatabases => {
            return text_rows(services, "namespace", vec!["default".to_owned()]).map(Some);
        }
        SessionCommand::ShowTables { database, pattern } => {
            if let Some(database) = database {
                use_database(&database)?;
            }
            return show_tables(services, pattern.as_deref()).map(Some);
        }
        SessionCommand::ShowColumns { table } => return show_columns(services, &table).map(Some),
        SessionCommand::NoEffect { statement, table } => {
            if let Some(table) = table {
                registered_table(services, &table)?;
            }
            warn!("{statement} has no effect in Faísca and is ignored");
        }
    }
    Ok(None)
}

/// Returns DataFusion's name for a Spark setting, or `None` if Faísca does not support the setting.
fn datafusion_setting(name: &str) -> Option<&'static str> {
    match name {
        ANSI_ENABLED => Some("datafusion.execution.enable_ansi_mode"),
        TIME_ZONE => Some("datafusion.execution.time_zone"),
        _ => None,
    }
}

/// Applies a Spark setting. An unsupported setting is accepted, so that ported scripts run, and
/// reported in the log.
async fn set(services: &Services, name: &str, value: &str) -> Result<()> {
    if name == "spark.sql.warehouse.dir" {
        return Err(Error::Plan(format!(
            "{name} is fixed when the session starts; set it with --conf"
        )));
    }
    if let Some(own) = datafusion_setting(name) {
        return set_variable(services, own.to_owned(), value.to_owned()).await;
    }
    match Legacy::obedience(name, value) {
        Obedience::Sets(option, value) => {
            let own = format!("{}.{option}", Legacy::PREFIX);
            set_variable(services, own, value.to_string()).await
        }
        Obedience::Holds => Ok(()),
        Obedience::Refuses(held) => Err(Error::Plan(format!(
            "{name} = {value} is not supported: statements would have another meaning; here it is always {held}"
        ))),
        Obedience::Ignores => {
            warn!("{name} has no effect in Faísca and is ignored");
            Ok(())
        }
    }
}

/// Sets a setting of DataFusion.
async fn set_variable(services: &Services, variable: String, value: String) -> Result<()> {
    let set = Statement::SetVariable(SetVariable { variable, value });
    services
        .context
        .execute_logical_plan(LogicalPlan::Statement(set))
        .await?;
    Ok(())
}

/// Resets one setting, or all of them, to Spark's default.
async fn reset(services: &Services, name: Option<&str>) -> Result<()> {
    let names = match name {
        Some(name) => vec![name],
        None => [ANSI_ENABLED, TIME_ZONE]
            .into_iter()
            .chain(LEGACY)
            .collect(),
    };
    for name in names {
        match name {
            ANSI_ENABLED => set(services, ANSI_ENABLED, "true").await?,
            TIME_ZONE => {
                let reset = Statement::ResetVariable(ResetVariable {
                    variable: "datafusion.execution.time_zone".to_owned(),
                });
                services
                    .context
                    .execute_logical_plan(LogicalPlan::Statement(reset))
                    .await?;
            }
            other => match Legacy::obedience(other, "false") {
                Obedience::Sets(..) => set(services, other, "false").await?,
                _ => warn!("{other} has no effect in Faísca and is ignored"),
            },
        }
    }
    Ok(())
}

/// Accepts the databases that every session has. There are no others, so nothing changes.
///
/// # Errors
/// Returns an error for any other database.
fn use_database(name: &[String]) -> Result<()> {
    // `table_name` checks the database of a table, so that any table name will do.
    let mut with_table = name.to_vec();
    with_table.push("t".to_owned());
    table_name(&with_table).map(|_| ())
}

/// Returns the name of a registered table, in lower case and without its database.
///
/// # Errors
/// Returns an error if there is no such table; it suggests the nearest name.
fn registered_table(services: &Arc<Services>, name: &[String]) -> Result<String> {
    let name = table_name(name)?.to_lowercase();
    match services.tables.contains(&name) {
        true => Ok(name),
        false => Err(unknown_table(services, &name)),
    }
}

/// Returns the tables of the session with the columns of Spark's SHOW TABLES.
fn show_tables(services: &Arc<Services>, pattern: Option<&str>) -> Result<DataFrame> {
    let mut names = services.tables.names();
    names.retain(|name| pattern.is_none_or(|pattern| matches_pattern(name, pattern)));
    names.sort();
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
        ("tableName", Arc::new(StringArray::from(names))),
        ("isTemporary", Arc::new(BooleanArray::from(temporary))),
    ];
    rows(services, columns)
}

/// Returns the names of a table's columns, as SHOW COLUMNS.
fn show_columns(services: &Arc<Services>, table: &[String]) -> Result<DataFrame> {
    let name = registered_table(services, table)?;
    let provider = services.tables.provider(&name);
    let names = provider.map_or_else(Vec::new, |provider| {
        let schema = provider.schema();
        let fields = schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    });
    text_rows(services, "col_name", names)
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

fn text_rows(services: &Arc<Services>, column: &str, values: Vec<String>) -> Result<DataFrame> {
    let values: ArrayRef = Arc::new(StringArray::from(values));
    rows(services, [(column, values)])
}

/// Returns a DataFrame of these columns, which are in memory.
fn rows<'a>(
    services: &Arc<Services>,
    columns: impl IntoIterator<Item = (&'a str, ArrayRef)>,
) -> Result<DataFrame> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns
        .into_iter()
        .map(|(name, array)| (Field::new(name, array.data_type().clone(), false), array))
        .unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
    let frame = services
        .context
        .read_batch(batch.map_err(DataFusionError::from)?)?;
    Ok(DataFrame::new(Arc::clone(services), frame))
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

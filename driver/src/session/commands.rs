//! Statements of Spark about a session: its settings, its names, and hints for speed.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, ResetVariable, SetVariable, Statement};
use faisca_spark::commands::SessionCommand;
use tracing::warn;

use super::create_table::{own_name, truncate_table};
use super::dataframe::DataFrame;
use super::existing::unknown_table;
use super::settings::{ANSI_ENABLED, TIME_ZONE};
use crate::error::{Error, Result};
use crate::services::Services;

/// Runs a statement about the session, and returns rows if it shows some.
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
            return tables(services, pattern.as_deref()).map(Some);
        }
        SessionCommand::ShowColumns { table } => return columns(services, &table).map(Some),
        SessionCommand::NoEffect { statement, table } => {
            if let Some(table) = table {
                known_table(services, &table)?;
            }
            warn!("{statement} has no meaning here and is ignored");
        }
    }
    Ok(None)
}

/// DataFusion's name of a setting of Spark that has a meaning here.
fn own_setting(name: &str) -> Option<&'static str> {
    match name {
        ANSI_ENABLED => Some("datafusion.execution.enable_ansi_mode"),
        TIME_ZONE => Some("datafusion.execution.time_zone"),
        _ => None,
    }
}

/// Applies a setting of Spark. What has no meaning here is accepted, so that ported scripts run, and
/// reported in the log.
async fn set(services: &Services, name: &str, value: &str) -> Result<()> {
    if name == "spark.sql.warehouse.dir" {
        return Err(Error::Plan(format!(
            "{name} is fixed when the session starts; give it by --conf"
        )));
    }
    let Some(own) = own_setting(name) else {
        warn!("{name} has no meaning here and is ignored");
        return Ok(());
    };
    let set = Statement::SetVariable(SetVariable {
        variable: own.to_owned(),
        value: value.to_owned(),
    });
    services
        .context
        .execute_logical_plan(LogicalPlan::Statement(set))
        .await?;
    Ok(())
}

/// Gives one setting, or all of them, the value that Spark begins with.
async fn reset(services: &Services, name: Option<&str>) -> Result<()> {
    let names = match name {
        Some(name) => vec![name],
        None => vec![ANSI_ENABLED, TIME_ZONE],
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
            other => warn!("{other} has no meaning here and is ignored"),
        }
    }
    Ok(())
}

fn use_database(name: &[String]) -> Result<()> {
    let mut with_table = name.to_vec();
    with_table.push("t".to_owned());
    own_name(&with_table).map(|_| ())
}

fn known_table(services: &Arc<Services>, name: &[String]) -> Result<String> {
    let name = own_name(name)?.to_lowercase();
    match services.tables.contains(&name) {
        true => Ok(name),
        false => Err(unknown_table(services, &name)),
    }
}

/// The tables of the session, as Spark lists them.
fn tables(services: &Arc<Services>, pattern: Option<&str>) -> Result<DataFrame> {
    let mut names = services.tables.names();
    names.retain(|name| pattern.is_none_or(|pattern| matches_pattern(name, pattern)));
    names.sort();
    // A table with files is in the database; views are the session's.
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

fn columns(services: &Arc<Services>, table: &[String]) -> Result<DataFrame> {
    let name = known_table(services, table)?;
    let provider = services.tables.provider(&name);
    let names = provider.map_or_else(Vec::new, |provider| {
        let schema = provider.schema();
        let fields = schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    });
    text_rows(services, "col_name", names)
}

/// Does a name match one of the alternatives of a pattern, in which `*` is any text?
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

/// Returns columns as the rows of a statement.
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

//! Runs Spark's statements about a session: SET, RESET, USE, CREATE DATABASE, and hints that have no
//! effect here. `describe` and `show` run those that list something, `alter_table` those that change a
//! table.

use std::sync::Arc;

use datafusion::common::config::ConfigExtension;
use datafusion::logical_expr::{LogicalPlan, ResetVariable, SetVariable, Statement};
use faisca_spark::commands::{DatabaseChange, SessionCommand};
use faisca_spark::legacy::{LEGACY, Legacy, Obedience};
use tracing::warn;

use super::alter_table::{alter_table, truncate_partition};
use super::create_table::truncate_table;
use super::dataframe::DataFrame;
use super::existing::{DATABASES, registered_table, use_database};
use super::settings::{ANSI_ENABLED, TIME_ZONE, datafusion_setting};
use super::{describe, show};
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
        SessionCommand::Truncate { name, partition } if partition.is_empty() => {
            truncate_table(services, &name).await?;
        }
        SessionCommand::Truncate { name, partition } => {
            truncate_partition(services, &name, &partition).await?;
        }
        SessionCommand::Alter { table, change } => alter_table(services, &table, change).await?,
        SessionCommand::Database(change) => change_database(&change)?,
        SessionCommand::Describe(describe) => {
            return describe::run(services, describe).map(Some);
        }
        SessionCommand::Show(show) => return show::run(services, show).await.map(Some),
        SessionCommand::Use { name } => use_database(&name)?,
        SessionCommand::NoEffect { statement, table } => {
            if let Some(table) = table {
                registered_table(services, &table)?;
            }
            warn!("{statement} has no effect in Faísca and is ignored");
        }
    }
    Ok(None)
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

/// Creates or drops a database, where nothing has to be done.
///
/// # Errors
/// Returns an error for any other statement: a session has one database.
fn change_database(change: &DatabaseChange) -> Result<()> {
    let is_known = |name: &[String]| DATABASES.contains(&name.join(".").to_lowercase().as_str());
    match change {
        DatabaseChange::Create { name, must_be_new } if is_known(name) => match must_be_new {
            true => Err(Error::Plan(format!(
                "[SCHEMA_ALREADY_EXISTS] the database `{}` exists; write IF NOT EXISTS",
                name.join(".")
            ))),
            false => Ok(()),
        },
        DatabaseChange::Create { name, .. } => Err(Error::Plan(format!(
            "CREATE DATABASE {}: a session has one database, `default`; leave the statement out, and name tables without \
             their database",
            name.join(".")
        ))),
        DatabaseChange::Drop { name, .. } if is_known(name) => Err(Error::Plan(format!(
            "DROP DATABASE {}: the database of a session cannot be dropped; drop its tables",
            name.join(".")
        ))),
        DatabaseChange::Drop { name, must_exist } => match must_exist {
            true => Err(Error::Plan(format!(
                "[SCHEMA_NOT_FOUND] the database `{}` does not exist; write IF EXISTS",
                name.join(".")
            ))),
            false => Ok(()),
        },
    }
}

//! Runs statements about session variables.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame as DfDataFrame;
use faisca_planner::statement::parse_with;
use faisca_spark::commands::VariableChange;
use faisca_spark::legacy::Legacy;

use super::dataframe::DataFrame;
use super::lateral_aliases::plan_with_aliases;
use super::sql_types::whole_sql_type;
use crate::error::{Error, Result};
use crate::input::Variable;
use crate::services::Services;

/// Creates, changes or removes variables.
pub(super) async fn change_variables(
    services: &Arc<Services>,
    change: VariableChange,
) -> Result<()> {
    match change {
        VariableChange::Declare {
            names,
            data_type,
            default,
            or_replace,
        } => {
            for name in &names {
                if !or_replace && services.variables.get(name).is_some() {
                    return Err(Error::Plan(format!(
                        "[VARIABLE_ALREADY_EXISTS] the variable {name} exists; write OR REPLACE"
                    )));
                }
            }
            let default = default.unwrap_or_else(|| "NULL".to_owned());
            let query = match &data_type {
                Some(data_type) => format!("SELECT CAST(({default}) AS {data_type})"),
                None => format!("SELECT ({default})"),
            };
            let value = row(services, &query, 1).await?.remove(0);
            let sql_type = data_type.unwrap_or_else(|| whole_sql_type(&value.data_type()));
            for name in &names {
                let variable = Variable {
                    value: value.clone(),
                    sql_type: sql_type.clone(),
                    default: default.clone(),
                };
                services.variables.set(name, variable);
            }
            Ok(())
        }
        VariableChange::Assign(assignments) => {
            let mut values = Vec::with_capacity(assignments.len());
            // All values are computed from those before the statement.
            for (name, expression) in assignments {
                let variable = known(services, &name)?;
                let expression = match expression.eq_ignore_ascii_case("DEFAULT") {
                    true => &variable.default,
                    false => &expression,
                };
                let query = format!("SELECT CAST(({expression}) AS {})", variable.sql_type);
                let value = row(services, &query, 1).await?.remove(0);
                values.push((name, Variable { value, ..variable }));
            }
            for (name, variable) in values {
                services.variables.set(&name, variable);
            }
            Ok(())
        }
        VariableChange::AssignRow { names, query } => assign_row(services, &names, &query).await,
        VariableChange::Drop { name, must_exist } => {
            let existed = services.variables.remove(&name);
            match existed || !must_exist {
                true => Ok(()),
                false => known(services, &name).map(drop),
            }
        }
    }
}

/// Assigns the columns of a query's only row.
async fn assign_row(services: &Arc<Services>, names: &[String], query: &str) -> Result<()> {
    let columns = (0..names.len())
        .map(|n| format!("c{n}"))
        .collect::<Vec<_>>();
    let mut casts = Vec::with_capacity(names.len());
    for (name, column) in names.iter().zip(&columns) {
        let sql_type = known(services, name)?.sql_type;
        casts.push(format!("CAST({column} AS {sql_type})"));
    }
    let query = format!(
        "SELECT {} FROM ({query}) AS r ({})",
        casts.join(", "),
        columns.join(", ")
    );
    let values = row(services, &query, names.len()).await?;
    for (name, value) in names.iter().zip(values) {
        let variable = known(services, name)?;
        services.variables.set(name, Variable { value, ..variable });
    }
    Ok(())
}

fn known(services: &Services, name: &str) -> Result<Variable> {
    services.variables.get(name).ok_or_else(|| {
        Error::Plan(format!(
            "[UNRESOLVED_VARIABLE] there is no variable {name}; create it with DECLARE {name}"
        ))
    })
}

/// Returns the only row of a query, or nulls if it has none.
async fn row(services: &Arc<Services>, query: &str, width: usize) -> Result<Vec<ScalarValue>> {
    let state = services.context.state();
    let options = state.config_options();
    let legacy = Legacy::of_session(options);
    let parsed = parse_with(query, &options.sql_parser, &legacy)?;
    let plan = plan_with_aliases(&state, parsed).await?;
    let frame = DataFrame::new(Arc::clone(services), DfDataFrame::new(state, plan));
    let types = frame.schema();
    let batches = frame.collect().await?;
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    if rows > 1 {
        return Err(Error::Plan(format!(
            "[ROW_SUBQUERY_TOO_MANY_ROWS] a variable takes one value, and the query returns {rows} rows"
        )));
    }
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() == 1) else {
        let nulls = types.fields().iter().take(width);
        let nulls = nulls.map(|field| ScalarValue::try_from(field.data_type()));
        return Ok(nulls.collect::<std::result::Result<_, _>>()?);
    };
    let values = batch.columns().iter().take(width);
    let values = values.map(|column| ScalarValue::try_from_array(column, 0));
    Ok(values.collect::<std::result::Result<_, _>>()?)
}

//! Plans statements whose select lists refer to aliases of the same list: `SELECT a + 1 AS b, b *
//! 2`.
//!
//! A column of a table hides an alias of the same name, so only planning can resolve a name. If
//! planning finds no column of that name, the alias is replaced with its expression, and the
//! statement is planned again. Session variables are resolved in the same way: a column or an alias
//! of their name wins.

use datafusion::common::{DataFusionError, Result, SchemaError};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::variable::VarType;
use faisca_spark::coercion::resolve;
use faisca_spark::dialect::{
    expand_lateral_alias, functions_as_columns, qualified_variables, unqualified_variable,
};

use super::wildcard::plan_statement;

/// Maximum number of aliases that are replaced in one statement.
const ALIASES_MAX: usize = 100;

/// Plans a statement with Spark's types.
///
/// # Errors
/// Returns an error if the statement cannot be planned.
pub(super) async fn plan_with_aliases(
    state: &SessionState,
    statement: Statement,
) -> Result<LogicalPlan> {
    // A column hides a function of its name, such as `current_date`.
    if let Statement::Statement(original) = &statement {
        let mut with_columns = original.as_ref().clone();
        if functions_as_columns(&mut with_columns)
            && let Ok(plan) =
                plan_expanded(state, Statement::Statement(Box::new(with_columns))).await
        {
            return Ok(plan);
        }
    }
    plan_expanded(state, statement).await
}

async fn plan_expanded(state: &SessionState, mut statement: Statement) -> Result<LogicalPlan> {
    let variables = state
        .execution_props()
        .get_var_provider(VarType::UserDefined);
    let is_variable = |name: &str| {
        let names = [format!("@{}", name.to_lowercase())];
        variables
            .as_ref()
            .is_some_and(|variables| variables.get_type(&names).is_some())
    };
    if let Statement::Statement(statement) = &mut statement {
        qualified_variables(statement.as_mut(), is_variable);
    }
    for _ in 0..ALIASES_MAX {
        let error = match plan_statement(state, statement.clone()).await {
            Ok(plan) => return resolve(plan),
            Err(error) => error,
        };
        let is_expanded = match (&mut statement, unknown_column(&error)) {
            (Statement::Statement(statement), Some(name)) => {
                expand_lateral_alias(statement.as_mut(), name)
                    || is_variable(name) && unqualified_variable(statement.as_mut(), name)?
            }
            _ => false,
        };
        if !is_expanded {
            return Err(error);
        }
    }
    plan_statement(state, statement).await.and_then(resolve)
}

/// Returns the unqualified column name that planning did not find.
fn unknown_column(error: &DataFusionError) -> Option<&str> {
    match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => match schema_error.as_ref() {
            SchemaError::FieldNotFound { field, .. } if field.relation.is_none() => {
                Some(&field.name)
            }
            _ => None,
        },
        _ => None,
    }
}

//! Plans `SELECT * FROM …` in time proportional to the number of columns.
//!
//! For each item of a select list, DataFusion 55 formats the names of all items before it, to
//! remove duplicates (`push_projection_dedupl` in `datafusion-sql`). With 8,000 columns this takes
//! a minute. The statement is therefore planned with `SELECT true`, and the wildcard is inserted
//! into the plan.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::WildcardOptions;
use datafusion::logical_expr::select_expr::SelectExpr;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectFlavor, SelectItem, SetExpr, Statement as SqlStatement,
    Value,
};

/// Plans a statement as [`SessionState::statement_to_plan`] does.
///
/// # Errors
/// Returns an error if the statement cannot be planned.
pub(super) async fn plan_statement(
    state: &SessionState,
    statement: Statement,
) -> Result<LogicalPlan> {
    if let Some(rewritten) = without_wildcard(&statement)
        && let Some(plan) = with_wildcard(state.statement_to_plan(rewritten).await?)?
    {
        return Ok(plan);
    }
    state.statement_to_plan(statement).await
}

/// Returns the statement with `SELECT true` for `SELECT *`, or `None` if it selects anything else,
/// or has a clause that needs the selected columns.
fn without_wildcard(statement: &Statement) -> Option<Statement> {
    let Statement::Statement(statement) = statement else {
        return None;
    };
    let SqlStatement::Query(query) = statement.as_ref() else {
        return None;
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    if !is_plain_query(query) || !is_plain_wildcard(select) {
        return None;
    }
    let mut query = query.clone();
    let mut select = select.clone();
    let constant = Expr::value(Value::Boolean(true));
    select.projection = vec![SelectItem::UnnamedExpr(constant)];
    query.body = Box::new(SetExpr::Select(select));
    let statement = SqlStatement::Query(query);
    Some(Statement::Statement(Box::new(statement)))
}

fn is_plain_query(query: &Query) -> bool {
    query.order_by.is_none() && query.for_clause.is_none() && query.pipe_operators.is_empty()
}

/// Returns true for `SELECT * FROM … [WHERE …]` without any other clause.
fn is_plain_wildcard(select: &Select) -> bool {
    let is_wildcard = match select.projection.as_slice() {
        [SelectItem::Wildcard(options)] => options.to_string().is_empty(),
        _ => false,
    };
    let has_groups = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
    };
    is_wildcard
        && !has_groups
        && !select.from.is_empty()
        && select.flavor == SelectFlavor::Standard
        && select.distinct.is_none()
        && select.top.is_none()
        && select.exclude.is_none()
        && select.into.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.prewhere.is_none()
        && select.value_table_mode.is_none()
        && select.lateral_views.is_empty()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.named_window.is_empty()
}

/// Replaces the projection of a planned `SELECT true` with one of all columns. Returns `None` if
/// the plan has another form.
fn with_wildcard(plan: LogicalPlan) -> Result<Option<LogicalPlan>> {
    Ok(match plan {
        LogicalPlan::Limit(mut limit) => {
            let input = with_wildcard(limit.input.as_ref().clone())?;
            input.map(|input| {
                limit.input = Arc::new(input);
                LogicalPlan::Limit(limit)
            })
        }
        LogicalPlan::Projection(projection) => {
            let wildcard = SelectExpr::Wildcard(WildcardOptions::default());
            let input = Arc::unwrap_or_clone(projection.input);
            let builder = LogicalPlanBuilder::from(input).project([wildcard])?;
            Some(builder.build()?)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn plans_are_those_of_datafusion() {
        let context = SessionContext::new();
        for table in [
            "CREATE TABLE t AS SELECT 1 AS a, 2 AS b",
            "CREATE TABLE u AS SELECT 1 AS b, 3 AS c",
        ] {
            context.sql(table).await.unwrap().collect().await.unwrap();
        }
        let state = context.state();
        let dialect = state.config_options().sql_parser.dialect;
        let parse = |sql: &str| state.sql_to_statement(sql, &dialect).unwrap();
        for (sql, is_rewritten) in [
            ("SELECT * FROM t", true),
            ("SELECT * FROM t WHERE a > 1 LIMIT 5 OFFSET 2", true),
            ("SELECT * FROM t JOIN u USING (b)", true),
            ("SELECT * FROM t NATURAL JOIN u WHERE c = 3", true),
            ("SELECT * FROM t, u AS v WHERE t.b = v.b", true),
            ("WITH w AS (SELECT a FROM t) SELECT * FROM w", true),
            ("SELECT * FROM (SELECT DISTINCT a FROM t) AS s", true),
            ("SELECT * FROM t ORDER BY a", false),
            ("SELECT DISTINCT * FROM t", false),
            ("SELECT * EXCEPT (a) FROM t", false),
            ("SELECT *, 1 FROM t", false),
            ("SELECT t.* FROM t", false),
            ("SELECT * FROM t UNION SELECT * FROM u", false),
        ] {
            let statement = parse(sql);
            assert_eq!(
                without_wildcard(&statement).is_some(),
                is_rewritten,
                "{sql}"
            );
            let expected = state.create_logical_plan(sql).await.unwrap();
            let plan = plan_statement(&state, statement).await.unwrap();
            assert_eq!(plan, expected, "{sql}");
            assert_eq!(plan.schema(), expected.schema(), "{sql}");
        }
        let unknown = plan_statement(&state, parse("SELECT * FROM t WHERE x = 1")).await;
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("No field named x")
        );
    }
}

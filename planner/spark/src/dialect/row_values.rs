//! Rewrites `(a, b) IN (SELECT x, y …)` as EXISTS.
//!
//! ```text
//! (a, b) IN (SELECT x, y FROM t)
//!   ──▶ EXISTS (SELECT 1 FROM (SELECT x, y FROM t) AS __row (__value_0, __value_1)
//!               WHERE a = __value_0 AND b = __value_1)
//! (a, b) NOT IN (SELECT x, y FROM t)
//!   ──▶ NOT EXISTS (… WHERE (a = __value_0 OR a IS NULL OR __value_0 IS NULL) AND (b = __value_1 OR …))
//! ```
//!
//! A null makes the comparison of its column unknown: a row is NOT IN only if it differs from every
//! row in a column that is known on both sides. Where IN is unknown, Spark returns false, as EXISTS
//! does.

use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Query, SelectItem, SetExpr, TableAliasColumnDef,
    TableFactor, Value,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::syntax::SparkDialect;

/// A query whose table and condition are replaced.
const TEMPLATE: &str = "SELECT 1 FROM (SELECT 1) AS __row WHERE true";

/// Rewrites a row that is compared with those of a subquery; other expressions stay as they are.
///
/// # Errors
/// If the row has other rows or queries in it.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    let Expr::InSubquery {
        expr: row,
        subquery,
        negated,
    } = expr
    else {
        return Ok(());
    };
    let mut row = row.as_mut();
    while let Expr::Nested(nested) = row {
        row = nested;
    }
    let Expr::Tuple(values) = row else {
        return Ok(());
    };
    let is_negated = *negated;
    if values
        .iter()
        .any(|value| matches!(value, Expr::Subquery(_)))
    {
        return plan_err!(
            "a row that is compared by IN cannot have a subquery in it; join its table instead"
        );
    }
    let (values, subquery) = (std::mem::take(values), subquery.as_ref().clone());
    *expr = Expr::Exists {
        subquery: Box::new(comparison(values, subquery, is_negated)?),
        negated: is_negated,
    };
    Ok(())
}

/// Returns a query with the rows of a subquery that equal the row, or may equal it.
fn comparison(values: Vec<Expr>, mut rows: Query, may_be_unknown: bool) -> Result<Query> {
    let mut query = *Parser::new(&SparkDialect)
        .try_with_sql(TEMPLATE)
        .and_then(|mut parser| parser.parse_query())
        .map_err(|e| DataFusionError::SQL(Box::new(e), None))?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Ok(query);
    };
    check_aliases(&rows)?;
    let is_named = name_items(&mut rows, values.len());
    if let Some(table) = select.from.first_mut()
        && let TableFactor::Derived {
            subquery, alias, ..
        } = &mut table.relation
    {
        **subquery = rows;
        match alias {
            // Columns of outer queries are found only in a subquery without an alias.
            _ if is_named => *alias = None,
            Some(alias) => {
                let columns = (0..values.len()).map(|n| TableAliasColumnDef {
                    name: value_name(n),
                    data_type: None,
                });
                alias.columns = columns.collect();
            }
            None => {}
        }
    }
    let conditions = values.into_iter().enumerate().map(|(n, value)| {
        let other = Expr::Identifier(value_name(n));
        let equal = binary(value.clone(), BinaryOperator::Eq, other.clone());
        if !may_be_unknown {
            return equal;
        }
        let nulls = [value, other].map(|side| Expr::IsNull(Box::new(side)));
        let possible = nulls.into_iter().fold(equal, |condition, is_null| {
            binary(condition, BinaryOperator::Or, is_null)
        });
        Expr::Nested(Box::new(possible))
    });
    let condition = conditions.reduce(|left, right| binary(left, BinaryOperator::And, right));
    select.selection = Some(condition.unwrap_or_else(|| Expr::value(Value::Boolean(true))));
    Ok(query)
}

/// Refuses aliases that later columns of the list use: a column of an outer query would win.
fn check_aliases(rows: &Query) -> Result<()> {
    let SetExpr::Select(select) = rows.body.as_ref() else {
        return Ok(());
    };
    for (n, item) in select.projection.iter().enumerate() {
        let SelectItem::ExprWithAlias { alias, .. } = item else {
            continue;
        };
        let uses_alias = |item: &SelectItem| {
            let text = item.to_string();
            let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| word.eq_ignore_ascii_case(&alias.value))
        };
        if select.projection[n + 1..].iter().any(uses_alias) {
            return plan_err!(
                "the subquery of IN uses its alias {alias} in a later column, which is not supported; repeat the expression"
            );
        }
    }
    Ok(())
}

fn value_name(n: usize) -> Ident {
    Ident::with_quote('`', format!("__value_{n}"))
}

/// Gives the columns of a plain query their names, if it lists them and no clause can refer to
/// their aliases.
fn name_items(query: &mut Query, width: usize) -> bool {
    let is_ordered = query.order_by.is_some();
    let SetExpr::Select(select) = query.body.as_mut() else {
        return false;
    };
    // Another item may use an alias, and must not find a column of an outer query instead.
    let is_expression = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_));
    let has_groups = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, modifiers) => !keys.is_empty() || !modifiers.is_empty(),
    };
    if is_ordered
        || has_groups
        || select.having.is_some()
        || select.qualify.is_some()
        || select.projection.len() != width
        || !select.projection.iter().all(is_expression)
    {
        return false;
    }
    for (n, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr) = item {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: value_name(n),
            };
        }
    }
    true
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    Expr::BinaryOp { left, op, right }
}

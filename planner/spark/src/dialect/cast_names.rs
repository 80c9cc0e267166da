//! Gives casts names of their own where a query groups or aggregates what they cast.
//!
//! ```text
//! SELECT sum(CAST(x AS DOUBLE)), sum(x) FROM t
//!   ──▶ SELECT sum(labeled_cast(CAST(x AS DOUBLE), 'DOUBLE')), sum(x) FROM t
//! ```
//!
//! DataFusion names a cast as its value and finds groups and aggregates by their names: both sums
//! would be the column `sum(t.x)`, and it refuses the query.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, Expr, GroupByExpr, OrderBy, Query, Select, SetExpr, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::having::is_aggregate;
use super::tree::call;
use crate::operators::LABELED_CAST;

/// Labels the casts of a query if two of its columns could have one name.
pub(super) fn label_casts(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let mut uses = Uses::default();
    // The visitors never break.
    let _ = visit_clauses(select, query.order_by.as_ref(), &mut uses);
    let has_groups = match &select.group_by {
        GroupByExpr::All(_) => true,
        // The keys of grouping sets have no names of their own.
        GroupByExpr::Expressions(keys, _) if keys.iter().any(is_grouping_set) => return,
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
    };
    if (has_groups || uses.has_aggregate) && uses.share_names() {
        let mut labels = Labels::default();
        let _ = VisitMut::visit(&mut select.projection, &mut labels);
        let _ = VisitMut::visit(&mut select.group_by, &mut labels);
        let _ = VisitMut::visit(&mut select.having, &mut labels);
        let _ = VisitMut::visit(&mut select.qualify, &mut labels);
        let _ = VisitMut::visit(&mut query.order_by, &mut labels);
    }
}

fn is_grouping_set(key: &Expr) -> bool {
    matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_))
}

fn visit_clauses(
    select: &Select,
    order_by: Option<&OrderBy>,
    visitor: &mut Uses,
) -> ControlFlow<()> {
    select.projection.visit(visitor)?;
    select.group_by.visit(visitor)?;
    select.having.visit(visitor)?;
    select.qualify.visit(visitor)?;
    match order_by {
        Some(order_by) => order_by.visit(visitor),
        None => ControlFlow::Continue(()),
    }
}

/// The casts of a query, and the columns in it, outside of its subqueries.
#[derive(Default)]
struct Uses {
    /// For each value that is cast, how often, and with which labels.
    casts: HashMap<String, (usize, HashSet<String>)>,
    /// How often each column is used, in casts and outside of them.
    columns: HashMap<String, usize>,
    has_aggregate: bool,
    queries: usize,
}

impl Uses {
    /// Is a value cast to several types, or used both with and without a cast?
    fn share_names(&self) -> bool {
        self.casts.iter().any(|(value, (count, labels))| {
            let all = self.columns.get(value);
            labels.len() > 1 || all.is_some_and(|all| all > count)
        })
    }
}

impl Visitor for Uses {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Cast { expr: operand, .. } => {
                let (count, labels) = self.casts.entry(value_name(operand)).or_default();
                *count += 1;
                labels.extend(label(expr));
            }
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                *self.columns.entry(value_name(expr)).or_default() += 1;
            }
            Expr::Function(function) => {
                self.has_aggregate |= function.over.is_some() || is_aggregate(expr);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Returns the name of a value, without the table of a column and casts around it.
fn value_name(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => value_name(inner),
        Expr::CompoundIdentifier(parts) => parts
            .last()
            .map_or_else(String::new, |part| part.value.to_lowercase()),
        Expr::Identifier(name) => name.value.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

/// Returns what distinguishes a cast from others of the same value; `None` for any other expression.
fn label(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Cast {
            kind: CastKind::TryCast | CastKind::SafeCast,
            data_type,
            ..
        } => Some(format!("{data_type} or NULL")),
        Expr::Cast { data_type, .. } => Some(data_type.to_string()),
        _ => None,
    }
}

#[derive(Default)]
struct Labels {
    queries: usize,
}

impl VisitorMut for Labels {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    /// Runs after the expressions within, so that no cast is labeled twice.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0
            && let Some(label) = label(expr)
        {
            let label = Expr::value(Value::SingleQuotedString(label));
            let cast = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = call(LABELED_CAST, vec![cast, label]);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::SparkDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn labeled(sql: &str) -> String {
        let mut parser = Parser::new(&SparkDialect).try_with_sql(sql).unwrap();
        let mut query = parser.parse_query().unwrap();
        label_casts(&mut query);
        query.to_string()
    }

    #[test]
    fn casts_are_labeled_where_their_value_has_another_column() {
        assert_eq!(
            labeled("SELECT sum(CAST(x AS DOUBLE)), sum(t.x) FROM t"),
            "SELECT sum(labeled_cast(CAST(x AS DOUBLE), 'DOUBLE')), sum(t.x) FROM t"
        );
        assert_eq!(
            labeled("SELECT CAST(k AS INT) AS a FROM t GROUP BY CAST(k AS INT), CAST(k AS DATE)"),
            "SELECT labeled_cast(CAST(k AS INT), 'INT') AS a FROM t \
             GROUP BY labeled_cast(CAST(k AS INT), 'INT'), labeled_cast(CAST(k AS DATE), 'DATE')"
        );
        for unchanged in [
            "SELECT CAST(k AS INT) AS a, k FROM t",
            "SELECT CAST(k AS INT), sum(CAST(v AS INT)) FROM t GROUP BY CAST(k AS INT)",
            "SELECT sum(CAST(v AS INT)), (SELECT max(v) FROM u) FROM t",
        ] {
            assert_eq!(labeled(unchanged), unchanged);
        }
    }
}

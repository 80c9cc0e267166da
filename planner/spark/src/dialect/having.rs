//! Aliases of the select list in HAVING: `SELECT k, sum(v) AS v FROM t GROUP BY k HAVING v > 5`.
//!
//! A name in HAVING is a grouping column, or an alias, or a column within an aggregate function.
//! DataFusion takes it for the column `v` of the table, and refuses the query.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::execution::SessionStateDefaults;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, Visit, VisitMut, Visitor, VisitorMut,
};

use super::names::column_name;
use crate::functions::aggregate_names;

/// Replaces the aliases in HAVING, outside of aggregate functions and subqueries, with their
/// expressions.
pub(super) fn resolve_aliases(select: &mut Select) {
    let Some(having) = &mut select.having else {
        return;
    };
    let mut names = GroupNames::default();
    // The visitor never breaks.
    let _ = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => keys.visit(&mut names),
        // The columns of the select list are keys of GROUP BY ALL.
        GroupByExpr::All(_) => {
            let columns = select.projection.iter().filter(|item| is_column(item));
            columns.cloned().collect::<Vec<_>>().visit(&mut names)
        }
    };
    let aliases = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => {
            let name = column_name(item)?.to_lowercase();
            let is_replaced = !names.0.contains(&name) && !is_plain_column(item);
            is_replaced.then(|| (name, expr.clone()))
        }
        _ => None,
    });
    let mut aliases = Aliases {
        definitions: aliases.collect(),
        hidden: 0,
    };
    let _ = having.visit(&mut aliases);
}

/// Is this a column of a table, with an alias or without?
fn is_column(item: &SelectItem) -> bool {
    match item {
        SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => {
            matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => false,
    }
}

/// Is this a column of a table without an alias?
fn is_plain_column(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(_)) && is_column(item)
}

/// The columns that keys of GROUP BY are made of.
#[derive(Default)]
struct GroupNames(HashSet<String>);

impl Visitor for GroupNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        self.0.extend(name.map(|name| name.value.to_lowercase()));
        ControlFlow::Continue(())
    }
}

struct Aliases {
    definitions: Vec<(String, Expr)>,
    /// Number of subqueries and aggregate functions around the current node.
    hidden: usize,
}

impl VisitorMut for Aliases {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.hidden += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.hidden -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.hidden += usize::from(is_aggregate(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.hidden -= usize::from(is_aggregate(expr));
        if self.hidden == 0
            && let Expr::Identifier(name) = expr
        {
            let name = name.value.to_lowercase();
            let definition = self.definitions.iter().find(|(alias, _)| *alias == name);
            if let Some((_, definition)) = definition {
                *expr = Expr::Nested(Box::new(definition.clone()));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Is this a call of an aggregate function?
pub(super) fn is_aggregate(expr: &Expr) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let defaults = SessionStateDefaults::default_aggregate_functions();
        let defaults = defaults.iter().flat_map(|function| {
            let aliases = function.aliases().iter().cloned();
            aliases.chain([function.name().to_owned()])
        });
        defaults.chain(aggregate_names()).collect()
    });
    match expr {
        Expr::Function(function) => NAMES.contains(&function.name.to_string().to_lowercase()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::SparkDialect;
    use datafusion::sql::sqlparser::ast::{SetExpr, Statement};
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn aliases_are_replaced_unless_they_are_keys_or_within_aggregates() {
        for (having, expected) in [
            ("v > 5", "(sum(v)) > 5"),
            ("v > k AND avg(v) > 1", "(sum(v)) > k AND avg(v) > 1"),
            ("v IN (SELECT v FROM u)", "(sum(v)) IN (SELECT v FROM u)"),
            ("listagg(s) = s", "listagg(s) = ('x')"),
            ("mean(v) > 1", "mean(v) > 1"),
        ] {
            let sql =
                format!("SELECT -k AS k, sum(v) AS v, 'x' AS s FROM t GROUP BY k HAVING {having}");
            let mut statements = Parser::parse_sql(&SparkDialect, &sql).unwrap();
            let Statement::Query(query) = &mut statements[0] else {
                panic!("no query")
            };
            let SetExpr::Select(select) = query.body.as_mut() else {
                panic!("no select")
            };
            resolve_aliases(select);
            assert_eq!(select.having.as_ref().unwrap().to_string(), expected);
        }
    }
}

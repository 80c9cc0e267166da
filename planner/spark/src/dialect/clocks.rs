//! `current_date` and the like without parentheses: a function, unless a column has the name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Ident, Select, SelectItem, VisitMut, VisitorMut,
};

/// Writes the functions that are called without parentheses as columns, and returns whether there
/// is any.
pub fn functions_as_columns(tree: &mut impl VisitMut) -> bool {
    let mut columns = Columns { has_changed: false };
    // The visitor never breaks.
    let _ = tree.visit(&mut columns);
    columns.has_changed
}

struct Columns {
    has_changed: bool,
}

/// The column of a call without parentheses.
fn column(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Function(function)
            if function.args == FunctionArguments::None && function.over.is_none() =>
        {
            match function.name.0.as_slice() {
                [name] => name.as_ident().cloned(),
                _ => None,
            }
        }
        _ => None,
    }
}

impl VisitorMut for Columns {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            // The name that a call gets by itself.
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && let Some(name) = column(expr)
                && alias
                    .value
                    .trim_end_matches("()")
                    .eq_ignore_ascii_case(&name.value)
            {
                *item = SelectItem::UnnamedExpr(expr.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(name) = column(expr) {
            *expr = Expr::Identifier(Ident::new(name.value.to_lowercase()));
            self.has_changed = true;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::SparkDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn calls_without_parentheses_become_columns() {
        let sql = "SELECT current_date, typeof(CURRENT_TIMESTAMP), now() FROM t";
        let mut statements = Parser::parse_sql(&SparkDialect, sql).unwrap();
        assert!(functions_as_columns(&mut statements));
        assert_eq!(
            statements[0].to_string(),
            "SELECT current_date, typeof(current_timestamp), now() FROM t"
        );
        assert!(!functions_as_columns(&mut statements));
    }
}

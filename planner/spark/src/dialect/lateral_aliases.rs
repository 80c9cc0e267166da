//! Expands aliases that later columns of the same select list use: `SELECT a + 1 AS b, b * 2 AS c`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Select, SelectItem, Visit, VisitMut, Visitor, VisitorMut,
};

use super::replace_names::replace_names;

/// Replaces an alias by its expression in later columns of its select list. Returns whether any
/// column used it.
///
/// A column of a table hides an alias, so call this only for names that no table has.
pub fn expand_lateral_alias(tree: &mut impl VisitMut, name: &str) -> bool {
    let mut expansion = Expansion {
        name,
        has_changed: false,
    };
    // The visitor never breaks.
    let _ = tree.visit(&mut expansion);
    expansion.has_changed
}

struct Expansion<'a> {
    name: &'a str,
    has_changed: bool,
}

impl VisitorMut for Expansion<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut definition: Option<Expr> = None;
        for item in &mut select.projection {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item
            else {
                continue;
            };
            if let Some(definition) = &definition {
                self.has_changed |= replace_names(expr, |name| {
                    let is_alias = name.value.eq_ignore_ascii_case(self.name);
                    is_alias.then(|| definition.clone())
                });
            }
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && definition.is_none()
                && alias.value.eq_ignore_ascii_case(self.name)
                && !uses_name(expr, self.name)
            {
                definition = Some(Expr::Nested(Box::new(expr.clone())));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Does an expression use a name? The alias of that name would expand forever.
fn uses_name(expr: &Expr, name: &str) -> bool {
    struct Names<'a>(&'a str);
    impl Visitor for Names<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(name) if name.value.eq_ignore_ascii_case(self.0) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Names(name)).is_break()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::SparkDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn later_columns_use_the_expression_of_an_alias() {
        for (sql, expected) in [
            (
                "SELECT a + 1 AS b, b * 2, (SELECT b) FROM t",
                Some("SELECT a + 1 AS b, (a + 1) * 2, (SELECT b) FROM t"),
            ),
            ("SELECT b * 2, a + 1 AS b FROM t", None),
            ("SELECT b + 1 AS b, b * 2 FROM t", None),
        ] {
            let mut statements = Parser::parse_sql(&SparkDialect, sql).unwrap();
            let has_changed = expand_lateral_alias(&mut statements, "b");
            let text = statements[0].to_string();
            assert_eq!(has_changed.then_some(text.as_str()), expected);
        }
    }
}

//! Replaces names in an expression or a clause, but not in its subqueries, where a name may be that
//! of another column.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, VisitMut, VisitorMut};

/// Replaces each name outside of subqueries for which `replacement_of` returns an expression.
/// Returns whether there was any.
pub(super) fn replace_names(
    tree: &mut impl VisitMut,
    replacement_of: impl Fn(&Ident) -> Option<Expr>,
) -> bool {
    let mut replacement = Replacement {
        replacement_of,
        queries: 0,
        has_changed: false,
    };
    // The visitor never breaks.
    let _ = tree.visit(&mut replacement);
    replacement.has_changed
}

struct Replacement<F> {
    replacement_of: F,
    /// Number of subqueries around the current node.
    queries: usize,
    has_changed: bool,
}

impl<F: Fn(&Ident) -> Option<Expr>> VisitorMut for Replacement<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0
            && let Expr::Identifier(name) = expr
            && let Some(replacement) = (self.replacement_of)(name)
        {
            *expr = replacement;
            self.has_changed = true;
        }
        ControlFlow::Continue(())
    }
}
